"""A look into a queue: messages are got one by one, nothing is fetched ahead (AMQP basic.get)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from aiormq.abc import AbstractChannel

from aioswap.errors import TransportError
from aioswap.transports.base import Delivery
from aioswap.transports.rabbit_broker import Broker
from aioswap.transports.rabbit_connection import Session, connected
from aioswap.transports.rabbit_control import Control
from aioswap.transports.rabbit_delivery import RabbitSettler

__all__ = ["RabbitBrowser", "browsing"]


class RabbitBrowser:
    """Gets messages of one queue."""

    def __init__(self, queue: str, session: Session, channel: AbstractChannel) -> None:
        self._queue = queue
        self._session = session
        self._channel = channel
        self._intake = session.way.intake(channel, f"looking into the queue {queue}", self)
        self._settler = RabbitSettler(self._intake.teller)
        self._looking = False
        self._asked: asyncio.Future[bool] | None = None
        """Outlives a `get` that is cancelled: what comes is for the next one."""
        self._got: Delivery | None = None
        session.tell_loss(self._lost)

    async def get(self) -> Delivery | None:
        """Return the next message, None at the end of the queue.

        Raises:
            TransportError: the connection was lost, or the queue is gone.
            RuntimeError: another task is getting one.
        """
        if self._looking:
            raise RuntimeError("one task at a time can look into a queue")
        if self._session.cause is not None:
            raise TransportError(str(self._session.cause))
        if self._asked is None:
            self._settler.flush()  # so that what was given back is seen again
            self._asked = self._intake.get(self._queue)
        self._looking = True
        try:
            async with self._session.guard(f"looking into the queue {self._queue}"):
                await asyncio.shield(self._asked)
        finally:
            self._looking = False
        got, self._got, self._asked = self._got, None, None
        return got

    async def leave(self) -> None:
        """Tell the broker what was settled, and wait until it knows."""
        with suppress(TransportError):
            await self._session.finish(self._settler, self._channel)

    def judge(self, tag: int, exchange: str, original: bytes, *, compressed: bool) -> RabbitSettler:
        """Take everything. See `Arrivals`."""
        self._settler.delivered(tag)
        return self._settler

    def take(self, delivery: Delivery, *, compressed: bool) -> None:
        """Keep it for who has asked."""
        self._got = delivery

    def _lost(self, cause: TransportError) -> None:
        if self._asked is not None:
            self._asked.cancel()


@asynccontextmanager
async def browsing(broker: Broker, queue: str) -> AsyncGenerator[RabbitBrowser]:
    """Connect to the first host that answers, and look into `queue`; what is not settled goes back at the end.

    Raises:
        TransportError: there is no such queue, or every host is away or refuses.
    """
    async with AsyncExitStack() as stack:
        session = await _first_host(broker, f"browser {queue}", stack)
        await Control(session).depth(queue)
        browser = RabbitBrowser(queue, session, await session.channel())
        try:
            yield browser
        finally:
            await browser.leave()


async def _first_host(broker: Broker, label: str, stack: AsyncExitStack) -> Session:
    hosts = broker.shuffled()
    while True:
        address, url = hosts.pop()
        try:
            return await stack.enter_async_context(connected(broker, address, url, label))
        except TransportError:
            if not hosts:
                raise
