"""The ledger: what it keeps, what it tells and when; and random histories, judged by a second reading of the table."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aioswap.evidence import TRACKED
from aioswap.ledger import SwapLedger
from aioswap.swaps import Swap, SwapState
from aioswap.wire.notification import Notification
from tests.ledger_oracle import History, expected_swaps
from tests.swap_kit import DAY, INSTANCE, NEW, OLD, T0, at, captured, exception, instance_event, swap_event

RUNNING, SUCCEEDED, FAILED, STUCK = SwapState

LIMIT = 60.0
"""After how many seconds the swaps of random histories are stuck."""

many = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


def told(swap: Swap) -> dict[str, Any]:
    """Return a swap's fields as the oracle tells them: whether a failure is inferred, not in which words."""
    return {field.name: getattr(swap, field.name) for field in fields(swap)} | {"inferred": swap.inferred is not None}


def feed(history: History, stuck_after: float = LIMIT) -> SwapLedger:
    """Return a ledger that was given all of `history`."""
    ledger = SwapLedger(stuck_after)
    for notification, arrived in history:
        ledger.observe(notification, arrived)
    return ledger


# Random histories, with everything that can be wrong: any notification, in any order, at any time

PHASES = ("start", "start", "start", "end", "end", "error", "progress")
MOVES = (
    "instance.delete.end",
    "instance.rebuild.start",
    "instance.evacuate",
    "instance.evacuate.start",
    "instance.live_migration_post_dest.end",
    "instance.delete.start",
    "instance.rebuild.start.again",
    "instance.evacuated",
)
PUBLISHERS = ("nova-compute:host-1", "nova-compute:host-2", "nova-compute", "another:host-1", "nova-compute:host-1")
REQUESTS = ("req-1", None, "req-2", "")
PAUSES = (0, 0, 0, 1, 1, 2, 4, 5, 6, 59, 60, 61)
SHOWN = (None, None, (), (NEW,), (OLD,), (OLD, NEW), ("another",))

WIDTH = 6
chunks = st.binary(max_size=WIDTH * 12)


def random_notification(chunk: bytes) -> Notification[Any]:
    """Return the notification that these bytes mean: few different values, so that much of it meets."""
    what, where, who, when, which, _ = chunk
    publisher = PUBLISHERS[where % len(PUBLISHERS)]
    seconds = float(when % 8)
    request_id = REQUESTS[who // 2 % len(REQUESTS)]
    instance = (INSTANCE, INSTANCE, "instance-2")[which % 3]
    kind = what % 16
    if kind < 11:
        return swap_event(
            PHASES[kind % len(PHASES)],
            seconds,
            publisher=publisher,
            instance=instance,
            new=(NEW, "another")[which // 3 % 4 == 3],
            request_id=request_id,
            global_request_id=(None, "req-global")[who % 2],
            shown=SHOWN[which // 12 % len(SHOWN)],
        )
    if kind < 13:
        return exception(seconds, publisher=publisher, request_id=request_id)
    publisher = ("nova-api:api-1", *PUBLISHERS)[where % (1 + len(PUBLISHERS))]
    return instance_event(MOVES[which // 3 % len(MOVES)], seconds, publisher=publisher, instance=instance)


def random_history(data: bytes) -> list[tuple[Notification[Any], datetime]]:
    """Return the history that these bytes mean; now and then a notification comes twice."""
    history: list[tuple[Notification[Any], datetime]] = []
    seconds = 0.0
    for place in range(0, len(data) - WIDTH + 1, WIDTH):
        chunk = data[place : place + WIDTH]
        seconds += PAUSES[chunk[-1] % len(PAUSES)]
        again = chunk[0] >= 240 and history
        history.append((history[chunk[1] % len(history)][0] if again else random_notification(chunk), at(seconds)))
    return history


def moments(history: History) -> list[datetime]:
    """Return moments at which something may be new: after the last arrival, after the grace, when all is stuck."""
    last = history[-1][1] if history else T0
    return [last + timedelta(seconds=seconds) for seconds in (0, 4, 5, LIMIT, 10 * LIMIT)]


@many
@settings(max_examples=12_000)
@given(chunks)
def test_a_random_history_has_the_verdicts_of_the_table(data: bytes) -> None:
    history = random_history(data)
    ledger = feed(history)

    for now in moments(history):
        assert expected_swaps(history, now, LIMIT) == [told(swap) for swap in ledger.find(now)]


@many
@settings(max_examples=2_000)
@given(chunks)
def test_what_is_told_on_the_way_is_what_changed(data: bytes) -> None:
    history = random_history(data)
    ledger = SwapLedger(LIMIT)
    known: dict[tuple[str, ...], dict[str, Any]] = {}
    for number, (notification, arrived) in enumerate(history, 1):
        by_time = ledger.tick(arrived)
        states = {swap.evidence: told(swap) for swap in by_time}

        assert all(swap.state is STUCK or swap.inferred for swap in by_time)
        assert len(states) == len(by_time)

        changed = by_time + ledger.observe(notification, arrived)
        expected = expected_swaps(history[:number], arrived, LIMIT)
        for swap in changed[len(by_time) :]:
            assert told(swap) in expected
        for swap in changed:
            known[swap.evidence] = told(swap)
        for each in expected:
            assert each == known[each["evidence"]]
        assert [each for each in expected if each["state"] == "running"] == [told(swap) for swap in ledger.running(arrived)]
        assert [each for each in expected if each["state"] == "stuck"] == [told(swap) for swap in ledger.stuck(arrived)]


@many
@settings(max_examples=2_000)
@given(chunks)
def test_time_alone_changes_a_state_exactly_when_it_is_due(data: bytes) -> None:
    history = random_history(data)
    ledger = feed(history)
    now = history[-1][1] if history else T0
    ledger.tick(now)
    while (due := ledger.next_due()) is not None:
        before = [(swap.evidence, swap.state) for swap in ledger.find(now)]
        instant = due - timedelta(microseconds=1)

        assert now < due
        assert before == [(swap.evidence, swap.state) for swap in ledger.find(instant)]
        assert [] == ledger.tick(instant)

        changed = ledger.tick(due)
        after = ledger.find(due)

        assert changed
        assert all(swap in after and (swap.evidence, swap.state) not in before for swap in changed)
        assert [swap.state for swap in after] != [state for _, state in before]
        now = due
    assert [swap.state for swap in ledger.find(now)] == [swap.state for swap in ledger.find(now + timedelta(days=9))]


@many
@settings(max_examples=1_000)
@given(chunks, st.randoms(use_true_random=False))
def test_a_verdict_does_not_depend_on_the_order_of_being_given(data: bytes, dice: random.Random) -> None:
    history = [
        (notification, arrived + timedelta(microseconds=number))
        for number, (notification, arrived) in enumerate(random_history(data))
    ]
    ids = [notification.message_id for notification, _ in history]
    once = [entry for number, entry in enumerate(history) if ids.index(entry[0].message_id) == number]
    shuffled = dice.sample(once, len(once))
    ledger, other = feed(once), feed(shuffled)

    for now in moments(once):
        assert ledger.find(now) == other.find(now)
