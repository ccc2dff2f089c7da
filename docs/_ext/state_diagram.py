"""The diagram of a swap's states, drawn from what the code does: each state is played through with each thing that may come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Final, NamedTuple

from aioswap.attempts import GRACE, attempts_of
from aioswap.evidence import EXCEPTION, Heard, SwapKey

__all__ = ["EVENTS", "STATES", "diagram", "transitions"]

NOT_SEEN, RUNNING, STUCK, INFERRED, SUCCEEDED, FAILED = STATES = (
    "not seen",
    "running",
    "stuck",
    "failed, inferred",
    "succeeded",
    "failed",
)

EVENTS: Final = (".start", ".end", ".error", "a sign, then 5 s", "time")

_DAY: Final = timedelta(days=1)
_BEGUN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_KEY: Final = SwapKey("nova-compute", "instance", "old", "new", "req-1")
_PUBLISHER: Final = "nova-compute:compute-1"
_SECOND: Final = timedelta(seconds=1)

_HISTORIES: Final[Mapping[str, tuple[str, ...]]] = {
    NOT_SEEN: (),
    RUNNING: ("start",),
    STUCK: ("start",),
    INFERRED: ("start", EXCEPTION),
    SUCCEEDED: ("start", "end"),
    FAILED: ("start", "error"),
}
"""What was heard when a swap is in each state, a second after one another."""

_WAITS: Final = {STUCK: _DAY, INFERRED: GRACE}
"""What passes until it is."""


def transitions() -> dict[tuple[str, str], str]:
    """Return what becomes of a swap in each state with each event; that it is late is said behind a comma."""
    return {(state, event): _after(state, event) for state in STATES for event in EVENTS}


def _after(state: str, event: str) -> str:
    heard = [_heard(name, number * _SECOND) for number, name in enumerate(_HISTORIES[state])]
    now = _BEGUN + len(heard) * _SECOND + _WAITS.get(state, timedelta())
    found = _judged(heard, now)
    if found.removesuffix(", late") != state:
        raise AssertionError(
            f"a swap that is {state} is told to be {found}: mend the history of that state here"
        )
    came = {".start": "start", ".end": "end", ".error": "error", "a sign, then 5 s": EXCEPTION}.get(
        event
    )
    if came is not None:
        heard.append(_heard(came, now - _BEGUN))
    return _judged(heard, now + {"time": _DAY, "a sign, then 5 s": GRACE}.get(event, timedelta()))


def _heard(name: str, after: timedelta) -> Heard:
    moment = _BEGUN + after
    event_type = name if name == EXCEPTION else f"instance.volume_swap.{name}"
    arrival = (moment, int(after.total_seconds()))
    return Heard(
        message_id=f"{name} {after}",
        publisher_id=_PUBLISHER,
        event_type=event_type,
        timestamp=moment,
        arrival=arrival,
    )


def _judged(heard: Sequence[Heard], now: datetime) -> str:
    """Return the verdict in the words of the table."""
    signs = [one for one in heard if one.event_type == EXCEPTION]
    of_the_swap = [one for one in heard if one not in signs]
    if not of_the_swap:
        return NOT_SEEN
    verdict = attempts_of(_KEY, of_the_swap, signs)[-1].judge(now, _DAY)
    return f"{verdict.state}{', inferred' if verdict.inferred else ''}{', late' if verdict.late else ''}"


class _Box(NamedTuple):
    x: int
    y: int
    width: int
    height: int


class _Arrow(NamedTuple):
    """From each of some states to one, where the label stands, and the line's SVG path."""

    sources: tuple[str, ...]
    target: str
    x: int
    y: int
    path: str
    anchor: str = "middle"


_BOXES: Final = {
    NOT_SEEN: _Box(30, 150, 110, 44),
    RUNNING: _Box(280, 150, 110, 44),
    INFERRED: _Box(270, 54, 130, 44),
    STUCK: _Box(280, 246, 110, 44),
    SUCCEEDED: _Box(640, 84, 110, 44),
    FAILED: _Box(640, 216, 110, 44),
}
_OPEN: Final = (NOT_SEEN, RUNNING, STUCK, INFERRED)
_OVER: Final = (SUCCEEDED, FAILED)
_FRAMES: Final = (
    (_Box(12, 12, 440, 320), "no end was heard of", _OPEN),
    (_Box(616, 12, 158, 320), "over", _OVER),
)

