"""What aioswap emits here: the captured swap, made in Python as a service would, and its pacing."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from typing import Any, Final

from aioswap.context import RequestContext
from aioswap.outbox import MemoryOutbox
from aioswap.transports.base import Entry
from aioswap.wire.envelope import decode
from aioswap.wire.instances import swap_payload
from aioswap.wire.notification import Notification, new_message_id
from aioswap.wire.payloads import InstanceActionVolumeSwapPayload, InstancePayload
from aioswap.wire.writing import PackedContext
from benchmarks.notifications import BODY, CONTEXT, EVENT_TYPE, PUBLISHER_ID

__all__ = ["CONTEXT_OF_REQUEST", "NEW", "OLD", "PacedOutbox", "instance", "mapping", "notification", "payload"]

CONTEXT_OF_REQUEST: Final = RequestContext.of(CONTEXT)
_CAPTURED: Final = decode(BODY).payload
OLD, NEW = _CAPTURED.old_volume_id, _CAPTURED.new_volume_id


def payload() -> InstanceActionVolumeSwapPayload:
    """Return the captured payload, made anew: nothing of it was read from bytes."""
    return swap_payload(mapping(), OLD, NEW, context=CONTEXT_OF_REQUEST)


def instance() -> InstancePayload:
    """Return the captured instance as a service may keep it: typed."""
    return InstancePayload(**{name: getattr(payload(), name) for name in InstancePayload.model_fields})


def mapping() -> dict[str, Any]:
    """Return the captured instance as a service may keep it: plain values."""
    fields: dict[str, Any] = _CAPTURED.model_dump(exclude={"old_volume_id", "new_volume_id", "fault"})
    return fields


def notification(kept: Any = None) -> Notification[InstanceActionVolumeSwapPayload]:
    """Return a new notification as an emitter makes it, of what a service keeps: the mapping, unless told."""
    now = datetime.now(UTC)
    return Notification(
        message_id=new_message_id(),
        publisher_id=PUBLISHER_ID,
        event_type=EVENT_TYPE,
        priority="INFO",
        timestamp=now,
        payload=payload() if kept is None else swap_payload(kept, OLD, NEW, context=CONTEXT_OF_REQUEST),
        context=PackedContext(CONTEXT_OF_REQUEST, now),
        unique_id=os.urandom(16).hex(),
    )


class PacedOutbox(MemoryOutbox):
    """A memory outbox that says when a confirm has made room: so many are accepted and unconfirmed, and no more."""

    def __init__(self, window: int) -> None:
        super().__init__(max_messages=max(window, 2), max_bytes=max(window, 16) * 8192)
        self._free = window
        self._freed = asyncio.Event()

    async def room(self) -> None:
        """Wait until one more may be accepted."""
        while self._free == 0:
            self._freed.clear()
            await self._freed.wait()
        self._free -= 1

    def confirm(self, entry: Entry) -> None:
        """Remove what the broker has confirmed, and tell who waits."""
        super().confirm(entry)
        self._free += 1
        self._freed.set()
