"""The dead letters of a pool: look at them, hand them to the pool once more, or drop them.

They are in the queue `aioswap.<pool>.dead`: copies of ours, with a reason, and what the broker itself has put there (x-death).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

from aioswap.clock import Clock
from aioswap.consuming.copies import Trail, bounded, plainer, replayed
from aioswap.consuming.reading import read
from aioswap.consuming.settling import new_id
from aioswap.errors import DecodeError, TransportError
from aioswap.transports.base import Browser, Confirmation, Delivery, Message, Sender, Subscription, Transport
from aioswap.transports.topology import dead_letter_queue, pool_queue
from aioswap.wire.notification import Notification

__all__ = ["DeadLetter", "DeadLetters"]

_SEND_WAIT: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that a pool could not handle.

    Args:
        id: the AMQP `message_id` of this copy; a hash of the body where it has none.
        event_type: None, like the next two: it cannot be read.
        message_id: the notification's.
        publisher_id: who said it.
        reason: why it is here; secrets are masked.
        handlers: those that did not acknowledge, as far as they are known.
        attempts: deliveries to handlers since it was published or replayed last.
        replays: how often it came back from here before.
        first: when it was first delivered, aware; None: not known.
        last: when it became a dead letter, aware; None: not known.
        routing_key: the one that it was published with.
        body: uncompressed where that can be done, else as it came.
        headers: all AMQP headers.
    """

    id: str
    event_type: str | None
    message_id: str | None
    publisher_id: str | None
    reason: str
    handlers: tuple[str, ...]
    attempts: int
    replays: int
    first: datetime | None
    last: datetime | None
    routing_key: str
    body: bytes = field(repr=False)
    headers: Mapping[str, Any] = field(repr=False)


class DeadLetters:
    """The dead letters of one pool.

    A look takes nothing: what is neither replayed nor dropped goes back to its place. The pool's consumers need not run.

    Args:
        transport: what to look by.
        pool: whose.
        clock: times the wait for the broker.

    Raises:
        ValueError: no name of a pool.
    """

    def __init__(self, transport: Transport, pool: str, *, clock: Clock | None = None) -> None:
        Subscription(pool=pool)  # checks the name
        self._transport = transport
        self._pool = pool
        self._clock = clock or Clock()

    async def list(self, limit: int = 100) -> Sequence[DeadLetter]:
        """Return the oldest ones, in order.

        Args:
            limit: at most this many; 1 or more.

        Raises:
            ValueError: `limit` is below 1.
            TransportError: the pool has no dead-letter queue yet, or the broker is away or refuses.
        """
        if limit < 1:
            raise ValueError(f"limit={limit}: give 1 or more")
        found: list[DeadLetter] = []
        async with self._transport.browser(dead_letter_queue(self._pool)) as browser:
            while len(found) < limit and (delivery := await browser.get()) is not None:
                found.append(_dead_letter(delivery))
        return found

    async def show(self, id: str) -> DeadLetter:
        """Return the one with this id.

        Raises:
            LookupError: there is none.
            TransportError: as `list`.
        """
        async with self._transport.browser(dead_letter_queue(self._pool)) as browser:
            while (delivery := await browser.get()) is not None:
                if _id_of(delivery) == id:
                    return _dead_letter(delivery)
        raise LookupError(f"pool {self._pool} has no dead letter {id!r}")

    async def replay(self, ids: Collection[str] | None = None) -> int:
        """Hand dead letters to the pool's own queue once more, and return how many.

        Attempts start anew, and the handlers that did not acknowledge run. Each copy is confirmed before its dead letter is
        acknowledged: what is cut off may be replayed twice, and is never lost. One that becomes a dead letter again meanwhile
        stays.

        Args:
            ids: of those to replay; None: all.

        Raises:
            TransportError: as `list`; or the broker does not take a copy: the text says how many were replayed.
        """
        count = 0
        told: set[tuple[bytes, int]] = set()
        async with self._sending() as (browser, sender):
            while (delivery := await browser.get()) is not None:
                trail = Trail.read(delivery.headers)
                digest = blake2b(delivery.original, digest_size=16).digest()
                if (ids is not None and _id_of(delivery) not in ids) or (digest, trail.replays) in told:
                    continue
                copy = replayed(delivery, pool=self._pool, message_id=new_id())
                try:
                    await self._send(sender, copy)
                except TransportError as error:
                    raise TransportError(f"{error} (replayed before: {count})") from error
                told.add((digest, trail.replays + 1))
                delivery.ack()
                count += 1
        return count

    async def drop(self, ids: Collection[str] | None = None) -> int:
        """Delete dead letters, and return how many.

        Args:
            ids: of those to drop; None: all.

        Raises:
            TransportError: as `list`.
        """
        count = 0
        async with self._transport.browser(dead_letter_queue(self._pool)) as browser:
            while (delivery := await browser.get()) is not None:
                if ids is None or _id_of(delivery) in ids:
                    delivery.ack()
                    count += 1
        return count

    @asynccontextmanager
    async def _sending(self) -> AsyncGenerator[tuple[Browser, Sender]]:
        queue = dead_letter_queue(self._pool)
        async with self._transport.sender(f"dead letters {self._pool}") as sender, self._transport.browser(queue) as browser:
            yield browser, sender

    async def _send(self, sender: Sender, copy: Message) -> None:
        try:
            async with self._clock.timeout(_SEND_WAIT):
                await sender.ready()
                try:
                    said = await sender.send(copy)
                except ValueError:  # headers or properties that cannot be sent
                    said = await sender.send(plainer(copy))
        except TimeoutError:
            trouble = sender.health.degraded or "it may or may not have arrived"
            raise TransportError(f"the broker did not confirm a copy within {_SEND_WAIT:g} s: {trouble}") from None
        except ValueError as error:
            raise TransportError(f"a copy of it cannot be sent: {error}") from error
        if said is not Confirmation.CONFIRMED:
            raise TransportError(f"the broker does not take it for {pool_queue(self._pool)} ({said}): start its consumer first")


