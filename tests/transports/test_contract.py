"""What every transport does: one suite, run with each driver.

A driver is added by one line in `DRIVERS`.
"""

from __future__ import annotations

import asyncio
import bz2
import lzma
import zlib
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from functools import partial

import pytest

from aioswap.errors import TransportError
from aioswap.transports.base import MAX_BODY, Answer, Confirmation, Delivery, Subscription, Transport
from aioswap.transports.topology import Binding, QueueDeclaration, dead_letter_queue, pool_exchange, pool_queue, retry_queue
from tests.transports.driver import DEADLINE, ERROR, INFO, Driver, Inbox, barrier, memory_driver, message, put, until

DRIVERS = [
    pytest.param(memory_driver, id="memory"),
]

CONFIRMED, RETURNED, NACKED = Confirmation.CONFIRMED, Confirmation.RETURNED, Confirmation.NACKED


@pytest.fixture(params=DRIVERS)
async def driver(request: pytest.FixtureRequest) -> AsyncGenerator[Driver]:
    async with request.param() as driver:
        yield driver


@pytest.fixture
async def transport(driver: Driver) -> AsyncGenerator[Transport]:
    async with driver.transport as transport:
        yield transport


@pytest.fixture
def pool(driver: Driver) -> str:
    return driver.unique("pool")


async def _fails(future: asyncio.Future[Confirmation], error: type[Exception]) -> str:
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(error) as caught:
            await future
    return str(caught.value)


# Deliveries


async def test_messages_arrive_in_the_order_they_were_sent(transport: Transport, pool: str) -> None:
    inbox = Inbox()
    sent = [b"%d" % number for number in range(200)]
    async with (
        transport.receiver(Subscription(pool=pool, prefetch=200), inbox, label="r"),
        transport.sender("s") as sender,
    ):
        answers = await put(sender, *sent)
        arrived = await inbox.bodies(200)

    assert [CONFIRMED] * 200 == answers
    assert sent == arrived


async def test_a_delivery_tells_what_was_sent(transport: Transport, pool: str) -> None:
    inbox = Inbox()
    headers = {"text": "é", "number": 1 << 40, "negative": -1, "real": 0.5, "yes": True, "list": [1, "a"], "map": {"k": None}}
    properties = {"content_type": "text/plain", "delivery_mode": 2, "type": "t", "correlation_id": "c"}
    async with transport.receiver(Subscription(pool=pool), inbox, label="r"), transport.sender("s") as sender:
        sent = message(b"body", ERROR, headers=headers, properties=properties)
        await sender.ready()
        await sender.send(sent)
        delivery = await inbox.one()
        delivery.ack()

    assert (b"body", b"body", None) == (delivery.body, delivery.original, delivery.unreadable)
    assert (ERROR, sent.message_id) == (delivery.routing_key, delivery.message_id)
    assert not delivery.redelivered
    assert headers == {name: delivery.headers[name] for name in headers}
    assert properties == {name: delivery.properties[name] for name in properties}


async def test_prefetch_bounds_what_is_unsettled(transport: Transport, pool: str) -> None:
    inbox = Inbox()
    async with (
        transport.receiver(Subscription(pool=pool, prefetch=2), inbox, label="r"),
        transport.sender("s") as sender,
    ):
        await put(sender, b"1", b"2", b"3", b"4")
        await until(lambda: len(inbox.deliveries) == 2)
        await barrier(transport)
        unsettled = [delivery.body for delivery in inbox.deliveries]
        (await inbox.one()).ack()
        await until(lambda: len(inbox.deliveries) == 2)
        await barrier(transport)
        after_one = [delivery.body for delivery in inbox.deliveries]

    assert [b"1", b"2"] == unsettled
    assert [b"2", b"3"] == after_one


