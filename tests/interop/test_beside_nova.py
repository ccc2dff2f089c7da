"""Whatever Nova has declared stays as it is, and Nova goes on: its exchange is the one that it also uses for RPC."""

from __future__ import annotations

from typing import Final

import pytest

from aioswap.consumer import Consumer
from aioswap.emitter import Emitter
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.events import volume_swap
from tests.interop.bus import Bus, Declarations
from tests.interop.heard import Heard
from tests.interop.peers import Peers, Sections
from tests.interop.swaps import Volumes

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

_RABBIT: Final = "oslo_messaging_rabbit"
TOPOLOGIES: Final[dict[str, Sections]] = {
    "default": {},
    "durable": {_RABBIT: {"amqp_durable_queues": True}},
    "quorum": {_RABBIT: {"rabbit_quorum_queue": True}},
    "quorum with limits": {_RABBIT: {"rabbit_quorum_queue": True, "rabbit_quorum_delivery_limit": 5}},
    "auto delete": {_RABBIT: {"amqp_auto_delete": True}},
}


def without_ours(declarations: Declarations) -> Declarations:
    """Leave out what is aioswap's own: its names say so."""
    names = ("name", "source_name", "destination_name")
    return {
        what: [row for row in rows if not any(str(row.get(name, "")).startswith("aioswap.") for name in names)]
        for what, rows in declarations.items()
    }


@pytest.mark.parametrize("sections", TOPOLOGIES.values(), ids=TOPOLOGIES.keys())
@pytest.mark.parametrize("pool", ["interop", None], ids=["a pool", "no pool"])
async def test_nova_keeps_what_it_declared_and_goes_on(bus: Bus, peers: Peers, sections: Sections, pool: str | None) -> None:
    async with peers.nova(sections=sections) as nova, peers.listener("--pool", "watcher", sections=sections) as listener:
        nova.command(swaps=1, fail_every=1)
        await listener.take("heard", 2)
        before = await bus.declarations()
        heard = await start_and_stop(bus, pool)
        await listener.take("heard", 10)
        after = await bus.declarations()
        nova.command(swaps=1, fail_every=1)
        await listener.take("heard", 2)
        async with peers.nova(sections=sections) as another:
            another.command(swaps=1, fail_every=1)
            await listener.take("heard", 2)
        complaints = [*nova.complaints, *another.complaints, *listener.complaints]

    assert before == without_ours(after)
    assert 10 == heard
    assert [] == complaints


async def start_and_stop(bus: Bus, pool: str | None) -> int:
    """Open an emitter and a consumer, tell of swaps, close both, and return how many notifications were heard."""
    transport = RabbitTransport(bus.url)
    consumer = Consumer(transport, pool)
    heard = Heard(10)
    consumer.on(volume_swap.any)(heard.handle)
    async with transport, consumer.running(), Emitter(transport, host="compute-2") as emitter:
        await Volumes(emitter).swap(5)
        await heard.complete()
    return len(heard.notifications)
