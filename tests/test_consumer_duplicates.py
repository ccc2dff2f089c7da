"""What is delivered twice is handled once, as far as this process remembers; order and concurrency of what is handled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aioswap.clock import Clock
from aioswap.consumer import Consumer
from aioswap.consuming.copies import Trail
from aioswap.consuming.settling import Case, Key, Seen
from aioswap.outcomes import Reject, Retry
from aioswap.transports.base import Delivery
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification
from tests.consumer_kit import END, FLAVOR, START, Bus, Script, notification_body, until

QUEUE, DEAD = "aioswap.billing", "aioswap.billing.dead"


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def consumer(bus: Bus) -> Consumer:
    return Consumer(bus.transport, "billing", clock=bus.clock)


async def test_what_was_handled_is_not_handled_again(bus: Bus, consumer: Consumer) -> None:
    script = Script()
    consumer.on(volume_swap.end)(script.handle)
    body = notification_body()
    async with bus.opened(), consumer.running():
        await bus.publish(body)
        await until(lambda: consumer.health().handled)
        await bus.publish(body)
        await until(lambda: consumer.health().duplicates)

    assert 1 == len(script.heard)
    assert (1, 1, 2, 0) == (
        consumer.health().handled,
        consumer.health().duplicates,
        consumer.health().received,
        consumer.health().in_flight,
    )


async def test_the_same_id_with_another_body_is_another_notification(bus: Bus, consumer: Consumer) -> None:
    script = Script()
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened(), consumer.running():
        for instance in ("one", "two"):
            await bus.publish(notification_body(message_id="same", instance=instance))
        await until(lambda: consumer.health().handled == 2)

    assert ["same", "same"] == script.ids


async def test_compression_does_not_make_another_notification(bus: Bus, consumer: Consumer) -> None:
    import zlib

    script = Script()
    consumer.on(volume_swap.end)(script.handle)
    body = notification_body()
    async with bus.opened(), consumer.running():
        await bus.publish(body)
        await bus.publish(zlib.compress(body), headers={"compression": "application/x-gzip"})
        await until(lambda: consumer.health().duplicates and consumer.health().handled)

    assert 1 == len(script.heard)


async def test_a_second_copy_of_one_in_flight_waits_and_both_are_acknowledged(bus: Bus, consumer: Consumer) -> None:
    script = Script()
    script.gate.clear()
    consumer.on(volume_swap.end)(script.handle)
    body = notification_body()
    async with bus.opened():
        async with consumer.running():
            await bus.publish(body)
            await bus.publish(body)
            await until(lambda: consumer.health().duplicates)
            waiting = consumer.health()
            script.gate.set()
            await until(lambda: consumer.health().handled)
            settled = consumer.health()

        assert (2, 0) == (waiting.in_flight, settled.in_flight)
        assert 1 == len(script.heard)
        assert 0 == bus.depth(QUEUE)


async def test_a_second_copy_of_one_in_flight_shares_its_dead_letter(bus: Bus, consumer: Consumer) -> None:
    script = Script(Reject("no"))
    script.gate.clear()
    consumer.on(volume_swap.end)(script.handle)
    body = notification_body()
    async with bus.opened():
        async with consumer.running():
            await bus.publish(body)
            await bus.publish(body)
            await until(lambda: consumer.health().duplicates)
            script.gate.set()
            await until(lambda: consumer.health().dead_letters)
        depths = bus.depth(QUEUE), bus.depth(DEAD)

    assert (0, 1) == depths


async def test_a_lost_connection_cancels_no_handler_and_the_second_delivery_is_not_handled(
    bus: Bus, consumer: Consumer
) -> None:
    script = Script()
    script.gate.clear()
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened():
        async with consumer.running():
            await bus.publish(notification_body())
            await until(lambda: script.heard)
            bus.transport.lose()
            await bus.clock.advance(1)
            script.gate.set()
            await until(lambda: consumer.health().handled)
            bus.transport.restore()
            await until(lambda: consumer.health().duplicates)
            settled = consumer.health()

        assert (0, 1, 1) == (script.cancelled, script.finished, settled.duplicates)
        assert (0, 0) == (settled.in_flight, bus.depth(QUEUE))


async def test_a_redelivery_while_the_handler_runs_joins_it(bus: Bus, consumer: Consumer) -> None:
    script = Script()
    script.gate.clear()
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened():
        async with consumer.running():
            await bus.publish(notification_body())
            await until(lambda: script.heard)
            bus.transport.lose()
            bus.transport.restore()
            await until(lambda: consumer.health().duplicates)
            script.gate.set()
            await until(lambda: consumer.health().handled)

        assert 1 == len(script.heard)
        assert 0 == bus.depth(QUEUE)


async def test_a_retry_and_a_replay_are_no_duplicates(bus: Bus, consumer: Consumer) -> None:
    from aioswap.dead_letters import DeadLetters

    script = Script(Retry(), Reject("no"), Retry(), None)
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().retried)
        await bus.clock.advance(1)
        await until(lambda: consumer.health().dead_letters)
        await DeadLetters(bus.transport, "billing").replay()
        await until(lambda: consumer.health().retried == 2)
        await bus.clock.advance(1)
        await until(lambda: consumer.health().handled)

    assert 4 == len(script.heard)
    assert 0 == consumer.health().duplicates


async def test_a_dead_letter_that_is_moved_by_hand_is_a_replay(bus: Bus, consumer: Consumer) -> None:
    fine, script = Script(), Script(Reject("no"))
    consumer.on(volume_swap.end, name="fine")(fine.handle)
    consumer.on(volume_swap.end, name="rejects")(script.handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().dead_letters)
        (dead,) = await bus.look(DEAD)
        await bus.publish(dead.original, headers=dead.headers, routing_key=QUEUE, exchange="")
        await until(lambda: consumer.health().handled)

    assert [1, 2] == [len(fine.heard), len(script.heard)]


def test_the_memory_forgets_the_oldest_that_was_settled_first() -> None:
    seen = Seen(limit=2)
    keys = [("id", number, 0, 0) for number in range(4)]
    running = _case(keys[0])
    seen[keys[0]] = running
    for key in (*keys[1:3], keys[1], keys[3]):
        seen.settle(key)

    assert {keys[0]: running, keys[2]: None, keys[3]: None} == seen


def test_a_case_that_is_settled_is_remembered_without_what_it_holds() -> None:
    seen, case = Seen(), _case(("id", 1, 0, 0))
    seen[case.key] = case
    seen.settle(case.key)

    assert {case.key: None} == seen


def test_a_case_that_failed_is_forgotten_and_no_other_one_is() -> None:
    seen, first, second = Seen(), _case(("id", 1, 0, 0)), _case(("id", 1, 0, 0))
    seen[first.key] = first
    seen.forget(second)
    seen.settle(("id", 2, 0, 0))
    seen.forget(_case(("id", 2, 0, 0)))
    before = dict(seen)
    seen.forget(first)

    assert {first.key: first, ("id", 2, 0, 0): None} == before
    assert {("id", 2, 0, 0): None} == seen


def _case(key: Key) -> Case:
    delivery = Delivery(body=b"", original=b"", exchange="", routing_key="", redelivered=False, tag=1, settler=_Nobody())
    return Case(delivery, key, "lane", Trail(), Clock().utcnow())


class _Nobody:
    def settle(self, tag: int, *, requeue: bool) -> None: ...


async def test_notifications_of_one_instance_are_handled_in_order_one_at_a_time(bus: Bus, consumer: Consumer) -> None:
    running: list[str] = []
    most: dict[str, int] = {}
    order: dict[str, list[str]] = {}

    @consumer.on(volume_swap.any)
    async def handler(notification: Notification[Any]) -> None:
        uuid = notification.payload.uuid
        running.append(uuid)
        most[uuid] = max(most.get(uuid, 0), running.count(uuid))
        for _ in range(len(notification.message_id) % 3):
            await asyncio.sleep(0)
        order.setdefault(uuid, []).append(notification.message_id)
        running.remove(uuid)

    published: dict[str, list[str]] = {}
    async with bus.opened(), consumer.running():
        for number in range(60):
            instance, message_id = f"instance-{number % 5}", "x" * (number % 7) + str(number)
            published.setdefault(instance, []).append(message_id)
            await bus.publish(notification_body(START, instance=instance, message_id=message_id))
        await until(lambda: consumer.health().handled == 60)

    assert published == order
    assert {1} == set(most.values())


async def test_a_slow_instance_holds_up_no_other_and_eight_run_at_once(bus: Bus, consumer: Consumer) -> None:
    script = Script()
    script.gate.clear()
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened(), consumer.running():
        for number in range(10):
            for _ in range(2):
                await bus.publish(notification_body(instance=f"instance-{number}"))
        await bus.clock.advance(1)
        at_once = [notification.payload.uuid for notification in script.heard]
        script.gate.set()
        await until(lambda: consumer.health().handled == 20)

    assert [f"instance-{number}" for number in range(8)] == at_once


async def test_what_tells_no_instance_waits_for_nobody(bus: Bus, consumer: Consumer) -> None:
    script = Script()
    script.gate.clear()
    consumer.on("flavor.#")(script.handle)
    async with bus.opened(), consumer.running():
        for _ in range(3):
            await bus.publish(notification_body(FLAVOR))
        await until(lambda: len(script.heard) == 3)
        script.gate.set()
        await until(lambda: consumer.health().handled == 3)


async def test_plain_json_payloads_have_lanes_too(bus: Bus, consumer: Consumer) -> None:
    script = Script()
    script.gate.clear()
    consumer.on("own.event")(script.handle)
    body = (
        b'{"message_id": "%d", "publisher_id": "a:b", "event_type": "own.event", "priority": "INFO", '
        b'"timestamp": "2026-01-01 00:00:00", "payload": {"uuid": "same"}}'
    )
    async with bus.opened(), consumer.running():
        for number in range(2):
            await bus.publish(body % number)
        await until(lambda: consumer.health().in_flight == 2)
        await bus.clock.advance(1)
        first = script.ids
        script.gate.set()
        await until(lambda: consumer.health().handled == 2)

    assert ["0"] == first


async def test_prefetch_bounds_what_is_taken(bus: Bus) -> None:
    consumer = Consumer(bus.transport, "billing", prefetch=3, clock=bus.clock)
    script = Script()
    script.gate.clear()
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened(), consumer.running():
        for _ in range(10):
            await bus.publish(notification_body(END))
        await bus.clock.advance(1)
        taken, waiting = consumer.health().in_flight, bus.depth(QUEUE)
        script.gate.set()
        await until(lambda: consumer.health().handled == 10)

    assert (3, 7) == (taken, waiting)
