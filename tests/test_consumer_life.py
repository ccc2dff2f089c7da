"""The life of a consumer: opening, leaving, being cancelled, and handlers that end it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from aioswap.consumer import Consumer
from aioswap.errors import TransportError
from aioswap.outcomes import Ack, Reject, Retry, RetryPolicy
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification
from tests.consumer_kit import END, START, Bus, Script, notification_body, until

QUEUE, DEAD = "aioswap.billing", "aioswap.billing.dead"


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def consumer(bus: Bus, script: Script) -> Consumer:
    consumer = Consumer(bus.transport, "billing", clock=bus.clock)
    consumer.on(volume_swap.any)(script.handle)
    return consumer


def the_task(name: str) -> asyncio.Task[Any]:
    (found,) = [task for task in asyncio.all_tasks() if task.get_name() == name]
    return found


async def test_entering_returns_when_the_queue_is_bound(bus: Bus, consumer: Consumer) -> None:
    async with bus.opened(), consumer.running():
        assert QUEUE in bus.transport.depths()


async def test_a_broker_that_is_away_is_an_error_at_the_deadline(bus: Bus, consumer: Consumer) -> None:
    async with bus.opened():
        bus.transport.lose()

        async def start() -> None:
            async with consumer.running(start_timeout=5):
                pass

        starting = asyncio.create_task(start())
        await bus.clock.advance(4)

        assert not consumer.health().link.connected

        await bus.clock.advance(1)
        with pytest.raises(TransportError, match="consumer billing is not ready after 5 s"):
            await starting
        bus.transport.restore()
        async with consumer.running():
            assert consumer.health().link.connected


async def test_cancelling_the_start_leaves_nothing_behind(bus: Bus, consumer: Consumer) -> None:
    async with bus.opened():
        bus.transport.lose()
        before = asyncio.all_tasks()
        starting = asyncio.create_task(consumer.run())
        await bus.clock.advance(1)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

        assert before == asyncio.all_tasks()
        bus.transport.restore()
        async with consumer.running():
            pass


async def test_it_can_be_opened_once_at_a_time_and_again_after(bus: Bus, consumer: Consumer, script: Script) -> None:
    async with bus.opened():
        for number in range(2):
            async with consumer.running():
                with pytest.raises(RuntimeError, match="open already"):
                    async with consumer.running():
                        pass
                await bus.publish(notification_body())
                await until(lambda: consumer.health().handled)

            assert number + 1 == len(script.heard)
            assert 1 == consumer.health().handled


def test_it_can_be_opened_again_in_another_loop(bus: Bus, consumer: Consumer) -> None:
    async def once() -> None:
        async with bus.opened(), consumer.running():
            await bus.publish(notification_body())
            await until(lambda: consumer.health().handled)

    asyncio.run(once())
    asyncio.run(once())


def test_it_cannot_be_left_in_another_loop(bus: Bus, consumer: Consumer) -> None:
    first = asyncio.new_event_loop()
    opened, running = bus.opened(), consumer.running()

    async def leave() -> None:
        await running.__aexit__(None, None, None)

    first.run_until_complete(opened.__aenter__())
    first.run_until_complete(running.__aenter__())
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(leave())
    for task in asyncio.all_tasks(first):
        task.cancel()
    first.run_until_complete(asyncio.sleep(0))
    first.run_until_complete(asyncio.sleep(0))
    first.close()


async def test_it_may_be_left_in_another_task(bus: Bus, consumer: Consumer, script: Script) -> None:
    async with bus.opened():
        running = consumer.running()
        await asyncio.create_task(running.__aenter__())
        await bus.publish(notification_body())
        await until(lambda: consumer.health().handled)
        await asyncio.create_task(running.__aexit__(None, None, None))

        assert not consumer.health().link.connected


async def test_handlers_are_registered_before_the_start(bus: Bus, consumer: Consumer, script: Script) -> None:
    register = consumer.on(volume_swap.start, name="late")
    async with bus.opened():
        async with consumer.running():
            with pytest.raises(RuntimeError, match="before it is started"):
                consumer.on(volume_swap.start)
            with pytest.raises(RuntimeError, match="before it is started"):
                register(script.handle)
        register(script.handle)


async def test_a_consumer_without_handlers_is_an_error(bus: Bus) -> None:
    with pytest.raises(RuntimeError, match="no handler"):
        async with Consumer(bus.transport, "billing").running():
            pass


async def test_a_transport_that_is_not_open_is_an_error(consumer: Consumer) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        async with consumer.running():
            pass


async def test_the_bodys_exception_goes_on_as_it_was(bus: Bus, consumer: Consumer) -> None:
    error = KeyError("mine")
    async with bus.opened():
        with pytest.raises(KeyError) as caught:
            async with consumer.running():
                raise error

    assert error is caught.value
    assert caught.value.__context__ is None


async def test_leaving_lets_handlers_finish_and_acknowledges(bus: Bus, consumer: Consumer, script: Script) -> None:
    script.gate.clear()
    async with bus.opened():
        async with consumer.running():
            for _ in range(3):
                await bus.publish(notification_body(instance="same"))
            await until(lambda: consumer.health().in_flight == 3)
            asyncio.get_running_loop().call_later(0, script.gate.set)

        assert (3, 0) == (script.finished, script.cancelled)
        assert 0 == bus.depth(QUEUE)
        assert (3, 0) == (consumer.health().handled, consumer.health().in_flight)


async def test_leaving_takes_nothing_more(bus: Bus, consumer: Consumer, script: Script) -> None:
    script.gate.clear()
    async with bus.opened():
        running = consumer.running()
        await running.__aenter__()
        await bus.publish(notification_body())
        await until(lambda: script.heard)
        leaving = asyncio.create_task(running.__aexit__(None, None, None))
        await bus.clock.advance(1)
        await bus.publish(notification_body())
        await bus.clock.advance(1)
        script.gate.set()
        await leaving

        assert 1 == len(script.heard)
        assert 1 == bus.depth(QUEUE)


async def test_what_is_not_done_after_ten_seconds_is_cut_off_and_delivered_again(
    bus: Bus, consumer: Consumer, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script.gate.clear()
    async with bus.opened():
        running = consumer.running()
        await running.__aenter__()
        for _ in range(2):
            await bus.publish(notification_body(instance="same"))
        await until(lambda: consumer.health().in_flight == 2)
        leaving = asyncio.create_task(running.__aexit__(None, None, None))
        await bus.clock.advance(9.9)
        early = script.cancelled
        await bus.clock.advance(0.1)
        await leaving
        left = await bus.look(QUEUE)

        assert [0, 1] == [early, script.cancelled]
        assert [True, True] == [delivery.redelivered for delivery in left]
        assert 0 == consumer.health().in_flight
        assert "2 deliveries cut off" in caplog.text


async def test_cancelling_run_leaves_as_running_does(bus: Bus, consumer: Consumer, script: Script) -> None:
    script.gate.clear()
    async with bus.opened():
        running = asyncio.create_task(consumer.run())
        await until(lambda: consumer.health().link.connected)
        await bus.publish(notification_body())
        await until(lambda: script.heard)
        running.cancel()
        await bus.clock.advance(5)
        script.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await running

        assert (1, 0) == (script.finished, script.cancelled)
        assert 0 == bus.depth(QUEUE)


async def test_a_second_cancel_cuts_off_at_once(bus: Bus, consumer: Consumer, script: Script) -> None:
    script.gate.clear()
    async with bus.opened():
        running = asyncio.create_task(consumer.run())
        await until(lambda: consumer.health().link.connected)
        await bus.publish(notification_body())
        await until(lambda: script.heard)
        running.cancel()
        await bus.clock.advance(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        assert (0, 1) == (script.finished, script.cancelled)
        assert 1 == bus.depth(QUEUE)


async def test_run_says_started_when_its_queue_is_bound_and_ends_with_its_task_group(
    bus: Bus, consumer: Consumer, script: Script
) -> None:
    script.gate.clear()
    async with bus.opened():
        async with anyio.create_task_group() as group:
            await group.start(consumer.run)
            await bus.publish(notification_body())
            await until(lambda: script.heard)
            group.cancel_scope.cancel()
            asyncio.get_running_loop().call_soon(script.gate.set)

        assert (1, 0) == (script.finished, script.cancelled)
        assert 0 == bus.depth(QUEUE)


async def test_handlers_see_the_context_of_who_opened_the_consumer_each_its_own(bus: Bus) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody")
    seen: list[str] = []
    consumer = Consumer(bus.transport, "billing", clock=bus.clock)

    @consumer.on(volume_swap.any)
    async def handler(notification: Notification[Any]) -> None:
        seen.append(variable.get())
        variable.set("another handler")

    async with bus.opened():
        variable.set("who opened")
        async with consumer.running():
            variable.set("who published")
            for _ in range(3):
                await bus.publish(notification_body(instance="same"))
            await until(lambda: consumer.health().handled == 3)

    assert ["who opened"] * 3 == seen


async def raises_cancelled(notification: Notification[Any]) -> None:
    raise asyncio.CancelledError


async def cancels_itself(notification: Notification[Any]) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@pytest.mark.parametrize("handler", [raises_cancelled, cancels_itself])
async def test_a_cancel_that_nobody_asked_for_is_a_failure_of_the_handler(bus: Bus, handler: Callable[..., Any]) -> None:
    consumer = Consumer(bus.transport, "billing", retry=RetryPolicy(attempts=1), clock=bus.clock)
    consumer.on(volume_swap.end, name="end")(handler)
    consumer.on(volume_swap.start)(Script().handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().dead_letters)
        (dead,) = await bus.look(DEAD)
        await bus.publish(notification_body(START))
        await until(lambda: consumer.health().handled)

    assert "end: RuntimeError: the handler was cancelled, and not by its consumer" in dead.headers["aioswap-reason"]


async def test_a_cancel_that_a_handler_leaves_behind_hits_nobody(bus: Bus) -> None:
    consumer = Consumer(bus.transport, "billing", clock=bus.clock)

    @consumer.on(volume_swap.end)
    async def handler(notification: Notification[Any]) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().handled)

        assert consumer.health().link.degraded is None


@pytest.mark.parametrize(
    ("outcome", "left"), [(Ack(), 0), (Retry(), 1), (Reject("no"), 1)], ids=["acknowledges", "retries", "rejects"]
)
async def test_a_handler_that_outlives_its_cut_off_is_settled_if_it_acknowledges(
    bus: Bus, outcome: Ack | Retry | Reject, left: int
) -> None:
    stubborn, started, later = Consumer(bus.transport, "stubborn", clock=bus.clock), asyncio.Event(), Script()

    @stubborn.on(volume_swap.any)
    async def handler(notification: Notification[Any]) -> Ack | Retry | Reject:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return outcome
        raise AssertionError

    stubborn.on(volume_swap.start, name="later")(later.handle)
    async with bus.opened():
        for event_type in (END, START):
            running = asyncio.create_task(stubborn.run())
            await until(lambda: stubborn.health().link.connected)
            await bus.publish(notification_body(event_type))
            await started.wait()
            for _ in range(2):
                running.cancel()
                await bus.clock.advance(1)
            with pytest.raises(asyncio.CancelledError):
                await running
            if event_type == END:
                assert left == bus.depth("aioswap.stubborn")

        assert [] == later.heard
        assert left + 1 == bus.depth("aioswap.stubborn")


class Fatal(BaseException):
    """As pytest's own failures are."""


