"""What no broker would take: the same check for every transport, before a message is sent.

Source: AMQP 0-9-1 (short strings, field tables); RabbitMQ closes the whole connection for headers beyond a frame (501).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from aioswap.transports.base import MAX_BODY, NOTIFICATION_PROPERTIES, Message

__all__ = ["MAX_COPY", "MAX_HEADERS", "MAX_SHORT", "impossible"]

MAX_SHORT: Final = 255
"""Bytes of a short string: a routing key, a header's name, a text property."""

MAX_HEADERS: Final = 64 << 10
"""Bytes of all headers: they must fit one frame, which has 128 KiB unless the broker's operator chose less."""

MAX_COPY: Final = 16 << 20
"""Bytes of a body that goes to a named exchange: an unreadable message is kept as it came. RabbitMQ 4 takes no more."""

_MAX_DEPTH: Final = 32
_TEXTS: Final = frozenset(
    ("content_type", "content_encoding", "correlation_id", "reply_to", "expiration", "type", "user_id", "app_id", "cluster_id")
)
_OCTETS: Final = frozenset(("delivery_mode", "priority"))


def impossible(message: Message) -> ValueError | None:
    """Return why no broker would take `message`, None if one may. The text holds none of the content."""
    limit = MAX_BODY if message.exchange is None else MAX_COPY
    try:
        if len(message.body) > limit:
            raise ValueError(f"the body has {len(message.body)} bytes: at most {limit} can be sent")
        _short("the routing key", message.routing_key)
        _short("the message id", message.message_id)
        if message.exchange is not None:
            _short("the exchange's name", message.exchange)
        if message.properties is not NOTIFICATION_PROPERTIES:
            _check_properties(message.properties)
        if message.headers and _size(message.headers, 0, 0) > MAX_HEADERS:
            raise ValueError(f"the headers have more than {MAX_HEADERS} bytes")
    except ValueError as error:
        return error
    return None


def _check_properties(properties: Mapping[str, Any]) -> None:
    for name, value in properties.items():
        if value is None:
            continue
        if name in _TEXTS:
            if not isinstance(value, str):
                raise ValueError(f"the property {name} is no text")
            _short(f"the property {name}", value)
        elif name in _OCTETS:
            if not isinstance(value, int) or not 0 <= value <= 255:
                raise ValueError(f"the property {name} is no number from 0 to 255")
        elif name != "timestamp":
            raise ValueError(f"{name!r} is no AMQP property")
        elif not isinstance(value, datetime):
            raise ValueError("the property timestamp is no datetime")
        else:
            _moment(value)


def _short(what: str, text: str) -> None:
    if len(text) > MAX_SHORT or (not text.isascii() and len(_encoded(what, text)) > MAX_SHORT):
        raise ValueError(f"{what} has more than {MAX_SHORT} bytes")


def _encoded(what: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} cannot be written in UTF-8") from None


def _size(value: Any, used: int, depth: int) -> int:
    """Return `used` plus the bytes of a header's value; stops early, so that the cost is bounded too."""
    used += 5  # the type, and a length or a small value
    if value is None or isinstance(value, bool):
        return used
    if isinstance(value, str):
        return used + len(_encoded("a header", value))
    if isinstance(value, bytes | bytearray):
        return used + len(value)
    if isinstance(value, float):
        return used + 8
    if isinstance(value, datetime):
        return used + _moment(value)
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise ValueError("a header's number has more than 64 bits")
        return used + 8
    if isinstance(value, Decimal):
        return used + _decimal(value)
    return _container(value, used, depth + 1)


def _moment(value: datetime) -> int:
    """AMQP's timestamps: seconds since 1970."""
    if value.utcoffset() is None or value.timestamp() < 0:
        raise ValueError("a datetime is not aware, or before 1970: it has no place in AMQP")
    return 8


def _decimal(value: Decimal) -> int:
    """AMQP's decimals: an octet of places and a number of 32 bits."""
    _, digits, exponent = value.as_tuple()
    fits = isinstance(exponent, int) and -255 <= exponent <= 0 and len(digits) <= 10
    if not fits or int("".join(map(str, digits))) >= 1 << 31:
        raise ValueError("a header's decimal number has no place in AMQP")
    return 5


def _container(value: Any, used: int, depth: int) -> int:
    if depth > _MAX_DEPTH:
        raise ValueError(f"the headers are nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str):
                raise ValueError("a header's name is no text")
            _short("a header's name", name)
            used = _size(item, used + len(name.encode()), depth)
            if used > MAX_HEADERS:
                break
        return used
    if isinstance(value, list | tuple):
        for item in value:
            used = _size(item, used, depth)
            if used > MAX_HEADERS:
                break
        return used
    raise ValueError(f"a header is a {type(value).__name__}, which AMQP does not know")
