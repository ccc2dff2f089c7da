"""With exactly the documented rights, beside real peers, everything arrives."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from aioswap.consumer import Consumer
from aioswap.emitter import Emitter
from aioswap.swaps import SwapState
from aioswap.tracker import SwapTracker
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.events import volume_swap
from tests.interop.bus import Bus
from tests.interop.heard import Heard
from tests.interop.peers import Peers
from tests.interop.swaps import Volumes
from tests.interop.test_oslo_hears_aioswap import NUMBER, seen
from tests.rights import CONSUMER, EMITTER

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]


async def test_a_listener_hears_everything_from_an_emitter_with_its_rights_alone(bus: Bus, peers: Peers) -> None:
    transport = RabbitTransport(await bus.limited("emitter", EMITTER))
    async with peers.listener() as listener, transport, Emitter(transport, host="compute-1") as emitter:
        volumes = Volumes(emitter)
        await volumes.swap(NUMBER // 2)
        heard = await listener.take("heard", NUMBER)

    assert Counter(volumes.expected) == seen(heard)


async def test_a_tracker_with_a_consumers_rights_alone_hears_everything_from_nova(bus: Bus, peers: Peers) -> None:
    transport = RabbitTransport(await bus.limited("tracker", CONSUMER))
    async with peers.nova() as nova:
        nova.command(swaps=1, fail_every=4)  # Nova makes its exchange
        await nova.take("emitted", 2)
        instance = nova.ready["instance"]["uuid"]
        async with transport, SwapTracker(transport) as tracker, tracker.expect(instance=instance) as expected:
            nova.command(swaps=NUMBER // 2, fail_every=4)
            emitted = await nova.take("emitted", NUMBER)
            await expected.wait(timeout=60)
            while tracker.health().received < NUMBER:
                await asyncio.to_thread(lambda: None)
            swaps = await tracker.history(limit=None)

    assert {told["message_id"] for told in emitted} == {one for swap in swaps for one in swap.evidence}
    assert {SwapState.SUCCEEDED: NUMBER * 3 // 8, SwapState.FAILED: NUMBER // 8} == Counter(swap.state for swap in swaps)


async def test_a_consumer_with_its_rights_alone_hears_everything_from_nova(bus: Bus, peers: Peers) -> None:
    heard = Heard(NUMBER)
    transport = RabbitTransport(await bus.limited("consumer", CONSUMER))
    consumer = Consumer(transport, "interop")
    consumer.on(volume_swap.any)(heard.handle)
    async with peers.nova() as nova:
        nova.command(swaps=1, fail_every=4)  # Nova makes its exchange
        first = {told["message_id"] for told in await nova.take("emitted", 2)}
        async with transport, consumer.running():
            nova.command(swaps=NUMBER // 2, fail_every=4)
            emitted = await nova.take("emitted", NUMBER)
            await heard.complete()

    assert not first & {told["message_id"] for told in heard.wire}
    assert {told["message_id"] for told in emitted} == {told["message_id"] for told in heard.wire}
