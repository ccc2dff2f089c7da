"""When nacks make it worth to connect anew."""

from __future__ import annotations

from aioswap.transports.rabbit_refusals import Refusals


def _nacked(refusals: Refusals, key: str, now: float) -> bool:
    return refusals.nacked(key, now, silent_since=now)


def test_nacks_of_a_routing_key_that_last_for_five_seconds_ask_for_another_connection() -> None:
    refusals = Refusals()
    asked = [_nacked(refusals, "info", 100.0 + second) for second in (0, 1, 3, 4.9, 5)]

    assert [False, False, False, False, True] == asked


def test_a_first_nack_that_took_five_seconds_to_come_asks_at_once() -> None:
    asked = [Refusals().nacked("info", 100.0, silent_since=since) for since in (95.1, 95.0)]

    assert [False, True] == asked


def test_each_connection_in_vain_has_twice_the_time_and_five_minutes_at_most() -> None:
    refusals = Refusals()
    _nacked(refusals, "info", 0.0)
    asked = [float(second) for second in range(2_000) if _nacked(refusals, "info", float(second))]
    pauses = [later - earlier for earlier, later in zip([0.0, *asked], asked, strict=False)]

    assert [5, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300] == pauses


def test_another_answer_for_the_same_key_begins_anew() -> None:
    refusals = Refusals()
    first = [_nacked(refusals, "info", 0.0), _nacked(refusals, "info", 5.0)]
    refusals.over("info")
    then = [_nacked(refusals, "info", 6.0), _nacked(refusals, "info", 11.0)]

    assert [[False, True], [False, True]] == [first, then]


def test_another_key_that_is_taken_changes_nothing() -> None:
    refusals = Refusals()
    _nacked(refusals, "info", 0.0)
    refusals.over("error")
    _nacked(refusals, "error", 4.0)
    refusals.over("error")
    asked = _nacked(refusals, "info", 5.0)

    assert asked
    assert ["info"] == list(refusals.since)


def test_while_another_key_is_still_nacked_the_patience_stays() -> None:
    refusals = Refusals()
    _nacked(refusals, "info", 0.0)
    _nacked(refusals, "error", 5.0)
    _nacked(refusals, "info", 5.0)
    refusals.over("info")
    asked = [_nacked(refusals, "error", second) for second in (10.0, 15.0)]

    assert [False, True] == asked