_ARROWS: Final = (
    _Arrow((NOT_SEEN,), RUNNING, 236, 164, "M140 172 H274"),
    _Arrow((RUNNING,), INFERRED, 318, 128, "M326 150 V104", "end"),
    _Arrow((INFERRED,), RUNNING, 354, 128, "M346 98 V144", "start"),
    _Arrow((RUNNING,), STUCK, 345, 224, "M335 194 V240", "start"),
    _Arrow((STUCK,), INFERRED, 194, 256, "M280 268 C166 250 166 92 264 78", "end"),
    _Arrow(_OPEN, SUCCEEDED, 533, 98, "M452 106 H634"),
    _Arrow(_OPEN, FAILED, 533, 230, "M452 238 H634"),
    _Arrow(_OVER, RUNNING, 533, 164, "M616 172 H396"),
    _Arrow((FAILED,), SUCCEEDED, 674, 176, "M680 216 V134", "end"),
    _Arrow((SUCCEEDED,), FAILED, 716, 176, "M710 128 V210", "start"),
)
"""Where each change is drawn. What the labels say, and whether all are drawn, comes from `transitions`."""


_HEAD: Final = (
    '<svg class="swap-states" viewBox="0 0 790 344" xmlns="http://www.w3.org/2000/svg" role="img"'
    ' aria-labelledby="swap-states-title swap-states-told" font-size="13" fill="currentColor">'
    '<defs><marker id="swap-states-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8"'
    ' markerHeight="8" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="currentColor"/></marker></defs>'
)


def diagram() -> str:
    """Return the diagram as an SVG element that takes its colours from the page, with the same in words inside.

    Raises:
        AssertionError: a change is not drawn, or an arrow has none.
    """
    table = {key: target.removesuffix(", late") for key, target in transitions().items()}
    left = {(state, event) for (state, event), target in table.items() if state != target}
    arrows, words = [], []
    for arrow in _ARROWS:
        events = [
            event
            for event in EVENTS
            if all(table[source, event] == arrow.target for source in arrow.sources)
        ]
        if not events:
            raise AssertionError(
                f"nothing leads from {arrow.sources} to {arrow.target}: take out its arrow"
            )
        left -= {(source, event) for source in arrow.sources for event in events}
        label = ", ".join(events)
        arrows.append(_drawn(arrow, label))
        words.append(f"From {' or '.join(arrow.sources)} by {label} to {arrow.target}.")
    if left:
        raise AssertionError(f"not drawn: {sorted(left)}")
    told = escape(" ".join(words))
    return "\n".join(
        [
            _HEAD,
            f'<title id="swap-states-title">The states of a swap</title><desc id="swap-states-told">{told}</desc>',
            *(_frame(*frame) for frame in _FRAMES),
            *arrows,
            *(_state(name, box) for name, box in _BOXES.items()),
            "</svg>",
        ]
    )


def _frame(box: _Box, name: str, states: tuple[str, ...]) -> str:
    if not all(_within(_BOXES[state], box) for state in states):
        raise AssertionError(f"{states} are not all drawn inside of {name!r}")
    return (
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="10" fill="none" stroke="currentColor"'
        f' stroke-dasharray="4 4" opacity="0.6"/><text x="{box.x + 12}" y="{box.y + 20}" opacity="0.8">{name}</text>'
    )


def _within(inner: _Box, outer: _Box) -> bool:
    across = outer.x <= inner.x and inner.x + inner.width <= outer.x + outer.width
    return across and outer.y <= inner.y and inner.y + inner.height <= outer.y + outer.height


def _drawn(arrow: _Arrow, label: str) -> str:
    return (
        f'<path d="{arrow.path}" fill="none" stroke="currentColor" marker-end="url(#swap-states-tip)"/>'
        f'<text x="{arrow.x}" y="{arrow.y}" text-anchor="{arrow.anchor}">{escape(label)}</text>'
    )


def _state(name: str, box: _Box) -> str:
    middle = box.x + box.width // 2
    return (
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="8" stroke="currentColor"'
        ' fill="var(--color-background-secondary, Canvas)"/>'
        f'<text x="{middle}" y="{box.y + 27}" text-anchor="middle" font-weight="600">{name}</text>'
    )
