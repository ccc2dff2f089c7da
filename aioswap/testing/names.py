"""Names on a broker that others use too: a test's pools get a prefix there that nobody inside the test sees."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from aioswap.testing.broker_clock import MemoryOnly
from aioswap.transports.base import Delivery, Message, Settler, Subscription
from aioswap.transports.topology import pool_exchange, topology

__all__ = ["Names"]

_OWN: Final = "aioswap."
_ANONYMOUS: Final = re.compile(r"aioswap\.anon\.[0-9a-f]{32}\.q")
"""Nobody else has it anyway."""


class Names:
    """Translates between a test's names and a broker's.

    Args:
        prefix: stands before each pool on the broker; empty: the names are the same.
    """

    def __init__(self, prefix: str = "") -> None:
        self.exchange = f"aioswap.testing.{prefix}" if prefix else "nova"
        """The notification exchange's name on the broker."""
        self._prefix = f"{prefix}-" if prefix else ""
        self._pools: dict[str, Subscription] = {}

    @property
    def queues(self) -> list[str]:
        """What was made for the test's pools on the broker."""
        return [queue.name for subscription in self._pools.values() for queue in topology(subscription, "").queues]

    @property
    def exchanges(self) -> list[str]:
        """What was made there for the test."""
        return [self.exchange, *(pool_exchange(each.pool) for each in self._pools.values() if each.pool is not None)]

    def subscription(self, wanted: Subscription) -> Subscription:
        """Return what to ask the broker for.

        Raises:
            MemoryOnly: `wanted` reads oslo's default queues, and so would take from others on that broker.
        """
        if not self._prefix:
            return wanted
        if wanted.shared:
            raise MemoryOnly("shared=True reads oslo's default queues, which are others' on a real broker")
        if wanted.pool is None:
            return wanted
        there = replace(wanted, pool=self._prefix + wanted.pool)
        self._pools[wanted.pool] = there
        return there

    def there(self, name: str) -> str:
        """Return the broker's name of a queue or an exchange of a pool; any other stays as it is."""
        if not name.startswith(_OWN) or _ANONYMOUS.fullmatch(name):
            return name
        return _OWN + self._prefix + name.removeprefix(_OWN)

    def here(self, name: str) -> str:
        """Undo `there`."""
        if self._prefix and name == self.exchange:
            return "nova"
        own = _OWN + self._prefix
        return _OWN + name.removeprefix(own) if name.startswith(own) else name

    def message(self, message: Message) -> Message:
        """Return `message` as the broker is to get it."""
        if not self._prefix or message.exchange is None:
            return message
        return replace(message, exchange=self.there(message.exchange), routing_key=self.there(message.routing_key))

    def delivery(self, delivery: Delivery, settler: Settler, tag: int) -> Delivery:
        """Return `delivery` as the test is to see it, to be settled by `settler`."""
        exchange, routing_key = self.here(delivery.exchange), self.here(delivery.routing_key)
        return replace(delivery, exchange=exchange, routing_key=routing_key, settler=settler, tag=tag)
