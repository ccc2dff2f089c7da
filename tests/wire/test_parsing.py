from __future__ import annotations

import json

import pytest

from aioswap.errors import DecodeError
from aioswap.wire.envelope import decode
from aioswap.wire.parsing import MAX_KEYS, MAX_PARTS, check_size, parse
from tests.consumer_kit import END, notification_body

TOO_MUCH = f"x: holds more than {MAX_PARTS} objects and lists, or {MAX_KEYS} keys"
PADDING = " " * MAX_PARTS


def swap_with(field: str) -> bytes:
    """Return a swap notification that holds the JSON `field` in a field that nobody knows."""
    inner = json.loads(json.loads(notification_body(END))["oslo.message"])
    inner["payload"]["nova_object.data"]["unknown"] = "@"
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(inner).replace('"@"', field)}).encode()


@pytest.mark.parametrize(
    "text",
    [
        "[" + "[]," * (MAX_PARTS - 2) + "1]" + PADDING,
        "[" + "{}," * (MAX_PARTS - 2) + "1]" + PADDING,
        "{" + '"a":1,' * (MAX_KEYS - 1) + '"b":2}',
        "[" + "1," * 400_000 + "1]",
        json.dumps("[{:" * 200_000),
        json.dumps('\\"[{:' * 50_000),
        json.dumps("\\[" * 50_000 + '"' + "{" * 50_000),
    ],
)
def test_what_a_notification_may_hold_is_parsed(text: str) -> None:
    assert json.loads(text) == parse(text, "x") == parse(text.encode(), "x")


@pytest.mark.parametrize(
    "text",
    [
        "[" + "[]," * MAX_PARTS + "1]",
        "[" + "{}," * MAX_PARTS + "1]",
        "[" * 100_000,
        '{"a":' * 100_000,
        "{" + '"a":1,' * MAX_KEYS + '"b":2}',
        '["\\\\",' + "[]," * MAX_PARTS + "1]",
        '["\\"",' + "[]," * MAX_PARTS + "1]",
        '["\ud800",' + "[]," * MAX_PARTS + "1]",
    ],
)
def test_a_crowd_of_parts_is_refused_before_it_is_parsed(text: str) -> None:
    for form in (text, text.encode("utf-8", "surrogatepass")):
        with pytest.raises(DecodeError) as caught:
            check_size(form, "x")

        assert TOO_MUCH == str(caught.value)


def test_a_short_text_is_not_counted() -> None:
    assert check_size("[" * MAX_PARTS, "x") is None  # type: ignore[func-returns-value]


def test_a_swap_that_holds_a_crowd_is_refused_and_keeps_its_body() -> None:
    body = swap_with("[" + "[]," * MAX_PARTS + "1]")
    with pytest.raises(DecodeError, match=r"^oslo\.message: holds more than") as caught:
        decode(body)

    assert body == caught.value.body


def test_a_swap_with_many_brackets_in_a_text_is_read() -> None:
    decoded = decode(swap_with(json.dumps("[" * 100_000)))

    assert "[" * 100_000 == decoded.payload.unknown
