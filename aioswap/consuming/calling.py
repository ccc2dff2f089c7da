"""Calling a handler: whatever it does, an outcome comes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aioswap.clock import Clock
from aioswap.consuming.copies import bounded
from aioswap.consuming.deadlines import Deadlines
from aioswap.consuming.handlers import Handler, misfit, outcome_of
from aioswap.outcomes import Ack, Outcome, Reject, RetryPolicy
from aioswap.wire.faults import Mask, mask, traceback_of
from aioswap.wire.notification import Notification

__all__ = ["Caller"]

_logger = logging.getLogger(__name__)


class Caller:
    """Calls handlers, each with its deadline.

    Args:
        policy: judges what they raise.
        limit: seconds for one call; None: no limit.
        clock: times it.
        cut_off: whether a cancel comes from the consumer or its loop. Any other one is a failure of the handler.
        masked: takes the secrets out of what handlers raise.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        limit: float | None,
        clock: Clock,
        cut_off: Callable[[], bool],
        masked: Mask = mask,
    ) -> None:
        self._policy = policy
        self._limit = limit
        self._deadlines = None if limit is None else Deadlines(limit, clock)
        self._cut_off = cut_off
        self._masked = masked

    async def call(self, handler: Handler, notification: Notification[Any], attempt: int) -> tuple[Outcome, Exception | None]:
        """Return the outcome, and what the handler raised if that was none.

        SystemExit, KeyboardInterrupt and the like go through, and so does a cancel of the consumer's.
        """
        reason = misfit(handler.pattern, notification)
        if reason is not None:
            return Reject(reason), None
        task, deadlines = asyncio.current_task(), self._deadlines
        assert task is not None
        if deadlines is not None:
            deadlines.begin(task)
        in_time = True
        raised: Exception
        try:
            try:
                returned = await handler.function(notification)
            finally:
                if deadlines is not None:
                    in_time = deadlines.end(task)
            raised = outcome_of(returned)
        except asyncio.CancelledError as error:
            if self._cut_off():
                raise
            raised = self._cancelled(error, in_time=in_time)
        except Exception as error:  # around a handler: whatever it raises becomes an outcome
            raised = error
        if task.cancelling():
            await _forget_cancel(task)
        if type(raised) is Ack:
            return raised, None
        outcome = _without_secrets(self._policy.judge(raised, attempt), self._masked)
        if isinstance(raised, Outcome):
            return outcome, None
        told = traceback_of(raised, self._masked)
        _logger.warning("handler %s failed in attempt %d: %s\n%s", handler.name, attempt + 1, type(outcome).__name__, told)
        return outcome, raised

    def close(self) -> None:
        """Time nothing any more."""
        if self._deadlines is not None:
            self._deadlines.close()

    def _cancelled(self, error: asyncio.CancelledError, *, in_time: bool) -> Exception:
        """Return what a cancel means that is not the consumer's."""
        if in_time:
            return RuntimeError("the handler was cancelled, and not by its consumer")
        explained = TimeoutError(f"the handler did not end within {self._limit:g} s")
        explained.__cause__ = error
        return explained


async def _forget_cancel(task: asyncio.Task[Any]) -> None:
    """Undo a cancel that a handler asked for by itself, or has outlived: it would hit the settling."""
    while task.cancelling():
        task.uncancel()
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)


def _without_secrets(outcome: Outcome, masked: Mask) -> Outcome:
    """Return an outcome whose reason may be kept and logged."""
    return Reject(bounded(str(outcome), masked=masked)) if isinstance(outcome, Reject) else outcome
