"""A tracker from opening to closing: what its one task owns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from aioswap.attempts import Attempt, Span
from aioswap.clock import Clock, Timer
from aioswap.consuming.copies import bounded
from aioswap.consuming.reading import read
from aioswap.errors import DecodeError
from aioswap.history import SwapHistory
from aioswap.history_file import Remembered
from aioswap.hooks import Hooks, Operation, OperationKind
from aioswap.ledger import SwapLedger
from aioswap.swaps import Swap, SwapState
from aioswap.tracking.alerts import Alerts
from aioswap.tracking.listening import LOOK_EVERY, Ear
from aioswap.tracking.waiting import Watches
from aioswap.transports.base import Delivery, Subscription, Transport
from aioswap.wire.notification import Notification

__all__ = ["Session", "Shared"]

_logger = logging.getLogger(__name__)

_CLOSED: Final = "the tracker was closed: nothing is heard of this swap any more"
_AT_ONCE: Final = 100
"""Attempts that are restored before others have their turn."""
_ROUNDING: Final = timedelta(milliseconds=1)
"""By so much a timer may be early."""


@dataclass(slots=True, eq=False, kw_only=True)
class Shared:
    """What a tracker keeps from one session to the next."""

    ledger: SwapLedger
    keep: int
    history: SwapHistory | None
    alerts: Alerts
    clock: Clock
    hooks: Hooks
    watches: Watches = field(default_factory=Watches)
    listened_until: datetime | None = None
    received: int = 0
    skipped: int = 0
    """By the sessions before this one."""
    unreadable: int = 0


class Session:
    """Hears, keeps time, writes the history.

    Args:
        shared: what outlives it.
        transports: where to hear.
        subscription: what to hear.
    """

    def __init__(self, shared: Shared, transports: Sequence[Transport], subscription: Subscription) -> None:
        self.bound: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ears: list[Ear] = []
        self.over = False
        self._shared = shared
        self._transports = transports
        self._subscription = subscription
        self._news = asyncio.Event()
        self._due: datetime | None = None
        self._due_timer: Timer | None = None
        self._look_timer: Timer | None = None

    @property
    def skipped(self) -> int:
        """Foreign notifications that its receivers acknowledged."""
        return sum(ear.receiver.skipped for ear in self.ears)

    def end(self) -> None:
        """Let `run` end."""
        self.over = True
        self._news.set()

    async def run(self) -> None:
        """Open everything, listen until `end` or a cancellation, close everything."""
        try:
            async with AsyncExitStack() as stack:
                await self._open(stack)
                self.bound.set_result(None)
                try:
                    await self._keep_writing()
                finally:
                    self._shared.listened_until = self._shared.clock.utcnow()
                    if self._shared.history is not None:
                        self._shared.history.note_listening(self._shared.listened_until)
        finally:
            self.over = True
            self._shared.watches.end(_CLOSED)

    async def _open(self, stack: AsyncExitStack) -> None:
        shared = self._shared
        until = shared.listened_until
        if shared.history is not None:
            remembered = await shared.history.open(keep=shared.keep)
            stack.push_async_callback(shared.history.close)
            until = max(filter(None, (until, remembered.listened_until)), default=None)
        shared.alerts.open()
        stack.push_async_callback(shared.alerts.close)
        stack.callback(self._stop_timers)
        if shared.history is not None:
            await self._restore(remembered)
        for transport in self._transports:
            receiver = await stack.enter_async_context(transport.receiver(self._subscription, self._deliver, label="tracker"))
            self.ears.append(Ear(receiver, shared.clock.utcnow()))
        now = shared.clock.utcnow()
        if until is not None and until < now:
            self._note_deaf((until, now))
        self._look()

    async def _keep_writing(self) -> None:
        history = self._shared.history
        while not self.over:
            await self._news.wait()
            self._news.clear()
            try:
                if history is not None:
                    await history.flush()
            except Exception:  # a supervisor: the history's fault must not end the tracking
                _logger.exception("writing the history failed in an unexpected way; it is tried again")

    async def _restore(self, remembered: Remembered) -> None:
        """Let the ledger know again what the history knows, bit by bit; tell what has changed since it was written."""
        for span in remembered.deaf:
            self._shared.ledger.deaf(*span)
        for begin in range(0, len(remembered.attempts), _AT_ONCE):
            self._restore_some(remembered.attempts[begin : begin + _AT_ONCE])
            await asyncio.sleep(0)

    def _restore_some(self, attempts: Sequence[tuple[Attempt, SwapState]]) -> None:
        shared = self._shared
        states = {(attempt.key, attempt.name): state for attempt, state in attempts}
        for swap in shared.ledger.restore((attempt for attempt, _ in attempts), shared.clock.utcnow()):
            restored = shared.ledger.attempt(swap)
            before = None if restored is None else states.get((restored.key, restored.name))
            if before is not swap.state:
                self._tell((swap,))
            elif before is SwapState.STUCK:
                shared.alerts.note(swap)

    def _deliver(self, delivery: Delivery) -> None:
        """Take a delivery, and acknowledge it whatever it is: nobody else would do better with it."""
        self._shared.received += 1
        operation = None
        if self._shared.hooks:
            operation = Operation(
                kind=OperationKind.RECEIVE,
                routing_key=delivery.routing_key,
                size=len(delivery.original),
                headers=dict(delivery.headers),
            )
            self._shared.hooks.started(operation)
        try:
            outcome, notification = self._hear(delivery)
        except Exception:  # a supervisor: one message must not stop those behind it
            _logger.exception("a notification could not be taken in for a reason that nobody thought of")
            outcome, notification = "unreadable", None
        delivery.ack()
        if operation is not None:
            operation.outcome = outcome
            if notification is not None:
                operation.event_type, operation.message_id = notification.event_type, notification.message_id
            self._shared.hooks.finished(operation)

    def _hear(self, delivery: Delivery) -> tuple[str, Notification[Any] | None]:
        ledger = self._shared.ledger
        try:
            notification = read(delivery)
        except DecodeError as error:
            self._shared.unreadable += 1
            _logger.warning("the tracker leaves out a message of %r: %r", delivery.routing_key, bounded(str(error)))
            return "unreadable", None
        ignored = ledger.ignored
        self._tell(ledger.observe(notification, self._shared.clock.utcnow()), notification.message_id)
        return "wanted" if ledger.ignored == ignored else "skipped", notification

    def _tell(self, changed: Iterable[Swap], message_id: str | None = None) -> None:
        """Tell everybody what has changed, because of a notification or by time alone."""
        shared = self._shared
        for swap in changed:
            shared.watches.tell(swap, born=swap.evidence == (message_id,))
            if swap.state is SwapState.STUCK:
                shared.alerts.tell(swap)
            if shared.history is not None and (attempt := shared.ledger.attempt(swap)) is not None:
                shared.history.note(attempt, swap.state)
                self._news.set()
        self._wait_for_due()

    def _wait_for_due(self) -> None:
        """Let the timer go off when the ledger has something to say by time alone."""
        due = self._shared.ledger.next_due()
        if due == self._due:
            return
        if self._due_timer is not None:
            self._due_timer.cancel()
        self._due, self._due_timer = due, None
        if due is not None:
            left = max((due - self._shared.clock.utcnow()).total_seconds(), 0.0)
            self._due_timer = self._shared.clock.call_later(left, self._fall_due)

    def _fall_due(self) -> None:
        now = self._shared.clock.utcnow()
        if self._due is not None and now < self._due <= now + _ROUNDING:
            now = self._due
        self._due = None
        self._tell(self._shared.ledger.tick(now))

    def _look(self) -> None:
        """See who listens, and what time it is: the wall clock may have jumped."""
        shared, now = self._shared, self._shared.clock.utcnow()
        self._look_timer = shared.clock.call_later(LOOK_EVERY, self._look)
        for ear in self.ears:
            if (span := ear.look(now)) is not None:
                self._note_deaf(span)
        if shared.history is not None:
            if all(ear.receiver.health.connected for ear in self.ears):
                shared.history.note_listening(now)
            self._news.set()
        self._fall_due()

    def _note_deaf(self, span: Span) -> None:
        self._shared.ledger.deaf(*span)
        if self._shared.history is not None:
            self._shared.history.note_deaf(*span)

    def _stop_timers(self) -> None:
        for timer in (self._due_timer, self._look_timer):
            if timer is not None:
                timer.cancel()
