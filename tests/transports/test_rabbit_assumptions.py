"""What the fast way assumes of aio-pika, aiormq and pamqp holds with the versions that are here; where it does not, the plain
way is used."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import TimeoutType

from aioswap.errors import TransportError
from aioswap.transports.base import Confirmation, Message, Subscription
from aioswap.transports.rabbit import RabbitTransport
from aioswap.transports.rabbit_assumptions import ASSUMPTIONS, FACTORY, FRAME_MAX, Choice, Driver, broken
from aioswap.transports.rabbit_broker import Broker
from aioswap.transports.rabbit_connection import Session, connected
from aioswap.transports.rabbit_fast import FastWay
from aioswap.transports.rabbit_frames import DELIVER, ChannelFrames
from aioswap.transports.rabbit_plain import PlainWay
from aioswap.transports.urls import parse_url
from tests.broker import Node, Proxy
from tests.transports.driver import DEADLINE, INFO, Inbox, put, until
from tests.transports.rabbit_driver import HurriedClock, RabbitDriver, rabbit_driver

CONFIRMED, RETURNED = Confirmation.CONFIRMED, Confirmation.RETURNED


# Before there is a connection


class _Bare:
    """A class of the driver's that takes nothing."""


def _raises(*arguments: object) -> Any:
    raise AttributeError("moved to another module")


_WITHOUT = {
    "aiormq connects by the transport_factory that it is given": Driver(client=_Bare),
    "a channel of aiormq has a number": Driver(channel=_Bare),
    "pamqp writes Basic.Publish as AMQP 0-9-1 says": Driver(marshal=lambda frame, channel: b"other bytes"),
    "pamqp writes Basic.Get as AMQP 0-9-1 says": Driver(marshal=_raises),
    "aiormq reads a heartbeat as one": Driver(unmarshal=lambda data: (len(data), 0, object())),
}


def test_every_assumption_holds_with_the_versions_that_are_here() -> None:
    assert [] == list(broken(Driver()))


def test_every_assumption_can_be_broken() -> None:
    assert {assumption.text for assumption in ASSUMPTIONS} == set(_WITHOUT)


@pytest.mark.parametrize("text", _WITHOUT)
def test_an_assumption_that_does_not_hold_is_named(text: str) -> None:
    assert text in list(broken(_WITHOUT[text]))


def test_the_driver_is_looked_at_once_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    looks = []

    def marshal(frame: object, channel: int) -> bytes:
        looks.append(frame)
        return b""

    choice = Choice(driver=Driver(marshal=marshal))
    ways = [choice.fast, choice.fast]
    choice.give_up("something else")
    told = [record.getMessage() for record in caplog.records]

    assert [False, False] == ways
    assert 2 == len(looks)
    assert 1 == len(told)
    assert "messages go the plain way, slower: with aio-pika 1" in told[0]
    assert told[0].endswith("it does not hold that pamqp writes Basic.Publish as AMQP 0-9-1 says")


def test_who_asks_for_the_plain_way_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    choice = Choice(fast=False, driver=Driver(channel=_Bare))

    assert not choice.fast
    assert [] == caplog.records


# With a broker


@pytest.fixture
async def driver(amqp_url: str) -> AsyncGenerator[RabbitDriver]:
    async with rabbit_driver(amqp_url) as driver:
        yield driver


@asynccontextmanager
async def _session(url: str, **choice: Any) -> AsyncGenerator[Session]:
    parsed = parse_url(url)
    broker = Broker(urls=[parsed], heartbeat=10, clock=HurriedClock(), choice=Choice(**choice))
    async with connected(broker, parsed.addresses[0], parsed, "test") as session:
        yield session


def _frames(sent: bytearray) -> list[tuple[int, int, bytes]]:
    """Return the frames that a connection has sent after its protocol header: kind, channel, payload."""
    frames, at = [], 8
    while at < len(sent):
        kind, channel, size = struct.unpack_from(">BHI", sent, at)
        frames.append((kind, channel, bytes(sent[at + 7 : at + 7 + size])))
        at += size + 8
    return frames


@pytest.mark.broker
async def test_the_fast_way_is_gone_and_nothing_is_told(driver: RabbitDriver, caplog: pytest.LogCaptureFixture) -> None:
    async with _session(driver.proxy.url) as session:
        way = session.way
    told = [record for record in caplog.records if record.name.startswith("aioswap")]

    assert isinstance(way, FastWay)
    assert [] == told


