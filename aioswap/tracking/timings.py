"""How long swaps take, host by host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil

from aioswap.swaps import Swap, SwapState

__all__ = ["HostTimings", "timings_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTimings:
    """The swaps of one host. Seconds are those of succeeded swaps whose start and end were both seen."""

    host: str | None
    """None: the publisher id named none."""
    count: int
    """How many swaps the seconds are of."""
    min: float | None
    """The shortest; None, like the next three: there is none."""
    p50: float | None
    """The median: half of the swaps took no longer (nearest rank)."""
    p95: float | None
    """95 of 100 swaps took no longer (nearest rank)."""
    max: float | None
    """The longest."""
    failed: int
    """Failures, those that are inferred included."""
    never_ended: int
    """Swaps that are stuck: a start without an end."""
    never_started: int
    """Swaps that ended, and whose start was not seen."""


@dataclass(slots=True)
class _Sums:
    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    never_ended: int = 0
    never_started: int = 0

    def add(self, swap: Swap) -> None:
        ended = swap.state in (SwapState.SUCCEEDED, SwapState.FAILED)
        self.failed += swap.state is SwapState.FAILED
        self.never_ended += swap.state is SwapState.STUCK
        self.never_started += ended and swap.started_at is None
        if swap.state is SwapState.SUCCEEDED and swap.duration is not None:
            self.seconds.append(swap.duration.total_seconds())

    def of(self, host: str | None) -> HostTimings:
        seconds = sorted(self.seconds)
        return HostTimings(
            host=host,
            count=len(seconds),
            min=_rank(seconds, 0.0),
            p50=_rank(seconds, 0.50),
            p95=_rank(seconds, 0.95),
            max=_rank(seconds, 1.0),
            failed=self.failed,
            never_ended=self.never_ended,
            never_started=self.never_started,
        )


def timings_of(swaps: Iterable[Swap]) -> list[HostTimings]:
    """Return the timings of each host that has swaps, in order of the hosts' names."""
    sums: dict[str | None, _Sums] = {}
    for swap in swaps:
        sums.setdefault(swap.host, _Sums()).add(swap)
    return [sums[host].of(host) for host in sorted(sums, key=lambda host: host or "")]


def _rank(seconds: list[float], share: float) -> float | None:
    """Return what this share of the sorted `seconds` does not exceed; None if there are none."""
    return seconds[max(ceil(share * len(seconds)), 1) - 1] if seconds else None
