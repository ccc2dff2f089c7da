"""The witness: a queue of its own that gets everything, read by plain aio-pika when the fault is over.

Nobody consumes it meanwhile: what lies in it is what came over the wire, in the broker's order, every copy of it.
"""

from __future__ import annotations

import json
from typing import Any, Final

import aio_pika

from aioswap.transports.base import Subscription
from aioswap.transports.topology import pool_exchange, topology
from tests.faults.accounting import Copy

__all__ = ["KEYS", "Witness", "notification_of"]

KEYS: Final = ("versioned_notifications.info", "versioned_notifications.error")
_PREFETCH: Final = 1_000


def notification_of(body: bytes) -> dict[str, Any]:
    """Return the notification in an oslo envelope, read by the standard library alone."""
    inner: dict[str, Any] = json.loads(json.loads(body)["oslo.message"])
    return inner


class Witness:
    """One queue, bound to both routing keys.

    Args:
        url: the broker's own, past any proxy.
        exchange: the notification exchange.
        queue: the queue's name.
        durable: how the exchange is declared; the queue always is.
        quorum: a replicated queue.
    """

    def __init__(self, url: str, exchange: str, queue: str, *, durable: bool = True, quorum: bool = False) -> None:
        self._url = url
        self._exchange = exchange
        self._durable = durable
        self._arguments = {"x-queue-type": "quorum" if quorum else "classic"}
        self.queue = queue
        self.copies: list[Copy] = []

    async def declare(self, *, exchange_only: bool = False) -> None:
        """Make the exchange, the queue and its bindings, as often as wanted."""
        async with await aio_pika.connect(self._url, timeout=20) as connection:
            channel = await connection.channel()
            await channel.declare_exchange(self._exchange, "topic", durable=self._durable)
            if exchange_only:
                return
            queue = await channel.declare_queue(self.queue, durable=True, arguments=dict(self._arguments))
            for key in KEYS:
                await queue.bind(self._exchange, key)

    async def read(self) -> None:
        """Take what lies in the queue now."""
        async with await aio_pika.connect(self._url, timeout=20) as connection:
            channel = await connection.channel()
            await channel.set_qos(_PREFETCH)
            queue = await channel.get_queue(self.queue)
            left = queue.declaration_result.message_count or 0
            if not left:
                return
            async with queue.iterator(timeout=30) as messages:
                async for message in messages:
                    self._take(message.body, message.routing_key or "")
                    await message.ack()
                    left -= 1
                    if not left:
                        return

    async def delete(self, pool: str) -> None:
        """Remove the queue and the exchange, and what the consumers of `pool` have made."""
        async with await aio_pika.connect(self._url, timeout=20) as connection:
            channel = await connection.channel()
            layout = topology(Subscription(pool=pool), "")
            for queue in (self.queue, *(declaration.name for declaration in layout.queues)):
                await channel.queue_delete(queue)
            for exchange in (self._exchange, pool_exchange(pool)):
                await channel.exchange_delete(exchange)

    def _take(self, body: bytes, routing_key: str) -> None:
        inner = notification_of(body)
        instance = inner["payload"]["nova_object.data"]["uuid"]
        phase = inner["event_type"].rpartition(".")[2]
        self.copies.append(Copy(inner["message_id"], inner["_unique_id"], routing_key, instance, phase))
