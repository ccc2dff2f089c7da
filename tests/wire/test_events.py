from __future__ import annotations

import json
from typing import Any

import pytest

from aioswap.wire.events import EventPattern, EventType, event_pattern, payload_type, peek, volume_swap
from aioswap.wire.notification import Priority
from aioswap.wire.payloads import ExceptionPayload, InstanceActionVolumeSwapPayload
from tests.capture import captures


@pytest.mark.parametrize(
    ("pattern", "event_type", "matches"),
    [
        ("instance.volume_swap.start", "instance.volume_swap.start", True),
        ("instance.volume_swap.start", "instance.volume_swap.end", False),
        ("instance.volume_swap.*", "instance.volume_swap.end", True),
        ("instance.volume_swap.*", "instance.volume_swap", False),
        ("instance.volume_swap.*", "instance.volume_swap.a.b", False),
        ("instance.volume_swap.#", "instance.volume_swap", True),
        ("instance.volume_swap.#", "instance.volume_swap.a.b", True),
        ("instance.volume_swap.#", "instance.volume_swapped", False),
        ("*.*.start", "instance.create.start", True),
        ("*", "a", True),
        ("*", "a.b", False),
        ("#", "", True),
        ("#", "a.b.c", True),
        ("#.end", "end", True),
        ("#.end", "a.b.end", True),
        ("#.end", "a.end.b", False),
        ("a.#.b.#.c", "a.b.c", True),
        ("a.#.b.#.c", "a.x.b.b.x.c", True),
        ("a.#.b.#.c", "a.x.c", False),
        ("#.#", "a", True),
        ("a.#.*", "a", False),
        ("a.#.*", "a.b", True),
        ("a.*", "a.", True),
        ("a", "a.b", False),
        ("a.b", "a", False),
    ],
)
def test_patterns_match_as_amqp_topics_do(pattern: str, event_type: str, matches: bool) -> None:
    assert matches is event_pattern(pattern).matches(event_type)


@pytest.mark.parametrize("pattern", ["", ".", "a.", ".a", "a..b"])
def test_an_empty_word_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        event_pattern(pattern)
    with pytest.raises(ValueError, match="pattern"):
        EventType(pattern, ExceptionPayload)


@pytest.mark.parametrize("pattern", ["a.*", "#", "*.b"])
def test_an_event_type_has_no_wildcards(pattern: str) -> None:
    with pytest.raises(ValueError, match="wildcards"):
        EventType(pattern, ExceptionPayload)


def test_the_phases_of_a_swap() -> None:
    phases = [volume_swap.start, volume_swap.end, volume_swap.error]

    assert ["instance.volume_swap.start", "instance.volume_swap.end", "instance.volume_swap.error"] == [p.name for p in phases]
    assert ["start", "end", "error"] == [phase.phase for phase in phases]
    assert [Priority.INFO, Priority.INFO, Priority.ERROR] == [phase.priority for phase in phases]
    assert all(phase.payload is InstanceActionVolumeSwapPayload for phase in [*phases, volume_swap.any])
    assert all(volume_swap.any.matches(phase.name) for phase in phases)


def test_patterns_are_values() -> None:
    assert EventPattern("a.*", ExceptionPayload) == EventPattern("a.*", ExceptionPayload)
    assert EventPattern("a.*", ExceptionPayload) != EventPattern("a.#", ExceptionPayload)
    assert 1 == len({volume_swap.start, EventType("instance.volume_swap.start", InstanceActionVolumeSwapPayload)})
    assert "instance.volume_swap.*" in repr(volume_swap.any)


@pytest.mark.parametrize(
    ("event_type", "payload"),
    [
        ("instance.volume_swap.start", InstanceActionVolumeSwapPayload),
        ("instance.volume_swap.progress", InstanceActionVolumeSwapPayload),
        ("instance.volume_swap", None),
        ("instance.volume_swap.a.b", None),
        ("compute.exception", ExceptionPayload),
        ("instance.create.start", None),
        ("", None),
    ],
)
def test_which_payloads_are_typed(event_type: str, payload: type | None) -> None:
    assert payload is payload_type(event_type)


def test_whoever_asks_for_all_phases_gets_typed_payloads() -> None:
    assert payload_type("instance.volume_swap.anything") is volume_swap.any.payload


def body(event_type: str, **more: Any) -> bytes:
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps({"event_type": event_type, **more})}).encode()


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        ("instance.volume_swap.start", "instance.volume_swap.start"),
        ("instance.volume_swap.*", "instance.volume_swap."),
        ("instance.volume_swap.#", "instance.volume_swap"),
        ("*.volume_swap.*", ".volume_swap."),
        ("instance.*.start", "instance."),
        ("a.*.start", ".start"),
        ("#.end", "end"),
        ("a.#.longer", "longer"),
    ],
)
def test_a_peek_rules_out_where_the_literal_part_is_absent(pattern: str, literal: str) -> None:
    wanted = peek([event_pattern(pattern)])

    assert wanted(body(f"x{literal}x"))
    assert not wanted(body(f"x{literal[1:]}x"))


@pytest.mark.parametrize("pattern", ["#", "*", "#.#", "é.a", "a/b", 'a"b', "a\\b"])
def test_a_peek_rules_nothing_out_where_the_pattern_has_no_literal_part_that_json_writes_as_it_is(pattern: str) -> None:
    assert peek([event_pattern(pattern)])(b"{}")


def test_a_peek_wants_any_of_several() -> None:
    wanted = peek([volume_swap.start, event_pattern("compute.exception")])

    assert wanted(body("instance.volume_swap.start"))
    assert wanted(body("compute.exception"))
    assert not wanted(body("instance.volume_swap.end"))


def test_a_peek_for_nothing_wants_nothing() -> None:
    assert not peek([])(body("instance.volume_swap.start"))


@pytest.mark.parametrize(
    "message",
    [
        b'{"event_type": "\\u0069nstance.volume_swap.start"}',
        b'{"oslo.message": "{\\"event_type\\": \\"\\\\u0069nstance.volume_swap.start\\"}"}',
        b'{"oslo.message": "{\\"event_type\\": \\"\\u005cu0069nstance.volume_swap.start\\"}"}',
        "instance.volume_swap.start".encode("utf-16"),
        "{}".encode("utf-16-le"),
        "{}".encode("utf-16-be"),
        "{}".encode("utf-32-be"),
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_peek_never_rules_out_what_might_be_written_otherwise(message: bytes) -> None:
    assert peek([volume_swap.any])(message)


@pytest.mark.parametrize(
    "message", [b'{"a": "\\u00e9"}', b'{"oslo.message": "{\\"a\\": \\"\\\\u00e9\\"}"}', b'{"a": "\\u2013"}']
)
def test_a_peek_rules_out_a_body_whose_escapes_stand_for_other_letters(message: bytes) -> None:
    assert not peek([volume_swap.any])(message)


def test_a_peek_finds_every_captured_message() -> None:
    for sample in captures():
        words = sample.event_type.split(".")
        for pattern in (sample.event_type, ".".join([*words[:-1], "*"]), f"{words[0]}.#"):
            assert event_pattern(pattern).matches(sample.event_type)
            assert peek([event_pattern(pattern)])(sample.body)
