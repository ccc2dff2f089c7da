"""Time on a real broker: what it measures itself cannot be moved by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from unittest import SkipTest

from aioswap.testing.clock import ManualClock

__all__ = ["BrokerClock", "MemoryOnly"]


class MemoryOnly(SkipTest):
    """The test asks for something that only the bus in memory can do. pytest and unittest skip it, with this reason."""


class BrokerClock(ManualClock):
    """A manual clock beside a real broker.

    What it was given to (emitters, consumers, trackers) is moved by hand, as by `ManualClock`. What RabbitMQ measures, the
    wait before a retry, takes its real time: `advance` waits for that, too.

    Args:
        start: the wall clock's time to begin with, aware.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        super().__init__(start)
        self.broker_waits: Callable[[float], Awaitable[None]] = _nothing
        """Really waits for what the broker has to do within so many seconds. A `Bus` sets it."""

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass, as `ManualClock.advance` does, after really waiting for the retries that are due meanwhile.

        Raises:
            ValueError: `seconds` is negative.
            MemoryOnly: a retry would have to be waited for longer than 10 seconds.
        """
        await self.broker_waits(seconds)
        await super().advance(seconds)


async def _nothing(seconds: float) -> None:
    pass
