"""What was measured, as tables of text."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.bars import Measured, Results, Verdict, value_of
from benchmarks.scenarios import Row, Scenario

__all__ = ["bar_table", "scenario_table", "span"]

_OTHERS: Final = {
    "before_us": "us before the body",
    "before_plain_us": "us likewise, the instance a mapping",
    "encode_us": "us one typed encode, from the instance",
    "p50_ms": "ms p50",
    "each_kb": "KB each",
}


def scenario_table(scenario: Scenario, results: Results) -> Iterator[str]:
    """Yield the lines of one scenario: medians with range, and ratios to the first row within each round."""
    yield ""
    yield f"{scenario.name}: {scenario.title}"
    yield f"  {'':26}{'a second':>24}{'CPU us each':>24}{'rate x':>18}{'CPU x':>18}  settings"
    measured = results.get(scenario.name, {})
    first = measured.get(scenario.rows[0].name, ())
    for row in scenario.rows:
        rounds = measured.get(row.name, ())
        if not any(rounds):
            yield f"  {row.name:26}not shown: {_reason(row)}"
            continue
        ratios = [_ratios(this, reference) for this, reference in zip(rounds, first, strict=False) if this and reference]
        yield (
            f"  {row.name:26}{span(_values(rounds, 'rate'), '.0f'):>24}{span(_values(rounds, 'cpu'), '.1f'):>24}"
            f"{span([rate for rate, _ in ratios], '.2f'):>18}{span([cpu for _, cpu in ratios], '.2f'):>18}  {row.settings}"
        )
        others = [f"{span(_values(rounds, key), '.2f')} {said}" for key, said in _OTHERS.items() if _values(rounds, key)]
        if others and scenario.name != "emit":
            yield f"  {'':26}    {'; '.join(others)}"


def bar_table(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield the lines that say, bar by bar, the figure and whether it is met."""
    yield ""
    yield "bars: medians of the ratios within each round; rates are reported, the others decide"
    for verdict in verdicts:
        bar = verdict.bar
        sign = "<=" if bar.at_most else ">="
        told = f"  {bar.number}  {bar.text:58} {sign} {bar.limit:<6.3g}"
        if verdict.middle is None:
            yield f"{told} not measured"
            continue
        said = "met" if verdict.met else "MISSED" if bar.decides else "missed"
        span = f"{verdict.middle:.3g} ({verdict.least:.3g}-{verdict.most:.3g})"
        yield f"{told} {span:24} {said}{'' if bar.decides else ', reported'}"


def _reason(row: Row) -> str:
    return "no librabbitmq" if row.module == "librabbitmq" else "it did not run, see above"


def _ratios(this: Measured, reference: Measured) -> tuple[float, float]:
    def ratio(name: str) -> float:
        below = value_of(reference, name)
        return (value_of(this, name) or 0.0) / below if below else 0.0

    return ratio("rate"), ratio("cpu")


def _values(rounds: Sequence[Measured | None], name: str) -> list[float]:
    values = (value_of(measured, name) for measured in rounds if measured is not None)
    return [value for value in values if value is not None]


def span(values: Sequence[float], form: str) -> str:
    """Return the median with the range; nothing for no values."""
    if not values:
        return ""
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"
