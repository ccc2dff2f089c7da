"""The fast way: the frames of messages, confirms and deliveries are written and read here, beneath aio-pika.

What is sent or settled in one turn of the loop goes out in one write. Nothing costs a task for each message. What this needs of
the driver stands in `rabbit_assumptions.py`.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final

import pamqp.frame
from aiormq import spec
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

from aioswap.errors import TransportError
from aioswap.transports.base import Confirmation, Message
from aioswap.transports.rabbit_assumptions import FACTORY, FRAME_MAX, Driver, Unmet, offer
from aioswap.transports.rabbit_broker import driver_url
from aioswap.transports.rabbit_delivery import Route, delivery_of
from aioswap.transports.rabbit_encoder import Encoder
from aioswap.transports.rabbit_frames import (
    ACK,
    CANCEL,
    CHANNEL_CLOSE,
    DELIVER,
    GET_EMPTY,
    GET_OK,
    NACK,
    RETURN,
    ChannelFrames,
    Factory,
    Method,
    closed_by,
)
from aioswap.transports.rabbit_properties import PropertiesReader, decode_properties, short_string
from aioswap.transports.rabbit_way import Answers, Arrivals, Login, Owner, Settled

__all__ = ["FastIntake", "FastPublisher", "FastTeller", "FastWay"]

_NUMBER: Final = struct.Struct(">QB")
_SETTLE: Final = struct.Struct(">BHIHHQBB")
_SETTLE_SIZE: Final = 13
_COUNT_SIZE: Final = 4
"""Bytes behind the route of what was asked for: how many messages are left."""


class FastWay:
    """A connection whose frames are seen before aiormq sees them. See `Way`.

    Args:
        owner: is told of its end.
        login: where it goes.
        driver: makes it.
    """

    def __init__(self, owner: Owner, login: Login, driver: Driver) -> None:
        self._owner = owner
        self._factory = Factory(owner.where, login.tls, owner.lost, owner.set_blocked, owner.heard)
        self._frame_max = 0
        url = driver_url(login.address, login.heartbeat)
        self.connection = driver.connection(url, ssl_context=login.tls, client_properties=dict(login.client))
        self._offered = offer(driver, self.connection, self._factory)

    @property
    def transport(self) -> asyncio.WriteTransport | None:
        """Its socket's, when there is one."""
        return None if self._factory.frames is None else self._factory.frames.transport

    async def connect(self) -> AbstractConnection:
        """Log in. See `Way.connect`.

        Raises:
            Unmet: the frames can't be seen.
        """
        if not self._offered:
            raise Unmet(FACTORY)
        await self.connection.connect()
        if self._factory.frames is None:
            raise Unmet(FACTORY)
        assert self.connection.transport is not None
        client = self.connection.transport.connection
        frame_max = getattr(getattr(client, "connection_tune", None), "frame_max", None)
        if not isinstance(frame_max, int):
            raise Unmet(FRAME_MAX)
        self._frame_max = frame_max
        return client

    def abort(self, cause: TransportError) -> None:
        """End the connection at once."""
        if self._factory.frames is not None:
            self._factory.frames.end(cause)

    def look(self) -> None:
        """Do nothing: the broker's own word is heard."""

    def end(self) -> None:
        """Do nothing: nothing is under way."""

    async def ended(self) -> None:
        """Return at once."""

    def publisher(self, channel: AbstractChannel, answers: Answers, *, exchange: str, user: str) -> FastPublisher:
        """Return what publishes on `channel`. See `Way.publisher`."""

        def returned(arguments: bytes, properties: bytes, body: bytes) -> None:
            _, at = short_string(arguments, 2)
            back, at = short_string(arguments, at)
            routing_key, _ = short_string(arguments, at)
            message_id, _, _ = decode_properties(properties)
            answers.returned(message_id, back, routing_key)

        methods = {
            ACK: partial(_answered, answers, Confirmation.CONFIRMED),
            NACK: partial(_answered, answers, Confirmation.NACKED),
            CHANNEL_CLOSE: partial(self._closed, "sending"),
        }
        self._watch(channel, ChannelFrames(contents={RETURN: returned}, methods=methods))
        return FastPublisher(self._write, Encoder(channel.number, self._frame_max, exchange=exchange, user=user))

    def intake(self, channel: AbstractChannel, doing: str, arrivals: Arrivals) -> FastIntake:
        """Return what takes messages on `channel`. See `Way.intake`."""
        intake = FastIntake(channel, self._write, arrivals)
        methods: dict[bytes, Method] = {
            CANCEL: self._cancelled,
            CHANNEL_CLOSE: partial(self._closed, doing),
            GET_EMPTY: intake.empty,
        }
        self._watch(channel, ChannelFrames(contents={DELIVER: intake.delivered, GET_OK: intake.got}, methods=methods))
        return intake

    def _watch(self, channel: AbstractChannel, frames: ChannelFrames) -> None:
        assert self._factory.frames is not None
        self._factory.frames.watch(channel.number, frames)

    def _write(self, data: bytes) -> None:
        """Send whole frames now. Does nothing when the connection is lost."""
        transport = self.transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def _closed(self, doing: str, arguments: bytes) -> bool:
        self._owner.drop(closed_by(arguments, f"{self._owner.where}: {doing}"))
        return False

    def _cancelled(self, arguments: bytes) -> bool:
        # A queue was deleted, or has moved: everything is made again.
        self._owner.drop(TransportError(f"{self._owner.where}: the broker ended the consumer (was its queue deleted?)"))
        return False


