"""The receiving connections of the memory transport: a receiver, which consumes, and a browser, which looks."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count

from aioswap.errors import TransportError
from aioswap.health import LinkHealth
from aioswap.transports.base import MAX_BODY, Delivery, Settler, Subscription
from aioswap.transports.compression import readable
from aioswap.transports.memory_broker import MemoryBroker
from aioswap.transports.memory_queue import Held, Queue
from aioswap.transports.memory_sender import LOST
from aioswap.transports.topology import Topology

__all__ = ["MemoryBrowser", "MemoryReceiver"]

_logger = logging.getLogger(__name__)


class MemoryReceiver:
    """A `Receiver`. `attached` is set while it consumes."""

    def __init__(
        self,
        label: str,
        broker: MemoryBroker,
        layout: Topology,
        subscription: Subscription,
        deliver: Callable[[Delivery], None],
    ) -> None:
        self.attached = asyncio.Event()
        self._label = label
        self._broker = broker
        self._layout = layout
        self._wanted = subscription.wanted
        self._prefetch = subscription.prefetch
        self._deliver = deliver
        self._queues: tuple[Queue, ...] = ()
        self._inbox: deque[tuple[Queue, Held]] = deque()
        self._unsettled: dict[int, tuple[Queue, Held]] = {}
        self._tags = count(1)
        self._reading = False
        self._skipped = 0
        self._trouble: str | None = LOST
        self._warned = False
        self._stopped = False

    @property
    def health(self) -> LinkHealth:
        """Consuming or not, and why not."""
        return LinkHealth(connected=self.attached.is_set(), degraded=self._trouble)

    @property
    def queue(self) -> str:
        """The queue's name, the first of several."""
        return self._layout.consume[0]

    @property
    def skipped(self) -> int:
        """Foreign notifications that were acknowledged."""
        return self._skipped

    @property
    def depth(self) -> int | None:
        """Messages ready in the queue; None while the connection is cut."""
        queue = self._broker.queues.get(self.queue) if self.attached.is_set() else None
        return None if queue is None else len(queue)

    @property
    def has_room(self) -> bool:
        """Whether the prefetch allows one more."""
        return len(self._inbox) + len(self._unsettled) < self._prefetch

    def attach(self) -> None:
        """Declare, bind and consume, unless that is done already or a queue is missing."""
        if self.attached.is_set():
            return
        if self._stopped:
            self._connected()
            return
        for declaration in self._layout.queues:
            if not self._broker.declare(declaration) and not self._warned:
                self._warned = True
                _logger.warning("%s: queue %s exists with other arguments; it is used as it is", self._label, declaration.name)
        for binding in self._layout.bindings:
            self._broker.bind(binding)
        missing = [name for name in self._layout.consume if name not in self._broker.queues]
        if missing:
            self._trouble = f"there is no queue {missing[0]}: its owner declares it"
            return
        self._connected()
        self._queues = tuple(self._broker.queues[name] for name in self._layout.consume)
        for queue in self._queues:
            queue.add(self)

    def _connected(self) -> None:
        self._trouble = None
        self.attached.set()

    def withdraw(self) -> None:
        """Consume no more. What was taken stays."""
        for queue in self._queues:
            queue.remove(self)

    def cut(self) -> None:
        """Lose the connection, after `withdraw`: everything taken goes back to its place."""
        self._trouble = LOST
        self.attached.clear()
        taken = [*self._inbox, *self._unsettled.values()]
        self._inbox.clear()
        self._unsettled.clear()
        _give_back(taken)

    async def stop(self) -> None:
        """Take no more; what was handed over can still be settled."""
        self._stopped = True
        self.withdraw()
        taken = tuple(self._inbox)
        self._inbox.clear()
        _give_back(taken)

    def close(self) -> None:
        """Close the connection; a queue without a pool is deleted, if there is a connection to do it over."""
        connected = self.attached.is_set()
        self._stopped = True
        self.withdraw()
        self.cut()
        if connected and self._layout.deleted_on_exit:
            self._broker.delete(self.queue)

    def take(self, queue: Queue, held: Held) -> None:
        """Take a message on its way: it is looked at in the next turn of the loop."""
        self._inbox.append((queue, held))
        self._read_soon()

    def settle(self, tag: int, *, requeue: bool) -> None:
        """Acknowledge or give back, as `Settler.settle` says."""
        taken = self._unsettled.pop(tag, None)
        if taken is None:
            return
        if requeue:
            _give_back((taken,))
        self._make_use_of_room()

    def _make_use_of_room(self) -> None:
        for queue in self._queues:
            queue.hand_over()

    def _read_soon(self) -> None:
        if self._inbox and not self._reading:
            self._reading = True
            asyncio.get_running_loop().call_soon(self._read)

    def _read(self) -> None:
        self._reading = False
        try:
            for _ in range(len(self._inbox)):
                if self._inbox:  # a delivery may have led to a loss
                    self._read_one(*self._inbox.popleft())
        finally:
            self._read_soon()
            self._make_use_of_room()

    def _read_one(self, queue: Queue, held: Held) -> None:
        message = held.message
        body, unreadable = readable(message.body, message.headers, MAX_BODY)
        tag = next(self._tags)
        self._unsettled[tag] = (queue, held)  # first of all: whatever fails below, it is not lost
        judged = held.exchange != self._layout.exchange  # what a pool sends to itself is wanted
        if judged and body is not None and not self._wanted(body):
            self._skipped += 1
            del self._unsettled[tag]
            return
        self._deliver(_delivery(held, body, unreadable, tag, self))


class MemoryBrowser:
    """A `Browser`."""

    def __init__(self, broker: MemoryBroker, queue: str) -> None:
        self._broker = broker
        self._queue = queue
        self._unsettled: dict[int, tuple[Queue, Held]] = {}
        self._tags = count(1)
        self._trouble: str | None = None

    async def get(self) -> Delivery | None:
        """Return the next message, None at the end.

        Raises:
            TransportError: the connection was lost, or the queue is gone.
        """
        queue = self._broker.queues.get(self._queue)
        if queue is None or self._trouble is not None:
            raise TransportError(self._trouble or f"the queue {self._queue} is gone")
        held = queue.get()
        if held is None:
            return None
        tag = next(self._tags)
        self._unsettled[tag] = (queue, held)
        return _delivery(held, *readable(held.message.body, held.message.headers, MAX_BODY), tag, self)

    def settle(self, tag: int, *, requeue: bool) -> None:
        """Acknowledge or give back, as `Settler.settle` says."""
        taken = self._unsettled.pop(tag, None)
        if taken is not None and requeue:
            _give_back((taken,))

    def close(self, reason: str = "the browser is closed") -> None:
        """Give back what is unsettled, and get nothing any more."""
        self._trouble = reason
        taken = tuple(self._unsettled.values())
        self._unsettled.clear()
        _give_back(taken)


def _give_back(taken: Iterable[tuple[Queue, Held]]) -> None:
    for queue, held in sorted(taken, key=lambda pair: pair[1].position):
        queue.give_back(held)


def _delivery(held: Held, body: bytes | None, unreadable: str | None, tag: int, settler: Settler) -> Delivery:
    message = held.message
    return Delivery(
        body=body,
        original=message.body,
        unreadable=unreadable,
        exchange=held.exchange,
        routing_key=message.routing_key,
        redelivered=held.redelivered,
        message_id=message.message_id or None,
        headers=message.headers,
        properties=message.properties,
        tag=tag,
        settler=settler,
    )
