"""From a delivery to its settling: decode, match, de-duplicate, line up, handle, keep copies, acknowledge.

`deliver` is a plain call, and only keeps a delivery: it is decoded when a task has time to handle it. So what is made of it is
handled while it is new, and gone before the next one; many decoded notifications that wait cost more than handling them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from aioswap.clock import Clock
from aioswap.consuming.calling import Caller
from aioswap.consuming.copies import FRESH, Trail, combine
from aioswap.consuming.handlers import HANDLED, Handler, Handlers
from aioswap.consuming.lanes import Lanes
from aioswap.consuming.reading import read
from aioswap.consuming.settling import Case, Copies, Seen
from aioswap.errors import DecodeError
from aioswap.hooks import Hooks, Operation, OperationKind
from aioswap.outcomes import Ack, Outcome, Reject, Retry, RetryPolicy
from aioswap.transports.base import Delivery
from aioswap.wire.faults import Mask, mask, traceback_of
from aioswap.wire.notification import Notification

__all__ = ["Counts", "Intake", "Rules"]

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """What was done since the consumer was started; see `ConsumerHealth`."""

    received: int = 0
    skipped: int = 0
    in_flight: int = 0
    handled: int = 0
    duplicates: int = 0
    retried: int = 0
    dead_letters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a consumer handles: the part of its arguments that is no business of a transport.

    Raises:
        ValueError: one of the values is outside its range.
    """

    pool: str | None
    retry: RetryPolicy
    concurrency: int
    handler_timeout: float | None
    hooks: Hooks
    clock: Clock
    masked: Mask = mask

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"concurrency={self.concurrency}: give 1 or more")
        if self.handler_timeout is not None and self.handler_timeout <= 0:
            raise ValueError(f"handler_timeout={self.handler_timeout}: give seconds above 0, or None for no limit")


