"""A consumer beside a real Nova: everything that Nova's own classes emit by oslo.messaging arrives, once, typed and equal."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Final

import pytest

from aioswap.consumer import Consumer
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.events import EventType, volume_swap
from aioswap.wire.notification import InstanceActionVolumeSwapNotification, Notification
from aioswap.wire.payloads import BlockDevicePayload, ExceptionPayload, InstanceActionVolumeSwapPayload, SharePayload
from tests.interop.bus import Bus
from tests.interop.heard import Heard
from tests.interop.peers import DEADLINE, Peers, Sections

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

NUMBER: Final = 1000
FAIL_EVERY: Final = 4

_FULL: Final = {"bdms_in_notifications": True, "include_share_mapping": True}
_RABBIT: Final = "oslo_messaging_rabbit"


@dataclass(frozen=True)
class Variant:
    """A Nova that is configured in its own way."""

    sections: Sections
    durable: bool = False
    arguments: tuple[str, ...] = ()
    quorum: bool = False

    @property
    def full(self) -> bool:
        """Are block devices and shares sent?"""
        return "bdms_in_notifications" in self.sections.get("notifications", {})


VARIANTS: Final = {
    "default": Variant({}),
    "full": Variant({"notifications": _FULL}),
    "sparse": Variant({}, arguments=("--sparse",)),
    "durable": Variant({"notifications": _FULL, _RABBIT: {"amqp_durable_queues": True}}, durable=True),
    "quorum": Variant({"notifications": _FULL, _RABBIT: {"rabbit_quorum_queue": True}}, durable=True, quorum=True),
    "gzip": Variant({"notifications": _FULL, _RABBIT: {"kombu_compression": "gzip"}}),
    "bzip2": Variant({_RABBIT: {"kombu_compression": "bzip2"}}),
    "bare": Variant({"oslo_messaging_notifications": {"driver": ["messaging", "log"]}}),
}


def by_instance(emitted: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the message ids of each instance, in order."""
    ids = defaultdict(list)
    for told in emitted:
        ids[told["payload"]["nova_object.data"]["uuid"]].append(told["message_id"])
    return ids


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
async def test_a_consumer_hears_everything_that_nova_emits(bus: Bus, peers: Peers, variant: Variant) -> None:
    heard = Heard(NUMBER)
    transport = RabbitTransport(bus.url, exchange_durable=variant.durable)
    consumer = Consumer(transport, "interop", quorum=variant.quorum)
    consumer.on(volume_swap.any)(heard.handle)
    async with transport, consumer.running(), peers.nova(*variant.arguments, sections=variant.sections) as nova:
        nova.command(swaps=NUMBER // 2, fail_every=FAIL_EVERY)
        emitted = await nova.take("emitted", NUMBER)
        await heard.complete()

    assert NUMBER == len(heard.notifications)
    assert sorted(emitted, key=itemgetter("message_id")) == sorted(heard.wire, key=itemgetter("message_id"))
    assert by_instance(emitted) == by_instance(heard.wire)
    assert [] == nova.complaints
    assert (0, 0, 0) == (consumer.health().duplicates, consumer.health().retried, consumer.health().dead_letters)
    check_types(heard.notifications, full=variant.full)


def check_types(notifications: list[InstanceActionVolumeSwapNotification], *, full: bool) -> None:
    """Compare classes, since equal JSON says nothing about them."""
    failed = NUMBER // 2 // FAIL_EVERY
    phases = [notification.event_type.rpartition(".")[2] for notification in notifications]
    payloads = [notification.payload for notification in notifications]
    devices = [device for payload in payloads for device in payload.block_devices or ()]
    shares = [share for payload in payloads for share in payload.shares or ()]
    faults = [payload.fault for payload in payloads if payload.fault is not None]

    assert (NUMBER // 2, NUMBER // 2 - failed, failed) == tuple(phases.count(phase) for phase in ("start", "end", "error"))
    assert {InstanceActionVolumeSwapPayload} == {type(payload) for payload in payloads}
    assert {datetime} == {type(payload.created_at) for payload in payloads}
    assert {UTC.utcoffset(None)} == {notification.timestamp.utcoffset() for notification in notifications}
    assert failed == len(faults)
    assert {(ExceptionPayload, "VolumeNotFound")} == {(type(fault), fault.exception) for fault in faults}
    assert all(payload.request_id == told.context["request_id"] for payload, told in zip(payloads, notifications, strict=True))
    assert {None} == {notification.context["auth_token"] for notification in notifications}
    assert ([BlockDevicePayload] * NUMBER if full else []) == [type(device) for device in devices]
    assert ([SharePayload] * NUMBER if full else []) == [type(share) for share in shares]
    assert {full} == {payload.block_devices is not None and payload.shares is not None for payload in payloads}


async def test_a_consumer_of_two_topics_hears_both_copies_of_each(bus: Bus, peers: Peers) -> None:
    topics = ("versioned_notifications", "for_billing")
    heard = Heard(40)
    transport = RabbitTransport(bus.url, exchange_durable=False)
    consumer = Consumer(transport, "interop", topics=topics)
    consumer.on(volume_swap.any)(heard.handle)
    sections = {"notifications": {"versioned_notifications_topics": ",".join(topics)}}
    async with transport, consumer.running(), peers.nova(sections=sections) as nova:
        nova.command(swaps=10, fail_every=5)
        emitted = await nova.take("emitted", 20)
        await heard.complete()

    by_id = itemgetter("message_id")
    assert sorted(emitted * 2, key=by_id) == sorted(heard.wire, key=by_id)
    assert 40 == len({notification.unique_id for notification in heard.notifications})
    assert [] == nova.complaints


async def test_a_consumer_that_shares_the_default_queues_reads_what_nova_has_left_there(bus: Bus, peers: Peers) -> None:
    heard = Heard(20)
    transport = RabbitTransport(bus.url)
    consumer = Consumer(transport, shared=True)
    consumer.on(volume_swap.any)(heard.handle)
    async with peers.nova() as nova:
        nova.command(swaps=10, fail_every=5)
        emitted = await nova.take("emitted", 20)
        await nova.take("done", 1)
    async with transport, consumer.running():
        await heard.complete()

    assert sorted(emitted, key=itemgetter("message_id")) == sorted(heard.wire, key=itemgetter("message_id"))
    assert {"versioned_notifications.info": 0, "versioned_notifications.error": 0} == await bus.depths()


async def test_an_exception_of_an_operation_is_typed_and_tells_its_request(bus: Bus, peers: Peers) -> None:
    heard: asyncio.Queue[Notification[ExceptionPayload]] = asyncio.Queue()
    transport = RabbitTransport(bus.url, exchange_durable=False)
    consumer = Consumer(transport, "interop")
    consumer.on(EventType("compute.exception", ExceptionPayload))(heard.put)
    async with transport, consumer.running(), peers.nova() as nova, asyncio.timeout(DEADLINE):
        nova.command(broken=1)
        notification = await heard.get()

    assert ExceptionPayload is type(notification.payload)
    assert ("VolumeNotFound", "_fail") == (notification.payload.exception, notification.payload.function_name)
    assert nova.ready["context"]["request_id"] == notification.context["request_id"]
    assert [] == nova.complaints
