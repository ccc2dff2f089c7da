"""What becomes of a delivery: `Ack`, `Retry` or `Reject`, and the policy that judges other exceptions.

The three are exceptions, so that a handler may return them or raise them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

__all__ = ["RETRY_LADDER", "Ack", "Outcome", "Reject", "Retry", "RetryPolicy"]

RETRY_LADDER: Final = (1, 5, 30, 120, 600, 3600)
"""Seconds after which a message can be delivered again: one queue a step."""


class Ack(Exception):
    """Handled. The same as returning nothing."""


class Retry(Exception):
    """Deliver this notification again, later, to this handler.

    Args:
        after: seconds from now, 0 to 3600; rounded up to the next step of `RETRY_LADDER`.
        reason: why, for the dead letter that it becomes when the attempts are used up.

    Raises:
        ValueError: `after` is negative, above 3600, or not a number.
    """

    after: int

    def __init__(self, after: float = RETRY_LADDER[0], *, reason: str = "") -> None:
        if not 0 <= after <= RETRY_LADDER[-1]:
            raise ValueError(f"after={after!r}: give seconds from 0 to {RETRY_LADDER[-1]}, the last step of the ladder")
        super().__init__(reason or f"retry after {after} s")
        self.after = next(step for step in RETRY_LADDER if after <= step)


class Reject(Exception):
    """This handler can never handle it: a dead letter, with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


Outcome: TypeAlias = Ack | Retry | Reject


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Judges what a handler raises that is no outcome.

    Args:
        attempts: deliveries of one message to a handler, the first one included; 1 or more. After them: dead letter. It
            bounds a handler's own `Retry` too.
        delays: seconds before the second, third, ... attempt; the last one repeats. Each 0 to 3600.
        reject: exception types that no retry can cure: a dead letter at once.

    Raises:
        ValueError: no attempt, no delay, or a delay outside the ladder.
    """

    attempts: int = 5
    delays: tuple[float, ...] = field(default=RETRY_LADDER[:5])
    reject: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts={self.attempts}: at least 1")
        if not self.delays:
            raise ValueError("delays is empty: give at least one, in seconds")
        for delay in self.delays:
            Retry(delay)

    def judge(self, raised: Exception, attempt: int) -> Outcome:
        """Return the outcome of attempt number `attempt` (0 is the first delivery) that raised `raised`."""
        if isinstance(raised, Ack | Reject):
            return raised
        reason = str(raised) if isinstance(raised, Retry) else f"{type(raised).__name__}: {raised}"
        if isinstance(raised, self.reject) and not isinstance(raised, Retry):
            return Reject(reason)
        if attempt + 1 >= self.attempts:
            return Reject(f"{reason} (attempt {attempt + 1} of {self.attempts})")
        if isinstance(raised, Retry):
            return raised
        return Retry(self.delays[min(attempt, len(self.delays) - 1)], reason=reason)
