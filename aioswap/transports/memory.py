"""The memory transport: a broker in a dictionary, complete, with the faults of a real one at hand.

It keeps every promise of `aioswap.transports.base`, and is held to the same tests as RabbitMQ. Nothing leaves the process.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Self
from uuid import uuid4

from aioswap.clock import Clock
from aioswap.errors import TransportError
from aioswap.opened import Opened
from aioswap.transports.base import Browser, Confirmation, Delivery, Receiver, Sender, Subscription
from aioswap.transports.memory_broker import MemoryBroker
from aioswap.transports.memory_receiver import MemoryBrowser, MemoryReceiver
from aioswap.transports.memory_sender import LOST, MemorySender, Switches
from aioswap.transports.topology import Binding, QueueDeclaration, topology

__all__ = ["MemoryTransport"]


class MemoryTransport:
    """A transport whose broker is this object: emitters and consumers that share it hear each other.

    It does what RabbitMQ does: topic and direct exchanges, queues with bounds, time to live and dead letters, prefetch,
    confirmations, redelivery. Queues and what they hold stay when the transport is closed and opened again. Deliveries and
    confirmations come in a later turn of the loop, never within the call that causes them. There are no threads and no
    tasks, and no time but the clock's.

    Faults are made by plain calls, which work at once: `lose`, `restore`, `refuse`, `accept`, `hold_confirms`,
    `release_confirms`, `block`, `unblock`.

    Args:
        exchange: the notification exchange's name; it is always there.
        clock: times queues and `start_timeout`.
    """

    def __init__(self, *, exchange: str = "nova", clock: Clock | None = None) -> None:
        self._clock = Clock() if clock is None else clock
        self._exchange = exchange
        self._broker = MemoryBroker(exchange, self._clock)
        self._opened = Opened("MemoryTransport")
        self._switches = Switches()
        self._senders: list[MemorySender] = []
        self._receivers: list[MemoryReceiver] = []
        self._browsers: list[MemoryBrowser] = []

    async def __aenter__(self) -> Self:
        self._opened.open()
        self._broker.resume()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close what is still open. What was taken and not settled goes back to its queue."""
        self._opened.check()
        for sender in self._senders:
            sender.close()
        for receiver in self._receivers:
            receiver.close()
        for browser in self._browsers:
            browser.close()
        self._broker.pause()
        self._opened.close()

    @property
    def destination(self) -> str:
        """Where notifications go: `memory exchange=nova`."""
        return f"memory exchange={self._exchange}"

    @asynccontextmanager
    async def sender(self, label: str) -> AsyncGenerator[Sender]:
        """Open a sending connection, as `Transport.sender` says."""
        self._opened.check()
        sender = MemorySender(label, self._broker, self._opened, self._switches)
        self._senders.append(sender)
        try:
            yield sender
        finally:
            self._senders.remove(sender)
            sender.close()

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
            TransportError: the connections are cut, or a queue of a `shared` subscription is missing, for `start_timeout`
                seconds.
        """
        self._opened.check()
        receiver = MemoryReceiver(label, self._broker, topology(subscription, uuid4().hex), subscription, deliver)
        self._receivers.append(receiver)
        try:
            if not self._switches.lost:
                receiver.attach()
            try:
                async with self._clock.timeout(start_timeout):
                    await receiver.attached.wait()
            except TimeoutError:
                reason = receiver.health.degraded
                raise TransportError(f"{label} is not ready after {start_timeout:g} s: {reason}") from None
            yield receiver
        finally:
            self._receivers.remove(receiver)
            receiver.close()

    @asynccontextmanager
    async def browser(self, queue: str) -> AsyncGenerator[Browser]:
        """Open a look into `queue`, as `Transport.browser` says.

        Raises:
            TransportError: there is no such queue, or the connections are cut.
        """
        self._opened.check()
        if self._switches.lost:
            raise TransportError(LOST)
        if queue not in self._broker.queues:
            raise TransportError(f"there is no queue {queue}: start its consumer once, or look for a slip in the name")
        browser = MemoryBrowser(self._broker, queue)
        self._browsers.append(browser)
        try:
            yield browser
        finally:
            self._browsers.remove(browser)
            browser.close()

    def declare(self, queue: QueueDeclaration, *bindings: Binding) -> None:
        """Make a queue that no receiver declares, such as one of oslo's, and bind it. One that exists stays as it is.

        Args:
            queue: its name and arguments.
            bindings: of it or another queue; patterns (`*`, `#`) work in the notification exchange. The exchange `""` needs
                none: there a routing key is a queue's name.
        """
        self._check_here()
        self._broker.declare(queue)
        for binding in bindings:
            self._broker.bind(binding)
        if not self._switches.lost:
            for receiver in self._receivers:
                receiver.attach()

    def depths(self) -> dict[str, int]:
        """Return how many messages are ready in each queue there is: those that nobody has taken."""
        return {name: len(queue) for name, queue in self._broker.queues.items()}

    def lose(self) -> None:
        """Cut all connections, and let none be made until `restore`.

        Confirmations still owed fail with `TransportError`, though the broker may hold the message. Deliveries not settled
        go back to their queues, marked as redelivered. A sender's `ready` waits.
        """
        self._check_here()
        self._switches.lost = True
        for sender in self._senders:
            sender.cut()
        for receiver in self._receivers:
            receiver.withdraw()
        for receiver in self._receivers:
            receiver.cut()
        for browser in self._browsers:
            browser.close("the connection was lost")

    def restore(self) -> None:
        """End `lose`: every sender and receiver resumes by itself."""
        self._check_here()
        self._switches.lost = False
        for receiver in self._receivers:
            receiver.attach()
        self._changed()

    def refuse(self, routing_key: str, answer: Confirmation = Confirmation.RETURNED) -> None:
        """Answer each message of `routing_key` with `answer` (returned or nacked), and keep none of them, until `accept`.

        Raises:
            ValueError: `answer` is no refusal.
        """
        self._check_here()
        if answer is Confirmation.CONFIRMED:
            raise ValueError("refuse with RETURNED or NACKED: accept() confirms")
        self._switches.refused[routing_key] = answer

    def accept(self, routing_key: str) -> None:
        """End `refuse`."""
        self._check_here()
        self._switches.refused.pop(routing_key, None)

    def hold_confirms(self) -> None:
        """Take messages, and owe every answer until `release_confirms`."""
        self._check_here()
        self._switches.held = True

    def release_confirms(self) -> None:
        """End `hold_confirms`: what is owed is answered, in order."""
        self._check_here()
        self._switches.held = False
        self._changed()

    def block(self) -> None:
        """Act as a broker with a memory or disk alarm: what is sent waits unrouted and unanswered, until `unblock`."""
        self._check_here()
        self._switches.blocked = True

    def unblock(self) -> None:
        """End `block`: what waited is routed and answered, in order."""
        self._check_here()
        self._switches.blocked = False
        self._changed()

    def _changed(self) -> None:
        for sender in self._senders:
            sender.changed()

    def _check_here(self) -> None:
        if self._opened:
            self._opened.check()
