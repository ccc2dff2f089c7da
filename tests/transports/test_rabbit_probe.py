"""Single questions to a broker: what the doctor asks, and what is left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import aio_pika
import pytest

from aioswap.clock import Clock
from aioswap.errors import TransportError
from aioswap.transports.base import Message, Subscription
from aioswap.transports.rabbit import RabbitTransport
from aioswap.transports.rabbit_errors import Answered
from aioswap.transports.rabbit_probe import Depth, Probe, probing
from aioswap.transports.urls import parse_url
from tests.broker import Proxy
from tests.transports.rabbit_driver import Admin

pytestmark = pytest.mark.broker


@pytest.fixture
async def admin(amqp_url: str) -> AsyncIterator[Admin]:
    async with Admin(amqp_url) as admin:
        yield admin


@pytest.fixture
async def probe(amqp_url: str) -> AsyncIterator[Probe]:
    parsed = parse_url(amqp_url)
    async with probing(parsed, parsed.addresses[0], Clock()) as probe:
        yield probe


async def test_what_answers_tells_its_name(probe: Probe) -> None:
    assert (await probe.server()).startswith("RabbitMQ ")


async def test_an_exchange_is_there_or_not(probe: Probe) -> None:
    assert await probe.exchange("amq.topic")
    assert not await probe.exchange(f"none.{uuid4().hex}")


async def test_a_queue_tells_what_it_holds_and_who_reads_it(probe: Probe, admin: Admin, amqp_url: str) -> None:
    name = f"test.{uuid4().hex}"
    missing = await probe.depth(name)
    await admin.queue(name)
    async with RabbitTransport(amqp_url, exchange="amq.topic") as transport, transport.sender("test") as sender:
        await sender.ready()
        await sender.send(Message(exchange="", routing_key=name, body=b"", message_id="1"))
    found = await probe.depth(name)
    await admin.delete_queue(name)

    assert (None, Depth(1, 0)) == (missing, found)


async def test_listening_once_leaves_nothing(probe: Probe, admin: Admin) -> None:
    exchange = f"test.{uuid4().hex}"
    await admin.exchange(exchange)
    await probe.listen(exchange, Subscription(topics=("t",)))
    await admin.delete_exchange(exchange)

    assert not await admin.has_exchange(exchange)


async def test_listening_to_nothing_is_refused(probe: Probe) -> None:
    with pytest.raises(Answered, match="404"):
        await probe.listen(f"none.{uuid4().hex}", Subscription(topics=("t",)))


async def test_a_broker_without_an_alarm_is_not_blocked(probe: Probe) -> None:
    assert None is await probe.blocked()


async def test_a_lost_connection_is_told_by_every_question(proxy: Proxy) -> None:
    parsed = parse_url(proxy.url)
    questions: tuple[Callable[[Probe], Awaitable[object]], ...] = (
        lambda probe: probe.server(),
        lambda probe: probe.exchange("amq.topic"),
        lambda probe: probe.depth("nothing"),
        lambda probe: probe.listen("amq.topic", Subscription(topics=("t",))),
        lambda probe: probe.blocked(),
    )
    for ask in questions:
        async with probing(parsed, parsed.addresses[0], Clock()) as probe:
            proxy.reset()
            with pytest.raises(TransportError):
                await ask(probe)


async def test_a_queue_that_somebody_has_for_himself_is_refused(probe: Probe, amqp_url: str) -> None:
    connection = await aio_pika.connect(amqp_url, timeout=10)
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue(exclusive=True)
        with pytest.raises(Answered, match="405"):
            await probe.depth(queue.name)
