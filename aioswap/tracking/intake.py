"""What a tracker takes in: notifications at their turn, and what a history knows; who is told of what changes."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from aioswap.attempts import Attempt
from aioswap.clock import Clock
from aioswap.consuming.copies import bounded
from aioswap.consuming.reading import read
from aioswap.errors import DecodeError
from aioswap.evidence import SwapKey
from aioswap.history import SwapHistory
from aioswap.history_file import Remembered
from aioswap.hooks import Hooks, Operation, OperationKind
from aioswap.ledger import SwapLedger
from aioswap.swaps import Swap, SwapState
from aioswap.tracking.alerts import Alerts
from aioswap.tracking.ends import Ends
from aioswap.tracking.waiting import Watches
from aioswap.transports.base import Delivery
from aioswap.wire.faults import traceback_of
from aioswap.wire.notification import Notification

__all__ = ["Intake", "Shared"]

_logger = logging.getLogger(__name__)

_AT_ONCE: Final = 100
"""Attempts that are restored before others have their turn."""


@dataclass(slots=True, eq=False, kw_only=True)
class Shared:
    """What a tracker keeps from one session to the next."""

    ledger: SwapLedger
    keep: int
    history: SwapHistory | None
    alerts: Alerts
    clock: Clock
    hooks: Hooks
    ends: Ends = field(init=False)
    watches: Watches = field(default_factory=Watches)
    listened_until: datetime | None = None
    received: int = 0
    skipped: int = 0
    """By the sessions before this one."""
    unreadable: int = 0

    def __post_init__(self) -> None:
        self.ends = Ends(self.hooks, self.keep)


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """A notification that arrived, and is not taken in yet."""

    delivery: Delivery
    notification: Notification[Any]
    arrived: datetime
    operation: Operation | None


class Intake:
    """Takes in what is heard, tells whoever is waiting, and lets the history write it.

    A notification of a swap that memory may have forgotten waits until the history has said what it knows of it, and so do
    those behind it: it must neither begin anew nor replace what was written.

    Args:
        shared: what outlives the session.
        news: set when there is something to catch up with, or to write.
        told: called when what changed was told.
    """

    def __init__(self, shared: Shared, news: asyncio.Event, told: Callable[[], None]) -> None:
        self._shared = shared
        self._news = news
        self._told = told
        self._held: deque[_Heard] = deque()
        self._catching_up = asyncio.Lock()
        self._beyond = False
        """The history may know more than was restored."""

    async def restore(self, remembered: Remembered) -> None:
        """Let the ledger know again what the history knows, bit by bit; tell what has changed since it was written."""
        self._beyond = len(remembered.attempts) >= self._shared.keep
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
                self.tell((swap,))
            elif before is SwapState.STUCK:
                shared.alerts.note(swap)
            else:
                shared.ends.note(swap)

    async def catch_up(self) -> None:
        """Take in what waits for the history, in order, each once the ledger knows again what was known of its swap."""
        async with self._catching_up:
            while self._held:
                if (key := self._shared.ledger.lacks(self._held[0].notification)) is not None:
                    self._restore_some(await self._recall(key))
                self._take(self._held.popleft())

    async def _recall(self, key: SwapKey) -> list[tuple[Attempt, SwapState]]:
        history = self._shared.history
        assert history is not None
        try:
            return await history.recall(key)
        except Exception as error:  # a supervisor: what is heard must not wait for ever
            _logger.warning("a swap begins anew, whatever the history knows of it: %s", error)
            return []

    def deliver(self, delivery: Delivery) -> None:
        """Take a delivery in, at once or when the history has said what memory has forgotten."""
        self._shared.received += 1
        operation = self._begin(delivery)
        try:
            notification = read(delivery)
            heard = _Heard(delivery, notification, self._shared.clock.utcnow(), operation)
        except DecodeError as error:
            self._shared.unreadable += 1
            _logger.warning("the tracker leaves out a message of %r: %r", delivery.routing_key, bounded(str(error)))
            self._finish(delivery, operation, "unreadable")
            return
        except Exception as error:  # a supervisor: one message must not stop those behind it
            _logger.error("a notification could not be taken in for a reason that nobody thought of\n%s", traceback_of(error))
            self._finish(delivery, operation, "unreadable")
            return
        if self._held or (self._forgetful() and self._shared.ledger.lacks(notification) is not None):
            self._held.append(heard)
            self._news.set()
        else:
            self._take(heard)

    def _forgetful(self) -> bool:
        """Say whether the history may know of swaps that the ledger does not."""
        return self._shared.history is not None and (self._beyond or self._shared.ledger.evicted > 0)

    def _take(self, heard: _Heard) -> None:
        """Take in a notification, and acknowledge it whatever it is: nobody else would do better with it."""
        ledger, notification = self._shared.ledger, heard.notification
        ignored = ledger.ignored
        try:
            self.tell(ledger.observe(notification, heard.arrived), notification.message_id)
            self._note(ledger.signed(notification, heard.arrived))
            outcome = "wanted" if ledger.ignored == ignored else "skipped"
        except Exception as error:  # a supervisor: one message must not stop those behind it
            _logger.error("a notification could not be taken in for a reason that nobody thought of\n%s", traceback_of(error))
            outcome = "unreadable"
        self._finish(heard.delivery, heard.operation, outcome, notification)

    def _begin(self, delivery: Delivery) -> Operation | None:
        if not self._shared.hooks:
            return None
        operation = Operation(
            kind=OperationKind.RECEIVE,
            routing_key=delivery.routing_key,
            size=len(delivery.original),
            headers=dict(delivery.headers),
        )
        self._shared.hooks.started(operation)
        return operation

    def _finish(
        self, delivery: Delivery, operation: Operation | None, outcome: str, notification: Notification[Any] | None = None
    ) -> None:
        delivery.ack()
        if operation is not None:
            operation.outcome = outcome
            if notification is not None:
                operation.event_type, operation.message_id = notification.event_type, notification.message_id
            self._shared.hooks.finished(operation)

    def tell(self, changed: Sequence[Swap], message_id: str | None = None) -> None:
        """Tell everybody what has changed, because of a notification or by time alone."""
        shared = self._shared
        for swap in changed:
            shared.watches.tell(swap, born=swap.evidence == (message_id,))
            if swap.state is SwapState.STUCK:
                shared.alerts.tell(swap)
            shared.ends.tell(swap)
        self._note(changed)
        self._told()

    def _note(self, swaps: Iterable[Swap]) -> None:
        """Let the history write what is kept of these swaps."""
        for swap in swaps:
            if self._shared.history is not None and (attempt := self._shared.ledger.attempt(swap)) is not None:
                self._shared.history.note(attempt, swap.state)
                self._news.set()
