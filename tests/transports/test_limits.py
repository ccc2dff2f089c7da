"""What no broker would take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from aioswap.transports.base import MAX_BODY, Message
from aioswap.transports.limits import MAX_COPY, MAX_HEADERS, MAX_SHORT, impossible


def _message(**values: Any) -> Message:
    return Message(**{"routing_key": "k", "body": b"", "message_id": "m", **values})


def _nested(depth: int) -> object:
    value: object = "x"
    for _ in range(depth):
        value = [value]
    return value


def _round() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"body": b"x" * MAX_BODY},
        {"exchange": "e", "body": b"x" * MAX_COPY},
        {"routing_key": ""},
        {"routing_key": "k" * MAX_SHORT},
        {"routing_key": "é" * 127},
        {"headers": {"a": None, "b": True, "c": "é", "d": b"x", "e": bytearray(b"x"), "f": 0.5}},
        {"headers": {"low": -(1 << 63), "high": (1 << 63) - 1}},
        {"headers": {"time": datetime(2026, 1, 1, tzinfo=UTC), "list": [1, (2, {"x": None})]}},
        {"headers": {"d": Decimal("0.01"), "e": Decimal(2147483647)}},
        {"headers": {"h" * MAX_SHORT: "x" * 60_000}},
        {"headers": {"h": _nested(30)}},
        {"properties": {}},
        {"properties": {"content_type": "text/plain", "type": None, "priority": 255, "delivery_mode": 1}},
        {"properties": {"timestamp": datetime(2026, 1, 1, tzinfo=UTC)}},
    ],
)
def test_what_a_broker_takes_is_possible(values: dict[str, Any]) -> None:
    assert impossible(_message(**values)) is None


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"body": b"x" * (MAX_BODY + 1)}, "body"),
        ({"exchange": "e", "body": b"x" * (MAX_COPY + 1)}, "body"),
        ({"exchange": "e" * 256}, "exchange"),
        ({"routing_key": "k" * 256}, "routing key"),
        ({"routing_key": "é" * 128}, "routing key"),
        ({"routing_key": "\ud800"}, "routing key cannot be written in UTF-8"),
        ({"message_id": "m" * 256}, "message id"),
        ({"headers": {"h": "x" * MAX_HEADERS}}, "headers have more"),
        ({"headers": {"h": b"x" * MAX_HEADERS}}, "headers have more"),
        ({"headers": {"h": {str(number): "x" for number in range(20_000)}}}, "headers have more"),
        ({"headers": {"h": ["x"] * 20_000, "i": object()}}, "headers have more"),
        ({"headers": {"h": "\ud800"}}, "a header cannot be written"),
        ({"headers": {"\ud800": "h"}}, "a header's name cannot be written"),
        ({"headers": {"h" * 256: "h"}}, "a header's name has more"),
        ({"headers": {1: "h"}}, "name is no text"),
        ({"headers": {"h": object()}}, "a header is a object"),
        ({"headers": {"h": {1, 2}}}, "a header is a set"),
        ({"headers": {"h": 1 << 63}}, "64 bits"),
        ({"headers": {"h": -(1 << 63) - 1}}, "64 bits"),
        ({"headers": {"h": _nested(40)}}, "nested"),
        ({"headers": {"h": _round()}}, "nested"),
        ({"headers": {"h": datetime(2026, 1, 1)}}, "datetime"),  # noqa: DTZ001
        ({"headers": {"h": datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=1)))}}, "datetime"),
        ({"headers": {"h": Decimal("NaN")}}, "decimal"),
        ({"headers": {"h": Decimal("1E+3")}}, "decimal"),
        ({"headers": {"h": Decimal("1E-256")}}, "decimal"),
        ({"headers": {"h": Decimal(2147483648)}}, "decimal"),
        ({"headers": {"h": Decimal("1" * 50)}}, "decimal"),
        ({"properties": {"content_type": "x" * 256}}, "content_type has more"),
        ({"properties": {"content_type": 1}}, "content_type is no text"),
        ({"properties": {"priority": 256}}, "priority"),
        ({"properties": {"delivery_mode": "2"}}, "delivery_mode"),
        ({"properties": {"timestamp": 1}}, "timestamp"),
        ({"properties": {"timestamp": datetime(2026, 1, 1)}}, "datetime"),  # noqa: DTZ001
        ({"properties": {"headers": {}}}, "'headers' is no AMQP property"),
    ],
)
def test_what_no_broker_takes_is_a_value_error(values: dict[str, Any], text: str) -> None:
    error = impossible(_message(**values))

    assert isinstance(error, ValueError)
    assert text in str(error)
