"""A bus on a RabbitMQ that others use, too: nobody notices it, and nothing is left."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from aioswap import Consumer, TransportError
from aioswap.clock import Clock
from aioswap.testing import Bus, MemoryOnly
from aioswap.transports.rabbit_probe import probing
from aioswap.transports.rabbit_removal import remove
from aioswap.transports.urls import parse_url
from tests.testing.kit import Listener, phases

pytestmark = pytest.mark.broker


async def left(url: str, exchange: str, *queues: str) -> tuple[bool, list[str]]:
    """Return whether the exchange is there, and those of the queues that are."""
    parsed = parse_url(url)
    async with probing(parsed, parsed.addresses[0], Clock()) as probe:
        return await probe.exchange(exchange), [queue for queue in queues if await probe.depth(queue) is not None]


async def test_nothing_is_left_on_the_broker(amqp_url: str) -> None:
    async with Bus(url=amqp_url) as bus:
        exchange = bus.transport.destination.rpartition("exchange=")[2]
        pool = f"aioswap.{exchange.rpartition('.')[2]}-listener"
        queues = (pool, f"{pool}.dead", f"{pool}.retry.1", f"{pool}.retry.3600")
        async with Listener(bus).consumer.running():
            meanwhile = await left(amqp_url, exchange, *queues)
    afterwards = await left(amqp_url, exchange, *queues)

    assert (True, list(queues)) == meanwhile
    assert (False, []) == afterwards


async def test_two_buses_hear_nothing_of_each_other(amqp_url: str) -> None:
    async with Bus(url=amqp_url) as one, Bus(url=amqp_url) as other:
        first, second = Listener(one), Listener(other)
        async with first.consumer.running(), second.consumer.running():
            await one.nova_swap().run()
            await one.settled()
            await other.settled()

    assert (["start", "end"], []) == (phases(first.heard), phases(second.heard))
    assert [] == other.notifications()


async def test_what_would_take_from_others_is_skipped(rabbit_bus: Bus) -> None:
    async with rabbit_bus as bus:
        consumer = Consumer(bus.transport, shared=True)
        consumer.on("#")(Listener(bus).listen)
        with pytest.raises(MemoryOnly, match="shared=True"):
            async with consumer.running():
                pass


async def test_a_login_that_is_refused_is_told_without_the_password(amqp_url: str, caplog: pytest.LogCaptureFixture) -> None:
    parts = urlsplit(amqp_url)
    bus = Bus(url=parts._replace(netloc=f"guest:geheim@{parts.hostname}:{parts.port}").geturl())
    with pytest.raises(TransportError) as caught:
        await bus.__aenter__()
    with pytest.raises(RuntimeError, match="is not open"):
        await bus.settled()

    assert "403" in str(caught.value)
    assert "not all of these could be deleted on the broker: aioswap.testing." in caplog.text
    assert "geheim" not in str(caught.value) + caplog.text


async def test_only_what_is_ours_is_ever_deleted(amqp_url: str) -> None:
    with pytest.raises(ValueError, match=r"'nova' does not begin with aioswap\."):
        await remove(amqp_url, queues=("aioswap.a",), exchanges=("nova",))
    with pytest.raises(TransportError):
        await remove("amqp://127.0.0.1:1,127.0.0.1:2", queues=(), exchanges=())
    await remove(amqp_url, queues=("aioswap.is-not-there",), exchanges=("aioswap.is-not-there",))
