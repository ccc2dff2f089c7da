"""Deliveries, and acknowledging them in few frames: what is settled in one turn of the loop is told in one write.

RabbitMQ numbers the deliveries of a channel from 1 on, and takes one acknowledgement for all up to a number. That is only
sent for a prefix without gaps; what is settled beyond a gap is told one by one (rabbitmq.com/confirms.html).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from aiormq.abc import AbstractChannel

from aioswap.transports.base import MAX_BODY, Delivery, Settler
from aioswap.transports.compression import readable
from aioswap.transports.rabbit_connection import Session
from aioswap.transports.rabbit_properties import decode_properties

__all__ = ["RabbitSettler", "Route", "as_delivery"]

_ACK: Final = struct.Struct(">BHIHHQBB")
_ACK_SIZE: Final = 13


class RabbitSettler:
    """Settles the deliveries of one channel.

    Args:
        channel: its number.
        write: sends whole frames; does nothing when the connection is gone.
    """

    def __init__(self, channel: int, write: Callable[[bytes], None]) -> None:
        self._channel = channel
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._prefix = 0
        self._beyond: set[int] = set()
        """Settled deliveries after the first unsettled one."""
        self._acked: list[int] = []
        """Not told yet."""
        self._given_back: list[int] = []
        self._scheduled = False
        self._newest = 0

    def delivered(self, tag: int) -> None:
        """Note that `tag` is there to be settled."""
        self._newest = tag

    def settle(self, tag: int, *, requeue: bool) -> None:
        """Acknowledge delivery `tag`, or give it back. A second time, or when the connection is gone, it does nothing."""
        if tag <= self._prefix or tag > self._newest or tag in self._beyond:
            return
        self._beyond.add(tag)
        (self._given_back if requeue else self._acked).append(tag)
        while self._prefix + 1 in self._beyond:
            self._prefix += 1
            self._beyond.remove(self._prefix)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Tell the broker what was settled."""
        self._scheduled = False
        frames = [self._frame(120, tag, 2) for tag in self._given_back]  # nack, requeue
        within = [tag for tag in self._acked if tag <= self._prefix]
        if within:
            # The number itself must be one that the broker still waits for.
            frames.append(self._frame(80, max(within), len(within) > 1))
        frames += [self._frame(80, tag, 0) for tag in self._acked if tag > self._prefix]
        self._given_back.clear()
        self._acked.clear()
        if frames:
            self._write(b"".join(frames))

    async def finish(self, session: Session, channel: AbstractChannel) -> None:
        """Tell the rest, and wait until the broker has read it: its answer to any request on this channel comes after.

        Raises:
            TransportError: it does not answer.
        """
        self.flush()
        async with session.guard("acknowledging"):
            await channel.basic_qos(prefetch_count=1)

    def _frame(self, method: int, tag: int, flags: int) -> bytes:
        return _ACK.pack(1, self._channel, _ACK_SIZE, 60, method, tag, flags, 0xCE)


class Route(NamedTuple):
    """Where a delivery comes from."""

    exchange: str
    routing_key: str
    redelivered: bool
    tag: int


def as_delivery(route: Route, properties: bytes, original: bytes, settler: Settler) -> Delivery:
    """Return the delivery that the broker's bytes mean. What cannot be read is told in it."""
    body: bytes | None
    unreadable: str | None
    try:
        message_id, headers, others = decode_properties(properties)
    except ValueError as error:
        message_id, headers, others, body, unreadable = None, {}, {}, None, str(error)
    else:
        body, unreadable = readable(original, headers, MAX_BODY)
    return Delivery(
        body=body,
        original=original,
        unreadable=unreadable,
        exchange=route.exchange,
        routing_key=route.routing_key,
        redelivered=route.redelivered,
        message_id=message_id,
        headers=headers,
        properties=others,
        tag=route.tag,
        settler=settler,
    )
