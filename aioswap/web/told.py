"""Swaps as JSON: bounded, masked, without the request context; and events as browsers read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from aioswap.swaps import Swap
from aioswap.tracking.fields import fields_of

__all__ = ["as_json", "event", "told"]

_LONGEST: Final = 1024
"""Characters of a name: what others have written may be of any length."""


def told(swap: Swap, now: datetime) -> dict[str, Any]:
    """Return what is told of a swap, by the names of `aioswap.tracking.fields.FIELDS`; long names are cut."""
    return {name: _cut(value) for name, value in fields_of(swap, now).items()}


def as_json(value: Mapping[str, Any]) -> bytes:
    """Return `value` as one line of JSON, all ASCII. Times are written in ISO 8601."""
    return json.dumps(value, default=_plain, separators=(",", ":")).encode("ascii")


def event(name: str, value: Mapping[str, Any]) -> bytes:
    """Return a server-sent event (WHATWG HTML, 9.2.5)."""
    return b"event: %b\ndata: %b\n\n" % (name.encode("ascii"), as_json(value))


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]}…"
    return tuple(map(_cut, value)) if isinstance(value, tuple) else value


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
