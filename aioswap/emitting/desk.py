"""What an emitter shares with its swaps: the desk that writes notifications and hands their messages to the outbox."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from aioswap.clock import Clock
from aioswap.context import RequestContext
from aioswap.errors import OutboxFull
from aioswap.hooks import Hooks, Operation, OperationKind
from aioswap.transports.base import MAX_BODY, NO_HEADERS, Message, Outbox, Reservation
from aioswap.transports.limits import impossible
from aioswap.wire.envelope import encode
from aioswap.wire.events import EventType
from aioswap.wire.faults import Mask, mask
from aioswap.wire.notification import Notification, Priority, new_ids
from aioswap.wire.writing import PackedContext

__all__ = ["BUDGET", "Desk", "Told"]

_logger = logging.getLogger(__name__)

BUDGET: Final = 0.25
"""Seconds that telling one phase may take from a swap, room and commit together."""

_SAY_EVERY: Final = 60.0
"""Seconds between two warnings that the outbox is slow: each of many swaps would say so."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Told:
    """A notification on its way into the outbox: one message for each topic.

    Args:
        notification: what is told.
        messages: they carry it.
        context: who asked.
        operation: what hooks are told.
        taken: whether the outbox has it.
        room: of a `.start`: what is set aside for its terminal notification.
    """

    notification: Notification[Any]
    messages: tuple[Message, ...]
    context: RequestContext
    operation: Operation | None
    taken: bool = False
    room: Reservation | None = None


