"""The seam beneath senders, receivers and browsers: how messages get to the driver's channels, and from them.

There are two ways. The fast one (`rabbit_fast.py`) writes and reads frames itself, beneath aio-pika; the plain one
(`rabbit_plain.py`) asks aio-pika's own client, aiormq, for each message. What is promised is above, once for both.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import aio_pika
from aiormq.abc import AbstractChannel, AbstractConnection

from aioswap.clock import Clock
from aioswap.errors import TransportError
from aioswap.transports.base import Confirmation, Delivery, Message, Settler
from aioswap.transports.urls import Address

__all__ = ["Answers", "Arrivals", "Intake", "Login", "Owner", "Publisher", "Settled", "Teller", "Way"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Where a connection goes, and as whom.

    Args:
        address: the host.
        tls: verifies it; None: no TLS.
        heartbeat: seconds.
        client: what operators see of it.
    """

    address: Address = field(repr=False)
    tls: ssl.SSLContext | None
    heartbeat: int
    client: dict[str, str]


class Owner(Protocol):
    """Whoever has a connection and is told of it."""

    @property
    def where(self) -> str:
        """The broker, without its password."""
        ...

    @property
    def clock(self) -> Clock:
        """Measures pauses."""
        ...

    def lost(self, cause: TransportError) -> None:
        """The connection has ended. The first cause counts."""
        ...

    def drop(self, cause: TransportError) -> None:
        """The connection must end, because of `cause`."""
        ...

    def set_blocked(self, blocked: str | None) -> None:
        """The broker stops taking messages, and why, or takes them again (None)."""
        ...

    def heard(self) -> None:
        """The broker has said something, a heartbeat at least. A way that does not see it never tells."""
        ...


class Answers(Protocol):
    """Takes what the broker says of messages that were numbered from 1 on."""

    def answered(self, number: int, confirmation: Confirmation, *, multiple: bool = False) -> None:
        """Message `number`, or all up to it, has its last answer."""
        ...

    def returned(self, message_id: str | None, exchange: str, routing_key: str) -> None:
        """A message with these marks came back; its last answer follows."""
        ...


class Publisher(Protocol):
    """Publishes on one channel with confirms."""

    def add(self, number: int, message: Message) -> None:
        """Put `message` in line; `number` is one more than the number before.

        Raises:
            ValueError: a part of it has no place in AMQP, or in this broker's frames. It takes no number.
        """
        ...

    def write(self) -> None:
        """Send what is in line, in order."""
        ...


class Settled(NamedTuple):
    """What the broker is to be told of a delivery."""

    tag: int
    requeue: bool
    multiple: bool
    """And of all before it."""


class Teller(Protocol):
    """Tells the broker what was settled."""

    def tell(self, settled: Sequence[Settled]) -> None:
        """Tell it in this order. Does nothing when the connection is gone."""
        ...

    async def told(self) -> None:
        """Wait until all of it stands before whatever is asked next on this channel."""
        ...


class Arrivals(Protocol):
    """Takes messages from a queue: each is judged by what costs little to read, and is a delivery only if that is needed."""

    def judge(self, tag: int, exchange: str, original: bytes, *, compressed: bool) -> Settler | None:
        """Take note of delivery `tag`. Return who settles it; None: no delivery is to be made of it.

        Args:
            tag: its number.
            exchange: where it was published.
            original: the bytes as they came.
            compressed: whether they may be compressed.
        """
        ...

    def take(self, delivery: Delivery, *, compressed: bool) -> None:
        """Take the delivery that `judge` let pass; `compressed` is what it was told."""
        ...


class Intake(Protocol):
    """Takes messages from queues on one channel."""

    @property
    def teller(self) -> Teller:
        """What tells the broker of them."""
        ...

    async def consume(self, queue: str, tag: str) -> None:
        """Begin to consume `queue`, with `tag` for the consumer's name."""
        ...

    def get(self, queue: str) -> asyncio.Future[bool]:
        """Take one message, which arrives before the future ends; False: there is none."""
        ...


class Way(Protocol):
    """A connection of the driver's, and how its channels are used."""

    @property
    def connection(self) -> aio_pika.Connection:
        """The connection, made but not yet open."""
        ...

    @property
    def transport(self) -> asyncio.WriteTransport | None:
        """Its socket's, when there is one that is known."""
        ...

    async def connect(self) -> AbstractConnection:
        """Log in, and return what opens channels.

        Raises:
            Unmet: the driver is not as this way needs it.
        """
        ...

    def abort(self, cause: TransportError) -> None:
        """End the connection at once, as far as that is known how."""
        ...

    def look(self) -> None:
        """Find out whether the broker is blocked, where it does not tell by itself."""
        ...

    def end(self) -> None:
        """The connection is lost: leave off what is under way."""
        ...

    async def ended(self) -> None:
        """Wait until nothing is under way."""
        ...

    def publisher(self, channel: AbstractChannel, answers: Answers, *, exchange: str, user: str) -> Publisher:
        """Return what publishes on `channel`, to `exchange` unless a message names another."""
        ...

    def intake(self, channel: AbstractChannel, doing: str, arrivals: Arrivals) -> Intake:
        """Return what takes messages on `channel`, and hands them to `arrivals`; `doing` stands in errors."""
        ...
