"""A traceback of a user's function is short: few frames of this library stand between the call and what is called."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path
from typing import Any

import aioswap
from aioswap.consumer import Consumer
from aioswap.emitter import Emitter
from aioswap.outbox import MemoryOutbox
from aioswap.transports.base import Message
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification
from tests.bus import DEADLINE


def own_frames() -> list[str]:
    own = Path(aioswap.__file__).parent
    return [frame.name for frame in traceback.extract_stack() if own in Path(frame.filename).parents]


class TracingOutbox(MemoryOutbox):
    def __init__(self) -> None:
        super().__init__()
        self.frames: list[list[str]] = []

    def accept(self, *messages: Message, **room: Any) -> asyncio.Future[None]:
        self.frames.append(own_frames())
        return super().accept(*messages, **room)


async def test_at_most_four_frames_to_the_outbox_and_three_to_a_handler() -> None:
    transport, outbox = MemoryTransport(), TracingOutbox()
    consumer = Consumer(transport)
    handled, done = [], asyncio.Event()

    @consumer.on(volume_swap.end)
    async def hear(notification: Notification[Any]) -> None:
        handled.append(own_frames())
        done.set()

    async with transport, consumer.running(), Emitter(transport, host="c1", outbox=outbox) as emitter:

        @emitter.swap
        async def swap(instance: Any, old_volume_id: str, new_volume_id: str) -> None: ...

        await swap({"uuid": "1"}, "old", "new")
        await asyncio.wait_for(done.wait(), DEADLINE)

    assert [True, True] == [1 <= len(frames) <= 4 for frames in outbox.frames], outbox.frames
    assert 1 <= len(handled[0]) <= 3, handled[0]
