"""The peers among themselves: what is true without aioswap, so that the other tests mean something."""

from __future__ import annotations

import pytest

from tests.interop.bus import Bus
from tests.interop.peers import Peers

pytestmark = pytest.mark.interop


async def test_a_listener_hears_nova(bus: Bus, peers: Peers) -> None:
    async with peers.listener("--nova-context") as listener, peers.nova() as nova:
        nova.command(swaps=10, fail_every=5)
        emitted = await nova.take("emitted", 20)
        heard = await listener.take("heard", 20)
        drained = await bus.drained("versioned_notifications.info", "versioned_notifications.error")

    assert {told["message_id"] for told in emitted} == {told["metadata"]["message_id"] for told in heard}
    assert drained
    assert [] == [*nova.complaints, *listener.complaints]


async def test_an_exchange_with_other_flags_stops_nova(peers: Peers) -> None:
    durable = {"oslo_messaging_rabbit": {"amqp_durable_queues": True}}
    async with peers.listener(sections=durable), peers.nova() as nova:
        nova.command(swaps=1, fail_every=2)
        await nova.take("done", 1)

    assert any("406" in complaint for complaint in nova.complaints), nova.complaints
