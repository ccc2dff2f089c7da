"""What writes into one file of an outbox: changes collect while a commit runs, and the next commit takes them all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from aioswap.clock import Clock, Timer
from aioswap.errors import OutboxError
from aioswap.outbox_rows import Act, accepting, closing, opening, parking
from aioswap.outbox_store import Corrupt, Store
from aioswap.transports.base import Entry
from aioswap.wire.faults import mask, traceback_of

__all__ = ["Clerk", "Damaged", "Group", "Kept", "closed"]

_logger = logging.getLogger(__name__)

_MANY_CHANGES: Final = 64
_IDLE: Final = 0.05
"""Seconds that changes wait for a group to go with: a commit of their own would be in the way of the next group."""
_MOST_GROUPS: Final = 256
_MOST_ACTS: Final = 512
_MOST_BYTES: Final = 4 << 20
_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 30.0

R = TypeVar("R")


class Damaged(Exception):
    """The file was damaged, and was set aside as `path`."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.path = path


@dataclass(slots=True, eq=False)
class Kept(Entry):
    """A message of an outbox with files.

    Args:
        saved: it is in its file.
        reason: why it was set aside, if it was.
        gone: the broker has confirmed it.
    """

    clerk: Clerk | None = None
    saved: bool = False
    reason: str | None = None
    gone: bool = False


@dataclass(slots=True, eq=False)
class Group:
    """What one `accept` gave: it is committed whole, or not at all.

    Args:
        entries: one a topic.
        at: when, in seconds since 1970 by the wall clock.
        safe: ends when it is committed or refused.
        opens: it is a start, whose swap still runs.
        closes: the row of the start whose terminal it is.
    """

    entries: tuple[Kept, ...]
    at: float
    safe: asyncio.Future[None] | None
    opens: bool = False
    closes: int | None = None
    refused: bool = False


@dataclass(slots=True, eq=False)
class _Flight:
    """A batch on its way. What belongs to it is decided when its commit begins."""

    everything: bool
    groups: list[Group] = field(default_factory=list)
    changes: list[Act] = field(default_factory=list)
    future: Future[None] | None = None


