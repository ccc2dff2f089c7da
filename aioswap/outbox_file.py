"""The outbox on disk: what was accepted survives the end of the process, and a swap that died with it is told."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from aioswap.clock import Clock
from aioswap.errors import OutboxError
from aioswap.opened import Opened
from aioswap.outbox_adoption import SUFFIX, Adopted, Found, Recover, find
from aioswap.outbox_clerk import Clerk, Damaged, Group, Kept, closed
from aioswap.outbox_rows import closing, confirming, parking, resending
from aioswap.outbox_store import Store, Synchronous, make
from aioswap.outbox_windows import Windows
from aioswap.transports.base import Entry, OutboxCounts, Parked, Reservation
from aioswap.wire.faults import mask, traceback_of

__all__ = ["FileOutbox"]

_logger = logging.getLogger(__name__)

_ADOPT_EVERY: Final = 60.0
_CLOSE_WAIT: Final = 10.0
_BLOCKING_WAIT: Final = 0.25


def _in_order(entry: Kept) -> int:
    return entry.sequence


class FileOutbox(Windows):
    """Keeps messages in a directory on a local disk. They survive any end of this process, and of the machine.

    Each object owns one file there, under a lock. Files of earlier runs that go to the same destination, and whose owner is
    gone, are adopted when it opens, and once a minute: what they hold is relayed, and swaps that were running are told as
    `.error` (fault `ProcessDied`), or as `recover` says. Several processes may share a directory.

    A disk that refuses never stops a swap: what it does not take is kept in memory, relayed from there, counted as unsaved, and
    tried again until the outbox is closed. What it never took ends with the process: a swap whose end it refused is told as
    `.error` too then, by the next run. Opening fails for misuse only.

    Args:
        directory: made if it is missing, for its owner alone. On a local disk.
        max_messages: messages held at most, those of earlier runs and those reserved for terminal notifications included.
        max_bytes: bytes held at most, likewise.
        synchronous: FULL: what is accepted survives a loss of power; NORMAL: the last commits may be lost then, but not by the
            end of the process.
        recover: is asked once, in a thread, what became of a swap whose process has died: it gets the start, and answers "end",
            "error" or "leave" (the swap stays open, and the next run asks again). It may block: the outbox opens after it.
            Raising means "error".

    Parked messages are held beside these bounds: at most 10,000, or 64 MiB.

    Raises:
        ValueError: a bound is too small to hold one swap, or `synchronous` is neither.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        max_messages: int = 1_000_000,
        max_bytes: int = 1 << 30,
        synchronous: Synchronous = "FULL",
        recover: Recover | None = None,
    ) -> None:
        super().__init__(max_messages=max_messages, max_bytes=max_bytes)
        if synchronous not in ("FULL", "NORMAL"):
            raise ValueError(f"synchronous={synchronous!r}: give 'FULL' or 'NORMAL'")
        self._directory = Path(directory)
        self._synchronous: Synchronous = synchronous
        self._recover = recover
        self._destination = ""
        self._path = self._new_path()
        self._opened = Opened("this outbox")
        self._own: Clerk | None = None
        self._pools: list[ThreadPoolExecutor] = []
        self._closing: list[Future[None]] = []
        self._unsaved: dict[int, Kept] = {}
        self._running: dict[str, Group] = {}
        self._foreign = 0
        self._damaged_files = 0
        self._adopting_trouble: str | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def path(self) -> Path:
        """The file that this object owns, or will own when it is opened."""
        return self._path

    @property
    def commits(self) -> int:
        """Commits into its own file since it was opened."""
        return 0 if self._own is None else self._own.commits

    async def open(self, clock: Clock, *, destination: str) -> None:
        """Own a file, and adopt those of earlier runs. What an earlier opening could not save is taken along.

        Args:
            clock: the time.
            destination: where messages go, without a secret.

        Raises:
            RuntimeError: it is open already.
            OutboxError: the directory is none, its file system knows no locks, the file is held by someone else, or a file of
                an earlier run was written by a newer aioswap. A disk that refuses raises nothing.
        """
        self._opened.open()
        try:
            self._clock, self._loop = clock, asyncio.get_running_loop()
            if self._own is not None and destination != self._destination:
                self._release()  # swaps of the time before still run: whoever goes there will tell them
            if self._own is None:
                self._begin(destination)
            for clerk in self._clerks:
                clerk.move(self._loop)
            await self._open_own()
            found = await self._adopt()
            if found.newer is not None:
                raise found.newer
        except BaseException:
            self._release()
            self._opened.close()
            await asyncio.gather(*map(asyncio.wrap_future, self._closing), return_exceptions=True)
            raise
        self._task = asyncio.create_task(self._tend(), name=f"aioswap outbox {self._path.name}")

    async def close(self) -> None:
        """Write what waits, for up to 10 s, and let go of the files: those that keep nothing are removed.

        Where swaps still run, the files stay held until they have ended, or this process has. Cancelling it gives up waiting.
        """
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        try:
            async with self._clock.timeout(_CLOSE_WAIT):
                await asyncio.gather(*(clerk.drain() for clerk in self._clerks))
                if not self._running:
                    self._release()
                    await asyncio.gather(*map(asyncio.wrap_future, self._closing), return_exceptions=True)
        except TimeoutError:
            _logger.warning("the outbox in %s is left: writing takes longer than %g s", self._directory, _CLOSE_WAIT)
        finally:
            if self._running:
                _logger.warning("%d swaps still run: the outbox %s stays held until they end", len(self._running), self._path)
                for clerk in self._clerks:
                    clerk.stop()
            else:
                self._release()
            self._opened.close()

    def release(self, reservation: Reservation) -> None:
        """Give back room that was set aside: the swap is told no more. Does nothing the second time."""
        self._over(reservation.key)
        super().release(reservation)

    def counts(self) -> OutboxCounts:
        """Return what it holds."""
        trouble = next((clerk.trouble for clerk in self._clerks if clerk.trouble is not None), self._adopting_trouble)
        return replace(
            super().counts(),
            unsaved=len(self._unsaved),
            foreign_files=self._foreign,
            damaged_files=self._damaged_files,
            trouble=trouble,
        )

    def at_risk(self) -> Sequence[Entry]:
        """Return what is not in a file, in order."""
        return sorted((entry for entry in self._held.values() if not entry.saved), key=_in_order)

    # What Backlog tells

    def _keep(self, entries: Sequence[Kept], opens: Reservation | None, closes: Reservation | None) -> asyncio.Future[None]:
        group = Group(tuple(entries), self._clock.utcnow().timestamp(), self._new_future(), opens is not None)
        assert group.safe is not None
        if opens is not None:
            self._running[opens.key] = group
        if closes is not None:
            group.closes = self._over(closes.key, tell=False)
        own = self._own
        if own is None:
            self._refused([group], OutboxError("this outbox is not open: the message is kept in memory"))
            return group.safe
        for entry in entries:
            entry.clerk = own
        own.keep(group)
        if not self._opened or not own.loop_runs:
            own.write_now(_BLOCKING_WAIT)
            if not self._opened and not self._running:
                self._release()
        return group.safe

    def _when_confirmed(self, entry: Kept) -> None:
        entry.gone = True
        self._unsaved.pop(entry.sequence, None)
        if entry.clerk is not None:
            entry.clerk.left -= 1
            entry.clerk.change(confirming(entry.sequence - entry.clerk.offset))

    def _when_parked(self, entry: Kept, reason: str) -> None:
        entry.reason = mask(reason)
        self._unsaved.pop(entry.sequence, None)
        if entry.clerk is not None:
            row = entry.sequence - entry.clerk.offset
            entry.clerk.change(parking(row, entry.reason, self._clock.utcnow().timestamp()))

    def _when_resent(self, entry: Kept, before: int) -> None:
        entry.reason = None
        if not entry.saved:
            self._unsaved[entry.sequence] = entry
        if entry.clerk is not None:
            offset, now = entry.clerk.offset, self._clock.utcnow().timestamp()
            entry.clerk.change(resending(before - offset, entry.sequence - offset, now))

    # What clerks tell

    def _committed(self, groups: list[Group]) -> None:
        for group in groups:
            for entry in group.entries:
                entry.saved = True
                self._unsaved.pop(entry.sequence, None)
                if not group.refused:
                    self._place(entry)
            if group.safe is not None and not group.safe.done():
                group.safe.set_result(None)
        self._wake_relay()

    def _refused(self, groups: list[Group], error: OutboxError) -> None:
        for group in groups:
            for entry in group.entries:
                self._unsaved[entry.sequence] = entry
                self._ready(entry)
            if group.safe is not None and not group.safe.done():
                group.safe.set_exception(error)
                group.safe.exception()  # seen, even if nobody asks
        self._wake_relay()

    def _damaged(self, clerk: Clerk, damaged: Damaged) -> None:
        """Go on in a new file. What memory still holds of the old one is written again; the rest is in what was set aside."""
        self._damaged_files += 1
        lost = self._drop_tails(clerk)
        _logger.error("the outbox is damaged (%s): it is set aside as %s, with %d messages", damaged, damaged.path, lost)
        again = [entry for entry in self._held.values() if entry.clerk is clerk and entry.saved]
        again += [entry for entry, _ in self._aside.values() if entry.clerk is clerk and entry.saved]
        running = list(self._running.values()) if clerk is self._own else []
        own = self._own
        assert own is not None
        if clerk is own:
            self._path = self._new_path()
        else:
            self._clerks.remove(clerk)
            clerk.stop()
        now = self._clock.utcnow().timestamp()
        for entry in again:
            entry.saved, entry.clerk = False, own
            if entry.reason is None:
                self._unsaved[entry.sequence] = entry
        started = {entry for group in running for entry in group.entries}
        own.keep_again([*running, *(Group((entry,), now, None) for entry in again if entry not in started)])

    def _rested(self, clerk: Clerk) -> None:
        """Remove the file of an earlier run once nothing is left in it."""
        if clerk is not self._own and clerk.left <= 0 and clerk in self._clerks and self._opened:
            self._clerks.remove(clerk)
            self._closing.append(clerk.close())

    # Opening and closing

    def _begin(self, destination: str) -> None:
        """Start anew, with what no file has."""
        self._destination = destination
        kept = sorted((entry for entry in self._held.values() if not entry.saved), key=_in_order)
        aside = [(entry, parked) for entry, parked in self._aside.values() if not entry.saved]
        self._closing = []
        self._held, self._untaken, self._tails, self._unsaved, self._aside = {}, {}, {}, {}, {}
        self._messages = self._bytes = self._aside_bytes = 0
        self._pools = [ThreadPoolExecutor(1, thread_name_prefix=f"aioswap outbox {name}") for name in ("own", "earlier")]
        self._own = self._new_clerk(self._make_own, 0, self._pools[0])
        for entry, parked in aside:
            self._put_aside(entry, parked)
        groups = []
        for entry in [*kept, *(entry for entry, _ in aside)]:
            entry.clerk = self._own
            groups.append(Group((entry,), self._clock.utcnow().timestamp(), None))
            if entry.reason is None:
                self._hold(entry)
                self._unsaved[entry.sequence] = entry
                self._ready(entry)
        if groups:
            self._own.keep_again(groups)

    def _new_path(self) -> Path:
        return self._directory / f"{os.urandom(8).hex()}{SUFFIX}"

    def _new_clerk(
        self, opening: Callable[[], Store], offset: int, pool: ThreadPoolExecutor, store: Store | None = None
    ) -> Clerk:
        assert self._loop is not None
        clerk = Clerk(
            opening,
            offset,
            pool,
            store=store,
            clock=self._clock,
            loop=self._loop,
            committed=self._committed,
            refused=self._refused,
            damaged=self._damaged,
            rested=self._rested,
        )
        self._clerks.append(clerk)
        return clerk

    def _make_own(self) -> Store:
        """Make the own file, in its thread."""
        now = self._clock.utcnow().timestamp()
        return make(self._path, self._destination, synchronous=self._synchronous, now=now)

    async def _open_own(self) -> None:
        own = self._own
        assert own is not None
        try:
            await own.do(lambda store: None)
        except (OSError, sqlite3.Error) as error:
            own.failed(error)

    def _release(self) -> None:
        """Let go of all files behind what was given before. Does nothing the second time."""
        self._closing += [clerk.close() for clerk in self._clerks]
        for pool in self._pools:
            pool.shutdown(wait=False)
        self._clerks, self._pools = [], []
        if self._own is not None:
            self._own = None
            self._path = self._new_path()

    async def _tend(self) -> None:
        while True:
            await self._clock.sleep(_ADOPT_EVERY)
            try:
                await self._adopt()
            except Exception as error:  # a supervisor: the next minute tries again
                _logger.error("looking for outboxes of earlier runs failed\n%s", traceback_of(error))

    async def _adopt(self) -> Found:
        looking = partial(
            find,
            self._directory,
            self._destination,
            recover=self._recover,
            now=self._clock.utcnow(),
            synchronous=self._synchronous,
        )
        found = await asyncio.shield(asyncio.wrap_future(self._pools[1].submit(looking)))
        self._foreign = found.foreign
        self._damaged_files += found.aside
        self._adopting_trouble = found.trouble
        for adopted in found.adopted:
            self._take_over(adopted)
        if found.adopted:
            self._wake_relay()
        return found

    def _take_over(self, adopted: Adopted) -> None:
        """Put what an earlier run has left behind what is here, in its own order."""
        offset = self._sequence + 1 - adopted.first
        self._sequence = adopted.last + offset
        clerk = self._new_clerk(closed, offset, self._pools[1], adopted.store)
        clerk.left = adopted.left
        self._add_lanes(clerk, adopted.lanes)
        for row in adopted.parked:
            if self._has_place_aside(row.message):
                entry = self._loaded(clerk, row)
                self._put_aside(entry, Parked(row.message, row.reason or "", self._since(row.parked_at or 0.0)))

    def _over(self, key: str, *, tell: bool = True) -> int | None:
        """Note that a swap is over; return the row of its start."""
        group = self._running.pop(key, None)
        if group is None:
            return None
        group.opens = False
        first = group.entries[0]
        if first.clerk is None:
            return None
        row = first.sequence - first.clerk.offset
        if tell:
            first.clerk.change(closing(row))
        return row
