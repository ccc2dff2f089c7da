"""How an attempt becomes a row of a history, and a row an attempt.

What was heard of an attempt is kept, not what follows from it: verdicts are made anew when it is read. Of a request context
there is nothing but the request ids; faults are masked and bounded.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from aioswap.attempts import Attempt
from aioswap.evidence import Heard, SwapKey
from aioswap.sqlite import storable
from aioswap.swaps import SwapState
from aioswap.wire.faults import mask
from aioswap.wire.payloads import ExceptionPayload

__all__ = ["COLUMNS", "read_attempt", "row_of", "text_of"]

COLUMNS: Final = (
    "instance",
    "old_volume_id",
    "new_volume_id",
    "source",
    "request_id",
    "name",
    "global_request_id",
    "state",
    "first_seen",
    "last_seen",
    "heard",
)
"""The first six tell attempts apart."""

_EXAMINED: Final = 16 << 10
_SHOWN: Final = 4 << 10
"""Characters of a fault's text that are masked, and those that are kept."""


def row_of(attempt: Attempt, state: SwapState) -> dict[str, str | None]:
    """Return what the columns hold: `heard` is what is read again, the others are there to be looked up."""
    key, heard = attempt.key, attempt.heard
    kept = {"key": key, "heard": [_plain(one) for one in heard], "signs": [_plain(one) for one in attempt.signs]}
    return {
        "instance": storable(key.instance),
        "old_volume_id": storable(key.old_volume_id),
        "new_volume_id": storable(key.new_volume_id),
        "source": storable(key.source),
        "request_id": storable(key.request_id or ""),
        "name": storable(attempt.name),
        "global_request_id": None if attempt.global_request_id is None else storable(attempt.global_request_id),
        "state": state,
        "first_seen": text_of(attempt.first_seen),
        "last_seen": text_of(max(one.arrived for one in heard)),
        "heard": json.dumps(kept),
    }


def read_attempt(heard: str) -> Attempt:
    """Return the attempt that a row's column `heard` holds."""
    kept = json.loads(heard)
    first, *later = [_heard(plain) for plain in kept["heard"]]
    signs = tuple(_heard(plain) for plain in kept["signs"])
    return Attempt(SwapKey(*kept["key"]), (first, *later), signs, (first.arrival, first.timestamp, first.arrival))


def _plain(heard: Heard) -> dict[str, Any]:
    """Return what is not None, as plain JSON values."""
    arrived, number = heard.arrival
    others = ("message_id", "publisher_id", "event_type", "effective_volume_id", "global_request_id", "project_id")
    values: dict[str, Any] = {name: getattr(heard, name) for name in others}
    values["timestamp"] = text_of(heard.timestamp)
    values["arrival"] = [text_of(arrived), number]
    if heard.fault is not None:
        texts = {name: getattr(heard.fault, name) for name in ExceptionPayload.model_fields}
        values["fault"] = {name: mask(text[:_EXAMINED])[:_SHOWN] for name, text in texts.items()}
    return {name: value for name, value in values.items() if value is not None}


def _heard(plain: dict[str, Any]) -> Heard:
    arrived, number = plain["arrival"]
    plain["timestamp"] = datetime.fromisoformat(plain["timestamp"])
    plain["arrival"] = datetime.fromisoformat(arrived), number
    if "fault" in plain:
        plain["fault"] = ExceptionPayload(**plain["fault"])
    return Heard(**plain)


def text_of(moment: datetime) -> str:
    """Return a moment as text that sorts as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
