"""Deliveries, and acknowledging them in few frames: what is settled in one turn of the loop is told in one write.

RabbitMQ numbers the deliveries of a channel from 1 on, and takes one acknowledgement for all up to a number. That is only
sent for a prefix without gaps; what is settled beyond a gap is told one by one (rabbitmq.com/confirms.html).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from aioswap.transports.base import MAX_BODY, Delivery, Settler
from aioswap.transports.compression import readable
from aioswap.transports.rabbit_properties import decode_properties
from aioswap.transports.rabbit_way import Settled, Teller

__all__ = ["RabbitSettler", "Route", "as_delivery", "delivery_of", "unreadable"]


class RabbitSettler:
    """Settles the deliveries of one channel.

    Args:
        teller: tells the broker; does nothing when the connection is gone.
    """

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
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
        settled = [Settled(tag, requeue=True, multiple=False) for tag in self._given_back]
        within = [tag for tag in self._acked if tag <= self._prefix]
        if within:
            # The number itself must be one that the broker still waits for.
            settled.append(Settled(max(within), requeue=False, multiple=len(within) > 1))
        settled += [Settled(tag, requeue=False, multiple=False) for tag in self._acked if tag > self._prefix]
        self._given_back.clear()
        self._acked.clear()
        if settled:
            self._teller.tell(settled)

    async def finish(self) -> None:
        """Tell the rest, and wait until it stands before whatever is asked next on this channel."""
        self.flush()
        await self._teller.told()


class Route(NamedTuple):
    """Where a delivery comes from."""

    exchange: str
    routing_key: str
    redelivered: bool
    tag: int


def as_delivery(route: Route, properties: bytes, original: bytes, settler: Settler) -> Delivery:
    """Return the delivery that the broker's bytes mean. What cannot be read is told in it."""
    try:
        message_id, headers, others = decode_properties(properties)
    except ValueError as error:
        return unreadable(route, str(error), original, settler)
    return delivery_of(route, message_id, headers, others, original, settler)


def unreadable(route: Route, reason: str, original: bytes, settler: Settler) -> Delivery:
    """Return the delivery of a message whose properties cannot be read, with the reason."""
    return Delivery(
        body=None,
        original=original,
        unreadable=reason,
        exchange=route.exchange,
        routing_key=route.routing_key,
        redelivered=route.redelivered,
        tag=route.tag,
        settler=settler,
    )


def delivery_of(
    route: Route,
    message_id: str | None,
    headers: Mapping[str, Any],
    properties: Mapping[str, Any],
    original: bytes,
    settler: Settler,
) -> Delivery:
    """Return the delivery of a message whose properties could be read."""
    body, reason = readable(original, headers, MAX_BODY)
    return Delivery(
        body=body,
        original=original,
        unreadable=reason,
        exchange=route.exchange,
        routing_key=route.routing_key,
        redelivered=route.redelivered,
        message_id=message_id,
        headers=headers,
        properties=properties,
        tag=route.tag,
        settler=settler,
    )
