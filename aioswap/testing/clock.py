"""A clock that is moved by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from aioswap.clock import Clock, Timer

__all__ = ["ManualClock"]

_TURNS: Final = 25
"""Turns of the loop that `advance` grants to what it woke: more than any chain of callbacks in aioswap needs."""

_ROUNDING: Final = 1e-9
"""Seconds by which a sum of floats may be short: ten times 0.1 is a second."""


class _ManualTimer:
    """A call due at `when`."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualClock(Clock):
    """A clock that stands still until `advance`.

    Args:
        start: the wall clock's time to begin with, aware.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, _ManualTimer]] = []

    def utcnow(self) -> datetime:
        """Return the start plus what was advanced."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Return the seconds that were advanced."""
        return self._elapsed

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, forth or back, as an operator does who sets the time."""
        self._start += timedelta(seconds=seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once `seconds` have been advanced."""
        timer = _ManualTimer(self._elapsed + max(seconds, 0.0), callback)
        heapq.heappush(self._timers, (timer.when, next(self._order), timer))
        return timer

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Like `Clock.timeout`, in advanced seconds."""
        return asyncio.timeout(None) if seconds is None else self._timeout(seconds)

    @asynccontextmanager
    async def _timeout(self, seconds: float) -> AsyncGenerator[object]:
        async with asyncio.timeout(None) as scope:
            timer = self.call_later(seconds, lambda: scope.reschedule(0))
            try:
                yield scope
            finally:
                timer.cancel()

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: each timer that falls due is called in order, and what it wakes runs before the next one.

        Raises:
            ValueError: `seconds` is negative: time does not run back (the wall clock can: `jump`).
        """
        if seconds < 0:
            raise ValueError(f"seconds={seconds!r}: time does not run back")
        end = self._elapsed + seconds
        await self._turns()
        while self._timers and self._timers[0][0] <= end + _ROUNDING:
            when, _, timer = heapq.heappop(self._timers)
            if timer.callback is None:
                continue
            self._elapsed = max(self._elapsed, when)
            timer.callback()
            await self._turns()
        self._elapsed = max(self._elapsed, end)

    async def _turns(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
