"""What is said of a swap: one test for each odd case of docs/swap-states.md, and the value that says it."""

from __future__ import annotations

import dataclasses
import pickle
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aioswap.errors import AioswapError
from aioswap.ledger import SwapLedger
from aioswap.swaps import Swap, SwapFailed, SwapState, SwapStuck
from aioswap.wire.notification import Notification
from tests.swap_kit import DAY, NEW, OLD, at, captured, exception, fault, instance_event, swap_event

RUNNING, SUCCEEDED, FAILED, STUCK = SwapState

HOST_2 = "nova-compute:host-2"
API = "nova-api:api-1"

TABLE = Path(__file__).parents[1] / "docs" / "swap-states.md"


def ledger_of(*heard: tuple[float, Notification[Any]]) -> SwapLedger:
    """Return a ledger that heard these, each with the seconds after which it arrived."""
    ledger = SwapLedger()
    for seconds, notification in heard:
        ledger.observe(notification, at(seconds))
    return ledger


def swaps_of(*heard: tuple[float, Notification[Any]], now: float | None = None) -> list[Swap]:
    """Return what is known of the swaps in these, when the last has arrived or at `now`."""
    return ledger_of(*heard).find(at(heard[-1][0] if now is None else now))


def swap_of(*heard: tuple[float, Notification[Any]], now: float | None = None) -> Swap:
    """Return what is known of the only swap."""
    (swap,) = swaps_of(*heard, now=now)
    return swap


def states(swaps: list[Swap]) -> list[SwapState]:
    return [swap.state for swap in swaps]


def test_each_odd_case_of_the_table_has_its_test() -> None:
    rows = re.findall(r"^\|.*\| `(test_\w+)` \|$", TABLE.read_text(), re.MULTILINE)

    assert len(rows) > 30
    assert sorted(set(rows)) == sorted(rows)
    assert [] == [row for row in rows if row not in globals()]


# Attempts


def test_a_swap_that_succeeds_says_when() -> None:
    start = swap_event("start", 0, global_request_id="req-global")
    end = swap_event("end", 90)
    expected = Swap(
        source="nova-compute",
        host="host-1",
        instance="instance-1",
        old_volume_id=OLD,
        new_volume_id=NEW,
        request_id="req-1",
        global_request_id="req-global",
        project_id="project of instance-1",
        state=SUCCEEDED,
        started_at=at(0),
        finished_at=at(90),
        duration=timedelta(seconds=90),
        fault=None,
        inferred=None,
        late=False,
        evidence=(start.message_id, end.message_id),
        deaf=(),
        effective_volume_id=None,
        first_seen=at(1),
        last_seen=at(92),
    )

    assert expected == swap_of((1, start), (92, end))


def test_captured_notifications_are_understood() -> None:
    start, error, raised = (
        captured(name)
        for name in (
            "nova34-v2-full__instance.volume_swap.start",
            "nova34-v2-full__instance.volume_swap.error",
            "nova34-others__compute.exception",
        )
    )
    swap = swap_of((0, start), (1, error), (2, raised))

    assert (FAILED, "compute-1", start.payload.uuid) == (swap.state, swap.host, swap.instance)
    assert (error.payload.fault, start.context["request_id"]) == (swap.fault, swap.request_id)
    assert start.context["global_request_id"] == swap.global_request_id
    assert error.timestamp - start.timestamp == swap.duration


def test_each_request_is_an_attempt() -> None:
    swaps = swaps_of(
        (0, swap_event("start", 0)),
        (1, swap_event("error", 1)),
        (2, swap_event("start", 2, request_id="req-2")),
        (3, swap_event("end", 3, request_id="req-2")),
    )

    assert [("req-1", FAILED), ("req-2", SUCCEEDED)] == [(swap.request_id, swap.state) for swap in swaps]


@pytest.mark.parametrize("absent", [None, ""])
def test_without_a_request_id_a_start_begins_an_attempt(absent: str | None) -> None:
    swaps = swaps_of(
        *((second, swap_event(p, second, request_id=absent)) for second, p in enumerate(["start", "error", "start", "end"]))
    )

    assert [(FAILED, at(0)), (SUCCEEDED, at(2))] == [(swap.state, swap.started_at) for swap in swaps]


