"""Order in each lane, some lanes at once, none starved."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from aioswap.consuming.lanes import Lanes
from tests.consumer_kit import until


class Work:
    """Items that run until they are let go. What is offered is an item already: its first letter is its lane."""

    def __init__(self) -> None:
        self.lanes: Lanes[str, str] | None = None
        self.sorted: list[str] = []
        self.started: list[str] = []
        self.failures: list[tuple[str, BaseException]] = []
        self._gates: dict[str, asyncio.Future[None]] = {}

    def in_lanes(self, concurrency: int, *, run: Any = None) -> Lanes[str, str]:
        self.lanes = Lanes(self.sort, run or self.run, self.failed, concurrency=concurrency)
        return self.lanes

    def sort(self, raw: str) -> None:
        assert self.lanes is not None
        self.sorted.append(raw)
        if not raw.startswith("-"):
            self.lanes.submit(raw[0], raw)

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
    lanes = work.in_lanes(2)
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
    lanes = work.in_lanes(1)
    for item in ("a1", "a2", "a3", "b1"):
        lanes.submit(item[0], item)
    for item in ("a1", "b1", "a2", "a3"):
        await work.let_go(item)
    await lanes.idle()

    assert ["a1", "b1", "a2", "a3"] == work.started


async def test_a_failure_is_told_and_the_lane_goes_on(work: Work) -> None:
    lanes = work.in_lanes(1)
    error = KeyError("x")
    lanes.submit("a", "a1")
    lanes.submit("a", "a2")
    await work.let_go("a1", error)
    await work.let_go("a2")
    await lanes.idle()

    assert [("a1", error)] == work.failures


async def test_a_cancel_from_outside_is_a_failure(work: Work) -> None:
    lanes = work.in_lanes(1)
    lanes.submit("a", "a1")
    await until(lambda: work.started)
    (worker,) = lanes._workers
    assert worker.task is not None
    worker.task.cancel()
    await lanes.idle()

    assert [asyncio.CancelledError] == [type(error) for _, error in work.failures]


async def test_closing_cancels_what_runs_and_forgets_what_waits(work: Work) -> None:
    lanes = work.in_lanes(1)
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

    lanes = work.in_lanes(1, run=stubborn)
    lanes.submit("a", "a1")
    await asyncio.sleep(0)
    await lanes.close()

    assert [] == work.failures


async def test_idle_lanes_are_idle(work: Work) -> None:
    await work.in_lanes(1).idle()


async def test_what_is_offered_is_sorted_in_order_when_somebody_has_time(work: Work) -> None:
    lanes = work.in_lanes(2)
    for raw in ("a1", "-", "a2", "b1", "c1"):
        lanes.offer(raw)
    before = list(work.sorted)
    await until(lambda: len(work.started) == 2)
    for item in ("a1", "b1", "c1", "a2"):
        await work.let_go(item)
    await lanes.idle()

    assert [] == before
    assert ["a1", "-", "a2", "b1", "c1"] == work.sorted
    assert ["a1", "b1"] == work.started[:2]


async def test_what_is_offered_while_all_are_busy_is_sorted_at_once(work: Work) -> None:
    lanes = work.in_lanes(1)
    lanes.offer("a1")
    await until(lambda: work.started)
    lanes.offer("-")
    lanes.offer("b1")
    sorted_at_once = list(work.sorted)
    await work.let_go("a1")
    await work.let_go("b1")
    await lanes.idle()

    assert ["a1", "-", "b1"] == sorted_at_once


async def test_what_needs_nobody_leaves_the_lanes_idle(work: Work) -> None:
    lanes = work.in_lanes(1)
    lanes.offer("-")
    await lanes.idle()

    assert ["-"] == work.sorted


async def test_one_task_runs_what_does_not_wait(work: Work) -> None:
    tasks: list[Any] = []

    async def run(item: str) -> None:
        tasks.append(asyncio.current_task())

    lanes = work.in_lanes(8, run=run)
    for number in range(10):
        lanes.offer(f"{number}")
    await lanes.idle()

    assert (10, 1) == (len(tasks), len(set(tasks)))


async def test_many_items_in_a_row_let_others_have_their_turn(work: Work) -> None:
    done: list[str] = []

    async def run(item: str) -> None:
        done.append(item)

    lanes = work.in_lanes(1, run=run)
    for number in range(1000):
        lanes.offer(f"a{number}")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    early = len(done)
    await lanes.idle()

    assert 0 < early < 1000 == len(done)


async def test_a_context_that_was_changed_is_left_to_no_other_item(work: Work) -> None:
    kept, changed = ContextVar("kept", default=""), ContextVar("changed", default="")
    kept.set("kept")
    seen: list[str] = []

    async def run(item: str) -> None:
        seen.append(kept.get() + changed.get())
        (kept if item == "b" else changed).set(item)

    lanes = work.in_lanes(1, run=run)
    for item in "abc":
        lanes.offer(item)
    await lanes.idle()

    assert ["kept"] * 3 == seen


async def test_a_cancel_between_two_items_loses_none(work: Work) -> None:
    done: list[str] = []

    async def run(item: str) -> None:
        done.append(item)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    lanes = work.in_lanes(1, run=run)
    for number in range(40):
        lanes.offer(f"a{number}")
    await lanes.idle()

    assert [f"a{number}" for number in range(40)] == done
    assert [] == work.failures
