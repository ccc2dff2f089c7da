"""Listeners of oslo.messaging beside an emitter: they hear everything, as if it came from Nova."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest

from aioswap.emitter import Emitter
from aioswap.transports.rabbit import RabbitTransport
from tests.interop.bus import Bus
from tests.interop.peers import Peers, Sections
from tests.interop.swaps import Volumes

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

NUMBER: Final = 1000
QUEUES: Final = ("versioned_notifications.info", "versioned_notifications.error")

_RABBIT: Final = "oslo_messaging_rabbit"
VARIANTS: Final[dict[str, Sections]] = {
    "default": {},
    "durable": {_RABBIT: {"amqp_durable_queues": True}},
    "quorum": {_RABBIT: {"rabbit_quorum_queue": True}},
}


def seen(heard: list[dict[str, Any]]) -> Counter[tuple[str, str, str, str]]:
    """Return what endpoints were given, in the form of `Volumes.expected`."""
    return Counter(
        (
            told["method"],
            told["event_type"],
            told["context"]["request_id"],
            told["payload"]["nova_object.data"]["new_volume_id"],
        )
        for told in heard
    )


@pytest.mark.parametrize("sections", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("reader", [("--nova-context",), ()], ids=["nova's context", "plain context"])
async def test_a_listener_hears_everything_that_an_emitter_emits(
    bus: Bus, peers: Peers, sections: Sections, reader: tuple[str, ...]
) -> None:
    transport = RabbitTransport(bus.url)
    async with (
        peers.listener(*reader, sections=sections) as listener,
        transport,
        Emitter(transport, host="compute-1") as emitter,
    ):
        volumes = Volumes(emitter)
        await volumes.swap(NUMBER // 2)
        heard = await listener.take("heard", NUMBER)
        drained = await bus.drained(*QUEUES)

    assert NUMBER == len(heard)
    assert Counter(volumes.expected) == seen(heard)
    assert NUMBER == len({told["metadata"]["message_id"] for told in heard})
    assert {"nova-compute:compute-1"} == {told["publisher_id"] for told in heard}
    assert {"RequestContext" if reader else "dict"} == {told["context_class"] for told in heard}
    assert {("ada", "research", None)} == {
        (told["context"]["user_id"], told["context"]["project_id"], told["context"]["auth_token"]) for told in heard
    }
    assert drained, "oslo leaves what it takes for a duplicate unacknowledged"
    assert [] == listener.complaints


async def test_every_pool_hears_everything_and_the_members_of_a_pool_share(bus: Bus, peers: Peers) -> None:
    number = 200
    transport = RabbitTransport(bus.url)
    async with (
        peers.listener() as alone,
        peers.listener("--pool", "watcher") as first,
        peers.listener("--pool", "watcher") as second,
        peers.listener("--pool", "billing") as billing,
        transport,
        Emitter(transport, host="compute-1") as emitter,
    ):
        volumes = Volumes(emitter)
        await volumes.swap(number // 2)
        all_of_alone, all_of_billing = await alone.take("heard", number), await billing.take("heard", number)
        drained = await bus.drained(*QUEUES, "watcher", "billing")
        parts = [await first.take("heard", 1), await second.take("heard", 1)]
        complaints = [*alone.complaints, *first.complaints, *second.complaints, *billing.complaints]

    assert drained
    assert Counter(volumes.expected) == seen(all_of_alone)
    assert Counter(volumes.expected) == seen(all_of_billing)
    assert Counter(volumes.expected) == seen(parts[0] + parts[1])
    assert [] == complaints


async def test_a_listener_hears_every_topic(bus: Bus, peers: Peers) -> None:
    topics = ("versioned_notifications", "for_billing")
    transport = RabbitTransport(bus.url)
    emitter = Emitter(transport, host="compute-1", topics=topics)
    arguments = [word for topic in topics for word in ("--topic", topic)]
    async with peers.listener(*arguments) as listener, transport, emitter:
        volumes = Volumes(emitter)
        await volumes.swap(10)
        heard = await listener.take("heard", 40)
        drained = await bus.drained(*QUEUES, "for_billing.info", "for_billing.error")

    assert drained
    assert Counter(volumes.expected * 2) == seen(heard)
    assert {2} == set(Counter(told["metadata"]["message_id"] for told in heard).values())
    assert [] == listener.complaints


DECLARED: Final[dict[str, tuple[str, bool, Sections]]] = {
    "emitter first": ("emitter", False, {}),
    "listener first": ("listener", False, {}),
    "durable, emitter first": ("emitter", True, {_RABBIT: {"amqp_durable_queues": True}}),
    "durable, listener first": ("listener", True, {_RABBIT: {"amqp_durable_queues": True}}),
    # An emitter cannot create quorum queues of oslo's: where they are, it uses them.
    "quorum, listener first": ("listener", True, {_RABBIT: {"rabbit_quorum_queue": True}}),
}


@pytest.mark.parametrize(("first", "durable", "sections"), DECLARED.values(), ids=DECLARED.keys())
async def test_default_queues_may_be_declared_before_and_after_a_listener(
    bus: Bus, peers: Peers, first: str, durable: bool, sections: Sections
) -> None:
    transport = RabbitTransport(bus.url, exchange_durable=durable, declare_default_queues=True)
    listener, emitter = peers.listener(sections=sections), Emitter(transport, host="compute-1")
    volumes = Volumes(emitter)
    async with transport:
        if first == "emitter":
            async with emitter:
                await volumes.swap(10)
            alone = await bus.declarations()
            async with listener:
                heard = await listener.take("heard", 20)
        else:
            async with listener:
                alone = await bus.declarations()
                async with emitter:
                    await volumes.swap(10)
                    heard = await listener.take("heard", 20)
    together = await bus.declarations()
    async with peers.nova(sections=sections) as nova:
        nova.command(swaps=1, fail_every=1)
        await nova.take("done", 1)
    held = await bus.holding(2)

    assert Counter(volumes.expected) == seen(heard)
    # a listener also declares queues for priorities that an emitter of swaps never uses
    assert all(row in together[what] for what, rows in alone.items() for row in rows)
    assert [] == [*listener.complaints, *nova.complaints]
    assert 2 == held
