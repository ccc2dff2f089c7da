"""A tracker from opening to closing: what its one task owns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Final

from aioswap.attempts import Span
from aioswap.clock import Timer
from aioswap.tracking.intake import Intake, Shared
from aioswap.tracking.listening import LOOK_EVERY, Ear
from aioswap.transports.base import Subscription, Transport
from aioswap.wire.faults import traceback_of

__all__ = ["Session"]

_logger = logging.getLogger(__name__)

_CLOSED: Final = "the tracker was closed: nothing is heard of this swap any more"
_LEAVE_WAIT: Final = 10.0
_ROUNDING: Final = timedelta(milliseconds=1)
"""By so much a timer may be early."""


class Session:
    """Hears, keeps time, writes the history.

    Args:
        shared: what outlives it.
        transports: where to hear.
        subscription: what to hear.
        start_timeout: seconds for each transport to be ready.
    """

    def __init__(
        self, shared: Shared, transports: Sequence[Transport], subscription: Subscription, start_timeout: float
    ) -> None:
        self.bound: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ears: list[Ear] = []
        self.over = False
        self._shared = shared
        self._transports = transports
        self._subscription = subscription
        self._start_timeout = start_timeout
        self._news = asyncio.Event()
        self.intake = Intake(shared, self._news, self._wait_for_due)
        self._due: datetime | None = None
        self._due_timer: Timer | None = None
        self._look_timer: Timer | None = None
        self._end_timer: Timer | None = None
        self._patience: asyncio.Timeout | None = None

    @property
    def skipped(self) -> int:
        """Foreign notifications that its receivers acknowledged."""
        return sum(ear.receiver.skipped for ear in self.ears)

    def end(self) -> None:
        """Let `run` end, as soon as what waits is written, or 10 s later."""
        self.over = True
        self._news.set()
        self._end_timer = self._shared.clock.call_later(_LEAVE_WAIT, self._lose_patience)

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
            await self.intake.restore(remembered)
        for transport in self._transports:
            receiving = transport.receiver(
                self._subscription, self.intake.deliver, label="tracker", start_timeout=self._start_timeout
            )
            self.ears.append(Ear(await stack.enter_async_context(receiving), shared.clock.utcnow()))
        now = shared.clock.utcnow()
        if until is not None and until < now:
            self._note_deaf((until, now))
        self._look()

    async def _keep_writing(self) -> None:
        try:
            async with asyncio.timeout(None) as self._patience:
                await self._write_on()
        except TimeoutError:
            _logger.warning("the history is left: writing takes longer than %g s", _LEAVE_WAIT)
        finally:
            if self._end_timer is not None:
                self._end_timer.cancel()

    def _lose_patience(self) -> None:
        if self._patience is not None:
            self._patience.reschedule(0)

    async def _write_on(self) -> None:
        history = self._shared.history
        over = False
        while not over:
            await self._news.wait()
            self._news.clear()
            over = self.over
            try:
                await self.intake.catch_up()
                if history is not None:
                    await history.flush()
            except Exception as error:  # a supervisor: the history's fault must not end the tracking
                _logger.error("writing the history failed in an unexpected way; it is tried again\n%s", traceback_of(error))

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
        self.intake.tell(self._shared.ledger.tick(now))

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
