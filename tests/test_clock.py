"""The system's time."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

import pytest

from aioswap.clock import Clock


def test_the_wall_clock_is_aware_and_in_utc() -> None:
    now = Clock().utcnow()

    assert (UTC, timedelta(0)) == (now.tzinfo, now.utcoffset())


def test_monotonic_time_does_not_run_back() -> None:
    clock = Clock()
    times = [clock.monotonic() for _ in range(100)]

    assert sorted(times) == times


async def test_a_call_that_is_due_is_made_in_the_loop() -> None:
    called: asyncio.Future[asyncio.AbstractEventLoop] = asyncio.get_running_loop().create_future()
    Clock().call_later(0, lambda: called.set_result(asyncio.get_running_loop()))

    assert asyncio.get_running_loop() is await called


async def test_a_call_that_was_cancelled_is_not_made() -> None:
    told: list[str] = []
    clock = Clock()
    clock.call_later(0, lambda: told.append("never")).cancel()
    await clock.sleep(0)
    await clock.sleep(0)

    assert [] == told


async def test_a_sleep_can_be_cancelled() -> None:
    task = asyncio.create_task(Clock().sleep(3600))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_ends_its_body() -> None:
    with pytest.raises(TimeoutError):
        async with Clock().timeout(0):
            await asyncio.Event().wait()
    async with Clock().timeout(None):
        pass
