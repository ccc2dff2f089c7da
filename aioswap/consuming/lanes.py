"""Lanes: what belongs together goes one after the other, what does not goes at the same time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final, Generic, TypeVar

__all__ = ["Lanes"]

_TURN: Final = 64
"""Items after which a worker lets the loop do something else."""

_NOT_SET: Final = object()

T = TypeVar("T")
R = TypeVar("R")


class _Worker(Generic[T]):
    """A task of the lanes', and what it does just now."""

    __slots__ = ("item", "lane", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.lane: Hashable = None
        self.item: T | None = None


class Lanes(Generic[R, T]):
    """Runs items in tasks of its own: one at a time in each lane, in order, and some lanes at once.

    What is offered is made an item when somebody has time to run it: until then it is bytes, which cost little to keep. Where
    all are busy it is made an item at once, for it may need nobody.

    A lane that has more to do lines up behind those that wait, so that none is starved. A task runs one item after the other,
    and ends when there is none. Each item begins in the context in which the lanes were made: a task whose context was changed
    takes no other.

    Args:
        sort: makes an item of what was offered, and submits it, or does with it what needs no waiting. Must not raise.
        run: does one item.
        failed: told of an item whose `run` raised or was cancelled, but not by `close`. Must not raise.
        concurrency: lanes that run at once; 1 or more.
    """

    def __init__(
        self,
        sort: Callable[[R], None],
        run: Callable[[T], Coroutine[Any, Any, None]],
        failed: Callable[[T, BaseException], None],
        *,
        concurrency: int,
    ) -> None:
        self._sort = sort
        self._run = run
        self._failed = failed
        self._concurrency = concurrency
        self._context: Context = copy_context()
        self._offered: deque[R] = deque()
        self._ready: deque[tuple[Hashable, T]] = deque()
        self._lanes: dict[Hashable, deque[T] | None] = {}
        """Those that run or are ready, and what waits in them."""
        self._workers: set[_Worker[T]] = set()
        self._looking = False
        self._quiet = asyncio.Event()
        self._quiet.set()
        self.closed = False

    def offer(self, raw: R) -> None:
        """Sort `raw`, in order, when somebody has time for it. Closed lanes forget it."""
        if not self.closed:
            self._offered.append(raw)
            self._wake()

    def submit(self, lane: Hashable, item: T) -> None:
        """Run `item` after those of its lane. Closed lanes forget it."""
        if self.closed:
            return
        if lane not in self._lanes:
            self._lanes[lane] = None
            self._ready.append((lane, item))
            self._wake()
        elif (waiting := self._lanes[lane]) is not None:
            waiting.append(item)
        else:
            self._lanes[lane] = deque((item,))

    async def idle(self) -> None:
        """Wait, without limit, until every item is done."""
        await self._quiet.wait()

    async def close(self) -> None:
        """Cancel what runs, forget what waits, and return when the tasks have ended."""
        self.closed = True
        self._offered.clear()
        self._ready.clear()
        self._lanes.clear()
        tasks = [worker.task for worker in self._workers if worker.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _wake(self) -> None:
        if not self._looking:
            self._looking = True
            self._quiet.clear()
            self._look()

    def _look(self) -> None:
        """Let one more work in each turn of the loop, as long as those before leave something to do."""
        self._looking = bool(self._offered or self._ready)
        if not self._looking:
            return
        if len(self._workers) < self._concurrency:
            self._start()
            asyncio.get_running_loop().call_soon(self._look, context=self._context)
            return
        while self._offered:
            self._sort(self._offered.popleft())
        self._looking = False

    def _start(self) -> None:
        worker: _Worker[T] = _Worker()
        task = asyncio.get_running_loop().create_task(self._work(worker), context=self._context.copy())
        worker.task = task
        self._workers.add(worker)
        task.add_done_callback(partial(self._left, worker), context=self._context)

    async def _work(self, worker: _Worker[T]) -> None:
        """Do what there is, one after the other."""
        done = 0
        while self._take(worker):
            assert worker.item is not None
            await self._run(worker.item)
            self._ended(worker)
            if self._is_changed():
                return
            done += 1
            if done % _TURN == 0:
                await asyncio.sleep(0)

    def _take(self, worker: _Worker[T]) -> bool:
        while not self._ready:
            if not self._offered:
                return False
            self._sort(self._offered.popleft())
        worker.lane, worker.item = self._ready.popleft()
        return True

    def _ended(self, worker: _Worker[T]) -> None:
        """The item of `worker` is done: the next one of its lane lines up."""
        lane, worker.item = worker.lane, None
        if self.closed:
            return
        waiting = self._lanes[lane]
        if waiting:
            self._ready.append((lane, waiting.popleft()))
        else:
            del self._lanes[lane]

    def _is_changed(self) -> bool:
        """Whether the context is another one than that in which the lanes were made."""
        context, first = copy_context(), self._context
        if len(context) != len(first):
            return True
        for name, value in context.items():  # noqa: SIM110 - for each item: a generator takes twice as long
            if first.get(name, _NOT_SET) is not value:
                return True
        return False

    def _left(self, worker: _Worker[T], task: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self.closed:
            return
        item = worker.item
        if item is not None:
            assert error is not None  # what ends without one has no item any more
            self._ended(worker)
            self._failed(item, error)
        if self._offered or self._ready:
            self._wake()
        elif not self._lanes:
            self._quiet.set()
