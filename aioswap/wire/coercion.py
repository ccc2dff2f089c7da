"""Values of a service's own objects, made into what a payload's fields hold.

Each function takes a value that is not None and the path to it, which begins the text of its TypeError or ValueError.
Sources: oslo.versionedobjects `fields.py` for which values are taken; nova `objects/fields.py` for the enumerations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from aioswap.wire.times import read_moment

__all__ = [
    "disk_config",
    "flag",
    "identifier",
    "integer",
    "list_of",
    "moment",
    "number",
    "power_state",
    "text",
    "texts",
    "wrong",
]

_POWER_STATES: Final = ("pending", "running", "_unused", "paused", "shutdown", "_unused", "crashed", "suspended")


def wrong(value: object, path: str, wanted: str) -> TypeError:
    """Return the error for a value of a type that cannot be taken."""
    return TypeError(f"{path}: should be {wanted}, got {type(value).__name__}")


def text(value: Any, path: str) -> str:
    """Return text; numbers and times are written as Python does, and a subclass of str becomes one."""
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int | float | datetime | UUID):
        return str(value)
    raise wrong(value, path, "text")


def identifier(value: Any, path: str) -> str:
    """Return text that is not empty."""
    told = text(value, path)
    if not told:
        raise ValueError(f"{path}: is empty")
    return told


def integer(value: Any, path: str) -> int:
    """Return a whole number, also from text."""
    if not isinstance(value, int | float | str):
        raise wrong(value, path, "a whole number")
    try:
        whole = int(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{path}: should be a whole number") from None
    if isinstance(value, float) and whole != value:
        raise ValueError(f"{path}: should be a whole number")
    return whole


def number(value: Any, path: str) -> float:
    """Return a number, also from text."""
    if not isinstance(value, int | float | str):
        raise wrong(value, path, "a number")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{path}: should be a number") from None


def flag(value: Any, path: str) -> bool:
    """Return a boolean, also from 0 and 1. Text is refused: `"false"` would be true."""
    if isinstance(value, int) and value in (0, 1):
        return value == 1
    raise wrong(value, path, "true or false")


def moment(value: Any, path: str) -> datetime:
    """Return a time in UTC, in whole seconds, also from ISO 8601; without a zone it is UTC. What form it had is forgotten."""
    if type(value) is datetime and value.tzinfo is UTC and not value.microsecond:
        return value
    if not isinstance(value, str | datetime):
        raise wrong(value, path, "a datetime")
    try:
        told = read_moment(value) if isinstance(value, str) else value
        told = told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
        return datetime(told.year, told.month, told.day, told.hour, told.minute, told.second, tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{path}: should be a date with a time in ISO 8601, in the years 1 to 9999") from None


def power_state(value: Any, path: str) -> str:
    """Return a power state's name, also from Nova's number."""
    if not isinstance(value, int) or isinstance(value, bool):
        return text(value, path)
    if 0 <= value < len(_POWER_STATES):
        return _POWER_STATES[value]
    raise ValueError(f"{path}: Nova has no power state of this number")


def disk_config(value: Any, path: str) -> str:
    """Return MANUAL or AUTO, as it came or from a boolean."""
    if isinstance(value, bool):
        return "AUTO" if value else "MANUAL"
    return text(value, path)


def texts(value: Any, path: str) -> dict[str, str]:
    """Return a dictionary of texts."""
    if not isinstance(value, Mapping):
        raise wrong(value, path, "a mapping of texts")
    return {text(key, path): text(item, path) for key, item in value.items()}


def list_of(convert: Callable[[Any, str], Any], value: Any, path: str) -> list[Any]:
    """Return a list of what `convert` makes of each item. Other iterables are refused: they might never end."""
    if not isinstance(value, list | tuple | set | frozenset):
        raise wrong(value, path, "a list")
    return [convert(item, f"{path}.{place}") for place, item in enumerate(value)]
