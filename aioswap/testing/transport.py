"""The transport that a bus hands to what is tested: the real one underneath, with faults, counts and a test's own names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Self

from aioswap.health import LinkHealth
from aioswap.testing.faults import Faults
from aioswap.testing.names import Names
from aioswap.testing.traffic import MARK, Traffic
from aioswap.transports.answers import telling
from aioswap.transports.base import Answer, Browser, Confirmation, Delivery, Message, Receiver, Sender, Subscription, Transport

__all__ = ["BusTransport", "Ear"]


class BusTransport:
    """A `Transport` around another one. It may be opened several times at once, as a bus and what is tested both do.

    Args:
        inner: moves the messages.
        faults: done to notifications that are sent.
        traffic: counts them.
        names: of queues and exchanges.
    """

    def __init__(self, inner: Transport, faults: Faults, traffic: Traffic, names: Names) -> None:
        self.inner = inner
        self._faults = faults
        self._traffic = traffic
        self._names = names
        self._open = 0

    async def __aenter__(self) -> Self:
        if not self._open:
            await self.inner.__aenter__()
        self._open += 1
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._open -= 1
        if not self._open:
            await self.inner.__aexit__(*exc_info)

    @property
    def destination(self) -> str:
        """Where notifications go, as `Transport.destination` says."""
        return self.inner.destination

    @asynccontextmanager
    async def sender(self, label: str) -> AsyncGenerator[Sender]:
        """Open a sending connection, as `Transport.sender` says."""
        async with self.inner.sender(label) as sender:
            yield _Sender(sender, self._faults, self._traffic, self._names)

    @asynccontextmanager
    async def receiver(
        self,
        subscription: Subscription,
        deliver: Callable[[Delivery], None],
        *,
        label: str,
        start_timeout: float = 30.0,
    ) -> AsyncGenerator[Receiver]:
        """Open a receiving connection, as `Transport.receiver` says.

        Raises:
            TransportError: as `Transport.receiver` says.
            MemoryOnly: a `shared` subscription on a real broker.
        """
        there = self._names.subscription(subscription)
        ear = Ear(label, there.wanted, deliver, self._traffic, self._names)
        listening = self.inner.receiver(
            replace(there, wanted=ear.wanted), ear.deliver, label=label, start_timeout=start_timeout
        )
        async with listening as receiver:
            ear.listen(receiver)
            try:
                yield ear
            finally:
                ear.close()

    @asynccontextmanager
    async def browser(self, queue: str) -> AsyncGenerator[Browser]:
        """Open a look into `queue`, as `Transport.browser` says.

        Raises:
            TransportError: as `Transport.browser` says.
        """
        async with self.inner.browser(self._names.there(queue)) as browser:
            yield browser


class _Sender:
    """A `Sender`."""

    def __init__(self, inner: Sender, faults: Faults, traffic: Traffic, names: Names) -> None:
        self._inner = inner
        self._faults = faults
        self._traffic = traffic
        self._names = names

    @property
    def health(self) -> LinkHealth:
        """The inner one's."""
        return self._inner.health

    def send(self, message: Message) -> asyncio.Future[Confirmation]:
        """Send `message`, as `Sender.send` says; or do to it what a fault says."""
        return self._pass(message) if message.exchange is not None else self._faults.pass_on(message, self._pass)

    def submit(self, message: Message, told: Callable[[Answer], None]) -> None:
        """Send `message`, as `Sender.submit` says; or do to it what a fault says."""
        self.send(message).add_done_callback(telling(told))

    async def ready(self) -> None:
        """Wait until messages can be sent."""
        self._traffic.connecting += 1
        try:
            await self._inner.ready()
        finally:
            self._traffic.connecting -= 1
            self._traffic.moved()

    def _pass(self, message: Message) -> asyncio.Future[Confirmation]:
        answer = self._inner.send(self._names.message(message))
        self._traffic.unanswered += 1
        self._traffic.moved()
        answer.add_done_callback(partial(self._answered, message))
        return answer

    def _answered(self, message: Message, answer: asyncio.Future[Confirmation]) -> None:
        self._traffic.unanswered -= 1
        self._traffic.moved()
        queue, retry, seconds = message.routing_key.rpartition(".retry.")
        if message.exchange and retry and not answer.cancelled() and answer.exception() is None:
            self._traffic.retry_waits(message.message_id, queue, int(seconds))


class Ear:
    """A `Receiver`, and a `Settler` of what it hands over.

    Args:
        label: whose.
        wanted: the subscription's.
        deliver: takes deliveries.
        traffic: counts them.
        names: of queues and exchanges.
    """

    def __init__(
        self,
        label: str,
        wanted: Callable[[bytes], bool],
        deliver: Callable[[Delivery], None],
        traffic: Traffic,
        names: Names,
    ) -> None:
        self.label = label
        self.stopped = False
        self._wants = wanted
        self._deliver = deliver
        self._traffic = traffic
        self._names = names
        self._inner: Receiver | None = None
        self._tags = count(1)
        self._taken: dict[int, Delivery] = {}
        self._marks = 0

    def listen(self, inner: Receiver) -> None:
        """Begin: `inner` is bound."""
        self._inner = inner
        self._traffic.listeners.append(self)
        self._traffic.moved()

    def close(self) -> None:
        """Forget what was handed over: the broker has it again."""
        self._taken.clear()
        self._traffic.listeners.remove(self)
        self._traffic.moved()

    def wanted(self, body: bytes) -> bool:
        """Say what the subscription says; of a mark note that it came."""
        if body.startswith(MARK):
            self._marks += 1
            self._traffic.seen(body)
            return False
        return self._wants(body)

    def deliver(self, delivery: Delivery) -> None:
        """Hand a delivery over."""
        tag = next(self._tags)
        self._taken[tag] = delivery
        self._traffic.came(delivery.message_id)
        self._deliver(self._names.delivery(delivery, self, tag))

    def settle(self, tag: int, *, requeue: bool) -> None:
        """Acknowledge or give back, as `Settler.settle` says."""
        delivery = self._taken.pop(tag, None)
        if delivery is None:
            return
        self._traffic.moved()
        if requeue:
            delivery.requeue()
        else:
            delivery.ack()

    @property
    def unsettled(self) -> int:
        """Deliveries handed over and not settled."""
        return len(self._taken)

    @property
    def queue_there(self) -> str:
        """The queue's name on the broker."""
        return self.inner.queue

    @property
    def inner(self) -> Receiver:
        """The receiver underneath."""
        assert self._inner is not None
        return self._inner

    @property
    def health(self) -> LinkHealth:
        """The inner one's."""
        return self.inner.health

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self._names.here(self.inner.queue)

    @property
    def skipped(self) -> int:
        """Foreign notifications that were acknowledged."""
        return self.inner.skipped - self._marks

    @property
    def depth(self) -> int | None:
        """Messages ready in the queue when last seen."""
        return self.inner.depth

    async def stop(self) -> None:
        """Take no more deliveries."""
        self.stopped = True
        await self.inner.stop()