async def test_what_is_given_back_comes_again_marked_and_at_its_old_place(transport: Transport, pool: str) -> None:
    inbox = Inbox()
    async with (
        transport.receiver(Subscription(pool=pool, prefetch=1), inbox, label="r"),
        transport.sender("s") as sender,
    ):
        await put(sender, b"1", b"2")
        first = await inbox.one()
        first.requeue()
        again = await inbox.one()
        again.ack()
        second = await inbox.one()
        second.ack()

    assert [(b"1", False), (b"1", True), (b"2", False)] == [(d.body, d.redelivered) for d in (first, again, second)]


async def test_settling_twice_does_nothing(transport: Transport, pool: str) -> None:
    inbox = Inbox()
    async with (
        transport.receiver(Subscription(pool=pool, prefetch=1), inbox, label="r"),
        transport.sender("s") as sender,
    ):
        await put(sender, b"1", b"2")
        first = await inbox.one()
        first.ack()
        first.requeue()
        first.ack()
        second = await inbox.one()
        second.ack()
        await put(sender, b"3")
        third = await inbox.one()
        third.ack()

    assert [(b"2", False), (b"3", False)] == [(d.body, d.redelivered) for d in (second, third)]


async def test_what_is_unsettled_goes_back_when_the_receiver_leaves(transport: Transport, pool: str) -> None:
    first, second = Inbox(), Inbox()
    async with transport.sender("s") as sender:
        async with transport.receiver(Subscription(pool=pool), first, label="first"):
            await put(sender, b"1", b"2", b"3")
            taken = await first.take(3)
            taken[1].ack()
        async with transport.receiver(Subscription(pool=pool), second, label="second"):
            again = await second.take(2)
            for delivery in again:
                delivery.ack()
        taken[0].ack()
        taken[2].requeue()

    assert [(b"1", True), (b"3", True)] == [(delivery.body, delivery.redelivered) for delivery in again]


async def test_consumers_of_a_pool_share_its_messages(transport: Transport, pool: str) -> None:
    one, other = Inbox(), Inbox()
    subscription = Subscription(pool=pool, prefetch=1)
    async with (
        transport.receiver(subscription, one, label="one"),
        transport.receiver(subscription, other, label="other"),
        transport.sender("s") as sender,
    ):
        await put(sender, b"1", b"2", b"3", b"4")
        halves = []
        for _ in range(2):
            # Both are held before one is acknowledged: who is faster would get the other's.
            half = [await one.one(), await other.one()]
            halves += half
            for delivery in half:
                delivery.ack()

    assert [b"1", b"2", b"3", b"4"] == sorted(delivery.body for delivery in halves if delivery.body)


async def test_each_pool_gets_a_copy(driver: Driver, transport: Transport) -> None:
    inboxes = {driver.unique("one"): Inbox(), driver.unique("two"): Inbox()}
    async with AsyncExitStack() as stack:
        for name, inbox in inboxes.items():
            await stack.enter_async_context(transport.receiver(Subscription(pool=name), inbox, label=name))
        sender = await stack.enter_async_context(transport.sender("s"))
        await put(sender, b"1", b"2")
        arrived = [await inbox.bodies(2) for inbox in inboxes.values()]

    assert [[b"1", b"2"]] * 2 == arrived


async def test_all_priorities_of_a_pool_come_in_one_order(transport: Transport, pool: str) -> None:
    inbox = Inbox()
    async with transport.receiver(Subscription(pool=pool), inbox, label="r"), transport.sender("s") as sender:
        for number in range(10):
            await put(sender, b"%d" % number, key=ERROR if number % 2 else INFO)
        arrived = await inbox.bodies(10)

    assert [b"%d" % number for number in range(10)] == arrived


async def test_keys_do_not_leak_into_other_queues(driver: Driver, transport: Transport) -> None:
    infos, errors, others = Inbox(), Inbox(), Inbox()
    async with (
        transport.receiver(Subscription(pool=driver.unique("i"), priorities=("info",)), infos, label="i"),
        transport.receiver(Subscription(pool=driver.unique("e"), priorities=("error",)), errors, label="e"),
        transport.receiver(Subscription(pool=driver.unique("o"), topics=("other",)), others, label="o"),
        transport.sender("s") as sender,
    ):
        await put(sender, b"info")
        await put(sender, b"error", key=ERROR)
        await put(sender, b"other", key="other.info")
        arrived = [await inbox.bodies(1) for inbox in (infos, errors, others)]
        await barrier(transport)
        more = [*infos.deliveries, *errors.deliveries, *others.deliveries]

    assert [[b"info"], [b"error"], [b"other"]] == arrived
    assert [] == more


