"""Removes what a run of tests has made on a RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aioswap.clock import Clock
from aioswap.errors import TransportError
from aioswap.transports.rabbit_broker import Broker
from aioswap.transports.rabbit_connection import connected
from aioswap.transports.rabbit_control import Control
from aioswap.transports.urls import parse_url

__all__ = ["remove"]

_HEARTBEAT: Final = 10
_OWN: Final = "aioswap."


async def remove(url: str, *, queues: Iterable[str], exchanges: Iterable[str]) -> None:
    """Delete queues, with what is in them, and exchanges. What is not there is no error.

    Args:
        url: of the broker; of several hosts the first that answers is asked.
        queues: their names begin with `aioswap.`.
        exchanges: likewise: Nova's own can't be deleted by this.

    Raises:
        ValueError: the URL cannot be read, or a name is none of ours. Nothing was deleted.
        TransportError: the broker is away, or refuses.
    """
    queues, exchanges = tuple(queues), tuple(exchanges)
    foreign = [name for name in (*queues, *exchanges) if not name.startswith(_OWN)]
    if foreign:
        raise ValueError(f"{foreign[0]!r} does not begin with {_OWN}: only what aioswap has made is deleted")
    broker = Broker(urls=(parse_url(url),), heartbeat=_HEARTBEAT, clock=Clock())
    hosts = broker.shuffled()
    while True:
        address, parsed = hosts.pop()
        try:
            async with connected(broker, address, parsed, "removal") as session:
                control = Control(session)
                for queue in queues:
                    await control.delete_queue(queue)
                for exchange in exchanges:
                    await control.delete_exchange(exchange)
                return
        except TransportError:
            if not hosts:
                raise
