"""One timer for the deadlines of many calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from aioswap.consuming.deadlines import Deadlines
from aioswap.testing import ManualClock


class Calls:
    """Calls with a deadline of ten seconds, in tasks that wait."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.deadlines = Deadlines(10, self.clock)
        self.tasks: list[asyncio.Task[object]] = []

    def waiting(self) -> asyncio.Task[object]:
        task: asyncio.Task[object] = asyncio.create_task(asyncio.Event().wait())
        self.tasks.append(task)
        return task


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    calls = Calls()
    yield calls
    for task in calls.tasks:
        task.cancel()
    await asyncio.gather(*calls.tasks, return_exceptions=True)


async def test_what_takes_too_long_is_cancelled_in_its_time(calls: Calls) -> None:
    first, second = calls.waiting(), calls.waiting()
    calls.deadlines.begin(first)
    await calls.clock.advance(4)
    calls.deadlines.begin(second)
    states = []
    for seconds in (5, 1, 3.9, 0.1):
        await calls.clock.advance(seconds)
        states.append([task.cancelled() for task in (first, second)])

    assert [[False, False], [True, False], [True, False], [True, True]] == states
    assert [False, False] == [calls.deadlines.end(task) for task in (first, second)]


async def test_what_is_done_in_time_is_not_cancelled(calls: Calls) -> None:
    task = calls.waiting()
    calls.deadlines.begin(task)
    in_time = calls.deadlines.end(task)
    await calls.clock.advance(100)

    assert (True, False) == (in_time, task.cancelled())


async def test_calls_after_a_pause_have_their_deadline(calls: Calls) -> None:
    task = calls.waiting()
    calls.deadlines.begin(task)
    calls.deadlines.end(task)
    await calls.clock.advance(100)
    calls.deadlines.begin(task)
    await calls.clock.advance(10)

    assert task.cancelled()


async def test_times_that_do_not_add_up_exactly_end_too(calls: Calls) -> None:
    task = calls.waiting()
    for _ in range(30):
        calls.deadlines.begin(task)
        calls.deadlines.end(task)
        await calls.clock.advance(0.1)
    calls.deadlines.begin(task)
    for _ in range(100):
        await calls.clock.advance(0.1)

    assert task.cancelled()


async def test_closed_ones_cancel_nothing(calls: Calls) -> None:
    task = calls.waiting()
    calls.deadlines.close()
    calls.deadlines.begin(task)
    calls.deadlines.close()
    await calls.clock.advance(100)

    assert not task.cancelled()