async def test_what_comes_while_a_pool_is_away_waits_for_it(transport: Transport, pool: str) -> None:
    inbox = Inbox()
    async with transport.receiver(Subscription(pool=pool), Inbox(), label="before"):
        pass
    async with transport.sender("s") as sender:
        answers = await put(sender, b"1", b"2")
    async with transport.receiver(Subscription(pool=pool), inbox, label="after"):
        arrived = await inbox.take(2)
        for delivery in arrived:
            delivery.ack()

    assert [CONFIRMED, CONFIRMED] == answers
    assert [(b"1", False), (b"2", False)] == [(delivery.body, delivery.redelivered) for delivery in arrived]


async def test_a_receiver_that_was_stopped_settles_but_takes_no_more(transport: Transport, pool: str) -> None:
    inbox, later = Inbox(), Inbox()
    async with transport.sender("s") as sender:
        async with transport.receiver(Subscription(pool=pool), inbox, label="r") as receiver:
            await put(sender, b"1")
            held = await inbox.one()
            await receiver.stop()
            await put(sender, b"2")
            await barrier(transport)
            held.ack()
            more = list(inbox.deliveries)
        async with transport.receiver(Subscription(pool=pool), later, label="later"):
            arrived = await later.bodies(1)

    assert [] == more
    assert [b"2"] == arrived


async def test_one_consumer_of_a_single_active_pool_takes_all_until_it_leaves(transport: Transport, pool: str) -> None:
    first, second = Inbox(), Inbox()
    subscription = Subscription(pool=pool, single_active=True)
    async with transport.sender("s") as sender, AsyncExitStack() as stack:
        async with transport.receiver(subscription, first, label="first"):
            await stack.enter_async_context(transport.receiver(subscription, second, label="second"))
            await put(sender, b"1", b"2", b"3")
            taken = await first.bodies(3)
            await barrier(transport)
            waiting = list(second.deliveries)
        await put(sender, b"4")
        after = await second.bodies(1)

    assert ([b"1", b"2", b"3"], []) == (taken, waiting)
    assert [b"4"] == after


# Foreign notifications


async def test_foreign_notifications_are_counted_and_never_delivered(transport: Transport, pool: str) -> None:
    inbox = Inbox()
    subscription = Subscription(pool=pool, wanted=lambda body: b"wanted" in body, prefetch=3)
    async with transport.receiver(subscription, inbox, label="r") as receiver, transport.sender("s") as sender:
        await put(sender, *[b"foreign"] * 20, b"wanted 1", *[b"foreign"] * 20, b"wanted 2")
        arrived = await inbox.bodies(2)
        skipped = receiver.skipped

    assert [b"wanted 1", b"wanted 2"] == arrived
    assert 40 == skipped


async def test_foreign_notifications_behind_a_slow_delivery_are_acknowledged_all_the_same(
    driver: Driver, transport: Transport, pool: str
) -> None:
    inbox = Inbox()
    subscription = Subscription(pool=pool, wanted=lambda body: b"wanted" in body, prefetch=10)
    async with transport.receiver(subscription, inbox, label="r") as receiver, transport.sender("s") as sender:
        await put(sender, b"wanted, slow", *[b"foreign"] * 50)
        slow = [await inbox.one()]
        await until(lambda: receiver.skipped >= 50)
        for number in range(3):
            await driver.lose()
            await driver.restore()
            slow.append(await inbox.one())
            await put(sender, b"wanted %d" % number)
            await inbox.bodies(1)
        slow[-1].ack()
        skipped = receiver.skipped

    assert [(b"wanted, slow", place > 0) for place in range(4)] == [(d.body, d.redelivered) for d in slow]
    assert 50 <= skipped <= 100  # an acknowledgement may have been under way when the connection was lost first


