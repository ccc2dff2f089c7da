"""A backlog of which the most is in files alone: memory holds what comes next of each routing key, a window."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Container, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Final

from aioswap.outbox_backlog import Backlog
from aioswap.outbox_clerk import Clerk, Kept
from aioswap.outbox_rows import KeptRow
from aioswap.outbox_store import Lane
from aioswap.relay import WINDOW
from aioswap.transports.base import Entry

__all__ = ["Windows"]

_logger = logging.getLogger(__name__)

_LOADED: Final = 512
"""Messages of a routing key that are held in memory beside the file, beyond those that are on their way."""
_PAGE: Final = 256
"""Messages that are read from a file at a time; 4 MiB of them at most."""
_READ_AGAIN: Final = 1.0


@dataclass(slots=True, eq=False)
class _Tail:
    """Messages of a routing key that are in a file alone, in one stretch of the order.

    Args:
        after: the sequence behind which they begin.
        last: the sequence of the last one.
    """

    clerk: Clerk
    after: int
    last: int
    count: int
    size: int
    loading: bool = False


class Windows(Backlog[Kept]):
    """The part of an outbox with files that knows what is in memory and what is not.

    An entry that is in a file alone is counted, and no more: the stretches of such entries, by routing key, are the tails.
    What is in memory and stands behind the begin of a tail is not taken before the tail is.
    """

    def __init__(self, *, max_messages: int, max_bytes: int) -> None:
        super().__init__(Kept, max_messages=max_messages, max_bytes=max_bytes)
        self._clerks: list[Clerk] = []
        self._tails: dict[str, deque[_Tail]] = {}
        self._until: int | None = None
        """The sequence behind which nothing can be taken now, for what follows is in a file alone; None: there is none."""

    def take(self, limit: int, *, skip: Container[str] = (), only: str | None = None) -> list[Entry]:
        """Return up to `limit` entries: committed ones, and those that the disk has refused. See `Outbox.take`.

        What comes first may be in a file alone: then nothing behind it is taken before it was loaded, but for the routing keys
        in `skip`, so that no `.error` overtakes its `.start`. No more than the relay's window is unconfirmed, or confirmed and
        still in the file: after a crash that much comes twice.
        """
        limit = min(limit, WINDOW - sum(clerk.unwritten for clerk in self._clerks if clerk.trouble is None))
        for key, tails in self._tails.items():
            if not tails[0].loading and self._needs(key, tails[0]):
                self._load(key, tails[0])
        if limit <= 0:
            return []
        awaited = (tails[0].after for key, tails in self._tails.items() if (key == only if only else key not in skip))
        self._until = min(awaited, default=None)
        return super().take(limit, skip=skip, only=only)

    def _needs(self, key: str, tail: _Tail) -> bool:
        """Does memory run out of what stands before `tail`? What stands behind it (sent again) waits for it, however much."""
        heap = self._untaken.get(key)
        return heap is None or len(heap) < _PAGE or heap[0][0] > tail.after

    def _can_take(self, key: str) -> bool:
        heap = self._untaken.get(key)
        return heap is not None and (self._until is None or heap[0][0] <= self._until)

    def _oldest(self) -> Kept | None:
        return self._held[min(self._held)] if self._held else None

    def _add_lanes(self, clerk: Clerk, lanes: Sequence[Lane]) -> None:
        """Count what the file of an earlier run holds, behind what is here."""
        for lane in lanes:
            tail = _Tail(clerk, lane.first - 1 + clerk.offset, lane.last + clerk.offset, lane.count, lane.size)
            self._tails.setdefault(lane.routing_key, deque()).append(tail)
            self._messages += lane.count
            self._bytes += lane.size

    def _place(self, entry: Kept) -> None:
        """Let a committed entry be taken; where enough are waiting in memory, it waits in the file alone."""
        key = entry.message.routing_key
        tails = self._tails.get(key)
        if tails is None and len(self._untaken.get(key, ())) < _LOADED:
            self._ready(entry)
            return
        clerk = entry.clerk
        assert clerk is not None
        del self._held[entry.sequence]
        if tails is None:
            tails = self._tails[key] = deque()
        if not tails or tails[-1].clerk is not clerk:
            tails.append(_Tail(clerk, entry.sequence - 1, entry.sequence, 0, 0))
        tail = tails[-1]
        tail.last = entry.sequence
        tail.count += 1
        tail.size += entry.message.size

    def _load(self, key: str, tail: _Tail) -> None:
        tail.loading = True
        offset = tail.clerk.offset
        after, last = tail.after - offset, tail.last - offset
        tail.clerk.read(lambda store: store.waiting(key, after, last, _PAGE), partial(self._landed, key, tail))

    def _landed(self, key: str, tail: _Tail, future: Future[list[KeptRow]]) -> None:
        tails = self._tails.get(key)
        if tails is None or tails[0] is not tail:
            return
        error = future.exception()
        if error is not None:
            _logger.error("the outbox can't be read: %s; it is tried again", error)
            self._clock.call_later(_READ_AGAIN, partial(self._read_again, tail))
            return
        tail.loading = False
        for row in future.result():
            entry = self._loaded(tail.clerk, row)
            tail.after = entry.sequence
            if entry.sequence not in self._held:
                tail.count -= 1
                tail.size -= entry.message.size
                self._held[entry.sequence] = entry
                self._ready(entry)
        if tail.count <= 0 or not future.result():
            self._end_tail(key, tail)
        self._wake_relay()

    def _read_again(self, tail: _Tail) -> None:
        tail.loading = False
        self._wake_relay()

    def _end_tail(self, key: str, tail: _Tail) -> None:
        """Forget a stretch; what it was thought to have and has not is counted no more."""
        self._messages -= tail.count
        self._bytes -= tail.size
        self._tails[key].remove(tail)
        if not self._tails[key]:
            del self._tails[key]

    def _drop_tails(self, clerk: Clerk) -> int:
        lost = 0
        for key, tails in list(self._tails.items()):
            for tail in [tail for tail in tails if tail.clerk is clerk]:
                lost += tail.count
                self._end_tail(key, tail)
        return lost

    def _loaded(self, clerk: Clerk, row: KeptRow) -> Kept:
        since = self._since(row.accepted_at)
        return Kept(row.row + clerk.offset, row.message, since, clerk=clerk, saved=True, reason=row.reason)

    def _since(self, moment: float) -> float:
        """Return the monotonic time of a moment of the wall clock."""
        return self._clock.monotonic() - max(self._clock.utcnow().timestamp() - moment, 0.0)
