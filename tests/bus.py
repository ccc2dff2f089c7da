"""A pool on the memory transport that keeps what is emitted, to be read when all is over: in another loop if need be."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from aioswap.transports.base import Subscription
from aioswap.transports.memory import MemoryTransport
from aioswap.transports.topology import pool_queue
from aioswap.wire.envelope import decode
from aioswap.wire.notification import Notification

__all__ = ["DEADLINE", "declare", "phases", "run", "told"]

DEADLINE = 20.0
"""Seconds after which a test that waits has failed."""

POOL = "witness"


async def declare(transport: MemoryTransport, topics: Sequence[str] = ("versioned_notifications",)) -> None:
    """Bind the witness's queue, in an opened transport."""
    async with transport.receiver(Subscription(pool=POOL, topics=topics), lambda delivery: delivery.requeue(), label="witness"):
        pass


async def told(transport: MemoryTransport) -> list[Notification[Any]]:
    """Take every notification that was emitted since, in order, from an opened transport."""
    notifications = []
    async with transport.browser(pool_queue(POOL)) as browser:
        while (delivery := await browser.get()) is not None:
            assert delivery.body is not None
            notifications.append(decode(delivery.body))
            delivery.ack()
    return notifications


def phases(notifications: list[Notification[Any]]) -> list[str]:
    """Return the last words of the event types."""
    return [notification.event_type.rsplit(".", 1)[-1] for notification in notifications]


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run `main` in a loop of its own, as a program does."""
    return asyncio.run(main)
