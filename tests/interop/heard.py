"""A handler that keeps what it is given."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from aioswap.wire.notification import InstanceActionVolumeSwapNotification
from tests.interop.peers import DEADLINE

__all__ = ["Heard"]

_LOGGED = ("message_id", "publisher_id", "event_type", "priority", "payload", "timestamp")


@dataclass
class Heard:
    """What a handler was given, in order.

    Args:
        expected: how many notifications there should be.
    """

    expected: int
    notifications: list[InstanceActionVolumeSwapNotification] = field(default_factory=list)
    _complete: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, notification: InstanceActionVolumeSwapNotification) -> None:
        """Keep a notification."""
        self.notifications.append(notification)
        if len(self.notifications) >= self.expected:
            self._complete.set()

    async def complete(self) -> None:
        """Wait until there are as many as expected."""
        try:
            async with asyncio.timeout(DEADLINE):
                await self._complete.wait()
        except TimeoutError:
            raise AssertionError(f"{len(self.notifications)} of {self.expected} notifications heard") from None

    @property
    def wire(self) -> list[dict[str, Any]]:
        """What was heard, as oslo's log driver writes it."""
        inner = [notification.to_wire() for notification in self.notifications]
        return [{name: message[name] for name in _LOGGED} for message in inner]
