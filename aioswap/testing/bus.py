"""The bus of a test: a transport to hand to what is tested, everything that came over it, and its faults."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Self, TypeVar, overload

from aioswap.context import RequestContext
from aioswap.dead_letters import DeadLetter, DeadLetters
from aioswap.errors import DecodeError, TransportError
from aioswap.opened import Opened
from aioswap.testing.broker_clock import BrokerClock, MemoryOnly
from aioswap.testing.clock import ManualClock
from aioswap.testing.factory import Factory
from aioswap.testing.faults import Faults
from aioswap.testing.names import Names
from aioswap.testing.nova import NovaSwap
from aioswap.testing.report import difference, listed
from aioswap.testing.traffic import MARK, Traffic
from aioswap.testing.transport import BusTransport, Ear
from aioswap.transports.base import Confirmation, Delivery, Message, Sender, Subscription, Transport
from aioswap.transports.memory import MemoryTransport
from aioswap.transports.rabbit import RabbitTransport
from aioswap.transports.rabbit_removal import remove
from aioswap.wire.envelope import decode, encode
from aioswap.wire.events import EventPattern, event_pattern
from aioswap.wire.notification import Notification

__all__ = ["Bus"]

_logger = logging.getLogger(__name__)

_WITNESS: Final = "the bus itself"
_WAIT: Final = 5.0
_CONNECT_WAIT: Final = 10.0
_REMOVAL_WAIT: Final = 10.0

T = TypeVar("T")


class Bus:
    """A bus of a test's own. Open it by `async with`; what is tested is opened inside, on `transport`.

    In memory or on a RabbitMQ, the code that runs is aioswap's own: encoding, confirmations, acknowledgement, retries and
    dead letters. The bus listens itself, to everything on the notification exchange and from its opening on. So no message
    is ever unroutable here; `faults.refuse` makes it so.

    On a RabbitMQ it has an exchange of its own, its pools get a prefix that nobody in the test sees, and all of it is deleted
    on leaving. What only memory can do raises `MemoryOnly` there, which skips the test.

    Timeouts are real seconds, not the clock's.

    Args:
        url: of a RabbitMQ; None: in memory.
        clock: times queues in memory; None: a `ManualClock`, or a `BrokerClock` with a URL. Give it to what is tested, too.
        factory: makes what `nova_swap` tells; None: one with the same clock.

    Raises:
        ValueError: the URL cannot be read; the text does not show it.
    """

    def __init__(self, *, url: str | None = None, clock: ManualClock | None = None, factory: Factory | None = None) -> None:
        self.clock = clock or (ManualClock() if url is None else BrokerClock())
        """What moves retries, expiry and deadlines: `await bus.clock.advance(seconds)`."""
        self.factory = factory or Factory(clock=self.clock)
        """What makes payloads and notifications."""
        self.unreadable: list[bytes] = []
        """Bodies that came and are no notification."""
        self._url = url
        self._names = Names("" if url is None else f"t{os.urandom(6).hex()}")
        self._memory = MemoryTransport(clock=self.clock) if url is None else None
        inner: Transport = self._memory or RabbitTransport(url or "", exchange=self._names.exchange, exchange_durable=False)
        self._traffic = Traffic(self.clock)
        if isinstance(self.clock, BrokerClock):
            self.clock.broker_waits = self._traffic.retried
        self.faults = Faults(self._memory, self.clock, self._send_later)
        """What can go wrong: `with bus.faults.away(): ...`."""
        self._transport = BusTransport(inner, self.faults, self._traffic, self._names)
        self._opened = Opened("this bus")
        self._stack = AsyncExitStack()
        self._came: list[Notification[Any]] = []
        self._late: deque[Message] = deque()
        self._raw: Sender | None = None
        self._sender: Sender | None = None

    @property
    def transport(self) -> Transport:
        """What to give to an Emitter, a Consumer, a SwapTracker, or a function that opens its transport itself."""
        return self._transport

    @property
    def memory(self) -> MemoryTransport:
        """The transport in memory, for what a bus does not offer: the depths of queues, declaring others' queues.

        Raises:
            MemoryOnly: the broker is a real one.
        """
        if self._memory is None:
            raise MemoryOnly("a test cannot look into a real broker")
        return self._memory

    async def __aenter__(self) -> Self:
        """Connect, and listen.

        Raises:
            RuntimeError: it is open already, or a fault lasts.
            TransportError: the RabbitMQ is away, or refuses.
        """
        if self.faults.stopped:
            raise RuntimeError("a fault lasts already: open the bus before it begins")
        self._opened.open()
        self._traffic.open()
        self._late.clear()
        try:
            async with AsyncExitStack() as stack:
                if self._url is not None:
                    stack.push_async_callback(self._remove, self._url)
                await stack.enter_async_context(self._transport)
                self._raw = await stack.enter_async_context(self._transport.inner.sender(_WITNESS))
                self._sender = await stack.enter_async_context(self._transport.sender(_WITNESS))
                everything = Subscription(topics=("#",), priorities=("*",))
                await stack.enter_async_context(
                    self._transport.receiver(everything, self._hear, label=_WITNESS, start_timeout=_CONNECT_WAIT)
                )
                posting = asyncio.create_task(self._posting(self._raw), name="aioswap test bus")
                stack.push_async_callback(_ended, posting)
                self._stack = stack.pop_all()
        except BaseException:
            self._opened.close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close, and delete what was made on a RabbitMQ. What came stays readable."""
        self._opened.check()
        try:
            await self._stack.aclose()
        finally:
            self._opened.close()

    @overload
    def notifications(self, pattern: EventPattern[T]) -> list[Notification[T]]: ...
    @overload
    def notifications(self, pattern: str = "#") -> list[Notification[Any]]: ...
    def notifications(self, pattern: EventPattern[Any] | str = "#") -> list[Notification[Any]]:
        """Return what has come so far, every copy, in the order of its coming.

        Args:
            pattern: of event types: `*` is one word, `#` any number.

        Raises:
            ValueError: the pattern is none.
        """
        wanted = _pattern(pattern)
        return [each for each in self._came if wanted.matches(each.event_type)]

    @overload
    async def wait_for(self, pattern: EventPattern[T], n: int = 1, *, timeout: float = _WAIT) -> list[Notification[T]]: ...
    @overload
    async def wait_for(self, pattern: str, n: int = 1, *, timeout: float = _WAIT) -> list[Notification[Any]]: ...
    async def wait_for(
        self, pattern: EventPattern[Any] | str, n: int = 1, *, timeout: float = _WAIT
    ) -> list[Notification[Any]]:
        """Wait until at least `n` notifications have come since the bus was opened first, and return all of them.

        Args:
            pattern: of event types.
            n: how many.
            timeout: real seconds.

        Raises:
            AssertionError: they do not come; the text says what came.
            ValueError: the pattern is none.
        """
        self._opened.check()
        wanted = _pattern(pattern)
        try:
            async with asyncio.timeout(timeout):
                while len(self.notifications(wanted)) < n:
                    await self._traffic.news()
        except TimeoutError:
            found = len(self.notifications(wanted))
            text = f"{n} of {wanted.pattern} should have come within {timeout:g} s, and {found} did; what came:"
            raise AssertionError(f"{text}\n{listed(self._came)}{self._hint()}") from None
        return self.notifications(wanted)

    @asynccontextmanager
    async def expects(
        self, *expected: EventPattern[Any] | str, among: EventPattern[Any] | str = "#", timeout: float = _WAIT
    ) -> AsyncGenerator[list[Notification[Any]]]:
        """Expect exactly these notifications while the `async with` lasts, in this order: no other, and none twice.

        Leaving waits until they have come and nothing more is on its way. The list that it yields is filled then.

        Args:
            expected: event types or patterns of them, one for each notification; none: silence.
            among: what does not match is not looked at.
            timeout: real seconds that leaving may take.

        Raises:
            AssertionError: (on leaving) something else came; the text shows both. The body's own exception goes on unchanged.
            ValueError: a pattern is none.
        """
        self._opened.check()
        wanted, patterns = _pattern(among), [_pattern(each) for each in expected]
        begin, seen = len(self._came), list[Notification[Any]]()

        def came() -> list[Notification[Any]]:
            return [each for each in self._came[begin:] if wanted.matches(each.event_type)]

        yield seen
        try:
            async with asyncio.timeout(timeout):
                while len(came()) < len(patterns):
                    await self._traffic.news()
                await self._quiet(handled=False)
        except TimeoutError:
            pass  # what came so far is judged
        seen += came()
        differs = difference(patterns, seen)
        if differs:
            raise AssertionError(f"other notifications than expected (- is missing, + is too much):\n{differs}{self._hint()}")

    async def settled(self, timeout: float = _WAIT) -> None:
        """Wait until nothing moves any more by itself.

        That is: what was emitted is confirmed, all queues that somebody reads are empty, and every delivery is settled. A
        retry that waits is settled: the clock moves it. While a fault keeps messages from going, they are not waited for.
        What an open `stream` was not asked for yet is not settled.

        Args:
            timeout: real seconds.

        Raises:
            AssertionError: something still moves; the text says what.
        """
        self._opened.check()
        try:
            async with asyncio.timeout(timeout):
                await self._quiet(handled=True)
        except TimeoutError:
            raise AssertionError(f"the bus is not settled after {timeout:g} s{self._hint()}") from None

    async def dead_letters(self, pool: str) -> Sequence[DeadLetter]:
        """Return the dead letters of a pool, the oldest first; a hundred at most.

        Raises:
            ValueError: no name of a pool.
            TransportError: the pool has none of its queues yet: start its consumer once.
        """
        return await DeadLetters(self._transport, pool, clock=self.clock).list()

    async def publish(
        self, what: Notification[Any] | bytes, *, topic: str = "versioned_notifications", priority: str | None = None
    ) -> None:
        """Put a notification on the bus, or any bytes, as somebody else would; return when the broker has it.

        Args:
            what: bytes go as they are.
            topic: the first part of the routing key.
            priority: its last word, in lower case; None: the notification's, or info.

        Raises:
            TransportError: a fault lasts in which nothing can be sent, or the broker refuses it.
        """
        self._opened.check()
        assert self._sender is not None
        if self.faults.stopped:
            raise TransportError("nothing can be published while this fault lasts: publish before or after it")
        body = what if isinstance(what, bytes) else encode(what)
        key = f"{topic}.{priority or ('info' if isinstance(what, bytes) else what.priority.lower())}"
        try:
            async with asyncio.timeout(_WAIT):
                await self._sender.ready()
                answer = await self._sender.send(Message(routing_key=key, body=body, message_id=os.urandom(16).hex()))
        except TimeoutError:
            raise TransportError(f"the broker does not answer within {_WAIT:g} s: {self._sender.health.degraded}") from None
        if answer is not Confirmation.CONFIRMED:
            raise TransportError(f"the broker has {answer} what was published")

    def nova_swap(
        self, *, version: str = "1.9", host: str = "compute-1", context: RequestContext | None = None, **fields: Any
    ) -> NovaSwap:
        """Return a swap that tells of itself as Nova does, step by step: `await swap.start()`, or all at once: `run()`.

        Args:
            version: of the payloads, 1.0 to 1.9.
            host: where it happens.
            context: who asked; None: a new one.
            fields: of the payloads, such as `uuid`, `old_volume_id`; see `Factory.payload`.
        """
        return NovaSwap(self.publish, self.factory, version=version, host=host, context=context, fields=fields)

    def _hear(self, delivery: Delivery) -> None:
        body = delivery.original if delivery.body is None else delivery.body
        try:
            self._came.append(decode(body))
        except DecodeError:
            self.unreadable.append(body)
        delivery.ack()

    def _hint(self) -> str:
        """Return more lines for an error: what else is known."""
        busy = self._traffic.busy(stopped=False)
        lines = [f"under way: {busy}"] if busy else []
        lines += [f"and {len(self.unreadable)} messages that are no notifications"] if self.unreadable else []
        return "".join(f"\n{line}" for line in lines)

    async def _quiet(self, *, handled: bool) -> None:
        """Return when nothing is under way and the queues have handed over all that was in them."""

        def busy() -> str:
            return self._traffic.busy(stopped=self.faults.stopped, handled=handled)

        while True:
            await self._traffic.calm(busy)
            moves = self._traffic.moves
            if not self.faults.stopped:
                await self._emptied(witness_only=not handled)
            await self._traffic.calm(busy)
            if moves == self._traffic.moves:
                return

    async def _emptied(self, *, witness_only: bool) -> None:
        """Send a mark into each queue, and wait until it comes out."""
        assert self._raw is not None
        for ear in tuple(self._traffic.listeners):
            assert isinstance(ear, Ear)
            if ear.stopped or (witness_only and ear.label != _WITNESS):
                continue
            mark = MARK + os.urandom(16).hex().encode() + b'"}'
            message = Message(exchange="", routing_key=ear.queue_there, body=mark, message_id=os.urandom(16).hex())
            try:
                await self._raw.ready()
                routed = await self._raw.send(message) is Confirmation.CONFIRMED
            except TransportError:
                routed = False
            if routed:
                await self._traffic.reached(mark, ear)

    def _send_later(self, message: Message) -> None:
        self._late.append(message)
        self._traffic.late += 1
        self._traffic.moved()

    async def _posting(self, sender: Sender) -> None:
        """Send what faults held back, in order, whatever happens to the connection meanwhile."""
        while True:
            while self._late:
                try:
                    await sender.ready()
                    await sender.send(self._late[0])
                except TransportError:
                    continue
                except ValueError as error:
                    _logger.warning("a message that was held back cannot be sent: %s", error)
                self._late.popleft()
                self._traffic.late -= 1
                self._traffic.moved()
            await self._traffic.news()

    async def _remove(self, url: str) -> None:
        """Delete what was made on the broker. What cannot be deleted is logged: a test has its own result."""
        try:
            async with asyncio.timeout(_REMOVAL_WAIT):
                await remove(url, queues=self._names.queues, exchanges=self._names.exchanges)
        except (TransportError, TimeoutError) as error:
            left = [*self._names.queues, *self._names.exchanges]
            _logger.warning("not all of these could be deleted on the broker: %s: %s", ", ".join(left), error)


def _pattern(pattern: EventPattern[Any] | str) -> EventPattern[Any]:
    return event_pattern(pattern) if isinstance(pattern, str) else pattern


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))
