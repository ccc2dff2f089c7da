"""What is declared, bound, counted and deleted, on one channel of a connection that is opened again only when it died.

A channel that the broker closes for one refused request takes nothing else with it, and channels are not opened for each
request: aiormq keeps some of each until the connection ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiormq.abc import AbstractChannel

from aioswap.errors import TransportError
from aioswap.transports.rabbit_connection import Session
from aioswap.transports.rabbit_errors import Answered, answered
from aioswap.transports.topology import QueueDeclaration

__all__ = ["Control"]

T = TypeVar("T")


class Control:
    """Requests that are not about single messages."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._channel: AbstractChannel | None = None

    async def _ask(self, doing: str, request: Callable[[AbstractChannel], Awaitable[T]]) -> T:
        """Make one request; after an error the next one gets a new channel."""
        try:
            if self._channel is None:
                self._channel = await self._session.channel()
            async with self._session.guard(doing):
                return await request(self._channel)
        except TransportError:
            self._channel = None
            raise

    async def ensure_exchange(self, exchange: str, durable: bool | None) -> None:
        """Make sure that the notification exchange is there; create it only if `durable` is not None.

        Raises:
            TransportError: it is missing, or may not be created.
        """
        doing = f"looking for the exchange {exchange}"
        try:
            await self._ask(doing, lambda channel: channel.exchange_declare(exchange, passive=True))
        except Answered as error:
            if error.code != 404:
                raise
            if durable is None:
                raise self._no_exchange(exchange) from None
            await self._declare_exchange(exchange, "topic", durable)

    def _no_exchange(self, exchange: str) -> TransportError:
        remedy = "start Nova first, correct `exchange`, or let it be created with `exchange_durable`, exactly as Nova would"
        return answered(404, f"no exchange '{exchange}'", self._session.where, remedy)

    async def declare_pool_exchange(self, exchange: str) -> None:
        """Declare a pool's own exchange."""
        await self._declare_exchange(exchange, "direct", durable=True)

    async def _declare_exchange(self, exchange: str, kind: str, durable: bool) -> None:
        await self._ask(
            f"declaring the exchange {exchange}",
            lambda channel: channel.exchange_declare(exchange, exchange_type=kind, durable=durable),
        )

    async def declare_queue(self, queue: QueueDeclaration, *, durable: bool = True) -> str | None:
        """Declare `queue`. A queue that exists with other properties is left as it is: the broker's words are returned."""
        try:
            await self._ask(
                f"declaring the queue {queue.name}",
                lambda channel: channel.queue_declare(queue.name, durable=durable, arguments=dict(queue.arguments)),
            )
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
        doing = f"looking for the queue {queue}"
        told = await self._ask(doing, lambda channel: channel.queue_declare(queue, passive=True))
        return told.message_count or 0

    async def bind(self, queue: str, exchange: str, routing_key: str) -> None:
        """Let `queue` get what is published to `exchange` with `routing_key`."""
        doing = f"binding the queue {queue} to the exchange {exchange}"
        await self._ask(doing, lambda channel: channel.queue_bind(queue, exchange, routing_key))

    async def delete_queue(self, queue: str) -> None:
        """Delete `queue`, with what is in it."""
        await self._ask(f"deleting the queue {queue}", lambda channel: channel.queue_delete(queue))

    async def delete_exchange(self, exchange: str) -> None:
        """Delete `exchange`, with what is bound to it."""
        await self._ask(f"deleting the exchange {exchange}", lambda channel: channel.exchange_delete(exchange))
