"""Single questions to one host of a RabbitMQ, for whoever looks for a fault: nothing is repaired, nothing is tried again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple
from uuid import uuid4

from aioswap.clock import Clock
from aioswap.errors import TransportError
from aioswap.transports.base import Subscription
from aioswap.transports.rabbit_broker import Broker
from aioswap.transports.rabbit_connection import Session, connected
from aioswap.transports.rabbit_control import Control
from aioswap.transports.rabbit_errors import Answered
from aioswap.transports.topology import topology
from aioswap.transports.urls import Address, BrokerUrl

__all__ = ["Depth", "Probe", "probing"]

_HEARTBEAT: Final = 10
_NOT_FOUND: Final = 404


class Depth(NamedTuple):
    """What a queue holds now, and how many read it."""

    messages: int
    consumers: int


class Probe:
    """A connection to ask by. Every question may raise `TransportError`; the broker's own no is an `Answered`, with a code."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._control = Control(session)

    async def server(self) -> str:
        """Return the product and the version of what answers."""
        told = (await self._session.channel()).connection.server_properties
        return " ".join(str(told[name]) for name in ("product", "version") if name in told)

    async def exchange(self, name: str) -> bool:
        """Say whether there is an exchange of this name."""
        try:
            await self._control.ensure_exchange(name, None)
        except Answered as error:
            if error.code == _NOT_FOUND:
                return False
            raise
        return True

    async def depth(self, queue: str) -> Depth | None:
        """Return what `queue` holds; None: there is no such queue. It takes no right to ask."""
        channel = await self._session.channel()
        try:
            async with self._session.guard(f"looking for the queue {queue}"):
                told = await channel.queue_declare(queue, passive=True)
        except Answered as error:
            if error.code == _NOT_FOUND:
                return None
            raise
        return Depth(told.message_count or 0, told.consumer_count or 0)

    async def listen(self, exchange: str, subscription: Subscription) -> None:
        """Do once all that a consumer without a pool does: make a queue, bind it, read it, delete it."""
        layout = topology(subscription, uuid4().hex)
        (queue,) = layout.queues
        await self._control.declare_queue(queue)
        try:
            for binding in layout.bindings:
                await self._control.bind(binding.queue, exchange, binding.routing_key)
            channel = await self._session.channel()
            async with self._session.guard(f"reading the queue {queue.name}"):
                await channel.basic_get(queue.name, no_ack=True)
        finally:
            with contextlib.suppress(TransportError):
                await self._control.delete_queue(queue.name)

    async def blocked(self) -> str | None:
        """Return why the broker takes no messages (memory, disk); None: it takes them.

        RabbitMQ tells that only to who publishes: an empty message goes to the default exchange, to a queue that is not there.
        Without the right to publish nothing else is different: the broker looks at its alarms first. Ask nothing afterwards.
        """
        alarm = asyncio.Event()
        self._session.on_blocked = alarm.set
        channel = await self._session.channel()
        async with self._session.guard("publishing nothing to nobody"):
            await channel.basic_publish(b"", exchange="", routing_key=f"aioswap.nobody.{uuid4().hex}")
        answer = asyncio.ensure_future(self._session.channel())  # a broker that is blocked does not read any further
        told = asyncio.ensure_future(alarm.wait())
        try:
            await asyncio.wait((answer, told), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                answer.result()
            return self._session.blocked
        finally:
            for waiting in (answer, told):
                waiting.cancel()
            await asyncio.wait((answer, told))


@asynccontextmanager
async def probing(url: BrokerUrl, address: Address, clock: Clock) -> AsyncGenerator[Probe]:
    """Connect to one host.

    Args:
        url: the one that names it.
        address: one of its addresses.
        clock: measures deadlines.

    Raises:
        TransportError: the host is away or too slow; as `Answered`: the login (403) or the vhost (530) is refused.
    """
    broker = Broker(urls=(url,), heartbeat=_HEARTBEAT, clock=clock)
    async with connected(broker, address, url, "doctor") as session:
        yield Probe(session)
