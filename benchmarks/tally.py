"""What the journals of processes that worked together say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

from benchmarks.peers.journal import Entry

__all__ = ["Failed", "latencies", "once_each", "percentile", "rate_together", "shares"]

_ENOUGH: Final = 0.5


class Failed(Exception):
    """A run that does not count; its text says why."""


def once_each(expected: Collection[int], journals: Sequence[Sequence[Entry]]) -> None:
    """Check that each notification was handled once, by one of the processes.

    Raises:
        Failed: one was not, or more than once.
    """
    handled = Counter(entry.key for journal in journals for entry in journal)
    wanted = set(expected)
    missing, foreign = len(wanted - handled.keys()), len(handled.keys() - wanted)
    again = handled.total() - len(handled)
    if missing or foreign or again or len(wanted) != len(expected):
        raise Failed(f"of {len(expected)} notifications {missing} were not handled, {again} again, and {foreign} others")


def rate_together(journals: Sequence[Sequence[Entry]]) -> float:
    """Return how many notifications a second all processes have handled, while all of them worked.

    Raises:
        Failed: less than half of the notifications were handled in that time.
    """
    if not all(journals):
        raise Failed("a process has handled nothing")
    begun = max(journal[0].when for journal in journals)
    ended = min(journal[-1].when for journal in journals)
    within = sum(begun < entry.when <= ended for journal in journals for entry in journal)
    if within < _ENOUGH * sum(map(len, journals)):
        raise Failed(f"only {within} notifications were handled while all processes worked")
    return within / (ended - begun)


def shares(journals: Sequence[Sequence[Entry]]) -> tuple[float, float]:
    """Return what the process with the fewest has handled, and the one with the most, as shares of what would be even."""
    counts = [len(journal) for journal in journals]
    even = sum(counts) / len(counts)
    return min(counts) / even, max(counts) / even


def latencies(emitted: Sequence[Entry], handled: Sequence[Entry]) -> list[float]:
    """Return the seconds from the call that emits to the handler, for each notification of which both are known, in order."""
    begun = {entry.key: entry.when for entry in emitted}
    return sorted(entry.when - begun[entry.key] for entry in handled if entry.key in begun)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which a share of all values is."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
