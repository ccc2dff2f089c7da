"""AMQP's properties and tables, byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pamqp.header
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands

from aioswap.transports.base import NOTIFICATION_PROPERTIES
from aioswap.transports.rabbit_properties import PropertiesReader, decode_properties, encode_properties, short_string

_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)).map(lambda when: when.replace(microsecond=0)),  # noqa: DTZ001
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=60), inner, max_size=4),
    max_leaves=12,
)


@given(headers=st.dictionaries(st.text(max_size=60), _values, max_size=5), identity=st.text(max_size=60))
def test_headers_come_back_as_they_went(headers: dict[str, Any], identity: str) -> None:
    encoded = encode_properties(identity, headers, {})

    assert (identity, headers, {}) == decode_properties(encoded)


def test_every_property_comes_back() -> None:
    properties = {
        "content_type": "text/plain",
        "content_encoding": "utf-8",
        "delivery_mode": 2,
        "priority": 9,
        "correlation_id": "c",
        "reply_to": "r",
        "expiration": "60000",
        "timestamp": datetime(2026, 11, 22, 14, 13, 4, tzinfo=UTC),
        "type": "é",
        "user_id": "u",
        "app_id": "a",
        "cluster_id": "k",
    }
    encoded = encode_properties("m", {}, properties)

    assert ("m", {}, properties) == decode_properties(encoded)


def test_a_property_that_is_none_is_left_out() -> None:
    assert encode_properties("m", {}, {}) == encode_properties("m", {}, {"type": None, "priority": None})


def test_a_notification_has_the_properties_that_kombu_writes() -> None:
    encoded = encode_properties("id", {}, NOTIFICATION_PROPERTIES)

    # What Nova writes: flags 0xf800, and message_id (0x0080), which oslo accepts.
    assert b"\xf8\x80\x10application/json\x05utf-8\x00\x00\x00\x00\x02\x00\x02id" == encoded


def test_another_client_reads_what_is_written() -> None:
    headers = {"text": "é", "number": -5, "real": 0.1, "yes": True, "none": None, "list": [1, {"k": "v"}], "bytes": b"\xff"}
    encoded = encode_properties("m", headers, {"priority": 3})
    read = pamqp.header.ContentHeader()
    read.unmarshal(struct.pack(">HHQ", 60, 0, 0) + encoded)

    assert ("m", 3) == (read.properties.message_id, read.properties.priority)
    assert headers == read.properties.headers


def test_what_another_client_writes_is_read() -> None:
    headers: dict[str, Any] = {
        "a": -100,
        "b": 1000,
        "c": 1 << 40,
        "d": 200,
        "e": "s",
        "f": [True],
        "g": {"h": None},
        "i": Decimal("1.5"),
    }
    written = commands.Basic.Properties(headers=headers, message_id="m", message_type="t").marshal()

    assert ("m", headers, {"type": "t"}) == decode_properties(written)


@pytest.mark.parametrize("value", [Decimal("-12.345"), Decimal("0"), Decimal("7"), bytearray(b"\x00\xff"), (1, 2)])
def test_values_that_brokers_and_copies_hold_come_back_equal(value: object) -> None:
    _, headers, _ = decode_properties(encode_properties("m", {"h": value}, {}))

    assert (list(value) if isinstance(value, tuple) else value) == headers["h"]


def test_a_value_that_amqp_does_not_know_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="object"):
        encode_properties("m", {"h": object()}, {})


def test_a_time_beyond_the_years_is_left_out() -> None:
    flags, milliseconds = struct.pack(">H", 0x0040), struct.pack(">Q", 1_790_000_000_000)

    assert (None, {}, {"timestamp": None}) == decode_properties(flags + milliseconds)


def test_text_that_is_no_utf8_is_kept_as_bytes() -> None:
    table = b"\x01hS" + struct.pack(">I", 1) + b"\xff"
    encoded = struct.pack(">HI", 0x2000, len(table)) + table

    assert (None, {"h": b"\xff"}, {}) == decode_properties(encoded)


def test_a_short_string_that_is_no_utf8_is_read_all_the_same() -> None:
    assert ("\ufffdk", 3) == short_string(b"\x02\xffk", 0)


def test_tables_nested_too_deep_are_refused() -> None:
    inner = b""
    for _ in range(2000):
        inner = b"\x01hF" + struct.pack(">I", len(inner)) + inner
    encoded = struct.pack(">HI", 0x2000, len(inner)) + inner

    with pytest.raises(ValueError, match="deeper"):
        decode_properties(encoded)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x00",
        b"\x80\x00\x05abc",
        b"\x20\x00\x00\x00\x00\x09\x01h",
        b"\x20\x00\x00\x00\x00\x03\x01h?",
        b"\x20\x00\x00\x00\x00\x07\x01h?\x00\x00\x00\x00",
        b"\x20\x00\x00\x00\x00\x07\x01hS\x00\x00\x00\xff",
        b"\x00\x40\x00",
        b"\x08\x00",
    ],
)
def test_properties_that_are_broken_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cannot be read|too early"):
        decode_properties(data)


@given(data=st.binary(max_size=200))
def test_no_bytes_do_more_than_a_value_error(data: bytes) -> None:
    try:
        identity, headers, properties = decode_properties(b"\xff\xfc" + data)
    except ValueError:
        return

    assert isinstance(identity, str | None)
    assert isinstance(headers, dict)
    assert isinstance(properties, dict)


# What is remembered


def _as_read(read: Callable[[bytes], object], data: bytes) -> object:
    try:
        return read(data)
    except ValueError as error:
        return str(error)


_properties = st.fixed_dictionaries(
    {},
    optional={
        "content_type": st.sampled_from(["a", "aa"]),
        "priority": st.integers(0, 1),
        "correlation_id": st.sampled_from(["", "c"]),
        "timestamp": st.just(datetime(2026, 11, 22, tzinfo=UTC)),
        "app_id": st.sampled_from(["", "a"]),
    },
)
_written = st.builds(
    encode_properties, st.sampled_from(["", "m", "mm"]), st.sampled_from([{}, {}, {"h": "v"}]), _properties
) | st.builds(lambda properties: commands.Basic.Properties(**properties).marshal(), _properties.map(dict))
_cut = st.builds(lambda data, left: data[: len(data) - left], _written, st.integers(0, 4))


@given(messages=st.lists(_cut, max_size=8))
def test_what_is_remembered_changes_nothing_that_is_read(messages: list[bytes]) -> None:
    reader = PropertiesReader()

    for data in messages:
        assert _as_read(decode_properties, data) == _as_read(reader.read, data)


def test_the_properties_of_one_producer_are_read_once() -> None:
    reader = PropertiesReader()
    _, _, first = reader.read(encode_properties("1", {}, NOTIFICATION_PROPERTIES))
    reader.read(encode_properties("3", {"traceparent": "x"}, NOTIFICATION_PROPERTIES))
    identity, headers, second = reader.read(encode_properties("22", {}, NOTIFICATION_PROPERTIES))
    again = reader.read(encode_properties("", {}, NOTIFICATION_PROPERTIES))[2]

    assert ("22", {}, NOTIFICATION_PROPERTIES) == (identity, headers, second)
    assert second is again
    assert first is not reader.read(encode_properties("1", {}, {}))[2]


def test_what_is_shared_by_deliveries_cannot_be_changed() -> None:
    reader = PropertiesReader()
    data = encode_properties("1", {}, {"priority": 3})
    _, headers, properties = [reader.read(data) for _ in range(2)][-1]

    for shared in (headers, properties):
        with pytest.raises(TypeError):
            shared["priority"] = 4  # type: ignore[index]


@pytest.mark.parametrize("rest", [b"", b"\x05ab"])
def test_a_message_id_that_is_cut_is_a_value_error(rest: bytes) -> None:
    reader = PropertiesReader()
    data = encode_properties("", {}, NOTIFICATION_PROPERTIES)
    reader.read(data)

    with pytest.raises(ValueError, match=r"cannot be read|too early"):
        reader.read(data[:-1] + rest)