async def test_what_a_pool_sends_to_itself_is_delivered_unasked(transport: Transport, pool: str) -> None:
    inbox = Inbox()
    subscription = Subscription(pool=pool, wanted=lambda body: False)
    async with transport.receiver(subscription, inbox, label="r") as receiver, transport.sender("s") as sender:
        await put(sender, b"foreign")
        await put(sender, b"retried", key=pool_queue(pool), exchange=pool_exchange(pool))
        arrived = await inbox.bodies(1)
        skipped = receiver.skipped

    assert [b"retried"] == arrived
    assert 1 == skipped


# What the broker says


async def test_what_no_queue_is_bound_for_is_returned(transport: Transport, pool: str) -> None:
    async with transport.receiver(Subscription(pool=pool), Inbox(), label="r"), transport.sender("s") as sender:
        answers = [*await put(sender, b"1", key="versioned_notifications.sample"), *await put(sender, b"2")]

    assert [RETURNED, CONFIRMED] == answers


async def test_a_full_queue_that_rejects_nacks(driver: Driver, transport: Transport) -> None:
    queue = driver.unique("small")
    arguments = {"x-queue-type": "classic", "x-max-length": 2, "x-overflow": "reject-publish"}
    await driver.declare(
        QueueDeclaration(name=queue, arguments=arguments), Binding(queue=queue, exchange=None, routing_key="small.info")
    )
    answers = []
    async with transport.sender("s") as sender:
        for body in (b"1", b"2", b"3"):
            answers += await put(sender, body, key="small.info")

    assert [CONFIRMED, CONFIRMED, NACKED] == answers
    assert [b"1", b"2"] == await _browsed(transport, queue)


async def test_a_full_queue_drops_its_oldest_message(driver: Driver, transport: Transport) -> None:
    queue = driver.unique("small")
    await driver.declare(
        QueueDeclaration(name=queue, arguments={"x-queue-type": "classic", "x-max-length": 2}),
        Binding(queue=queue, exchange=None, routing_key="small.info"),
    )
    async with transport.sender("s") as sender:
        answers = await put(sender, b"1", b"2", b"3", key="small.info")

    assert [CONFIRMED] * 3 == answers
    assert [b"2", b"3"] == await _browsed(transport, queue)


async def test_the_answer_is_a_future_that_ends_later(transport: Transport, pool: str) -> None:
    async with transport.receiver(Subscription(pool=pool), Inbox(), label="r"), transport.sender("s") as sender:
        await sender.ready()
        future = sender.send(message(b"1"))
        at_once = future.done()
        answer = await asyncio.wait_for(future, DEADLINE)

    assert not at_once
    assert CONFIRMED == answer


async def test_cancelling_the_answer_withdraws_nothing(transport: Transport, pool: str) -> None:
    inbox = Inbox()
    async with transport.receiver(Subscription(pool=pool), inbox, label="r"), transport.sender("s") as sender:
        await sender.ready()
        sender.send(message(b"1")).cancel()
        answer = await put(sender, b"2")
        arrived = await inbox.bodies(2)

    assert [CONFIRMED] == answer
    assert [b"1", b"2"] == arrived


@pytest.mark.parametrize(
    "impossible",
    [
        message(b"x" * (MAX_BODY + 1)),
        message(b"", "k" * 256),
        message(b"", "é" * 128),
        message(b"", headers={"h": "x" * 70_000}),
        message(b"", headers={"h": object()}),
        message(b"", headers={"h": 1 << 63}),
    ],
    ids=["body", "key", "key in bytes", "headers", "type", "number"],
)
async def test_an_impossible_message_is_a_value_error_and_harms_no_other(
    transport: Transport, pool: str, impossible: object
) -> None:
    inbox = Inbox()
    async with transport.receiver(Subscription(pool=pool), inbox, label="r"), transport.sender("s") as sender:
        await sender.ready()
        futures = [sender.send(message(b"1")), sender.send(impossible), sender.send(message(b"2"))]  # type: ignore[arg-type]
        await _fails(futures[1], ValueError)
        arrived = await inbox.bodies(2)
        answers = [await futures[0], await futures[2]]

    assert [CONFIRMED, CONFIRMED] == answers
    assert [b"1", b"2"] == arrived


