"""The sending connections of the memory transport, and the switches that make connections fail."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from aioswap.errors import TransportError
from aioswap.health import LinkHealth
from aioswap.opened import Opened
from aioswap.transports.answers import settling, tell
from aioswap.transports.base import Answer, Confirmation, Message
from aioswap.transports.limits import impossible
from aioswap.transports.memory_broker import MemoryBroker

__all__ = ["LOST", "MemorySender", "Switches"]

_Told: TypeAlias = Callable[[Answer], None]

LOST: Final = "the connections are cut: call restore()"


@dataclass(slots=True)
class Switches:
    """What goes wrong on purpose, for all connections alike."""

    lost: bool = False
    blocked: bool = False
    held: bool = False
    """Confirmations are."""
    refused: dict[str, Confirmation] = field(default_factory=dict)


class MemorySender:
    """A `Sender`. Messages are in their queues when `send` returns; the answers come in the next turn of the loop."""

    def __init__(self, label: str, broker: MemoryBroker, opened: Opened, switches: Switches) -> None:
        self._label = label
        self._broker = broker
        self._opened = opened
        self._switches = switches
        self._stuck: deque[tuple[_Told, Message]] = deque()
        self._answers: deque[tuple[_Told, Answer]] = deque()
        self._answering = False
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def health(self) -> LinkHealth:
        """Cut, blocked, or fine."""
        connected = not (self._closed or self._switches.lost)
        blocked = connected and self._switches.blocked
        degraded = "the broker is blocked: call unblock()" if blocked else None
        return LinkHealth(connected=connected, blocked=blocked, degraded=LOST if self._switches.lost else degraded)

    def send(self, message: Message) -> asyncio.Future[Confirmation]:
        """Send `message`, as `Sender.send` says."""
        self._check()
        future: asyncio.Future[Confirmation] = asyncio.get_running_loop().create_future()
        self.submit(message, settling(future))
        return future

    def submit(self, message: Message, told: _Told) -> None:
        """Send `message`, as `Sender.submit` says."""
        self._check()
        problem: Exception | None = impossible(message)
        if problem is None and self._switches.lost:
            problem = TransportError(f"{self._label} is not connected: {LOST}")
        if problem is not None:
            asyncio.get_running_loop().call_soon(told, problem)
        elif self._switches.blocked:
            self._stuck.append((told, message))
        else:
            self._publish(told, message)

    async def ready(self) -> None:
        """Wait until nothing is cut or blocked."""
        self._check()
        while self._switches.lost or self._switches.blocked:
            self._changed.clear()
            await self._changed.wait()
            if self._closed:
                raise TransportError(f"{self._label} was closed")

    def changed(self) -> None:
        """Note that a switch has been moved back: what waited goes on."""
        if not (self._switches.lost or self._switches.blocked):
            while self._stuck:
                self._publish(*self._stuck.popleft())
        self._answer_soon()
        self._changed.set()

    def cut(self) -> None:
        """Lose the connection: no answer comes any more. What the broker took stays taken."""
        unanswered = [told for told, _ in (*self._answers, *self._stuck)]
        self._answers.clear()
        self._stuck.clear()
        for told in unanswered:
            tell(told, TransportError(f"{self._label} lost its connection before the broker answered: send it again"))

    def close(self) -> None:
        """Close the connection, at once."""
        self._closed = True
        self.cut()
        self._changed.set()

    def _check(self) -> None:
        if self._closed:
            raise RuntimeError(f"the sender {self._label} is closed: use it inside its `async with`")
        self._opened.check()

    def _publish(self, told: _Told, message: Message) -> None:
        answer: Answer | None = self._switches.refused.get(message.routing_key)
        if answer is None:
            try:
                answer = self._broker.publish(message)
            except LookupError as error:
                answer = TransportError(f"{error}: whoever owns it makes it (a pool's: its consumer)")
        self._answers.append((told, answer))
        self._answer_soon()

    def _answer_soon(self) -> None:
        if self._answers and not self._answering and not self._switches.held:
            self._answering = True
            asyncio.get_running_loop().call_soon(self._answer_all)

    def _answer_all(self) -> None:
        self._answering = False
        while self._answers and not self._switches.held:
            tell(*self._answers.popleft())
