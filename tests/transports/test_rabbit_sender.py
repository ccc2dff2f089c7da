"""Sending over RabbitMQ: confirms, returns, refusals, and what becomes of messages in trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from aioswap.errors import TransportError
from aioswap.testing import ManualClock
from aioswap.transports.base import Answer, Confirmation, Message, Sender, Subscription
from aioswap.transports.rabbit import RabbitTransport
from aioswap.transports.rabbit_fast import FastPublisher
from aioswap.transports.rabbit_sender import RabbitSender
from aioswap.transports.topology import Binding, QueueDeclaration
from tests.broker import Direction, Node
from tests.transports.driver import DEADLINE, ERROR, INFO, Inbox, message, put, until
from tests.transports.rabbit_driver import WAYS, Admin, HurriedClock, RabbitDriver, rabbit_driver

pytestmark = pytest.mark.broker

CONFIRMED, NACKED, RETURNED = Confirmation.CONFIRMED, Confirmation.NACKED, Confirmation.RETURNED


@pytest.fixture(params=WAYS)
def fast(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def driver(amqp_url: str, fast: bool) -> AsyncGenerator[RabbitDriver]:
    async with rabbit_driver(amqp_url, fast=fast) as driver:
        yield driver


async def _error(future: asyncio.Future[Confirmation]) -> str:
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(TransportError) as caught:
            await future
    return str(caught.value)


async def _degraded(sender: Sender, part: str) -> str:
    await until(lambda: part in (sender.health.degraded or ""))
    return sender.health.degraded or ""


async def test_the_first_message_of_a_turn_goes_out_at_once_and_the_others_at_its_end(amqp_url: str) -> None:
    async with rabbit_driver(amqp_url) as driver, driver.transport as transport, transport.sender("s") as sender:
        assert isinstance(sender, RabbitSender)
        await sender.ready()
        publisher = sender._publisher
        assert isinstance(publisher, FastPublisher)
        in_line = []
        for body in (b"1", b"2", b"3"):
            last = sender.send(message(body))
            in_line.append(len(publisher._line))
        await asyncio.sleep(0)
        in_line.append(len(publisher._line))
        async with asyncio.timeout(DEADLINE):
            answer = await last

    assert [0, 3, 6, 0] == in_line
    assert RETURNED == answer


# What the broker says


async def test_a_return_finds_its_message_among_others_of_the_same_id(driver: RabbitDriver) -> None:
    async with (
        driver.transport as transport,
        transport.receiver(Subscription(), Inbox(), label="r"),
        transport.sender("s") as sender,
    ):
        await sender.ready()
        keys = ["nobody.info", INFO, "nobody.info", "nobody.error"]
        answers = await asyncio.gather(*(sender.send(Message(routing_key=key, body=b"x", message_id="same")) for key in keys))

    assert [RETURNED, CONFIRMED, RETURNED, RETURNED] == answers


async def test_a_thousand_messages_at_once_are_all_answered(driver: RabbitDriver) -> None:
    async with (
        driver.transport as transport,
        transport.receiver(Subscription(priorities=("info",)), Inbox(), label="r"),
        transport.sender("s") as sender,
    ):
        await sender.ready()
        keys = [INFO if number % 3 else ERROR for number in range(1000)]
        answers = await asyncio.gather(*(sender.send(message(b"x", key)) for key in keys))

    assert [CONFIRMED if key == INFO else RETURNED for key in keys] == answers


@pytest.mark.parametrize("size", [0, 1, 131_063, 131_064, 131_065, 500_000])
async def test_a_body_of_any_size_arrives(driver: RabbitDriver, size: int) -> None:
    inbox = Inbox()
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with (
        driver.transport as transport,
        transport.receiver(Subscription(), inbox, label="r"),
        transport.sender("s") as sender,
    ):
        answers = await put(sender, body, b"next")
        arrived = await inbox.bodies(2)

    assert [CONFIRMED, CONFIRMED] == answers
    assert [body, b"next"] == arrived


async def test_many_routing_keys_do_no_harm(driver: RabbitDriver) -> None:
    async with driver.transport as transport, transport.sender("s") as sender:
        await sender.ready()
        answers = await asyncio.gather(*(sender.send(message(b"", f"key.{number}")) for number in range(1500)))

    assert {RETURNED} == set(answers)


async def test_another_users_id_is_left_out(driver: RabbitDriver) -> None:
    inbox = Inbox()
    async with (
        driver.transport as transport,
        transport.receiver(Subscription(), inbox, label="r"),
        transport.sender("s") as sender,
    ):
        answers = [
            *await put(sender, b"1", properties={"user_id": "guest"}),
            *await put(sender, b"2", properties={"user_id": "nova", "app_id": "a"}),
        ]
        taken = await inbox.take(2)

    assert [CONFIRMED, CONFIRMED] == answers
    assert [{"user_id": "guest"}, {"app_id": "a"}] == [delivery.properties for delivery in taken]


async def test_headers_that_fit_no_frame_are_a_value_error(node: Node, fast: bool) -> None:
    await asyncio.to_thread(node.ctl, "eval", "application:set_env(rabbit, frame_max, 8192).")
    try:
        async with rabbit_driver(node.url, fast=fast) as driver, driver.transport as transport, transport.sender("s") as sender:
            await sender.ready()
            refused = sender.send(message(b"", headers={"h": "x" * 9000}))
            answers = await put(sender, b"x" * 20_000)
            with pytest.raises(ValueError, match="do not fit the broker's frames"):
                await refused
    finally:
        await asyncio.to_thread(node.ctl, "eval", "application:set_env(rabbit, frame_max, 131072).")

    assert [RETURNED] == answers


async def test_a_property_that_cannot_be_written_is_a_value_error(driver: RabbitDriver) -> None:
    async with driver.transport as transport, transport.sender("s") as sender:
        await sender.ready()
        with pytest.raises(ValueError, match="exchange"):
            await sender.send(message(b"", exchange="no such\nname" * 20))
        answers = await put(sender, b"x")

    assert [RETURNED] == answers


# The exchange


async def test_a_missing_exchange_is_waited_for_and_never_created(amqp_url: str, fast: bool) -> None:
    async with rabbit_driver(amqp_url, clock=HurriedClock(), fast=fast) as driver, driver.transport as transport:
        await driver.admin.delete_exchange(driver.exchange)
        async with transport.sender("s") as sender:
            degraded = await _degraded(sender, "404")
            failed = await _error(sender.send(message(b"x")))
            connected, there = sender.health.connected, await driver.admin.has_exchange(driver.exchange)
            await driver.admin.exchange(driver.exchange, durable=False)
            answers = await put(sender, b"x")

    assert f"no exchange '{driver.exchange}'; start Nova first" in degraded
    assert degraded == failed
    assert (False, False) == (connected, there)
    assert [RETURNED] == answers


@pytest.mark.parametrize("durable", [True, False])
async def test_a_missing_exchange_is_created_as_told(driver: RabbitDriver, durable: bool, fast: bool) -> None:
    await driver.admin.delete_exchange(driver.exchange)
    transport = RabbitTransport(driver.proxy.url, exchange=driver.exchange, exchange_durable=durable, fast=fast)
    async with transport, transport.sender("s") as sender:
        await sender.ready()
        await driver.admin.exchange(driver.exchange, "topic", durable=durable)  # refused (406), were it another one


async def test_an_exchange_that_is_there_is_used_as_it_is(driver: RabbitDriver, fast: bool) -> None:
    transport = RabbitTransport(driver.proxy.url, exchange=driver.exchange, exchange_durable=False, fast=fast)
    async with transport, transport.sender("s") as sender:
        answers = await put(sender, b"x")

    assert [RETURNED] == answers


async def test_an_exchange_that_goes_away_fails_what_is_sent_with_the_cause(amqp_url: str, fast: bool) -> None:
    async with (
        rabbit_driver(amqp_url, clock=HurriedClock(), fast=fast) as driver,
        driver.transport as transport,
        transport.sender("s") as sender,
    ):
        await sender.ready()
        await driver.admin.delete_exchange(driver.exchange)
        futures = [sender.send(message(b"x")) for _ in range(50)]
        errors = {await _error(future) for future in futures}
        await _degraded(sender, "404")
        await driver.admin.exchange(driver.exchange)
        answers = await put(sender, b"x")

    assert 1 == len(errors)
    assert "404 NOT_FOUND - no exchange" in errors.pop()
    assert [RETURNED] == answers


async def test_a_message_for_a_missing_exchange_of_its_own_fails_and_others_go_on(driver: RabbitDriver) -> None:
    async with driver.transport as transport, transport.sender("s") as sender:
        await sender.ready()
        error = await _error(sender.send(message(b"x", exchange="aioswap.nowhere")))
        answers = await put(sender, b"x")

    assert "no exchange 'aioswap.nowhere'" in error
    assert [RETURNED] == answers


# Default queues


@pytest.mark.parametrize("durable", [True, False])
async def test_default_queues_are_declared_as_oslo_does(driver: RabbitDriver, durable: bool, fast: bool) -> None:
    keys = [driver.unique(name) + ".info" for name in ("one", "two")]
    transport = RabbitTransport(
        driver.proxy.url, exchange=driver.exchange, exchange_durable=durable, declare_default_queues=True, fast=fast
    )
    async with transport, transport.sender("s") as sender:
        await sender.ready()
        answers = await asyncio.gather(*(sender.send(message(b"x", key)) for key in (*keys, *keys)))
        for key in keys:
            await driver.admin.queue(key, durable=durable)  # refused (406), were it another one
        depths = [await driver.admin.depth(key) for key in keys]
        await sender.send(message(b"x", "other", exchange="amq.direct"))
        other = await driver.admin.depth("other")
    for key in keys:
        await driver.admin.delete_queue(key)

    assert [CONFIRMED] * 4 == answers
    assert [2, 2] == depths
    assert other is None


async def test_a_default_queue_with_other_properties_is_used_as_it_is(driver: RabbitDriver, fast: bool) -> None:
    key = driver.unique("quorum") + ".info"
    await driver.admin.queue(key, arguments={"x-queue-type": "quorum"})
    transport = RabbitTransport(
        driver.proxy.url, exchange=driver.exchange, exchange_durable=False, declare_default_queues=True, fast=fast
    )
    async with transport, transport.sender("s") as sender:
        answers = await put(sender, b"x", key=key)
    await driver.admin.delete_queue(key)

    assert [CONFIRMED] == answers


async def test_what_waits_for_its_default_queue_fails_when_the_connection_is_lost(driver: RabbitDriver, fast: bool) -> None:
    clock = HurriedClock()
    key = driver.unique("late") + ".info"
    transport = RabbitTransport(
        driver.proxy.url, exchange=driver.exchange, exchange_durable=True, declare_default_queues=True, clock=clock, fast=fast
    )
    async with transport, transport.sender("s") as sender:
        await sender.ready()
        driver.proxy.hold(Direction.DOWN)
        future = sender.send(message(b"x", key))
        await driver.proxy.settled()
        driver.proxy.reset()
        driver.proxy.heal()
        error = await _error(future)
        answers = await put(sender, b"x", key=key)
    await driver.admin.delete_queue(key)

    assert "lost" in error
    assert [CONFIRMED] == answers


# Trouble on the way


async def test_a_broker_that_confirms_nothing_for_ten_seconds_is_dropped(amqp_url: str, fast: bool) -> None:
    clock = ManualClock()
    async with (
        rabbit_driver(amqp_url, clock=clock, fast=fast) as driver,
        driver.transport as transport,
        transport.receiver(Subscription(), Inbox(), label="r"),
        transport.sender("s") as sender,
    ):
        await put(sender, b"1")
        await clock.advance(100)  # nothing is pending: nothing is wrong
        driver.proxy.hold()
        futures = [sender.send(message(b"x")) for _ in range(3)]
        await clock.advance(9)
        waiting = [future.done() for future in futures]
        await clock.advance(1)
        errors = {await _error(future) for future in futures}
        connected = sender.health.connected
        driver.proxy.heal()
        await clock.advance(1)
        answers = await put(sender, b"2")

    assert [False] * 3 == waiting
    assert "no confirm for 10 seconds" in errors.pop()
    assert not connected
    assert [CONFIRMED] == answers


async def test_each_message_is_told_once_though_the_first_answer_of_many_ends_the_connection(driver: RabbitDriver) -> None:
    told: dict[str, list[Answer]] = {"1": [], "2": [], "3": []}
    async with driver.transport as transport, transport.sender("s") as sender:
        assert isinstance(sender, RabbitSender)
        await sender.ready()
        session = sender._session
        assert session is not None
        driver.proxy.hold(Direction.DOWN)

        def first(answer: Answer) -> None:
            told["1"].append(answer)
            session.drop(TransportError("gone"))

        sender.submit(message(b"1"), first)
        sender.submit(message(b"2"), told["2"].append)
        sender.submit(message(b"3"), told["3"].append)
        sender.answered(3, CONFIRMED, multiple=True)
        await until(lambda: all(told.values()))
        driver.proxy.heal()
        answers = await put(sender, b"x")

    assert [CONFIRMED] == told["1"]
    assert ["gone", "gone"] == [str(answer) for answer in (*told["2"], *told["3"])]
    assert [RETURNED] == answers


async def test_a_broker_that_is_heard_is_given_up_when_it_is_heard_no_more(amqp_url: str, fast: bool) -> None:
    clock = ManualClock()
    async with (
        rabbit_driver(f"{amqp_url}?heartbeat=4", clock=clock, fast=fast) as driver,
        driver.transport as transport,
        transport.sender("s") as sender,
    ):
        await sender.ready()
        driver.proxy.hold(Direction.UP)
        future = sender.send(message(b"x"))
        await clock.advance(9)
        heard = driver.proxy.heard
        await until(lambda: driver.proxy.heard > heard)  # a heartbeat
        await driver.proxy.settled()
        await clock.advance(9)
        waiting = not future.done()
        await clock.advance(2)  # silent since the ninth second
        error = await _error(future)

    assert waiting
    assert "no confirm for 10 seconds" in error


async def test_a_broker_that_is_heard_has_thirty_seconds_at_most(amqp_url: str, fast: bool) -> None:
    clock = ManualClock()
    async with (
        rabbit_driver(f"{amqp_url}?heartbeat=4", clock=clock, fast=fast) as driver,
        driver.transport as transport,
        transport.sender("s") as sender,
    ):
        await sender.ready()
        driver.proxy.hold(Direction.UP)
        future = sender.send(message(b"x"))
        for _ in range(3):
            await clock.advance(9)
            heard = driver.proxy.heard
            await until(lambda heard=heard: driver.proxy.heard > heard)  # type: ignore[misc]  # a heartbeat
            await driver.proxy.settled()
        waiting = not future.done()
        await clock.advance(3)
        error = await _error(future)

    assert waiting
    assert "no confirm for 30 seconds" in error


async def test_a_routing_key_that_is_nacked_for_five_seconds_is_tried_on_another_connection(amqp_url: str, fast: bool) -> None:
    clock = ManualClock()
    async with (
        rabbit_driver(amqp_url, clock=clock, fast=fast) as driver,
        driver.transport as transport,
        transport.sender("s") as sender,
    ):
        queue, key = driver.unique("full"), "full.info"
        full = QueueDeclaration(name=queue, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        await sender.ready()
        await driver.declare(full, Binding(queue=queue, exchange=None, routing_key=key))
        before = [*await put(sender, b"1", key=key), *await put(sender, b"2", key=key)]
        await clock.advance(5)
        error = await _error(sender.send(message(b"3", key)))
        while not sender.health.connected:
            await clock.advance(1)
            await driver.proxy.settled()
        again = await put(sender, b"4", key=key)
        connections = driver.proxy.accepted

    assert [CONFIRMED, NACKED] == before
    assert "nacks all of full.info; it is connected again" in error
    assert [NACKED] == again
    assert 2 == connections


async def test_slow_confirms_are_waited_for_as_long_as_some_come(amqp_url: str, fast: bool) -> None:
    clock = ManualClock()
    async with (
        rabbit_driver(amqp_url, clock=clock, fast=fast) as driver,
        driver.transport as transport,
        transport.receiver(Subscription(), Inbox(), label="r"),
        transport.sender("s") as sender,
    ):
        await sender.ready()
        answers = []
        for _ in range(3):
            driver.proxy.hold(Direction.DOWN)
            future = sender.send(message(b"x"))
            await clock.advance(9)
            driver.proxy.heal()
            answers.append(await asyncio.wait_for(future, DEADLINE))

    assert [CONFIRMED] * 3 == answers


@pytest.mark.parametrize("direction", Direction)
async def test_a_one_way_loss_says_nothing_of_arrival_and_is_survived(amqp_url: str, direction: Direction, fast: bool) -> None:
    clock = ManualClock()
    inbox = Inbox()
    async with (
        rabbit_driver(amqp_url, clock=clock, fast=fast) as driver,
        RabbitTransport(amqp_url, exchange=driver.exchange, fast=fast) as direct,
        driver.transport as transport,
        direct.receiver(Subscription(), inbox, label="r"),
        transport.sender("s") as sender,
    ):
        await sender.ready()
        driver.proxy.drop(direction)
        future = sender.send(message(b"ambiguous"))
        await driver.proxy.settled()
        await clock.advance(10)
        await _error(future)
        driver.proxy.heal()
        await clock.advance(1)
        await put(sender, b"after")
        arrived = await inbox.bodies(2 if direction is Direction.DOWN else 1)

    assert ([b"ambiguous"] if direction is Direction.DOWN else []) + [b"after"] == arrived


async def test_a_slow_way_does_no_harm(driver: RabbitDriver) -> None:
    driver.proxy.delay = 0.02
    async with (
        driver.transport as transport,
        transport.receiver(Subscription(), Inbox(), label="r"),
        transport.sender("s") as sender,
    ):
        answers = await put(sender, *[b"x" * 5000] * 50)

    assert [CONFIRMED] * 50 == answers


async def test_what_waits_to_be_ready_is_told_of_the_end(driver: RabbitDriver) -> None:
    driver.proxy.cut()
    async with driver.transport as transport:
        async with transport.sender("s") as sender:
            ready = asyncio.create_task(sender.ready())
            await asyncio.sleep(0)
        with pytest.raises(TransportError, match="closed"):
            await ready
        with pytest.raises(RuntimeError, match="closed"):
            await sender.ready()


async def test_a_sender_that_is_left_at_once_is_closed(driver: RabbitDriver) -> None:
    async with driver.transport as transport:
        async with transport.sender("s") as sender:
            pass
        with pytest.raises(RuntimeError, match="closed"):
            sender.send(message(b"x"))


async def test_what_is_pending_at_the_exit_fails(driver: RabbitDriver) -> None:
    async with driver.transport as transport:
        async with transport.sender("s") as sender:
            await sender.ready()
            driver.proxy.hold(Direction.DOWN)
            future = sender.send(message(b"x"))
            driver.proxy.reset()
        error = await _error(future)

    assert "connection" in error


# Rights


async def test_an_emitters_rights_are_enough(node: Node) -> None:
    async with Admin(node.url) as admin, rabbit_driver(node.url) as driver:
        name = driver.exchange
        await asyncio.to_thread(node.ctl, "add_user", f"emitter-{name}", "secret")
        await asyncio.to_thread(node.ctl, "set_permissions", f"emitter-{name}", "^$", f"^{name}$", "^$")
        topics = ("set_topic_permissions", f"emitter-{name}", name, r"^versioned_notifications\.(info|error)$", "^$")
        await asyncio.to_thread(node.ctl, *topics)
        await admin.queue(name)
        await admin.bind(name, name, "#")
        url = node.url.replace("guest:guest", f"emitter-{name}:secret")
        transport = RabbitTransport(url, exchange=name, clock=HurriedClock())
        async with transport, transport.sender("s") as sender:
            answers = await put(sender, b"x")
            refused = await _error(sender.send(message(b"x", "compute.host1")))
            answers += await put(sender, b"x", key=ERROR)
        await admin.delete_queue(name)

    assert [CONFIRMED, CONFIRMED] == answers
    assert "403 ACCESS_REFUSED - access to topic 'compute.host1'" in refused
