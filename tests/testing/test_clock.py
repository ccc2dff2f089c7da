"""The clock that is moved by hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from aioswap.testing import ManualClock

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_time_stands_still_until_it_is_advanced(clock: ManualClock) -> None:
    before = (clock.utcnow(), clock.monotonic())
    await clock.advance(1.5)

    assert (START, 0.0) == before
    assert (START + timedelta(seconds=1.5), 1.5) == (clock.utcnow(), clock.monotonic())


async def test_the_wall_clock_begins_where_it_is_told_and_jumps_alone() -> None:
    clock = ManualClock(datetime(2030, 5, 1, tzinfo=UTC))
    clock.jump(-86_400)

    assert (datetime(2030, 4, 30, tzinfo=UTC), 0.0) == (clock.utcnow(), clock.monotonic())


async def test_timers_are_called_in_order_each_at_its_own_time(clock: ManualClock) -> None:
    told: list[tuple[str, float]] = []
    for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 1.0), ("late", 9.0), ("past", -5.0)):
        clock.call_later(seconds, lambda name=name: told.append((name, clock.monotonic())))  # type: ignore[misc]
    nothing_yet = list(told)
    await clock.advance(8)

    assert [] == nothing_yet
    assert [("past", 0.0), ("a", 1.0), ("b", 1.0), ("c", 3.0)] == told


async def test_a_timer_that_was_cancelled_is_never_called(clock: ManualClock) -> None:
    told: list[str] = []
    timer = clock.call_later(1, lambda: told.append("never"))
    timer.cancel()
    other = clock.call_later(1, lambda: told.append("called"))
    await clock.advance(2)
    other.cancel()

    assert ["called"] == told


async def test_what_a_timer_wakes_runs_before_the_next_one_is_called(clock: ManualClock) -> None:
    told: list[tuple[str, float]] = []

    async def wait(name: str, *seconds: float) -> None:
        for some in seconds:
            await clock.sleep(some)
            told.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(wait("one", 1, 1, 1)), asyncio.create_task(wait("two", 1.5, 1))]
    await clock.advance(10)
    await asyncio.gather(*tasks)

    assert [("one", 1.0), ("two", 1.5), ("one", 2.0), ("two", 2.5), ("one", 3.0)] == told
    assert 10 == clock.monotonic()


async def test_small_steps_add_up(clock: ManualClock) -> None:
    told: list[float] = []
    clock.call_later(1, lambda: told.append(clock.monotonic()))
    for _ in range(10):
        await clock.advance(0.1)

    assert [1.0] == told


async def test_time_does_not_run_back(clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="run back"):
        await clock.advance(-1)


async def test_a_timeout_ends_its_body_when_the_time_is_over(clock: ManualClock) -> None:
    async def body() -> None:
        async with clock.timeout(5):
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    await clock.advance(4.9)
    before = task.done()
    await clock.advance(0.1)

    assert not before
    with pytest.raises(TimeoutError):
        await task


async def test_a_timeout_that_was_left_in_time_does_nothing(clock: ManualClock) -> None:
    async with clock.timeout(5):
        pass
    async with clock.timeout(None):
        await clock.advance(10)
    with pytest.raises(LookupError):
        async with clock.timeout(5):
            raise LookupError
    await clock.advance(10)

    assert 20 == clock.monotonic()


async def test_a_cancellation_from_outside_is_no_timeout(clock: ManualClock) -> None:
    async def body() -> None:
        async with clock.timeout(5):
            await clock.sleep(10)

    task = asyncio.create_task(body())
    await clock.advance(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await clock.advance(20)

    assert task.cancelled()
