"""What keeps a notification that is not done: copies on the broker for a pool, this process's memory without one.

Both make sure before they return: what follows is the acknowledgement of the original.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias

from aioswap.clock import Clock, Timer
from aioswap.consuming.copies import Trail, bounded, dead_letter, plainer, retried
from aioswap.consuming.handlers import Handler
from aioswap.errors import TransportError
from aioswap.transports.base import Confirmation, Delivery, Message, Sender
from aioswap.wire.faults import traceback_of
from aioswap.wire.notification import Notification

__all__ = ["MAX_KEPT", "BrokerCopies", "Case", "Copies", "Key", "MemoryCopies", "Seen", "new_id"]

_logger = logging.getLogger(__name__)

MAX_KEPT: Final = 1000
"""Notifications that a consumer without a pool keeps for a retry."""

_MAX_SEEN: Final = 10_000
_NEVER: Final = object()
_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 30.0

Key: TypeAlias = tuple[str | None, int, int, int]
"""What tells deliveries apart: the notification's `message_id`, a hash of the body, replays, attempts."""


@dataclass(slots=True, eq=False)
class Case:
    """A notification from its delivery until it is settled, with everything that was delivered of it meanwhile."""

    delivery: Delivery
    key: Key
    lane: Hashable
    trail: Trail
    arrived: datetime
    notification: Notification[Any] | None = None
    """None: it cannot be read."""
    handlers: tuple[Handler, ...] = ()
    unreadable: str = ""
    unsettled: list[Delivery] = field(default_factory=list)


class Seen(dict[Key, Case | None]):
    """The cases in flight by their keys, and None for those that were settled lately.

    Of these it keeps at most 10,000; the oldest is forgotten first.
    """

    def __init__(self, limit: int = _MAX_SEEN) -> None:
        super().__init__()
        self._limit = limit
        self._settled: deque[Key] = deque()

    def settle(self, key: Key) -> None:
        """Note that `key` was settled, whether it was in flight or not."""
        if self.get(key, _NEVER) is None:
            return
        self[key] = None
        self._settled.append(key)
        if len(self._settled) > self._limit:
            del self[self._settled.popleft()]

    def forget(self, case: Case) -> None:
        """Note that `case` is not in flight any more, and not settled."""
        if self.get(case.key) is case:
            del self[case.key]


class Copies(Protocol):
    """Keeps what is not done."""

    @property
    def degraded(self) -> str | None:
        """What goes wrong now; None: nothing."""
        ...

    async def retry(self, case: Case, trail: Trail, seconds: int) -> bool:
        """Keep `case` until it is due again. False: there was no room, and it is a dead letter."""
        ...

    async def dead_letter(self, case: Case, trail: Trail, reason: str) -> None:
        """Keep `case` as a dead letter."""
        ...

    def done(self, case: Case) -> None:
        """Forget `case`: it is settled."""
        ...

    def close(self) -> Iterable[Case]:
        """Stop; return what became dead letters by it."""
        ...


def new_id() -> str:
    """Return a fresh AMQP `message_id`."""
    return os.urandom(16).hex()


