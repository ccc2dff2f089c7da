"""Good notifications, and what breaks them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aioswap.transports.base import NOTIFICATION_PROPERTIES
from tests.consumer_kit import END, FLAVOR, notification_body

__all__ = [
    "DATA",
    "BadInput",
    "around",
    "changed",
    "changed_data",
    "changed_wrapper",
    "filled",
    "foreign",
    "in_context",
    "inner_message",
    "lacking",
    "lacking_data",
    "packed",
    "polluted",
    "twice",
    "unknown",
    "written",
]

DATA: Final = "nova_object.data"


@dataclass(frozen=True, kw_only=True)
class BadInput:
    """Args:
    name: says what is wrong.
    make: returns the body.
    handled: whether it is a notification all the same; else it becomes a dead letter.
    redelivered: it was delivered before, and given back.
    """

    name: str
    make: Callable[[], bytes] = field(repr=False)
    handled: bool = False
    headers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    properties: Mapping[str, Any] = field(default_factory=lambda: NOTIFICATION_PROPERTIES, repr=False)
    message_id: str = "00000000000000000000000000000000"
    redelivered: bool = False


def packed(text: Any, **more: Any) -> bytes:
    """Return an envelope around `text`: JSON as it is, or what is to be written as JSON."""
    written = text if isinstance(text, str) else json.dumps(text)
    return json.dumps({"oslo.version": "2.0", "oslo.message": written, **more}).encode()


def inner_message(event_type: str = END) -> dict[str, Any]:
    """Return a good inner message, the same each time but for its id."""
    return json.loads(json.loads(notification_body(event_type))["oslo.message"])  # type: ignore[no-any-return]


def around(value: Any) -> bytes:
    """Return an envelope with a value where JSON in a text belongs."""
    return json.dumps({"oslo.version": "2.0", "oslo.message": value}).encode()


def changed(**changes: Any) -> bytes:
    return packed(inner_message() | changes)


def lacking(key: str) -> bytes:
    inner = inner_message()
    del inner[key]
    return packed(inner)


def changed_wrapper(**changes: Any) -> bytes:
    """Change keys of the swap's wrapper; a key's dot is written as two underscores."""
    inner = inner_message()
    inner["payload"] |= {name.replace("__", "."): value for name, value in changes.items()}
    return packed(inner)


def changed_data(name: str, value: Any) -> bytes:
    inner = inner_message()
    inner["payload"][DATA][name] = value
    return packed(inner)


def lacking_data(name: str) -> bytes:
    inner = inner_message()
    del inner["payload"][DATA][name]
    return packed(inner)


def written(value: str, place: Callable[[Any], bytes]) -> bytes:
    """Return a body with the JSON `value` where `place` writes a text."""
    return place("@@").replace(rb"\"@@\"", json.dumps(value)[1:-1].encode())


def unknown(value: Any) -> bytes:
    """A field that nobody knows, in a typed payload."""
    return changed_data("unknown", value)


def foreign(value: Any) -> bytes:
    """A field of another event's payload."""
    inner = inner_message(FLAVOR)
    inner["payload"][DATA]["unknown"] = value
    return packed(inner)


def in_context(value: Any) -> bytes:
    return changed(_context_unknown=value)


def twice(old: str, new: str) -> bytes:
    """Write `new` once more behind `old`, in the inner message."""
    text = json.dumps(inner_message())
    assert old in text
    return packed(text.replace(old, f"{old}, {new}", 1))


def polluted(characters: str) -> bytes:
    """Put `characters` into every text of the payload and of the message, but for times, versions and names of objects."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: item if key.startswith("nova_object.") and key != DATA else walk(item) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        timed = isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:", value)
        return value + characters if isinstance(value, str) and not timed else value

    inner = inner_message()
    return packed({key: value if key == "event_type" else walk(value) for key, value in inner.items()})


def filled(size: int) -> bytes:
    """Return a swap of exactly `size` bytes."""
    short = unknown("")
    return unknown("x" * (size - len(short)))
