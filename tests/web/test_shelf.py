"""Which swaps are shown, and under which number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aioswap.ledger import SwapLedger
from aioswap.swaps import Swap
from aioswap.web.shelf import Shelf, Wanted
from aioswap.wire.notification import Notification
from tests.swap_kit import at, swap_event

ALL = Wanted()


def changes(*notifications: Notification[Any]) -> list[Swap]:
    """Return what notifications change, heard one second after the other."""
    ledger = SwapLedger()
    return [swap for number, one in enumerate(notifications) for swap in ledger.observe(one, at(number))]


def shelf_of(*swaps: Swap, keep: int = 100) -> Shelf:
    shelf = Shelf(keep)
    for swap in swaps:
        shelf.take(swap)
    return shelf


def ids(shelf: Shelf, wanted: Wanted = ALL, limit: int = 100) -> list[str | None]:
    return [swap.request_id for _, swap in shelf.swaps(wanted, limit)]


def test_a_swap_keeps_its_number_whatever_becomes_of_it() -> None:
    shelf = Shelf()
    numbers = [
        shelf.take(swap) for swap in changes(swap_event("start"), swap_event("start", request_id="b"), swap_event("end"))
    ]

    assert [(1, []), (2, []), (1, [])] == numbers
    assert {"running": 1, "succeeded": 1, "failed": 0, "stuck": 0} == shelf.counts()


def test_attempts_that_turn_out_to_be_one_are_shown_once() -> None:
    start, end = changes(swap_event("start", request_id=None)), changes(swap_event("end", 9, request_id=None))
    merged = replace(end[0], evidence=(*start[0].evidence, *end[0].evidence))
    shelf = shelf_of(start[0], end[0])

    assert (1, [2]) == shelf.take(merged)
    assert [(1, merged)] == shelf.swaps(ALL, 10)
    assert 1 == sum(shelf.counts().values())


def test_attempts_without_a_request_id_are_told_apart() -> None:
    shelf = shelf_of(*changes(*(swap_event(phase, n, request_id=None) for n, phase in enumerate(("start", "error", "start")))))

    assert ["failed", "running"] == [swap.state for _, swap in shelf.swaps(ALL, 10)]


def test_the_newest_are_last_and_those_without_an_end_come_first_where_there_is_no_room() -> None:
    first = changes(swap_event("start", request_id="open"))
    ended = [replace(swap, first_seen=at(n)) for n in range(1, 9) for swap in changes(swap_event("end", request_id=f"r{n}"))]

    assert ["open", *(f"r{n}" for n in range(1, 9))] == ids(shelf_of(*first, *ended))
    assert ["open", "r7", "r8"] == ids(shelf_of(*first, *ended), limit=3)


def test_of_very_many_the_oldest_change_gives_way_and_its_number_is_told() -> None:
    shelf = Shelf(keep=2)
    told = [shelf.take(swap) for n in range(4) for swap in changes(swap_event("end", request_id=f"r{n}"))]
    shelf.take(*changes(swap_event("start", request_id="open")))

    assert [(1, []), (2, []), (3, [1]), (4, [2])] == told
    assert ["open", "r2", "r3"] == sorted(filter(None, ids(shelf)))
    assert {"running": 1, "succeeded": 2, "failed": 0, "stuck": 0} == shelf.counts()


def test_what_is_wanted_holds_for_the_swap_as_it_is_now() -> None:
    shelf = shelf_of(
        *changes(
            swap_event("start", request_id="a", publisher="nova-compute:one", instance="i"),
            swap_event("error", request_id="b", publisher="nova-compute:two", instance="j"),
            swap_event("start", request_id="c", publisher="nova-compute:two", instance="j"),
            swap_event("end", request_id="c", publisher="nova-compute:two", instance="j"),
        )
    )

    assert ["b", "c"] == ids(shelf, Wanted(hosts=["two"]))
    assert ["a", "b"] == ids(shelf, Wanted(states=["running", "failed"]))
    assert ["a"] == ids(shelf, Wanted(projects=["project of i"]))
    assert [] == ids(shelf, Wanted(hosts=["two"], projects=["project of i"]))
