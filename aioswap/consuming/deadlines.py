"""Deadlines of many calls that have the same time each: one timer for all of them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aioswap.clock import Clock, Timer

__all__ = ["Deadlines"]

_EARLY: Final = 1e-6
"""Seconds by which a timer may be early: sums of floats are."""


class Deadlines:
    """Cancels tasks whose call takes too long. A task has one call at a time.

    Args:
        limit: seconds for each.
        clock: times them.
    """

    def __init__(self, limit: float, clock: Clock) -> None:
        self._limit = limit
        self._now = clock.monotonic
        self._call_later = clock.call_later
        self._due: dict[asyncio.Task[Any], float] = {}
        """In the order in which they are due, for all have the same time."""
        self._timer: Timer | None = None

    def begin(self, task: asyncio.Task[Any]) -> None:
        """Note that `task` begins a call now."""
        self._due[task] = self._now() + self._limit
        if self._timer is None:
            self._timer = self._call_later(self._limit, self._look)

    def end(self, task: asyncio.Task[Any]) -> bool:
        """Note that the call of `task` is done; False: it took too long, and the task was cancelled."""
        return self._due.pop(task, None) is not None

    def close(self) -> None:
        """Cancel nothing any more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Cancel what is overdue, and look again when the next one is."""
        self._timer = None
        now = self._now()
        while self._due:
            task, due = next(iter(self._due.items()))
            if due > now + _EARLY:
                self._timer = self._call_later(due - now, self._look)
                return
            del self._due[task]
            task.cancel()