# Retries and dead letters


async def test_a_message_in_a_retry_queue_comes_back_after_its_delay(driver: Driver, transport: Transport, pool: str) -> None:
    inbox = Inbox()
    async with transport.receiver(Subscription(pool=pool), inbox, label="r"), transport.sender("s") as sender:
        answers = await put(sender, b"1", key=retry_queue(pool, 1), exchange=pool_exchange(pool), headers={"attempt": 2})
        await driver.advance(1)
        delivery = await inbox.one()
        delivery.ack()

    assert [CONFIRMED] == answers
    assert (b"1", 2, pool_queue(pool)) == (delivery.body, delivery.headers["attempt"], delivery.routing_key)
    assert (pool_exchange(pool), False) == (delivery.exchange, delivery.redelivered)
    death = delivery.headers["x-death"][0]
    assert (1, "expired", retry_queue(pool, 1)) == (death["count"], death["reason"], death["queue"])


async def test_dead_letters_are_kept_and_can_be_looked_at(transport: Transport, pool: str) -> None:
    queue = dead_letter_queue(pool)
    async with transport.receiver(Subscription(pool=pool), Inbox(), label="r"), transport.sender("s") as sender:
        answers = [
            *await put(sender, b"1", key=queue, exchange=pool_exchange(pool), headers={"reason": "first"}),
            *await put(sender, b"2", key=queue, exchange=pool_exchange(pool), headers={"reason": "second"}),
        ]
    async with transport.browser(queue) as browser:
        seen = [await browser.get(), await browser.get(), await browser.get()]
    async with transport.browser(queue) as browser:
        first, second = await browser.get(), await browser.get()
        assert first is not None
        assert second is not None
        first.ack()
        first.ack()
        second.requeue()
        again = await browser.get()
    left = await _browsed(transport, queue)

    assert [CONFIRMED, CONFIRMED] == answers
    assert [(b"1", "first", False), (b"2", "second", False), None] == [_letter(delivery) for delivery in seen]
    assert [(b"1", "first", True), (b"2", "second", True), (b"2", "second", True)] == [
        _letter(delivery) for delivery in (first, second, again)
    ]
    assert [b"2"] == left


async def test_an_unreadable_message_can_be_kept_as_it_came(transport: Transport, pool: str) -> None:
    large = b"x" * (MAX_BODY + 1)
    queue = dead_letter_queue(pool)
    async with transport.receiver(Subscription(pool=pool), Inbox(), label="r"), transport.sender("s") as sender:
        answers = await put(sender, large, key=queue, exchange=pool_exchange(pool))
    async with transport.browser(queue) as browser:
        delivery = await browser.get()
        assert delivery is not None
        delivery.ack()

    assert [CONFIRMED] == answers
    assert (None, large) == (delivery.body, delivery.original)


async def test_there_is_no_look_into_a_queue_that_does_not_exist(driver: Driver, transport: Transport) -> None:
    with pytest.raises(TransportError):
        async with transport.browser(driver.unique("missing")):
            pass


def _letter(delivery: Delivery | None) -> object:
    return None if delivery is None else (delivery.body, delivery.headers["reason"], delivery.redelivered)


async def _browsed(transport: Transport, queue: str) -> list[bytes | None]:
    bodies = []
    async with transport.browser(queue) as browser:
        while (delivery := await browser.get()) is not None:
            bodies.append(delivery.body)
    return bodies


# Compression


@pytest.mark.parametrize(
    ("name", "compressed"),
    [
        ("application/x-gzip", zlib.compress(b"plain")),
        ("application/x-bz2", bz2.compress(b"plain")),
        ("application/x-lzma", lzma.compress(b"plain")),
        ("unheard-of", b"plain"),
    ],
)
async def test_compression_is_undone(transport: Transport, pool: str, name: str, compressed: bytes) -> None:
    inbox = Inbox()
    subscription = Subscription(pool=pool, wanted=lambda body: body == b"plain")
    async with transport.receiver(subscription, inbox, label="r"), transport.sender("s") as sender:
        await put(sender, compressed, headers={"compression": name})
        delivery = await inbox.one()
        delivery.ack()

    assert (b"plain", compressed, None) == (delivery.body, delivery.original, delivery.unreadable)


