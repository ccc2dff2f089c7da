"""A look into a queue: messages are got one by one, nothing is fetched ahead (AMQP basic.get)."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

import pamqp.frame
from aiormq import spec
from aiormq.abc import AbstractChannel

from aioswap.errors import TransportError
from aioswap.transports.base import Delivery
from aioswap.transports.rabbit_broker import Broker
from aioswap.transports.rabbit_connection import Session, connected
from aioswap.transports.rabbit_control import Control
from aioswap.transports.rabbit_delivery import RabbitSettler, Route, as_delivery
from aioswap.transports.rabbit_frames import CHANNEL_CLOSE, GET_EMPTY, GET_OK, ChannelFrames, closed_by
from aioswap.transports.rabbit_properties import short_string

__all__ = ["RabbitBrowser", "browsing"]

_TAG: Final = struct.Struct(">QB")


class RabbitBrowser:
    """Gets messages of one queue."""

    def __init__(self, queue: str, session: Session, channel: AbstractChannel) -> None:
        self._queue = queue
        self._session = session
        self._channel = channel
        self._settler = RabbitSettler(channel.number, session.write)
        self._waiting: asyncio.Future[Delivery | None] | None = None
        self._unclaimed: deque[Delivery | None] = deque()
        """What came after its `get` had been cancelled."""
        methods = {GET_EMPTY: self._empty, CHANNEL_CLOSE: self._closed}
        session.watch(channel, ChannelFrames(contents={GET_OK: self._got}, methods=methods))
        session.tell_loss(self._lost)

    async def get(self) -> Delivery | None:
        """Return the next message, None at the end of the queue.

        Raises:
            TransportError: the connection was lost, or the queue is gone.
            RuntimeError: another task is getting one.
        """
        if self._waiting is not None:
            raise RuntimeError("one task at a time can look into a queue")
        if self._session.cause is not None:
            raise TransportError(str(self._session.cause))
        if self._unclaimed:
            return self._unclaimed.popleft()
        self._settler.flush()  # so that what was given back is seen again
        self._waiting = asyncio.get_running_loop().create_future()
        self._session.write(pamqp.frame.marshal(spec.Basic.Get(queue=self._queue), self._channel.number))
        try:
            async with self._session.guard(f"looking into the queue {self._queue}"):
                return await self._waiting
        finally:
            self._waiting = None

    async def leave(self) -> None:
        """Tell the broker what was settled, and wait until it knows."""
        with suppress(TransportError):
            await self._settler.finish(self._session, self._channel)

    def _got(self, arguments: bytes, properties: bytes, body: bytes) -> None:
        tag, redelivered = _TAG.unpack_from(arguments)
        exchange, at = short_string(arguments, _TAG.size)
        routing_key, _ = short_string(arguments, at)
        self._settler.delivered(tag)
        route = Route(exchange=exchange, routing_key=routing_key, redelivered=bool(redelivered), tag=tag)
        self._answer(as_delivery(route, properties, body, self._settler))

    def _empty(self, arguments: bytes) -> bool:
        self._answer(None)
        return True

    def _answer(self, delivery: Delivery | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(delivery)
        else:
            self._unclaimed.append(delivery)

    def _closed(self, arguments: bytes) -> bool:
        self._session.drop(closed_by(arguments, f"{self._session.where}: looking into the queue {self._queue}"))
        return False

    def _lost(self, cause: TransportError) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(TransportError(str(cause)))


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
