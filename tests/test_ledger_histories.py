"""Random histories of swaps, judged by a second reading of the table, and by what really happened."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aioswap.ledger import SwapLedger
from aioswap.swaps import Swap, SwapState
from aioswap.wire.notification import Notification
from tests.ledger_oracle import History, expected_swaps
from tests.swap_kit import DAY, INSTANCE, NEW, OLD, at, exception, instance_event, swap_event

RUNNING, SUCCEEDED, FAILED, STUCK = SwapState

LIMIT = 60.0
"""After how many seconds the swaps of random histories are stuck."""


def many(examples: int) -> settings:
    """Return settings for so many examples, however slow the machine is."""
    return settings(max_examples=examples, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


NAMES = [each.name for each in fields(Swap)]


def told(swap: Swap) -> dict[str, Any]:
    """Return a swap's fields as the oracle tells them: whether a failure is inferred, not in which words."""
    return {name: getattr(swap, name) for name in NAMES} | {"inferred": swap.inferred is not None}


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


def throw(size: int, seed: int) -> bytes:
    """Return what so many notifications are made of. A shorter history of the same seed is the beginning of a longer one."""
    dice = random.Random(seed)
    return b"".join(dice.randbytes(WIDTH) for _ in range(size))


BATCH = 6
"""Histories in one of Hypothesis's examples: making examples is what takes most of the time."""
chunks = st.builds(throw, st.integers(1, 14), st.integers(0, 2**32))
batches = st.builds(
    lambda size, seed: [throw(size, BATCH * seed + number) for number in range(BATCH)],
    st.integers(1, 14),
    st.integers(0, 2**32),
)
afterwards = st.sampled_from((0.0, 4.0, 5.0, LIMIT, 10 * LIMIT))
"""Seconds after the last arrival: at once, within the grace, after it, when swaps are stuck, when all are."""


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


def random_spans(data: bytes) -> list[tuple[datetime, datetime]]:
    """Return two spans in which nobody listens, as these bytes say."""
    first, length, pause, rest = (byte % 32 for byte in data[:4])
    begin = first + length + 1 + pause
    return [(at(first), at(first + length)), (at(begin), at(begin + rest))]


@pytest.mark.timeout(400)
@many(3_500)  # 21,000 histories
@given(batches, afterwards)
def test_a_random_history_has_the_verdicts_of_the_table(batch: list[bytes], seconds: float) -> None:
    for data in batch:
        history = random_history(data)
        now = history[-1][1] + timedelta(seconds=seconds)
        spans = random_spans(data)
        ledger = feed(history)
        for begin, end in spans:
            ledger.deaf(begin, end)

        assert expected_swaps(history, now, LIMIT, spans) == [told(swap) for swap in ledger.find(now)]


@many(1_000)
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


@many(1_000)
@given(chunks)
def test_time_alone_changes_a_state_exactly_when_it_is_due(data: bytes) -> None:
    history = random_history(data)
    ledger = feed(history)
    now = history[-1][1]
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


@many(1_000)
@given(chunks, afterwards, st.integers(0, 2**32))
def test_a_verdict_does_not_depend_on_the_order_of_being_given(data: bytes, seconds: float, seed: int) -> None:
    history = [
        (notification, arrived + timedelta(microseconds=number))
        for number, (notification, arrived) in enumerate(random_history(data))
    ]
    now = history[-1][1] + timedelta(seconds=seconds)
    ids = [notification.message_id for notification, _ in history]
    once = [entry for number, entry in enumerate(history) if ids.index(entry[0].message_id) == number]
    shuffled = random.Random(seed).sample(once, len(once))

    assert feed(once).find(now) == feed(shuffled).find(now)


# Random scripts: what really happened, and what a lossy, slow and repeating channel makes of it


@dataclass
class Scripted:
    """A swap that really happened, by the true time in seconds."""

    host: str
    request_id: str | None
    instance: str
    start: float
    end: float | None = None
    outcome: str = "killed"
    said: dict[str, Notification[Any]] = field(default_factory=dict)
    """The notifications of it, by phase or event type."""


