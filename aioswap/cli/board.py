"""What `aioswap watch` shows: which swaps are wanted, what of them is new, and how they look as a table that changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import nlargest
from typing import Final, TypeAlias

from rich.console import Group
from rich.table import Table
from rich.text import Text

from aioswap.cli.output import escaped
from aioswap.swaps import Swap, SwapState
from aioswap.tracking.answers import same_attempt
from aioswap.tracking.fields import OPEN, fault_of

__all__ = ["Board", "Filters", "lasting", "picture"]

_KNOWN: Final = 10_000
_COLOURS: Final = {
    SwapState.RUNNING: "cyan",
    SwapState.SUCCEEDED: "green",
    SwapState.FAILED: "red",
    SwapState.STUCK: "yellow",
}
_WIDE: Final = 170
"""Letters of a line that has room for whole ids."""
_SHORT: Final = 8
"""Letters of an id that are shown where there is less."""
_AROUND: Final = 4
"""Lines of the screen that no swap is shown in."""

_Key: TypeAlias = tuple[str | None, ...]


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which swaps are wanted. Empty: all.

    Args:
        instances: uuids.
        hosts: names.
        projects: ids of projects.
        states: names.
    """

    instances: Collection[str] = ()
    hosts: Collection[str] = ()
    projects: Collection[str] = ()
    states: Collection[str] = ()

    def match(self, swap: Swap) -> bool:
        """Say whether `swap` is wanted as it is now."""
        return (
            (not self.instances or swap.instance in self.instances)
            and (not self.hosts or swap.host in self.hosts)
            and (not self.projects or swap.project_id in self.projects)
            and (not self.states or swap.state in self.states)
        )


class Board:
    """The swaps that were heard of: the 10,000 whose last change is the newest.

    Args:
        filters: which ones are shown.
    """

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._known: dict[_Key, list[Swap]] = {}
        """By what is the same for all attempts of a request; without a request id there may be several."""

    def take(self, swap: Swap) -> bool:
        """Take in what is known of a swap now. True: it is wanted, and it is not in the state that it was in before."""
        key: _Key = swap.source, swap.instance, swap.old_volume_id, swap.new_volume_id, swap.request_id
        attempts = self._known.pop(key, [])
        before = next((known for known in attempts if same_attempt(known, swap)), None)
        self._known[key] = [*(known for known in attempts if known is not before), swap]
        if len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]
        changed = before is None or (before.state, before.inferred) != (swap.state, swap.inferred)
        return changed and self._filters.match(swap)

    def swaps(self) -> list[Swap]:
        """Return the wanted swaps, in the order of their last change."""
        return [swap for attempts in self._known.values() for swap in attempts if self._filters.match(swap)]


def lasting(span: timedelta) -> str:
    """Return a span as people read it: `12.3 s`, `5:01`, `1:00:00`."""
    seconds = span.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def picture(board: Board, now: datetime, width: int, height: int, trouble: str | None = None) -> Group:
    """Return the table of `aioswap watch`: swaps without an end first of all, then the latest, as many as there is room for.

    Args:
        board: what to show.
        now: the moment.
        width: letters of a line.
        height: lines of the screen.
        trouble: what hinders the listening; None: nothing.
    """
    swaps = board.swaps()
    places = enumerate(swaps)
    chosen = nlargest(max(height - _AROUND, 1), places, key=lambda placed: (placed[1].state in OPEN, placed[0]))
    rows = sorted((swap for _, swap in chosen), key=lambda swap: swap.first_seen)
    table = Table(box=None, pad_edge=False, expand=True)
    for name in ("start (UTC)", "host", "instance", "old -> new", "state", "time"):
        table.add_column(Text(name), no_wrap=True, justify="right" if name == "time" else "left")
    table.add_column(Text("fault"), no_wrap=True, ratio=1)  # it has what the others leave
    for swap in rows:
        cells = _cells(swap, now, None if width >= _WIDE else _SHORT)
        table.add_row(*(Text(escaped(cell), style=_COLOURS[swap.state] if cell == swap.state else "") for cell in cells))
    return Group(table, Text(_summary(swaps, trouble), no_wrap=True, overflow="ellipsis"))


def _cells(swap: Swap, now: datetime, letters: int | None) -> tuple[str, ...]:
    time = now - swap.first_seen if swap.state in OPEN else swap.duration
    return (
        "?" if swap.started_at is None else f"{swap.started_at:%H:%M:%S}",
        swap.host or "?",
        swap.instance[:letters],
        f"{swap.old_volume_id[:letters]} -> {swap.new_volume_id[:letters]}",
        swap.state,
        "?" if time is None else lasting(max(time, timedelta())),
        fault_of(swap) or swap.inferred or "",
    )


def _summary(swaps: Collection[Swap], trouble: str | None) -> str:
    counts = Counter(swap.state for swap in swaps)
    told = ", ".join(f"{counts[state]} {state}" for state in SwapState)
    return told if trouble is None else f"{told}; {escaped(trouble)}"