class Intake:
    """Takes deliveries until its lanes are closed. Made and closed by one task, its owner.

    Args:
        handlers: who wants what.
        rules: how to handle.
        stopped: told of what ends a consumer: a handler raised SystemExit or the like. It must not raise.
    """

    def __init__(self, handlers: Handlers, rules: Rules, stopped: Callable[[BaseException], None]) -> None:
        self.counts = Counts()
        self._defect: str | None = None
        self.lanes: Lanes[Delivery, Case] = Lanes(self._sort, self._work, self._failed, concurrency=rules.concurrency)
        self._handlers = handlers
        self._rules = rules
        self._hooks = rules.hooks if rules.hooks else None
        self._stopped = stopped
        self._seen = Seen()
        self._utcnow = rules.clock.utcnow
        self._caller = Caller(rules.retry, rules.handler_timeout, rules.clock, self._cut_off, rules.masked)
        self._copies: Copies | None = None
        self._owner = asyncio.current_task()

    def keep_with(self, copies: Copies) -> None:
        """Keep what is not done with `copies`. To be called before the first delivery."""
        self._copies = copies

    @property
    def degraded(self) -> str | None:
        """What goes wrong now; None: nothing."""
        return self._defect or (self._copies.degraded if self._copies is not None else None)

    def deliver(self, delivery: Delivery) -> None:
        """Take a delivery; returns at once."""
        self.counts.received += 1
        self.counts.in_flight += 1
        self.lanes.offer(delivery)

    def again(self, case: Case) -> None:
        """Handle a case once more that was kept in memory."""
        self.lanes.submit(case.lane, case)

    async def close(self) -> None:
        """Cancel what is being handled; its deliveries stay unsettled. What only memory keeps is logged as dead letters."""
        try:
            await self.lanes.close()
        finally:
            self._caller.close()
            if self._copies is not None:
                for case in self._copies.close():
                    self.counts.dead_letters += 1
                    if self._hooks is not None:
                        operation = self._begin(self._hooks, OperationKind.SETTLE, case)
                        self._end(operation, Reject("left before its retry"), None)
            self.counts.in_flight = 0

    def _sort(self, delivery: Delivery) -> None:
        """Find out what a delivery is, and line it up if somebody is to handle it."""
        try:
            if self._hooks is None:
                self._receive(delivery)
            else:
                self._receive_and_tell(delivery, self._hooks)
        except Exception as error:  # a supervisor: one delivery must not stop those behind it
            self._note_defect(error)

    def _receive_and_tell(self, delivery: Delivery, hooks: Hooks) -> None:
        operation = Operation(
            kind=OperationKind.RECEIVE,
            routing_key=delivery.routing_key,
            pool=self._rules.pool,
            size=len(delivery.original),
            headers=dict(delivery.headers),
        )
        hooks.started(operation)
        operation.outcome, notification = self._receive(delivery)
        if notification is not None:
            operation.event_type, operation.message_id = notification.event_type, notification.message_id
        hooks.finished(operation)

    def _receive(self, delivery: Delivery) -> tuple[str, Notification[Any] | None]:
        notification, unreadable = None, ""
        try:
            notification = read(delivery)
        except DecodeError as error:
            unreadable = str(error)
        trail = Trail.read(delivery.headers).start()
        handlers = () if notification is None else self._handlers.matching(notification.event_type)
        if notification is not None and not handlers and trail.owed is None:
            self.counts.skipped += 1
            self._acknowledge(delivery)
            return "skipped", notification
        body = delivery.original if delivery.body is None else delivery.body
        # Python's hash is made with a secret of the process, and the id stands beside it
        key = (None if notification is None else notification.message_id, hash(body), trail.replays, trail.attempts)
        if key in self._seen:
            self._duplicate(delivery, self._seen[key])
            return "duplicate", notification
        lane = _instance_of(notification) or key
        case = Case(delivery, key, lane, trail, self._utcnow(), notification, handlers, unreadable, [delivery])
        self._seen[key] = case
        self.lanes.submit(lane, case)
        return "unreadable" if notification is None else "wanted", notification

    def _duplicate(self, delivery: Delivery, first: Case | None) -> None:
        """Acknowledge `delivery`, at once or when the first one, which is in flight, is settled."""
        self.counts.duplicates += 1
        if first is None:
            self._acknowledge(delivery)
        else:
            first.unsettled.append(replace(delivery, body=None, original=b"", headers={}, properties={}))

    def _acknowledge(self, delivery: Delivery) -> None:
        self.counts.in_flight -= 1
        delivery.ack()

    async def _work(self, case: Case) -> None:
        """Run the handlers that are owed, one after the other, and settle."""
        trail, owed, ran = case.trail, case.trail.owed, False
        failed: list[tuple[str, Outcome]] = []
        for handler in case.handlers:
            if owed is not None and handler.name not in owed:
                continue
            if ran and self._cut_off():  # the handler before has outlived its cancel
                raise asyncio.CancelledError
            assert case.notification is not None
            operation = None if self._hooks is None else self._begin(self._hooks, OperationKind.HANDLE, case, handler)
            try:
                outcome, error = await self._caller.call(handler, case.notification, trail.attempts)
            except BaseException as fatal:
                self._end(operation, None, fatal)
                raise
            self._end(operation, outcome, error)
            if not isinstance(outcome, Ack):
                failed.append((handler.name, outcome))
            ran = True
        outcome = HANDLED
        if failed or trail is not FRESH or case.notification is None:
            trail, outcome = self._judge(case, failed)
            if case.notification is not None and not isinstance(outcome, Ack) and self._cut_off():  # no time for a copy
                raise asyncio.CancelledError
        operation = None if self._hooks is None else self._begin(self._hooks, OperationKind.SETTLE, case)
        try:
            if isinstance(outcome, Ack):
                self.counts.handled += 1
            else:
                outcome = await self._keep(case, trail, outcome)
            self._settle(case)
        except BaseException as error:
            self._end(operation, None, error)
            raise
        self._end(operation, outcome, None)

    def _judge(self, case: Case, failed: list[tuple[str, Outcome]]) -> tuple[Trail, Outcome]:
        """Return the trail after this attempt, in which these handlers `failed`, and what becomes of the delivery."""
        trail = case.trail
        if case.notification is None:
            return replace(trail, attempts=trail.attempts + 1), Reject(case.unreadable)
        if trail.owed:
            known = {handler.name for handler in case.handlers}
            failed += [(name, Reject("there is no such handler any more")) for name in trail.owed if name not in known]
        return combine(trail, failed)

    async def _keep(self, case: Case, trail: Trail, outcome: Outcome) -> Outcome:
        """Make sure of what is not done. Return what has become of it."""
        assert self._copies is not None
        first, key = trail.first or case.arrived.isoformat(), trail.routing_key or case.delivery.routing_key
        trail = replace(trail, first=first, routing_key=key)
        if isinstance(outcome, Retry) and await self._copies.retry(case, trail, outcome.after):
            self.counts.retried += 1
            return outcome
        if isinstance(outcome, Reject):
            await self._copies.dead_letter(case, trail, str(outcome))
        else:
            outcome = Reject("there was no room for a retry")
        self.counts.dead_letters += 1
        return outcome

    def _settle(self, case: Case) -> None:
        """Remember, then acknowledge, what is done or kept."""
        assert self._copies is not None
        self._copies.done(case)
        self._seen.settle(case.key)
        self.counts.in_flight -= len(case.unsettled)
        for delivery in case.unsettled:
            delivery.ack()

    def _failed(self, case: Case, error: BaseException) -> None:
        """Note what ended the task of `case`: its deliveries stay unsettled, and come again with the next connection."""
        if self._cut_off():
            return
        self._seen.forget(case)
        if isinstance(error, Exception | asyncio.CancelledError):
            self._note_defect(error)
        else:
            self._stopped(error)

    def _note_defect(self, error: BaseException) -> None:
        self._defect = f"a delivery stays unsettled: {type(error).__name__} while it was handled; see the log"
        told = traceback_of(error)
        _logger.error("a delivery stays unsettled, for its handling failed in an unexpected way\n%s", told)

    def _cut_off(self) -> bool:
        """Whether it is the consumer, or its loop, that cancels."""
        return self.lanes.closed or (self._owner is not None and self._owner.cancelling() > 0)

    def _begin(self, hooks: Hooks, kind: OperationKind, case: Case, handler: Handler | None = None) -> Operation:
        notification = case.notification
        operation = Operation(
            kind=kind,
            event_type=None if notification is None else notification.event_type,
            message_id=None if notification is None else notification.message_id,
            routing_key=case.trail.routing_key or case.delivery.routing_key,
            pool=self._rules.pool,
            handler=None if handler is None else handler.name,
            attempt=case.trail.attempts,
            size=len(case.delivery.original),
            headers=dict(case.delivery.headers),
        )
        hooks.started(operation)
        return operation

    def _end(self, operation: Operation | None, outcome: Outcome | None, error: BaseException | None) -> None:
        if operation is not None and self._hooks is not None:
            operation.outcome = "" if outcome is None else type(outcome).__name__.lower()
            operation.error = error
            self._hooks.finished(operation)


def _instance_of(notification: Notification[Any] | None) -> str | None:
    """Return the uuid in the payload, None where there is none."""
    payload = None if notification is None else notification.payload
    uuid = payload.get("uuid") if isinstance(payload, dict) else getattr(payload, "uuid", None)
    return uuid if isinstance(uuid, str) else None
