"""The ledger: what it finds, what it tells and when, what it keeps and for how long."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aioswap.evidence import TRACKED, SwapKey
from aioswap.ledger import SwapLedger
from aioswap.swaps import Swap, SwapState
from aioswap.wire.notification import Notification
from aioswap.wire.objects import VersionedObject
from tests.swap_kit import DAY, INSTANCE, NEW, OLD, at, captured, exception, instance_event, swap_event

RUNNING, SUCCEEDED, FAILED, STUCK = SwapState

SAMPLES = sorted(path.stem for path in (Path(__file__).parent / "samples").glob("*__*.json") if "gzip" not in path.stem)


def swap_once(ledger: SwapLedger, number: int, *, end: bool = True, request_id: str | None = "req") -> None:
    """Let the ledger hear the start, and the end, of swap `number`, at that second."""
    request_id = request_id and f"{request_id}-{number}"
    for phase in ("start", "end")[: 1 + end]:
        ledger.observe(swap_event(phase, number, request_id=request_id), at(number))


def requests(swaps: list[Swap]) -> list[str | None]:
    return [swap.request_id for swap in swaps]


# Looking for swaps


@pytest.fixture
def ledger() -> SwapLedger:
    """A ledger of three swaps: of two instances, one of them twice."""
    ledger = SwapLedger()
    ledger.observe(swap_event("start", 0, request_id="req-1", global_request_id="req-a"), at(0))
    ledger.observe(swap_event("end", 1, request_id="req-1", global_request_id="req-a"), at(1))
    ledger.observe(swap_event("start", 2, request_id="req-2", new="another"), at(2))
    ledger.observe(swap_event("start", 3, request_id="req-3", old="other", instance="instance-2"), at(3))
    return ledger


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ({}, ["req-1", "req-2", "req-3"]),
        ({"instance": INSTANCE}, ["req-1", "req-2"]),
        ({"instance": "instance-3"}, []),
        ({"old": OLD}, ["req-1", "req-2"]),
        ({"new": NEW}, ["req-1", "req-3"]),
        ({"old": OLD, "new": NEW}, ["req-1"]),
        ({"instance": "instance-2", "old": OLD}, []),
        ({"request_id": "req-3"}, ["req-3"]),
        ({"global_request_id": "req-a"}, ["req-1"]),
        ({"global_request_id": "req-b"}, []),
        ({"since": at(2)}, ["req-2", "req-3"]),
        ({"since": at(2), "instance": INSTANCE}, ["req-2"]),
    ],
)
def test_find_returns_what_matches_everything_given(ledger: SwapLedger, what: dict[str, Any], found: list[str]) -> None:
    assert found == requests(ledger.find(at(4), **what))


def test_a_swap_is_found_by_when_it_was_first_heard_of(ledger: SwapLedger) -> None:
    ledger.observe(swap_event("end", 9, request_id="req-2", new="another"), at(9))

    assert [] == ledger.find(at(9), request_id="req-2", since=at(3))
    assert [at(2)] == [swap.first_seen for swap in ledger.find(at(9), request_id="req-2", since=at(2))]


def test_running_and_stuck_share_what_is_not_finished(ledger: SwapLedger) -> None:
    now = at(DAY + 2)

    assert ["req-3"] == requests(ledger.running(now))
    assert ["req-2"] == requests(ledger.stuck(now))
    assert ["req-2", "req-3"] == requests(ledger.running(at(9)))
    assert [] == ledger.stuck(at(9))


def test_unfinished_counts_what_was_told_last() -> None:
    ledger = SwapLedger(stuck_after=60)
    nothing = ledger.unfinished()
    for number in range(3):
        swap_once(ledger, number, end=number == 2)
    running = ledger.unfinished()
    ledger.tick(at(60))

    assert ({}, {RUNNING: 2}, {RUNNING: 1, STUCK: 1}) == (nothing, running, ledger.unfinished())


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Let threads take turns after every few instructions."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("busy_threads")
def test_another_thread_may_count_what_is_unfinished_in_the_middle_of_a_change() -> None:
    ledger = SwapLedger()
    swap_once(ledger, 0, end=False)
    asked, over = threading.Event(), threading.Event()
    counted: set[int] = set()
    failures: list[Exception] = []

    def count() -> None:
        while not over.is_set():
            try:
                counted.add(sum(ledger.unfinished().values()))
            except Exception as error:
                failures.append(error)
            asked.set()

    counting = threading.Thread(target=count)
    counting.start()
    asked.wait()
    try:
        for number in range(1, 500):
            swap_once(ledger, number)
    finally:
        over.set()
        counting.join()

    assert [] == failures
    assert counted <= {1, 2}


def test_stuck_takes_another_limit(ledger: SwapLedger) -> None:
    stuck = ledger.stuck(at(7), older_than=5)

    assert [("req-2", STUCK)] == [(swap.request_id, swap.state) for swap in stuck]
    assert ["req-2", "req-3"] == requests(ledger.stuck(at(7), older_than=0))
    assert [] == ledger.stuck(at(DAY + 9), older_than=2 * DAY)


def test_get_returns_the_newest_attempt_of_a_request(ledger: SwapLedger) -> None:
    ledger.observe(swap_event("start", 5, request_id="req-2", new="yet another"), at(5))
    newest, unknown = ledger.get("req-2", at(6)), ledger.get("req-9", at(6))

    assert newest is not None
    assert "yet another" == newest.new_volume_id
    assert unknown is None


def test_get_answers_for_the_latest_moment_it_was_told() -> None:
    ledger = SwapLedger()

    assert ledger.get("req-1") is None

    ledger.observe(swap_event("start", 0), at(0))
    running = ledger.get("req-1")
    ledger.tick(at(DAY))
    ledger.tick(at(5))
    stuck = ledger.get("req-1")

    assert running is not None
    assert stuck is not None
    assert (RUNNING, STUCK) == (running.state, stuck.state)


# What is told


def test_observe_tells_what_changed() -> None:
    ledger = SwapLedger()
    start, progress, end = (swap_event(phase, second) for second, phase in enumerate(("start", "progress", "end")))
    told = [ledger.observe(notification, at(second)) for second, notification in enumerate((start, progress, end))]

    assert [[RUNNING], [RUNNING], [SUCCEEDED]] == [[swap.state for swap in swaps] for swaps in told]
    assert [1, 2, 3] == [len(swaps[0].evidence) for swaps in told]
    assert told[-1] == ledger.find(at(2))


def test_a_late_start_may_change_two_attempts() -> None:
    ledger = SwapLedger()
    for seconds, phase in ((0, "start"), (3, "end")):
        ledger.observe(swap_event(phase, seconds, request_id=None), at(seconds))
    changed = ledger.observe(swap_event("start", 2, request_id=None), at(4))

    assert [(RUNNING, at(0)), (SUCCEEDED, at(2))] == [(swap.state, swap.started_at) for swap in changed]


def test_an_earlier_start_takes_the_place_of_an_attempt_without_one() -> None:
    ledger = SwapLedger()
    ledger.observe(swap_event("progress", 3, request_id=None), at(3))
    (changed,) = ledger.observe(swap_event("start", 2, request_id=None), at(4))

    assert [changed] == ledger.find(at(4)) == ledger.running(at(4))
    assert at(4 + DAY) == ledger.next_due()


def test_a_sign_is_told_when_its_grace_is_over() -> None:
    ledger = SwapLedger()
    ledger.observe(swap_event("start", 0), at(0))

    assert at(DAY) == ledger.next_due()
    assert [] == ledger.observe(exception(10), at(10))
    assert at(15) == ledger.next_due()
    assert [] == ledger.tick(at(14.9))
    assert [FAILED] == [swap.state for swap in ledger.tick(at(15))]
    assert ledger.next_due() is None
    assert [] == ledger.tick(at(9 * DAY))


def test_the_first_of_several_attempts_is_due_first() -> None:
    ledger = SwapLedger()
    for number in (0, 10):
        ledger.observe(swap_event("start", number, request_id=None), at(number))

    assert at(DAY) == ledger.next_due()
    assert [at(0)] == [swap.started_at for swap in ledger.tick(at(DAY))]
    assert at(DAY + 10) == ledger.next_due()


def test_an_end_in_time_leaves_nothing_due() -> None:
    ledger = SwapLedger()
    swap_once(ledger, 1)

    assert ledger.next_due() is None
    assert [] == ledger.tick(at(9 * DAY))


def test_a_stuck_swap_is_told_once() -> None:
    ledger = SwapLedger(stuck_after=60)
    swap_once(ledger, 0, end=False)
    swap_once(ledger, 1, end=False)

    assert ["req-0"] == requests(ledger.tick(at(60)))
    assert at(61) == ledger.next_due()
    assert ["req-1"] == requests(ledger.tick(at(100)))
    assert ledger.next_due() is None


def test_a_sign_may_fail_several_swaps_of_an_instance() -> None:
    ledger = SwapLedger()
    swap_once(ledger, 0, end=False)
    swap_once(ledger, 1, end=False)
    ledger.observe(instance_event("instance.delete.end", 9), at(9))

    assert ["req-0", "req-1"] == requests(ledger.tick(at(14)))


def test_what_observe_told_tick_does_not_repeat() -> None:
    ledger = SwapLedger(stuck_after=60)
    swap_once(ledger, 0, end=False)
    told = ledger.observe(swap_event("progress", 70, request_id="req-0"), at(70))

    assert [STUCK] == [swap.state for swap in told]
    assert [] == ledger.tick(at(80))


# What is ignored


@pytest.mark.parametrize("name", [name for name in SAMPLES if "volume_swap" not in name])
def test_other_captured_notifications_are_no_swaps(name: str) -> None:
    ledger = SwapLedger()
    notification = captured(name)
    changed = ledger.observe(notification, at(0))
    tracked = any(pattern.matches(notification.event_type) for pattern in TRACKED)

    assert ([], []) == (changed, ledger.find(at(DAY)))
    assert (1, int(not tracked)) == (ledger.observed, ledger.ignored)


@pytest.mark.parametrize("name", [name for name in SAMPLES if "volume_swap" in name])
def test_captured_swaps_of_every_nova_are_understood(name: str) -> None:
    notification = captured(name)
    ledger = SwapLedger()
    (swap,) = ledger.observe(notification, notification.timestamp)

    assert {"start": RUNNING, "end": SUCCEEDED, "error": FAILED}[name.rpartition(".")[2]] is swap.state
    assert (notification.payload.uuid, notification.host) == (swap.instance, swap.host)
    assert [swap] == ledger.find(notification.timestamp, request_id=notification.context["request_id"])


def generic(event_type: str, **fields: Any) -> Notification[Any]:
    """Return a notification whose payload is a generic one with these fields."""
    return dataclasses.replace(instance_event(event_type), payload=VersionedObject(**fields))


@pytest.mark.parametrize(
    "notification",
    [
        generic("instance.volume_swap.start", uuid=INSTANCE, old_volume_id=OLD, new_volume_id=NEW),
        dataclasses.replace(swap_event("start"), event_type="instance.volume_swap.start.again"),
        dataclasses.replace(swap_event("start"), event_type="instance.volume_swap"),
        dataclasses.replace(swap_event("start"), payload={"uuid": INSTANCE}),
        generic("instance.delete.end"),
        generic("instance.delete.end", uuid=None),
        generic("instance.delete.end", uuid=7),
        generic("instance.rebuild.start", uuid=""),
        dataclasses.replace(instance_event("instance.delete.end"), payload=["no", "object"]),
        exception(request_id=None),
        dataclasses.replace(exception(), priority="INFO"),
        dataclasses.replace(exception(), context={"request_id": ["no text"]}),
        instance_event("instance.evacuated"),
        instance_event("instance.rebuild"),
        instance_event("flavor.create"),
    ],
)
def test_what_can_not_be_understood_is_ignored(notification: Notification[Any]) -> None:
    ledger = SwapLedger()

    assert [] == ledger.observe(notification, at(0))
    assert [] == ledger.find(at(0))
    assert (1, 1) == (ledger.observed, ledger.ignored)


def test_a_context_may_hold_anything() -> None:
    ledger = SwapLedger()
    context = {"request_id": 7, "global_request_id": ["no text"]}
    (swap,) = ledger.observe(dataclasses.replace(swap_event("start"), context=context), at(0))

    assert (None, None) == (swap.request_id, swap.global_request_id)


# Bounds


def test_the_swaps_that_finished_first_are_evicted_first() -> None:
    ledger = SwapLedger(keep=2)
    swap_once(ledger, 0, end=False)
    for number in (1, 2, 3):
        swap_once(ledger, number)
    ledger.observe(swap_event("end", 9, request_id="req-0"), at(9))

    assert ["req-0", "req-3"] == requests(ledger.find(at(9)))
    assert 2 == ledger.evicted


def test_the_oldest_unfinished_swaps_are_evicted_first_too() -> None:
    ledger = SwapLedger(keep=2)
    swap_once(ledger, 0)
    for number in (1, 2, 3):
        swap_once(ledger, number, end=False)

    assert ["req-0", "req-2", "req-3"] == requests(ledger.find(at(9)))
    assert ["req-2", "req-3"] == requests(ledger.running(at(9)))
    assert (1, at(2 + DAY)) == (ledger.evicted, ledger.next_due())


def test_time_alone_evicts_too() -> None:
    ledger = SwapLedger(keep=1)
    swap_once(ledger, 0)
    swap_once(ledger, 1, end=False)
    ledger.observe(exception(2, request_id="req-1"), at(2))

    assert ["req-0", "req-1"] == requests(ledger.find(at(6)))
    assert ["req-1"] == requests(ledger.tick(at(7)))
    assert ["req-1"] == requests(ledger.find(at(7)))


def test_an_evicted_attempt_without_a_request_id_takes_earlier_ones_along() -> None:
    ledger = SwapLedger(keep=2)
    heard = ("start", "start", "end", "end", "start", "end", "start")
    for seconds, phase in enumerate(heard):
        ledger.observe(swap_event(phase, seconds, request_id=None), at(seconds))

    swaps = ledger.find(at(9))

    assert [(SUCCEEDED, None), (SUCCEEDED, at(4)), (RUNNING, at(6))] == [(swap.state, swap.started_at) for swap in swaps]
    assert 2 == ledger.evicted


def test_what_was_evicted_leaves_nothing_behind() -> None:
    ledger = SwapLedger(keep=1)
    first = swap_event("start", 0, request_id="req-0")
    ledger.observe(first, at(0))
    swap_once(ledger, 1, end=False)
    ledger.observe(instance_event("instance.delete.end", 2), at(2))

    assert [] == ledger.observe(first, at(3))
    assert ["req-1"] == requests(ledger.tick(at(7)))
    assert ["req-1"] == requests(ledger.find(at(9)))


def test_what_comes_after_eviction_begins_anew() -> None:
    ledger = SwapLedger(keep=1)
    for number in (0, 1):
        swap_once(ledger, number, end=False)
    (swap,) = ledger.observe(swap_event("end", 9, request_id="req-0"), at(9))

    assert (SUCCEEDED, None) == (swap.state, swap.started_at)


def test_what_is_not_kept_is_told() -> None:
    ledger = SwapLedger(keep=1)
    first, second, late = swap_event("start"), swap_event("start", request_id="req-2"), swap_event("end")
    lacked = [ledger.lacks(first)]
    ledger.observe(first, at(0))
    lacked += [ledger.lacks(first), ledger.lacks(late)]
    ledger.observe(second, at(0))
    lacked += [ledger.lacks(first), ledger.lacks(late), ledger.lacks(exception())]
    key = SwapKey("nova-compute", INSTANCE, OLD, NEW, "req-1")

    assert [key, None, None, None, key, None] == lacked


@pytest.mark.parametrize(
    ("notification", "signed"),
    [
        (exception(1, request_id="req-1"), ["req-1"]),
        (exception(1, request_id="req-3"), []),
        (instance_event("instance.delete.end", 1), ["req-1", "req-3"]),
        (instance_event("instance.delete.end", 1, instance="another"), []),
        (swap_event("start", 1), []),
    ],
)
def test_a_sign_is_about_what_is_unfinished(notification: Notification[Any], signed: list[str]) -> None:
    ledger = SwapLedger()
    for number in (1, 2):
        swap_once(ledger, number, end=number == 2)
    ledger.observe(swap_event("start", 3, request_id="req-3", publisher="another:host-1"), at(3))

    assert signed == requests(ledger.signed(notification, at(4)))


def test_a_duplicate_is_known_for_ten_thousand_notifications_more() -> None:
    ledger = SwapLedger(keep=1)
    first, second = (swap_event("start", number, request_id=f"req-{number}") for number in (0, 1))
    ledger.observe(first, at(0))
    ledger.observe(second, at(0))
    for number in range(2, 10_002):
        swap_once(ledger, number, end=False)

    assert [] == ledger.observe(second, at(9))
    assert [RUNNING] == [swap.state for swap in ledger.observe(first, at(9))]


def test_a_request_keeps_what_matters_of_many_notifications() -> None:
    ledger = SwapLedger()
    words = [*["progress"] * 500, *["start", "error"] * 100, "end"]
    said = [swap_event(phase, number) for number, phase in enumerate(words)]
    for number, notification in enumerate(said):
        ledger.observe(notification, at(number))
    (swap,) = ledger.find(at(DAY))

    assert (SUCCEEDED, at(0)) == (swap.state, swap.first_seen)
    assert tuple(notification.message_id for notification in (said[0], *said[-127:])) == swap.evidence


def test_an_attempt_without_a_request_id_keeps_what_matters_of_many_notifications() -> None:
    ledger = SwapLedger()
    words = ["start", *["progress"] * 500, "end", *["cleaned_up"] * 500]
    said = [swap_event(phase, number, request_id=None) for number, phase in enumerate(words)]
    for number, notification in enumerate(said):
        ledger.observe(notification, at(number))
    (swap,) = ledger.find(at(DAY))

    assert (SUCCEEDED, at(0), at(501)) == (swap.state, swap.started_at, swap.finished_at)
    assert tuple(notification.message_id for notification in (said[0], said[501], *said[-126:])) == swap.evidence


def test_a_key_without_a_request_id_keeps_its_latest_attempts() -> None:
    ledger = SwapLedger()
    for number in range(100):
        swap_once(ledger, number, request_id=None)
    swaps = ledger.find(at(DAY))

    assert [at(number) for number in range(36, 100)] == [swap.started_at for swap in swaps]
    assert (36, {SUCCEEDED}) == (ledger.evicted, {swap.state for swap in swaps})


def test_without_a_request_id_an_older_attempt_makes_room_for_a_newer() -> None:
    ledger = SwapLedger()
    for number, phase in enumerate(("start", *["progress"] * 127, "start")):
        ledger.observe(swap_event(phase, number, request_id=None), at(number))

    assert [at(128)] == [swap.started_at for swap in ledger.find(at(999))]
    assert 1 == ledger.evicted


def test_a_key_keeps_the_first_and_the_latest_signs() -> None:
    ledger = SwapLedger()
    swap_once(ledger, 0, end=False)
    first, last = exception(1, request_id="req-0"), exception(300, request_id="req-0")
    for sign in (first, *(exception(number, request_id="req-0") for number in range(2, 299)), last):
        ledger.observe(sign, sign.timestamp)
    (failed,) = ledger.find(at(400))
    (again,) = ledger.observe(swap_event("start", 300, request_id="req-0"), at(301))

    assert first.message_id == failed.evidence[-1]
    assert [last.message_id] == [swap.evidence[-1] for swap in ledger.tick(at(306))]
    assert RUNNING is again.state


@pytest.mark.parametrize(("count", "decides"), [(40, 20), (64, 20), (65, 20), (83, 20), (84, 21), (99, 36)])
def test_a_key_keeps_sixty_four_signs(count: int, decides: int) -> None:
    ledger = SwapLedger()
    swap_once(ledger, 0, end=False)
    signs = [exception(number, request_id="req-0") for number in range(count)]
    for number, sign in enumerate(signs):
        ledger.observe(sign, at(number))
    ledger.observe(swap_event("start", 20, request_id="req-0"), at(100))

    assert [signs[decides].message_id] == [swap.evidence[-1] for swap in ledger.tick(at(105))]


def test_signs_wait_for_an_hour() -> None:
    hour = 3_600.0

    for waited, state in ((hour - 0.1, FAILED), (hour, RUNNING)):
        ledger = SwapLedger()
        ledger.observe(exception(1), at(1))
        ledger.observe(swap_event("start", 0), at(1 + waited))
        assert [state] == [swap.state for swap in ledger.find(at(2 * hour))]


def test_signs_that_are_too_old_make_room() -> None:
    ledger = SwapLedger()
    old, late = exception(1), exception(2, request_id="req-2")
    ledger.observe(old, at(1))
    ledger.observe(late, at(3_601))

    ledger.observe(swap_event("start", 0), at(3_601))
    ledger.observe(old, at(3_602))
    ledger.observe(late, at(3_602))

    assert [(FAILED, at(3_602))] == [(swap.state, swap.last_seen) for swap in ledger.tick(at(7_200))]
    assert 1 == ledger.ignored


def test_a_sign_that_is_too_old_takes_no_other_along() -> None:
    ledger = SwapLedger()
    old, young = exception(1), exception(2)
    ledger.observe(old, at(1))
    ledger.observe(young, at(3_601))
    ledger.observe(swap_event("start", 0), at(3_602))

    assert [young.message_id] == [swap.evidence[-1] for swap in ledger.tick(at(7_200))]


def test_ten_thousand_signs_wait() -> None:
    ledger = SwapLedger()
    for number in range(10_001):
        ledger.observe(exception(1, request_id=f"req-{number}"), at(1))
    for number in (0, 1):
        ledger.observe(swap_event("start", 0, request_id=f"req-{number}"), at(2))

    assert [RUNNING, FAILED] == [swap.state for swap in ledger.find(at(7))]


def test_a_sign_that_comes_again_later_is_still_known_to_its_swap() -> None:
    ledger = SwapLedger()
    sign = instance_event("instance.delete.end", 0, publisher="nova-api:api-1")
    ledger.observe(sign, at(0))
    swap_once(ledger, 1, end=False)
    ledger.observe(instance_event("instance.delete.end", 0, instance="instance-2"), at(3_600))
    ledger.observe(sign, at(3_601))

    assert ["req-1"] == requests(ledger.running(at(7_200)))


def test_signs_that_arrive_before_their_start_stand_in_order_of_arrival() -> None:
    ledger = SwapLedger()
    ledger.observe(exception(1), at(1))
    ledger.observe(instance_event("instance.delete.end", 2), at(1))
    (running,) = ledger.observe(swap_event("start", 0), at(2))
    (failed,) = ledger.tick(at(7))

    assert RUNNING is running.state
    assert "compute.exception" in str(failed.inferred)


def test_a_hundred_spans_are_kept() -> None:
    ledger = SwapLedger()
    ledger.observe(swap_event("start", 0), at(0))
    for number in range(1, 200):
        ledger.deaf(at(2 * number), at(2 * number + 1))
    (swap,) = ledger.find(at(999))

    assert [at(2 * number) for number in range(100, 200)] == [begin for begin, _ in swap.deaf]


def test_spans_that_touch_are_one() -> None:
    ledger = SwapLedger()
    ledger.observe(swap_event("start", 0), at(0))
    for begin, end in ((10, 20), (40, 50), (20, 30), (12, 13), (45, 60)):
        ledger.deaf(at(begin), at(end))
    (swap,) = ledger.find(at(99))

    assert ((at(10), at(30)), (at(40), at(60))) == swap.deaf


# Misuse


@pytest.mark.parametrize("stuck_after", [0, -1, float("nan"), float("inf"), 1e12])
def test_a_limit_that_no_swap_can_reach_is_refused(stuck_after: float) -> None:
    with pytest.raises(ValueError, match="stuck_after"):
        SwapLedger(stuck_after)


def test_a_ledger_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="keep=0"):
        SwapLedger(keep=0)


@pytest.mark.parametrize("older_than", [-1, float("nan"), float("inf")])
def test_an_age_that_no_swap_can_have_is_refused(older_than: float) -> None:
    with pytest.raises(ValueError, match="older_than"):
        SwapLedger().stuck(at(0), older_than=older_than)


def test_naive_moments_are_refused() -> None:
    ledger, naive = SwapLedger(), datetime(2026, 1, 1)  # noqa: DTZ001 - this is the mistake

    with pytest.raises(ValueError, match="naive"):
        ledger.observe(swap_event("start"), naive)
    with pytest.raises(ValueError, match="naive"):
        ledger.tick(naive)
    with pytest.raises(ValueError, match="aware"):
        ledger.deaf(naive, at(0))
    with pytest.raises(ValueError, match="aware"):
        ledger.deaf(at(0), naive)
    assert 0 == ledger.observed


def test_short_limits_are_fine() -> None:
    ledger = SwapLedger(stuck_after=0.5, keep=1)
    swap_once(ledger, 0, end=False)

    assert at(0.5) == ledger.next_due()


def test_a_span_may_be_a_moment() -> None:
    ledger = SwapLedger()
    swap_once(ledger, 0, end=False)
    ledger.deaf(at(1), at(1))

    assert [((at(1), at(1)),)] == [swap.deaf for swap in ledger.find(at(9))]


def test_a_span_ends_after_it_begins() -> None:
    with pytest.raises(ValueError, match="the earlier one first"):
        SwapLedger().deaf(at(1), at(1) - timedelta(microseconds=1))
