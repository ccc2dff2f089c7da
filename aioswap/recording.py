r"""Recordings: messages as they came from a queue, one line of JSON each, to be looked at or sent again.

    {"received": "2026-11-22T14:13:04.816647+00:00", "delivery": {"exchange": "nova", "routing_key": "..."},
     "properties": {"content_type": "application/json", ...}, "headers": {}, "body": "{\"oslo.version\": ..."}

A body that is no UTF-8 stands in `body_base64`. What AMQP knows and JSON does not is an object with one key that begins with
`$`: `{"$bytes": base64}`, `{"$time": ISO 8601}`, `{"$decimal": text}`, `{"$float": "nan"}`, and `{"$table": {...}}` around a
table that has such a key itself.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from aioswap.context import RequestContext
from aioswap.transports.base import MAX_BODY, Delivery, Message
from aioswap.transports.compression import readable
from aioswap.wire.notification import CONTEXT_PREFIX

__all__ = ["Recorded", "event_type_of", "inner_message", "read_line", "record", "write_line"]

_KEPT: Final = frozenset({*RequestContext().to_wire(datetime(2026, 1, 1, tzinfo=UTC)), "tenant"})
"""What a request context may tell, after `_context_`: what oslo.context's `redacted_copy` leaves, and an older project id."""

_DEEPEST: Final = 100
"""Levels of tables and lists in headers; AMQP's own reader takes 64."""

_ENVELOPE: Final = ("oslo.version", "oslo.message")

_EMPTIED: Final[Mapping[str, object]] = {"auth_token": None, "service_catalog": [], "remote_address": None}
"""What is kept as a name alone, with the value that `redacted_copy` gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A message of a recording.

    Args:
        received: when it came from the queue, aware.
        exchange: the one that it was published to.
        routing_key: the one that it was published with.
        body: the bytes as they came: compressed, if `headers` say so.
        message_id: AMQP's; Nova gives none.
        headers: AMQP headers.
        properties: the other basic properties.
    """

    received: datetime
    exchange: str
    routing_key: str
    body: bytes = field(repr=False)
    message_id: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    properties: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def plain_body(self) -> bytes | None:
        """The body without compression; None: that cannot be undone within the limit of bodies."""
        return readable(self.body, self.headers, MAX_BODY)[0]

    def message(self, message_id: str, *, exchange: str | None = None) -> Message:
        """Return the message to send it again by.

        Args:
            message_id: taken if it has none of its own.
            exchange: where to; None: the transport's notification exchange.
        """
        return Message(
            routing_key=self.routing_key,
            body=self.body,
            message_id=self.message_id or message_id,
            exchange=exchange,
            headers=self.headers,
            properties=self.properties,
        )


def record(delivery: Delivery, received: datetime, *, raw: bool = False) -> Recorded:
    """Return what is recorded of `delivery`.

    Args:
        delivery: as it came.
        received: when, aware.
        raw: keep every byte. Else what Nova's own redaction would take from the request context is left out (tokens, the
            service catalog), and the body is neither compressed nor byte by byte as it came.

    Raises:
        ValueError: not raw, and what it holds cannot be read: nobody can say whether there is a secret inside.
    """
    recorded = Recorded(
        received=received,
        exchange=delivery.exchange,
        routing_key=delivery.routing_key,
        body=delivery.original,
        message_id=delivery.message_id,
        headers=delivery.headers,
        properties=delivery.properties,
    )
    if raw:
        return recorded
    if delivery.body is None:
        raise ValueError(delivery.unreadable or "the body cannot be read")
    headers = {name: value for name, value in delivery.headers.items() if name != "compression"}
    return replace(recorded, body=_redacted(delivery.body), headers=headers)


def event_type_of(body: bytes) -> str | None:
    """Return the event type in `body`, whatever else is wrong with it; None: it holds none."""
    try:
        event_type = inner_message(body).get("event_type")
    except ValueError:
        return None
    return event_type if isinstance(event_type, str) else None


