"""Deadlines of many calls that have the same time each: one timer for all of them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aioswap.clock import Clock, Timer

__all__ = ["Deadline", "Deadlines"]

_EARLY: Final = 1e-6
"""Seconds by which a timer may be early: sums of floats are."""


class Deadline:
    """When a call has to be done, and whether it was not."""

    __slots__ = ("_running", "due", "passed", "task")

    def __init__(self, task: asyncio.Task[Any], due: float, running: dict[Deadline, None]) -> None:
        self.task = task
        self.due = due
        self.passed = False
        self._running = running

    def end(self) -> None:
        """The call is done."""
        self._running.pop(self, None)


class Deadlines:
    """Cancels the tasks of calls that take too long. Whoever is cancelled finds `passed` in his deadline.

    Args:
        limit: seconds for each.
        clock: times them.
    """

    def __init__(self, limit: float, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._running: dict[Deadline, None] = {}
        """In the order in which they are due, for all have the same time."""
        self._timer: Timer | None = None

    def begin(self, task: asyncio.Task[Any]) -> Deadline:
        """Return the deadline of a call that `task` begins now."""
        deadline = Deadline(task, self._clock.monotonic() + self._limit, self._running)
        self._running[deadline] = None
        if self._timer is None:
            self._timer = self._clock.call_later(self._limit, self._look)
        return deadline

    def close(self) -> None:
        """Cancel nothing any more."""
        self._running.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Cancel what is overdue, and look again when the next one is."""
        self._timer = None
        now = self._clock.monotonic()
        while self._running:
            deadline = next(iter(self._running))
            if deadline.due > now + _EARLY:
                self._timer = self._clock.call_later(deadline.due - now, self._look)
                return
            del self._running[deadline]
            deadline.passed = True
            deadline.task.cancel()