def test_a_request_that_starts_again_is_one_attempt() -> None:
    heard = [(float(second), swap_event(phase, second)) for second, phase in enumerate(["start", "error", "start", "end"])]
    swap = swap_of(*heard)

    assert (SUCCEEDED, at(0), at(3), 4) == (swap.state, swap.started_at, swap.finished_at, len(swap.evidence))
    assert [FAILED, RUNNING] == [swap_of(*heard[:count]).state for count in (2, 3)]


def test_a_retype_without_a_swap_is_not_seen() -> None:
    ledger = ledger_of((0, instance_event("instance.update", 0)), (1, captured("nova34-others__instance.volume_attach.end")))

    assert [] == ledger.find(at(9 * DAY), old=OLD)
    assert [] == ledger.stuck(at(9 * DAY))


def test_cinder_tries_again_with_another_new_volume() -> None:
    ledger = ledger_of(
        (0, swap_event("start", 0, new="first", global_request_id="req-global")),
        (1, swap_event("error", 1, new="first", global_request_id="req-global")),
        (9, swap_event("start", 9, new="second", request_id="req-2", global_request_id="req-global")),
        (10, swap_event("end", 10, new="second", request_id="req-2", global_request_id="req-global")),
    )
    expected = [("first", FAILED), ("second", SUCCEEDED)]

    assert expected == [(swap.new_volume_id, swap.state) for swap in ledger.find(at(11), old=OLD)]
    assert expected == [(swap.new_volume_id, swap.state) for swap in ledger.find(at(11), global_request_id="req-global")]


def test_after_a_migration_the_instance_has_the_old_volume() -> None:
    swap = swap_of((0, swap_event("start", 0, shown=(OLD,))), (1, swap_event("end", 1, shown=("root", OLD))))

    assert OLD == swap.effective_volume_id


@pytest.mark.parametrize(
    ("phase", "shown", "effective"),
    [
        ("end", (NEW, "root"), NEW),
        ("end", (OLD, NEW), NEW),
        ("end", ("root",), None),
        ("end", (), None),
        ("end", None, None),
        ("error", (OLD,), None),
    ],
)
def test_the_effective_volume_is_never_a_guess(phase: str, shown: tuple[str, ...] | None, effective: str | None) -> None:
    swap = swap_of((0, swap_event("start", 0, shown=(OLD,))), (1, swap_event(phase, 1, shown=shown)))

    assert effective == swap.effective_volume_id


def test_a_global_request_finds_the_swaps_of_several_instances() -> None:
    ledger = ledger_of(
        (0, swap_event("start", 0, instance="a", request_id="req-a", global_request_id="req-global")),
        (1, swap_event("start", 1, instance="b", request_id="req-b", global_request_id="req-global")),
        (2, swap_event("start", 2, instance="c", request_id="req-c", global_request_id="req-other")),
    )

    assert ["a", "b"] == [swap.instance for swap in ledger.find(at(3), global_request_id="req-global")]


def test_a_live_migration_or_a_resize_in_between_changes_the_host_only() -> None:
    for moved in ("live_migration_post.end", "live_migration_post_dest.end", "resize.end", "resize_finish.end"):
        swaps = swaps_of(
            (0, swap_event("start", 0)),
            (1, swap_event("end", 1)),
            (2, instance_event(f"instance.{moved}", 2, publisher=HOST_2)),
            (3, swap_event("start", 3, publisher=HOST_2, request_id="req-2")),
            (4, instance_event(f"instance.{moved}", 4)),
            (9, swap_event("end", 9, publisher=HOST_2, request_id="req-2")),
        )

        assert [("host-1", SUCCEEDED), ("host-2", SUCCEEDED)] == [(swap.host, swap.state) for swap in swaps]


def test_two_publishers_give_no_duration() -> None:
    swap = swap_of((0, swap_event("start", 0)), (60, swap_event("end", 7_260, publisher=HOST_2)))

    assert (SUCCEEDED, None, "host-1") == (swap.state, swap.duration, swap.host)
    assert (at(0), at(7_260)) == (swap.started_at, swap.finished_at)


