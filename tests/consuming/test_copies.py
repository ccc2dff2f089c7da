"""What a copy carries, and what becomes of several outcomes: pure functions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioswap.consuming.copies import FRESH, MAX_TEXT, Trail, bounded, combine, dead_letter, plainer, replayed, retried
from aioswap.outcomes import Ack, Outcome, Reject, Retry
from aioswap.transports.base import MAX_BODY, NOTIFICATION_PROPERTIES, Delivery
from aioswap.transports.limits import MAX_COPY

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class NoSettler:
    def settle(self, tag: int, *, requeue: bool) -> None: ...


def delivery(headers: dict[str, Any] | None = None, properties: dict[str, Any] | None = None) -> Delivery:
    return Delivery(
        body=b"{}",
        original=b"as it came",
        exchange="nova",
        routing_key="versioned_notifications.info",
        redelivered=False,
        headers=headers or {},
        properties=properties or {},
        tag=1,
        settler=NoSettler(),
    )


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
trails = st.builds(
    Trail,
    attempts=st.integers(0, 1 << 31),
    replays=st.integers(0, 1 << 31),
    owed=st.none() | st.lists(texts, min_size=1, max_size=3).map(tuple),
    rejected=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    first=st.none() | texts,
    routing_key=st.none() | texts,
    reason=st.none() | texts,
    last=st.none() | texts,
)


@given(trails)
def test_a_trail_reads_what_it_writes(trail: Trail) -> None:
    assert trail == Trail.read(trail.headers())


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*Trail(owed=("a",), rejected=(("b", "c"),), first="d").headers(), "x"]), anything))
def test_a_trail_can_be_read_from_any_headers(headers: dict[str, Any]) -> None:
    trail = Trail.read(headers)

    assert trail == Trail.read(trail.headers())
    assert trail.attempts >= 0 <= trail.replays


def test_headers_of_others_tell_of_a_first_delivery() -> None:
    assert FRESH is Trail.read({})
    assert FRESH is Trail.read({"traceparent": "00-1-2-01", "x-death": [{}]})


@pytest.mark.parametrize(
    "trail",
    [
        Trail(attempts=1),
        Trail(replays=1),
        Trail(owed=("a",)),
        Trail(first="f"),
        Trail(last="l"),
        Trail(reason="r"),
        Trail(routing_key="k"),
    ],
)
def test_each_part_of_a_trail_is_read_though_it_stands_alone(trail: Trail) -> None:
    alone = {name: value for name, value in trail.headers().items() if value != 0}

    assert 1 == len(alone)
    assert trail == Trail.read({"traceparent": "x", **alone})


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], Ack),
        ([Ack(), Ack()], Ack),
        ([Ack(), Reject("no")], Reject),
        ([Reject("no"), Ack()], Reject),
        ([Reject("no"), Retry(), Ack()], Retry),
        ([Retry(), Reject("no")], Retry),
    ],
)
def test_retry_outweighs_reject_outweighs_ack(outcomes: list[Outcome], expected: type[Outcome]) -> None:
    told = [(str(number), outcome) for number, outcome in enumerate(outcomes)]

    assert expected is type(combine(Trail(), told)[1])


def test_an_earlier_reject_outweighs_a_later_ack() -> None:
    before = Trail(attempts=1, owed=("a",), rejected=(("b", "never"),))
    after, outcome = combine(before, [("a", Ack())])

    assert (2, None, (("b", "never"),)) == (after.attempts, after.owed, after.rejected)
    assert "b: never" == str(outcome)
    assert ("b",) == after.again().owed


def test_many_reasons_share_their_room() -> None:
    after, _ = combine(Trail(), [(str(number), Reject("x" * 2000)) for number in range(64)])

    assert {256} == {len(reason) for _, reason in after.rejected}


def test_a_replay_is_owed_to_whoever_did_not_acknowledge() -> None:
    trail = Trail(attempts=3, replays=1, owed=("a",), rejected=(("b", "no"),), first="f", routing_key="k", reason="r", last="l")

    assert Trail(replays=2, owed=("a", "b"), first="f", routing_key="k") == trail.again() == trail.start()
    assert Trail(replays=1) == Trail().again()
    assert Trail(attempts=1) == Trail(attempts=1).start()


@pytest.mark.parametrize("text", ["short", "x" * 5000, "ä" * 600, "a\ud800" * 600, "\x00\n"])
def test_a_text_is_cut_to_whole_letters(text: str) -> None:
    cut = bounded(text)

    assert len(cut.encode()) <= MAX_TEXT
    assert text.replace("\ud800", "?").startswith(cut)


def test_a_secret_at_a_cut_is_left_out() -> None:
    hidden = "password=" + "x" * (4 * MAX_TEXT - 40)

    assert "password=***" == bounded(f"{hidden} amqp://u:sesame@host/" + "y" * 50)


def test_of_a_body_that_no_broker_takes_the_beginning_is_kept() -> None:
    large = replace(delivery(), original=b"x" * (MAX_COPY + 1))
    letter = dead_letter(large, Trail(), pool="p", reason="no " * 1000, now=NOW, message_id="1")

    assert large.original[:MAX_BODY] == letter.body
    assert letter.headers["aioswap-reason"].endswith(f"of its {MAX_COPY + 1} bytes the first {MAX_BODY} are kept")


def test_copies_go_to_the_pools_own_exchange() -> None:
    retry = retried(delivery(), Trail(attempts=1), pool="p", seconds=30, message_id="1")
    dead = dead_letter(delivery(), Trail(attempts=1), pool="p", reason="r", now=NOW, message_id="2")
    again = replayed(delivery(), pool="p", message_id="3")

    assert [
        ("aioswap.p", "aioswap.p.retry.30", "1"),
        ("aioswap.p", "aioswap.p.dead", "2"),
        ("aioswap.p", "aioswap.p", "3"),
    ] == [(copy.exchange, copy.routing_key, copy.message_id) for copy in (retry, dead, again)]
    assert {b"as it came"} == {copy.body for copy in (retry, dead, again)}
    assert ("r", NOW.isoformat()) == (dead.headers["aioswap-reason"], dead.headers["aioswap-last"])


def test_trails_do_not_pile_up() -> None:
    copy = retried(delivery({"a": 1}), Trail(attempts=1, owed=("x",)), pool="p", seconds=1, message_id="1")
    next_copy = retried(delivery(dict(copy.headers)), Trail(attempts=2), pool="p", seconds=1, message_id="2")

    assert {"a": 1, "aioswap-attempts": 2, "aioswap-replays": 0} == next_copy.headers


@pytest.mark.parametrize(
    ("compression", "kept"), [("application/x-gzip", True), (b"bytes", False), ("x" * 2000, False), (None, False)], ids=str
)
def test_a_plainer_copy_keeps_what_is_needed_to_read_it(compression: object, kept: bool) -> None:
    headers = {"compression": compression, "odd": object()}
    copy = plainer(retried(delivery(headers, {"type": object()}), Trail(attempts=1), pool="p", seconds=1, message_id="1"))

    assert NOTIFICATION_PROPERTIES == copy.properties
    assert {"aioswap-attempts", "aioswap-replays"} | ({"compression"} if kept else set()) == copy.headers.keys()
