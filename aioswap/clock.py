"""The only reader of time, and the one thing that tests replace to move it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "Timer"]


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Never call it. Does nothing after the call."""


class Clock:
    """The system's time. Give another one (`aioswap.testing.ManualClock`) to move time by hand."""

    def utcnow(self) -> datetime:
        """Return the wall clock's time, aware, in UTC. It may jump: use it to write time, never to measure it."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never jump, since a start that means nothing."""
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` in the running loop after `seconds`."""
        return asyncio.get_running_loop().call_later(seconds, callback)

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        woken = asyncio.Event()
        timer = self.call_later(seconds, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancel()

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Give the body of an `async with` this many seconds (None: no limit); then it ends with `TimeoutError`."""
        return asyncio.timeout(seconds)
