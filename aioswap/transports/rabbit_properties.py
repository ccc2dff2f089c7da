"""AMQP's basic properties and header tables, byte by byte.

pamqp would write floats with 24 bits and read a table in quadratic time; retry copies and dead letters need neither.
Source: AMQP 0-9-1 section 4.2.5 and its errata at rabbitmq.com (types of table fields).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from aioswap.transports.base import NO_HEADERS

__all__ = [
    "HEADER_FIXED",
    "MAX_DEPTH",
    "PropertiesReader",
    "as_sent",
    "check_header",
    "decode_properties",
    "encode_properties",
    "frame_room",
    "short_string",
]

_NAMES: Final = (
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)
"""In the order of their flags, the highest bit first, and of their values."""

_FLAGS: Final = tuple((name, 0x8000 >> place) for place, name in enumerate(_NAMES))
_OCTETS: Final = frozenset(("delivery_mode", "priority"))
HEADER_FIXED: Final = 12
"""Bytes of a header's payload before the properties."""

_FRAME_EXTRA: Final = 8
_USUAL_FRAME: Final = 128 << 10
MAX_DEPTH: Final = 64
"""Levels of tables within tables that are read."""

_LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999."""

_SHORT, _LONG, _QUAD, _SIGNED = struct.Struct(">H"), struct.Struct(">I"), struct.Struct(">Q"), struct.Struct(">q")
_DOUBLE: Final = struct.Struct(">d")
_DECIMAL: Final = struct.Struct(">Bi")
_FIXED: Final = {
    code: struct.Struct(f">{code_of_struct}") for code, code_of_struct in zip(b"bBsuIilLfd", "bBhHiIqqfd", strict=True)
}
"""Numbers of fixed size by the octet that announces them. RabbitMQ reads `L` as signed, too."""


def short_string(data: bytes, at: int) -> tuple[str, int]:
    """Return the short string at `at`, and where the next value begins. What is no UTF-8 is replaced, never refused."""
    end = at + 1 + data[at]
    if end > len(data):
        raise ValueError("a short string ends too early")
    text = data[at + 1 : end]
    return text.decode() if text.isascii() else text.decode(errors="replace"), end


def frame_room(frame_max: int) -> int:
    """Return how many bytes of payload a frame takes; `frame_max` 0: the broker sets no limit."""
    return (frame_max or _USUAL_FRAME) - _FRAME_EXTRA


def check_header(properties: bytes, frame_max: int) -> None:
    """See that a header with these encoded properties fits one frame.

    Raises:
        ValueError: it does not.
    """
    if HEADER_FIXED + len(properties) > frame_room(frame_max):
        raise ValueError(f"the headers do not fit the broker's frames of {frame_room(frame_max)} bytes")


def as_sent(properties: Mapping[str, Any], user: str) -> Mapping[str, Any]:
    """Return the properties that `user` may send: RabbitMQ closes the channel for another user's `user_id` (406)."""
    if properties.get("user_id") in (None, user):
        return properties
    return {name: value for name, value in properties.items() if name != "user_id"}


def encode_properties(message_id: str, headers: Mapping[str, Any], properties: Mapping[str, Any]) -> bytes:
    """Return the flags and the values. Headers are present even if empty, as kombu writes them.

    Raises:
        ValueError: a value has no place in AMQP.
    """
    values = {**properties, "message_id": message_id, "headers": headers}
    flags, parts = 0, []
    for name, flag in _FLAGS:
        value = values.get(name)
        if value is None:
            continue
        flags |= flag
        if name == "headers":
            parts.append(_table(value))
        elif name in _OCTETS:
            parts.append(bytes((value,)))
        elif name == "timestamp":
            parts.append(_QUAD.pack(int(value.timestamp())))
        else:
            text = value.encode()
            parts.append(bytes((len(text),)) + text)
    return _SHORT.pack(flags) + b"".join(parts)


def _table(table: Mapping[str, Any]) -> bytes:
    parts: list[bytes] = []
    for name, value in table.items():
        text = name.encode()
        parts += (bytes((len(text),)), text, _field(value))
    data = b"".join(parts)
    return _LONG.pack(len(data)) + data


def _field(value: Any) -> bytes:
    if value is None:
        return b"V"
    if isinstance(value, bool):
        return b"t\x01" if value else b"t\x00"
    if isinstance(value, str):
        text = value.encode()
        return b"S" + _LONG.pack(len(text)) + text
    if isinstance(value, int):
        return b"l" + _SIGNED.pack(value)
    if isinstance(value, float):
        return b"d" + _DOUBLE.pack(value)
    if isinstance(value, bytes | bytearray):
        return b"x" + _LONG.pack(len(value)) + value
    if isinstance(value, datetime):
        return b"T" + _QUAD.pack(int(value.timestamp()))
    if isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        number = int("".join(map(str, digits)))
        return b"D" + _DECIMAL.pack(-int(exponent), -number if sign else number)
    if isinstance(value, Mapping):
        return b"F" + _table(value)
    if isinstance(value, list | tuple):
        data = b"".join(map(_field, value))
        return b"A" + _LONG.pack(len(data)) + data
    raise ValueError(f"a header is a {type(value).__name__}, which AMQP does not know")


