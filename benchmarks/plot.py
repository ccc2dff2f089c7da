"""The picture for the docs: CPU for each notification, as bars on a logarithmic scale, in SVG for dark and light pages."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.bars import Results, value_of

__all__ = ["plot"]

_SHOWN: Final = {
    "emit": "Emit, confirmed",
    "consume": "Consume, acknowledged after handling",
    "skip": "Skip what is foreign",
    "decorator": "A decorated swap, two notifications",
}
_WIDTH, _LEFT, _RIGHT, _STEP, _BAR = 760, 190, 70, 22, 15
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600}.o{fill:#8c959f}.a{fill:#0969da}.n{font-size:12px}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.o{fill:#6e7681}.a{fill:#4493f8}}"
)


def plot(results: Results) -> str:
    """Return the picture. Rows that were not measured are left out."""
    groups = {title: _medians(results, name) for name, title in _SHOWN.items() if _medians(results, name)}
    largest = max((value for group in groups.values() for value in group.values()), default=10.0)
    lines = list(_lines(groups, math.log10(largest)))
    height = 44 + sum(34 + _STEP * len(group) for group in groups.values())
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="CPU time">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *lines, "</svg>", ""])


def _medians(results: Results, name: str) -> dict[str, float]:
    rows = results.get(name, {})
    values = {row: [value_of(measured, "cpu") or 0.0 for measured in rounds if measured] for row, rounds in rows.items()}
    return dict(sorted(((row, statistics.median(each)) for row, each in values.items() if each), key=lambda item: item[1]))


def _lines(groups: dict[str, dict[str, float]], largest: float) -> Iterator[str]:
    y = 22
    yield f'<text x="12" y="{y}">CPU time of the client for each notification, microseconds, logarithmic; less is better</text>'
    for title, group in groups.items():
        y += 34
        yield f'<text class="t" x="12" y="{y}">{escape(title)}</text>'
        for row, value in group.items():
            y += _STEP
            width = max((_WIDTH - _LEFT - _RIGHT) * math.log10(max(value, 1.0)) / largest, 2)
            kind = "a" if row.startswith("aioswap") else "o"
            yield f'<text class="n" x="{_LEFT - 8}" y="{y}" text-anchor="end">{escape(row)}</text>'
            yield f'<rect class="{kind}" x="{_LEFT}" y="{y - 12}" width="{width:.0f}" height="{_BAR}" rx="2"/>'
            yield f'<text class="n" x="{_LEFT + width + 6:.0f}" y="{y}">{value:.3g}</text>'


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m benchmarks.plot RESULT.json PICTURE.svg")
    Path(sys.argv[2]).write_text(plot(json.loads(Path(sys.argv[1]).read_text())["results"]))
