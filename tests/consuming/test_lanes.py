"""Order in each lane, some lanes at once, none starved."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from aioswap.consuming.lanes import Lanes
from tests.consumer_kit import until


class Work:
    """Items that run until they are let go."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.failures: list[tuple[str, BaseException]] = []
        self._gates: dict[str, asyncio.Future[None]] = {}

    async def run(self, item: str) -> None:
        self.started.append(item)
        self._gates[item] = asyncio.get_running_loop().create_future()
        await self._gates[item]

    def failed(self, item: str, error: BaseException) -> None:
        self.failures.append((item, error))

    async def let_go(self, item: str, error: BaseException | None = None) -> None:
        await until(lambda: item in self._gates)
        if error is None:
            self._gates[item].set_result(None)
        else:
            self._gates[item].set_exception(error)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@pytest.fixture
def work() -> Work:
    return Work()


async def test_a_lane_does_one_at_a_time_and_lanes_run_at_once(work: Work) -> None:
    lanes = Lanes(work.run, work.failed, concurrency=2)
    for item in ("a1", "a2", "b1", "c1"):
        lanes.submit(item[0], item)
    await until(lambda: len(work.started) == 2)
    first = list(work.started)
    for item in ("a1", "b1", "c1", "a2"):
        await work.let_go(item)
    await lanes.idle()

    assert ["a1", "b1"] == first
    assert ["a1", "b1", "c1", "a2"] == work.started


async def test_a_busy_lane_starves_no_other(work: Work) -> None:
    lanes = Lanes(work.run, work.failed, concurrency=1)
    for item in ("a1", "a2", "a3", "b1"):
        lanes.submit(item[0], item)
    for item in ("a1", "b1", "a2", "a3"):
        await work.let_go(item)
    await lanes.idle()

    assert ["a1", "b1", "a2", "a3"] == work.started


async def test_a_failure_is_told_and_the_lane_goes_on(work: Work) -> None:
    lanes = Lanes(work.run, work.failed, concurrency=1)
    error = KeyError("x")
    lanes.submit("a", "a1")
    lanes.submit("a", "a2")
    await work.let_go("a1", error)
    await work.let_go("a2")
    await lanes.idle()

    assert [("a1", error)] == work.failures


async def test_a_cancel_from_outside_is_a_failure(work: Work) -> None:
    lanes = Lanes(work.run, work.failed, concurrency=1)
    lanes.submit("a", "a1")
    await until(lambda: work.started)
    (task,) = lanes._tasks
    task.cancel()
    await lanes.idle()

    assert [asyncio.CancelledError] == [type(error) for _, error in work.failures]


async def test_closing_cancels_what_runs_and_forgets_what_waits(work: Work) -> None:
    lanes = Lanes(work.run, work.failed, concurrency=1)
    for item in ("a1", "a2", "b1"):
        lanes.submit(item[0], item)
    await until(lambda: work.started)
    await lanes.close()
    lanes.submit("c", "c1")
    await lanes.close()
    await asyncio.sleep(0)

    assert ["a1"] == work.started
    assert [] == work.failures
    assert lanes.closed


async def test_what_ends_with_an_error_while_closing_is_not_told(work: Work) -> None:
    async def stubborn(item: str) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise KeyError(item) from None

    run: Any = stubborn
    lanes: Lanes[str] = Lanes(run, work.failed, concurrency=1)
    lanes.submit("a", "a1")
    await asyncio.sleep(0)
    await lanes.close()

    assert [] == work.failures


async def test_idle_lanes_are_idle(work: Work) -> None:
    def run(item: str) -> Coroutine[Any, Any, None]:
        raise AssertionError

    await Lanes(run, work.failed, concurrency=1).idle()