@pytest.mark.parametrize("body", [b"not compressed", zlib.compress(b"x" * (MAX_BODY + 1))], ids=["broken", "too large"])
async def test_what_cannot_be_undone_is_delivered_with_a_reason(transport: Transport, pool: str, body: bytes) -> None:
    inbox = Inbox()
    subscription = Subscription(pool=pool, wanted=lambda body: False)
    async with transport.receiver(subscription, inbox, label="r") as receiver, transport.sender("s") as sender:
        await put(sender, body, headers={"compression": "application/x-gzip"})
        delivery = await inbox.one()
        delivery.ack()
        skipped = receiver.skipped

    assert (None, body, 0) == (delivery.body, delivery.original, skipped)
    assert delivery.unreadable


async def test_a_body_above_the_limit_is_delivered_with_a_reason(transport: Transport, pool: str) -> None:
    inbox = Inbox()
    large = b"x" * (MAX_BODY + 1)
    async with transport.receiver(Subscription(pool=pool), inbox, label="r"), transport.sender("s") as sender:
        await put(sender, large, key=pool_queue(pool), exchange=pool_exchange(pool))
        delivery = await inbox.one()
        delivery.ack()

    assert (None, large) == (delivery.body, delivery.original)
    assert delivery.unreadable


# Losing the connection


async def test_sending_and_receiving_resume_after_a_loss(driver: Driver, transport: Transport, pool: str) -> None:
    inbox = Inbox()
    async with transport.receiver(Subscription(pool=pool), inbox, label="r") as receiver, transport.sender("s") as sender:
        await put(sender, b"1")
        arrived = await inbox.bodies(1)
        await driver.lose()
        await until(lambda: not sender.health.connected and not receiver.health.connected)
        await _fails(sender.send(message(b"lost")), TransportError)
        ready = asyncio.create_task(sender.ready())
        await until(lambda: sender.health.degraded and receiver.health.degraded)
        waited = not ready.done()
        await driver.restore()
        await asyncio.wait_for(ready, DEADLINE)
        answers = await put(sender, b"2")
        arrived += await inbox.bodies(1)
        await until(lambda: receiver.health.connected and receiver.health.degraded is None)
        degraded = sender.health.degraded

    assert waited
    assert [CONFIRMED] == answers
    assert [b"1", b"2"] == arrived
    assert degraded is None


async def test_what_is_unsettled_comes_again_after_a_loss(driver: Driver, transport: Transport, pool: str) -> None:
    inbox = Inbox()
    async with transport.receiver(Subscription(pool=pool), inbox, label="r"), transport.sender("s") as sender:
        await put(sender, b"1", b"2")
        before = await inbox.take(2)
        await driver.lose()
        before[0].ack()
        before[1].requeue()
        await driver.restore()
        after = await inbox.take(2)
        before[0].ack()
        for delivery in after:
            delivery.ack()

    assert [(b"1", False), (b"2", False)] == [(delivery.body, delivery.redelivered) for delivery in before]
    assert [(b"1", True), (b"2", True)] == [(delivery.body, delivery.redelivered) for delivery in after]


async def test_what_is_submitted_is_told_each_answer_once_and_later(transport: Transport, pool: str) -> None:
    inbox = Inbox()
    answers: list[tuple[int, Answer]] = []
    async with (
        transport.receiver(Subscription(pool=pool), inbox, label="r"),
        transport.sender("s") as sender,
    ):
        await sender.ready()
        keys = [INFO, "nobody.info", INFO]
        for number, key in enumerate(keys):
            sender.submit(message(b"%d" % number, key), partial(_note, answers, number))
        sender.submit(message(b"x" * (MAX_BODY + 1)), partial(_note, answers, 3))
        at_once = list(answers)
        await until(lambda: len(answers) == 4)
        arrived = await inbox.bodies(2)
        await barrier(transport)

    told = dict(answers)

    assert [] == at_once
    assert 4 == len(answers)
    assert [CONFIRMED, RETURNED, CONFIRMED] == [told[number] for number in range(3)]
    assert isinstance(told[3], ValueError)
    assert [b"0", b"2"] == arrived


