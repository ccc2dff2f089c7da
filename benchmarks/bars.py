"""The bars: what aioswap has to reach, as ratios within each round."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = ["BARS", "Bar", "Figure", "Results", "Verdict", "value_of"]

Measured: TypeAlias = Mapping[str, float]
Results: TypeAlias = Mapping[str, Mapping[str, Sequence[Measured | None]]]
"""Scenario -> row -> what each round measured; None: that run failed."""


@dataclass(frozen=True)
class Figure:
    """What is compared.

    Args:
        name: "cpu" (us a notification), "rate" (a second), or another figure that the row's runs tell.
    """

    scenario: str
    row: str
    name: str = "cpu"


@dataclass(frozen=True)
class Verdict:
    """A bar, judged. `middle` is None where there is nothing to judge by."""

    bar: Bar
    middle: float | None
    least: float = 0.0
    most: float = 0.0

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the limit; None: not measured."""
        if self.middle is None:
            return None
        return self.middle <= self.bar.limit if self.bar.at_most else self.middle >= self.bar.limit


@dataclass(frozen=True)
class Bar:
    """One bar.

    Args:
        number: of the group it belongs to.
        text: what it says.
        this: aioswap's figure.
        other: what it is divided by; None: the figure itself counts.
        limit: of the median.
        at_most: the limit is an upper one.
        decides: False: the figure is reported only, since the machine's noise is in it.
    """

    number: int
    text: str
    this: Figure
    other: Figure | None
    limit: float
    at_most: bool = True
    decides: bool = True

    def judge(self, results: Results) -> Verdict:
        """Compare what was measured with the limit, round by round."""
        these = _values(results, self.this)
        others = [1.0] * len(these) if self.other is None else _values(results, self.other)
        ratios = [
            this / other
            for this, other in zip(these, others, strict=False)
            if this is not None and other is not None and other > 0
        ]
        if not ratios:
            return Verdict(self, None)
        return Verdict(self, statistics.median(ratios), min(ratios), max(ratios))


def value_of(measured: Measured, name: str) -> float | None:
    """Return a figure of one run."""
    if name == "cpu":
        return 1e6 * measured["cpu"] / measured["count"]
    if name == "rate":
        return measured["count"] / measured["wall"]
    return measured.get(name)


def _values(results: Results, figure: Figure) -> list[float | None]:
    rounds = results.get(figure.scenario, {}).get(figure.row, ())
    return [None if measured is None else value_of(measured, figure.name) for measured in rounds]


def _cpu(number: int, scenario: str, other: str, limit: float, *, this: str = "aioswap", text: str = "") -> Bar:
    told = text or f"{scenario}: CPU of {other}'s"
    return Bar(number, told, Figure(scenario, this), Figure(scenario, other), limit)


def _rate(
    number: int, scenario: str, other: str, limit: float, *, this: str = "aioswap", text: str = "", decides: bool = False
) -> Bar:
    told = text or f"{scenario}: rate of {other}'s"
    these, others = Figure(scenario, this, "rate"), Figure(scenario, other, "rate")
    return Bar(number, told, these, others, limit, at_most=False, decides=decides)


_FILE: Final = "aioswap, file, 100 tasks"

BARS: Final = (
    _cpu(1, "emit", "oslo.messaging", 1 / 8),
    _cpu(1, "emit", "FastStream", 1 / 6),
    _rate(1, "emit", "oslo.messaging", 4),
    _rate(1, "emit", "FastStream", 3),
    _rate(1, "emit", "C librabbitmq", 0.6),
    _rate(1, "emit", "aioswap, 100 tasks", 0.4, this=_FILE, text="emit: rate of a file outbox, of a memory outbox's"),
    _cpu(2, "consume", "oslo.messaging", 1 / 6),
    _cpu(2, "consume", "FastStream", 1 / 6),
    _rate(2, "consume", "oslo.messaging", 3),
    _rate(2, "consume", "FastStream", 3),
    Bar(3, "skip: us of CPU a foreign notification", Figure("skip", "aioswap"), None, 25),
    _rate(3, "skip", "oslo.messaging", 8),
    _cpu(3, "mix", "FastStream", 1 / 8),
    _cpu(4, "codec", "json.loads twice", 0.6, this="decode", text="decode: CPU of json.loads twice"),
    _cpu(4, "codec", "json.dumps twice", 0.45, this="encode", text="encode: CPU of json.dumps twice"),
    Bar(
        5,
        "decorator: added before the body, of one encode, p50",
        Figure("decorator", "aioswap", "before_us"),
        Figure("decorator", "aioswap", "encode_us"),
        1.2,
    ),
    _rate(5, "decorator", "aio-pika", 4),
    _cpu(5, "decorator", "aio-pika", 1 / 5),
    Bar(6, "latency: p50 of aio-pika's", Figure("latency", "aioswap", "p50_ms"), Figure("latency", "aio-pika", "p50_ms"), 0.8),
    _cpu(6, "scale", "aioswap, 100", 1.5, this="aioswap, 10000", text="scale: CPU at 10,000 in flight, of that at 100"),
    Bar(6, "scale: KB of memory each, at 10,000 in flight", Figure("scale", "aioswap, 10000", "each_kb"), None, 16),
    _cpu(7, "import", "aio_pika + pydantic", 1.1),
    _cpu(7, "import", "aioswap", 0.7, this="aioswap.wire", text="import: CPU of aioswap.wire, of the whole"),
)