def _answered(answers: Answers, confirmation: Confirmation, arguments: bytes) -> bool:
    number, flags = _NUMBER.unpack_from(arguments)
    answers.answered(number, confirmation, multiple=bool(flags & 1))
    return True


class FastPublisher:
    """Writes messages as frames, those of one turn of the loop at once. See `Publisher`."""

    def __init__(self, write: Callable[[bytes], None], encoder: Encoder) -> None:
        self._write = write
        self._encoder = encoder
        self._line: list[bytes] = []

    def add(self, number: int, message: Message) -> None:
        """Encode `message`. The broker counts as the sender does: its number need not be written.

        Raises:
            ValueError: a part of it has no place in AMQP, or in this broker's frames.
        """
        self._line += self._encoder.frames(message)

    def write(self) -> None:
        """Send what is in line."""
        if self._line:
            data = b"".join(self._line)
            self._line.clear()
            self._write(data)


class FastTeller:
    """Writes acknowledgements, those of one turn of the loop at once. See `Teller`.

    Args:
        channel: its number.
        write: sends whole frames; does nothing when the connection is gone.
    """

    def __init__(self, channel: int, write: Callable[[bytes], None]) -> None:
        self._channel = channel
        self._write = write

    def tell(self, settled: Sequence[Settled]) -> None:
        """Write it now."""
        channel, pack = self._channel, _SETTLE.pack
        self._write(
            b"".join(
                pack(1, channel, _SETTLE_SIZE, 60, 120, tag, 2, 0xCE)  # nack, requeue
                if requeue
                else pack(1, channel, _SETTLE_SIZE, 60, 80, tag, multiple, 0xCE)
                for tag, requeue, multiple in settled
            )
        )

    async def told(self) -> None:
        """Return at once: it was written."""


class FastIntake:
    """Reads deliveries as they come. See `Intake`."""

    def __init__(self, channel: AbstractChannel, write: Callable[[bytes], None], arrivals: Arrivals) -> None:
        self._channel = channel
        self._write = write
        self._judge, self._hand_over = arrivals.judge, arrivals.take
        self._read = PropertiesReader().read
        self._asked: asyncio.Future[bool] | None = None
        self.teller = FastTeller(channel.number, write)

    async def consume(self, queue: str, tag: str) -> None:
        """Begin to consume `queue`, with `tag` for the consumer's name."""
        await self._channel.basic_consume(queue, _never, consumer_tag=tag)

    def get(self, queue: str) -> asyncio.Future[bool]:
        """Take one message. See `Intake.get`."""
        self._asked = asyncio.get_running_loop().create_future()
        self._write(pamqp.frame.marshal(spec.Basic.Get(queue=queue), self._channel.number))
        return self._asked

    def delivered(self, arguments: bytes, properties: bytes, body: bytes) -> None:
        """Take a delivery: the consumer's tag comes first, then what is told of a message."""
        at = 1 + arguments[0]
        tag, redelivered = _NUMBER.unpack_from(arguments, at)
        route = _route(arguments[at + _NUMBER.size :])
        compressed = b"compression" in properties
        settler = self._judge(tag, route.exchange, body, compressed=compressed)
        if settler is None:
            return
        read: tuple[str | None, Mapping[str, Any], Mapping[str, Any]] | str
        try:
            read = self._read(properties)
        except ValueError as error:
            read = str(error)
        self._hand_over(delivery_of(route, tag, bool(redelivered), body, settler, read), compressed=compressed)

    def got(self, arguments: bytes, properties: bytes, body: bytes) -> None:
        """Take what was asked for: it is told without a consumer's tag, and with a count of what is left."""
        self.delivered(b"\x00" + arguments[:-_COUNT_SIZE], properties, body)
        self._answer(found=True)

    def empty(self, arguments: bytes) -> bool:
        """There is nothing to get."""
        self._answer(found=False)
        return True

    def _answer(self, *, found: bool) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(found)


@lru_cache(maxsize=64)
def _route(data: bytes) -> Route:
    """Return what two short strings mean: most deliveries come the same way."""
    exchange, at = short_string(data, 0)
    return Route(exchange, short_string(data, at)[0])


async def _never(message: DeliveredMessage) -> None:  # pragma: no cover - deliveries are taken before they reach it
    """The driver wants a callback."""
