"""The bytes of a real Nova and of an emitter side by side, as they go to the broker."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

import pytest

from aioswap.context import RequestContext
from aioswap.emitter import Emitter
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.envelope import decode, encode
from aioswap.wire.events import volume_swap
from aioswap.wire.instances import swap_payload
from tests.broker import Proxy
from tests.interop.bus import Bus
from tests.interop.frames import Published, published
from tests.interop.peers import Peers

pytestmark = pytest.mark.interop

PHASES: Final = {event.name: event for event in (volume_swap.start, volume_swap.end, volume_swap.error)}

_FULL: Final = {"notifications": {"bdms_in_notifications": True, "include_share_mapping": True}}
_MANDATORY: Final = 1
_FLAGS: Final = slice(12, 14)
_MESSAGE_ID_FLAG: Final = 0x80
_SIZE: Final = slice(4, 12)

FRESH: Final = ("message_id", "timestamp", "_unique_id", "_context_timestamp")
"""What is new in each message, whoever emits it."""


def inner(body: bytes) -> list[tuple[str, Any]]:
    """Return the inner message with all keys in order, at every depth."""
    envelope = json.loads(body)
    assert {"oslo.version", "oslo.message"} == envelope.keys()
    assert "2.0" == envelope["oslo.version"]
    pairs: list[tuple[str, Any]] = json.loads(envelope["oslo.message"], object_pairs_hook=list)
    return pairs


def without(pairs: list[tuple[str, Any]], names: tuple[str, ...]) -> list[tuple[str, Any]]:
    return [(name, None if name in names else value) for name, value in pairs]


async def both(bus: Bus, peers: Peers) -> tuple[list[Published], list[Published]]:
    """Let Nova emit two swaps and an emitter the same after it; return what each published."""
    async with Proxy(bus.url) as before_nova, Proxy(bus.url) as before_ours:
        async with peers.nova(sections=_FULL, url=before_nova.url.replace("amqp://", "rabbit://")) as nova:
            nova.command(swaps=2, fail_every=2)
            await nova.take("done", 1)
        theirs = published(before_nova.sent)
        transport = RabbitTransport(before_ours.url)
        async with transport, Emitter(transport, host="compute-1") as emitter:
            for message in theirs:
                notification = decode(message.body)
                await emitter.emit(PHASES[notification.event_type], notification.payload, context=notification.context)
            await emitter.flush(30)
        return theirs, published(before_ours.sent)


async def test_an_emitter_publishes_what_nova_publishes(bus: Bus, peers: Peers) -> None:
    theirs, ours = await both(bus, peers)

    assert (4, 4) == (len(theirs), len(ours))
    for their, our in zip(theirs, ours, strict=True):
        # exchange and routing key; that an unroutable message is returned is the one bit that differs
        assert their.method[:-1] == our.method[:-1]
        assert their.method[-1] | _MANDATORY == our.method[-1]
        # content type, content encoding, headers, delivery mode, priority; the message id is aioswap's own, after them
        flags = int.from_bytes(their.header[_FLAGS])
        assert (0xF800, 0xF800 | _MESSAGE_ID_FLAG) == (flags, int.from_bytes(our.header[_FLAGS]))
        values, message_id = their.header[_FLAGS.stop :], dict(inner(our.body))["_unique_id"]
        assert values + bytes([len(message_id)]) + message_id.encode() == our.header[_FLAGS.stop :]
        assert (len(their.body), len(our.body)) == tuple(int.from_bytes(one.header[_SIZE]) for one in (their, our))
        # every key and value, in Nova's order, at every depth
        assert without(inner(their.body), FRESH) == without(inner(our.body), FRESH)
        # and what is new has Nova's form
        for name in FRESH:
            was, now = dict(inner(their.body))[name], dict(inner(our.body))[name]
            assert (type(was), len(was)) == (type(now), len(now)), name


async def test_what_nova_wrote_is_written_back(bus: Bus, peers: Peers) -> None:
    theirs, _ = await both(bus, peers)

    for message in theirs:
        assert inner(message.body) == inner(encode(decode(message.body)))
        assert message.body == json.dumps({**json.loads(message.body)}).encode(), "Nova writes as the standard library does"


NOT_FOUND: Final = {
    "ip_addresses": "Nova takes them from its network cache: a service gives them by the payload's name",
    "block_devices": "Nova looks them up in its database, if it is told to send them",
    "shares": "Nova looks them up in its database, if it is told to send them",
    "locked_reason": "Nova finds it in the instance's system metadata: a service gives it by the payload's name",
}
"""Fields whose source is no attribute of Nova's instance -> why they may differ."""


TIMES: Final = ("created_at", "updated_at", "launched_at")


@pytest.mark.parametrize("arguments", [(), ("--sparse",)], ids=["full", "sparse"])
async def test_an_instance_of_nova_gives_the_payload_that_nova_makes_of_it(peers: Peers, arguments: tuple[str, ...]) -> None:
    async with peers.nova(*arguments, sections=_FULL) as nova:
        told = nova.ready
        nova.command(swaps=1, fail_every=2)
        start, _ = await nova.take("emitted", 2)
    theirs = start["payload"]["nova_object.data"]
    ids = theirs["old_volume_id"], theirs["new_volume_id"]
    times = {name: datetime.fromisoformat(told["instance"][name]) for name in TIMES if told["instance"][name]}
    ours = swap_payload(told["instance"] | times, *ids, context=RequestContext.of(told["context"])).to_wire()[
        "nova_object.data"
    ]
    differing = [name for name in theirs if json.dumps(theirs[name]) != json.dumps(ours[name])]

    assert list(theirs) == list(ours)
    assert [] == [name for name in differing if name not in NOT_FOUND]


@pytest.mark.parametrize("text", ["2026-11-22T14:08:21+00:00", "2026-11-22 14:08:21", "2026-11-22T15:08:21.5+01:00"])
def test_a_time_in_text_is_written_as_nova_writes_it(text: str) -> None:
    payload = swap_payload({"uuid": "an id", "created_at": text}, "old", "new")

    assert "2026-11-22T14:08:21Z" == payload.to_wire()["nova_object.data"]["created_at"]
