"""Retries and dead letters: who is owed what, when, and what a copy carries."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from aioswap.consumer import Consumer
from aioswap.outcomes import Reject, Retry, RetryPolicy
from aioswap.testing import ManualClock
from aioswap.transports.base import NOTIFICATION_PROPERTIES, Confirmation, Delivery, Message, Receiver, Subscription
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification
from tests.consumer_kit import END, START, Bus, OddTransport, Script, body_of, notification_body, until

QUEUE, DEAD = "aioswap.billing", "aioswap.billing.dead"


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def consumer(bus: Bus) -> Consumer:
    return Consumer(bus.transport, "billing", clock=bus.clock)


def _retried(consumer: Consumer, number: int) -> bool:
    return consumer.health().retried >= number


async def handled(bus: Bus, consumer: Consumer, *seconds: float) -> None:
    """Let retries fall due: wait until one more is kept, then let `seconds` pass."""
    for number, pause in enumerate(seconds, 1):
        await until(partial(_retried, consumer, number))
        await bus.clock.advance(pause)


@pytest.mark.parametrize(("after", "step"), [(0, 1), (1, 1), (1.5, 5), (30, 30), (31, 120), (3600, 3600)])
async def test_a_retry_comes_back_after_the_next_step_of_the_ladder(
    bus: Bus, consumer: Consumer, after: float, step: int
) -> None:
    script = Script(Retry(after), clock=bus.clock)
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().retried)
        waiting = bus.depth(f"aioswap.billing.retry.{step}")
        await bus.clock.advance(step)
        await until(lambda: consumer.health().handled)

    assert 1 == waiting
    assert [0.0, step] == script.times


async def test_an_exception_is_tried_again_by_the_policy_and_then_a_dead_letter(bus: Bus, consumer: Consumer) -> None:
    script = Script(*(KeyError(number) for number in range(5)), clock=bus.clock)
    consumer.on(volume_swap.end, name="billing.end")(script.handle)
    body = notification_body()
    async with bus.opened(), consumer.running():
        await bus.publish(body)
        await handled(bus, consumer, 1, 5, 30, 120)
        await until(lambda: consumer.health().dead_letters)
        (dead,) = await bus.look(DEAD)

    assert [0, 1, 6, 36, 156] == script.times
    assert (4, 1, 0) == (consumer.health().retried, consumer.health().dead_letters, consumer.health().handled)
    assert body == dead.original
    assert {
        "aioswap-attempts": 5,
        "aioswap-replays": 0,
        "aioswap-handlers": ["billing.end"],
        "aioswap-reasons": ["KeyError: 4 (attempt 5 of 5)"],
        "aioswap-reason": "billing.end: KeyError: 4 (attempt 5 of 5)",
        "aioswap-first": "2026-01-01T00:00:00+00:00",
        "aioswap-last": "2026-01-01T00:02:36+00:00",
        "aioswap-routing-key": "versioned_notifications.info",
    } == dead.headers


async def test_a_handlers_own_retry_is_bounded_too(bus: Bus) -> None:
    consumer = Consumer(bus.transport, "billing", retry=RetryPolicy(attempts=2), clock=bus.clock)
    script = Script(Retry(reason="busy"), Retry(reason="still busy"))
    consumer.on(volume_swap.end, name="end")(script.handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await handled(bus, consumer, 1)
        await until(lambda: consumer.health().dead_letters)
        (dead,) = await bus.look(DEAD)

    assert "end: still busy (attempt 2 of 2)" == dead.headers["aioswap-reason"]


async def test_what_no_retry_can_cure_is_a_dead_letter_at_once(bus: Bus) -> None:
    consumer = Consumer(bus.transport, "billing", retry=RetryPolicy(reject=(LookupError,)), clock=bus.clock)
    consumer.on(volume_swap.end)(Script(KeyError("volume")).handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().dead_letters)

    assert 0 == consumer.health().retried


async def test_a_retry_outweighs_a_reject_and_only_those_who_are_owed_run_again(bus: Bus, consumer: Consumer) -> None:
    done, again, never = Script(), Script(Retry(after=5), Retry(after=30)), Script(Reject("not mine"))
    for name, script in {"done": done, "again": again, "never": never}.items():
        consumer.on(volume_swap.end, name=name)(script.handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().retried == 1)
        (copy,) = await bus.look("aioswap.billing.retry.5")
        await bus.clock.advance(5)
        await until(lambda: consumer.health().retried == 2)
        await bus.clock.advance(30)
        await until(lambda: consumer.health().dead_letters)
        (dead,) = await bus.look(DEAD)

    assert [1, 3, 1] == [len(script.heard) for script in (done, again, never)]
    assert ["again"] == copy.headers["aioswap-owed"]
    assert [["never"], ["not mine"]] == [copy.headers["aioswap-handlers"], copy.headers["aioswap-reasons"]]
    assert ["never"] == dead.headers["aioswap-handlers"]
    assert "never: not mine" == dead.headers["aioswap-reason"]
    assert 3 == dead.headers["aioswap-attempts"]


async def test_a_dead_letter_is_logged_without_its_payload(
    bus: Bus, consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    consumer.on(volume_swap.end, name="end")(Script(Reject("no")).handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body(message_id="the-id"))
        await until(lambda: consumer.health().dead_letters)

    assert [
        "dead letter of pool billing: notification 'the-id', 'instance.volume_swap.end' of 'nova-compute:compute-1': 'end: no'"
    ] == [record.getMessage() for record in caplog.records]


async def test_of_several_retries_the_longest_counts(bus: Bus, consumer: Consumer) -> None:
    short, long = Script(Retry(after=1), clock=bus.clock), Script(Retry(after=120), clock=bus.clock)
    consumer.on(volume_swap.end, name="short")(short.handle)
    consumer.on(volume_swap.end, name="long")(long.handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await handled(bus, consumer, 120)
        await until(lambda: consumer.health().handled)

    assert [0, 120] == short.times == long.times


async def test_a_reject_is_a_dead_letter_although_others_acknowledge(bus: Bus, consumer: Consumer) -> None:
    consumer.on(volume_swap.end, name="fine")(Script().handle)
    consumer.on(volume_swap.end, name="one")(Script(Reject("a")).handle)
    consumer.on(volume_swap.end, name="two")(Script(Reject("b")).handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().dead_letters)
        (dead,) = await bus.look(DEAD)

    assert "one: a; two: b" == dead.headers["aioswap-reason"]
    assert ["one", "two"] == dead.headers["aioswap-handlers"]


@pytest.mark.parametrize("pattern", [volume_swap.any, volume_swap.start], ids=["matching", "foreign"])
async def test_an_owed_name_that_is_gone_makes_a_dead_letter(bus: Bus, consumer: Consumer, pattern: Any) -> None:
    consumer.on(volume_swap.end, name="old")(Script(Retry(after=1)).handle)
    later, script = Consumer(bus.transport, "billing", clock=bus.clock), Script()
    later.on(pattern, name="new")(script.handle)
    async with bus.opened():
        async with consumer.running():
            await bus.publish(notification_body(END))
            await until(lambda: consumer.health().retried)
        async with later.running():
            await bus.clock.advance(1)
            await until(lambda: later.health().dead_letters)
        (dead,) = await bus.look(DEAD)

    assert [] == script.heard
    assert "old: there is no such handler any more" == dead.headers["aioswap-reason"]
    assert (1, 0) == (later.health().received, later.health().skipped)


async def test_a_copy_keeps_bytes_properties_and_headers(bus: Bus, consumer: Consumer) -> None:
    script = Script(Retry(after=1))
    consumer.on(volume_swap.end)(script.handle)
    body = body_of(f"nova34-v2-gzip__{END}")
    headers = {"compression": "application/x-gzip", "traceparent": "00-1", "nested": {"a": [1, True, None]}}
    properties = {
        **NOTIFICATION_PROPERTIES,
        "correlation_id": "c",
        "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
        "priority": 3,
    }
    async with bus.opened(), consumer.running():
        await bus.publish(body, headers=headers, properties=properties)
        await until(lambda: consumer.health().retried)
        (copy,) = await bus.look("aioswap.billing.retry.1")
        await bus.clock.advance(1)
        await until(lambda: consumer.health().handled)

    assert body == copy.original
    assert properties == copy.properties
    assert headers == {name: value for name, value in copy.headers.items() if not name.startswith("aioswap-")}
    assert 1 == copy.headers["aioswap-attempts"]
    assert 2 == len(script.heard)


async def test_a_copy_survives_the_broker_and_other_peoples_deadlines(bus: Bus, consumer: Consumer) -> None:
    consumer.on(volume_swap.end)(Script(Reject("no")).handle)
    properties = {"delivery_mode": 1, "expiration": "60000", "user_id": "nova", "type": "t"}
    headers = {"x-death": [{"queue": "q"}], "x-first-death-queue": "q", "CC": ["aioswap.billing"], "x-mine": 1}
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body(), properties=properties, headers=headers)
        await until(lambda: consumer.health().dead_letters)
        (dead,) = await bus.look(DEAD)

    assert {"delivery_mode": 2, "type": "t"} == dead.properties
    assert {"x-mine"} == {name for name in dead.headers if not name.startswith("aioswap-")}


class ForeignTransport(MemoryTransport):
    """It delivers headers and properties that no sender of ours can write."""

    @asynccontextmanager
    async def receiver(
        self, subscription: Subscription, deliver: Callable[[Delivery], None], **options: Any
    ) -> AsyncIterator[Receiver]:
        def deliver_oddly(delivery: Delivery) -> None:
            delivery.headers = {"compression": "application/x-gzip", "odd": object()}
            delivery.properties = {"type": object()}
            deliver(delivery)

        async with super().receiver(subscription, deliver_oddly, **options) as receiver:
            yield receiver


async def test_what_foreign_headers_make_impossible_is_copied_without_them() -> None:
    clock = ManualClock()
    transport = ForeignTransport(clock=clock)
    consumer = Consumer(transport, "billing", clock=clock)
    consumer.on(volume_swap.end)(Script(Reject("no")).handle)
    body = notification_body()
    async with transport, consumer.running():
        async with transport.sender("test") as sender:
            await sender.send(Message(routing_key="versioned_notifications.info", body=body, message_id="1"))
        await until(lambda: consumer.health().link.degraded)
        await clock.advance(1)
        await until(lambda: consumer.health().dead_letters)
        async with transport.browser(DEAD) as browser:
            dead = await browser.get()

    assert dead is not None
    assert body == dead.original
    assert NOTIFICATION_PROPERTIES == dead.properties
    assert ["compression"] == [name for name in dead.headers if not name.startswith("aioswap-")]


async def test_the_dead_letters_texts_are_masked_and_bounded(
    bus: Bus, consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    consumer.on(volume_swap.end, name="end")(Script(Reject("password=sesame " + "ä" * 10_000 + "\ud800")).handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().dead_letters)
        (dead,) = await bus.look(DEAD)

    told = [dead.headers["aioswap-reason"], *dead.headers["aioswap-reasons"]]
    assert [True, True] == [900 < len(text.encode()) <= 1024 for text in told]
    assert "sesame" not in "".join((*told, caplog.text))


async def test_a_failure_is_logged_with_its_traceback_and_without_secrets(
    bus: Bus, consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    @consumer.on(volume_swap.end, name="end")
    async def handler(notification: Notification[Any]) -> None:
        raise OSError("cannot log in with password=sesame at db.example")

    async with bus.opened(), consumer.running():
        with caplog.at_level(logging.DEBUG):
            await bus.publish(notification_body())
            await until(lambda: consumer.health().retried)

    assert "handler end failed in attempt 1: Retry" in caplog.text
    assert "raise OSError" in caplog.text
    assert "sesame" not in caplog.text


async def test_a_handler_that_takes_too_long_is_cancelled_and_tried_again(bus: Bus) -> None:
    consumer = Consumer(bus.transport, "billing", retry=RetryPolicy(attempts=1), clock=bus.clock)
    script = Script()
    script.gate.clear()
    consumer.on(volume_swap.end, name="slow")(script.handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: script.heard)
        await bus.clock.advance(599)
        before = script.cancelled
        await bus.clock.advance(1)
        await until(lambda: consumer.health().dead_letters)
        (dead,) = await bus.look(DEAD)

    assert [0, 1] == [before, script.cancelled]
    assert "slow: TimeoutError: the handler did not end within 600 s (attempt 1 of 1)" == dead.headers["aioswap-reason"]


async def test_a_handlers_own_timeout_keeps_its_words(bus: Bus) -> None:
    consumer = Consumer(bus.transport, "billing", retry=RetryPolicy(attempts=1), clock=bus.clock, handler_timeout=None)
    consumer.on(volume_swap.end, name="own")(Script(TimeoutError("the database sleeps")).handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().dead_letters)
        (dead,) = await bus.look(DEAD)

    assert "own: TimeoutError: the database sleeps (attempt 1 of 1)" == dead.headers["aioswap-reason"]


@pytest.mark.parametrize("answer", [Confirmation.RETURNED, Confirmation.NACKED])
@pytest.mark.parametrize(
    ("act", "queue"), [(Retry(after=1), "aioswap.billing.retry.1"), (Reject("no"), DEAD)], ids=["retry", "dead letter"]
)
async def test_a_refused_copy_is_tried_again_and_its_original_stays(
    bus: Bus, consumer: Consumer, act: Exception, queue: str, answer: Confirmation
) -> None:
    script = Script(act)
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened(), consumer.running():
        bus.transport.refuse(queue, answer)
        await bus.publish(notification_body())
        await until(lambda: consumer.health().link.degraded)
        for _ in range(6):
            await bus.clock.advance(30)
        refused, runs = consumer.health(), script.finished
        bus.transport.accept(queue)
        await bus.clock.advance(1)
        await until(lambda: consumer.health().retried + consumer.health().dead_letters)
        health = consumer.health()

    assert 1 == runs
    assert (1, 0, 0) == (refused.in_flight, refused.retried, refused.dead_letters)
    assert f"a copy for {queue} is not confirmed and will be sent again: {answer}" in str(refused.link.degraded)
    assert (0, None) == (health.in_flight, health.link.degraded)


async def test_the_back_off_of_copies_is_1_to_30_seconds(
    bus: Bus, consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    consumer.on(volume_swap.end)(Script(Reject("no")).handle)
    async with bus.opened(), consumer.running():
        bus.transport.refuse(DEAD)
        await bus.publish(notification_body())
        await until(lambda: consumer.health().link.degraded)
        await bus.clock.advance(1 + 2 + 4 + 8 + 16 + 29)
        bus.transport.accept(DEAD)
        before = consumer.health().dead_letters
        await bus.clock.advance(1)
        await until(lambda: consumer.health().dead_letters)

    assert 0 == before
    assert 1 == caplog.text.count("will be sent again")


async def test_a_copy_whose_confirmation_is_lost_is_sent_again_and_nothing_is_lost(bus: Bus, consumer: Consumer) -> None:
    script = Script(Reject("no"), Reject("no"))
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        bus.transport.hold_confirms()
        await until(lambda: bus.depth(DEAD))
        bus.transport.lose()
        await until(lambda: consumer.health().link.degraded)
        bus.transport.release_confirms()
        await bus.clock.advance(1)
        bus.transport.restore()
        await until(lambda: consumer.health().dead_letters)
        dead = await bus.look(DEAD)
        await until(lambda: consumer.health().in_flight == 0)

    assert 1 == script.finished
    assert 2 == len(dead)
    assert 1 == len({each.message_id for each in dead})
    assert (0, 1) == (bus.depth(QUEUE), consumer.health().duplicates)


async def test_a_blocked_broker_is_waited_for(bus: Bus, consumer: Consumer) -> None:
    consumer.on(volume_swap.end)(Script(Reject("no")).handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        bus.transport.block()
        await until(lambda: consumer.health().link.degraded)
        degraded = consumer.health().link.degraded
        bus.transport.unblock()
        await until(lambda: consumer.health().dead_letters)

    assert "blocked" in str(degraded)


async def test_full_dead_letters_pause_the_consumer_and_lose_nothing(bus: Bus) -> None:
    consumer = Consumer(bus.transport, "billing", concurrency=2, prefetch=4, clock=bus.clock)
    consumer.on(volume_swap.any)(Script(*(Reject("no") for _ in range(20))).handle)
    async with bus.opened(), consumer.running():
        bus.transport.refuse(DEAD, Confirmation.NACKED)
        for _ in range(20):
            await bus.publish(notification_body(START))
        await bus.clock.advance(300)
        paused, waiting = consumer.health(), bus.depth(QUEUE)
        bus.transport.accept(DEAD)
        for _ in range(20):
            await bus.clock.advance(30)

    assert (4, 0, 16) == (paused.in_flight, paused.dead_letters, waiting)
    assert "the queue is full" in str(paused.link.degraded)
    assert 20 == consumer.health().dead_letters == bus.depth(DEAD)


async def test_an_unexpected_fault_of_the_sender_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    faults = [ZeroDivisionError("a defect")]

    class Odd(OddTransport):
        """Stumbles over the first dead letter."""

        def sending(self, message: Message) -> None:
            if message.routing_key == DEAD and faults:
                raise faults.pop()

    bus = Bus(Odd)
    consumer = Consumer(bus.transport, "billing", clock=bus.clock)
    consumer.on(volume_swap.end)(Script(Reject("no")).handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().link.degraded)
        await bus.clock.advance(1)
        await until(lambda: consumer.health().dead_letters)

    assert "sending a copy failed in an unexpected way" in caplog.text
    assert 1 == bus.depth(DEAD)


async def test_a_policy_that_fails_leaves_the_delivery_on_the_broker(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(RetryPolicy):
        def judge(self, raised: Exception, attempt: int) -> Any:
            raise ZeroDivisionError

    consumer = Consumer(bus.transport, "billing", retry=Broken(), clock=bus.clock)
    consumer.on(volume_swap.end)(Script(KeyError("x")).handle)
    async with bus.opened():
        async with consumer.running():
            await bus.publish(notification_body(END))
            await until(lambda: consumer.health().link.degraded)
            health = consumer.health()
        left = bus.depth(QUEUE)

    assert "a delivery stays unsettled: ZeroDivisionError" in str(health.link.degraded)
    assert (1, 1) == (health.in_flight, left)
    assert "handling failed in an unexpected way" in caplog.text