async def test_what_is_no_exception_ends_the_consumer_and_the_delivery_goes_back(bus: Bus, consumer: Consumer) -> None:
    other = Consumer(bus.transport, "other", clock=bus.clock)
    other.on(volume_swap.end)(Script(Fatal("the end")).handle)
    async with bus.opened():
        running = asyncio.create_task(other.run())
        await until(lambda: other.health().link.connected)
        await bus.publish(notification_body())
        with pytest.raises(Fatal, match="the end"):
            await running

        assert 1 == bus.depth("aioswap.other")


async def test_what_is_no_exception_is_raised_on_leaving_unless_the_body_fails_itself(bus: Bus) -> None:
    consumer = Consumer(bus.transport, "billing", clock=bus.clock)
    consumer.on(volume_swap.end)(Script(Fatal("one"), Fatal("two")).handle)
    async with bus.opened():
        with pytest.raises(Fatal, match="one"):
            async with consumer.running():
                await bus.publish(notification_body())
                await until(lambda: not consumer.health().link.connected)
        with pytest.raises(KeyError):
            async with consumer.running():
                await until(lambda: not consumer.health().link.connected)
                raise KeyError


@pytest.mark.parametrize("end", [SystemExit(3), KeyboardInterrupt()], ids=["SystemExit", "KeyboardInterrupt"])
def test_the_end_of_the_program_propagates_and_the_delivery_goes_back(end: BaseException) -> None:
    bus = Bus()
    consumer = Consumer(bus.transport, "billing", clock=bus.clock)
    consumer.on(volume_swap.end)(Script(end).handle)
    slow = Script()
    slow.gate.clear()
    consumer.on(volume_swap.start, name="slow")(slow.handle)
    reached: list[str] = []

    async def main() -> None:
        async with bus.transport, consumer.running():
            await bus.publish(notification_body(START, instance="another"))
            await until(lambda: slow.heard)
            await bus.publish(notification_body())
            await until(lambda: False)
            reached.append("the end")

    with pytest.raises(type(end)):
        asyncio.run(main())

    assert [] == reached
    assert 2 == bus.depth(QUEUE)
    assert 1 == slow.cancelled


async def test_a_task_that_is_cancelled_from_outside_ends_run_with_an_error(bus: Bus, consumer: Consumer) -> None:
    async with bus.opened():
        running = asyncio.create_task(consumer.run())
        await until(lambda: consumer.health().link.connected)
        the_task("aioswap consumer billing").cancel()
        with pytest.raises(RuntimeError, match="cancelled from outside"):
            await running

        assert not consumer.health().link.connected


async def test_no_task_is_left_behind(bus: Bus, consumer: Consumer, script: Script) -> None:
    async with bus.opened():
        before = asyncio.all_tasks()
        async with consumer.running():
            for _ in range(20):
                await bus.publish(notification_body())
            await until(lambda: consumer.health().handled == 20)

        assert before == asyncio.all_tasks()
