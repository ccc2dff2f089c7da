"""Lanes: what belongs together goes one after the other, what does not goes at the same time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Generic, TypeVar

__all__ = ["Lanes"]

T = TypeVar("T")


class Lanes(Generic[T]):
    """Runs items in tasks of its own: one at a time in each lane, in order, and some lanes at once.

    A lane that has more to do lines up behind those that wait, so that none is starved. Each item runs in a copy of the context
    in which the lanes were made.

    Args:
        run: does one item.
        failed: told of an item whose `run` raised or was cancelled, but not by `close`. Must not raise.
        concurrency: lanes that run at once; 1 or more.
    """

    def __init__(
        self, run: Callable[[T], Coroutine[Any, Any, None]], failed: Callable[[T, BaseException], None], *, concurrency: int
    ) -> None:
        self._run = run
        self._failed = failed
        self._concurrency = concurrency
        self._context: Context = copy_context()
        self._waiting: dict[Hashable, deque[T]] = {}
        self._ready: deque[Hashable] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.closed = False

    def submit(self, lane: Hashable, item: T) -> None:
        """Run `item` after those of its lane. Closed lanes forget it."""
        if self.closed:
            return
        if lane in self._waiting:
            self._waiting[lane].append(item)
            return
        self._waiting[lane] = deque((item,))
        self._ready.append(lane)
        self._quiet.clear()
        self._fill()

    async def idle(self) -> None:
        """Wait, without limit, until every item is done."""
        await self._quiet.wait()

    async def close(self) -> None:
        """Cancel what runs, forget what waits, and return when the tasks have ended."""
        self.closed = True
        self._ready.clear()
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def _fill(self) -> None:
        while self._ready and len(self._tasks) < self._concurrency:
            lane = self._ready.popleft()
            item = self._waiting[lane].popleft()
            task = asyncio.get_running_loop().create_task(self._run(item), context=self._context.copy())
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, lane, item), context=self._context)

    def _done(self, lane: Hashable, item: T, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self.closed:
            return
        if error is not None:
            self._failed(item, error)
        if self._waiting[lane]:
            self._ready.append(lane)
        else:
            del self._waiting[lane]
        self._fill()
        if not self._waiting:
            self._quiet.set()
