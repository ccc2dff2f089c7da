"""Which queues a pool has, and what is declared for them: data, carried out alike by every transport.

Every queue is durable, with arguments from a short list: RabbitMQ 4 refuses the rest, and Nova's own objects are never
declared here. A pool's retry queues and dead letters hang on a direct exchange of its own, `aioswap.<pool>`, whose routing
keys are the queues' names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aioswap.outcomes import RETRY_LADDER
from aioswap.transports.base import Subscription

__all__ = [
    "Binding",
    "QueueDeclaration",
    "Topology",
    "dead_letter_queue",
    "pool_exchange",
    "pool_queue",
    "retry_queue",
    "topology",
]

_DAY_MS: Final = 86_400_000
_QUEUE_EXPIRES_MS: Final = 7 * _DAY_MS
_ANONYMOUS_EXPIRES_MS: Final = 5 * 60_000
_MAX_MESSAGES: Final = 1_000_000
_MAX_BYTES: Final = 1 << 30
_MAX_DEAD_LETTERS: Final = 100_000
_DELIVERY_LIMIT: Final = 1_000_000
"""RabbitMQ 4 drops a message of a quorum queue after 20 deliveries unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDeclaration:
    """A queue to declare. Always durable, never exclusive, never auto-delete: what ends it is `x-expires`.

    Args:
        name: the queue's.
        arguments: AMQP's, such as `x-max-length`.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a queue gets.

    Args:
        queue: its name.
        exchange: what is published there; None: the transport's notification exchange.
        routing_key: with this key.
    """

    queue: str
    exchange: str | None
    routing_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What a subscription needs: `exchange` is the pool's own (durable, direct), None without a pool."""

    consume: tuple[str, ...]
    """The queues to read: the own one; with `shared` oslo's default queues, and the pool's own one for what is retried."""
    exchange: str | None = None
    queues: tuple[QueueDeclaration, ...] = ()
    bindings: tuple[Binding, ...] = ()
    deleted_on_exit: bool = False


def pool_queue(pool: str) -> str:
    """Return the name of the queue that a pool's consumers share."""
    return f"aioswap.{pool}"


def pool_exchange(pool: str) -> str:
    """Return the name of the pool's own direct exchange."""
    return f"aioswap.{pool}"


def retry_queue(pool: str, seconds: int) -> str:
    """Return the name of the queue in which a pool's messages wait for `seconds`, a step of the retry ladder."""
    return f"aioswap.{pool}.retry.{seconds}"


def dead_letter_queue(pool: str) -> str:
    """Return the name of the queue of a pool's dead letters."""
    return f"aioswap.{pool}.dead"


def topology(subscription: Subscription, anonymous: str) -> Topology:
    """Return what `subscription` needs.

    Args:
        subscription: who listens.
        anonymous: random letters for the name of a queue without a pool; the same for the life of its receiver.
    """
    keys = [f"{topic}.{priority}" for topic in subscription.topics for priority in subscription.priorities]
    if subscription.pool is not None:
        return _pool_topology(subscription, subscription.pool, keys)
    if subscription.shared:
        return Topology(consume=tuple(keys))
    name = f"aioswap.anon.{anonymous}.q"
    return Topology(
        consume=(name,),
        queues=(_queue(name, subscription, expires=_ANONYMOUS_EXPIRES_MS),),
        bindings=tuple(Binding(queue=name, exchange=None, routing_key=key) for key in keys),
        deleted_on_exit=True,
    )


def _pool_topology(subscription: Subscription, pool: str, keys: list[str]) -> Topology:
    name, exchange, dead = pool_queue(pool), pool_exchange(pool), dead_letter_queue(pool)
    steps = [retry_queue(pool, seconds) for seconds in RETRY_LADDER]
    queues = [_queue(name, subscription, expires=_QUEUE_EXPIRES_MS)]
    queues += [
        QueueDeclaration(
            name=step,
            arguments={
                **_kind(subscription),
                "x-message-ttl": seconds * 1000,
                "x-dead-letter-exchange": exchange,
                "x-dead-letter-routing-key": name,
            },
        )
        for step, seconds in zip(steps, RETRY_LADDER, strict=True)
    ]
    queues.append(
        QueueDeclaration(
            name=dead,
            arguments={**_kind(subscription), "x-max-length": _MAX_DEAD_LETTERS, "x-overflow": "reject-publish"},
        )
    )
    return Topology(
        consume=(*keys, name) if subscription.shared else (name,),
        exchange=exchange,
        queues=tuple(queues),
        bindings=(
            *(Binding(queue=name, exchange=None, routing_key=key) for key in keys if not subscription.shared),
            *(Binding(queue=queue, exchange=exchange, routing_key=queue) for queue in (name, *steps, dead)),
        ),
    )


def _kind(subscription: Subscription) -> dict[str, Any]:
    """Return the type of all queues of a pool: a consumer declares each of them, and a classic one is away with its node."""
    if subscription.quorum:
        return {"x-queue-type": "quorum", "x-delivery-limit": _DELIVERY_LIMIT}
    return {"x-queue-type": "classic"}


def _queue(name: str, subscription: Subscription, *, expires: int) -> QueueDeclaration:
    arguments: dict[str, Any] = {
        **_kind(subscription),
        "x-expires": expires,
        "x-max-length": _MAX_MESSAGES,
        "x-max-length-bytes": _MAX_BYTES,
    }
    if subscription.single_active:
        arguments["x-single-active-consumer"] = True
    return QueueDeclaration(name=name, arguments=arguments)
