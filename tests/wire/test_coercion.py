from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest

from aioswap.wire import coercion

EAST = timezone(timedelta(hours=5))
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Color(str, Enum):  # noqa: UP042  # str() of it is not its value, unlike a StrEnum's
    RED = "red"


@pytest.mark.parametrize(
    ("convert", "value", "expected"),
    [
        (coercion.text, "a", "a"),
        (coercion.text, "", ""),
        (coercion.text, 5, "5"),
        (coercion.text, 1.5, "1.5"),
        (coercion.text, MOMENT, "2026-01-02 03:04:05+00:00"),
        (coercion.text, UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (coercion.text, Color.RED, "red"),
        (coercion.identifier, UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (coercion.integer, 5, 5),
        (coercion.integer, "6", 6),
        (coercion.integer, 5.0, 5),
        (coercion.number, 1, 1.0),
        (coercion.number, "1.5", 1.5),
        (coercion.number, math.inf, math.inf),
        (coercion.flag, True, True),
        (coercion.flag, 0, False),
        (coercion.moment, MOMENT, MOMENT),
        (coercion.moment, MOMENT.replace(tzinfo=None), MOMENT),
        (coercion.moment, MOMENT.astimezone(EAST), MOMENT),
        (coercion.moment, "2026-01-02T03:04:05Z", MOMENT),
        (coercion.power_state, 0, "pending"),
        (coercion.power_state, 1, "running"),
        (coercion.power_state, 2, "_unused"),
        (coercion.power_state, 3, "paused"),
        (coercion.power_state, 4, "shutdown"),
        (coercion.power_state, 5, "_unused"),
        (coercion.power_state, 6, "crashed"),
        (coercion.power_state, 7, "suspended"),
        (coercion.power_state, "running", "running"),
        (coercion.power_state, True, "True"),
        (coercion.disk_config, True, "AUTO"),
        (coercion.disk_config, False, "MANUAL"),
        (coercion.disk_config, "AUTO", "AUTO"),
        (coercion.texts, {"a": 1, 2: "b"}, {"a": "1", "2": "b"}),
        (coercion.texts, MappingProxyType({"a": "b"}), {"a": "b"}),
    ],
)
def test_a_value_becomes_what_its_field_holds(convert: Callable[[Any, str], Any], value: object, expected: object) -> None:
    converted = convert(value, "path")

    assert expected == converted
    assert type(expected) is type(converted)


@pytest.mark.parametrize("value", [["a", 1], ("a", 1)])
def test_a_list_is_made_of_its_items(value: object) -> None:
    assert ["a", "1"] == coercion.list_of(coercion.text, value, "path")


@pytest.mark.parametrize(
    ("convert", "value", "wanted"),
    [
        (coercion.text, b"a", "text, got bytes"),
        (coercion.text, None, "text, got NoneType"),
        (coercion.text, [], "text, got list"),
        (coercion.integer, None, "a whole number, got NoneType"),
        (coercion.number, [], "a number, got list"),
        (coercion.flag, "false", "true or false, got str"),
        (coercion.flag, 2, "true or false, got int"),
        (coercion.flag, 1.0, "true or false, got float"),
        (coercion.moment, 5, "a datetime, got int"),
        (coercion.power_state, [], "text, got list"),
        (coercion.disk_config, [], "text, got list"),
        (coercion.texts, [("a", "b")], "a mapping of texts, got list"),
        (coercion.texts, {"a": None}, "text, got NoneType"),
    ],
)
def test_a_value_of_a_wrong_type_is_a_type_error(convert: Callable[[Any, str], Any], value: object, wanted: str) -> None:
    with pytest.raises(TypeError, match=f"^path: should be {wanted}$"):
        convert(value, "path")


@pytest.mark.parametrize(
    ("convert", "value", "reason"),
    [
        (coercion.identifier, "", "is empty"),
        (coercion.integer, "x", "should be a whole number"),
        (coercion.integer, 1.5, "should be a whole number"),
        (coercion.integer, math.nan, "should be a whole number"),
        (coercion.integer, math.inf, "should be a whole number"),
        (coercion.integer, "1" * 5000, "should be a whole number"),
        (coercion.number, "x", "should be a number"),
        (coercion.number, 10**400, "should be a number"),
        (coercion.moment, "soon", "should be a date with a time in ISO 8601"),
        (
            coercion.moment,
            datetime.min.replace(tzinfo=EAST),
            "should be a date with a time in ISO 8601",
        ),
        (coercion.power_state, 8, "Nova has no power state of this number"),
        (coercion.power_state, -1, "Nova has no power state of this number"),
    ],
    ids=lambda value: "big" if isinstance(value, str) and len(value) > 99 else None,
)
def test_a_value_that_cannot_be_read_is_a_value_error(convert: Callable[[Any, str], Any], value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^path: {reason}"):
        convert(value, "path")


def test_a_list_names_the_item() -> None:
    with pytest.raises(TypeError, match=r"^path\.1: should be text"):
        coercion.list_of(coercion.text, ["a", None], "path")


@pytest.mark.parametrize("value", ["ab", {"a": 1}, iter(["a"]), 5])
def test_only_lists_are_lists(value: object) -> None:
    with pytest.raises(TypeError, match="path: should be a list"):
        coercion.list_of(coercion.text, value, "path")
