"""Which attempts are the same, which were told already, and which of several is the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from aioswap.swaps import Swap, SwapState

__all__ = ["Once", "ended", "same_attempt", "worst"]

_WORST_FIRST: Final = (SwapState.FAILED, SwapState.STUCK, SwapState.RUNNING, SwapState.SUCCEEDED)


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


class Once:
    """Remembers which attempts something was done for.

    Args:
        keep: so many; the oldest is forgotten first.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._noted: dict[tuple[str | None, ...], None] = {}

    def note(self, swap: Swap) -> bool:
        """Remember the attempt; False: it was noted before."""
        key = _key(swap)
        names = [""] if swap.request_id is not None else swap.evidence
        known = any((*key, name) in self._noted for name in names)
        self._noted[(*key, names[0])] = None
        if len(self._noted) > self._keep:
            del self._noted[next(iter(self._noted))]
        return not known


def _key(swap: Swap) -> tuple[str | None, ...]:
    return swap.source, swap.instance, swap.old_volume_id, swap.new_volume_id, swap.request_id
