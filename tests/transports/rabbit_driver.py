"""The RabbitMQ transport under test: in a namespace of its own, through a proxy that can cut it off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelClosed

from aioswap.clock import Clock
from aioswap.outcomes import RETRY_LADDER
from aioswap.transports.rabbit import RabbitTransport
from aioswap.transports.topology import Binding, QueueDeclaration, dead_letter_queue, pool_exchange, pool_queue, retry_queue
from tests.broker import Proxy

__all__ = ["WAYS", "Admin", "HurriedClock", "RabbitDriver", "rabbit_driver"]

WAYS = [pytest.param(True, id="fast"), pytest.param(False, id="plain")]
"""Parameters of a test that both ways must pass."""


class HurriedClock(Clock):
    """Does not sleep, and remembers for how long it was asked to; is moved on by hand."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.elapsed = 0.0

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)


class Admin:
    """What an operator does to exchanges and queues, on a connection of its own. Open it by `async with`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stack = AsyncExitStack()
        self._connection: aio_pika.Connection | None = None

    async def __aenter__(self) -> Admin:
        connection = await aio_pika.connect(self._url, timeout=10, connection_class=aio_pika.Connection)
        self._connection = await self._stack.enter_async_context(connection)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def channel(self) -> AsyncGenerator[AbstractChannel]:
        """A channel for one request or a few."""
        assert self._connection is not None
        assert self._connection.transport is not None
        channel = await self._connection.transport.connection.channel()
        try:
            yield channel
        finally:
            await channel.close()

    async def exchange(self, name: str, kind: str = "topic", *, durable: bool = True) -> None:
        """Declare an exchange."""
        async with self.channel() as channel:
            await channel.exchange_declare(name, exchange_type=kind, durable=durable)

    async def has_exchange(self, name: str) -> bool:
        """Say whether there is such an exchange."""
        try:
            async with self.channel() as channel:
                await channel.exchange_declare(name, passive=True)
        except ChannelClosed:
            return False
        return True

    async def delete_exchange(self, name: str) -> None:
        """Delete an exchange, whether it is there or not."""
        async with self.channel() as channel:
            await channel.exchange_delete(name)

    async def queue(self, name: str, *, durable: bool = True, arguments: dict[str, Any] | None = None) -> None:
        """Declare a queue."""
        async with self.channel() as channel:
            await channel.queue_declare(name, durable=durable, arguments=arguments or {})

    async def depth(self, name: str) -> int | None:
        """Return how many messages are ready; None: there is no such queue."""
        try:
            async with self.channel() as channel:
                return (await channel.queue_declare(name, passive=True)).message_count
        except ChannelClosed:
            return None

    async def bind(self, queue: str, exchange: str, routing_key: str) -> None:
        """Bind a queue to an exchange."""
        async with self.channel() as channel:
            await channel.queue_bind(queue, exchange, routing_key)

    async def unbind(self, queue: str, exchange: str, routing_key: str) -> None:
        """End a binding."""
        async with self.channel() as channel:
            await channel.queue_unbind(queue, exchange, routing_key)

    async def delete_queue(self, name: str) -> None:
        """Delete a queue, whether it is there or not."""
        async with self.channel() as channel:
            await channel.queue_delete(name)


class RabbitDriver:
    """A `Driver` on a real broker. `fast`: which way its transport goes."""

    def __init__(self, admin: Admin, proxy: Proxy, exchange: str, *, clock: Clock | None = None, fast: bool = True) -> None:
        self.admin = admin
        self.proxy = proxy
        self.exchange = exchange
        self.transport = RabbitTransport(proxy.url, exchange=exchange, clock=clock, fast=fast)
        self._clock = clock
        self._suffix = exchange.removeprefix("test.")
        self._names: list[str] = []
        self._queues: list[str] = []

    def transport_of(self, *, fast: bool) -> RabbitTransport:
        """Return another transport to the same place."""
        return RabbitTransport(self.proxy.url, exchange=self.exchange, clock=self._clock, fast=fast)

    def unique(self, name: str) -> str:
        unique = f"{name}-{self._suffix}"
        self._names.append(unique)
        return unique

    async def declare(self, queue: QueueDeclaration, *bindings: Binding) -> None:
        self._queues.append(queue.name)
        await self.admin.queue(queue.name, arguments=dict(queue.arguments))
        for binding in bindings:
            exchange = self.exchange if binding.exchange is None else binding.exchange
            await self.admin.bind(binding.queue, exchange, binding.routing_key)

    async def lose(self) -> None:
        await self.proxy.settled()
        self.proxy.cut()

    async def restore(self) -> None:
        self.proxy.heal()

    async def advance(self, seconds: float) -> None:
        """Time passes by itself."""

    async def clean(self) -> None:
        """Remove what the test has made on the broker."""
        for name in self._names:
            steps = [retry_queue(name, seconds) for seconds in RETRY_LADDER]
            for queue in (pool_queue(name), dead_letter_queue(name), *steps):
                await self.admin.delete_queue(queue)
            await self.admin.delete_exchange(pool_exchange(name))
        for queue in self._queues:
            await self.admin.delete_queue(queue)
        await self.admin.delete_exchange(self.exchange)


@asynccontextmanager
async def rabbit_driver(
    url: str,
    *,
    clock: Clock | None = None,
    transport_url: str | None = None,
    exchange: str | None = None,
    fast: bool = True,
) -> AsyncGenerator[RabbitDriver]:
    """A driver whose transport talks to the broker at `url`, in an exchange of its own.

    Args:
        url: an administrator's.
        clock: the transport's.
        transport_url: the transport's, where that has another user.
        exchange: its name, where that matters.
        fast: the way that the transport goes.
    """
    async with Admin(url) as admin, Proxy(transport_url or url) as proxy:
        exchange = exchange or f"test.{uuid4().hex[:8]}"
        await admin.exchange(exchange)
        driver = RabbitDriver(admin, proxy, exchange, clock=clock, fast=fast)
        try:
            yield driver
        finally:
            await driver.clean()