def test_the_source_tells_attempts_apart() -> None:
    swaps = swaps_of(
        (0, swap_event("start", 0)),
        (1, swap_event("start", 1, publisher="fake-compute:host-1")),
        (2, swap_event("end", 2)),
        (3, swap_event("error", 3, publisher="fake-compute:host-1")),
    )

    assert [("nova-compute", SUCCEEDED), ("fake-compute", FAILED)] == [(swap.source, swap.state) for swap in swaps]


# Signs


def test_an_instance_deleted_during_the_swap_fails_it() -> None:
    heard = ((0, swap_event("start", 0)), (10, instance_event("instance.delete.end", 10)))
    swap = swap_of(*heard, now=15)

    assert RUNNING is swap_of(*heard, now=14.999).state
    assert (FAILED, None, at(10)) == (swap.state, swap.fault, swap.finished_at)
    assert "instance.delete.end from nova-compute:host-1: the instance is deleted" == swap.inferred
    assert (heard[0][1].message_id, heard[1][1].message_id) == swap.evidence
    assert (at(0), at(10), timedelta(seconds=10)) == (swap.first_seen, swap.last_seen, swap.duration)


def test_an_instance_deleted_by_the_api_fails_it_too() -> None:
    swap = swap_of((0, swap_event("start", 0)), (10, instance_event("instance.delete.end", -50, publisher=API)), now=15)

    assert (FAILED, None) == (swap.state, swap.duration)


def test_what_happened_to_the_instance_before_the_start_says_nothing() -> None:
    deleted = "instance.delete.end"

    assert RUNNING is swap_of((0, instance_event(deleted, 0)), (9, swap_event("start", 9)), now=60).state
    assert RUNNING is swap_of((9, swap_event("start", 9)), (10, instance_event(deleted, 0)), now=60).state
    assert RUNNING is swap_of((0, instance_event(deleted, 99, publisher=API)), (9, swap_event("start", 9)), now=60).state
    assert FAILED is swap_of((9, instance_event(deleted, 10)), (9, swap_event("start", 9)), now=60).state


@pytest.mark.parametrize(
    ("event_type", "publisher"),
    [
        ("instance.evacuate", API),
        ("instance.evacuate.start", API),
        ("instance.rebuild.start", HOST_2),
        ("instance.rebuild.error", HOST_2),
    ],
)
def test_an_instance_evacuated_during_the_swap_fails_it(event_type: str, publisher: str) -> None:
    swap = swap_of((0, swap_event("start", 0)), (600, instance_event(event_type, 0, publisher=publisher)), now=605)

    assert FAILED is swap.state
    assert f"{event_type} from {publisher}: the instance has left the host of the swap" == swap.inferred


@pytest.mark.parametrize("publisher", ["nova-compute:host-1", "nova-conductor:host-1", "nova-conductor", "nova-conductor:"])
def test_a_rebuild_on_the_host_of_the_swap_says_nothing(publisher: str) -> None:
    rebuild = instance_event("instance.rebuild.start", 9, publisher=publisher)

    assert RUNNING is swap_of((0, swap_event("start", 0)), (9, rebuild), now=60).state


def test_a_swap_whose_host_is_not_known_has_left_none() -> None:
    start = swap_event("start", 0, publisher="my-service")
    swap = swap_of((0, start), (9, instance_event("instance.rebuild.start", 9, publisher=HOST_2)), now=60)

    assert (RUNNING, None, "my-service") == (swap.state, swap.host, swap.source)


def test_an_exception_in_the_request_fails_the_swap() -> None:
    heard = ((0, swap_event("start", 0)), (10, exception(9)))
    swap = swap_of(*heard, now=15)

    assert RUNNING is swap_of(*heard, now=14.999).state
    assert (FAILED, fault("it raised"), None) == (swap.state, swap.fault, swap.effective_volume_id)
    assert "compute.exception from nova-compute:host-1: the request failed" == swap.inferred
    assert (at(9), timedelta(seconds=9), False) == (swap.finished_at, swap.duration, swap.late)


