"""A corner of a real RabbitMQ for one test: an exchange and a topic of its own. Everything blocks, as commands do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import uuid4

from aioswap.outcomes import RETRY_LADDER
from aioswap.transports.base import Confirmation, Delivery, Message
from aioswap.transports.rabbit import RabbitTransport
from aioswap.transports.topology import dead_letter_queue, pool_exchange, pool_queue, retry_queue
from tests.transports.rabbit_driver import Admin

__all__ = ["Bus", "bus_at"]

T = TypeVar("T")


class Bus:
    """Args:
    url: an administrator's.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        letters = uuid4().hex[:8]
        self.exchange = f"test.{letters}"
        self.topic = f"topic_{letters}"
        self.info = f"{self.topic}.info"
        self.error = f"{self.topic}.error"
        self.pool = f"pool-{letters}"
        self.queues = {self.info, self.error}

    @property
    def where(self) -> list[str]:
        """The options that name it."""
        return ["--url", self.url, "--exchange", self.exchange, "--topic", self.topic]

    def ask(self, question: Callable[[Admin], Awaitable[T]]) -> T:
        """Do what only an operator does."""

        async def main() -> T:
            async with Admin(self.url) as admin:
                return await question(admin)

        return asyncio.run(main())

    def declare(self, *, durable: bool = True) -> None:
        """Make the exchange."""
        self.ask(lambda admin: admin.exchange(self.exchange, durable=durable))

    def bind(self, *keys: str, arguments: dict[str, Any] | None = None) -> None:
        """Make a queue of each routing key's name, and bind it, as oslo does."""

        async def bind(admin: Admin) -> None:
            for key in keys:
                await admin.queue(key, arguments=arguments)
                await admin.bind(key, self.exchange, key)

        self.ask(bind)

    def publish(self, *messages: Message) -> list[Confirmation]:
        """Publish to the exchange."""

        async def main() -> list[Confirmation]:
            async with RabbitTransport(self.url, exchange=self.exchange) as transport, transport.sender("test") as sender:
                await sender.ready()
                return await asyncio.gather(*(sender.send(message) for message in messages))

        return asyncio.run(main())

    def take(self, queue: str) -> list[Delivery]:
        """Empty a queue, and return what was in it."""

        async def main() -> list[Delivery]:
            taken = []
            async with RabbitTransport(self.url) as transport, transport.browser(queue) as browser:
                while (delivery := await browser.get()) is not None:
                    taken.append(delivery)
                    delivery.ack()
            return taken

        return asyncio.run(main())

    def clean(self) -> None:
        """Remove what the test has made."""
        steps = [retry_queue(self.pool, seconds) for seconds in RETRY_LADDER]

        async def clean(admin: Admin) -> None:
            for queue in (*self.queues, pool_queue(self.pool), dead_letter_queue(self.pool), *steps):
                await admin.delete_queue(queue)
            await admin.delete_exchange(self.exchange)
            await admin.delete_exchange(pool_exchange(self.pool))

        self.ask(clean)


@contextmanager
def bus_at(url: str) -> Iterator[Bus]:
    """A bus that is cleaned up afterwards."""
    bus = Bus(url)
    try:
        yield bus
    finally:
        bus.clean()
