"""From a published notification to its handler, and what becomes of the delivery."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, cast

import pytest

from aioswap.consumer import Consumer
from aioswap.outcomes import Ack, Reject, Retry, RetryPolicy
from aioswap.testing import ManualClock
from aioswap.transports.base import Confirmation, Delivery, Receiver
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.events import EventPattern, volume_swap
from aioswap.wire.notification import InstanceActionVolumeSwapNotification, Notification
from aioswap.wire.objects import VersionedObject
from aioswap.wire.payloads import ExceptionPayload, InstanceActionVolumeSwapPayload
from tests.consumer_kit import END, ERROR, FLAVOR, START, Bus, OddTransport, Script, body_of, notification_body, until

QUEUE, DEAD = "aioswap.billing", "aioswap.billing.dead"


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def consumer(bus: Bus) -> Consumer:
    return Consumer(bus.transport, "billing", clock=bus.clock)


async def test_a_handler_gets_the_typed_notification_and_its_return_acknowledges_it(bus: Bus, consumer: Consumer) -> None:
    heard: list[InstanceActionVolumeSwapNotification] = []

    @consumer.on(volume_swap.error)
    async def page(notification: InstanceActionVolumeSwapNotification) -> None:
        heard.append(notification)

    async with bus.opened():
        async with consumer.running():
            await bus.publish(
                body_of("nova34-v2-default__instance.volume_swap.error"), routing_key="versioned_notifications.error"
            )
            await until(lambda: consumer.health().handled)

        assert [InstanceActionVolumeSwapPayload] == [type(notification.payload) for notification in heard]
        assert 0 == bus.depth(QUEUE)


@pytest.mark.parametrize("name", ["nova34-v2-gzip", "nova34-v1-default", "nova18-v2-default", "nova34-v2-full"])
async def test_what_novas_send_is_handled(bus: Bus, consumer: Consumer, name: str) -> None:
    script = Script()
    consumer.on("instance.volume_swap.*")(script.handle)
    async with bus.opened(), consumer.running():
        for phase in (START, END, ERROR):
            headers = {"compression": "application/x-gzip"} if "gzip" in name else {}
            await bus.publish(body_of(f"{name}__{phase}"), headers=headers)
        await until(lambda: consumer.health().handled == 3)

    assert {START, END, ERROR} == {notification.event_type for notification in script.heard}


async def test_all_handlers_that_match_run_and_no_other(bus: Bus, consumer: Consumer) -> None:
    exact, wide, every, other = Script(), Script(), Script(), Script()
    consumer.on(volume_swap.end, name="exact")(exact.handle)
    consumer.on(volume_swap.any, name="wide")(wide.handle)
    consumer.on("#", name="every")(every.handle)
    consumer.on(volume_swap.start, name="other")(other.handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body(END))
        await until(lambda: consumer.health().handled)

    assert [1, 1, 1, 0] == [len(script.heard) for script in (exact, wide, every, other)]


async def test_a_decorated_handler_is_returned_unchanged(consumer: Consumer) -> None:
    async def handler(notification: Notification[Any]) -> None: ...

    assert handler is consumer.on("instance.#")(handler)
    assert handler is consumer.on(volume_swap.end, name="again")(handler)


async def test_a_foreign_notification_is_acknowledged_and_counted(bus: Bus, consumer: Consumer) -> None:
    script = Script()
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened():
        async with consumer.running():
            await bus.publish(notification_body(FLAVOR))
            await until(lambda: consumer.health().skipped)

        assert [] == script.heard
        assert 0 == bus.depth(QUEUE)
        assert 0 == consumer.health().received


async def test_what_only_looks_wanted_is_acknowledged_and_counted_after_decoding(bus: Bus, consumer: Consumer) -> None:
    script = Script()
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened():
        async with consumer.running():
            await bus.publish(notification_body(FLAVOR, message_id="about instance.volume_swap.end"))
            await until(lambda: consumer.health().skipped)

        assert [] == script.heard
        assert 0 == bus.depth(DEAD)
        assert (1, 1, 0) == (consumer.health().received, consumer.health().skipped, consumer.health().in_flight)


@pytest.mark.parametrize("outcome", [Ack(), None, "something else"])
async def test_any_return_value_that_is_no_outcome_acknowledges(bus: Bus, consumer: Consumer, outcome: Any) -> None:
    @consumer.on(volume_swap.end)
    async def handler(notification: Notification[Any]) -> Any:
        return outcome

    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().handled)

    assert 0 == consumer.health().dead_letters


async def test_outcomes_may_be_returned_as_well_as_raised(bus: Bus, consumer: Consumer) -> None:
    outcomes: list[Retry | Reject] = [Retry(after=1), Reject("no")]

    @consumer.on(volume_swap.end)
    async def handler(notification: Notification[Any]) -> Retry | Reject:
        return outcomes.pop(0)

    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().retried)
        await bus.clock.advance(1)
        await until(lambda: consumer.health().dead_letters)

    assert [] == outcomes


async def test_the_class_of_an_outcome_is_a_slip_and_no_acknowledgement(bus: Bus) -> None:
    consumer = Consumer(bus.transport, "billing", clock=bus.clock, retry=RetryPolicy(attempts=1))

    @consumer.on(volume_swap.end)
    async def handler(notification: Notification[Any]) -> Any:
        return Retry

    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().dead_letters)
        dead = await bus.look(DEAD)

    assert "TypeError: the handler returned the class Retry" in dead[0].headers["aioswap-reason"]


async def test_a_payload_of_another_class_than_the_patterns_is_rejected(bus: Bus, consumer: Consumer) -> None:
    heard: list[object] = []

    @consumer.on(EventPattern("flavor.*", ExceptionPayload), name="mistaken")
    async def mistaken(notification: Notification[ExceptionPayload]) -> None:
        heard.append(notification)

    @consumer.on(EventPattern("flavor.*", VersionedObject), name="right")
    async def right(notification: Notification[VersionedObject]) -> None: ...

    async with bus.opened(), consumer.running():
        await bus.publish(notification_body(FLAVOR))
        await until(lambda: consumer.health().dead_letters)
        dead = await bus.look(DEAD)

    assert [] == heard
    assert ["mistaken"] == dead[0].headers["aioswap-handlers"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"event_type": "instance.volume_swap.end", ', {}),
        (b'{"event_type": "instance.volume_swap.end"}', {}),
        (b'{"oslo.version": "3.0", "oslo.message": "instance.volume_swap.end"}', {}),
        (b"no zlib", {"compression": "application/x-gzip"}),
        (b"instance.volume_swap.end" * 50_000, {}),
    ],
    ids=["no json", "fields are missing", "another major version", "not to be uncompressed", "too large"],
)
async def test_what_might_be_wanted_and_cannot_be_read_is_a_dead_letter(
    bus: Bus, consumer: Consumer, body: bytes, headers: dict[str, Any]
) -> None:
    consumer.on(volume_swap.end)(Script().handle)
    properties = {"content_type": "application/json", "app_id": "nova"}
    async with bus.opened(), consumer.running():
        await bus.publish(body, headers=headers | {"odd": 1}, properties=properties, exchange="nova")
        await until(lambda: consumer.health().dead_letters)
        (dead,) = await bus.look(DEAD)

    assert body == dead.original
    assert headers | {"odd": 1} == {name: value for name, value in dead.headers.items() if not name.startswith("aioswap-")}
    assert properties | {"delivery_mode": 2} == dead.properties
    assert dead.headers["aioswap-reason"]
    assert (1, 0) == (consumer.health().received, consumer.health().in_flight)


async def test_a_defect_in_decoding_makes_a_dead_letter_and_stops_nothing() -> None:
    class Odd(OddTransport):
        """Breaks its contract: a body is no bytes."""

        def delivered(self, delivery: Delivery) -> None:
            delivery.body = cast(bytes, memoryview(delivery.original))

    bus = Bus(Odd)
    consumer, script = Consumer(bus.transport, "billing", clock=bus.clock), Script()
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().dead_letters)
        (dead,) = await bus.look(DEAD)

    assert str(dead.headers["aioswap-reason"]).startswith("decoding failed with ")
    assert [] == script.heard


async def test_between_delivery_and_handler_there_are_at_most_three_frames_of_ours(bus: Bus, consumer: Consumer) -> None:
    files: list[str] = []

    @consumer.on(volume_swap.end)
    async def handler(notification: Notification[Any]) -> None:
        frame = sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
            files.append(frame.f_code.co_filename)

    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().handled)

    assert 3 >= len([file for file in files if "/aioswap/" in file and "site-packages" not in file])


async def test_a_handled_delivery_costs_one_task_and_a_foreign_one_none(bus: Bus, consumer: Consumer) -> None:
    created: list[str] = []

    def count(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        created.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    consumer.on(volume_swap.end, name="one")(Script().handle)
    consumer.on(volume_swap.any, name="two")(Script().handle)
    async with bus.opened(), consumer.running():
        asyncio.get_running_loop().set_task_factory(count)
        for _ in range(5):
            await bus.publish(notification_body())
            await bus.publish(notification_body(FLAVOR))
        await until(lambda: consumer.health().handled == 5)
        asyncio.get_running_loop().set_task_factory(None)

    assert 5 == len(created)


async def test_deliveries_that_come_together_cost_one_task(bus: Bus, consumer: Consumer) -> None:
    tasks: set[Any] = set()

    @consumer.on(volume_swap.end)
    async def handler(notification: Notification[Any]) -> None:
        tasks.add(asyncio.current_task())

    async with bus.opened():
        async with consumer.running():
            pass
        for _ in range(20):
            await bus.publish(notification_body())
        async with consumer.running():
            await until(lambda: consumer.health().handled == 20)

    assert 1 == len(tasks)


class BrokenClock(ManualClock):
    """Fails when it is asked the first time after `broken` was set."""

    broken = False

    def utcnow(self) -> datetime:
        if self.broken:
            self.broken = False
            raise KeyError("the hands fell off")
        return super().utcnow()


async def test_a_defect_in_sorting_leaves_the_delivery_on_the_broker_and_stops_nothing(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    clock, script = BrokenClock(), Script()
    consumer = Consumer(bus.transport, "billing", clock=clock)
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened():
        async with consumer.running():
            clock.broken = True
            await bus.publish(notification_body(message_id="first"))
            await bus.publish(notification_body(message_id="second"))
            await until(lambda: consumer.health().handled)
            degraded = consumer.health().link.degraded
        left = bus.depth(QUEUE)

    assert (["second"], 1) == (script.ids, left)
    assert "a delivery stays unsettled: KeyError while it was handled; see the log" == degraded
    assert "the hands fell off" in caplog.text


async def test_another_consumer_of_no_pool_takes_nothing_from_a_pool(bus: Bus, consumer: Consumer) -> None:
    mine, theirs = Script(), Script()
    consumer.on(volume_swap.end)(mine.handle)
    observer = Consumer(bus.transport, clock=bus.clock)
    observer.on(volume_swap.end)(theirs.handle)
    async with bus.opened(), consumer.running(), observer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().handled and observer.health().handled)

    assert mine.ids == theirs.ids


async def test_a_pools_queue_keeps_what_comes_while_nobody_runs(bus: Bus, consumer: Consumer) -> None:
    script = Script()
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened():
        async with consumer.running():
            pass
        assert Confirmation.CONFIRMED == await bus.publish(notification_body())
        async with consumer.running():
            await until(lambda: consumer.health().handled)

    assert 1 == len(script.heard)


async def test_every_message_is_handled_dead_or_skipped(bus: Bus) -> None:
    """Published = handled + dead + skipped, whatever the handlers do."""
    dice = random.Random(20261122)
    consumer = Consumer(bus.transport, "billing", clock=bus.clock, concurrency=3, prefetch=10)

    async def whatever(notification: Notification[Any]) -> Any:
        await asyncio.sleep(0)
        act = dice.choice([None, None, None, Retry(), Reject("no"), KeyError("x"), TimeoutError()])
        if isinstance(act, Exception):
            raise act

    for number in range(3):
        consumer.on(f"instance.volume_swap.{'*' if number else 'end'}", name=f"handler {number}")(whatever)
    published = 0
    async with bus.opened(), consumer.running():
        for _ in range(100):
            event_type = dice.choice([START, END, ERROR, FLAVOR])
            body = dice.choice([notification_body(event_type, instance=str(dice.randrange(5))), b"instance.volume_swap.end"])
            published += await bus.publish(body + b" " * published) is Confirmation.CONFIRMED
        for _ in range(40):
            await bus.clock.advance(130)
        health = consumer.health()
        left = {name: depth for name, depth in bus.transport.depths().items() if depth and name != DEAD}

    assert {} == left
    assert 100 == published
    assert published == health.handled + health.dead_letters + health.skipped
    assert health.dead_letters == bus.depth(DEAD)
    assert 0 == health.in_flight
    assert health.retried > 0


async def test_a_consumer_reads_the_topics_and_priorities_that_it_is_given(bus: Bus) -> None:
    script = Script()
    consumer = Consumer(bus.transport, "billing", topics=["swaps"], priorities=["error"], clock=bus.clock)
    consumer.on("#")(script.handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body(END), routing_key="swaps.error")
        taken = await bus.publish(notification_body(END))
        await until(lambda: consumer.health().handled)

    assert Confirmation.RETURNED == taken
    assert 1 == len(script.heard)


@pytest.mark.parametrize(
    "arguments",
    [{"concurrency": 0}, {"handler_timeout": 0}, {"prefetch": 0}, {"pool": "no pool"}, {"topics": ()}],
    ids=str,
)
def test_a_value_outside_its_range_is_an_error(bus: Bus, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"give|at least"):
        Consumer(bus.transport, **arguments)


async def test_health_counts_what_happens(bus: Bus, consumer: Consumer) -> None:
    script = Script()
    consumer.on(volume_swap.end)(script.handle)

    assert 0 == consumer.health().received

    async with bus.opened(), consumer.running():
        script.gate.clear()
        await bus.publish(notification_body())
        await until(lambda: script.heard)
        busy = consumer.health()
        script.gate.set()
        await until(lambda: consumer.health().handled)

    assert (True, None, 1, 1, 0) == (busy.link.connected, busy.link.degraded, busy.received, busy.in_flight, busy.queue_depth)
    assert (1, 0, 1) == (consumer.health().received, consumer.health().in_flight, consumer.health().handled)


class FullTransport(MemoryTransport):
    """Its queues look nearly full."""

    @asynccontextmanager
    async def receiver(self, *args: Any, **options: Any) -> AsyncIterator[Receiver]:
        async with super().receiver(*args, **options) as receiver:
            monkey = type("Full", (type(receiver),), {"depth": property(lambda self: 800_000)})
            receiver.__class__ = monkey
            yield receiver


async def test_health_warns_before_the_queue_drops_messages(bus: Bus) -> None:
    consumer = Consumer(FullTransport(clock=bus.clock), "billing", clock=bus.clock)
    consumer.on(volume_swap.end)(Script().handle)
    async with consumer._transport, consumer.running():
        health = consumer.health()

    assert 800_000 == health.queue_depth
    assert "the queue holds 800000 messages, and from 1000000 on" in str(health.link.degraded)