@pytest.mark.broker
async def test_the_plain_way_is_gone_when_it_is_asked_for(driver: RabbitDriver) -> None:
    async with _session(driver.proxy.url, fast=False) as session:
        assert isinstance(session.way, PlainWay)


@pytest.mark.broker
async def test_a_channels_number_is_the_one_in_its_frames(driver: RabbitDriver) -> None:
    async with _session(driver.proxy.url) as session:
        numbers = [(await session.channel()).number for _ in range(3)]
    opened = [channel for _, channel, payload in _frames(driver.proxy.sent[-1]) if payload[:4] == b"\x00\x14\x00\x0a"]

    assert opened == numbers


@pytest.mark.broker
async def test_the_size_of_frames_is_the_one_that_was_agreed(driver: RabbitDriver) -> None:
    async with _session(driver.proxy.url) as session:
        tuned = (await session.channel()).connection.connection_tune.frame_max
    (told,) = (payload for _, _, payload in _frames(driver.proxy.sent[-1]) if payload[:4] == b"\x00\x0a\x00\x1f")

    assert struct.unpack_from(">I", told, 6) == (tuned,)


@pytest.mark.broker
async def test_frames_that_are_taken_are_not_missed_by_the_driver(driver: RabbitDriver) -> None:
    taken: list[bytes] = []
    await driver.admin.queue(driver.exchange)
    async with _session(driver.proxy.url) as session, driver.admin.channel() as others:
        channel, missed = await session.channel(), []
        frames = ChannelFrames(contents={DELIVER: lambda arguments, properties, body: taken.append(body)}, methods={})
        session.way._factory.frames.watch(channel.number, frames)  # type: ignore[attr-defined]

        async def callback(message: object) -> None:
            missed.append(message)

        await channel.basic_consume(driver.exchange, callback)
        for number in range(3):
            await others.basic_publish(b"%d" % number, routing_key=driver.exchange)
        await until(lambda: len(taken) == 3)
        await channel.basic_qos(prefetch_count=1)  # the driver goes on
    await driver.admin.delete_queue(driver.exchange)

    assert [b"0", b"1", b"2"] == taken
    assert [] == missed


# Where one does not hold


class _Deaf(aio_pika.Connection):
    """Hands nothing on to aiormq that it does not know."""

    async def connect(self, timeout: TimeoutType = None) -> None:
        self.kwargs.pop("transport_factory", None)
        await super().connect(timeout)


