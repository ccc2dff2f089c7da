"""What is emitted is what a consumer gets, whatever it holds."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aioswap.consumer import Consumer
from aioswap.context import RequestContext
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.outbox import MemoryOutbox
from aioswap.testing import ManualClock
from aioswap.transports.base import Message, Reservation
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification
from tests.bus import DEADLINE

VERSIONS = tuple(f"1.{minor}" for minor in range(10))

hostile = st.sampled_from(
    [
        "instance.volume_swap.error",
        '", "event_type": "instance.volume_swap.error", "x": "',
        '\\", \\"event_type\\": \\"instance.volume_swap.error',
        "\ud800 lone",
        "\x00\r\n\x1b[31m",
        "\u2028é😀",
        "nova_object.data",
    ]
)
texts = hostile | st.text(st.characters(codec=None), max_size=40)
maybe = st.none() | texts
ids = st.uuids().map(str) | hostile.filter(bool)

instances = st.fixed_dictionaries(
    {"uuid": ids},
    optional={
        "display_name": maybe,
        "display_description": maybe,
        "hostname": maybe,
        "host": maybe,
        "vm_state": maybe,
        "task_state": maybe,
        "metadata": st.dictionaries(texts, texts, max_size=3),
        "locked": st.booleans(),
        "locked_reason": maybe,
        "progress": st.none() | st.integers(-(2**31), 2**31),
        "block_devices": st.none()
        | st.lists(
            st.fixed_dictionaries(
                {
                    "device_name": maybe,
                    "boot_index": st.none() | st.integers(0, 9),
                    "delete_on_termination": st.booleans(),
                    "volume_id": ids,
                    "tag": maybe,
                }
            ),
            max_size=2,
        ),
    },
)
contexts = st.builds(
    RequestContext,
    request_id=texts,
    global_request_id=maybe,
    user_id=maybe,
    project_id=maybe,
    user_name=maybe,
    project_name=maybe,
    roles=st.lists(texts, max_size=3).map(tuple),
)


class RecordingOutbox(MemoryOutbox):
    """Notes what passes, as the standard library reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.emitted: list[dict[str, Any]] = []

    def accept(
        self, *messages: Message, opens: Reservation | None = None, closes: Reservation | None = None
    ) -> asyncio.Future[None]:
        self.emitted += [json.loads(json.loads(message.body)["oslo.message"]) for message in messages]
        return super().accept(*messages, opens=opens, closes=closes)


async def emit_and_consume(
    instance: dict[str, Any], old: str, new: str, context: RequestContext, version: str, message: str | None
) -> tuple[list[dict[str, Any]], list[Notification[Any]], list[str]]:
    transport, clock = MemoryTransport(), ManualClock()
    consumer = Consumer(transport)
    got: list[Notification[Any]] = []
    dispatched: list[str] = []
    complete = asyncio.Event()

    @consumer.on("#")
    async def everything(notification: Notification[Any]) -> None:
        got.append(notification)
        if len(got) == 2:
            complete.set()

    for event_type in (volume_swap.start, volume_swap.end, volume_swap.error):

        @consumer.on(event_type, name=event_type.name)
        async def one(notification: Notification[Any], expected: str = event_type.name) -> None:
            assert expected == notification.event_type
            dispatched.append(expected)

    outbox = RecordingOutbox()
    async with transport, consumer.running():
        async with Emitter(transport, host="compute-1", pin=version, clock=clock, outbox=outbox) as emitter:
            try:
                async with emitter.swapping(SwapRequest(instance, old, new, context)):
                    if message is not None:
                        raise ValueError(message)
            except ValueError:
                pass
        await asyncio.wait_for(complete.wait(), DEADLINE)
    return outbox.emitted, got, dispatched


@settings(max_examples=200, deadline=None)
@given(instances, ids, ids, contexts, st.sampled_from(VERSIONS), maybe)
def test_any_payload_and_context_survive_emit_and_consume(
    instance: dict[str, Any], old: str, new: str, context: RequestContext, version: str, message: str | None
) -> None:
    emitted, got, dispatched = asyncio.run(emit_and_consume(instance, old, new, context, version, message))

    phase = "end" if message is None else "error"
    assert ["instance.volume_swap.start", f"instance.volume_swap.{phase}"] == dispatched
    assert emitted == [notification.to_wire() for notification in got]
    assert [version] * 2 == [notification.payload.object_version for notification in got]
    assert [context.request_id] * 2 == [notification.context["request_id"] for notification in got]
    assert (old, new) == (got[0].payload.old_volume_id, got[0].payload.new_volume_id)
    assert json.dumps(emitted[0]["payload"]) == json.dumps(got[0].to_wire()["payload"])
