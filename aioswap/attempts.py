"""The life of a swap as a state table: the verdict that follows from what was heard of an attempt.

`docs/swap-states.md` says the same in words, with the odd cases. A verdict is a pure function: the same notifications with
the same arrivals, and the same moment, give the same verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

from aioswap.evidence import DELETED, EXCEPTION, Arrival, Heard, SwapKey
from aioswap.swaps import Swap, SwapState

__all__ = ["GRACE", "STATES", "Attempt", "Span", "Verdict", "attempts_of", "with_span"]

GRACE: Final = timedelta(seconds=5)
"""How long a real terminal notification may take after the one that a failure would be inferred from."""

STATES: Final[Mapping[str, SwapState]] = {
    "start": SwapState.RUNNING,
    "end": SwapState.SUCCEEDED,
    "error": SwapState.FAILED,
}
"""The state table: what the last of these phases says. Other phases say nothing."""

Span: TypeAlias = tuple[datetime, datetime]
"""Begin and end."""


class Verdict(NamedTuple):
    """What follows from what was heard of an attempt, at one moment."""

    state: SwapState
    decided_by: Heard | None = None
    """The terminal notification, or the sign that a failure is inferred from."""
    inferred: bool = False
    late: bool = False
    due: datetime | None = None
    """When the verdict changes by time alone. None: never."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was heard of one attempt: its notifications in order, and the signs of its end in order of arrival."""

    key: SwapKey
    heard: tuple[Heard, ...]
    signs: tuple[Heard, ...]
    place: tuple[Arrival, datetime, Arrival]
    """Where it stands among attempts."""

    @property
    def name(self) -> str:
        """What tells the attempts of one key apart."""
        return self.heard[0].message_id if self.key.request_id is None else ""

    @property
    def global_request_id(self) -> str | None:
        """The first that is told."""
        return next((one.global_request_id for one in self.heard if one.global_request_id), None)

    @property
    def first_seen(self) -> datetime:
        """The first arrival."""
        return min(one.arrived for one in self.heard)

    def judge(self, now: datetime, stuck_after: timedelta) -> Verdict:
        """Return the verdict at `now`."""
        starts = self._starts()
        overdue = min(start.arrived for start in starts) + stuck_after
        last = next((one for one in reversed(self.heard) if one.phase in STATES), None)
        if last is not None and _is_terminal(last.phase):
            return Verdict(STATES[last.phase], last, late=last.arrived >= overdue)
        begun = max(start.arrived for start in starts)
        signs = [(max(sign.arrived, begun) + GRACE, sign.arrival, sign) for sign in self.signs if _ends(sign, starts)]
        due, _, sign = min(signs, default=(None, None, None))
        if due is not None and due <= now:
            return Verdict(SwapState.FAILED, sign, inferred=True)
        if overdue <= now:
            return Verdict(SwapState.STUCK, due=due)
        return Verdict(SwapState.RUNNING, due=overdue if due is None else min(due, overdue))

    def swap(self, now: datetime, stuck_after: timedelta, deaf: Iterable[Span] = ()) -> Swap:
        """Return what is known at `now`.

        Args:
            now: the moment, aware.
            stuck_after: how long a swap may run.
            deaf: every span in which nobody listened.
        """
        verdict = self.judge(now, stuck_after)
        end, inferred = verdict.decided_by, verdict.inferred
        evidence = (*self.heard, end) if end and inferred else self.heard
        start = next((one for one in self.heard if one.phase == "start"), None)
        since = self.first_seen
        until = end.arrived if end and not inferred else now
        return Swap(
            **self.key._asdict(),
            host=self._starts()[-1].host,
            global_request_id=self.global_request_id,
            project_id=next((one.project_id for one in self.heard if one.project_id), None),
            state=verdict.state,
            started_at=start.timestamp if start else None,
            finished_at=end.timestamp if end else None,
            duration=end.timestamp - start.timestamp if start and end and start.publisher_id == end.publisher_id else None,
            fault=end.fault if end else None,
            inferred=_reason(end) if end and inferred else None,
            late=verdict.late,
            evidence=tuple(one.message_id for one in evidence),
            # without a start it may have begun at any time
            deaf=tuple(span for span in deaf if span[0] < until and (start is None or span[1] > since)),
            effective_volume_id=end.effective_volume_id if end else None,
            first_seen=since,
            last_seen=max(one.arrived for one in evidence),
        )

    def _starts(self) -> list[Heard]:
        """Return the starts in order; where none was seen, the first notification stands for one."""
        return [one for one in self.heard if one.phase == "start"] or [self.heard[0]]


def _is_terminal(phase: str) -> bool:
    return STATES.get(phase, SwapState.RUNNING) is not SwapState.RUNNING


def _ends(sign: Heard, starts: list[Heard]) -> bool:
    """Say whether `sign` means that an attempt with these starts, the latest last, can't be running any longer."""
    if sign.event_type == EXCEPTION:
        # it comes over another queue than the start and may be the first to arrive
        return not any(start.publisher_id == sign.publisher_id and start.timestamp > sign.timestamp for start in starts)
    host = starts[-1].host
    elsewhere = sign.host is not None and host is not None and sign.host != host
    return (elsewhere or sign.event_type == DELETED) and all(sign.follows(start) for start in starts)


def _reason(sign: Heard) -> str:
    if sign.event_type == EXCEPTION:
        meaning = "the request failed"
    elif sign.event_type == DELETED:
        meaning = "the instance is deleted"
    else:
        meaning = "the instance has left the host of the swap"
    return f"{sign.event_type} from {sign.publisher_id}: {meaning}"


def attempts_of(key: SwapKey, heard: Iterable[Heard], signs: Iterable[Heard]) -> list[Attempt]:
    """Return the attempts of `key`, in order.

    Timestamps order the notifications of one publisher. Whatever one of them is overtaken by, it happened before that
    arrived: its place is the earliest arrival among itself and the publisher's later ones, and places order publishers.
    """
    places: list[tuple[Arrival, datetime, Heard]] = []
    known: dict[str, Arrival] = {}
    for one in sorted(heard, key=lambda one: (one.timestamp, one.arrival), reverse=True):
        known[one.publisher_id] = min(known.get(one.publisher_id, one.arrival), one.arrival)
        places.append((known[one.publisher_id], one.timestamp, one))
    places.sort(key=lambda place: (place[0], place[1], place[2].arrival))
    cuts = _cuts([one.phase for _, _, one in places]) if key.request_id is None else [0]
    signed = tuple(signs)
    return [
        Attempt(key, tuple(one for _, _, one in places[cut:end]), signed, (*places[cut][:2], places[cut][2].arrival))
        for cut, end in zip(cuts, [*cuts[1:], len(places)], strict=True)
    ]


def _cuts(phases: list[str]) -> list[int]:
    """Return where attempts begin: at each start, at whatever comes first, and at a terminal phase after another one."""
    cuts: list[int] = []
    ended = False
    for number, phase in enumerate(phases):
        if not cuts or phase == "start" or (ended and _is_terminal(phase)):
            cuts.append(number)
            ended = False
        ended = ended or _is_terminal(phase)
    return cuts


def with_span(spans: Iterable[Span], span: Span) -> list[Span]:
    """Return `spans` and `span` in order; those that touch have become one."""
    joined: list[Span] = []
    for begin, end in sorted([*spans, span]):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined
