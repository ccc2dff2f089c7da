"""Faults on demand, and what aioswap makes of them: each goes the way that a real one goes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from aioswap import Emitter, SwapRequest, SwapState, SwapTracker, volume_swap
from aioswap.testing import Bus, Faults, MemoryOnly
from aioswap.transports.base import MAX_BODY
from tests.testing.kit import Listener, phases


async def swap(bus: Bus, emitter: Emitter) -> None:
    """Perform one."""
    async with emitter.swapping(SwapRequest(bus.factory.instance(), "old", "new")):
        pass


def emitter_on(bus: Bus) -> Emitter:
    """Return an emitter with the bus's clock."""
    return Emitter(bus.transport, host="compute-1", clock=bus.clock)


async def test_what_is_told_while_the_broker_is_away_arrives_when_it_is_back(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus, emitter_on(bus) as emitter:
        with bus.faults.away():
            await swap(bus, emitter)
            await bus.settled()
            meanwhile = (emitter.health().link.connected, emitter.health().backlog, bus.notifications())
        async with bus.expects(volume_swap.start, volume_swap.end):
            pass

    assert (False, 2, []) == meanwhile


async def test_a_lost_confirmation_leads_to_a_second_copy_that_the_consumer_knows(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus, emitter_on(bus) as emitter:
        listener = Listener(bus)
        async with listener.consumer.running():
            with bus.faults.slow_confirms():
                await swap(bus, emitter)
                await bus.settled()
                with bus.faults.away():
                    pass
            await bus.settled()
            duplicates = listener.consumer.health().duplicates

    assert ["start", "end", "start", "end"] == phases(bus.notifications())
    assert (["start", "end"], 2) == (phases(listener.heard), duplicates)


async def test_faults_of_one_kind_end_with_the_outermost(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus, emitter_on(bus) as emitter:
        with bus.faults.away():
            with bus.faults.away():
                pass
            await swap(bus, emitter)
            await bus.settled()
            meanwhile = bus.notifications()
        await bus.wait_for(volume_swap.end)

    assert [] == meanwhile


async def test_a_blocked_broker_takes_nothing_and_gives_it_later(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus, emitter_on(bus) as emitter:
        with bus.faults.blocked():
            await swap(bus, emitter)
            await bus.settled()
            meanwhile = (emitter.health().link.blocked, bus.notifications())
        await bus.wait_for(volume_swap.end)

    assert (True, []) == meanwhile


async def test_slow_confirms_leave_the_backlog_full_though_everything_arrived(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus, emitter_on(bus) as emitter:
        with bus.faults.slow_confirms():
            await swap(bus, emitter)
            await bus.wait_for(volume_swap.end)
            meanwhile = emitter.health().backlog
        await bus.settled()

        assert (2, 0) == (meanwhile, emitter.health().backlog)


async def test_what_is_returned_waits_and_is_tried_again(any_bus: Bus) -> None:
    async with any_bus as bus, emitter_on(bus) as emitter:
        with bus.faults.refuse("versioned_notifications.info") as refused:
            await swap(bus, emitter)
            await bus.settled()
            meanwhile = (emitter.health().backlog, bus.notifications())
        await bus.clock.advance(1)
        await bus.wait_for(volume_swap.end)

    assert (2, []) == meanwhile
    assert 2 == refused.count
    assert ["start", "end"] == phases(bus.notifications())


async def test_what_is_returned_for_long_is_parked(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus, emitter_on(bus) as emitter:
        with bus.faults.refuse():
            await swap(bus, emitter)
            await bus.clock.advance(90)
            parked = emitter.health().parked

    assert 2 == parked


async def test_what_is_nacked_keeps_waiting(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus, emitter_on(bus) as emitter:
        with bus.faults.refuse(nack=True):
            await swap(bus, emitter)
            await bus.clock.advance(90)
            meanwhile = (emitter.health().parked, emitter.health().backlog)
        await bus.clock.advance(30)
        await bus.wait_for(volume_swap.end)

    assert (0, 2) == meanwhile


async def test_a_dropped_end_leaves_a_swap_that_gets_stuck(any_bus: Bus) -> None:
    async with any_bus as bus, SwapTracker(bus.transport, stuck_after=60, clock=bus.clock) as tracker:
        async with emitter_on(bus) as emitter:
            with bus.faults.drop(volume_swap.end) as dropped:
                await swap(bus, emitter)
                await emitter.flush()
        await bus.settled()
        await bus.clock.advance(60)
        states = [each.state for each in tracker.stuck()]

    assert ([SwapState.STUCK], 1) == (states, dropped.count)


async def test_a_duplicate_is_handled_once(any_bus: Bus) -> None:
    async with any_bus as bus:
        listener = Listener(bus)
        async with listener.consumer.running():
            with bus.faults.duplicate(volume_swap.end):
                await bus.nova_swap().run()
            await bus.settled()
            duplicates = listener.consumer.health().duplicates

    assert ["start", "end", "end"] == phases(bus.notifications())
    assert (["start", "end"], 1) == (phases(listener.heard), duplicates)


async def test_what_is_delayed_comes_when_the_clock_is_moved(any_bus: Bus) -> None:
    async with any_bus as bus:
        with bus.faults.delay(5, volume_swap.start, n=1):
            await bus.nova_swap().run()
            await bus.nova_swap().start()
        await bus.settled()
        before = phases(bus.notifications())
        await bus.clock.advance(5)
        await bus.settled()

    assert ["end", "start"] == before
    assert ["end", "start", "start"] == phases(bus.notifications())


async def test_what_is_delayed_waits_for_a_broker_that_is_away(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus:
        with bus.faults.delay(5):
            await bus.nova_swap().end()
        with bus.faults.away():
            await bus.clock.advance(5)
            await bus.settled()
            meanwhile = bus.notifications()
        await bus.settled()

    assert [] == meanwhile
    assert ["end"] == phases(bus.notifications())


async def test_what_is_reordered_comes_the_other_way_round(any_bus: Bus) -> None:
    async with any_bus as bus:
        with bus.faults.reorder(n=2):
            await bus.nova_swap().run()
            await bus.wait_for(volume_swap.start)
        with bus.faults.reorder() as kept:
            await bus.nova_swap().run()
            await bus.nova_swap().error()
        await bus.settled()

    assert ["end", "start", "error", "end", "start"] == phases(bus.notifications())
    assert 3 == kept.count


async def test_the_fault_that_began_last_comes_first_and_only_so_often(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus:
        with bus.faults.duplicate() as twice, bus.faults.drop("instance.volume_swap.*", n=1) as dropped:
            await bus.nova_swap().run()
            await bus.publish(b"no notification")
        await bus.nova_swap().start()
        await bus.settled()

    assert ["end", "end", "start"] == phases(bus.notifications())
    assert ([b"no notification"] * 2, 2, 1) == (bus.unreadable, twice.count, dropped.count)


async def test_a_duplicate_of_which_one_is_lost_fails_as_any_message_does(aioswap_bus: Bus) -> None:
    async with aioswap_bus as bus, emitter_on(bus) as emitter:
        with bus.faults.slow_confirms():
            with bus.faults.duplicate():
                await swap(bus, emitter)
                await bus.settled()
            with bus.faults.away():
                pass
        await emitter.flush()

    assert 3 * 2 == len(bus.notifications())


@pytest.mark.broker
@pytest.mark.parametrize("fault", [Faults.away, Faults.blocked, Faults.slow_confirms])
async def test_a_real_broker_is_left_alone(rabbit_bus: Bus, fault: Callable[[Faults], AbstractContextManager[None]]) -> None:
    async with rabbit_bus as bus:
        with pytest.raises(MemoryOnly, match="others use it"), fault(bus.faults):
            pass


async def test_a_bus_is_opened_before_its_fault(aioswap_bus: Bus) -> None:
    with aioswap_bus.faults.away(), pytest.raises(RuntimeError, match="open the bus before it begins"):
        await aioswap_bus.__aenter__()
    async with aioswap_bus as bus:
        await bus.nova_swap().end()


def test_what_is_no_pattern_is_refused(aioswap_bus: Bus) -> None:
    with pytest.raises(ValueError, match="words with single dots"):
        aioswap_bus.faults.drop("")


async def test_what_no_broker_would_take_is_held_back_in_vain(aioswap_bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    async with aioswap_bus as bus:
        with bus.faults.delay(1):
            await bus.publish(b"x" * (MAX_BODY + 1))
            await bus.nova_swap().end()
        await bus.clock.advance(1)
        await bus.settled()

    assert ["end"] == phases(bus.notifications())
    assert "a message that was held back cannot be sent" in caplog.text
