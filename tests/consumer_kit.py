"""What the tests of consumers share: a memory transport on a manual clock, captured messages, and handlers with a script."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from aioswap.health import LinkHealth
from aioswap.testing import ManualClock
from aioswap.transports.base import (
    NOTIFICATION_PROPERTIES,
    Answer,
    Browser,
    Confirmation,
    Delivery,
    Message,
    Receiver,
    Sender,
    Subscription,
)
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.notification import Notification

__all__ = [
    "DEADLINE",
    "END",
    "ERROR",
    "FLAVOR",
    "START",
    "Bus",
    "OddTransport",
    "Script",
    "body_of",
    "notification_body",
    "sample",
    "until",
]

DEADLINE = 20.0
"""Seconds after which a test that waits has failed."""

START, END, ERROR = (f"instance.volume_swap.{phase}" for phase in ("start", "end", "error"))
FLAVOR = "flavor.create"

_SAMPLES = Path(__file__).parent / "samples"
_TURNS = 2_000


@cache
def _capture(name: str) -> Mapping[str, Any]:
    return json.loads((_SAMPLES / f"{name}.json").read_text())  # type: ignore[no-any-return]


def sample(name: str) -> Mapping[str, Any]:
    """Return a captured message by its file's name."""
    return _capture(name)


def body_of(name: str) -> bytes:
    """Return the body of a captured message as it was on the wire."""
    captured = _capture(name)
    return base64.b64decode(captured["body_base64"]) if "body_base64" in captured else captured["body"].encode()


def notification_body(event_type: str = END, *, message_id: str | None = None, instance: str | None = None) -> bytes:
    """Return a captured notification under another id, and about another instance if one is given."""
    name = "nova34-others__" if event_type == FLAVOR else "nova34-v2-default__"
    inner = json.loads(json.loads(_capture(name + event_type)["body"])["oslo.message"])
    inner["message_id"] = message_id or str(uuid4())
    if instance is not None:
        inner["payload"]["nova_object.data"]["uuid"] = instance
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(inner)}).encode()


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until `condition` holds."""
    for _ in range(_TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("what the test waits for does not come")


class OddTransport(MemoryTransport):
    """A memory transport in which something is not as it should be: one method says what."""

    def delivered(self, delivery: Delivery) -> None:
        """Change what a receiver hands over."""

    def browsed(self, delivery: Delivery) -> None:
        """Change what a browser finds."""

    def sending(self, message: Message) -> None:
        """Look at what a sender is given, or raise."""

    @asynccontextmanager
    async def receiver(
        self, subscription: Subscription, deliver: Callable[[Delivery], None], *, label: str, start_timeout: float = 30.0
    ) -> AsyncGenerator[Receiver]:
        def oddly(delivery: Delivery) -> None:
            self.delivered(delivery)
            deliver(delivery)

        async with super().receiver(subscription, oddly, label=label, start_timeout=start_timeout) as receiver:
            yield receiver

    @asynccontextmanager
    async def sender(self, label: str) -> AsyncGenerator[Sender]:
        async with super().sender(label) as sender:
            yield _OddSender(self, sender)

    @asynccontextmanager
    async def browser(self, queue: str) -> AsyncGenerator[Browser]:
        async with super().browser(queue) as browser:
            yield _OddBrowser(self, browser)


class _OddSender:
    def __init__(self, transport: OddTransport, sender: Sender) -> None:
        self._transport = transport
        self._sender = sender

    @property
    def health(self) -> LinkHealth:
        return self._sender.health

    def send(self, message: Message) -> asyncio.Future[Confirmation]:
        self._transport.sending(message)
        return self._sender.send(message)

    def submit(self, message: Message, told: Callable[[Answer], None]) -> None:
        self._transport.sending(message)
        self._sender.submit(message, told)

    async def ready(self) -> None:
        await self._sender.ready()


class _OddBrowser:
    def __init__(self, transport: OddTransport, browser: Browser) -> None:
        self._transport = transport
        self._browser = browser

    async def get(self) -> Delivery | None:
        delivery = await self._browser.get()
        if delivery is not None:
            self._transport.browsed(delivery)
        return delivery


class Bus:
    """A memory transport on a manual clock, and somebody who publishes on it."""

    def __init__(self, transport: Callable[..., MemoryTransport] = MemoryTransport) -> None:
        self.clock = ManualClock()
        self.transport = transport(clock=self.clock)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Open the transport; fail if the body takes too long."""
        async with asyncio.timeout(DEADLINE), self.transport:
            yield

    async def publish(
        self,
        body: bytes,
        *,
        routing_key: str = "versioned_notifications.info",
        exchange: str | None = None,
        headers: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] = NOTIFICATION_PROPERTIES,
        message_id: str | None = None,
    ) -> Confirmation:
        """Publish a message, and return what the broker says."""
        message = Message(
            routing_key=routing_key,
            body=body,
            exchange=exchange,
            headers=headers or {},
            properties=properties,
            message_id=uuid4().hex if message_id is None else message_id,
        )
        async with self.transport.sender("test") as sender:
            return await sender.send(message)

    def depth(self, queue: str) -> int:
        """Return how many messages wait in `queue`."""
        return self.transport.depths()[queue]

    async def look(self, queue: str) -> list[Delivery]:
        """Return what waits in `queue`, and leave it there."""
        found = []
        async with self.transport.browser(queue) as browser:
            while (delivery := await browser.get()) is not None:
                found.append(delivery)
        return found


class Script:
    """A handler that remembers what it hears, and raises what is written, one call after the other; then it returns."""

    def __init__(self, *acts: BaseException | None, clock: ManualClock | None = None) -> None:
        self.heard: list[Notification[Any]] = []
        self.times: list[float] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.finished = 0
        self.cancelled = 0
        self._acts = deque(acts)
        self._clock = clock

    async def handle(self, notification: Notification[Any]) -> None:
        """Hear, wait at the gate, act."""
        self.heard.append(notification)
        if self._clock is not None:
            self.times.append(self._clock.monotonic())
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.finished += 1
        act = self._acts.popleft() if self._acts else None
        if act is not None:
            raise act

    @property
    def ids(self) -> list[str]:
        """The ids of what was heard."""
        return [notification.message_id for notification in self.heard]
