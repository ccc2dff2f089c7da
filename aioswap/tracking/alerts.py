"""Telling users' functions of swaps that have become stuck, each once."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from aioswap.clock import Clock
from aioswap.swaps import Swap
from aioswap.tracking.answers import Once
from aioswap.wire.faults import traceback_of

__all__ = ["AlertFunction", "Alerts"]

_logger = logging.getLogger(__name__)

_AT_ONCE: Final = 8
_DEADLINE: Final = 600.0
_CLOSE_WAIT: Final = 10.0

AlertFunction: TypeAlias = Callable[[Swap], Coroutine[Any, Any, object]]


class Alerts:
    """Calls functions for swaps that are stuck, in tasks of its own: 8 swaps at once, 10 minutes for each call.

    Args:
        clock: measures the deadlines.
        keep: of so many swaps it is known that they were told.
    """

    def __init__(self, clock: Clock, keep: int) -> None:
        self._clock = clock
        self._functions: list[AlertFunction] = []
        self._told = Once(keep)
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore()

    def add(self, function: AlertFunction) -> None:
        """Call `function` for what becomes stuck from now on.

        Raises:
            TypeError: it is no coroutine function.
        """
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function!r} is called with a stuck swap and awaited: give an `async def` function")
        self._functions.append(function)

    def open(self) -> None:
        """Get ready, in the running loop."""
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def note(self, swap: Swap) -> bool:
        """Remember that a stuck swap is told; False: it was before."""
        return self._told.note(swap)

    def tell(self, swap: Swap) -> None:
        """Call the functions for a stuck swap, unless that was done before. Returns at once."""
        if self.note(swap) and self._functions:
            task = asyncio.create_task(self._call(swap, tuple(self._functions)), name="aioswap on_stuck")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let the calls end for up to 10 s, then cancel them and give them as long again."""
        try:
            for _ in range(2):
                await self._idle()
                for task in self._tasks:
                    task.cancel()
        finally:
            for task in self._tasks:
                task.cancel()

    async def _idle(self) -> None:
        try:
            async with self._clock.timeout(_CLOSE_WAIT):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        except TimeoutError:
            _logger.warning("%d calls of on_stuck functions do not end", len(self._tasks))

    async def _call(self, swap: Swap, functions: tuple[AlertFunction, ...]) -> None:
        async with self._turns:
            for function in functions:
                try:
                    async with self._clock.timeout(_DEADLINE):
                        await function(swap)
                except Exception as error:  # a user's function: its fault must not touch the tracker, nor the next function
                    _logger.error("an on_stuck function failed\n%s", traceback_of(error))
