"""What travels, and the protocols of what moves it: two narrow halves, and the outbox between them and a swap.

A sender's hot call is a plain function that returns a future; a receiver hands over deliveries by a plain call. Neither
needs a task, a lock or a timer per message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, Self, TypeAlias

from aioswap.clock import Clock
from aioswap.health import LinkHealth
from aioswap.transports.subscription import Subscription

__all__ = [
    "MAX_BODY",
    "NOTIFICATION_PROPERTIES",
    "NO_HEADERS",
    "Answer",
    "Browser",
    "Confirmation",
    "Delivery",
    "Entry",
    "Message",
    "Outbox",
    "OutboxCounts",
    "Parked",
    "Receiver",
    "Reservation",
    "Sender",
    "Settler",
    "Subscription",
    "Transport",
]

MAX_BODY: Final = 1 << 20
"""Bytes that a body may have, uncompressed. A swap notification has about 4,000."""

NOTIFICATION_PROPERTIES: Final[Mapping[str, Any]] = MappingProxyType(
    {"content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2, "priority": 0}
)
"""AMQP basic properties of a notification: what kombu's JSON serializer needs, persistent."""

NO_HEADERS: Final[Mapping[str, Any]] = MappingProxyType({})
"""Those of a message that has none."""


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Message:
    """An encoded notification plus where it goes.

    Args:
        routing_key: at most 255 bytes of UTF-8.
        body: at most `MAX_BODY` bytes; to a named exchange 16 MiB, so that an unreadable message can be kept as it came.
        message_id: AMQP's; fresh for every message (a notification's copies for two topics are two messages).
        exchange: None means the transport's notification exchange.
        headers: AMQP headers: text, bytes, integers of 64 bits, floats, decimals, booleans, datetimes, None, lists and
            mappings of them; 64 KiB together.
        properties: AMQP basic properties by their names, but `message_id` and `headers`.
    """

    routing_key: str
    body: bytes = field(repr=False)
    message_id: str
    exchange: str | None
    headers: Mapping[str, Any] = field(repr=False)
    properties: Mapping[str, Any] = field(repr=False)
    size: int = field(init=False, repr=False, compare=False)
    """Bytes that count against bounds: the body plus a flat allowance for everything else."""

    def __init__(
        self,
        *,
        routing_key: str,
        body: bytes,
        message_id: str,
        exchange: str | None = None,
        headers: Mapping[str, Any] = NO_HEADERS,
        properties: Mapping[str, Any] = NOTIFICATION_PROPERTIES,
    ) -> None:
        # one for each message: what dataclass writes for a frozen class takes half as long again
        _set_routing_key(self, routing_key)
        _set_body(self, body)
        _set_message_id(self, message_id)
        _set_exchange(self, exchange)
        _set_headers(self, headers)
        _set_properties(self, properties)
        _set_size(self, len(body) + 512)


_set_routing_key: Final = Message.__dict__["routing_key"].__set__
_set_body: Final = Message.__dict__["body"].__set__
_set_message_id: Final = Message.__dict__["message_id"].__set__
_set_exchange: Final = Message.__dict__["exchange"].__set__
_set_headers: Final = Message.__dict__["headers"].__set__
_set_properties: Final = Message.__dict__["properties"].__set__
_set_size: Final = Message.__dict__["size"].__set__


