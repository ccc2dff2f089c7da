"""Faults on demand: what a broker and a network do to notifications, for as long as a `with` lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, TypeAlias

from aioswap.clock import Clock
from aioswap.errors import DecodeError
from aioswap.testing.broker_clock import MemoryOnly
from aioswap.transports.base import Confirmation, Message
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.envelope import decode
from aioswap.wire.events import EventPattern, event_pattern

__all__ = ["Faults", "Mishap"]

_Answer: TypeAlias = asyncio.Future[Confirmation]
_Send: TypeAlias = Callable[[Message], _Answer]

_EVERY: Final = "#"


class Mishap:
    """One fault while it lasts.

    Args:
        wanted: what it befalls.
        limit: how many messages at most; None: no limit.
        act: does it to a message, and returns what its sender hears.
        named: what of a message `wanted` is about.
    """

    def __init__(
        self,
        wanted: EventPattern[Any],
        limit: int | None,
        act: Callable[[Message, _Send], _Answer],
        named: Callable[[Message], str],
    ) -> None:
        self.count = 0
        """Messages that it has befallen."""
        self._wanted = wanted
        self._limit = limit
        self._act = act
        self._named = named

    def befalls(self, message: Message) -> bool:
        """Say whether `message` is the next one."""
        return (self._limit is None or self.count < self._limit) and self._wanted.matches(self._named(message))

    def act(self, message: Message, send: _Send) -> _Answer:
        """Do it to `message`; `send` is how it would go its way."""
        self.count += 1
        return self._act(message, send)


class Faults:
    """What can go wrong, each as a plain `with`: it begins on entering and ends on leaving.

    What befalls messages (`drop`, `duplicate`, `delay`, `reorder`, `refuse`) does so between a sender and the broker, to
    notifications alone (never to the copies by which a pool retries), and works on RabbitMQ, too. The others are the memory
    broker's own, for all connections at once; on RabbitMQ they skip the test. Several faults may last at once; a message
    meets the one that began last.

    Args:
        memory: the transport in memory; None: a real broker.
        clock: times `delay`.
        late: takes messages that go on their way later.
    """

    def __init__(self, memory: MemoryTransport | None, clock: Clock, late: Callable[[Message], None]) -> None:
        self._memory = memory
        self._clock = clock
        self._late = late
        self._mishaps: list[Mishap] = []
        self._lasting: dict[str, int] = {}

    @property
    def stopped(self) -> bool:
        """Whether nothing can be sent or confirmed now."""
        return any(self._lasting.values())

    def pass_on(self, message: Message, send: _Send) -> _Answer:
        """Send `message` by `send`, or do to it what is due."""
        for mishap in reversed(self._mishaps):
            if mishap.befalls(message):
                return mishap.act(message, send)
        return send(message)

    @contextmanager
    def away(self) -> Generator[None]:
        """Cut all connections, and let none be made until the end: then everybody resumes.

        Confirmations still owed are lost, so the relay sends such messages again; deliveries not settled come again.

        Raises:
            MemoryOnly: the broker is a real one.
        """
        memory = self._in_memory("take the broker away")
        with self._lasts("away", memory.lose, memory.restore):
            yield

    @contextmanager
    def blocked(self) -> Generator[None]:
        """Act as a broker with a memory or disk alarm: what is sent waits, unrouted and unconfirmed, until the end.

        Raises:
            MemoryOnly: the broker is a real one.
        """
        memory = self._in_memory("raise an alarm")
        with self._lasts("blocked", memory.block, memory.unblock):
            yield

    @contextmanager
    def slow_confirms(self) -> Generator[None]:
        """Route messages, but confirm none until the end.

        With `away` inside, the broker has the messages and the emitter does not know: they are sent twice.

        Raises:
            MemoryOnly: the broker is a real one.
        """
        memory = self._in_memory("keep confirmations back")
        with self._lasts("slow", memory.hold_confirms, memory.release_confirms):
            yield

    def refuse(self, routing_key: str = _EVERY, *, nack: bool = False) -> AbstractContextManager[Mishap]:
        """Refuse what goes by `routing_key`: return it, as if no queue were bound, or nack it, as full queues do.

        Args:
            routing_key: such as `versioned_notifications.error`, or a pattern: brokers do not know event types.
            nack: nack instead of return.

        Raises:
            ValueError: the pattern is none.
        """
        refusal = Confirmation.NACKED if nack else Confirmation.RETURNED
        mishap = Mishap(
            _pattern(routing_key), None, lambda message, send: _answered(refusal), lambda message: message.routing_key
        )
        return self._befall(mishap)

    def drop(self, pattern: EventPattern[Any] | str = _EVERY, *, n: int | None = None) -> AbstractContextManager[Mishap]:
        """Confirm what matches, and lose it.

        Args:
            pattern: of event types.
            n: so many messages at most; None: all.

        Raises:
            ValueError: the pattern is none.
        """
        return self._befall(_mishap(pattern, n, lambda message, send: _answered(Confirmation.CONFIRMED)))

    def duplicate(self, pattern: EventPattern[Any] | str = _EVERY, *, n: int | None = None) -> AbstractContextManager[Mishap]:
        """Put what matches into the queues twice, as happens when a confirmation is lost.

        Args:
            pattern: of event types.
            n: so many messages at most; None: all.

        Raises:
            ValueError: the pattern is none.
        """

        def twice(message: Message, send: _Send) -> _Answer:
            send(message).add_done_callback(_look)
            return send(message)

        return self._befall(_mishap(pattern, n, twice))

    def delay(
        self, seconds: float, pattern: EventPattern[Any] | str = _EVERY, *, n: int | None = None
    ) -> AbstractContextManager[Mishap]:
        """Confirm what matches at once, and put it into the queues after `seconds` of the bus's clock.

        What is under way stays so when the `with` is left. It is lost when the bus is closed before.

        Args:
            seconds: above 0.
            pattern: of event types.
            n: so many messages at most; None: all.

        Raises:
            ValueError: the pattern is none.
        """

        def later(message: Message, send: _Send) -> _Answer:
            self._clock.call_later(seconds, lambda: self._late(message))
            return _answered(Confirmation.CONFIRMED)

        return self._befall(_mishap(pattern, n, later))

    @contextmanager
    def reorder(self, pattern: EventPattern[Any] | str = _EVERY, *, n: int | None = None) -> Generator[Mishap]:
        """Confirm what matches at once, keep it, and put it into the queues in reverse order.

        Args:
            pattern: of event types.
            n: go on as soon as so many are kept, and keep no more; None: on leaving.

        Raises:
            ValueError: the pattern is none.
        """
        kept: list[Message] = []

        def release() -> None:
            while kept:
                self._late(kept.pop())

        def keep(message: Message, send: _Send) -> _Answer:
            kept.append(message)
            if len(kept) == n:
                release()
            return _answered(Confirmation.CONFIRMED)

        with self._befall(_mishap(pattern, n, keep)) as mishap:
            try:
                yield mishap
            finally:
                release()

    @contextmanager
    def _befall(self, mishap: Mishap) -> Generator[Mishap]:
        self._mishaps.append(mishap)
        try:
            yield mishap
        finally:
            self._mishaps.remove(mishap)

    def _in_memory(self, what: str) -> MemoryTransport:
        if self._memory is None:
            raise MemoryOnly(f"a test cannot {what} that is a real one: others use it")
        return self._memory

    @contextmanager
    def _lasts(self, name: str, begin: Callable[[], None], end: Callable[[], None]) -> Generator[None]:
        begin()
        self._lasting[name] = self._lasting.get(name, 0) + 1
        try:
            yield
        finally:
            self._lasting[name] -= 1
            if not self._lasting[name]:
                end()


def _mishap(pattern: EventPattern[Any] | str, n: int | None, act: Callable[[Message, _Send], _Answer]) -> Mishap:
    return Mishap(_pattern(pattern), n, act, _event_type)


def _pattern(pattern: EventPattern[Any] | str) -> EventPattern[Any]:
    return event_pattern(pattern) if isinstance(pattern, str) else pattern


def _event_type(message: Message) -> str:
    """Return the event type; empty where there is none, which `#` alone matches."""
    try:
        return decode(message.body).event_type
    except DecodeError:
        return ""


def _answered(answer: Confirmation) -> _Answer:
    """Return what a broker says at once: it is heard in a later turn of the loop."""
    loop = asyncio.get_running_loop()
    future: _Answer = loop.create_future()
    loop.call_soon(_answer, future, answer)
    return future


def _answer(future: _Answer, answer: Confirmation) -> None:
    if not future.done():
        future.set_result(answer)


def _look(future: _Answer) -> None:
    """Take note of a failure that nobody waits for: asyncio would log it."""
    future.exception()
