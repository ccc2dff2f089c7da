"""A queue of the memory transport: what RabbitMQ does with a durable queue and its arguments.

Source: rabbitmq.com on queues, time to live, length limits, dead letter exchanges and single active consumers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from aioswap.clock import Clock, Timer
from aioswap.transports.base import Message
from aioswap.transports.topology import QueueDeclaration

__all__ = ["Held", "Queue", "QueueHost", "Taker"]


@dataclass(slots=True, eq=False)
class Held:
    """A message in a queue. `position` is its place in order, for as long as it lives."""

    message: Message
    exchange: str
    position: int
    expires_at: float | None
    redelivered: bool = False


class Taker(Protocol):
    """A consumer of queues."""

    @property
    def has_room(self) -> bool:
        """Whether its prefetch allows one more."""
        ...

    def take(self, queue: Queue, held: Held) -> None:
        """Take a message: it is out of the queue until it is given back. Must call no one else's code at once."""
        ...


class QueueHost(Protocol):
    """What a queue lives in."""

    @property
    def clock(self) -> Clock:
        """What times it."""
        ...

    @property
    def running(self) -> bool:
        """Whether timers can be set."""
        ...

    def dead_letter(self, queue: Queue, held: Held, reason: str) -> None:
        """Do with a message that `queue` gives up what its arguments say."""
        ...

    def delete(self, name: str) -> None:
        """Forget a queue that nobody has used for its `x-expires`."""
        ...


class Queue:
    """Messages in order, and who takes them. Everything happens at once, in plain calls.

    Args:
        host: the broker.
        declaration: its name and arguments: x-message-ttl, x-expires, x-max-length, x-max-length-bytes, x-overflow and
            x-single-active-consumer work as in RabbitMQ, the x-dead-letter ones by the host; others mean nothing here.
    """

    def __init__(self, host: QueueHost, declaration: QueueDeclaration) -> None:
        self.name = declaration.name
        self.arguments = dict(declaration.arguments)
        self._host = host
        self._deleted = False
        self._ready: deque[Held] = deque()
        self._bytes = 0
        self._next_position = 0
        self._takers: deque[Taker] = deque()
        self._ttl = self._seconds("x-message-ttl")
        self._ttl_timer: Timer | None = None
        self._unused_for = self._seconds("x-expires")
        self._unused_at: float | None = None
        self._unused_timer: Timer | None = None
        self._max_length: int | None = self.arguments.get("x-max-length")
        self._max_bytes: int | None = self.arguments.get("x-max-length-bytes")
        self._rejects = self.arguments.get("x-overflow") == "reject-publish"
        self._single = bool(self.arguments.get("x-single-active-consumer"))
        self.touch()

    def __len__(self) -> int:
        return len(self._ready)

    def offer(self, message: Message, exchange: str) -> bool:
        """Take a message at the end. False: full, and it rejects (x-overflow reject-publish)."""
        if self._rejects and self._over(1, len(message.body)):
            return False
        expires_at = None if self._ttl is None else self._host.clock.monotonic() + self._ttl
        self._ready.append(Held(message, exchange, self._next_position, expires_at))
        self._next_position += 1
        self._bytes += len(message.body)
        self.hand_over()
        return True

    def give_back(self, held: Held) -> None:
        """Put a message that was taken back at its place, marked as redelivered."""
        if self._deleted:
            return
        held.redelivered = True
        self._ready.insert(bisect_left(self._ready, held.position, key=lambda other: other.position), held)
        self._bytes += len(held.message.body)
        self.hand_over()

    def get(self) -> Held | None:
        """Take the first message without being a consumer (AMQP basic.get). None: empty."""
        self.touch()
        self._expire()
        return self._pop() if self._ready else None

    def add(self, taker: Taker) -> None:
        """Let `taker` consume, after those that do already."""
        self._takers.append(taker)
        self.touch()
        self.hand_over()

    def remove(self, taker: Taker) -> None:
        """End the consuming of `taker`; what it took stays with it."""
        if taker in self._takers:
            self._takers.remove(taker)
            self.touch()
            self.hand_over()

    def hand_over(self) -> None:
        """Give up what is expired, hand over what takers have room for, give up what is too much then."""
        self._expire()
        while self._ready and (taker := self._next_taker()) is not None:
            taker.take(self, self._pop())
        while self._ready and not self._rejects and self._over(0, 0):
            self._host.dead_letter(self, self._pop(), "maxlen")
        if self._ttl is not None:
            self._arm_ttl()

    def touch(self) -> None:
        """Note that the queue is used now: x-expires counts from here, while nobody consumes."""
        if self._unused_for is not None:
            self._unused_at = None if self._takers else self._host.clock.monotonic() + self._unused_for
            self._arm_unused()

    def resume(self) -> None:
        """Go on after `pause`: what fell due meanwhile is due now."""
        self._arm_unused()
        self._arm_ttl()

    def pause(self) -> None:
        """Stop the timers. Their deadlines stay."""
        for timer in (self._ttl_timer, self._unused_timer):
            if timer is not None:
                timer.cancel()
        self._ttl_timer = self._unused_timer = None

    def delete(self) -> None:
        """Lose everything, and take nothing back any more."""
        self._deleted = True
        self.pause()
        self._ready.clear()
        self._takers.clear()

    def _seconds(self, argument: str) -> float | None:
        value: Any = self.arguments.get(argument)
        return None if value is None else value / 1000

    def _over(self, more: int, more_bytes: int) -> bool:
        if self._max_length is not None and len(self._ready) + more > self._max_length:
            return True
        return self._max_bytes is not None and self._bytes + more_bytes > self._max_bytes

    def _pop(self) -> Held:
        held = self._ready.popleft()
        self._bytes -= len(held.message.body)
        return held

    def _expire(self) -> None:
        if self._ttl is None:
            return
        now = self._host.clock.monotonic()
        while self._ready and (at := self._ready[0].expires_at) is not None and at <= now:
            self._host.dead_letter(self, self._pop(), "expired")

    def _next_taker(self) -> Taker | None:
        """Round robin; with x-single-active-consumer the first that came."""
        for _ in range(1 if self._single and self._takers else len(self._takers)):
            taker = self._takers[0]
            if not self._single:
                self._takers.rotate(-1)
            if taker.has_room:
                return taker
        return None

    def _arm_ttl(self) -> None:
        if self._ttl_timer is not None:
            self._ttl_timer.cancel()
            self._ttl_timer = None
        if self._ready and (at := self._ready[0].expires_at) is not None and self._host.running:
            left = max(at - self._host.clock.monotonic(), 0.0)
            self._ttl_timer = self._host.clock.call_later(left, self.hand_over)

    def _arm_unused(self) -> None:
        if self._unused_timer is not None:
            self._unused_timer.cancel()
            self._unused_timer = None
        if self._unused_at is not None and self._host.running:
            left = max(self._unused_at - self._host.clock.monotonic(), 0.0)
            self._unused_timer = self._host.clock.call_later(left, self._unused)

    def _unused(self) -> None:
        self._host.delete(self.name)
