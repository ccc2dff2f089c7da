"""Receiving over RabbitMQ: what is declared, refused, lost and made again."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import AsyncGenerator

import pamqp.frame
import pytest
from pamqp import commands

from aioswap.errors import TransportError
from aioswap.testing import ManualClock
from aioswap.transports.base import Confirmation, Message, Subscription
from aioswap.transports.rabbit import RabbitTransport
from aioswap.transports.topology import Binding, QueueDeclaration, dead_letter_queue, pool_exchange, pool_queue
from tests.broker import Direction, Node, free_ports
from tests.transports.driver import DEADLINE, ERROR, INFO, Inbox, put, until
from tests.transports.rabbit_driver import WAYS, HurriedClock, RabbitDriver, rabbit_driver

pytestmark = pytest.mark.broker

CONFIRMED, RETURNED = Confirmation.CONFIRMED, Confirmation.RETURNED


@pytest.fixture(params=WAYS)
def fast(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def driver(amqp_url: str, fast: bool) -> AsyncGenerator[RabbitDriver]:
    async with rabbit_driver(amqp_url, fast=fast) as driver:
        yield driver


@pytest.fixture
def pool(driver: RabbitDriver) -> str:
    return driver.unique("pool")


async def _start_error(transport: RabbitTransport, subscription: Subscription, *, start_timeout: float = 30.0) -> str:
    async with transport, asyncio.timeout(DEADLINE):
        with pytest.raises(TransportError) as caught:
            async with transport.receiver(subscription, Inbox(), label="r", start_timeout=start_timeout):
                pass
    return str(caught.value)


# What is declared


def _methods(sent: bytearray) -> list[object]:
    """Return the methods that a connection has sent."""
    methods: list[object] = []
    data = bytes(sent[8:])
    while data:
        size, _, frame = pamqp.frame.unmarshal(data)
        methods.append(frame)
        data = data[size:]
    return methods


@pytest.mark.parametrize("kind", [{}, {"quorum": True}, {"single_active": True}, {"shared": True}], ids=str)
async def test_nothing_is_declared_but_what_every_broker_takes(driver: RabbitDriver, pool: str, kind: dict[str, bool]) -> None:
    topic = driver.unique("topic")
    await driver.declare(QueueDeclaration(name=f"{topic}.info"), Binding(queue=f"{topic}.info", exchange=None, routing_key="x"))
    subscription = Subscription(pool=pool, topics=(topic,), priorities=("info",), **kind)  # type: ignore[arg-type]
    async with driver.transport as transport:
        async with transport.receiver(subscription, Inbox(), label="r"):
            pass
        async with transport.sender("s") as sender:
            await sender.ready()
    methods = [method for sent in driver.proxy.sent for method in _methods(sent)]
    exchanges = [method for method in methods if isinstance(method, commands.Exchange.Declare)]
    queues = [method for method in methods if isinstance(method, commands.Queue.Declare) and not method.passive]

    assert {(pool_exchange(pool), "direct", True, False, False)} == {
        (exchange.exchange, exchange.exchange_type, exchange.durable, exchange.auto_delete, exchange.internal)
        for exchange in exchanges
        if not exchange.passive
    }
    assert {(True, False, False)} == {(queue.durable, queue.exclusive, queue.auto_delete) for queue in queues}
    assert {name for queue in queues for name in queue.arguments or {}} <= {
        "x-queue-type",
        "x-expires",
        "x-max-length",
        "x-max-length-bytes",
        "x-overflow",
        "x-message-ttl",
        "x-dead-letter-exchange",
        "x-dead-letter-routing-key",
        "x-delivery-limit",
        "x-single-active-consumer",
    }
    assert {str(queue.queue).startswith(f"aioswap.{pool}") for queue in queues} == {True}


async def test_a_queue_with_other_properties_is_used_as_it_is_and_told_once(
    amqp_url: str, caplog: pytest.LogCaptureFixture, fast: bool
) -> None:
    inbox = Inbox()
    async with rabbit_driver(amqp_url, clock=HurriedClock(), fast=fast) as driver, driver.transport as transport:
        pool = driver.unique("pool")
        await driver.admin.queue(pool_queue(pool), arguments={"x-max-length": 5})
        async with transport.receiver(Subscription(pool=pool), inbox, label="r") as receiver, transport.sender("s") as sender:
            await put(sender, b"1")
            arrived = await inbox.bodies(1)
            await driver.proxy.settled()
            driver.proxy.reset()
            await until(lambda: not receiver.health.connected)
            await until(lambda: receiver.health.connected)
            await sender.ready()
            await put(sender, b"2")
            while b"2" not in arrived:  # the first may come again: its acknowledgement can be lost with the connection
                arrived += await inbox.bodies(1)
    told = [record.getMessage() for record in caplog.records if "used as it is" in record.getMessage()]

    assert {b"1", b"2"} == set(arrived)
    assert 1 == len(told)
    assert "406 PRECONDITION_FAILED - inequivalent arg" in told[0]


async def test_what_is_in_the_queue_is_counted_when_it_is_looked_at(amqp_url: str, fast: bool) -> None:
    clock = ManualClock()
    async with rabbit_driver(amqp_url, clock=clock, fast=fast) as driver, driver.transport as transport:
        pool = driver.unique("pool")
        async with transport.receiver(Subscription(pool=pool, prefetch=1), Inbox(), label="r") as receiver:
            empty = receiver.depth
            async with transport.sender("s") as sender:
                await put(sender, *[b"x"] * 5)
            await clock.advance(60)
            await until(lambda: receiver.depth)
            full = receiver.depth

    assert (0, 4) == (empty, full)


# What can be refused


async def test_a_missing_exchange_is_waited_for_at_the_start(amqp_url: str, fast: bool) -> None:
    async with rabbit_driver(amqp_url, clock=HurriedClock(), fast=fast) as driver, driver.transport as transport:
        await driver.admin.delete_exchange(driver.exchange)
        inbox = Inbox()

        async def start() -> list[bytes | None]:
            async with (
                transport.receiver(Subscription(), inbox, label="r"),
                transport.sender("s") as sender,
            ):
                await put(sender, b"x")
                return await inbox.bodies(1)

        task = asyncio.create_task(start())
        accepted = driver.proxy.accepted
        await until(lambda: driver.proxy.accepted > accepted + 2)
        waited = not task.done()
        await driver.admin.exchange(driver.exchange)
        arrived = await asyncio.wait_for(task, DEADLINE)

    assert waited
    assert [b"x"] == arrived


async def test_a_missing_exchange_ends_the_start_with_its_remedy(driver: RabbitDriver) -> None:
    await driver.admin.delete_exchange(driver.exchange)
    error = await _start_error(driver.transport, Subscription(), start_timeout=0.5)

    assert error.startswith("not ready after 0.5 s")
    assert f"no exchange '{driver.exchange}'; start Nova first, correct `exchange`" in error


async def test_a_missing_exchange_is_created_if_it_is_told_how(driver: RabbitDriver, fast: bool) -> None:
    await driver.admin.delete_exchange(driver.exchange)
    inbox = Inbox()
    transport = RabbitTransport(driver.proxy.url, exchange=driver.exchange, exchange_durable=False, fast=fast)
    async with transport, transport.receiver(Subscription(), inbox, label="r"), transport.sender("s") as sender:
        await put(sender, b"x")
        arrived = await inbox.bodies(1)

    assert [b"x"] == arrived


async def test_an_exchange_of_another_kind_is_refused_at_once(driver: RabbitDriver, pool: str) -> None:
    await driver.admin.exchange(pool_exchange(pool), "fanout")
    error = await _start_error(driver.transport, Subscription(pool=pool))

    assert "406 PRECONDITION_FAILED - inequivalent arg 'type'" in error


@pytest.mark.parametrize("named", [True, False], ids=["pool's exchange", "anonymous queue"])
async def test_a_right_that_is_missing_is_refused_at_once(node: Node, named: bool) -> None:
    async with rabbit_driver(node.url) as driver:
        user, pool = driver.unique("listener"), driver.unique("pool") if named else None
        await asyncio.to_thread(node.ctl, "add_user", user, "secret")
        await asyncio.to_thread(node.ctl, "set_permissions", user, "^$", ".*", ".*")
        url = node.url.replace("guest:guest", f"{user}:secret")
        error = await _start_error(RabbitTransport(url, exchange=driver.exchange), Subscription(pool=pool))

    assert "403 ACCESS_REFUSED" in error
    assert "set_permissions" in error


async def test_an_exchange_that_nobody_may_look_for_is_refused_at_once(driver: RabbitDriver, fast: bool) -> None:
    error = await _start_error(RabbitTransport(driver.proxy.url, exchange="", fast=fast), Subscription())

    assert "looking for the exchange" in error
    assert "403 ACCESS_REFUSED - operation not permitted on the default exchange" in error


async def test_a_consumers_rights_are_enough(node: Node) -> None:
    async with rabbit_driver(node.url) as driver:
        user, pool, inbox = driver.unique("consumer"), driver.unique("pool"), Inbox()
        await asyncio.to_thread(node.ctl, "add_user", user, "secret")
        read = rf"^(aioswap\..*|{driver.exchange})$"
        await asyncio.to_thread(node.ctl, "set_permissions", user, r"^aioswap\.", r"^aioswap\.", read)
        topics = r"^versioned_notifications\.(info|error)$"
        await asyncio.to_thread(node.ctl, "set_topic_permissions", user, driver.exchange, "^$", topics)
        transport = RabbitTransport(node.url.replace("guest:guest", f"{user}:secret"), exchange=driver.exchange)
        async with (
            transport,
            driver.transport as emitters,
            emitters.sender("s") as sender,
            transport.receiver(Subscription(pool=pool), inbox, label="r"),
            transport.receiver(Subscription(), Inbox(), label="anonymous"),
            transport.sender("copies") as copies,
        ):
            await put(sender, b"1")
            await put(sender, b"2", key=ERROR)
            arrived = await inbox.bodies(2)
            letters = dead_letter_queue(pool)
            answers = await put(copies, b"3", key=letters, exchange=pool_exchange(pool))
            async with transport.browser(letters) as browser:
                delivery = await browser.get()
            refused = await _start_error_inside(transport, Subscription(topics=("compute",)))

    assert [b"1", b"2"] == arrived
    assert [CONFIRMED] == answers
    assert delivery is not None
    assert "403 ACCESS_REFUSED - access to topic 'compute.info'" in refused


async def _start_error_inside(transport: RabbitTransport, subscription: Subscription) -> str:
    with pytest.raises(TransportError) as caught:
        async with transport.receiver(subscription, Inbox(), label="r"):
            pass
    return str(caught.value)


# What goes away later


async def test_an_exchange_that_was_made_again_is_heard_within_a_minute(amqp_url: str, fast: bool) -> None:
    clock = ManualClock()
    inbox = Inbox()
    async with (
        rabbit_driver(amqp_url, clock=clock, fast=fast) as driver,
        driver.transport as transport,
        transport.receiver(Subscription(), inbox, label="r") as receiver,
        transport.sender("s") as sender,
    ):
        await sender.ready()
        await driver.admin.delete_exchange(driver.exchange)
        await clock.advance(60)
        await until(lambda: receiver.health.degraded)
        degraded, connected = receiver.health.degraded, receiver.health.connected
        await driver.admin.exchange(driver.exchange)
        deaf = await put(sender, b"deaf")
        await clock.advance(60)
        await until(lambda: receiver.health.degraded is None)
        heard = await put(sender, b"heard")
        arrived = await inbox.bodies(1)

    assert "start Nova first" in (degraded or "")
    assert connected
    assert ([RETURNED], [CONFIRMED]) == (deaf, heard)
    assert [b"heard"] == arrived


async def test_a_queue_that_is_deleted_is_made_again(amqp_url: str, fast: bool) -> None:
    inbox = Inbox()
    async with (
        rabbit_driver(amqp_url, clock=HurriedClock(), fast=fast) as driver,
        driver.transport as transport,
        transport.receiver(Subscription(), inbox, label="r") as receiver,
        transport.sender("s") as sender,
    ):
        await put(sender, b"1")
        held = await inbox.one()
        await driver.admin.delete_queue(receiver.queue)
        await until(lambda: "was its queue deleted" in (receiver.health.degraded or ""))
        await until(lambda: receiver.health.connected)
        held.ack()
        await put(sender, b"2")
        arrived = await inbox.bodies(1)

    assert [b"2"] == arrived


async def test_a_shared_queue_that_is_deleted_is_waited_for(amqp_url: str, fast: bool) -> None:
    inbox = Inbox()
    async with rabbit_driver(amqp_url, clock=HurriedClock(), fast=fast) as driver, driver.transport as transport:
        topic = driver.unique("topic")
        queue = QueueDeclaration(name=f"{topic}.info")
        binding = Binding(queue=queue.name, exchange=None, routing_key=queue.name)
        await driver.declare(queue, binding)
        subscription = Subscription(topics=(topic,), priorities=("info",), shared=True)
        async with transport.receiver(subscription, inbox, label="r") as receiver, transport.sender("s") as sender:
            await driver.admin.delete_queue(queue.name)
            await until(lambda: "404" in (receiver.health.degraded or ""))
            await driver.declare(queue, binding)
            await until(lambda: receiver.health.connected)
            await put(sender, b"x", key=queue.name)
            arrived = await inbox.bodies(1)

    assert [b"x"] == arrived


async def test_a_channel_that_the_broker_closes_is_made_again_and_told(amqp_url: str, fast: bool) -> None:
    inbox = Inbox()
    async with (
        rabbit_driver(amqp_url, clock=HurriedClock(), fast=fast) as driver,
        driver.transport as transport,
        transport.receiver(Subscription(), inbox, label="r") as receiver,
        transport.sender("s") as sender,
    ):
        await put(sender, b"1")
        held = await inbox.one()
        settler = held.settler
        settler.delivered(10)  # type: ignore[attr-defined]  # it never came: the broker refuses its acknowledgement (406)
        settler.settle(10, requeue=False)
        await until(lambda: "406" in (receiver.health.degraded or ""))
        degraded = receiver.health.degraded
        again = await inbox.one()
        again.ack()

    assert "receiving: the broker says 406 PRECONDITION_FAILED - unknown delivery tag 10" in (degraded or "")
    assert (b"1", True) == (again.body, again.redelivered)


async def test_several_queues_share_the_prefetch(driver: RabbitDriver) -> None:
    inbox = Inbox()
    topic = driver.unique("topic")
    keys = [f"{topic}.info", f"{topic}.error"]
    for key in keys:
        await driver.declare(QueueDeclaration(name=key), Binding(queue=key, exchange=None, routing_key=key))
    async with driver.transport as transport, transport.sender("s") as sender:
        for key in keys:
            await put(sender, *[b"x"] * 10, key=key)
        async with transport.receiver(Subscription(topics=(topic,), shared=True, prefetch=8), inbox, label="r"):
            await inbox.take(8)
            left = [await driver.admin.depth(key) for key in keys]

    assert [6, 6] == left


# Leaving


async def test_what_was_settled_before_the_exit_is_never_redelivered(driver: RabbitDriver, pool: str) -> None:
    async with driver.transport as transport, transport.sender("s") as sender:
        for _ in range(5):
            inbox = Inbox()
            async with transport.receiver(Subscription(pool=pool), inbox, label="r"):
                await put(sender, b"1", b"2", b"3")
                for delivery in await inbox.take(3):
                    delivery.ack()
        left = await driver.admin.depth(pool_queue(pool))

    assert 0 == left


async def test_a_stopped_receiver_gives_back_what_came_too_late(
    driver: RabbitDriver, amqp_url: str, pool: str, fast: bool
) -> None:
    inbox = Inbox()
    async with (
        driver.transport as transport,
        RabbitTransport(amqp_url, exchange=driver.exchange, fast=fast) as direct,
        direct.sender("s") as sender,
        transport.receiver(Subscription(pool=pool), inbox, label="r") as receiver,
    ):
        await put(sender, b"1")
        held = await inbox.one()
        driver.proxy.hold(Direction.DOWN)
        await put(sender, b"2", b"3")
        stopping = asyncio.create_task(receiver.stop())
        await driver.proxy.settled()
        driver.proxy.heal()
        await asyncio.wait_for(stopping, DEADLINE)
        held.ack()
        async with direct.receiver(Subscription(pool=pool), inbox, label="next"):
            again = await inbox.take(2)
            for delivery in again:
                delivery.ack()
        left = await driver.admin.depth(pool_queue(pool))

    assert [(b"2", True), (b"3", True)] == [(delivery.body, delivery.redelivered) for delivery in again]
    assert 0 == left


async def test_a_stopped_receiver_is_not_made_again(amqp_url: str, fast: bool) -> None:
    async with (
        rabbit_driver(amqp_url, clock=HurriedClock(), fast=fast) as driver,
        driver.transport as transport,
        transport.receiver(Subscription(), Inbox(), label="r") as receiver,
    ):
        await receiver.stop()
        accepted = driver.proxy.accepted
        driver.proxy.reset()
        await until(lambda: not receiver.health.connected)
        await until(lambda: receiver.health.degraded)
        await receiver.stop()

    assert accepted == driver.proxy.accepted


async def test_stopping_while_the_connection_is_made_again_consumes_no_more(amqp_url: str, fast: bool) -> None:
    inbox = Inbox()
    async with (
        rabbit_driver(amqp_url, clock=HurriedClock(), fast=fast) as driver,
        RabbitTransport(amqp_url, exchange=driver.exchange, fast=fast) as direct,
        direct.sender("s") as sender,
        driver.transport as transport,
        transport.receiver(Subscription(), inbox, label="r") as receiver,
    ):
        driver.proxy.hold()
        driver.proxy.reset()
        await until(lambda: not receiver.health.connected)
        await until(lambda: driver.proxy.connections)
        await receiver.stop()
        driver.proxy.heal()
        await until(lambda: receiver.health.connected)
        answers = await put(sender, b"x")
        depth = await driver.admin.depth(receiver.queue)

    assert [CONFIRMED] == answers
    assert 1 == depth
    assert [] == inbox.deliveries


async def test_leaving_a_black_hole_gives_up_after_ten_seconds(amqp_url: str, fast: bool) -> None:
    clock = ManualClock()
    async with rabbit_driver(amqp_url, clock=clock, fast=fast) as driver, driver.transport as transport:
        manager = transport.receiver(Subscription(), Inbox(), label="r")
        await manager.__aenter__()
        driver.proxy.hold()
        leaving = asyncio.create_task(manager.__aexit__(None, None, None))
        async with asyncio.timeout(DEADLINE):
            while not leaving.done():
                await clock.advance(1)
        driver.proxy.heal()

    assert clock.monotonic() <= 40


# Foreign notifications


async def test_foreign_notifications_are_never_handed_over(driver: RabbitDriver) -> None:
    inbox = Inbox()
    subscription = Subscription(wanted=lambda body: body.startswith(b"swap"), prefetch=10)
    async with (
        driver.transport as transport,
        transport.receiver(subscription, inbox, label="r") as receiver,
        transport.sender("s") as sender,
    ):
        await put(sender, *([b"other"] * 30 + [b"swap"]) * 10)
        arrived = await inbox.bodies(10)
        await until(lambda: receiver.skipped == 300)
        left = await driver.admin.depth(receiver.queue)

    assert [b"swap"] * 10 == arrived
    assert 0 == left


async def test_foreign_notifications_are_judged_by_what_their_compression_hides(driver: RabbitDriver) -> None:
    inbox = Inbox()
    subscription = Subscription(wanted=lambda body: body == b"swap")
    async with (
        driver.transport as transport,
        transport.receiver(subscription, inbox, label="r") as receiver,
        transport.sender("s") as sender,
    ):
        for body in (b"other", b"swap"):
            await put(sender, zlib.compress(body), headers={"compression": "application/x-gzip"})
        arrived = await inbox.bodies(1)
        skipped = receiver.skipped

    assert ([b"swap"], 1) == (arrived, skipped)


async def test_each_message_is_judged_once_whatever_its_headers_and_properties_are(driver: RabbitDriver) -> None:
    inbox = Inbox()
    judged: list[bytes] = []

    def wanted(body: bytes) -> bool:
        judged.append(body)
        return body.startswith(b"swap")

    async with (
        driver.transport as transport,
        transport.receiver(Subscription(wanted=wanted), inbox, label="r") as receiver,
        transport.sender("s") as sender,
    ):
        await put(sender, b"other 1", b"swap 1", headers={"traceparent": "00-1"})
        for body in (b"other 2", b"swap 2"):
            told = Message(routing_key=INFO, body=body, message_id="m", properties={"type": "compression"})
            assert CONFIRMED == await sender.send(told)
        arrived = await inbox.bodies(2)
        skipped = receiver.skipped

    assert [b"other 1", b"swap 1", b"other 2", b"swap 2"] == judged
    assert ([b"swap 1", b"swap 2"], 2) == (arrived, skipped)


async def test_headers_that_no_codec_reads_make_a_message_unreadable_not_deaf(driver: RabbitDriver) -> None:
    inbox = Inbox()
    deep: dict[str, object] = {}
    for _ in range(100):
        deep = {"h": deep}
    async with driver.transport as transport, transport.receiver(Subscription(), inbox, label="r") as receiver:
        async with driver.admin.channel() as channel:
            properties = commands.Basic.Properties(headers=deep)  # type: ignore[arg-type]
            await channel.basic_publish(b"poison", exchange=driver.exchange, routing_key=INFO, properties=properties)
            await channel.basic_publish(b"fine", exchange=driver.exchange, routing_key=INFO)
        poison, fine = await inbox.take(2)
        poison.ack()
        fine.ack()
        connected = receiver.health.connected

    assert (None, b"poison") == (poison.body, poison.original)
    assert "nested deeper" in (poison.unreadable or "")
    assert b"fine" == fine.body
    assert connected


async def test_trouble_is_logged_without_what_messages_hold(
    amqp_url: str, caplog: pytest.LogCaptureFixture, fast: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    inbox = Inbox()
    async with (
        rabbit_driver(amqp_url, clock=HurriedClock(), fast=fast) as driver,
        driver.transport as transport,
        transport.receiver(Subscription(), inbox, label="r") as receiver,
        transport.sender("s") as sender,
    ):
        await put(sender, b"body-canary", headers={"h": "header-canary"})
        await inbox.one()
        driver.proxy.reset()
        await until(lambda: not receiver.health.connected)
        await inbox.bodies(1)

    drivers_own = set() if fast else {"aiormq.connection"}  # it shows frames, for DEBUG
    told = [record for record in caplog.records if record.name not in drivers_own or record.levelno > logging.DEBUG]

    assert told
    assert "canary" not in "\n".join(record.getMessage() for record in told)


# Browsing


async def test_a_browser_goes_on_to_the_next_host(driver: RabbitDriver, pool: str, fast: bool) -> None:
    (dead,) = free_ports(1)
    await driver.admin.queue(pool_queue(pool))
    for _ in range(5):
        transport = RabbitTransport([f"amqp://127.0.0.1:{dead}/", driver.proxy.url], exchange=driver.exchange, fast=fast)
        async with transport, transport.browser(pool_queue(pool)) as browser:
            assert await browser.get() is None


async def test_a_browser_that_reaches_no_host_says_so(driver: RabbitDriver) -> None:
    driver.proxy.cut()
    async with driver.transport as transport:
        with pytest.raises(TransportError, match=r"lost|reset"):
            async with transport.browser("q"):
                pass


async def test_a_cancelled_look_loses_no_message(driver: RabbitDriver, pool: str) -> None:
    async with driver.transport as transport:
        async with transport.receiver(Subscription(pool=pool), Inbox(), label="r"):
            pass
        async with transport.sender("s") as sender:
            await put(sender, b"1", b"2")
        async with transport.browser(pool_queue(pool)) as browser:
            look = asyncio.create_task(browser.get())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            look.cancel()
            with pytest.raises(asyncio.CancelledError):
                await look
            seen = [await browser.get(), await browser.get(), await browser.get()]

    assert [b"1", b"2", None] == [delivery.body if delivery is not None else None for delivery in seen]


async def test_one_task_at_a_time_looks_into_a_queue(driver: RabbitDriver, pool: str) -> None:
    await driver.admin.queue(pool_queue(pool))
    async with driver.transport as transport, transport.browser(pool_queue(pool)) as browser:
        look = asyncio.create_task(browser.get())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one task at a time"):
            await browser.get()
        nothing = await look

    assert nothing is None


async def test_a_browser_tells_of_a_lost_connection(driver: RabbitDriver, pool: str) -> None:
    await driver.admin.queue(pool_queue(pool))
    async with driver.transport as transport, transport.browser(pool_queue(pool)) as browser:
        driver.proxy.hold()
        look = asyncio.create_task(browser.get())
        await driver.proxy.settled()
        driver.proxy.reset()
        with pytest.raises(TransportError, match="lost"):
            await look
        with pytest.raises(TransportError, match="lost"):
            await browser.get()


async def test_a_browser_tells_of_a_deleted_queue(driver: RabbitDriver, pool: str) -> None:
    await driver.admin.queue(pool_queue(pool))
    async with driver.transport as transport, transport.browser(pool_queue(pool)) as browser:
        await driver.admin.delete_queue(pool_queue(pool))
        with pytest.raises(TransportError, match="404 NOT_FOUND - no queue"):
            await browser.get()


async def test_what_a_browser_settles_is_settled_when_it_is_left(driver: RabbitDriver, pool: str) -> None:
    name = pool_queue(pool)
    async with driver.transport as transport:
        async with transport.receiver(Subscription(pool=pool), Inbox(), label="r"):
            pass
        async with transport.sender("s") as sender:
            await asyncio.gather(*[put(sender, b"%d" % number) for number in range(20)])
        async with transport.browser(name) as browser:
            for number in range(20):
                delivery = await browser.get()
                assert delivery is not None
                if number % 2:
                    delivery.ack()
        left = await driver.admin.depth(name)

    assert 10 == left
