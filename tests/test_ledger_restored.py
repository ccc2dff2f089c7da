"""A ledger that is given what another one kept goes on where that one stopped."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioswap.attempts import Attempt
from aioswap.evidence import subject_of
from aioswap.history_rows import read_attempt, row_of
from aioswap.ledger import SwapLedger
from aioswap.swaps import SwapState
from tests.swap_kit import NEW, at, swap_event
from tests.test_ledger_histories import LIMIT, afterwards, chunks, feed, many, random_history

RUNNING, SUCCEEDED, FAILED, STUCK = SwapState


def kept(ledger: SwapLedger, seconds: float = 0.0) -> list[Attempt]:
    """Return what a ledger keeps, by way of the rows of a history."""
    found = [(ledger.attempt(swap), swap.state) for swap in ledger.find(at(seconds))]
    assert None not in [attempt for attempt, _ in found]
    return [read_attempt(str(row_of(attempt, state)["heard"])) for attempt, state in found if attempt is not None]


@many(800)
@given(chunks, st.integers(0, 14), afterwards)
def test_a_random_history_in_two_parts_has_the_verdicts_of_the_whole(data: bytes, cut: int, seconds: float) -> None:
    # signs that wait for a start are not kept: they are given again; moments differ, so that arrivals need no numbers
    history = [(said, moment + timedelta(microseconds=number)) for number, (said, moment) in enumerate(random_history(data))]
    now = history[-1][1] + timedelta(seconds=seconds)
    before = feed(history[:cut])
    after = feed([entry for entry in history[:cut] if subject_of(entry[0])])
    restored = after.restore(kept(before), now)
    again = after.restore(kept(before), now)
    known = after.find(now)
    for notification, arrived in history[cut:]:
        after.observe(notification, arrived)

    assert before.find(now) == known
    assert (len(known), []) == (len(restored), again)
    assert feed(history).find(now) == after.find(now)


def test_what_arrives_at_the_same_moment_stands_behind_what_was_restored() -> None:
    before, after = SwapLedger(), SwapLedger()
    for phase in ("start", "progress", "progress"):
        before.observe(swap_event(phase, publisher="nova-compute:host-1"), at(0))
    after.restore(kept(before), at(0))
    (swap,) = after.observe(swap_event("error", publisher="nova-compute:host-2"), at(0))

    assert (FAILED, 4) == (swap.state, len(swap.evidence))


def test_time_goes_on_for_what_was_restored() -> None:
    before, after = SwapLedger(LIMIT), SwapLedger(LIMIT)
    before.observe(swap_event("start"), at(0))
    (running,) = after.restore(kept(before), at(1))
    due = after.next_due()
    (stuck,) = after.tick(at(LIMIT))

    assert (RUNNING, at(LIMIT), STUCK) == (running.state, due, stuck.state)


def test_only_what_there_is_room_for_is_restored() -> None:
    before, after = SwapLedger(), SwapLedger(keep=3)
    for number in range(9):
        before.observe(swap_event("start", request_id=f"req-{number}"), at(number))
    after.restore(kept(before, 9), at(9))

    assert [f"req-{number}" for number in (6, 7, 8)] == [swap.request_id for swap in after.running(at(9))]
    assert 6 == after.evicted


@pytest.mark.parametrize("request_id", ["req-1", None])
def test_what_was_evicted_is_restored(request_id: str | None) -> None:
    ledger = SwapLedger(keep=1)
    for phase, seconds in (("start", 0), ("error", 1), ("start", 2)):
        ledger.observe(swap_event(phase, seconds, request_id=request_id), at(seconds))
    attempts = kept(ledger, 2)
    for number in (3, 4):
        ledger.observe(swap_event("start", number, request_id=f"{number}"), at(number))
    forgotten = ledger.find(at(5), new=NEW)
    ledger.restore(attempts, at(5))
    ledger.observe(swap_event("end", 6, request_id=request_id), at(6))
    again = ledger.restore(attempts, at(7))
    found = [swap for swap in ledger.find(at(7)) if swap.request_id == request_id]

    assert ["4"] == [swap.request_id for swap in forgotten]
    assert [] == again
    assert SUCCEEDED is found[-1].state
    assert at(0 if request_id else 2) == found[-1].started_at


def test_what_is_not_kept_has_no_attempt() -> None:
    ledger = SwapLedger(keep=1)
    (first,) = ledger.observe(swap_event("end", 2, request_id=None), at(0))
    (joined,) = ledger.observe(swap_event("start", 1, request_id=None), at(1))
    ledger.observe(swap_event("end", request_id="another"), at(2))
    known = ledger.find(at(2))

    assert ([None, None], 1) == ([ledger.attempt(swap) for swap in (first, joined)], len(known))
    assert ledger.attempt(known[0]) is not None


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="is naive"):
        SwapLedger().restore([], at(0).replace(tzinfo=None))
