"""What the whole session has shown: a line for each fault, and the sums of all of them together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.faults.accounting import Sum
from tests.faults.ways import FAST

__all__ = ["FAULTS", "Book", "Entry"]

FAULTS: Final = {
    1: "broker absent at start",
    2: "broker stopped and started",
    3: "broker killed",
    4: "broker stands still",
    5: "RST of all connections",
    6: "black hole",
    7: "slow link",
    8: "connections closed by an operator",
    9: "memory or disk alarm",
    10: "exchange missing or deleted",
    11: "queue deleted",
    12: "declared otherwise (406)",
    13: "right revoked, password rotated",
    14: "unroutable, queue full",
    15: "producer killed",
    16: "consumer killed or stopped",
    17: "acknowledged too late",
    18: "disk of the outbox",
    19: "no descriptors, no memory",
    20: "cancelled, timeout, loops, fork",
    21: "clock jumps",
    22: "TLS",
    23: "node of a cluster lost",
    24: "peers that speak no AMQP",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One injected fault, and what followed."""

    number: int
    injected: str
    sum: Sum
    swaps: int
    wrong_swaps: int
    figures: dict[str, float] = field(default_factory=dict)
    """Seconds or megabytes, by what they measure."""
    unkept: int = 0
    """Swaps of which the disk had refused a part, so that a kill shows in what was told."""

    def __str__(self) -> str:
        figures = "".join(f", {name} {value:.1f}{'' if name.endswith('MB') else ' s'}" for name, value in self.figures.items())
        result = "ok" if not self.wrong_swaps else f"{self.wrong_swaps} WRONG"
        if self.unkept:
            result += f", {self.unkept} outside the crash journal"
        return (
            f"F{self.number} {FAULTS[self.number]}: injected {self.injected}; {self.sum}; swaps {self.swaps} {result}{figures}"
        )


@dataclass
class Book:
    """Collects entries, and how the tests of each fault ended."""

    entries: list[Entry] = field(default_factory=list)
    passed: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    failed: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    impossible: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Reasons why something could not be injected here."""

    def add(self, entry: Entry) -> None:
        """Note what was shown, and print it."""
        self.entries.append(entry)
        print(entry)

    def lines(self) -> Iterator[str]:
        """Tell it all."""
        for entry in sorted(self.entries, key=lambda entry: entry.number):
            yield str(entry)
        shown = [number for number in FAULTS if self.passed[number] and not (self.failed[number] or self.impossible[number])]
        hidden = ", ".join(f"F{number} ({self._reason(number)})" for number in FAULTS if number not in shown)
        yield f"{len(shown)} of {len(FAULTS)} faults shown" + (f"; not shown: {hidden}" if hidden else "")
        yield "messages went beneath aio-pika, the fast way" if FAST else "messages went by aio-pika's own client"
        sums = [entry.sum for entry in self.entries]
        yield (
            f"together: accepted {sum(each.accepted for each in sums)}, lost {sum(each.lost for each in sums)}, "
            f"duplicates on the wire {sum(each.duplicates for each in sums)} (bound {sum(each.bound for each in sums)}), "
            f"inversions {sum(each.inversions for each in sums)}, "
            f"handled twice {sum(each.handled_twice for each in sums)} (bound {sum(each.may_handle_twice for each in sums)}); "
            f"swaps {sum(entry.swaps for entry in self.entries)}, wrong {sum(entry.wrong_swaps for entry in self.entries)}"
        )

    def _reason(self, number: int) -> str:
        if self.failed[number]:
            return "failed: " + ", ".join(self.failed[number])
        if self.impossible[number]:
            return "; ".join(self.impossible[number])
        return "not run"
