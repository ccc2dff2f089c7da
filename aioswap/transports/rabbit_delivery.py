"""Deliveries, and acknowledging them in few frames: what is settled in one turn of the loop is told in one write.

RabbitMQ numbers the deliveries of a channel from 1 on, and takes one acknowledgement for all up to a number. That is only
sent for a prefix without gaps; what is settled beyond a gap is told one by one (rabbitmq.com/confirms.html).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aioswap.transports.base import MAX_BODY, NO_HEADERS, Delivery, Settler
from aioswap.transports.compression import readable
from aioswap.transports.rabbit_way import Settled, Teller

__all__ = ["RabbitSettler", "Route", "delivery_of"]


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
        if tag == self._prefix + 1 and tag <= self._newest:  # in order, as most are
            self._prefix = tag
            if self._beyond:
                self._close_gap()
        elif tag <= self._prefix or tag > self._newest or tag in self._beyond:
            return
        else:
            self._beyond.add(tag)
        (self._given_back if requeue else self._acked).append(tag)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def _close_gap(self) -> None:
        while self._prefix + 1 in self._beyond:
            self._prefix += 1
            self._beyond.remove(self._prefix)

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


_new: Final = object.__new__


def delivery_of(
    route: Route,
    tag: int,
    redelivered: bool,
    original: bytes,
    settler: Settler,
    read: tuple[str | None, Mapping[str, Any], Mapping[str, Any]] | str,
) -> Delivery:
    """Return the delivery of a message. What cannot be read is told in it.

    Args:
        route: where it comes from.
        tag: its number.
        redelivered: whether it came before.
        original: the bytes as they came.
        settler: who settles it.
        read: message id, headers and other properties; or why they cannot be read.
    """
    made: Delivery = _new(Delivery)  # one for each message: with keywords it takes three times as long
    made.exchange, made.routing_key = route
    made.tag = tag
    made.redelivered = redelivered
    made.original = original
    made.settler = settler
    if isinstance(read, str):
        made.message_id, made.headers, made.properties = None, NO_HEADERS, NO_HEADERS
        made.body, made.unreadable = None, read
    else:
        made.message_id, made.headers, made.properties = read
        made.body, made.unreadable = readable(original, made.headers, MAX_BODY)
    return made