class PropertiesReader:
    """Reads the properties of many messages.

    Those of one producer are the same but for the message id, which stands behind them. So what was read last is remembered:
    where the same bytes begin, they mean the same. What has headers is read each time.
    """

    def __init__(self) -> None:
        self._begin = b"\x00\x00"
        self._identified = False
        """Whether a message id follows."""
        self._properties: Mapping[str, Any] = NO_HEADERS

    def read(self, data: bytes) -> tuple[str | None, Mapping[str, Any], Mapping[str, Any]]:
        """Return what `decode_properties` does. Nobody may change it.

        Raises:
            ValueError: as `decode_properties`.
        """
        if not data.startswith(self._begin):
            return self._read_anew(data)
        if not self._identified:
            return None, NO_HEADERS, self._properties
        try:
            return short_string(data, len(self._begin))[0], NO_HEADERS, self._properties
        except IndexError as error:
            raise _unreadable(error) from None

    def _read_anew(self, data: bytes) -> tuple[str | None, Mapping[str, Any], Mapping[str, Any]]:
        message_id, headers, properties, at = _decoded(data)
        identified = message_id is not None
        if not headers and (not identified or _names(*_SHORT.unpack_from(data))[-1] == "message_id"):
            self._begin, self._identified, self._properties = data[:at], identified, MappingProxyType(properties)
        return message_id, headers, properties


def decode_properties(data: bytes) -> tuple[str | None, dict[str, Any], dict[str, Any]]:
    """Return the message id, the headers and the other properties that `data`, flags and values, holds.

    Raises:
        ValueError: it cannot be read. The broker itself does not look into headers that a client wrote.
    """
    return _decoded(data)[:3]


def _decoded(data: bytes) -> tuple[str | None, dict[str, Any], dict[str, Any], int]:
    """Return what `decode_properties` does, and where the message id begins; without one, where all ends."""
    try:
        return _decode(data)
    except (struct.error, IndexError) as error:
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> ValueError:
    return ValueError(f"the properties cannot be read: {error}")


def _decode(data: bytes) -> tuple[str | None, dict[str, Any], dict[str, Any], int]:
    at = 2
    place: int | None = None
    message_id: str | None = None
    headers: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for name in _names(*_SHORT.unpack_from(data)):
        if name == "headers":
            headers, at = _read_table(data, at, 0)
        elif name in _OCTETS:
            properties[name], at = data[at], at + 1
        elif name == "message_id":
            place = at
            message_id, at = short_string(data, at)
        elif name == "timestamp":
            properties[name], at = _read_time(data, at)
        else:
            properties[name], at = short_string(data, at)
    return message_id, headers, properties, at if place is None else place


@lru_cache(maxsize=64)
def _names(flags: int) -> tuple[str, ...]:
    """Return the properties that are there: a producer sends the same ones each time."""
    return tuple(name for name, flag in _FLAGS if flags & flag)


def _read_time(data: bytes, at: int) -> tuple[datetime | None, int]:
    """Some clients write milliseconds: years that datetime does not know are left out."""
    (seconds,) = _QUAD.unpack_from(data, at)
    return (datetime.fromtimestamp(seconds, UTC) if seconds <= _LAST_SECOND else None), at + 8


def _read_end(data: bytes, at: int) -> tuple[int, int]:
    """Return where what has a length of 32 bits at `at` begins and ends."""
    begin = at + 4
    end = begin + _LONG.unpack_from(data, at)[0]
    if end > len(data):
        raise ValueError("the properties cannot be read: a value ends too early")
    return begin, end


def _read_table(data: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    at, end = _read_end(data, at)
    table: dict[str, Any] = {}
    while at < end:
        name, at = short_string(data, at)
        table[name], at = _read_field(data, at, depth)
    return table, end


def _read_field(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    code, at = data[at], at + 1
    fixed = _FIXED.get(code)
    if fixed is not None:
        return fixed.unpack_from(data, at)[0], at + fixed.size
    if code == ord("V"):
        return None, at
    if code == ord("t"):
        return data[at] != 0, at + 1
    if code == ord("T"):
        return _read_time(data, at)
    if code == ord("D"):
        places, number = _DECIMAL.unpack_from(data, at)
        return Decimal(number).scaleb(-places), at + _DECIMAL.size
    return _read_long(code, data, at, depth + 1)


def _read_long(code: int, data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise ValueError(f"the properties cannot be read: tables are nested deeper than {MAX_DEPTH} levels")
    if code == ord("F"):
        return _read_table(data, at, depth)
    at, end = _read_end(data, at)
    if code == ord("A"):
        values = []
        while at < end:
            value, at = _read_field(data, at, depth)
            values.append(value)
        return values, end
    if code == ord("S"):
        return _text(data[at:end]), end
    if code == ord("x"):
        return data[at:end], end
    raise ValueError("the properties cannot be read: a value is of no known type")


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
