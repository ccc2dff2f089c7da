"""The swaps that are shown: as many as memory has room for, each under a number of its own."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from heapq import nlargest
from typing import Final, NamedTuple, TypeAlias

from aioswap.swaps import Swap, SwapState
from aioswap.tracking.answers import same_attempt
from aioswap.tracking.fields import OPEN

__all__ = ["Numbered", "Shelf", "Wanted"]

_KEPT: Final = 10_000
"""Swaps without an end, and as many that have ended."""

_Key: TypeAlias = tuple[str | None, ...]


class Numbered(NamedTuple):
    """A swap, and the number that it has as long as this process shows it."""

    number: int
    swap: Swap


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which swaps are asked for. Empty: all."""

    hosts: Collection[str] = ()
    states: Collection[str] = ()
    projects: Collection[str] = ()

    def match(self, swap: Swap) -> bool:
        """Say whether `swap` is wanted as it is now."""
        return (
            (not self.hosts or swap.host in self.hosts)
            and (not self.states or swap.state in self.states)
            and (not self.projects or swap.project_id in self.projects)
        )


class Shelf:
    """The swaps that were heard of: those whose last change is the newest.

    Args:
        keep: so many without an end, and so many that have ended.
    """

    def __init__(self, keep: int = _KEPT) -> None:
        self._keep = keep
        self._count = itertools.count(1)
        self._open: dict[int, Swap] = {}
        self._ended: dict[int, Swap] = {}
        """By number, in the order of the last change."""
        self._numbers: dict[_Key, list[int]] = {}
        """By what is the same for all attempts of a request; without a request id there may be several."""
        self._states: Counter[SwapState] = Counter()

    def take(self, swap: Swap) -> tuple[int, list[int]]:
        """Take in what is known of a swap now; return its number, and those that are no longer shown.

        Attempts without a request id may turn out to be one.
        """
        same = [number for number in self._numbers.get(_key(swap), ()) if same_attempt(self._swap(number), swap)]
        for number in same:
            self._drop(number)
        number = same[0] if same else next(self._count)
        place = self._open if swap.state in OPEN else self._ended
        place[number] = swap
        self._numbers.setdefault(_key(swap), []).append(number)
        self._states[swap.state] += 1
        gone = same[1:]
        if len(place) > self._keep:
            oldest = next(iter(place))
            self._drop(oldest)
            gone.append(oldest)
        return number, gone

    def swaps(self, wanted: Wanted, limit: int) -> list[Numbered]:
        """Return the wanted swaps, the newest last: `limit` at most, those without an end first of all."""
        found = [Numbered(*item) for place in (self._open, self._ended) for item in place.items() if wanted.match(item[1])]
        chosen = nlargest(limit, found, key=lambda one: (one.swap.state in OPEN, one.swap.first_seen, one.number))
        return sorted(chosen, key=lambda one: (one.swap.first_seen, one.number))

    def counts(self) -> dict[str, int]:
        """Return how many there are of each state."""
        return {str(state): self._states[state] for state in SwapState}

    def _swap(self, number: int) -> Swap:
        return self._open[number] if number in self._open else self._ended[number]

    def _drop(self, number: int) -> None:
        swap = self._swap(number)
        (self._open if number in self._open else self._ended).pop(number)
        numbers = self._numbers[_key(swap)]
        numbers.remove(number)
        if not numbers:
            del self._numbers[_key(swap)]
        self._states[swap.state] -= 1


def _key(swap: Swap) -> _Key:
    return swap.source, swap.instance, swap.old_volume_id, swap.new_volume_id, swap.request_id
