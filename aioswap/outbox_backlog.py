"""What every outbox has: messages in order, within bounds, with a line for room, and a place for parked ones."""

from __future__ import annotations

import asyncio
import heapq
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from aioswap.clock import Clock
from aioswap.errors import OutboxFull
from aioswap.transports.base import Entry, Message, OutboxCounts, Parked, Reservation

__all__ = ["Backlog"]

_MAX_PARKED: Final = 10_000
_MAX_PARKED_BYTES: Final = 64 << 20

E = TypeVar("E", bound=Entry)


@dataclass(slots=True, eq=False)
class _InLine:
    """Someone who waits for room."""

    messages: tuple[Message, ...]
    opens: Reservation | None
    turn: asyncio.Future[asyncio.Future[None]]


class Backlog(ABC, Generic[E]):
    """Messages from accepted to confirmed or parked: the part of an outbox that does not ask where they are kept.

    Whoever inherits says so in `_keep`, and may follow what becomes of an entry in `_when_confirmed`,
    `_when_parked` and `_when_resent`. An entry can be taken once it was given to `_ready`.

    Args:
        entry: makes an entry of a sequence, a message and a moment.
        max_messages: messages held at most, those reserved for terminal notifications included; at least 2.
        max_bytes: bytes held at most, likewise.

    Raises:
        ValueError: a bound is too small to hold one swap.
    """

    def __init__(self, entry: Callable[[int, Message, float], E], *, max_messages: int, max_bytes: int) -> None:
        if max_messages < 2 or max_bytes < 1 << 16:
            raise ValueError(f"max_messages={max_messages}, max_bytes={max_bytes}: give at least 2 and 65536, one swap")
        self._entry = entry
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages = 0
        self._bytes = 0
        self._reserved_messages = 0
        self._reserved_bytes = 0
        self._sequence = 0
        self._accepted = 0
        self._confirmed = 0
        self._held: dict[int, E] = {}
        self._untaken: dict[str, list[tuple[int, E]]] = {}
        self._reserved: dict[str, Reservation] = {}
        self._line: deque[_InLine] = deque()
        self._aside: dict[str, tuple[E, Parked]] = {}
        self._aside_bytes = 0
        self._wake: Callable[[], None] | None = None
        self._clock = Clock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def accept(
        self, *messages: Message, opens: Reservation | None = None, closes: Reservation | None = None
    ) -> asyncio.Future[None]:
        """Take `messages` at once. See `Outbox.accept`.

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
        return self._take_in(messages, opens, closes)

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
        """Call `wake` whenever there may be something to take; None: nobody relays now."""
        self._wake = wake

    def take(self, limit: int, *, skip: Container[str] = (), only: str | None = None) -> list[Entry]:
        """Return up to `limit` entries in order. See `Outbox.take`."""
        keys = [key for key in ([only] if only is not None else self._untaken) if key not in skip and self._can_take(key)]
        taken: list[Entry] = []
        while keys and len(taken) < limit:
            key = keys[0] if len(keys) == 1 else min(keys, key=lambda key: self._untaken[key][0][0])
            heap = self._untaken[key]
            taken.append(heapq.heappop(heap)[1])
            if not heap:
                del self._untaken[key]
            if not self._can_take(key):
                keys.remove(key)
        return taken

    def give_back(self, entries: Iterable[Entry]) -> None:
        """Put what was taken back at its place in order."""
        for entry in entries:
            held = self._held.get(entry.sequence)
            if held is entry:
                self._ready(held)

    def confirm(self, entry: Entry) -> None:
        """Remove what the broker has confirmed."""
        held = self._held[entry.sequence]
        self._confirmed += 1
        self._remove(held)
        self._when_confirmed(held)

    def park(self, entry: Entry, reason: str) -> bool:
        """Set `entry` aside, out of the bounds of the backlog. False: parked messages have used up their own."""
        if not self._has_place_aside(entry.message):
            return False
        held = self._held[entry.sequence]
        self._put_aside(held, Parked(entry.message, reason, self._clock.monotonic()))
        self._remove(held)
        self._when_parked(held, reason)
        return True

    def parked(self) -> Sequence[Parked]:
        """Return what was set aside, oldest first."""
        return tuple(parked for _, parked in self._aside.values())

    def resend(self, message_ids: Container[str] | None = None) -> int:
        """Accept parked messages again, as far as there is room, and return how many."""
        chosen = [key for key in self._aside if message_ids is None or key in message_ids]
        for count, key in enumerate(chosen):
            entry = self._aside[key][0]
            if not self._has_room((entry.message,), None):
                return count
            del self._aside[key]
            self._aside_bytes -= entry.message.size
            before = entry.sequence
            self._sequence += 1
            entry.sequence, entry.accepted_at = self._sequence, self._clock.monotonic()
            self._hold(entry)
            self._when_resent(entry, before)
            self._ready(entry)
            self._wake_relay()
        return len(chosen)

    def counts(self) -> OutboxCounts:
        """Return what it holds."""
        oldest = self._oldest()
        return OutboxCounts(
            accepted=self._accepted,
            confirmed=self._confirmed,
            backlog=self._messages,
            oldest_accepted_at=None if oldest is None else oldest.accepted_at,
            parked=len(self._aside),
        )

    @abstractmethod
    def _keep(self, entries: Sequence[E], opens: Reservation | None, closes: Reservation | None) -> asyncio.Future[None]:
        """Begin to keep what was just accepted; the future ends when it is safe."""

    def _when_confirmed(self, entry: E) -> None:
        """Follow what the broker has confirmed."""

    def _when_parked(self, entry: E, reason: str) -> None:
        """Follow what was set aside."""

    def _when_resent(self, entry: E, before: int) -> None:
        """Follow what was accepted again; `before` is its sequence until now."""

    def _can_take(self, key: str) -> bool:
        return key in self._untaken

    def _oldest(self) -> E | None:
        return next(iter(self._held.values()), None)

    def _hold(self, entry: E) -> None:
        self._held[entry.sequence] = entry
        self._messages += 1
        self._bytes += entry.message.size

    def _ready(self, entry: E) -> None:
        """Let `entry` be taken."""
        heapq.heappush(self._untaken.setdefault(entry.message.routing_key, []), (entry.sequence, entry))

    def _wake_relay(self) -> None:
        if self._wake is not None:
            self._wake()

    def _new_future(self) -> asyncio.Future[None]:
        # A coroutine that is closed after its loop still tells its end: no running loop is needed here.
        return (self._loop or asyncio.get_running_loop()).create_future()

    def _has_room(self, messages: Sequence[Message], opens: Reservation | None) -> bool:
        count, size = len(messages), 0
        for message in messages:
            size += message.size
        if opens is not None:
            _, reserved, each = opens
            count += reserved
            size += reserved * each
        return (
            self._messages + self._reserved_messages + count <= self._max_messages
            and self._bytes + self._reserved_bytes + size <= self._max_bytes
        )

    def _take_in(
        self, messages: Sequence[Message], opens: Reservation | None, closes: Reservation | None
    ) -> asyncio.Future[None]:
        if opens is not None:
            key, reserved, each = opens
            self._reserved[key] = opens
            self._reserved_messages += reserved
            self._reserved_bytes += reserved * each
        now = self._clock.monotonic()
        entries = []
        for message in messages:
            self._sequence += 1
            entry = self._entry(self._sequence, message, now)
            self._hold(entry)
            entries.append(entry)
        self._accepted += len(entries)
        return self._keep(entries, opens, closes)

    def _unreserve(self, reservation: Reservation) -> bool:
        if self._reserved.pop(reservation.key, None) is None:
            return False
        self._reserved_messages -= reservation.messages
        self._reserved_bytes -= reservation.messages * reservation.size
        return True

    def _remove(self, entry: E) -> None:
        del self._held[entry.sequence]
        self._messages -= 1
        self._bytes -= entry.message.size
        if self._line:
            self._admit()

    def _has_place_aside(self, message: Message) -> bool:
        return len(self._aside) < _MAX_PARKED and self._aside_bytes + message.size <= _MAX_PARKED_BYTES

    def _put_aside(self, entry: E, parked: Parked) -> None:
        self._aside[entry.message.message_id] = (entry, parked)
        self._aside_bytes += entry.message.size

    def _admit(self) -> None:
        while self._line and (self._line[0].turn.done() or self._has_room(self._line[0].messages, self._line[0].opens)):
            head = self._line.popleft()
            if not head.turn.done():
                head.turn.set_result(self._take_in(head.messages, head.opens, None))

    def _left_line(self, turn: asyncio.Future[asyncio.Future[None]]) -> None:
        if turn.cancelled():
            self._admit()
