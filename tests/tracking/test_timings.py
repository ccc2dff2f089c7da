"""How long swaps take: what is counted, and which rank is meant."""

from __future__ import annotations

import pytest

from aioswap.ledger import SwapLedger
from aioswap.swaps import Swap
from aioswap.tracking.timings import HostTimings, timings_of
from tests.swap_kit import DAY, at, exception, swap_event


def lasting(*seconds: float) -> list[Swap]:
    """Return swaps that succeeded after so many seconds."""
    ledger = SwapLedger()
    for number, duration in enumerate(seconds):
        for phase, moment in (("start", 0.0), ("end", duration)):
            ledger.observe(swap_event(phase, moment, request_id=f"req-{number}"), at(number))
    return ledger.find(at(len(seconds)))


def test_no_swaps_have_no_timings() -> None:
    assert [] == timings_of([])


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((5,), (1, 5, 5, 5, 5)),
        ((2, 1), (2, 1, 1, 2, 2)),
        ((3, 1, 2), (3, 1, 2, 3, 3)),
        (range(1, 101), (100, 1, 50, 95, 100)),
        (range(20, 0, -1), (20, 1, 10, 19, 20)),
    ],
)
def test_ranks_are_the_nearest_ones(seconds: tuple[float, ...], expected: tuple[float, ...]) -> None:
    (timings,) = timings_of(lasting(*seconds))

    assert expected == (timings.count, timings.min, timings.p50, timings.p95, timings.max)


def test_each_host_counts_what_went_wrong() -> None:
    ledger = SwapLedger()
    for seconds, notification in (
        (0, swap_event("start", request_id="never ends")),
        (0, swap_event("start", request_id="raises")),
        (1, exception(1, request_id="raises")),
        (0, swap_event("start", 0, request_id="fails")),
        (0, swap_event("error", 9, request_id="fails")),
        (0, swap_event("error", request_id="fails unstarted")),
        (0, swap_event("end", request_id="ends unstarted")),
        (DAY, swap_event("start", request_id="runs")),
        (0, swap_event("start", request_id="elsewhere", publisher="nova-compute")),
        (0, swap_event("end", 3, request_id="elsewhere", publisher="nova-compute")),
    ):
        ledger.observe(notification, at(seconds))

    nothing = {"min": None, "p50": None, "p95": None, "max": None}
    elsewhere = {"min": 3.0, "p50": 3.0, "p95": 3.0, "max": 3.0}
    assert [
        HostTimings(host=None, count=1, **elsewhere, failed=0, never_ended=0, never_started=0),
        HostTimings(host="host-1", count=0, **nothing, failed=3, never_ended=1, never_started=2),
    ] == timings_of(ledger.find(at(DAY)))
