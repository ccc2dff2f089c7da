"""A tracker answers what became of a swap that a real Nova performs."""

from __future__ import annotations

import pytest

from aioswap.swaps import SwapState
from aioswap.tracker import SwapTracker
from aioswap.transports.rabbit import RabbitTransport
from tests.interop.bus import Bus
from tests.interop.peers import NO_CHANGES, Peers, Sections

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("sections", [NO_CHANGES, {"notifications": {"bdms_in_notifications": True}}], ids=["default", "full"])
async def test_a_swap_that_succeeds_is_known(bus: Bus, peers: Peers, sections: Sections) -> None:
    transport = RabbitTransport(bus.url, exchange_durable=False)
    async with transport, SwapTracker(transport) as tracker, peers.nova(sections=sections) as nova:
        context = nova.ready["context"]
        async with tracker.expect(global_request_id=context["global_request_id"]) as expected:
            nova.command(swaps=1, fail_every=2)
            swap = await expected.wait(timeout=60)
        start, end = await nova.take("emitted", 2)

    assert SwapState.SUCCEEDED is swap.state
    assert (start["message_id"], end["message_id"]) == swap.evidence
    assert ("nova-compute", "compute-1", context["request_id"]) == (swap.source, swap.host, swap.request_id)
    assert (nova.ready["instance"]["uuid"], nova.ready["volume"]) == (swap.instance, swap.old_volume_id)
    assert (swap.new_volume_id if sections else None) == swap.effective_volume_id


async def test_a_swap_that_fails_is_known_with_its_fault(bus: Bus, peers: Peers) -> None:
    transport = RabbitTransport(bus.url, exchange_durable=False)
    async with (
        transport,
        SwapTracker(transport) as tracker,
        peers.nova() as nova,
        tracker.expect(instance=nova.ready["instance"]["uuid"], old=nova.ready["volume"]) as expected,
    ):
        nova.command(swaps=1, fail_every=1)
        swap = await expected.wait(timeout=60)

    assert SwapState.FAILED is swap.state
    assert swap.inferred is None
    assert swap.fault is not None
    assert "VolumeNotFound" == swap.fault.exception


async def test_a_swap_for_which_nova_has_no_error_is_taken_to_have_failed(bus: Bus, peers: Peers) -> None:
    transport = RabbitTransport(bus.url, exchange_durable=False)
    async with transport, SwapTracker(transport) as tracker, peers.nova() as nova:
        async with tracker.expect(request_id=nova.ready["context"]["request_id"]) as expected:
            nova.command(broken=1)
            swap = await expected.wait(timeout=60)
        told = await nova.take("emitted", 2)

    assert ["instance.volume_swap.start", "compute.exception"] == [one["event_type"] for one in told]
    assert SwapState.FAILED is swap.state
    assert swap.inferred is not None
    assert tuple(one["message_id"] for one in told) == swap.evidence