def _id_of(delivery: Delivery) -> str:
    return delivery.message_id or blake2b(delivery.original, digest_size=16).hexdigest()


def _dead_letter(delivery: Delivery) -> DeadLetter:
    trail = Trail.read(delivery.headers)
    death = _death(delivery.headers)
    notification: Notification[Any] | None = None
    with suppress(DecodeError):
        notification = read(delivery)
    return DeadLetter(
        id=_id_of(delivery),
        event_type=None if notification is None else notification.event_type,
        message_id=None if notification is None else notification.message_id,
        publisher_id=None if notification is None else notification.publisher_id,
        reason=bounded(trail.reason or _broker_reason(death) or "not known"),
        handlers=(*(trail.owed or ()), *(name for name, _ in trail.rejected)),
        attempts=trail.attempts,
        replays=trail.replays,
        first=_moment(trail.first),
        last=_moment(trail.last or death.get("time")),
        routing_key=trail.routing_key or _first_key(death) or delivery.routing_key,
        body=delivery.original if delivery.body is None else delivery.body,
        headers=delivery.headers,
    )


def _death(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the newest entry of x-death (RabbitMQ: dead lettering), empty if there is none."""
    deaths = headers.get("x-death")
    newest = deaths[0] if isinstance(deaths, list | tuple) and deaths else None
    return newest if isinstance(newest, Mapping) else {}


def _broker_reason(death: Mapping[str, Any]) -> str | None:
    return f"{death.get('reason')} in queue {death.get('queue')}, by the broker" if death else None


def _first_key(death: Mapping[str, Any]) -> str | None:
    keys = death.get("routing-keys")
    first = keys[0] if isinstance(keys, list | tuple) and keys else None
    return first if isinstance(first, str) else None


def _moment(told: object) -> datetime | None:
    if isinstance(told, str):
        try:
            told = datetime.fromisoformat(told)
        except ValueError:
            return None
    if not isinstance(told, datetime):
        return None
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told
