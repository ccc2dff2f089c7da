"""Time on a real broker: moved by hand where it can be, waited for where it must be."""

from __future__ import annotations

import pytest

from aioswap import Retry
from aioswap.testing import BrokerClock, Bus, MemoryOnly
from tests.testing.kit import Listener


async def test_what_the_broker_does_not_measure_moves_at_once() -> None:
    clock = BrokerClock()
    woken: list[float] = []
    clock.call_later(86_400, lambda: woken.append(clock.monotonic()))
    await clock.advance(86_400)

    assert [86_400.0] == woken


async def test_the_broker_is_waited_for_first() -> None:
    clock = BrokerClock()
    asked: list[float] = []

    async def waits(seconds: float) -> None:
        asked.append(seconds)

    clock.broker_waits = waits
    await clock.advance(30)

    assert ([30], 30.0) == (asked, clock.monotonic())


@pytest.mark.broker
async def test_a_retry_that_waits_for_long_needs_memory(rabbit_bus: Bus) -> None:
    async with rabbit_bus as bus:
        listener = Listener(bus, Retry(after=30))
        async with listener.consumer.running():
            await bus.nova_swap().end()
            await bus.settled()
            with pytest.raises(MemoryOnly, match=r"a retry waits on the broker for \d\d s more"):
                await bus.clock.advance(30)
            await bus.clock.advance(29)

    assert 1 == len(listener.heard)


@pytest.mark.broker
async def test_a_retry_is_waited_for_in_steps_and_without_anybody_who_listens(rabbit_bus: Bus) -> None:
    async with rabbit_bus as bus:
        listener = Listener(bus, Retry(after=1), Retry(after=1))
        async with listener.consumer.running():
            await bus.nova_swap().end()
            await bus.settled()
            await bus.clock.advance(0.5)
            before = len(listener.heard)
            await bus.clock.advance(0.5)
            await bus.settled()
            after = len(listener.heard)
        await bus.clock.advance(1)
        async with listener.consumer.running():
            await bus.settled()

    assert (1, 2, 3) == (before, after, len(listener.heard))
