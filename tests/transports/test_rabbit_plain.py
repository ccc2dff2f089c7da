"""What only the plain way has: tasks of its own, and a driver that is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import aio_pika
import aiormq.abc
import pytest

from aioswap.errors import TransportError
from aioswap.testing import ManualClock
from aioswap.transports.base import Message
from aioswap.transports.rabbit_assumptions import Choice, Driver
from aioswap.transports.rabbit_broker import Broker
from aioswap.transports.rabbit_connection import Session, connected
from aioswap.transports.rabbit_plain import PlainWay
from aioswap.transports.urls import parse_url
from tests.transports.driver import DEADLINE, until
from tests.transports.rabbit_driver import rabbit_driver

pytestmark = pytest.mark.broker


@pytest.fixture
async def session(amqp_url: str) -> AsyncGenerator[Session]:
    url = parse_url(amqp_url)
    broker = Broker(urls=[url], heartbeat=10, clock=ManualClock(), choice=Choice(fast=False))
    async with connected(broker, url.addresses[0], url, "test") as session:
        yield session


def _way(session: Session) -> PlainWay:
    assert isinstance(session.way, PlainWay)
    return session.way


async def _fail() -> None:
    raise ZeroDivisionError("ours")


async def _wait() -> None:
    await asyncio.Event().wait()


async def test_a_fault_of_ours_ends_the_connection_with_its_name(session: Session) -> None:
    _way(session).spawn(_fail(), "fails")
    await until(lambda: session.cause)

    assert "ZeroDivisionError: ours" in str(session.cause)


async def test_what_is_under_way_ends_with_the_connection(session: Session) -> None:
    before = _way(session).spawn(_wait(), "waits")
    session.drop(TransportError("enough"))
    after = _way(session).spawn(_wait(), "waits")
    await asyncio.wait({before})

    assert (True, True) == (before.cancelled(), after.cancelled())


async def test_a_health_that_another_thread_asks_for_asks_nobody(amqp_url: str) -> None:
    async with (
        rabbit_driver(amqp_url, fast=False) as driver,
        driver.transport as transport,
        transport.sender("s") as sender,
    ):
        await sender.ready()
        health = await asyncio.to_thread(lambda: sender.health)

    assert (True, False) == (health.connected, health.blocked)


class _Stubborn(aio_pika.Connection):
    """Never finishes to say goodbye, and waits once more when it is cancelled."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.cancelled = 0

    async def close(self, exc: aiormq.abc.ExceptionType | None = None) -> None:
        try:
            await _wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            if self.cancelled < 2:
                await self.close(exc)
            await super().close(exc)
            raise


async def test_a_goodbye_that_never_ends_is_cut_off(amqp_url: str) -> None:
    clock = ManualClock()
    url = parse_url(amqp_url)
    choice = Choice(driver=Driver(connection=_Stubborn))
    broker = Broker(urls=[url], heartbeat=10, clock=clock, choice=choice)
    sessions: list[Session] = []

    async def stay() -> None:
        async with connected(broker, url.addresses[0], url, "test") as session:
            sessions.append(session)

    await _advanced(clock, stay(), sessions)
    connection = sessions[0].way.connection

    assert isinstance(connection, _Stubborn)
    assert 2 == connection.cancelled


async def _advanced(clock: ManualClock, work: Coroutine[Any, Any, None], sessions: list[Session]) -> None:
    """Let `work` be done; time passes once it is connected, for the broker's is another one."""
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(DEADLINE):
        while not task.done():
            if sessions:
                await clock.advance(1)
            await asyncio.sleep(0)
    task.result()


async def test_messages_of_one_id_wait_for_each_other_and_keep_their_order(amqp_url: str) -> None:
    async with (
        rabbit_driver(amqp_url, fast=False) as driver,
        driver.transport as transport,
        transport.sender("s") as sender,
    ):
        await sender.ready()
        ids = ["same", "same", "other", "same", "last"]
        messages = [Message(routing_key=f"{n}.info", body=b"", message_id=i) for n, i in enumerate(ids)]
        await asyncio.gather(*map(sender.send, messages))
        (sent,) = driver.proxy.sent
        places = [sent.index(f"{number}.info".encode()) for number in range(5)]

    assert sorted(places) == places