class BrokerCopies:
    """Publishes copies on the pool's own exchange, and returns when the broker has confirmed them.

    A copy that is refused or unanswered is sent again, the same one, after 1 to 30 s: its original stays unsettled meanwhile.
    """

    def __init__(self, sender: Sender, *, pool: str, clock: Clock) -> None:
        self._sender = sender
        self._pool = pool
        self._clock = clock
        self._troubles: dict[str, str | None] = {}

    @property
    def degraded(self) -> str | None:
        """The first trouble of the copies that are not confirmed yet."""
        if not self._troubles:
            return None
        told = next((trouble for trouble in self._troubles.values() if trouble is not None), None)
        return told or self._sender.health.degraded

    async def retry(self, case: Case, trail: Trail, seconds: int) -> bool:
        """Put a copy into the retry queue of `seconds`."""
        await self._confirmed(retried(case.delivery, trail, pool=self._pool, seconds=seconds, message_id=new_id()))
        return True

    async def dead_letter(self, case: Case, trail: Trail, reason: str) -> None:
        """Put a copy into the dead-letter queue."""
        now = self._clock.utcnow()
        copy = dead_letter(case.delivery, trail, pool=self._pool, reason=reason, now=now, message_id=new_id())
        await self._confirmed(copy)
        _logger.warning("dead letter of pool %s: notification %r, %r of %r: %r", self._pool, *_told(case, reason))

    def done(self, case: Case) -> None:
        """Do nothing: the broker keeps the copies, not this."""

    def close(self) -> Iterable[Case]:
        """Do nothing, for the same reason."""
        return ()

    async def _confirmed(self, copy: Message) -> None:
        delay = _FIRST_DELAY
        self._troubles[copy.message_id] = None
        try:
            while (trouble := await self._attempt(copy)) is not None:
                copy = plainer(copy) if isinstance(trouble, ValueError) else copy
                text = f"a copy for {copy.routing_key} is not confirmed and will be sent again: {trouble}"
                if self._troubles[copy.message_id] is None:
                    _logger.warning("%s", text)
                self._troubles[copy.message_id] = text
                await self._clock.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY)
        finally:
            del self._troubles[copy.message_id]

    async def _attempt(self, copy: Message) -> Exception | str | None:
        """Send once. None: confirmed."""
        try:
            await self._sender.ready()
            said = await self._sender.send(copy)
        except (TransportError, ValueError) as error:
            return error
        except Exception as error:  # a supervisor: an original must not stay unsettled for a fault that passes
            _logger.error("sending a copy failed in an unexpected way\n%s", traceback_of(error))
            return error
        if said is Confirmation.CONFIRMED:
            return None
        if said is Confirmation.NACKED:
            return "nacked; the queue is full: replay or drop dead letters"
        return "returned; the queue is missing: it is declared again when the consumer connects"


class MemoryCopies:
    """Keeps what is to be retried in memory, and logs dead letters: a consumer without a pool writes nothing to the broker.

    Args:
        again: handles a case once more, when it is due.
        clock: times retries.
        limit: cases kept at a time, from their first retry until they are done.
    """

    degraded: str | None = None

    def __init__(self, again: Callable[[Case], None], *, clock: Clock, limit: int = MAX_KEPT) -> None:
        self._again = again
        self._clock = clock
        self._limit = limit
        self._kept: dict[Key, tuple[Case, Timer]] = {}

    async def retry(self, case: Case, trail: Trail, seconds: int) -> bool:
        """Keep `case` in memory until it is due."""
        self._kept.pop(case.key, None)
        if len(self._kept) >= self._limit:
            _lost(case, f"{self._limit} others wait for a retry, and there is no room for it")
            return False
        message_id, digest, replays, _ = case.key
        later = Case(
            delivery=case.delivery,
            key=(message_id, digest, replays, trail.attempts),
            lane=case.lane,
            trail=trail,
            arrived=case.arrived,
            notification=case.notification,
            handlers=tuple(handler for handler in case.handlers if handler.name in (trail.owed or ())),
        )
        self._kept[later.key] = later, self._clock.call_later(seconds, lambda: self._again(later))
        return True

    async def dead_letter(self, case: Case, trail: Trail, reason: str) -> None:
        """Log it."""
        self.done(case)
        _lost(case, reason)

    def done(self, case: Case) -> None:
        """Forget a case that is settled."""
        self._kept.pop(case.key, None)

    def close(self) -> Iterable[Case]:
        """Log what still waits as dead letters."""
        lost = tuple(case for case, _ in self._kept.values())
        for case, timer in self._kept.values():
            timer.cancel()
            _lost(case, "the consumer was left before its retry")
        self._kept.clear()
        return lost


def _lost(case: Case, reason: str) -> None:
    _logger.error("dead letter that no pool keeps: notification %r, %r of %r: %r", *_told(case, reason))


def _told(case: Case, reason: str) -> tuple[str | None, ...]:
    """Return what a log may tell: who and why, neither payload nor context."""
    notification = case.notification
    if notification is None:
        return None, None, None, bounded(reason)
    return notification.message_id, notification.event_type, notification.publisher_id, bounded(reason)
