"""The accounting itself: it finds what is lost, doubled, strange or out of order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.faults.accounting import Copy, Sum, account

INFO, ERROR = "versioned_notifications.info", "versioned_notifications.error"


def copies(*ids: str, key: str = INFO) -> list[Copy]:
    """Copies of these ids, in this order; the AMQP id is the id and a `u`."""
    return [Copy(message_id, f"{message_id}u", key, "instance", "start") for message_id in ids]


def summed(accepted: Sequence[str], found: list[Copy], **more: Any) -> Sum:
    handled = list(dict.fromkeys(copy.message_id for copy in found))
    return account(**{"accepted": [list(accepted)], "copies": found, "handled": handled, **more})


def test_what_was_accepted_and_delivered_once_in_order_is_exact() -> None:
    sum_ = summed("abc", copies("a", "b", "c"))

    assert sum_.exact
    assert (3, 3, 0, 0, 0) == (sum_.accepted, sum_.delivered, sum_.lost, sum_.duplicates, sum_.inversions)


def test_what_is_nowhere_is_lost() -> None:
    sum_ = summed("abc", copies("a", "c"))

    assert 1 == sum_.lost
    assert not sum_.exact


@pytest.mark.parametrize("elsewhere", [{"parked": {"b"}}, {"lost_at_exit": {"b"}}, {"destroyed": 1}], ids=str)
def test_what_is_parked_left_or_destroyed_is_part_of_the_sum(elsewhere: dict[str, Any]) -> None:
    sum_ = summed("abc", copies("a", "c"), **elsewhere)

    assert 0 == sum_.lost
    assert 1 == sum_.parked + sum_.lost_at_exit + sum_.destroyed
    assert sum_.exact


def test_what_was_delivered_counts_as_that_although_it_is_parked_too() -> None:
    sum_ = summed("ab", copies("a", "b"), parked={"b"}, lost_at_exit={"b"})

    assert (2, 0, 0) == (sum_.delivered, sum_.parked, sum_.lost_at_exit)


def test_more_destroyed_than_missing_is_not_exact() -> None:
    sum_ = summed("ab", copies("a", "b"), destroyed=1)

    assert -1 == sum_.lost
    assert not sum_.exact


def test_what_nobody_has_accepted_is_a_stranger() -> None:
    sum_ = summed("a", copies("a", "b"))

    assert 1 == sum_.strangers
    assert not sum_.exact


@pytest.mark.parametrize(("bound", "exact"), [(2, True), (1, False)])
def test_duplicates_are_counted_against_their_bound(bound: int, exact: bool) -> None:
    sum_ = summed("ab", copies("a", "b", "a", "b"), bound=bound)

    assert (2, 0) == (sum_.duplicates, sum_.inversions)
    assert exact == sum_.exact


def test_a_first_delivery_behind_a_later_one_is_an_inversion() -> None:
    sum_ = summed("abc", copies("a", "c", "b"))

    assert 1 == sum_.inversions
    assert not sum_.exact


def test_no_routing_key_overtakes_another_one() -> None:
    found = [*copies("a", "c"), *copies("b", key=ERROR)]

    assert (0, 1) == (summed("abc", found).inversions, summed("abc", found).overtaken)
    assert not summed("abc", found).exact


def test_what_was_refused_counts_apart() -> None:
    assert summed("abc", copies("b", "c", "a"), refused={"au"}).exact
    assert not summed("abc", copies("c", "b", "a"), refused={"au"}).exact


@pytest.mark.parametrize(("allowed", "exact"), [(0, False), (1, True)])
def test_what_a_handler_sees_twice_is_counted_against_its_bound(allowed: int, exact: bool) -> None:
    sum_ = summed("ab", copies("a", "b"), handled=["a", "b", "a"], may_handle_twice=allowed)

    assert 1 == sum_.handled_twice
    assert exact == sum_.exact


def test_what_is_delivered_and_never_handled_is_not_exact() -> None:
    assert not summed("ab", copies("a", "b"), handled=["a"]).exact
