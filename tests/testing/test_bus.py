"""The bus of a test: what came, what was expected, and when nothing moves any more."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from aioswap import (
    Consumer,
    Delivery,
    Emitter,
    Notification,
    Reject,
    Retry,
    Subscription,
    SwapRequest,
    SwapTracker,
    TransportError,
    volume_swap,
)
from aioswap.testing import BrokerClock, Bus, ManualClock, MemoryOnly
from aioswap.transports.memory import MemoryTransport
from aioswap.transports.topology import QueueDeclaration
from aioswap.wire.payloads import InstanceActionVolumeSwapPayload
from tests.testing.kit import Listener, phases


async def test_what_an_emitter_tells_is_captured(any_bus: Bus) -> None:
    async with any_bus as bus, Emitter(bus.transport, host="compute-1", clock=bus.clock) as emitter:
        async with emitter.swapping(SwapRequest(bus.factory.instance(), "old", "new")):
            pass
        told = await bus.wait_for(volume_swap.any, 2)

    assert ["start", "end"] == phases(bus.notifications())
    assert told == bus.notifications("instance.volume_swap.*")
    assert [told[1]] == bus.notifications(volume_swap.end)


async def test_what_does_not_come_is_told_with_what_came(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus:
        with pytest.raises(AssertionError, match="nothing at all"):
            await bus.wait_for("#", timeout=0.01)
        await bus.nova_swap(uuid="server-1", old_volume_id="a", new_volume_id="b").error(OSError("full; password=geheim"))
        await bus.publish(b"no notification")
        await bus.settled()
        with pytest.raises(AssertionError) as caught:
            await bus.wait_for("instance.volume_swap.end", timeout=0.01)

    assert "1 of instance.volume_swap.end should have come within 0.01 s, and 0 did" in str(caught.value)
    assert "instance.volume_swap.error  from nova-compute:compute-1  server-1: a -> b  OSError: full" in str(caught.value)
    assert "1 messages that are no notifications" in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert [b"no notification"] == bus.unreadable


async def test_what_was_expected_is_given_to_look_at(any_bus: Bus) -> None:
    async with any_bus as bus:
        await bus.nova_swap().run()
        async with bus.expects(volume_swap.start, "instance.*.error") as seen:
            await bus.nova_swap(new_volume_id="full").run(OSError("no space left on device"))

    assert ["start", "error"] == phases(seen)
    assert "no space left on device" == seen[1].payload.fault.exception_message


async def test_silence_can_be_expected(any_bus: Bus) -> None:
    async with any_bus as bus:
        async with bus.expects() as seen:
            pass
        async with bus.expects(among="compute.exception"):
            await bus.nova_swap().run()

    assert [] == seen


async def test_another_order_is_told_as_a_difference(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus:
        swap = bus.nova_swap(uuid="server-1", old_volume_id="a", new_volume_id="b")
        with pytest.raises(AssertionError) as caught:
            async with bus.expects(volume_swap.start, volume_swap.end):
                await swap.end()
                await swap.start()

    told = "from nova-compute:compute-1  server-1: a -> b"
    assert [
        "other notifications than expected (- is missing, + is too much):",
        f"+ instance.volume_swap.end  {told}",
        f"  instance.volume_swap.start  {told}",
        "- instance.volume_swap.end",
    ] == str(caught.value).splitlines()


async def test_one_too_many_is_noticed(any_bus: Bus) -> None:
    async with any_bus as bus:
        with pytest.raises(AssertionError, match=r"\+ instance\.volume_swap\.end"):
            async with bus.expects(volume_swap.start):
                await bus.nova_swap().run()


async def test_one_too_few_is_waited_for_and_noticed(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus:
        with pytest.raises(AssertionError, match=r"- instance\.volume_swap\.end"):
            async with bus.expects(volume_swap.start, volume_swap.end, timeout=0.01):
                await bus.nova_swap().start()


async def test_the_bodys_own_exception_goes_on_unchanged(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus:
        with pytest.raises(LookupError, match="mine"):
            async with bus.expects(volume_swap.start):
                raise LookupError("mine")


async def test_settled_waits_for_handlers(any_bus: Bus) -> None:
    async with any_bus as bus:
        listener = Listener(bus)
        async with listener.consumer.running():
            await bus.nova_swap().run()
            await bus.settled()
            heard = phases(listener.heard)

    assert ["start", "end"] == heard


async def test_settled_waits_for_an_emitter_that_connects(any_bus: Bus) -> None:
    async with any_bus as bus, Emitter(bus.transport, host="compute-1", clock=bus.clock) as emitter:
        async with emitter.swapping(SwapRequest(bus.factory.instance(), "old", "new")):
            pass
        await bus.settled()
        health = emitter.health()

    assert (2, 0) == (health.confirmed, health.backlog)
    assert 2 == len(bus.notifications())


async def test_a_handler_that_does_not_end_is_told_by_settled(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus:
        consumer = Consumer(bus.transport, pool="slow")
        released = asyncio.Event()

        @consumer.on(volume_swap.any)
        async def wait(notification: Notification[InstanceActionVolumeSwapPayload]) -> None:
            await released.wait()

        async with consumer.running():
            await bus.nova_swap().start()
            with pytest.raises(AssertionError, match="under way: 1 deliveries to consumer slow are not settled"):
                await bus.settled(timeout=0.01)
            async with bus.expects(volume_swap.end):
                await bus.nova_swap().end()
            released.set()
            await bus.settled()


async def test_a_retry_comes_when_the_clock_is_moved(any_bus: Bus) -> None:
    async with any_bus as bus:
        listener = Listener(bus, Retry(after=1))
        async with listener.consumer.running():
            await bus.nova_swap().end()
            await bus.settled()
            before = len(listener.heard)
            await bus.clock.advance(1)
            await bus.settled()

    assert (1, 2) == (before, len(listener.heard))
    assert 1 == len(bus.notifications())


async def test_what_a_handler_rejects_is_a_dead_letter(any_bus: Bus) -> None:
    async with any_bus as bus:
        listener = Listener(bus, Reject("not mine"))
        async with listener.consumer.running():
            await bus.nova_swap().end()
            await bus.settled()
        letters = await bus.dead_letters("listener")

    assert [("listen: not mine", "instance.volume_swap.end")] == [(letter.reason, letter.event_type) for letter in letters]
    assert "versioned_notifications.info" == letters[0].routing_key


async def test_the_clock_lets_a_swap_be_stuck(any_bus: Bus) -> None:
    async with any_bus as bus, SwapTracker(bus.transport, stuck_after=60, clock=bus.clock) as tracker:
        swap = bus.nova_swap()
        await swap.start()
        await bus.settled()
        running = len(tracker.running())
        await bus.clock.advance(61)
        stuck = tracker.stuck()

    assert 1 == running
    assert [swap.instance] == [each.instance for each in stuck]


async def test_what_is_tested_may_open_the_transport_itself(any_bus: Bus) -> None:
    async with any_bus as bus:
        async with bus.transport, Emitter(bus.transport, host="compute-1") as emitter:
            await emitter.emit(volume_swap.end, bus.factory.payload())
        await bus.wait_for(volume_swap.end)
        await bus.nova_swap().end()
        await bus.wait_for(volume_swap.end, 2)

    assert bus.transport.destination


async def test_a_bus_is_opened_once_at_a_time(aioswap_bus: Bus) -> None:
    async with aioswap_bus:
        with pytest.raises(RuntimeError, match="this bus is open already"):
            await aioswap_bus.__aenter__()
    with pytest.raises(RuntimeError, match="this bus is not open"):
        await aioswap_bus.settled()


def test_a_bus_can_be_opened_again_in_another_loop(aioswap_bus: Bus) -> None:
    async def main() -> None:
        async with aioswap_bus as bus:
            await bus.nova_swap().end()
            await bus.settled()

    for _ in range(2):
        asyncio.run(main())

    assert ["end", "end"] == phases(aioswap_bus.notifications())


async def test_a_consumer_that_leaves_is_not_waited_for(any_bus: Bus) -> None:
    async with any_bus as bus:
        listener = Listener(bus)
        with suppress(LookupError):
            async with listener.consumer.running():
                await bus.nova_swap().end()
                raise LookupError
        await bus.settled()


async def test_marks_are_seen_by_nobody(any_bus: Bus) -> None:
    async with any_bus as bus:
        listener = Listener(bus)
        async with listener.consumer.running():
            await bus.settled()
            await bus.publish(b'{"event_type": "flavor.create"}')
            await bus.settled()
            health = listener.consumer.health()

    assert (0, 1, True) == (health.received, health.skipped, health.link.connected)
    assert [b'{"event_type": "flavor.create"}'] == bus.unreadable


async def test_a_receiver_is_called_as_the_test_calls_it(any_bus: Bus) -> None:
    taken: list[Delivery] = []
    async with any_bus as bus, bus.transport.receiver(Subscription(pool="mine"), taken.append, label="mine") as receiver:
        await bus.nova_swap().end()
        await bus.wait_for(volume_swap.end)
        with pytest.raises(AssertionError, match="1 deliveries to mine are not settled"):
            await bus.settled(0.3)
        again = len(taken)
        taken[0].requeue()
        with pytest.raises(AssertionError, match="1 deliveries to mine are not settled"):
            await bus.settled(0.3)
        taken[1].ack()
        taken[1].ack()
        await receiver.stop()
        await bus.settled()
        depth = receiver.depth

    assert "aioswap.mine" == receiver.queue
    assert (1, 0, 2) == (again, depth or 0, len(taken))
    assert [("nova", "versioned_notifications.info")] * 2 == [(each.exchange, each.routing_key) for each in taken]


async def test_only_memory_can_be_looked_into(aioswap_bus: Bus) -> None:
    aioswap_bus.memory.declare(QueueDeclaration(name="versioned_notifications.info"))

    assert isinstance(aioswap_bus.memory, MemoryTransport)
    assert {"versioned_notifications.info": 0} == aioswap_bus.memory.depths()
    with pytest.raises(MemoryOnly, match="a test cannot look into a real broker"):
        Bus(url="amqp://127.0.0.1/").memory.depths()


def test_the_clock_fits_the_broker() -> None:
    own = ManualClock()

    assert ManualClock is type(Bus().clock)
    assert BrokerClock is type(Bus(url="amqp://127.0.0.1/").clock)
    assert own is Bus(clock=own).clock


async def test_what_is_published_while_a_fault_lasts_is_refused(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus:
        with bus.faults.away(), pytest.raises(TransportError, match="publish before or after it"):
            await bus.nova_swap().end()
        with bus.faults.refuse(nack=True), pytest.raises(TransportError, match="the broker has nacked what was published"):
            await bus.nova_swap().end()
