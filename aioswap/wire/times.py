"""The wire's times: a payload's moments and a notification's timestamp. Both mean UTC; each has a form of its own.

A peer may write another form of ISO 8601. Such a time remembers its text, so that it is written back as it came.
Sources: oslo.versionedobjects `_utils.isotime`, oslo.messaging `Notifier._notify`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Self, SupportsIndex

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

__all__ = ["MomentSchema", "is_usual", "read_moment", "read_timestamp", "write_moment", "write_timestamp"]

_ADVICE: Final = "should be a date with a time in ISO 8601"
_MOMENT_FORM: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
_MOMENT: Final = re.compile(_MOMENT_FORM).fullmatch
_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.(?!000000)\d{6})?", re.ASCII).fullmatch


class _OddTime(datetime):
    """A time that was read from another form than the usual one: it remembers the text."""

    text: str | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the time that `text` names, in UTC."""
        value = _aware(datetime.fromisoformat(text)).astimezone(UTC)
        odd = cls.combine(value.date(), value.timetz())
        odd.text = text
        return odd

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        # datetime's own way of copying and pickling would lose the text; what was computed from an odd time has none
        return super().__reduce_ex__(protocol) if self.text is None else (self.read, (self.text,))


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _kept_text(value: datetime) -> str | None:
    return value.text if isinstance(value, _OddTime) else None


def read_moment(text: str) -> datetime:
    """Return the moment that a payload's `text` names, in UTC; without a zone it is taken for UTC.

    Raises:
        ValueError: `text` is no date with a time in ISO 8601, or lies outside of the years 1 to 9999.
    """
    try:
        return datetime.fromisoformat(text) if _MOMENT(text) else _OddTime.read(text)
    except (ValueError, OverflowError):
        raise ValueError(_ADVICE) from None


def write_moment(value: datetime) -> str:
    """Return `value` as payloads hold it, `2026-11-22T14:08:21Z`, in whole seconds; or the text it was read from."""
    text = _kept_text(value)
    return f"{_in_seconds(value).isoformat()[:-6]}Z" if text is None else text


def is_usual(value: object) -> bool:
    """Say whether `value` is a moment that pydantic's core writes as `write_moment` does: in UTC, in whole seconds."""
    return type(value) is datetime and value.tzinfo is UTC and not value.microsecond


def _in_seconds(value: datetime) -> datetime:
    """Return `value` as a payload can say it: in UTC, in whole seconds."""
    return value if is_usual(value) else _aware(value).astimezone(UTC).replace(microsecond=0)


def read_timestamp(text: str) -> datetime:
    """Return the time that a notification's `timestamp` names, in UTC; without a zone it is taken for UTC.

    Raises:
        ValueError: see `read_moment`.
    """
    try:
        return datetime.fromisoformat(text + "+00:00") if _TIMESTAMP(text) else _OddTime.read(text)
    except (ValueError, OverflowError):
        raise ValueError(_ADVICE) from None


def write_timestamp(value: datetime) -> str:
    """Return `value` as `str(timeutils.utcnow())` gives it: a space, no zone, no fraction in a whole second.

    A time that was read from another form is written in that form.
    """
    if type(value) is not datetime or value.tzinfo is not UTC:
        text = _kept_text(value)
        if text is not None:
            return text
        value = _aware(value).astimezone(UTC)
    return value.isoformat(" ")[:-6]  # without the zone; str() gives the same, at twice the cost


def _from_python(value: object) -> datetime:
    if isinstance(value, datetime):
        return value if _kept_text(value) is not None else _in_seconds(value)
    if isinstance(value, str):
        return read_moment(value)
    raise ValueError(_ADVICE)


class MomentSchema:
    """Marks a field as a moment: text on the wire, an aware datetime in Python."""

    _READ: ClassVar[CoreSchema] = core_schema.union_schema(
        [
            # the usual form without a call of Python's, as read_moment reads it
            core_schema.no_info_after_validator_function(
                datetime.fromisoformat, core_schema.str_schema(strict=True, pattern=f"^{_MOMENT_FORM}$")
            ),
            core_schema.no_info_after_validator_function(read_moment, core_schema.str_schema(strict=True)),
        ],
        mode="left_to_right",
    )

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema for pydantic."""
        return core_schema.json_or_python_schema(
            json_schema=self._READ,
            python_schema=core_schema.no_info_plain_validator_function(_from_python),
            serialization=core_schema.plain_serializer_function_ser_schema(
                write_moment, return_schema=core_schema.str_schema(), when_used="json-unless-none"
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the JSON Schema."""
        return {"type": "string", "format": "date-time"}