@pytest.mark.parametrize(
    "other",
    [
        exception(9, request_id="req-2"),
        exception(9, request_id=None),
        exception(9, publisher="nova-conductor:host-1"),
        dataclasses.replace(exception(9), priority="INFO"),
        instance_event("instance.delete.end", 9, instance="instance-2"),
        instance_event("instance.delete.start", 9),
    ],
)
def test_what_is_about_something_else_says_nothing(other: Notification[Any]) -> None:
    assert RUNNING is swap_of((0, swap_event("start", 0)), (9, other), now=60).state


def test_an_exception_says_nothing_of_a_swap_without_a_request_id() -> None:
    assert RUNNING is swap_of((0, swap_event("start", 0, request_id=None)), (9, exception(9, request_id=None)), now=60).state


def test_an_exception_without_a_fault_fails_the_swap_too() -> None:
    raised = dataclasses.replace(exception(9), payload={"exception": "of another form"})
    swap = swap_of((0, swap_event("start", 0)), (10, raised), now=15)

    assert (FAILED, None) == (swap.state, swap.fault)


def test_a_real_error_outweighs_the_exception() -> None:
    start, error, raised = (0, swap_event("start", 0)), swap_event("error", 8), exception(9)

    for second, third in (((10.0, error), (11.0, raised)), ((10.0, raised), (11.0, error))):
        swap = swap_of(start, second, third, now=60)
        assert (FAILED, None, fault()) == (swap.state, swap.inferred, swap.fault)
        assert (start[1].message_id, error.message_id) == swap.evidence


def test_the_exception_may_arrive_before_the_start() -> None:
    heard = ((0, exception(9)), (3, swap_event("start", 0)))
    swap = swap_of(*heard, now=8)

    assert RUNNING is swap_of(*heard, now=7.999).state
    assert (FAILED, fault("it raised"), at(3), at(3)) == (swap.state, swap.fault, swap.first_seen, swap.last_seen)


def test_an_exception_from_before_the_start_says_nothing() -> None:
    assert RUNNING is swap_of((0, exception(1)), (3, swap_event("start", 2)), now=60).state
    assert FAILED is swap_of((0, exception(1, publisher=HOST_2)), (3, swap_event("start", 2)), now=60).state


def test_it_is_the_first_sign_that_decides() -> None:
    heard = (
        (0, swap_event("start", 0)),
        (10, instance_event("instance.delete.end", 10)),
        (11, exception(11)),
    )

    assert "instance.delete.end" in str(swap_of(*heard, now=60).inferred)
    assert "compute.exception" in str(swap_of((0, exception(11)), *heard, now=60).inferred)


def test_what_happened_to_the_instance_between_two_starts_says_nothing() -> None:
    deleted = instance_event("instance.delete.end", 5, publisher=API)
    heard = ((0, swap_event("start", 0)), (5, deleted), (6, swap_event("start", 6)))

    assert RUNNING is swap_of(*heard, now=60).state


def test_the_grace_begins_anew_with_each_start() -> None:
    heard = ((0, swap_event("start", 0)), (1, exception(9)), (4, swap_event("start", 1)))

    assert [RUNNING, FAILED] == [swap_of(*heard, now=now).state for now in (8.999, 9)]


def test_a_start_after_the_signs_takes_the_failure_back() -> None:
    ledger = ledger_of((0, swap_event("start", 0)), (1, exception(1)))
    by_time = ledger.tick(at(6))
    (again,) = ledger.observe(swap_event("start", 7), at(7))

    assert [FAILED] == states(by_time)
    assert (RUNNING, None) == (again.state, again.inferred)


def test_a_real_end_replaces_the_inferred_failure() -> None:
    end = swap_event("end", 60)
    ledger = ledger_of((0, swap_event("start", 0)), (1, exception(1)))
    by_time = ledger.tick(at(6))
    changed = ledger.observe(end, at(61))

    assert [(FAILED, True)] == [(swap.state, swap.inferred is not None) for swap in by_time]
    assert [(SUCCEEDED, None, None)] == [(swap.state, swap.inferred, swap.fault) for swap in changed]
    assert end.message_id == changed[0].evidence[-1]


