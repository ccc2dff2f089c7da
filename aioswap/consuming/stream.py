"""A stream: notifications one by one, for a reader who asks for the next. It takes nothing from anybody."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic, Self, TypeVar

from aioswap.consuming.copies import bounded
from aioswap.consuming.handlers import misfit
from aioswap.consuming.reading import read
from aioswap.errors import DecodeError
from aioswap.transports.base import Delivery, Subscription, Transport
from aioswap.wire.events import EventPattern
from aioswap.wire.notification import Notification

__all__ = ["Stream", "open_stream"]

_logger = logging.getLogger(__name__)

T = TypeVar("T")


class Stream(AsyncIterator[Notification[T]], Generic[T]):
    """Iterate over it with `async for`, in one task at a time. It has no end but that of its `async with`.

    A notification is acknowledged when the next one is asked for, or on leaving. What the reader has not got to stays on the
    broker: at most `prefetch` notifications are in memory.
    """

    def __init__(self, pattern: EventPattern[T]) -> None:
        self.unreadable = 0
        """Messages that might have been wanted and could not be read: logged, acknowledged, not shown."""
        self._pattern = pattern
        self._waiting: deque[tuple[Delivery, Notification[T]]] = deque()
        self._shown: Delivery | None = None
        self._news = asyncio.Event()
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notification[T]:
        """Acknowledge the notification before, and wait for the next one without limit. Cancelling it loses nothing."""
        self._acknowledge()
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        self._shown, notification = self._waiting.popleft()
        return notification

    def deliver(self, delivery: Delivery) -> None:
        """Take a delivery; returns at once."""
        try:
            notification = read(delivery)
        except DecodeError as error:
            self._leave_out(delivery, str(error))
            return
        if not self._pattern.matches(notification.event_type):
            delivery.ack()
        elif (reason := misfit(self._pattern, notification)) is not None:
            self._leave_out(delivery, reason)
        else:
            self._waiting.append((delivery, notification))
            self._news.set()

    def close(self) -> None:
        """Acknowledge what was shown, and end the iteration."""
        self._acknowledge()
        self._closed = True
        self._waiting.clear()
        self._news.set()

    def _leave_out(self, delivery: Delivery, reason: str) -> None:
        self.unreadable += 1
        _logger.warning("a stream leaves out a message of %r: %r", delivery.routing_key, bounded(reason))
        delivery.ack()

    def _acknowledge(self) -> None:
        if self._shown is not None:
            self._shown.ack()
            self._shown = None


@asynccontextmanager
async def open_stream(
    transport: Transport, pattern: EventPattern[Any], subscription: Subscription, *, label: str, start_timeout: float
) -> AsyncGenerator[Stream[Any]]:
    """Open a stream of what matches `pattern`; entering returns when its queue is bound.

    Raises:
        TransportError: as `Transport.receiver` says.
    """
    stream: Stream[Any] = Stream(pattern)
    async with transport.receiver(subscription, stream.deliver, label=label, start_timeout=start_timeout):
        try:
            yield stream
        finally:
            stream.close()