def inner_message(body: bytes) -> dict[str, Any]:
    """Return the message in an uncompressed body, in an envelope or without one, as plain JSON; nothing else is checked.

    Raises:
        ValueError: it is no notification.
    """
    try:
        outer = json.loads(body)
        if isinstance(outer, dict) and not outer.keys().isdisjoint(_ENVELOPE):
            outer = json.loads(_text(outer, "oslo.message"))
    except (ValueError, RecursionError):
        raise ValueError("the body is no notification") from None
    if not isinstance(outer, dict):
        raise ValueError("the body is no notification: it holds no JSON object")
    return outer


def _redacted(body: bytes) -> bytes:
    """Return `body` without the secrets of its request context, in an envelope if it came in one.

    What stands beside the message is no part of an envelope, and goes too.
    """
    told: dict[str, Any] = _without_secrets(inner_message(body))
    outer = json.loads(body)
    if "oslo.message" in outer:
        told = {"oslo.version": outer.get("oslo.version"), "oslo.message": json.dumps(told)}
    return json.dumps(told).encode()


def _without_secrets(message: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for key, value in message.items():
        name = key.removeprefix(CONTEXT_PREFIX)
        if name == key:
            told[key] = value
        elif name in _KEPT:
            told[key] = _EMPTIED.get(name, value)
    return told


def write_line(recorded: Recorded) -> str:
    """Return the line of a recording, all ASCII, without its end."""
    properties = dict(recorded.properties)
    if recorded.message_id is not None:
        properties["message_id"] = recorded.message_id
    told: dict[str, Any] = {
        "received": recorded.received.astimezone(UTC).isoformat(),
        "delivery": {"exchange": recorded.exchange, "routing_key": recorded.routing_key},
        "properties": _to_json(properties),
        "headers": _to_json(recorded.headers),
    }
    try:
        told["body"] = recorded.body.decode()
    except UnicodeDecodeError:
        told["body_base64"] = base64.b64encode(recorded.body).decode()
    return json.dumps(told)


def read_line(line: str | bytes, received: datetime | None = None) -> Recorded:
    """Return the message that a line of a recording holds.

    Args:
        line: it, as JSON of any shape: what a capture holds is the same, but for the time.
        received: when it came, aware; None: the line has to say so.

    Raises:
        ValueError: it is no such line; the text says what is missing, and holds nothing of the message.
    """
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(told, dict):
        raise ValueError("it is no JSON object")
    delivery, properties = _mapping(told, "delivery"), dict(_from_json(_mapping(told, "properties")))
    message_id = properties.pop("message_id", None)
    return Recorded(
        received=received or _time(_text(told, "received")),
        exchange=_text(delivery, "exchange"),
        routing_key=_text(delivery, "routing_key"),
        body=_bytes(_text(told, "body_base64")) if "body_base64" in told else _encoded(_text(told, "body")),
        message_id=message_id if isinstance(message_id, str) else None,
        headers=_from_json(_mapping(told, "headers")),
        properties=properties,
    )


def _mapping(told: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = told.get(key)
    if not isinstance(value, dict):
        raise ValueError(f"it has no object {key}")
    return value


def _text(told: Mapping[str, Any], key: str) -> str:
    value = told.get(key)
    if not isinstance(value, str):
        raise ValueError(f"it has no text {key}")
    return value


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("a time in it is none") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("something in it that should be base64 is not") from None


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text body in it cannot be written in UTF-8") from None


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number in it is none") from None


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("a decimal number in it is none") from None


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "$bytes": _bytes,
    "$time": _time,
    "$decimal": _decimal,
    "$float": _float,
}


def _to_json(value: Any) -> Any:
    """Return a value of a header as JSON says it."""
    if isinstance(value, Mapping):
        told = {key: _to_json(item) for key, item in value.items()}
        return {"$table": told} if any(key.startswith("$") for key in told) else told
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    return value


def _from_json(value: Any, depth: int = 0) -> Any:
    """Return what `_to_json` was given."""
    if depth > _DEEPEST:
        raise ValueError(f"something in it is nested deeper than {_DEEPEST} levels")
    if isinstance(value, list):
        return [_from_json(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    name, inner = next(iter(value.items())) if len(value) == 1 else ("", None)
    if name in _READERS and isinstance(inner, str):
        return _READERS[name](inner)
    table = inner if name == "$table" and isinstance(inner, dict) else value
    return {key: _from_json(item, depth + 1) for key, item in table.items()}
