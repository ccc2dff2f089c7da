"""How a message becomes a row of an outbox's file, and a row a message. No bytes of a file are ever run or unpickled."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from aioswap.sqlite import storable
from aioswap.transports.base import NOTIFICATION_PROPERTIES, Message

__all__ = ["Act", "KeptRow", "accepting", "closing", "confirming", "message_of", "opening", "parking", "resending"]

_TAG: Final = "\0kind"
"""The key of a JSON object that stands for what JSON has no word for; no AMQP header has such a name."""


class Act(NamedTuple):
    """One change of a file, as the columns of its view `acts`."""

    act: str
    row: int
    routing_key: str | None = None
    message_id: str | None = None
    at: float | None = None
    """Seconds since 1970 by the wall clock."""
    number: int | None = None
    text: str | None = None
    body: bytes | None = None


class KeptRow(NamedTuple):
    """A message that a file keeps."""

    row: int
    message: Message
    accepted_at: float
    """Seconds since 1970 by the wall clock."""
    reason: str | None = None
    parked_at: float | None = None


def accepting(row: int, message: Message, now: float) -> Act:
    """Keep a message."""
    extra = None
    if message.headers or message.exchange is not None or message.properties is not NOTIFICATION_PROPERTIES:
        others = {"exchange": message.exchange, "headers": message.headers}
        if message.properties is not NOTIFICATION_PROPERTIES:
            others["properties"] = message.properties
        extra = json.dumps(_plain(others))
    key, message_id = storable(message.routing_key), storable(message.message_id)
    return Act("accept", row, key, message_id, now, message.size, extra, message.body)


def confirming(row: int) -> Act:
    """Forget a message."""
    return Act("confirm", row)


def parking(row: int, reason: str, now: float) -> Act:
    """Set a message aside."""
    return Act("park", row, at=now, text=storable(reason))


def resending(row: int, later: int, now: float) -> Act:
    """Put a message that was set aside at another place in order."""
    return Act("resend", row, at=now, number=later)


def opening(row: int, routing_keys: list[str], body: bytes, now: float) -> Act:
    """Note a start: its notification, and where it went."""
    return Act("open", row, at=now, text=json.dumps(routing_keys), body=body)


def closing(row: int) -> Act:
    """Forget a start: its swap is over."""
    return Act("close", row)


def message_of(routing_key: str, message_id: str, extra: str | None, body: bytes) -> Message:
    """Return the message that a row holds."""
    others = {} if extra is None else _made(json.loads(extra))
    return Message(
        routing_key=routing_key,
        body=body,
        message_id=message_id,
        exchange=others.get("exchange"),
        headers=others.get("headers", {}),
        properties=others.get("properties", NOTIFICATION_PROPERTIES),
    )


def _plain(value: Any) -> Any:
    """Return `value`, of the types that AMQP headers have, as JSON can say it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return {_TAG: "bytes", "is": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {_TAG: "time", "is": value.isoformat()}
    if isinstance(value, Decimal):
        return {_TAG: "decimal", "is": str(value)}
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)


def _made(value: Any) -> Any:
    if isinstance(value, list):
        return [_made(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_TAG)
    if kind == "bytes":
        return base64.b64decode(value["is"])
    if kind == "time":
        return datetime.fromisoformat(value["is"])
    if kind == "decimal":
        return Decimal(value["is"])
    return {key: _made(item) for key, item in value.items()}