class Confirmation(StrEnum):
    """What the broker says of a message that it was sent."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"
    """No queue is bound to its routing key: nobody would have got it (RabbitMQ: mandatory, 312 NO_ROUTE)."""
    NACKED = "nacked"
    """A queue refused it, being full (overflow reject-publish)."""


Answer: TypeAlias = Confirmation | Exception
"""What becomes of a message that was sent. Not to be answered is a `TransportError`, to be impossible a `ValueError`."""


class Settler(Protocol):
    """Takes back what a receiver or a browser delivered."""

    def settle(self, tag: int, *, requeue: bool) -> None:
        """Acknowledge delivery `tag`, or give it back to its queue. Does nothing when its connection is gone."""


@dataclass(slots=True, eq=False, kw_only=True)
class Delivery:
    """A message taken from a queue, not yet settled. Settle it once, by `ack` or `requeue`; both are plain calls.

    Args:
        body: uncompressed; None when the compression could not be undone within `MAX_BODY`, or the body is larger.
        original: the bytes as they came.
        unreadable: why `body` is None, else None.
    """

    body: bytes | None = field(repr=False)
    original: bytes = field(repr=False)
    unreadable: str | None = None
    exchange: str
    routing_key: str
    redelivered: bool
    message_id: str | None = None
    headers: Mapping[str, Any] = field(default_factory=lambda: NO_HEADERS, repr=False)
    properties: Mapping[str, Any] = field(default_factory=lambda: NO_HEADERS, repr=False)
    tag: int
    settler: Settler = field(repr=False)

    def ack(self) -> None:
        """Tell the broker that it may forget the message. Too late (the connection was lost): it comes again, marked."""
        self.settler.settle(self.tag, requeue=False)

    def requeue(self) -> None:
        """Give the message back to its queue, at its old place."""
        self.settler.settle(self.tag, requeue=True)


class Sender(Protocol):
    """The sending half of a transport, opened: one connection, made and re-made by itself."""

    @property
    def health(self) -> LinkHealth:
        """How the connection is now."""
        ...

    def send(self, message: Message) -> asyncio.Future[Confirmation]:
        """Send `message` now, in order; the future is what the broker says of it.

        The future fails with `TransportError` when the answer will not come: the message may or may not have arrived.
        It fails with `ValueError` for a message that no broker would take (too large, an impossible header). It is never
        cancelled by the transport. Cancelling it withdraws nothing.
        """
        ...

    def submit(self, message: Message, told: Callable[[Answer], None]) -> None:
        """Send `message` as `send` does, and call `told` with what its future would end with: cheaper, for great numbers.

        `told` is called once, never before this returns, and at the latest when the sender is left. It must be quick: it is
        called while the broker's answers are read. What it raises is logged.
        """
        ...

    async def ready(self) -> None:
        """Wait, without limit, until messages can be sent: connected, the exchange there, not blocked."""
        ...


class Receiver(Protocol):
    """The receiving half of a transport, opened: one queue and its consumer, re-made after every loss by itself."""

    @property
    def health(self) -> LinkHealth:
        """How the connection is now."""
        ...

    @property
    def queue(self) -> str:
        """The queue's name (the first of several, if shared)."""
        ...

    @property
    def skipped(self) -> int:
        """Foreign notifications that were acknowledged."""
        ...

    @property
    def depth(self) -> int | None:
        """Messages ready in the queue when last seen; None: not known."""
        ...

    async def stop(self) -> None:
        """Take no more deliveries; those that were handed over can still be settled until the receiver is left."""
        ...


class Browser(Protocol):
    """A look into a queue, one message at a time. What is not settled goes back when the browser is left."""

    async def get(self) -> Delivery | None:
        """Return the next message, None at the end of the queue."""
        ...


