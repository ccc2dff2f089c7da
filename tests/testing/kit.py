"""What the tests of the test kit share."""

from __future__ import annotations

from typing import Any

from aioswap import Consumer, Notification, RetryPolicy, volume_swap
from aioswap.testing import Bus

__all__ = ["Listener", "phases"]


def phases(notifications: list[Notification[Any]]) -> list[str]:
    """Return the last words of the event types."""
    return [notification.event_type.rpartition(".")[2] for notification in notifications]


class Listener:
    """A consumer on a bus, and what its one handler has heard. `acts`: what it raises, one call after the other."""

    def __init__(self, bus: Bus, *acts: Exception, pool: str | None = "listener", attempts: int = 5) -> None:
        self.consumer = Consumer(bus.transport, pool=pool, clock=bus.clock, retry=RetryPolicy(attempts=attempts))
        self.heard: list[Notification[Any]] = []
        self._acts = list(acts)
        self.consumer.on(volume_swap.any, name="listen")(self.listen)

    async def listen(self, notification: Notification[Any]) -> None:
        """Hear, and act."""
        self.heard.append(notification)
        if self._acts:
            raise self._acts.pop(0)