class _Shut(aio_pika.Connection):
    """Has no `kwargs` that can be changed."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.kwargs = None  # type: ignore[assignment]

    async def connect(self, timeout: TimeoutType = None) -> None:
        self.kwargs = {"client_properties": {"product": "shut"}}
        await super().connect(timeout)


class _Untuned(aio_pika.Connection):
    """Tells once no size of frames."""

    told = False

    async def connect(self, timeout: TimeoutType = None) -> None:
        await super().connect(timeout)
        if not _Untuned.told:
            _Untuned.told = True
            assert self.transport is not None
            self.transport.connection.connection_tune.frame_max = None  # type: ignore[assignment]


@pytest.mark.broker
@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (Driver(connection=_Deaf), FACTORY),
        (Driver(connection=_Shut), FACTORY),
        (Driver(connection=_Untuned), FRAME_MAX),
        (Driver(client=_Bare), ASSUMPTIONS[0].text),
        (Driver(channel=_Bare), ASSUMPTIONS[1].text),
    ],
    ids=["deaf", "shut", "untuned", "no factory", "no number"],
)
async def test_a_driver_that_is_otherwise_goes_the_plain_way_and_keeps_every_promise(
    driver: RabbitDriver, changed: Driver, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    _Untuned.told = False
    inbox = Inbox()
    transport = RabbitTransport(driver.proxy.url, exchange=driver.exchange)
    transport._broker = replace(transport._broker, choice=Choice(driver=changed), clock=HurriedClock())
    async with (
        transport,
        transport.receiver(Subscription(), inbox, label="r") as receiver,
        transport.sender("s") as sender,
    ):
        answers = [*await put(sender, b"1", b"2"), *await put(sender, b"3", key="nobody.info")]
        arrived = await inbox.bodies(2)
        await driver.lose()
        await until(lambda: not sender.health.connected and not receiver.health.connected)
        await driver.restore()
        answers += await put(sender, b"4")
        while b"4" not in arrived:  # an acknowledgement may have been lost with the connection
            arrived += await inbox.bodies(1)
    warned = [record for record in caplog.records if "the plain way" in record.getMessage()]

    assert [CONFIRMED, CONFIRMED, RETURNED, CONFIRMED] == answers
    assert [b"1", b"2", b"4"] == list(dict.fromkeys(arrived))
    assert [(logging.WARNING, True)] == [(record.levelno, text in record.getMessage()) for record in warned]


@pytest.mark.broker
async def test_a_driver_that_makes_its_streams_alone_can_be_left_in_a_black_hole(driver: RabbitDriver) -> None:
    async def stay() -> None:
        async with _session(driver.proxy.url, driver=Driver(connection=_Deaf)) as session:
            goodbye.append(session)
            driver.proxy.hold()

    goodbye: list[Session] = []
    await asyncio.wait_for(stay(), DEADLINE)
    driver.proxy.heal()

    assert goodbye[0].cause is not None


# Both ways


def _hard(number: int) -> Message:
    """Return a message that has everything."""
    headers = {
        "real": 0.1 * number,
        "large": 1e300,
        "bytes": b"\xff",
        "map": {"none": None, "list": [True, -1, 1 << 62, ("tuple",)]},
        "decimal": Decimal("-1.50"),
        "time": datetime(2026, 1, 2, tzinfo=UTC),
        "text": "é",
    }
    properties = {"content_type": "text/plain", "delivery_mode": 2, "priority": 0, "type": "t", "user_id": "nova"}
    return Message(
        routing_key=INFO, body=b"x" * (number * 100_000), message_id=f"m{number}", headers=headers, properties=properties
    )


@pytest.mark.broker
async def test_both_ways_write_the_same_bytes(amqp_url: str) -> None:
    written = []
    async with rabbit_driver(amqp_url) as driver:
        for fast in (True, False):
            async with Proxy(amqp_url) as proxy:
                transport = RabbitTransport(proxy.url, exchange=driver.exchange, fast=fast)
                async with transport, transport.sender("s") as sender:
                    await sender.ready()
                    plain = Message(routing_key=INFO, body=b"body", message_id="m")
                    await asyncio.gather(*map(sender.send, (plain, *map(_hard, range(3)))))
            frames = _frames(proxy.sent[0])
            channel = next(number for _, number, payload in frames if payload[:4] == b"\x00\x55\x00\x0a")  # confirm.select
            sent = [frame for frame in frames if frame[1] == channel and (frame[0] > 1 or frame[2][:4] == b"\x00\x3c\x00\x28")]
            written.append([(kind, payload) for kind, _, payload in sent])

    assert 4 * 2 < len(written[0])
    assert written[0] == written[1]


@pytest.mark.broker
async def test_both_ways_read_the_same(amqp_url: str) -> None:
    inboxes = Inbox(), Inbox()
    async with (
        rabbit_driver(amqp_url) as driver,
        driver.transport as fast,
        driver.transport_of(fast=False) as plain,
        fast.receiver(Subscription(), inboxes[0], label="fast"),
        plain.receiver(Subscription(), inboxes[1], label="plain"),
        fast.sender("s") as sender,
    ):
        await sender.ready()
        await sender.send(_hard(2))
        one, other = [await inbox.one() for inbox in inboxes]

    for name in ("body", "original", "unreadable", "exchange", "routing_key", "redelivered", "message_id", "properties"):
        assert getattr(one, name) == getattr(other, name)
    assert one.headers == other.headers


@pytest.mark.broker
async def test_tls_is_verified_also_where_the_driver_makes_its_streams_alone(node: Node, certificates: Path) -> None:
    url = f"amqps://guest:guest@127.0.0.1:{node.tls_port}/"
    choice = {"driver": Driver(connection=_Deaf), "fast": False}
    async with _session(f"{url}?ssl_ca_file={certificates / 'ca.pem'}", **choice) as session:
        well = session.cause is None
    with pytest.raises(TransportError, match="trust the broker's CA"):
        async with _session(url, **choice):
            pass

    assert well