def _note(answers: list[tuple[int, Answer]], number: int, answer: Answer) -> None:
    answers.append((number, answer))


async def test_an_answer_that_cannot_be_taken_harms_no_other(
    transport: Transport, pool: str, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[tuple[int, Answer]] = []
    async with (
        transport.receiver(Subscription(pool=pool), Inbox(), label="r"),
        transport.sender("s") as sender,
    ):
        await sender.ready()
        sender.submit(message(b"1"), _refuse)
        sender.submit(message(b"2"), partial(_note, answers, 2))
        await until(lambda: answers)
        connected = sender.health.connected

    assert [(2, CONFIRMED)] == answers
    assert connected
    assert "could not be taken" in caplog.text


def _refuse(answer: Answer) -> None:
    raise LookupError("no place for it")


async def test_what_is_submitted_is_told_of_a_loss_and_of_the_end(driver: Driver, transport: Transport, pool: str) -> None:
    answers: list[tuple[int, Answer]] = []
    async with transport.sender("s") as sender:
        await sender.ready()
        await driver.lose()
        await until(lambda: not sender.health.connected)
        sender.submit(message(b"1"), partial(_note, answers, 1))
        at_once = list(answers)
        await until(lambda: answers)
        await driver.restore()
        await sender.ready()
        sender.submit(message(b"2"), partial(_note, answers, 2))
    with pytest.raises(RuntimeError, match="closed"):
        sender.submit(message(b"3"), partial(_note, answers, 3))

    assert [] == at_once
    assert [1, 2] == [number for number, _ in answers]
    assert [True, True] == [isinstance(answer, TransportError) for _, answer in answers]


async def test_answers_owed_at_a_loss_fail_and_are_never_cancelled(driver: Driver, transport: Transport, pool: str) -> None:
    async with transport.receiver(Subscription(pool=pool), Inbox(), label="r"), transport.sender("s") as sender:
        await sender.ready()
        futures = [sender.send(message(b"x")) for _ in range(50)]
        await driver.lose()
        async with asyncio.timeout(DEADLINE):
            answers = await asyncio.gather(*futures, return_exceptions=True)
        await driver.restore()

    assert {TransportError} | {CONFIRMED} >= {type(a) if isinstance(a, Exception) else a for a in answers}


async def test_a_sender_can_be_opened_while_there_is_no_broker(driver: Driver, transport: Transport, pool: str) -> None:
    async with transport.receiver(Subscription(pool=pool), Inbox(), label="r"):
        await driver.lose()
        async with transport.sender("s") as sender:
            await _fails(sender.send(message(b"1")), TransportError)
            await driver.restore()
            answers = await put(sender, b"2")

    assert [CONFIRMED] == answers


async def test_an_anonymous_queue_outlives_a_short_loss(driver: Driver, transport: Transport, pool: str) -> None:
    inbox = Inbox()
    async with (
        transport.receiver(Subscription(), inbox, label="r") as receiver,
        transport.receiver(Subscription(pool=pool), Inbox(), label="other"),
        transport.sender("s") as sender,
    ):
        queue = receiver.queue
        await put(sender, b"1")
        await inbox.take(1)
        await driver.lose()
        await driver.restore()
        again = await inbox.one()
        again.ack()
        await put(sender, b"2")
        arrived = await inbox.bodies(1)
        same = receiver.queue

    assert (b"1", True) == (again.body, again.redelivered)
    assert [b"2"] == arrived
    assert queue == same


# Opening and closing


async def test_an_anonymous_queue_is_gone_after_a_clean_exit(transport: Transport) -> None:
    async with transport.receiver(Subscription(), Inbox(), label="r") as receiver:
        queue = receiver.queue
        there = await _browsed(transport, queue)
    with pytest.raises(TransportError):
        await _browsed(transport, queue)

    assert [] == there


async def test_receivers_without_a_pool_have_queues_of_their_own(transport: Transport) -> None:
    one, other = Inbox(), Inbox()
    async with (
        transport.receiver(Subscription(), one, label="one"),
        transport.receiver(Subscription(), other, label="other"),
        transport.sender("s") as sender,
    ):
        await put(sender, b"1")
        arrived = [await one.bodies(1), await other.bodies(1)]

    assert [[b"1"], [b"1"]] == arrived


async def test_a_shared_receiver_reads_the_default_queues(driver: Driver, transport: Transport, pool: str) -> None:
    inbox = Inbox()
    topic = driver.unique("topic")
    keys = [f"{topic}.{priority}" for priority in ("info", "error")]
    for key in keys:
        await driver.declare(QueueDeclaration(name=key), Binding(queue=key, exchange=None, routing_key=key))
    subscription = Subscription(pool=pool, topics=(topic,), shared=True)
    async with transport.receiver(subscription, inbox, label="r") as receiver, transport.sender("s") as sender:
        queue = receiver.queue
        for key in keys:
            await put(sender, key.encode(), key=key)
        await put(sender, b"retried", key=pool_queue(pool), exchange=pool_exchange(pool))
        arrived = await inbox.bodies(3)

    assert keys[0] == queue
    assert {*(key.encode() for key in keys), b"retried"} == set(arrived)


async def test_a_transport_leaves_nothing_behind_and_can_be_opened_again(driver: Driver) -> None:
    inbox = Inbox()
    pool = driver.unique("pool")
    before = asyncio.all_tasks()
    async with (
        driver.transport as transport,
        transport.receiver(Subscription(pool=pool), inbox, label="r"),
        transport.sender("s") as sender,
    ):
        await put(sender, b"1")
        await inbox.take(1)
    left = {task for task in asyncio.all_tasks() - before if task.get_name().startswith("aioswap")}
    async with (
        driver.transport as transport,
        transport.receiver(Subscription(pool=pool), inbox, label="r"),
        transport.sender("s") as sender,
    ):
        await put(sender, b"2")
        arrived = await inbox.bodies(2)

    assert set() == left
    assert [b"1", b"2"] == arrived


async def test_a_transport_is_opened_once_at_a_time(driver: Driver) -> None:
    async with driver.transport:
        with pytest.raises(RuntimeError):
            await driver.transport.__aenter__()


async def test_a_transport_that_is_not_open_is_not_usable(driver: Driver, pool: str) -> None:
    with pytest.raises(RuntimeError):
        async with driver.transport.sender("s"):
            pass
    with pytest.raises(RuntimeError):
        async with driver.transport.receiver(Subscription(pool=pool), Inbox(), label="r"):
            pass
    with pytest.raises(RuntimeError):
        async with driver.transport.browser("q"):
            pass


async def test_a_transport_belongs_to_one_loop_and_thread(driver: Driver) -> None:
    async def elsewhere(transport: Transport) -> None:
        async with transport.sender("s"):
            pass

    async with driver.transport as transport, transport.sender("s") as sender:
        with pytest.raises(RuntimeError):
            await asyncio.to_thread(asyncio.run, elsewhere(transport))
        with pytest.raises(RuntimeError):
            await asyncio.to_thread(sender.send, message(b"1"))


async def test_a_receiver_that_cannot_start_says_so(driver: Driver, transport: Transport) -> None:
    topic = driver.unique("missing")
    start = asyncio.create_task(_start(transport, Subscription(topics=(topic,), shared=True)))
    await asyncio.sleep(0)
    await driver.advance(1)
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(TransportError, match=topic):
            await start


async def _start(transport: Transport, subscription: Subscription) -> None:
    async with transport.receiver(subscription, Inbox(), label="r", start_timeout=0.5):
        pass