class Script:
    """A story of instances on hosts whose clocks disagree, and what is sent of it."""

    def __init__(self, seed: int, *, with_requests: bool) -> None:
        self.dice = random.Random(seed)
        self.with_requests = with_requests
        self.skews = {f"host-{number}": self.dice.choice((0.0, 3_600.0, -7_200.0, 1.5)) for number in range(3)}
        self.swaps: list[Scripted] = []
        self.sent: list[tuple[float, Notification[Any]]] = []
        self.signs: list[tuple[float, Notification[Any]]] = []
        for number in range(self.dice.randint(1, 2)):
            self._live(f"instance-{number}")

    def _live(self, instance: str) -> None:
        """Swap volumes of an instance some times; every host change takes longer than any delay."""
        time, host = self.dice.uniform(0, 5), self.dice.choice(list(self.skews))
        for _ in range(self.dice.randint(1, 4)):
            swap = self._swap(instance, host, time)
            time = (swap.end or time) + self.dice.choice((0.1, 1.0, 40.0))
            if swap.outcome == "killed" or self.dice.random() < 0.2:
                time += 60.0
                host = self.dice.choice([other for other in self.skews if other != host])
                if swap.outcome == "killed" and self.dice.random() < 0.5:
                    self._sign(time, instance, "instance.evacuate", "nova-api:api-1")
                    self._sign(time + 1.0, instance, "instance.rebuild.start", f"nova-compute:{host}")
                time += 60.0
        if self.dice.random() < 0.3:
            self._sign(time + 60.0, instance, "instance.delete.end", f"nova-compute:{host}")

    def _swap(self, instance: str, host: str, start: float) -> Scripted:
        request_id = f"req-{instance}-{len(self.swaps)}" if self.with_requests else None
        outcomes = ["end", "end", "error", *(["raised", "killed"] if self.with_requests else [])]
        swap = Scripted(host, request_id, instance, start, outcome=self.dice.choice(outcomes))
        self.swaps.append(swap)
        self._say(swap, "start", start)
        if swap.outcome != "killed":
            swap.end = start + self.dice.choice((0.1, 1.0, 2.5, 30.0))
        if swap.end is not None and swap.outcome != "raised":
            self._say(swap, swap.outcome, swap.end)
        if swap.end is not None and swap.outcome in ("raised", "error"):
            said = exception(swap.end + 0.05 + self.skews[host], publisher=f"nova-compute:{host}", request_id=request_id)
            swap.said["exception"] = said
            self.sent.append((swap.end + 0.05, said))
        return swap

    def _say(self, swap: Scripted, phase: str, time: float) -> None:
        seconds = time + self.skews[swap.host]
        said = swap_event(
            phase, seconds, publisher=f"nova-compute:{swap.host}", instance=swap.instance, request_id=swap.request_id
        )
        swap.said[phase] = said
        self.sent.append((time, said))

    def _sign(self, time: float, instance: str, event_type: str, publisher: str) -> None:
        said = instance_event(event_type, time + self.skews.get(publisher[-6:], 0.0), publisher=publisher, instance=instance)
        self.sent.append((time, said))
        self.signs.append((time, said))

    def arrive(self, *, loss: float) -> History:
        """Return what arrives: some of it lost, some repeated, all of it delayed by up to three seconds."""
        arrivals = [
            (time + self.dice.uniform(0, 3), notification)
            for time, notification in self.sent
            for _ in range(self.dice.choice((1, 1, 1, 2, 3)))
            if self.dice.random() >= loss
        ]
        return [(notification, at(time)) for time, notification in sorted(arrivals, key=lambda arrival: arrival[0])]


NEVER = at(1e7)
"""When everything is decided."""


@many(1_000)
@given(st.integers(0, 2**40))
def test_without_loss_the_truth_is_told(seed: int) -> None:
    script = Script(seed, with_requests=True)
    ledger = feed(script.arrive(loss=0.0), stuck_after=DAY)

    for real in script.swaps:
        (swap,) = ledger.find(NEVER, request_id=real.request_id)
        skew = timedelta(seconds=script.skews[real.host])
        assert at(real.start) + skew == swap.started_at
        assert real.host == swap.host
        if real.outcome in ("end", "error"):
            assert real.end is not None
            assert ({"end": SUCCEEDED, "error": FAILED}[real.outcome], None) == (swap.state, swap.inferred)
            assert at(real.end) + skew == swap.finished_at
            assert at(real.end) - at(real.start) == swap.duration
            assert not swap.late
        elif real.outcome == "raised":
            assert (FAILED, exception().payload) == (swap.state, swap.fault)
        else:
            assert swap.state in (FAILED, STUCK)
            assert (swap.state is FAILED) == (swap.inferred is not None)


@many(1_000)
@given(st.integers(0, 2**40))
def test_without_loss_the_truth_is_told_without_request_ids_too(seed: int) -> None:
    script = Script(seed, with_requests=False)
    ledger = feed(script.arrive(loss=0.0), stuck_after=DAY)

    for instance in {real.instance for real in script.swaps}:
        reals = [real for real in script.swaps if real.instance == instance]
        expected = [
            (real.host, {"end": SUCCEEDED, "error": FAILED}[real.outcome], tuple(said.message_id for said in phases(real)))
            for real in reals
        ]
        assert expected == [(swap.host, swap.state, swap.evidence) for swap in ledger.find(NEVER, instance=instance)]


def phases(real: Scripted) -> list[Notification[Any]]:
    """Return the notifications of a swap in the order in which they were made."""
    return [said for name, said in real.said.items() if name != "exception"]


@many(2_000)
@given(st.integers(0, 2**40), st.sampled_from((0.1, 0.5, 0.9)))
def test_with_losses_the_best_is_told_that_follows_from_what_arrived(seed: int, loss: float) -> None:
    script = Script(seed, with_requests=True)
    history = script.arrive(loss=loss)
    ledger = feed(history, stuck_after=DAY)
    arrived = {notification.message_id for notification, _ in history}

    for real in script.swaps:
        swaps = ledger.find(NEVER, request_id=real.request_id)
        heard = {name for name, said in real.said.items() if said.message_id in arrived}
        signs = [said for time, said in script.signs if time > real.start and said.payload.uuid == real.instance]
        ended = "exception" in heard or any(
            said.message_id in arrived and (said.event_type == "instance.delete.end" or said.host != real.host)
            for said in signs
        )
        if not heard - {"exception"}:
            assert [] == swaps
        elif "end" in heard or "error" in heard:
            assert [SUCCEEDED if "end" in heard else FAILED] == [swap.state for swap in swaps]
            assert [None] == [swap.inferred for swap in swaps]
        else:
            assert [FAILED if ended else STUCK] == [swap.state for swap in swaps]