class Desk:
    """Writes notifications and hands their messages to the outbox.

    Args:
        outbox: what keeps them.
        publisher_id: `source:host`.
        topics: one message each.
        pin: the payload version to write.
        reraise: pass failures of telling on to the swap.
        clock: times notifications and the budget.
        hooks: told of each emit.
        masked: takes the secrets out of faults and of what is logged.
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        publisher_id: str,
        topics: Sequence[str],
        pin: str,
        reraise: bool,
        clock: Clock,
        hooks: Hooks,
        masked: Mask = mask,
    ) -> None:
        self.outbox = outbox
        self.publisher_id = publisher_id
        self.routing_keys = {
            priority: tuple(f"{topic}.{priority.lower()}" for topic in topics) for priority in (Priority.INFO, Priority.ERROR)
        }
        """Where notifications go: one message to each."""
        self.pin = pin
        self.reraise = reraise
        self.clock = clock
        self.hooks = hooks
        self.masked = masked
        self.running = 0
        self.untold = 0
        self.idle = asyncio.Event()
        self._said_closed = False
        self._late = 0
        self._said_late_at: float | None = None

    def open(self) -> None:
        """Get ready in this loop."""
        self.idle = asyncio.Event()
        self._said_closed = False

    def leave_untold(self, trouble: Exception, *, closed: bool) -> None:
        """Count a swap that runs without notifications, and log why: of a closed emitter once only."""
        self.untold += 1
        if not (closed and self._said_closed):
            _logger.warning("this swap stays untold: %s: %s", type(trouble).__name__, self.masked(str(trouble)))
        self._said_closed |= closed

    def late(self, what: str, trouble: Exception) -> None:
        """Log that `what` is kept, and not safe yet: once a minute at most, with how many there were."""
        self._late += 1
        now = self.clock.monotonic()
        if self._said_late_at is None or now - self._said_late_at >= _SAY_EVERY:
            _logger.warning("%s is not safe yet: %s (%d since this was last said)", what, self.masked(str(trouble)), self._late)
            self._late, self._said_late_at = 0, now

    def began(self) -> None:
        """Count a swap that runs."""
        self.running += 1
        self.idle.clear()

    def ended(self) -> None:
        """Count it no more."""
        self.running -= 1
        if not self.running:
            self.idle.set()

    def write(self, event_type: EventType[T], payload: T, context: RequestContext) -> Told:
        """Encode a new notification, once for each topic: the copies differ in `_unique_id` alone.

        Raises:
            ValueError: the body is larger than any consumer reads.
        """
        now, priority = self.clock.utcnow(), event_type.priority
        keys = self.routing_keys[priority]
        message_id, unique_id = new_ids()
        notification = Notification(
            message_id=message_id,
            publisher_id=self.publisher_id,
            event_type=event_type.pattern,
            priority=priority,
            timestamp=now,
            payload=payload,
            context=PackedContext(context, now),
            unique_id=unique_id,
        )
        operation = self._started(notification, keys[0]) if self.hooks else None
        try:
            headers = NO_HEADERS if operation is None else _sendable(operation)
            message = self._message(notification, keys[0], headers)
            messages = (message,) if len(keys) == 1 else (message, *self._copies(notification, keys[1:], headers))
        except BaseException as error:
            self._finished(operation, "failed", error)
            raise
        return Told(notification, messages, context, operation)

    def accept(self, told: Told, *, closes: Reservation | None = None) -> asyncio.Future[None]:
        """Put the messages into the outbox at once; the future ends when they are safe.

        Raises:
            OutboxFull: there is no room now.
        """
        try:
            safe = self.outbox.accept(*told.messages, opens=told.room, closes=closes)
        except OutboxFull:
            raise  # its turn may come
        except Exception as error:
            self._finished(told.operation, "failed", error)
            raise
        told.taken = True
        self._finished(told.operation, "accepted", None)
        return safe

    async def take_turn(self, told: Told, full: OutboxFull) -> asyncio.Future[None]:
        """Wait in line for room within the budget, after `accept` raised `full`.

        Cancelled while it waits, nothing was taken, unless `told.taken` says otherwise.

        Raises:
            OutboxFull: `full`: no room within the budget.
        """
        turn = self.outbox.line_up(*told.messages, opens=told.room)
        try:
            async with self.clock.timeout(BUDGET):
                await turn
        except TimeoutError:
            if turn.cancelled():
                raise full from None
        finally:
            told.taken = turn.done() and not turn.cancelled()
            self._finished(told.operation, "accepted" if told.taken else "untold", None if told.taken else full)
        return turn.result()

    def _copies(
        self, notification: Notification[Any], routing_keys: Iterable[str], headers: Mapping[str, Any]
    ) -> Iterator[Message]:
        for key in routing_keys:
            copy = replace(notification, unique_id=os.urandom(16).hex())
            yield self._message(copy, key, dict(headers))

    def _message(self, copy: Notification[Any], routing_key: str, headers: Mapping[str, Any]) -> Message:
        body = encode(copy)
        if len(body) > MAX_BODY:
            raise ValueError(f"the notification has {len(body)} bytes, above the limit of {MAX_BODY}: shorten its payload")
        return Message(routing_key=routing_key, body=body, message_id=copy.unique_id or "", headers=headers)

    def _started(self, notification: Notification[Any], routing_key: str) -> Operation:
        operation = Operation(
            kind=OperationKind.EMIT,
            event_type=notification.event_type,
            message_id=notification.message_id,
            routing_key=routing_key,
        )
        self.hooks.started(operation)
        return operation

    def _finished(self, operation: Operation | None, outcome: str, error: BaseException | None) -> None:
        if operation is not None and not operation.outcome:
            operation.outcome = outcome
            operation.error = error
            self.hooks.finished(operation)


def _sendable(operation: Operation) -> dict[str, Any]:
    """Return the headers that hooks have added; none if they can't be sent: the notification would be parked for them."""
    try:
        headers = dict(operation.headers)
        refusal = impossible(Message(routing_key="", body=b"", message_id="", headers=headers)) if headers else None
    except Exception as error:  # an observer's fault must not touch what it observes
        headers, refusal = {}, ValueError(f"{type(error).__name__} while they were read")
    if refusal is None:
        return headers
    _logger.error("the headers that hooks have added to %s are left out: %s", operation.event_type, refusal)
    return {}
