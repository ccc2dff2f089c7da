"""What the memory transport does beyond the contract: faults at will, time by hand, and a look at its queues."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import pytest

from aioswap.clock import Clock
from aioswap.errors import TransportError
from aioswap.health import LinkHealth
from aioswap.testing import ManualClock
from aioswap.transports.base import Confirmation, Delivery, Sender, Subscription, Transport
from aioswap.transports.memory import MemoryTransport
from aioswap.transports.topology import Binding, QueueDeclaration, pool_exchange, pool_queue, retry_queue
from tests.transports.driver import ERROR, INFO, Inbox, barrier, message, put

CONFIRMED, RETURNED, NACKED = Confirmation.CONFIRMED, Confirmation.RETURNED, Confirmation.NACKED
POOL = Subscription(pool="p")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def memory(clock: ManualClock) -> AsyncGenerator[MemoryTransport]:
    async with MemoryTransport(clock=clock) as memory:
        memory.declare(QueueDeclaration(name="q"), Binding(queue="q", exchange=None, routing_key="#"))
        yield memory


async def _turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def _send(sender: Sender, *bodies: bytes, key: str = INFO) -> list[asyncio.Future[Confirmation]]:
    return [sender.send(message(body, key)) for body in bodies]


def _tell(told: list[int], number: int, _: object) -> None:
    told.append(number)


async def _browsed(transport: Transport, queue: str) -> list[bytes | None]:
    bodies = []
    async with transport.browser(queue) as browser:
        while (delivery := await browser.get()) is not None:
            bodies.append(delivery.body)
    return bodies


async def test_a_transport_needs_nothing_to_begin_with() -> None:
    inbox = Inbox()
    async with (
        MemoryTransport(exchange="other") as transport,
        transport.receiver(Subscription(), inbox, label="r"),
        transport.sender("s") as sender,
    ):
        await put(sender, b"1")
        delivery = await inbox.one()

    assert ("other", b"1") == (delivery.exchange, delivery.body)


async def test_no_delivery_and_no_answer_comes_within_the_call_that_causes_it(memory: MemoryTransport) -> None:
    inbox = Inbox()
    async with memory.receiver(POOL, inbox, label="r"), memory.sender("s") as sender:
        (future,) = _send(sender, b"1")
        at_once = (future.done(), list(inbox.deliveries))
        await _turns()
        delivery = inbox.deliveries[0]
        delivery.requeue()
        after_requeue = len(inbox.deliveries)
        await _turns()

    assert (False, []) == at_once
    assert (1, 2) == (after_requeue, len(inbox.deliveries))


async def test_a_sender_says_whose_exchange_is_missing(memory: MemoryTransport) -> None:
    async with memory.sender("s") as sender:
        with pytest.raises(TransportError, match=r"aioswap\.nobody"):
            await sender.send(message(b"1", "k", exchange="aioswap.nobody"))


# Faults


async def test_a_refused_routing_key_is_refused_until_it_is_accepted(memory: MemoryTransport) -> None:
    async with memory.sender("s") as sender:
        memory.refuse(INFO)
        returned = [*await put(sender, b"1"), *await put(sender, b"2", key=ERROR)]
        memory.refuse(INFO, NACKED)
        nacked = await put(sender, b"3")
        memory.accept(INFO)
        memory.accept(INFO)
        confirmed = await put(sender, b"4")
        left = await _browsed(memory, "q")

    assert [RETURNED, CONFIRMED, NACKED, CONFIRMED] == [*returned, *nacked, *confirmed]
    assert [b"2", b"4"] == left


def test_to_refuse_is_not_to_confirm() -> None:
    with pytest.raises(ValueError, match="accept"):
        MemoryTransport().refuse(INFO, CONFIRMED)


async def test_held_confirmations_come_when_they_are_released_in_order(memory: MemoryTransport) -> None:
    told: list[int] = []
    async with memory.sender("s") as sender:
        memory.hold_confirms()
        futures = _send(sender, b"1", b"2")
        for number, future in enumerate(futures):
            future.add_done_callback(partial(_tell, told, number))
        await _turns()
        waiting = [future.done() for future in futures]
        taken = memory.depths()["q"]
        memory.release_confirms()
        answers = await asyncio.gather(*futures)

    assert ([False, False], 2) == (waiting, taken)
    assert ([CONFIRMED, CONFIRMED], [0, 1]) == (answers, told)


async def test_confirmations_can_be_held_while_they_are_on_their_way(memory: MemoryTransport) -> None:
    async with memory.sender("s") as sender:
        (future,) = _send(sender, b"1")
        memory.hold_confirms()
        await _turns()
        waiting = future.done()
        memory.release_confirms()
        answer = await future

    assert not waiting
    assert CONFIRMED == answer


async def test_confirmations_owed_at_a_loss_fail_though_the_message_arrived(memory: MemoryTransport) -> None:
    async with memory.sender("s") as sender:
        memory.hold_confirms()
        owed, cancelled = _send(sender, b"1", b"2")
        cancelled.cancel()
        memory.lose()
        with pytest.raises(TransportError, match="before the broker answered"):
            await owed

    assert 2 == memory.depths()["q"]


async def test_a_blocked_broker_routes_and_answers_nothing_until_it_is_unblocked(memory: MemoryTransport) -> None:
    async with memory.sender("s") as sender:
        memory.block()
        health = sender.health
        first, cancelled, third = _send(sender, b"1", b"2", b"3")
        cancelled.cancel()
        ready = asyncio.create_task(sender.ready())
        await _turns()
        waiting = (first.done(), ready.done(), memory.depths()["q"])
        memory.release_confirms()
        memory.unblock()
        answers = [await first, await third]
        await ready
        healthy = sender.health
        left = await _browsed(memory, "q")

    assert (True, True) == (health.connected, health.blocked)
    assert health.degraded
    assert (False, False, 0) == waiting
    assert [CONFIRMED, CONFIRMED] == answers
    assert LinkHealth(connected=True) == healthy
    assert [b"1", b"2", b"3"] == left


async def test_what_a_blocked_broker_has_not_routed_is_lost_with_the_connection(memory: MemoryTransport) -> None:
    async with memory.sender("s") as sender:
        memory.block()
        (future,) = _send(sender, b"1")
        memory.lose()
        with pytest.raises(TransportError):
            await future
        health = sender.health
        ready = asyncio.create_task(sender.ready())
        memory.restore()
        await _turns()
        still_blocked = ready.done()
        memory.unblock()
        await ready

    assert (False, False) == (health.connected, health.blocked)
    assert not still_blocked
    assert 0 == memory.depths()["q"]


async def test_a_sender_that_is_left_owes_no_answers_and_sends_no_more(memory: MemoryTransport) -> None:
    memory.hold_confirms()
    async with memory.sender("s") as sender:
        (owed,) = _send(sender, b"1")
    with pytest.raises(TransportError):
        await owed
    with pytest.raises(RuntimeError, match="closed"):
        sender.send(message(b"2"))
    with pytest.raises(RuntimeError, match="closed"):
        await sender.ready()

    assert not sender.health.connected


async def test_whoever_waits_for_a_sender_that_is_closed_is_told(memory: MemoryTransport) -> None:
    async with memory.sender("s") as sender:
        memory.lose()
        ready = asyncio.create_task(sender.ready())
        await _turns()
    with pytest.raises(TransportError, match="closed"):
        await ready


async def test_a_loss_puts_everything_back_in_order_for_whoever_is_there_first(memory: MemoryTransport) -> None:
    one, other = Inbox(), Inbox()
    subscription = Subscription(pool="p", prefetch=3)
    async with (
        memory.receiver(subscription, one, label="one") as receiver,
        memory.receiver(subscription, other, label="other"),
        memory.sender("s") as sender,
    ):
        await put(sender, *[b"%d" % number for number in range(10)])
        _send(sender, b"on its way")
        memory.lose()
        depth = memory.depths()[pool_queue("p")]
        unknown = receiver.depth
        left = len(one.deliveries), len(other.deliveries)
        memory.restore()
        await _turns()
        again = one.deliveries[left[0] :] + other.deliveries[left[1] :]
        known = receiver.depth

    assert (11, None, 5) == (depth, unknown, known)
    assert [(b"%d" % number, True) for number in range(6)] == sorted((d.body or b"", d.redelivered) for d in again)


async def test_a_receiver_can_be_opened_while_everything_is_cut(memory: MemoryTransport, clock: ManualClock) -> None:
    inbox = Inbox()

    async def receive() -> None:
        async with memory.receiver(POOL, inbox, label="late"):
            await inbox.bodies(1)

    memory.lose()
    task = asyncio.create_task(receive())
    await clock.advance(29)
    memory.restore()
    async with memory.sender("s") as sender:
        await put(sender, b"1", key=INFO)
        await _turns()
        await put(sender, b"2", key=INFO)
    await task

    assert [] == inbox.deliveries


async def test_a_receiver_that_never_gets_a_connection_says_why(memory: MemoryTransport, clock: ManualClock) -> None:
    async def receive() -> None:
        async with memory.receiver(POOL, Inbox(), label="late", start_timeout=5):
            raise AssertionError

    memory.lose()
    task = asyncio.create_task(receive())
    await clock.advance(5)
    with pytest.raises(TransportError, match=r"late is not ready after 5 s: .*restore"):
        await task


async def test_a_receiver_waits_for_a_queue_that_somebody_else_declares(memory: MemoryTransport) -> None:
    inbox = Inbox()

    async def receive() -> list[bytes | None]:
        async with memory.receiver(Subscription(shared=True, priorities=("info",)), inbox, label="r"):
            return await inbox.bodies(1)

    task = asyncio.create_task(receive())
    await _turns()
    memory.lose()
    memory.declare(QueueDeclaration(name="other"))
    memory.restore()
    await _turns()
    memory.declare(QueueDeclaration(name=INFO), Binding(queue=INFO, exchange=None, routing_key=INFO))
    async with memory.sender("s") as sender:
        await put(sender, b"1")
        arrived = await task

    assert [b"1"] == arrived


async def test_a_body_timeout_of_the_user_is_the_users(memory: MemoryTransport) -> None:
    with pytest.raises(TimeoutError):
        async with memory.receiver(POOL, Inbox(), label="r"):
            raise TimeoutError


async def test_a_queue_that_exists_otherwise_is_used_and_said_once(
    memory: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    memory.declare(QueueDeclaration(name=pool_queue("p")))
    memory.declare(QueueDeclaration(name=retry_queue("p", 1)))
    inbox = Inbox()
    with caplog.at_level(logging.WARNING):
        async with memory.receiver(POOL, inbox, label="r"), memory.sender("s") as sender:
            memory.lose()
            memory.restore()
            await put(sender, b"1")
            arrived = await inbox.bodies(1)

    assert [b"1"] == arrived
    assert ["r: queue aioswap.p exists with other arguments; it is used as it is"] == caplog.messages


async def test_a_browser_is_cut_too_and_what_it_looked_at_goes_back(memory: MemoryTransport) -> None:
    async with memory.sender("s") as sender:
        await put(sender, b"1", b"2")
    async with memory.browser("q") as browser:
        delivery = await browser.get()
        assert delivery is not None
        memory.lose()
        delivery.ack()
        with pytest.raises(TransportError, match="lost"):
            await browser.get()
        with pytest.raises(TransportError, match="cut"):
            async with memory.browser("q"):
                pass

    assert 2 == memory.depths()["q"]


async def test_a_queue_may_expire_under_a_browser(memory: MemoryTransport, clock: ManualClock) -> None:
    memory.declare(QueueDeclaration(name="short", arguments={"x-expires": 1000}))
    async with memory.browser("short") as browser:
        await clock.advance(1)
        with pytest.raises(TransportError, match="gone"):
            await browser.get()


async def test_a_loss_in_the_middle_of_a_turn_leaves_nothing_half_done(memory: MemoryTransport) -> None:
    taken: list[Delivery] = []

    def deliver(delivery: Delivery) -> None:
        taken.append(delivery)
        if len(taken) == 1:
            memory.lose()

    async with memory.receiver(POOL, deliver, label="r"), memory.sender("s") as sender:
        _send(sender, b"1", b"2", b"3")
        await _turns()
        before = len(taken)
        memory.restore()
        await _turns()
        again = taken[1:]

    assert 1 == before
    assert [(b"1", True), (b"2", True), (b"3", True)] == [(delivery.body, delivery.redelivered) for delivery in again]


async def test_what_a_user_of_a_receiver_raises_loses_no_message(memory: MemoryTransport) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    inbox, later = Inbox(), Inbox()

    def wanted(body: bytes) -> bool:
        if body == b"odd":
            raise LookupError
        return True

    async with memory.sender("s") as sender:
        async with memory.receiver(Subscription(pool="p", wanted=wanted), inbox, label="r"):
            await put(sender, b"1", b"odd", b"2")
            arrived = await inbox.bodies(2)
        async with memory.receiver(POOL, later, label="later"):
            again = await later.bodies(1)

    assert [LookupError] == [type(context["exception"]) for context in told]
    assert ([b"1", b"2"], [b"odd"]) == (arrived, again)


async def test_a_declaration_disturbs_no_receiver(memory: MemoryTransport) -> None:
    inbox = Inbox()
    async with memory.receiver(POOL, inbox, label="r"), memory.sender("s") as sender:
        memory.declare(QueueDeclaration(name="other"))
        await put(sender, b"1")
        await _turns()
        arrived = await inbox.bodies(1)

    assert ([b"1"], []) == (arrived, inbox.deliveries)


# Life of queues


async def test_a_retry_comes_after_its_delay_and_not_before(memory: MemoryTransport, clock: ManualClock) -> None:
    inbox = Inbox()
    async with memory.receiver(POOL, inbox, label="r"), memory.sender("s") as sender:
        for seconds in (30, 5):
            await put(sender, b"%d" % seconds, key=retry_queue("p", seconds), exchange=pool_exchange("p"))
        arrived = []
        for passed in (4.999, 0.001, 24.999, 0.001):
            await clock.advance(passed)
            arrived.append([delivery.body for delivery in inbox.deliveries])

    assert [[], [b"5"], [b"5"], [b"5", b"30"]] == arrived


async def test_an_anonymous_queue_expires_five_minutes_after_a_loss(memory: MemoryTransport, clock: ManualClock) -> None:
    inbox = Inbox()
    async with memory.receiver(Subscription(), inbox, label="r") as receiver, memory.sender("s") as sender:
        await put(sender, b"1")
        await inbox.one()
        memory.lose()
        await clock.advance(299)
        before = memory.depths().get(receiver.queue)
        await clock.advance(1)
        after = memory.depths().get(receiver.queue)
        memory.restore()
        await put(sender, b"2")
        arrived = await inbox.bodies(1)

    assert (1, None) == (before, after)
    assert [b"2"] == arrived


async def test_an_anonymous_queue_stays_when_its_receiver_leaves_without_a_connection(
    memory: MemoryTransport, clock: ManualClock
) -> None:
    async with memory.receiver(Subscription(), Inbox(), label="r") as receiver:
        memory.lose()
    before = receiver.queue in memory.depths()
    await clock.advance(300)

    assert before
    assert receiver.queue not in memory.depths()


async def test_a_stopped_receiver_comes_back_only_to_leave(memory: MemoryTransport) -> None:
    inbox = Inbox()
    async with memory.receiver(Subscription(), inbox, label="r") as receiver, memory.sender("s") as sender:
        await receiver.stop()
        memory.lose()
        lost = receiver.health
        memory.restore()
        await put(sender, b"1")
        await barrier(memory)
        health, queue = receiver.health, receiver.queue
        depth = receiver.depth

    assert (False, True) == (lost.connected, health.connected)
    assert ([], 1) == (inbox.deliveries, depth)
    assert queue not in memory.depths()


async def test_a_stopped_receiver_gives_back_what_was_on_its_way(memory: MemoryTransport) -> None:
    inbox = Inbox()
    async with memory.receiver(POOL, inbox, label="r") as receiver, memory.sender("s") as sender:
        _send(sender, b"1")
        await receiver.stop()
        await _turns()

    assert [] == inbox.deliveries
    assert 1 == memory.depths()[pool_queue("p")]


async def test_an_anonymous_queue_may_expire_after_its_receiver_stopped(memory: MemoryTransport, clock: ManualClock) -> None:
    async with memory.receiver(Subscription(), Inbox(), label="r") as receiver:
        await receiver.stop()
        await clock.advance(300)
        depth = receiver.depth

    assert depth is None


async def test_a_pools_queue_expires_after_a_week_without_it(memory: MemoryTransport, clock: ManualClock) -> None:
    async with memory.receiver(POOL, Inbox(), label="r"):
        await clock.advance(8 * 86_400)
        before = pool_queue("p") in memory.depths()
    await clock.advance(7 * 86_400)

    assert before
    assert pool_queue("p") not in memory.depths()


async def test_a_message_without_an_amqp_id_arrives_without_one(memory: MemoryTransport) -> None:
    inbox = Inbox()
    async with memory.receiver(POOL, inbox, label="r"), memory.sender("s") as sender:
        nameless = message(b"1")
        object.__setattr__(nameless, "message_id", "")
        await sender.send(nameless)
        delivery = await inbox.one()

    assert delivery.message_id is None


async def test_what_is_open_when_the_transport_closes_is_closed_with_it(clock: ManualClock) -> None:
    memory = MemoryTransport(clock=clock)
    await memory.__aenter__()
    inbox = Inbox()
    receiving = memory.receiver(POOL, inbox, label="r")
    sending, looking = memory.sender("s"), memory.browser(pool_queue("p"))
    await receiving.__aenter__()
    sender = await sending.__aenter__()
    await put(sender, b"1", b"2")
    (first, second) = await inbox.take(2)
    second.requeue()
    browser = await looking.__aenter__()
    memory.hold_confirms()
    (owed,) = _send(sender, b"3")
    await memory.__aexit__(None, None, None)
    for scope in (receiving, sending, looking):
        await scope.__aexit__(None, None, None)
    first.ack()
    with pytest.raises(TransportError):
        await owed
    with pytest.raises(TransportError):
        await browser.get()

    assert 3 == memory.depths()[pool_queue("p")]


def test_what_the_queues_hold_outlives_the_loop() -> None:
    memory = MemoryTransport(clock=Clock())
    inbox = Inbox()

    async def first() -> None:
        async with memory, memory.receiver(POOL, Inbox(), label="r"):
            pass
        async with memory, memory.sender("s") as sender:
            await put(sender, b"1")

    async def second() -> list[bytes | None]:
        async with memory, memory.receiver(POOL, inbox, label="r"):
            return await inbox.bodies(1)

    asyncio.run(first())
    memory.lose()
    memory.restore()

    assert [b"1"] == asyncio.run(second())


async def test_faults_belong_to_the_loop_too(memory: MemoryTransport) -> None:
    for fault in (memory.lose, memory.restore, memory.block, memory.unblock, memory.hold_confirms, memory.release_confirms):
        with pytest.raises(RuntimeError):
            await asyncio.to_thread(fault)
