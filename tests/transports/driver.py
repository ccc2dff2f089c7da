"""What the contract suite needs of a transport besides its protocol: a namespace, faults, and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Final, Protocol

from aioswap.testing import ManualClock
from aioswap.transports.base import Delivery, Message, Sender, Subscription, Transport
from aioswap.transports.memory import MemoryTransport
from aioswap.transports.topology import Binding, QueueDeclaration

__all__ = ["DEADLINE", "ERROR", "INFO", "Driver", "Inbox", "barrier", "memory_driver", "message", "put", "until"]

DEADLINE: Final = 60.0
"""Seconds that a test waits for what must come. No test waits for what must not."""

INFO: Final = "versioned_notifications.info"
ERROR: Final = "versioned_notifications.error"

_ids = count(1)


class Driver(Protocol):
    """One transport under test, in a namespace of its own: what another test publishes is never seen here."""

    @property
    def transport(self) -> Transport:
        """The transport, not yet opened. Its notification exchange is there."""
        ...

    def unique(self, name: str) -> str:
        """Return `name` made unique among all tests: a pool's or a queue's name."""
        ...

    async def declare(self, queue: QueueDeclaration, *bindings: Binding) -> None:
        """Make a queue, and remove it when the test is over. A binding's exchange None is the notification exchange."""
        ...

    async def lose(self) -> None:
        """Cut all connections, and let none be made until `restore`."""
        ...

    async def restore(self) -> None:
        """Let connections be made again."""
        ...

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass; return at once where time passes by itself."""
        ...


class MemoryDriver:
    """The memory transport and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.memory = MemoryTransport(clock=self.clock)
        self.transport: Transport = self.memory

    def unique(self, name: str) -> str:
        return name

    async def declare(self, queue: QueueDeclaration, *bindings: Binding) -> None:
        self.memory.declare(queue, *bindings)

    async def lose(self) -> None:
        self.memory.lose()

    async def restore(self) -> None:
        self.memory.restore()

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)


@asynccontextmanager
async def memory_driver() -> AsyncGenerator[Driver]:
    """The driver of the memory transport."""
    yield MemoryDriver()


class Inbox:
    """Keeps deliveries in the order in which they came: give it to a receiver as `deliver`."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self._arrived = asyncio.Event()

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self._arrived.set()

    async def take(self, number: int) -> list[Delivery]:
        """Wait until there are `number` deliveries, and remove and return them."""
        async with asyncio.timeout(DEADLINE):
            while len(self.deliveries) < number:
                self._arrived.clear()
                await self._arrived.wait()
        taken, self.deliveries = self.deliveries[:number], self.deliveries[number:]
        return taken

    async def one(self) -> Delivery:
        """Wait for a delivery, and remove and return it."""
        return (await self.take(1))[0]

    async def bodies(self, number: int) -> list[bytes | None]:
        """Wait for `number` deliveries, acknowledge them, and return their bodies."""
        taken = await self.take(number)
        for delivery in taken:
            delivery.ack()
        return [delivery.body for delivery in taken]


def message(body: bytes, key: str = INFO, **more: object) -> Message:
    """Return a message with a fresh AMQP id."""
    return Message(routing_key=key, body=body, message_id=f"m{next(_ids)}", **more)  # type: ignore[arg-type]


async def put(sender: Sender, *bodies: bytes, key: str = INFO, **more: object) -> list[str]:
    """Send one message for each body, in order, and return the broker's answers."""
    async with asyncio.timeout(DEADLINE):
        await sender.ready()
        return list(await asyncio.gather(*(sender.send(message(body, key, **more)) for body in bodies)))


async def until(fact: Callable[[], object]) -> None:
    """Let the loop run until `fact()` is true."""
    async with asyncio.timeout(DEADLINE):
        while not fact():  # noqa: ASYNC110  # any fact, so there is no event to wait for
            await asyncio.sleep(0)


async def barrier(transport: Transport) -> None:
    """Return when a message published now has made the whole way to a new queue: what came before it had its chance."""
    inbox = Inbox()
    topic = f"barrier{next(_ids)}"
    async with (
        transport.receiver(Subscription(topics=(topic,)), inbox, label="barrier"),
        transport.sender("barrier") as sender,
    ):
        await put(sender, b"barrier", key=f"{topic}.info")
        (await inbox.one()).ack()
