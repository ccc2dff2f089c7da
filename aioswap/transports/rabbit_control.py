"""What is declared, bound, counted and deleted, on one channel of a connection that is opened again only when it died.

A channel that the broker closes for one refused request takes nothing else with it, and channels are not opened for each
request: aiormq keeps some of each until the connection ends.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiormq.abc import AbstractChannel

from aioswap.errors import TransportError
from aioswap.transports.rabbit_connection import Session
from aioswap.transports.rabbit_errors import Answered, answered
from aioswap.transports.topology import QueueDeclaration

__all__ = ["Control"]


class Control:
    """Requests that are not about single messages."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._channel: AbstractChannel | None = None

    @asynccontextmanager
    async def _request(self, doing: str) -> AsyncGenerator[AbstractChannel]:
        """Give a channel; after an error the next request gets a new one."""
        if self._channel is None:
            self._channel = await self._session.channel()
        try:
            async with self._session.guard(doing):
                yield self._channel
        except TransportError:
            self._channel = None
            raise

    async def ensure_exchange(self, exchange: str, durable: bool | None) -> None:
        """Make sure that the notification exchange is there; create it only if `durable` is not None.

        Raises:
            TransportError: it is missing, or may not be created.
        """
        try:
            async with self._request(f"looking for the exchange {exchange}") as channel:
                await channel.exchange_declare(exchange, passive=True)
        except Answered as error:
            if error.code != 404:
                raise
            if durable is None:
                raise self._no_exchange(exchange) from None
            async with self._request(f"creating the exchange {exchange}") as channel:
                await channel.exchange_declare(exchange, exchange_type="topic", durable=durable)

    def _no_exchange(self, exchange: str) -> TransportError:
        remedy = "start Nova first, correct `exchange`, or let it be created with `exchange_durable`, exactly as Nova would"
        return answered(404, f"no exchange '{exchange}'", self._session.where, remedy)

    async def declare_exchange(self, exchange: str) -> None:
        """Declare a pool's own exchange."""
        async with self._request(f"declaring the exchange {exchange}") as channel:
            await channel.exchange_declare(exchange, exchange_type="direct", durable=True)

    async def declare_queue(self, queue: QueueDeclaration, *, durable: bool = True) -> str | None:
        """Declare `queue`. A queue that exists with other properties is left as it is: the broker's words are returned."""
        try:
            async with self._request(f"declaring the queue {queue.name}") as channel:
                await channel.queue_declare(queue.name, durable=durable, arguments=dict(queue.arguments))
        except Answered as error:
            if error.code != 406:
                raise
            return str(error)
        return None

    async def depth(self, queue: str) -> int:
        """Return how many messages are ready in `queue`.

        Raises:
            TransportError: there is no such queue.
        """
        async with self._request(f"looking for the queue {queue}") as channel:
            told = await channel.queue_declare(queue, passive=True)
        return told.message_count or 0

    async def bind(self, queue: str, exchange: str, routing_key: str) -> None:
        """Let `queue` get what is published to `exchange` with `routing_key`."""
        async with self._request(f"binding the queue {queue} to the exchange {exchange}") as channel:
            await channel.queue_bind(queue, exchange, routing_key)

    async def delete_queue(self, queue: str) -> None:
        """Delete `queue`, with what is in it."""
        async with self._request(f"deleting the queue {queue}") as channel:
            await channel.queue_delete(queue)