# Time


def test_a_killed_service_leaves_the_swap_stuck() -> None:
    heard = (60, swap_event("start", 0))
    swap = swap_of(heard, now=60 + DAY)

    assert RUNNING is swap_of(heard, now=59.999 + DAY).state
    assert (STUCK, None, None, at(60)) == (swap.state, swap.finished_at, swap.duration, swap.last_seen)


@pytest.mark.parametrize(("phase", "state"), [("end", SUCCEEDED), ("error", FAILED)])
def test_a_late_end_ends_a_stuck_swap(phase: str, state: SwapState) -> None:
    start, end = (60, swap_event("start", 0)), swap_event(phase, 1)
    in_time, late = (swap_of(start, (seconds, end)) for seconds in (59.999 + DAY, 60 + DAY))

    assert (state, False) == (in_time.state, in_time.late)
    assert (state, True, timedelta(seconds=1)) == (late.state, late.late, late.duration)


def test_a_stuck_swap_whose_instance_is_deleted_has_failed() -> None:
    deleted = instance_event("instance.delete.end", 2 * DAY)
    heard = ((0, swap_event("start", 0)), (2 * DAY, deleted))

    assert STUCK is swap_of(*heard, now=2 * DAY + 4).state
    assert (FAILED, False) == (swap_of(*heard, now=2 * DAY + 5).state, swap_of(*heard, now=2 * DAY + 5).late)


def test_a_start_again_does_not_put_off_being_stuck() -> None:
    heard = ((0, swap_event("start", 0)), (DAY - 1, swap_event("start", DAY - 1)))

    assert [RUNNING, STUCK] == [swap_of(*heard, now=now).state for now in (DAY - 1, DAY)]


# Late, duplicated, reordered, missing


def test_a_duplicate_changes_nothing() -> None:
    heard = [(0.0, swap_event("start", 0)), (1.0, exception(1)), (9.0, swap_event("end", 9))]
    ledger = ledger_of(*heard)
    before = ledger.find(at(100))
    changed = [swap for _, notification in heard for swap in ledger.observe(notification, at(50))]

    assert [] == changed
    assert before == ledger.find(at(100))
    assert (6, 3) == (ledger.observed, ledger.ignored)


def test_a_start_sent_again_changes_nothing() -> None:
    swap = swap_of((0, swap_event("start", 0)), (9, swap_event("end", 9)), (10, swap_event("start", 0)))

    assert (SUCCEEDED, timedelta(seconds=9), at(10)) == (swap.state, swap.duration, swap.last_seen)


@pytest.mark.parametrize("request_id", ["req-1", None])
def test_an_end_that_overtakes_its_start_belongs_to_it(request_id: str | None) -> None:
    end, start = swap_event("end", 9, request_id=request_id), swap_event("start", 0, request_id=request_id)
    swap = swap_of((9, end), (10, start))

    assert (SUCCEEDED, at(0), timedelta(seconds=9)) == (swap.state, swap.started_at, swap.duration)
    assert (start.message_id, end.message_id) == swap.evidence


def test_attempts_without_request_ids_are_put_in_order() -> None:
    start_1, end_1, start_2, end_2 = (
        swap_event(phase, seconds, request_id=None) for seconds, phase in enumerate(("start", "error", "start", "end"))
    )
    swaps = swaps_of((10, start_2), (11, end_1), (12, end_2), (13, start_1))

    assert [FAILED, SUCCEEDED] == states(swaps)
    assert [(start_1.message_id, end_1.message_id), (start_2.message_id, end_2.message_id)] == [s.evidence for s in swaps]


@pytest.mark.parametrize("request_id", ["req-1", None])
@pytest.mark.parametrize(("phase", "state"), [("end", SUCCEEDED), ("error", FAILED)])
def test_a_missing_start_is_no_obstacle(phase: str, state: SwapState, request_id: str | None) -> None:
    swap = swap_of((10, swap_event(phase, 9, request_id=request_id)))

    assert (state, None, at(9), None, False) == (swap.state, swap.started_at, swap.finished_at, swap.duration, swap.late)