class Clerk:
    """The writing desk of one file. Its calls are plain; the work is done in a thread of `pool`.

    Args:
        opening: opens the file, in the thread; it is called again after a failure.
        offset: what is added to a row to get the sequence of its entry.
        pool: one thread.
        store: the file, where it is open already.
        committed: is told of groups that are in the file now.
        refused: is told of groups that the disk has refused; they are tried again.
        damaged: is told that the file was set aside.
        rested: is told that all was written, and nothing is left to do.
    """

    def __init__(
        self,
        opening: Callable[[], Store],
        offset: int,
        pool: ThreadPoolExecutor,
        *,
        store: Store | None = None,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        committed: Callable[[list[Group]], None],
        refused: Callable[[list[Group], OutboxError], None],
        damaged: Callable[[Clerk, Damaged], None],
        rested: Callable[[Clerk], None],
    ) -> None:
        self.trouble: str | None = None
        """Why nothing can be written now; None: no trouble."""
        self.offset = offset
        self.left = 0
        """Messages in the file of an earlier run, parked ones included."""
        self.commits = 0
        self._opening = opening
        self._store = store
        self._pool = pool
        self._clock = clock
        self._loop = loop
        self._committed = committed
        self._refused = refused
        self._damaged = damaged
        self._rested = rested
        self._waiting: deque[Group] = deque()
        self._again: deque[Group] = deque()
        self._changes: deque[Act] = deque()
        self._flights: deque[_Flight] = deque()
        self._queued = False
        self._ended = False
        self._unwritten = 0
        self._scheduled = False
        self._delay = _FIRST_DELAY
        self._timer: Timer | None = None
        self._idle_timer: Timer | None = None
        self._moved = asyncio.Event()

    @property
    def unwritten(self) -> int:
        """Changes to what the file holds that are not in it yet: after a crash so many messages come twice."""
        return self._unwritten

    def move(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell `loop` from now on."""
        if loop is not self._loop:
            self._loop, self._moved, self._scheduled = loop, asyncio.Event(), False

    @property
    def loop_runs(self) -> bool:
        """Can the loop tell what came of a commit?"""
        return self._loop.is_running()

    @property
    def busy(self) -> bool:
        """Is something to be written, or being written?"""
        return bool(self._flights or self._waiting or self._again or self._changes)

    def keep(self, group: Group) -> None:
        """Write `group` soon, with all that comes in the same turn of the loop, or while a commit runs."""
        self._waiting.append(group)
        self._soon()

    def keep_again(self, groups: list[Group]) -> None:
        """Write what was refused, or was in a file that is lost."""
        for group in groups:
            group.refused = True
        self._again.extend(groups)
        self._soon()

    def change(self, act: Act) -> None:
        """Write a change with the next group, or when many have come, or soon. Nobody waits for it."""
        self._changes.append(act)
        self._unwritten += 1
        if len(self._changes) >= _MANY_CHANGES:
            self._soon()
        elif self._idle_timer is None and not self._ended and self._loop.is_running():
            self._idle_timer = self._clock.call_later(_IDLE, self._idle)

    def read(self, work: Callable[[Store], R], landed: Callable[[Future[R]], None]) -> None:
        """Do `work` behind all that was given before, and call `landed` in the loop with what came of it."""

        def done(future: Future[R]) -> None:
            error = future.exception()
            if isinstance(error, Damaged):
                self._damaged(self, error)
            landed(future)

        self._submit(partial(self._do, work), done)

    async def do(self, work: Callable[[Store], R]) -> R:
        """Do `work` behind all that was given before. Cancelling the wait does not stop it."""
        return await asyncio.shield(asyncio.wrap_future(self._pool.submit(self._do, work)))

    async def drain(self) -> None:
        """Wait until all is written, or the disk refuses."""
        while self.busy:
            self._submit_flight(everything=True)
            self._moved.clear()
            await self._moved.wait()
            if self.trouble is not None:
                return

    def write_now(self, seconds: float) -> None:
        """Write at once, and wait for it here: there is no loop that could. What is not written within `seconds` goes on."""
        flight = self._submit_flight(everything=True)
        assert flight.future is not None
        with contextlib.suppress(Exception):  # _landed looks at what came of it
            flight.future.result(seconds)
        for each in [each for each in self._flights if each.future is not None and each.future.done()]:
            self._landed(each)

    def close(self) -> Future[None]:
        """Close the file behind all that was given before. Nothing can be given after."""
        self.stop()
        self._ended = True
        return self._pool.submit(self._close)

    def stop(self) -> None:
        """Try nothing again."""
        for timer in (self._timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._idle_timer = None

    def failed(self, error: BaseException) -> None:
        """Note that the disk refuses, and try again in 1 to 30 s."""
        if self.trouble is None:
            told = mask(str(error))
            _logger.error("the outbox can't be written: %s; messages are kept in memory, and it is tried again", told)
        self.trouble = mask(f"{type(error).__name__}: {error}")
        if self._timer is None and not self._ended:
            self._timer = self._clock.call_later(self._delay, self._due)
            self._delay = min(self._delay * 2, _LONGEST_DELAY)

    def _idle(self) -> None:
        self._idle_timer = None
        if self._changes:
            self._soon()

    def _due(self) -> None:
        self._timer = None
        self._submit_flight(everything=True)

    def _soon(self) -> None:
        if not (self._scheduled or self._queued or self._ended) and self._loop.is_running():
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if not (self._queued or self._ended) and (self._waiting or (self.trouble is None and (self._again or self._changes))):
            self._submit_flight(everything=self.trouble is None)

    def _submit_flight(self, *, everything: bool) -> _Flight:
        """Queue the next commit. While the disk refuses, only new groups are tried: the others wait for their time."""
        flight = _Flight(everything)
        self._queued = True
        self._flights.append(flight)
        flight.future = self._submit(partial(self._fly, flight), lambda future: self._landed(flight))
        return flight

    def _fly(self, flight: _Flight) -> None:
        """Commit, in the thread, what waits by now. Plain operations on deques alone are shared with the loop's thread."""
        self._queued = False  # before the look at what waits: what comes later queues another flight
        acts: list[Act] = []
        size = 0
        for groups in (self._again, self._waiting) if flight.everything else (self._waiting,):
            while groups and len(acts) < _MOST_GROUPS and size < _MOST_BYTES:
                group = groups.popleft()
                flight.groups.append(group)
                acts += self._acts_of(group)
                size += sum(entry.message.size for entry in group.entries)
        while flight.everything and self._changes and len(acts) < _MOST_ACTS:
            act = self._changes.popleft()
            flight.changes.append(act)
            acts.append(act)
        self._do(partial(_write, acts, bool(flight.groups)))

    def _acts_of(self, group: Group) -> list[Act]:
        acts = []
        for entry in group.entries:
            if not entry.gone:
                row = entry.sequence - self.offset
                acts.append(accepting(row, entry.message, group.at))
                if entry.reason is not None:
                    acts.append(parking(row, entry.reason, group.at))
        if group.opens:
            first = group.entries[0]
            keys = [entry.message.routing_key for entry in group.entries]
            acts.append(opening(first.sequence - self.offset, keys, first.message.body, group.at))
        if group.closes is not None:
            acts.append(closing(group.closes))
        return acts

    def _landed(self, flight: _Flight) -> None:
        if flight not in self._flights:
            return
        assert flight.future is not None
        self._flights.remove(flight)
        error = flight.future.exception()
        if error is None:
            self._succeeded(flight)
        else:
            self._failed(flight, error)
        self._moved.set()
        if self._waiting or (self.trouble is None and (self._again or len(self._changes) >= _MANY_CHANGES)):
            self._soon()
        elif self._changes and self._idle_timer is None and not self._ended and self._loop.is_running():
            self._idle_timer = self._clock.call_later(_IDLE, self._idle)
        if not self.busy:
            self._rested(self)

    def _succeeded(self, flight: _Flight) -> None:
        self.commits += bool(flight.groups or flight.changes)
        self._unwritten -= len(flight.changes)
        if self.trouble is not None:
            _logger.info("the outbox can be written again")
            self.trouble = None
            self._delay = _FIRST_DELAY
            self.stop()
        self._committed(flight.groups)

    def _failed(self, flight: _Flight, error: BaseException) -> None:
        self._changes.extendleft(reversed(flight.changes))
        self._again.extend(flight.groups)
        if isinstance(error, Damaged):
            self._damaged(self, error)
        elif isinstance(error, sqlite3.Error | OSError | OutboxError):
            self.failed(error)
        else:  # a fault of ours: it must not end the outbox
            _logger.error("writing the outbox failed in an unexpected way\n%s", traceback_of(error))
            self.failed(error)
        new = [group for group in flight.groups if not group.refused]
        for group in new:
            group.refused = True
        self._refused(new, OutboxError(f"the outbox can't be written: {error}; it is kept in memory"))

    def _submit(self, work: Callable[[], R], landed: Callable[[Future[R]], None]) -> Future[R]:
        future = self._pool.submit(work)

        def done(future: Future[R]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: write_now looks by itself
                self._loop.call_soon_threadsafe(landed, future)

        future.add_done_callback(done)
        return future

    def _opened(self) -> Store:
        if self._store is None:
            self._store = self._opening()
        return self._store

    def _do(self, work: Callable[[Store], R]) -> R:
        try:
            return work(self._opened())
        except Corrupt as error:
            raise self._aside(error) from error

    def _aside(self, error: Corrupt) -> Exception:
        """Set the file aside, and return what to tell."""
        store, self._store = self._store, None
        return OSError(str(error)) if store is None else Damaged(store.set_aside(), str(error))

    def _close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()


def closed() -> Store:
    """Open a file that can't be opened again: that of an earlier run, once it was given up.

    Raises:
        OSError: always.
    """
    raise OSError("the file of an earlier run is closed")


def _write(acts: list[Act], safe: bool, store: Store) -> None:
    if acts:
        store.write(acts, safe=safe)
