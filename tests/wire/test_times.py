from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from aioswap.wire.times import MomentSchema, is_usual, read_moment, read_timestamp, write_moment, write_timestamp

MOMENT = datetime(2026, 11, 22, 14, 8, 21, tzinfo=UTC)
CREATED: TypeAdapter[Any] = TypeAdapter(Annotated[datetime, MomentSchema()])

ODD_MOMENTS = [
    "2026-11-22T14:08:21",
    "2026-11-22T14:08:21.5Z",
    "2026-11-22T14:08:21.000000Z",
    "2026-11-22T14:08:21+00:00",
    "2026-11-22T16:08:21+02:00",
    "2026-11-22 14:08:21Z",
    "2026-W47-7T14:08:21Z",
    "20261122T140821Z",
    "2026-11-22",
]
NO_TIMES = [
    "",
    "Z",
    "soon",
    "2026-13-01T00:00:00Z",
    "2026-11-22T25:00:00Z",
    "2026-11-22T14:08:60Z",
    "0001-01-01T00:00:00+14:00",
    "٢٠٢٦-11-22T14:08:21Z",
    "\ud800",
    "1",
]


def test_a_moment_is_read_and_written_as_nova_does() -> None:
    assert MOMENT == read_moment("2026-11-22T14:08:21Z")
    assert "2026-11-22T14:08:21Z" == write_moment(MOMENT)
    assert type(read_moment("2026-11-22T14:08:21Z")) is datetime


@pytest.mark.parametrize("text", ODD_MOMENTS)
def test_an_odd_moment_is_in_utc_and_keeps_its_text(text: str) -> None:
    moment = read_moment(text)

    assert moment.tzinfo is UTC
    assert text == write_moment(moment)
    assert not is_usual(moment)


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_is_refused_without_telling_it(text: str) -> None:
    for read in (read_moment, read_timestamp):
        with pytest.raises(ValueError, match=r"^should be a date with a time in ISO 8601$"):
            read(text)


@pytest.mark.parametrize(
    "value",
    [
        MOMENT.replace(tzinfo=None),
        MOMENT.replace(microsecond=5),
        MOMENT.astimezone(timezone(timedelta(hours=2))),
        MOMENT.astimezone(timezone(timedelta(0))),
        read_moment("2026-11-22T14:08:20") + timedelta(seconds=1),
    ],
)
def test_a_moment_made_here_is_written_in_utc_in_whole_seconds(value: datetime) -> None:
    assert "2026-11-22T14:08:21Z" == write_moment(value)
    assert CREATED.validate_python(value) == MOMENT


def test_the_core_writes_usual_moments_itself() -> None:
    assert is_usual(MOMENT)
    assert f'"{write_moment(MOMENT)}"' == to_json(MOMENT).decode()
    assert not is_usual(MOMENT.replace(microsecond=1))


def duplicate(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy, duplicate])
@pytest.mark.parametrize("text", ODD_MOMENTS)
def test_copies_of_odd_moments_keep_their_text(made: Any, text: str) -> None:
    assert text == write_moment(made(read_moment(text)))


def test_copies_of_what_was_computed_are_times() -> None:
    later = read_moment("2026-11-22T14:08:20") + timedelta(seconds=1)

    assert later == duplicate(later)
    assert "2026-11-22T14:08:21Z" == write_moment(duplicate(later))


@pytest.mark.parametrize("value", ["2026-11-22T14:08:21Z", MOMENT, read_moment("2026-11-22T14:08:21")])
def test_a_field_takes_text_and_datetimes(value: object) -> None:
    assert MOMENT == CREATED.validate_python(value)


@pytest.mark.parametrize("value", [5, "soon", b"2026-11-22T14:08:21Z"])
def test_a_field_takes_nothing_else(value: object) -> None:
    with pytest.raises(ValidationError, match="ISO 8601"):
        CREATED.validate_python(value)


def test_a_field_keeps_an_odd_moment() -> None:
    assert "2026-11-22T14:08:21" == write_moment(CREATED.validate_python(read_moment("2026-11-22T14:08:21")))


@pytest.mark.parametrize(
    ("text", "micro"), [("2026-11-22 14:08:21.816647", 816647), ("2026-11-22 14:08:21", 0), ("2026-11-22 14:08:21.000001", 1)]
)
def test_a_timestamp_is_read_and_written_as_oslo_does(text: str, micro: int) -> None:
    timestamp = read_timestamp(text)

    assert MOMENT.replace(microsecond=micro) == timestamp
    assert type(timestamp) is datetime
    assert timestamp.tzinfo is UTC
    assert text == write_timestamp(timestamp)


@pytest.mark.parametrize("text", ["2026-11-22 14:08:21.000000", "2026-11-22 14:08:21.5", *ODD_MOMENTS])
def test_an_odd_timestamp_is_in_utc_and_keeps_its_text(text: str) -> None:
    timestamp = read_timestamp(text)

    assert timestamp.tzinfo is UTC
    assert text == write_timestamp(timestamp)


def test_a_timestamp_made_here_is_written_in_utc() -> None:
    assert "2026-11-22 14:08:21" == write_timestamp(MOMENT.astimezone(timezone(timedelta(hours=2))))
    assert "2026-11-22 14:08:21" == write_timestamp(MOMENT.replace(tzinfo=None))
    assert "2026-11-22 14:08:22" == write_timestamp(read_timestamp("2026-11-22T14:08:21") + timedelta(seconds=1))