def test_only_an_error_has_a_fault() -> None:
    end = swap_event("end", 9)
    strange = dataclasses.replace(end, payload=end.payload.model_copy(update={"fault": fault()}))

    assert swap_of((0, swap_event("start", 0)), (9, strange)).fault is None


def test_a_missing_end_leaves_that_attempt_open() -> None:
    heard = [
        (float(second), swap_event(phase, second, request_id=None)) for second, phase in enumerate(("start", "start", "end"))
    ]

    assert [RUNNING, SUCCEEDED] == states(swaps_of(*heard))
    assert [STUCK, SUCCEEDED] == states(swaps_of(*heard, now=DAY))


def test_a_second_end_is_an_attempt_of_its_own() -> None:
    heard = [
        (float(second), swap_event(phase, second, request_id=None)) for second, phase in enumerate(("start", "end", "end"))
    ]

    assert [(SUCCEEDED, at(0)), (SUCCEEDED, None)] == [(swap.state, swap.started_at) for swap in swaps_of(*heard)]


@pytest.mark.parametrize("request_id", ["req-1", None])
def test_an_unknown_phase_alone_is_a_running_swap(request_id: str | None) -> None:
    heard = (5, swap_event("progress", 0, request_id=request_id))

    assert (RUNNING, None) == (swap_of(heard).state, swap_of(heard).started_at)
    assert STUCK is swap_of(heard, now=5 + DAY).state
    assert FAILED is swap_of(heard, (6, instance_event("instance.delete.end", 1)), now=60).state


@pytest.mark.parametrize("request_id", ["req-1", None])
@pytest.mark.parametrize(("phase", "state"), [("end", SUCCEEDED), ("error", FAILED)])
def test_an_unknown_phase_is_evidence_that_says_nothing(phase: str, state: SwapState, request_id: str | None) -> None:
    words = ("start", "progress", phase, "cleaned_up")
    heard = [(float(second), swap_event(word, second, request_id=request_id)) for second, word in enumerate(words)]
    swap = swap_of(*heard)

    assert (state, at(0), at(2)) == (swap.state, swap.started_at, swap.finished_at)
    assert tuple(notification.message_id for _, notification in heard) == swap.evidence


# Clocks that disagree


def test_a_clock_that_is_hours_off_changes_nothing() -> None:
    for skew in (-7_200.0, 7_200.0):
        swap = swap_of((60, swap_event("end", 9 + skew)), (61, swap_event("start", skew)))

        assert (SUCCEEDED, timedelta(seconds=9), False) == (swap.state, swap.duration, swap.late)
        assert STUCK is swap_of((60, swap_event("start", skew)), now=60 + DAY).state
        assert RUNNING is swap_of((60, swap_event("start", skew)), now=59 + DAY).state


def test_publishers_are_ordered_by_arrival() -> None:
    swap = swap_of((0, swap_event("start", 3_600)), (60, swap_event("end", 0, publisher=HOST_2)))

    assert SUCCEEDED is swap.state


def test_what_was_overtaken_stands_where_it_must_have_happened() -> None:
    swaps = swaps_of(
        (1, swap_event("end", 2, request_id=None)),
        (3, swap_event("start", 0, request_id=None, publisher=HOST_2)),
        (5, swap_event("start", 1, request_id=None)),
    )

    assert [("host-1", SUCCEEDED), ("host-2", RUNNING)] == [(swap.host, swap.state) for swap in swaps]


def test_a_clock_set_back_during_a_swap_can_not_be_noticed() -> None:
    heard = ((0, swap_event("start", 60)), (9, swap_event("end", 0)))

    assert [RUNNING, STUCK] == [swap_of(*heard, now=now).state for now in (9, DAY)]


def test_equal_timestamps_are_ordered_by_arrival() -> None:
    start, end = swap_event("start", 0), swap_event("end", 0)

    assert SUCCEEDED is swap_of((1, start), (1, end)).state
    assert RUNNING is swap_of((1, end), (1, start)).state


