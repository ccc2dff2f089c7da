"""Whatever Nova has declared stays as it is, and Nova goes on: its exchange is the one that it also uses for RPC."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

import pytest

from aioswap.consumer import Consumer
from aioswap.emitter import Emitter
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.events import volume_swap
from tests.interop.bus import Bus, Declarations
from tests.interop.heard import Heard
from tests.interop.peers import Peer, Peers, Sections
from tests.interop.swaps import Volumes

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

_RABBIT: Final = "oslo_messaging_rabbit"
AUTO_DELETE: Final = "auto delete"
TOPOLOGIES: Final[dict[str, Sections]] = {
    "default": {},
    "durable": {_RABBIT: {"amqp_durable_queues": True}},
    "quorum": {_RABBIT: {"rabbit_quorum_queue": True}},
    "quorum with limits": {_RABBIT: {"rabbit_quorum_queue": True, "rabbit_quorum_delivery_limit": 5}},
    AUTO_DELETE: {_RABBIT: {"amqp_auto_delete": True}},
}


def without_ours(declarations: Declarations) -> Declarations:
    """Leave out what is aioswap's own: its names say so."""
    names = ("name", "source_name", "destination_name")
    return {
        what: [row for row in rows if not any(str(row.get(name, "")).startswith("aioswap.") for name in names)]
        for what, rows in declarations.items()
    }


@pytest.mark.parametrize("topology", TOPOLOGIES)
async def test_nova_keeps_what_it_declared_and_goes_on(bus: Bus, peers: Peers, topology: str) -> None:
    sections = TOPOLOGIES[topology]
    async with peers.nova(sections=sections) as nova, peers.listener("--pool", "watcher", sections=sections) as listener:
        await told(nova, listener)
        before = await bus.declarations()
        # the last consumer of such a queue takes the queue along when it leaves: a listener of oslo's just so
        await come_and_go(RabbitTransport(bus.url), shared=topology != AUTO_DELETE)
        after = await bus.declarations()
        await listener.take("heard", 10)
        await told(nova, listener)
        async with peers.nova(sections=sections) as another:
            await told(another, listener)
        complaints = [*nova.complaints, *another.complaints, *listener.complaints]

    assert before == without_ours(after)
    assert [] == [row["name"] for row in after["queues"] if row["name"].startswith("aioswap.anon")]
    assert [] == complaints


async def test_a_wrong_guess_is_harmless_where_nova_came_first(bus: Bus, peers: Peers) -> None:
    guess = RabbitTransport(bus.url, exchange_durable=True, declare_default_queues=True)
    async with peers.nova() as nova, peers.listener("--pool", "watcher") as listener:
        await told(nova, listener)
        before = await bus.declarations()
        await come_and_go(guess)
        after = await bus.declarations()
        await listener.take("heard", 10)
        async with peers.nova() as another:
            await told(another, listener)
        complaints = [*nova.complaints, *another.complaints, *listener.complaints]

    assert before == without_ours(after)
    assert [] == complaints


async def told(nova: Peer, listener: Peer) -> None:
    """Let Nova tell of a swap, and wait until that is heard."""
    nova.command(swaps=1, fail_every=1)
    await listener.take("heard", 2)


async def come_and_go(transport: RabbitTransport, *, shared: bool = True) -> None:
    """Open an emitter and every kind of consumer, tell of five swaps, hear of them, and close everything.

    Args:
        transport: carries it all.
        shared: read Nova's default queues, too.
    """
    expected = {Consumer(transport, "interop"): 10, Consumer(transport): 10}
    if shared:
        expected[Consumer(transport, shared=True)] = 12  # Nova has left the two of its swap there
    heard = {consumer: Heard(number) for consumer, number in expected.items()}
    for consumer, one in heard.items():
        consumer.on(volume_swap.any)(one.handle)
    async with transport, AsyncExitStack() as stack:
        for consumer in heard:
            await stack.enter_async_context(consumer.running())
        emitter = await stack.enter_async_context(Emitter(transport, host="compute-2"))
        await Volumes(emitter).swap(5)
        for one in heard.values():
            await one.complete()

    assert expected == {consumer: len(one.notifications) for consumer, one in heard.items()}