class Transport(Protocol):
    """What moves messages. Entering it opens nothing on the network: connections are made by whoever uses them."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    @property
    def destination(self) -> str:
        """Where notifications go, without any secret: the same for all that send to the same exchange."""
        ...

    def sender(self, label: str) -> AbstractAsyncContextManager[Sender]:
        """Open a sending connection named `label`. Entering never waits for the broker; leaving closes it at once."""
        ...

    def receiver(
        self,
        subscription: Subscription,
        deliver: Callable[[Delivery], None],
        *,
        label: str,
        start_timeout: float = 30.0,
    ) -> AbstractAsyncContextManager[Receiver]:
        """Open a receiving connection. Entering returns when the queue is bound and consumed.

        Each wanted delivery is handed to `deliver`, a plain call, in the queue's order. Leaving gives back what is unsettled,
        and deletes the queue if it has no pool.

        Raises:
            TransportError: login, vhost, right or exchange refused, or not ready within `start_timeout` seconds.
        """
        ...

    def browser(self, queue: str) -> AbstractAsyncContextManager[Browser]:
        """Open a connection that looks into `queue`.

        Raises:
            TransportError: there is no such queue, or the broker is away or refuses.
        """
        ...


class Reservation(NamedTuple):
    """Room that a start sets aside for its terminal notification.

    Args:
        key: the swap: the start's notification `message_id`.
        messages: how many messages the terminal has: one a topic.
        size: bytes for each of them.
    """

    key: str
    messages: int
    size: int


@dataclass(slots=True, eq=False)
class Entry:
    """A message in an outbox, from accepted to confirmed or parked. `sequence` is its place in order."""

    sequence: int
    message: Message
    accepted_at: float
    """Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A message that the broker refuses, kept aside."""

    message: Message
    reason: str
    parked_at: float
    """Monotonic seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxCounts:
    """What an outbox holds now. `unsaved`: what the disk has refused; `EmitterHealth` says the rest."""

    accepted: int = 0
    confirmed: int = 0
    backlog: int = 0
    oldest_accepted_at: float | None = None
    parked: int = 0
    unsaved: int = 0
    foreign_files: int = 0
    damaged_files: int = 0
    trouble: str | None = None


class Outbox(Protocol):
    """Keeps messages from accepted until confirmed. Swaps call the first two methods, the relay the others; all plain."""

    def accept(
        self, *messages: Message, opens: Reservation | None = None, closes: Reservation | None = None
    ) -> asyncio.Future[None]:
        """Take one notification's `messages` (one a topic) at their place in order, at once, all or none.

        The future ends when they are safe, or with `OutboxError` if the disk refused (they are kept and relayed all the
        same). Cancelling it withdraws nothing. What `closes` a reservation always has room, whatever its size.

        Raises:
            OutboxFull: no room for them and what they open, or others wait in line before. Nothing was taken.
        """
        ...

    def line_up(self, *messages: Message, opens: Reservation | None = None) -> asyncio.Future[asyncio.Future[None]]:
        """Wait in line for room: the outer future ends when the messages are accepted, with what `accept` would return.

        Cancelling the outer future before that leaves the line: nothing was taken.
        """
        ...

    def release(self, reservation: Reservation) -> None:
        """Give back room that was set aside and is not needed."""
        ...

    def attach(self, wake: Callable[[], None] | None) -> None:
        """Call `wake` whenever there may be something to take; None: the relay has left."""
        ...

    async def open(self, clock: Clock, *, destination: str) -> None:
        """Get ready, before the first `accept`. An emitter opens the outbox that it was given, and closes it.

        What is kept for one `destination`, the transport's, is relayed to no other.

        Raises:
            OutboxError: misuse. A disk that refuses raises nothing.
        """
        ...

    async def close(self) -> None:
        """Let go of files. What is in the backlog then is lost, or kept on disk."""
        ...

    def take(self, limit: int, *, skip: Container[str] = (), only: str | None = None) -> list[Entry]:
        """Return up to `limit` entries that were not taken yet, in order, but for the routing keys in `skip`.

        Args:
            limit: at least 1.
            skip: routing keys to leave where they are.
            only: this routing key alone.
        """
        ...

    def give_back(self, entries: Iterable[Entry]) -> None:
        """Put what was taken back at its place in order, to be taken again."""
        ...

    def confirm(self, entry: Entry) -> None:
        """Remove what the broker has confirmed."""
        ...

    def park(self, entry: Entry, reason: str) -> bool:
        """Set `entry` aside. False: the room for parked messages is used up, and it stays where it is."""
        ...

    def parked(self) -> Sequence[Parked]:
        """Return what was set aside, oldest first."""
        ...

    def resend(self, message_ids: Container[str] | None = None) -> int:
        """Accept parked messages again, all or those with the given AMQP ids, and return how many."""
        ...

    def counts(self) -> OutboxCounts:
        """Return what it holds."""
        ...

    def at_risk(self) -> Sequence[Entry]:
        """Return what of the backlog would be lost if this process ended now, in order."""
        ...