# Deafness


def test_spans_without_a_listener_are_shown() -> None:
    ledger = ledger_of((10, swap_event("start", 10)))
    for begin, end in ((1, 2), (5, 10), (20, 30), (25, 40), (DAY, DAY + 1)):
        ledger.deaf(at(begin), at(end))
    (running,) = ledger.find(at(60))
    (stuck,) = ledger.stuck(at(2 * DAY))

    assert ((at(20), at(40)),) == running.deaf
    assert ((at(20), at(40)), (at(DAY), at(DAY + 1))) == stuck.deaf


def test_spans_count_until_the_end_was_heard() -> None:
    ledger = ledger_of((10, swap_event("start", 10)), (15, swap_event("end", 15)))
    ledger.deaf(at(12), at(13))
    ledger.deaf(at(14), at(16))
    ledger.deaf(at(17), at(18))

    assert [((at(12), at(13)), (at(14), at(16)))] == [swap.deaf for swap in ledger.find(at(60))]


def test_spans_count_until_now_for_an_inferred_failure() -> None:
    ledger = ledger_of((10, swap_event("start", 10)), (15, exception(15)))
    ledger.deaf(at(30), at(31))

    assert [(FAILED, ((at(30), at(31)),))] == [(swap.state, swap.deaf) for swap in ledger.find(at(60))]


def test_a_missing_start_may_have_come_in_any_span_before() -> None:
    ledger = ledger_of((15, swap_event("end", 15)))
    ledger.deaf(at(1), at(2))
    ledger.deaf(at(20), at(21))

    assert [((at(1), at(2)),)] == [swap.deaf for swap in ledger.find(at(60))]


# The value


def test_a_success_raises_nothing() -> None:
    swap_of((0, swap_event("start", 0)), (1, swap_event("end", 1))).raise_for_state()


def test_a_failure_is_raised_with_its_fault() -> None:
    swap = swap_of((0, swap_event("start", 0)), (1, swap_event("error", 1)))

    with pytest.raises(SwapFailed) as raised:
        swap.raise_for_state()

    assert swap is raised.value.swap
    assert isinstance(raised.value, AioswapError)
    assert "the swap volume-old -> volume-new of instance instance-1 failed: VolumeNotFound: no valid connector" == str(
        raised.value
    )


def test_an_inferred_failure_says_from_what() -> None:
    swap = swap_of((0, swap_event("start", 0)), (1, instance_event("instance.delete.end", 1)), now=6)

    with pytest.raises(SwapFailed, match=r"failed \(inferred from instance\.delete\.end .*deleted\): no fault was told$"):
        swap.raise_for_state()


def test_a_long_fault_is_cut() -> None:
    swap = swap_of((0, swap_event("start", 0)), (1, swap_event("error", 1)))
    long = dataclasses.replace(swap, fault=fault("x" * 1_000_000))

    assert len(str(SwapFailed(long))) < 1_200


def test_a_stuck_swap_is_raised() -> None:
    swap = swap_of((0, swap_event("start", 0)), now=DAY)

    with pytest.raises(SwapStuck) as raised:
        swap.raise_for_state()

    assert swap is raised.value.swap
    assert str(raised.value).endswith("instance-1 is stuck: nothing was heard of it since 2026-11-22 12:00:00+00:00")


def test_a_running_swap_has_no_outcome_to_raise() -> None:
    with pytest.raises(RuntimeError, match="still runs"):
        swap_of((0, swap_event("start", 0))).raise_for_state()


def test_errors_survive_pickling() -> None:
    swap = swap_of((0, swap_event("start", 0)), now=DAY)

    for error in (SwapStuck(swap), SwapFailed(swap)):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(error), str(error), swap) == (type(copy), str(copy), copy.swap)


def test_a_swap_with_a_fault_can_be_put_into_a_set() -> None:
    swap = swap_of((0, swap_event("start", 0)), (1, swap_event("error", 1)))

    assert {swap} == {swap, dataclasses.replace(swap)}
