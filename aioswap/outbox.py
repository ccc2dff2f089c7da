"""The outbox in memory: messages kept, in order, from accepted until the broker has confirmed them."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from aioswap.clock import Clock
from aioswap.errors import OutboxFull
from aioswap.transports.base import Entry, Message, OutboxCounts, Parked, Reservation

__all__ = ["MemoryOutbox"]

_MAX_PARKED: Final = 10_000
_MAX_PARKED_BYTES: Final = 64 << 20


@dataclass(slots=True, eq=False)
class _InLine:
    """Someone who waits for room."""

    messages: tuple[Message, ...]
    opens: Reservation | None
    turn: asyncio.Future[asyncio.Future[None]]


class MemoryOutbox:
    """Keeps messages in memory. They survive any trouble of the broker, but not the end of this process.

    Args:
        max_messages: messages held at most, those reserved for terminal notifications included; at least 2.
        max_bytes: bytes held at most, likewise.

    Parked messages are held beside these bounds: at most 10,000, or 64 MiB.

    Raises:
        ValueError: a bound is too small to hold one swap.
    """

    def __init__(self, *, max_messages: int = 10_000, max_bytes: int = 64 << 20) -> None:
        if max_messages < 2 or max_bytes < 1 << 16:
            raise ValueError(f"max_messages={max_messages}, max_bytes={max_bytes}: give at least 2 and 65536, one swap")
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages = 0
        self._bytes = 0
        self._sequence = 0
        self._accepted = 0
        self._confirmed = 0
        self._backlog: dict[int, Entry] = {}
        self._untaken: dict[str, list[tuple[int, Entry]]] = {}
        self._reserved: dict[str, Reservation] = {}
        self._line: deque[_InLine] = deque()
        self._parked: dict[str, Parked] = {}
        self._parked_bytes = 0
        self._wake: Callable[[], None] | None = None
        self._clock = Clock()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self, clock: Clock) -> None:
        """Use `clock` for ages. Opening it again keeps what it holds."""
        self._clock = clock
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Do nothing: memory needs no closing. What it still holds can be relayed by the next emitter that opens it."""

    def accept(
        self, *messages: Message, opens: Reservation | None = None, closes: Reservation | None = None
    ) -> asyncio.Future[None]:
        """Take `messages` at once; the future is done. See `Outbox.accept`.

        Raises:
            OutboxFull: no room, or others wait in line before. Nothing was taken.
        """
        if closes is not None:
            self._unreserve(closes)
        elif self._line or not self._has_room(messages, opens):
            raise OutboxFull(
                f"the outbox holds {self._messages} messages, {self._bytes} bytes of at most {self._max_messages}, "
                f"{self._max_bytes}: the broker has been away or refusing for too long; mend it, or give the outbox more room"
            )
        return self._take_in(messages, opens)

    def line_up(self, *messages: Message, opens: Reservation | None = None) -> asyncio.Future[asyncio.Future[None]]:
        """Wait in line for room. See `Outbox.line_up`."""
        turn: asyncio.Future[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        self._line.append(_InLine(messages, opens, turn))
        turn.add_done_callback(self._left_line)
        return turn

    def release(self, reservation: Reservation) -> None:
        """Give back room that was set aside. Does nothing the second time."""
        self._unreserve(reservation)
        self._admit()

    def attach(self, wake: Callable[[], None] | None) -> None:
        """Call `wake` after each accept; None: nobody relays now."""
        self._wake = wake

    def take(self, limit: int, *, skip: Container[str] = (), only: str | None = None) -> list[Entry]:
        """Return up to `limit` entries in order. See `Outbox.take`."""
        keys = [key for key in ([only] if only is not None else self._untaken) if key not in skip and self._untaken.get(key)]
        taken: list[Entry] = []
        while keys and len(taken) < limit:
            key = min(keys, key=lambda key: self._untaken[key][0][0])
            heap = self._untaken[key]
            taken.append(heapq.heappop(heap)[1])
            if not heap:
                keys.remove(key)
                del self._untaken[key]
        return taken

    def give_back(self, entries: Iterable[Entry]) -> None:
        """Put what was taken back at its place in order."""
        for entry in entries:
            heapq.heappush(self._untaken.setdefault(entry.message.routing_key, []), (entry.sequence, entry))

    def confirm(self, entry: Entry) -> None:
        """Remove what the broker has confirmed."""
        self._confirmed += 1
        self._remove(entry)

    def park(self, entry: Entry, reason: str) -> bool:
        """Set `entry` aside, out of the bounds of the backlog. False: parked messages have used up their own."""
        size = entry.message.size
        if len(self._parked) >= _MAX_PARKED or self._parked_bytes + size > _MAX_PARKED_BYTES:
            return False
        self._parked[entry.message.message_id] = Parked(entry.message, reason, self._clock.monotonic())
        self._parked_bytes += size
        self._remove(entry)
        return True

    def parked(self) -> Sequence[Parked]:
        """Return what was set aside, oldest first."""
        return tuple(self._parked.values())

    def resend(self, message_ids: Container[str] | None = None) -> int:
        """Accept parked messages again, as far as there is room, and return how many."""
        chosen = [key for key in self._parked if message_ids is None or key in message_ids]
        for count, key in enumerate(chosen):
            message = self._parked[key].message
            if not self._has_room((message,), None):
                return count
            del self._parked[key]
            self._parked_bytes -= message.size
            self._accepted -= 1
            self._take_in((message,), None)
        return len(chosen)

    def counts(self) -> OutboxCounts:
        """Return what it holds."""
        oldest = next(iter(self._backlog.values()), None)
        return OutboxCounts(
            accepted=self._accepted,
            confirmed=self._confirmed,
            backlog=len(self._backlog),
            oldest_accepted_at=None if oldest is None else oldest.accepted_at,
            parked=len(self._parked),
        )

    def at_risk(self) -> Sequence[Entry]:
        """Return the whole backlog, in order."""
        return tuple(self._backlog.values())

    def _has_room(self, messages: Sequence[Message], opens: Reservation | None) -> bool:
        count, size = len(messages), sum(message.size for message in messages)
        if opens is not None:
            count += opens.messages
            size += opens.messages * opens.size
        return self._messages + count <= self._max_messages and self._bytes + size <= self._max_bytes

    def _take_in(self, messages: Sequence[Message], opens: Reservation | None) -> asyncio.Future[None]:
        if opens is not None:
            self._reserved[opens.key] = opens
            self._messages += opens.messages
            self._bytes += opens.messages * opens.size
        now = self._clock.monotonic()
        for message in messages:
            self._sequence += 1
            entry = Entry(self._sequence, message, now)
            self._backlog[entry.sequence] = entry
            self._messages += 1
            self._bytes += message.size
            heapq.heappush(self._untaken.setdefault(message.routing_key, []), (entry.sequence, entry))
        self._accepted += len(messages)
        # A coroutine that is closed after its loop still tells its end: no running loop is needed here.
        safe: asyncio.Future[None] = (self._loop or asyncio.get_running_loop()).create_future()
        safe.set_result(None)
        if self._wake is not None:
            self._wake()
        return safe

    def _unreserve(self, reservation: Reservation) -> None:
        if self._reserved.pop(reservation.key, None) is not None:
            self._messages -= reservation.messages
            self._bytes -= reservation.messages * reservation.size

    def _remove(self, entry: Entry) -> None:
        del self._backlog[entry.sequence]
        self._messages -= 1
        self._bytes -= entry.message.size
        if self._line:
            self._admit()

    def _admit(self) -> None:
        while self._line and (self._line[0].turn.done() or self._has_room(self._line[0].messages, self._line[0].opens)):
            head = self._line.popleft()
            if not head.turn.done():
                head.turn.set_result(self._take_in(head.messages, head.opens))

    def _left_line(self, turn: asyncio.Future[asyncio.Future[None]]) -> None:
        if turn.cancelled():
            self._admit()
