"""What the tests of trackers share: a bus on which notifications are said, and a wait for what must be heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aioswap.transports.base import Message
from aioswap.wire.envelope import encode
from aioswap.wire.notification import Notification
from tests.consumer_kit import Bus

__all__ = ["Air", "until"]


class Air(Bus):
    """A memory transport on a manual clock, and somebody who says notifications on it."""

    def put(self, *notifications: Notification[Any]) -> None:
        """Let the broker take notifications, whoever is connected."""
        for notification in notifications:
            key = f"versioned_notifications.{notification.priority.lower()}"
            message = Message(routing_key=key, body=encode(notification), message_id=notification.message_id)
            self.transport._broker.publish(message)

    async def say(self, *notifications: Notification[Any]) -> None:
        """Let the broker take notifications, and everybody hear them."""
        self.put(*notifications)
        await self.clock.advance(0)

    def queues(self) -> list[str]:
        """Return the queues that there are."""
        return sorted(self.transport.depths())


async def until(condition: Callable[[], object]) -> None:
    """Let the loop and its threads work until `condition` holds; the test's own deadline ends it."""
    while not condition():
        await asyncio.to_thread(lambda: None)
