"""A consumer without a pool: it writes nothing to the broker; retries are in memory, dead letters in the log."""

from __future__ import annotations

import asyncio

import pytest

from aioswap.consumer import Consumer
from aioswap.hooks import Operation, OperationKind
from aioswap.outcomes import Reject, Retry, RetryPolicy
from aioswap.wire.events import volume_swap
from tests.consumer_kit import START, Bus, Script, notification_body, until


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def consumer(bus: Bus) -> Consumer:
    return Consumer(bus.transport, clock=bus.clock)


async def test_a_retry_is_acknowledged_and_comes_again_from_memory(bus: Bus, consumer: Consumer) -> None:
    script, fine = Script(Retry(after=5), Retry(after=30), clock=bus.clock), Script()
    consumer.on(volume_swap.end, name="script")(script.handle)
    consumer.on(volume_swap.end, name="fine")(fine.handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().retried)
        waiting = consumer.health()
        await bus.clock.advance(5)
        await bus.clock.advance(30)
        await until(lambda: consumer.health().handled)

    assert [0, 5, 35] == script.times
    assert 1 == len(fine.heard)
    assert 0 == waiting.in_flight
    assert (1, 2, 1, 0) == (
        consumer.health().received,
        consumer.health().retried,
        consumer.health().handled,
        consumer.health().dead_letters,
    )


async def test_attempts_are_bounded_as_in_a_pool_and_the_dead_letter_is_logged(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = Consumer(bus.transport, retry=RetryPolicy(attempts=2), clock=bus.clock)
    consumer.on(volume_swap.end, name="end")(Script(KeyError("a"), OSError("password=sesame")).handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body(message_id="the-id"))
        await until(lambda: consumer.health().retried)
        await bus.clock.advance(1)
        await until(lambda: consumer.health().dead_letters)
        await bus.clock.advance(100)

    (told,) = [record.getMessage() for record in caplog.records if "dead letter" in record.getMessage()]
    assert "'the-id', 'instance.volume_swap.end' of 'nova-compute:compute-1'" in told
    assert "end: OSError: " in told
    assert "sesame" not in caplog.text
    assert (1, 0) == (consumer.health().dead_letters, consumer.health().handled)


async def test_a_rejected_or_unreadable_one_is_logged_and_counted(
    bus: Bus, consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    consumer.on(volume_swap.end)(Script(Reject("never")).handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await bus.publish(b"instance.volume_swap.end _context_auth_token")
        await until(lambda: consumer.health().dead_letters == 2)

        assert 0 == consumer.health().in_flight
    assert 2 == caplog.text.count("dead letter that no pool keeps")
    assert "auth_token" not in caplog.text


async def test_what_finds_no_room_for_a_retry_is_a_dead_letter(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    settled: list[str] = []

    class Watch:
        def started(self, operation: Operation, /) -> None: ...

        def finished(self, operation: Operation, /) -> None:
            if operation.kind is OperationKind.SETTLE:
                settled.append(operation.outcome)

    consumer = Consumer(bus.transport, prefetch=2000, clock=bus.clock, hooks=[Watch()])
    consumer.on(volume_swap.end)(Script(*(Retry(after=5) for _ in range(1001))).handle)
    async with bus.opened(), consumer.running():
        for _ in range(1001):
            await bus.publish(notification_body())
        await until(lambda: consumer.health().dead_letters)
        full = consumer.health()
        await bus.clock.advance(5)
        await until(lambda: consumer.health().handled == 1000)

    assert (1000, 1) == (full.retried, full.dead_letters)
    assert ["retry"] * 1000 + ["reject"] + ["ack"] * 1000 == settled
    assert "there is no room for it" in caplog.text


async def test_what_waits_for_a_retry_is_lost_on_leaving_and_says_so(
    bus: Bus, consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    consumer.on(volume_swap.any)(Script(Retry(after=5), Retry(after=5)).handle)
    async with bus.opened():
        async with consumer.running():
            await bus.publish(notification_body())
            await bus.publish(notification_body(START))
            await until(lambda: consumer.health().retried == 2)
        await bus.clock.advance(10)

    assert (2, 0) == (consumer.health().dead_letters, consumer.health().handled)
    assert 2 == caplog.text.count("the consumer was left before its retry")


async def test_what_is_cut_off_in_its_retry_is_lost_and_says_so(bus: Bus, consumer: Consumer) -> None:
    script = Script(Retry(after=5))
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened():
        running = consumer.running()
        await running.__aenter__()
        await bus.publish(notification_body())
        await until(lambda: consumer.health().retried)
        script.gate.clear()
        await bus.clock.advance(5)
        await until(lambda: len(script.heard) == 2)
        leaving = asyncio.create_task(running.__aexit__(None, None, None))
        await bus.clock.advance(10)
        await leaving

    assert 1 == consumer.health().dead_letters
    assert 1 == script.cancelled


async def test_leaving_deletes_its_queue_and_touches_no_other(bus: Bus, consumer: Consumer) -> None:
    consumer.on(volume_swap.end)(Script().handle)
    async with bus.opened():
        async with consumer.running():
            (queue,) = bus.transport.depths()
        left = bus.transport.depths()

    assert queue.startswith("aioswap.anon.")
    assert {} == left


async def test_a_second_delivery_of_what_waits_for_its_retry_is_a_duplicate(bus: Bus, consumer: Consumer) -> None:
    script = Script(Retry(after=5))
    consumer.on(volume_swap.end)(script.handle)
    body = notification_body()
    async with bus.opened(), consumer.running():
        await bus.publish(body)
        await until(lambda: consumer.health().retried)
        await bus.publish(body)
        await until(lambda: consumer.health().duplicates)
        await bus.clock.advance(5)
        await until(lambda: consumer.health().handled)

    assert 2 == len(script.heard)
