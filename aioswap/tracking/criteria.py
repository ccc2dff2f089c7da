"""Which swaps are asked for, which attempts are the same, and which of several is the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Self

from aioswap.swaps import Swap, SwapState

__all__ = ["Criteria", "ended", "same_attempt", "worst"]

_WORST_FIRST: Final = (SwapState.FAILED, SwapState.STUCK, SwapState.RUNNING, SwapState.SUCCEEDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """What holds for a swap that is asked for. None: anything.

    Args:
        instance: the instance's uuid.
        old: the old volume's id.
        new: the new volume's id.
        request_id: Nova's request id.
        global_request_id: the caller's request id; several swaps may have it.
        since: the first notification arrived then or later; aware.

    Raises:
        ValueError: `since` is naive.
    """

    instance: str | None = None
    old: str | None = None
    new: str | None = None
    request_id: str | None = None
    global_request_id: str | None = None
    since: datetime | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.since.tzinfo is None:
            raise ValueError(f"since={self.since} is naive: give an aware moment")

    @classmethod
    def of(cls, swap: Swap) -> Self:
        """Return what holds for `swap` and its namesakes."""
        return cls(instance=swap.instance, old=swap.old_volume_id, new=swap.new_volume_id, request_id=swap.request_id)

    def narrow(self) -> Self:
        """Return itself, if it asks for less than everything.

        Raises:
            TypeError: it does not.
        """
        if not any(value is not None for name, value in self.as_arguments().items() if name != "since"):
            raise TypeError("say which swap: give at least one of instance, old, new, request_id, global_request_id")
        return self

    def as_arguments(self) -> dict[str, Any]:
        """Return it as `SwapLedger.find` and `SwapHistory.read` take it."""
        return {name: getattr(self, name) for name in self.__slots__}

    def match(self, swap: Swap) -> bool:
        """Say whether everything holds for `swap`."""
        return (
            self.instance in (None, swap.instance)
            and self.old in (None, swap.old_volume_id)
            and self.new in (None, swap.new_volume_id)
            and self.request_id in (None, swap.request_id)
            and self.global_request_id in (None, swap.global_request_id)
            and (self.since is None or swap.first_seen >= self.since)
        )


def same_attempt(one: Swap, other: Swap) -> bool:
    """Say whether both are what was known of one attempt, at two moments."""
    if _key(one) != _key(other):
        return False
    # without a request id several attempts have one key, and a late notification may become the first
    return one.request_id is not None or one.evidence[0] in other.evidence or other.evidence[0] in one.evidence


def ended(swap: Swap, or_stuck: bool = False) -> bool:
    """Say whether a swap is over; `or_stuck`: or will hardly ever be."""
    return swap.state in (SwapState.SUCCEEDED, SwapState.FAILED) or (or_stuck and swap.state is SwapState.STUCK)


def worst(swaps: Sequence[Swap], rest: Sequence[Swap] = ()) -> Swap:
    """Return the worst of `swaps`, the first among equals; its `others` are the other ones and the rest."""
    chosen = min(swaps, key=lambda swap: _WORST_FIRST.index(swap.state))
    return replace(chosen, others=tuple(swap for swap in (*swaps, *rest) if swap is not chosen))


def _key(swap: Swap) -> tuple[str | None, ...]:
    return swap.source, swap.instance, swap.old_volume_id, swap.new_volume_id, swap.request_id
