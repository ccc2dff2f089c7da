"""Bytes to notifications and back: oslo.messaging's envelope 2.0, and the bare inner message of its driver `messaging`.

A swap is read the fast way: pydantic's core parses the inner message and builds the payload in one go. What it refuses, and
everything else, is read by the slow way, which takes all that the standard library takes (lone surrogates) and says what is
wrong. Sources: oslo.messaging `rpc.common.serialize_msg`, `deserialize_msg`, `version_is_compatible`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from aioswap.errors import DecodeError, UnsupportedVersion
from aioswap.wire.events import payload_type
from aioswap.wire.notification import UNIQUE_ID, Notification
from aioswap.wire.parsing import check_size, parse
from aioswap.wire.payloads import InstanceActionVolumeSwapPayload, NestedVolumeSwap
from aioswap.wire.reading import read_generic, read_object
from aioswap.wire.times import read_timestamp
from aioswap.wire.unread import Unread
from aioswap.wire.writing import CONTEXT_PREFIX, PackedContext, write_json

__all__ = ["decode", "encode"]

_VERSION_KEY: Final = "oslo.version"
_MESSAGE_KEY: Final = "oslo.message"
_HEAD: Final = f'{{"{_VERSION_KEY}":"2.0","{_MESSAGE_KEY}":'.encode()
_VERSION_FORM: Final = re.compile(r"\d{1,9}(?:\.\d{1,9}){1,2}", re.ASCII)
_COMPATIBLE: Final = frozenset({"2.0", "2.0.0"})
_SWAP: Final = "instance.volume_swap."
_TEXTS: Final = ("message_id", "publisher_id", "event_type", "priority", "timestamp")
_KNOWN: Final = frozenset({*_TEXTS, "payload"})
_CUT: Final = len(CONTEXT_PREFIX)


class _SwapMessageSchema:
    """The inner message of a swap notification: a dictionary whose payload is a model. Its other keys are not made here."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        fields = {key: core_schema.typed_dict_field(core_schema.str_schema(strict=True)) for key in _TEXTS}
        fields["payload"] = core_schema.typed_dict_field(handler.generate_schema(NestedVolumeSwap))
        fields[UNIQUE_ID] = core_schema.typed_dict_field(core_schema.any_schema(), required=False)
        return core_schema.typed_dict_schema(fields, extra_behavior="ignore")


@cache
def _swap_reader() -> Callable[[str], dict[str, Any]]:
    """Return what reads the inner message of a swap. It takes a while to make, and whoever only emits needs none."""
    return TypeAdapter(Annotated[dict[str, Any], _SwapMessageSchema()]).validator.validate_json


def decode(body: bytes | str) -> Notification[Any]:
    """Return the notification that `body` holds, in an envelope or without one.

    The payload is of the class that `payload_type` names for the event type, else a `VersionedObject`, or plain JSON where it
    is no versioned object. What is unknown is kept. Of a key that stands twice the last counts, as in the standard library.

    Args:
        body: a message's body, uncompressed; bytes are UTF-8.

    Raises:
        DecodeError: it is no notification that can be read; `body` of the error holds the bytes.
        UnsupportedVersion: the envelope or the payload is of another major version.
    """
    try:
        return _read(body)
    except DecodeError as error:
        error.body = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
        raise


def encode(notification: Notification[Any]) -> bytes:
    """Return the body of a message that carries `notification`: oslo's envelope 2.0, in UTF-8.

    Raises:
        TypeError: a value inside is none that JSON can say.
        ValueError: likewise, or a value holds itself.
    """
    context = notification.context
    try:
        if type(context) is PackedContext and context.now is notification.timestamp and not notification.extra:
            return _with_packed(notification, context)
        text = write_json(notification.to_core())
    except ValueError:
        # lone surrogates, very deep nesting: what only the standard library can write
        text = json.dumps(notification.to_wire()).encode()
    return write_json({_VERSION_KEY: "2.0", _MESSAGE_KEY: text})


def _with_packed(notification: Notification[Any], context: PackedContext) -> bytes:
    """Return the body, as `encode` would write it, with the text of `context` that is kept."""
    wire = notification.to_core_head()
    escaped = write_json(write_json(wire))
    return b'%b%b,%b}"}' % (_HEAD, escaped[:-2], context.escaped(wire["timestamp"]))


def _read(body: bytes | str) -> Notification[Any]:
    message = parse(body, "body")
    if isinstance(message, dict) and _VERSION_KEY in message and _MESSAGE_KEY in message:
        _check_version(message[_VERSION_KEY])
        text = message[_MESSAGE_KEY]
        if not isinstance(text, str):
            raise DecodeError(f"{_MESSAGE_KEY}: should be JSON in a text")
        # A guess that is verified: the letters may stand anywhere, and the event type may be written with escapes.
        if _SWAP in text:
            check_size(text, _MESSAGE_KEY)
            try:
                swap = _swap_reader()(text)
            except ValueError:
                pass  # read again by the slow way, which finds out why
            else:
                if payload_type(swap["event_type"]) is InstanceActionVolumeSwapPayload:
                    return _notification(swap, swap["payload"], Unread(_context_in, text), Unread(_extra_in, text))
        message = parse(text, _MESSAGE_KEY)
    if not isinstance(message, dict):
        raise DecodeError("message: should be a JSON object")
    return _read_slowly(message)


def _read_slowly(message: dict[str, Any]) -> Notification[Any]:
    for key in _TEXTS:
        if not isinstance(message.get(key), str):
            raise DecodeError(f"{key}: should be a text" if key in message else f"{key}: is missing")
    if "payload" not in message:
        raise DecodeError("payload: is missing")
    payload, kind = message["payload"], payload_type(message["event_type"])
    read = read_generic(payload) if kind is None else read_object(kind, payload)
    return _notification(message, read, _context(message), _extra(message))


def _notification(
    message: dict[str, Any], payload: Any, context: Mapping[str, Any], extra: Mapping[str, Any]
) -> Notification[Any]:
    unique_id = message.get(UNIQUE_ID)
    try:
        timestamp = read_timestamp(message["timestamp"])
    except ValueError as error:
        raise DecodeError(f"timestamp: {error}") from None
    return Notification(
        message_id=message["message_id"],
        publisher_id=message["publisher_id"],
        event_type=message["event_type"],
        priority=message["priority"],
        timestamp=timestamp,
        payload=payload,
        context=context,
        unique_id=unique_id if isinstance(unique_id, str) else None,
        extra=extra,
    )


def _context_in(text: str) -> dict[str, Any]:
    return _context(parse(text, _MESSAGE_KEY))


def _extra_in(text: str) -> dict[str, Any]:
    return _extra(parse(text, _MESSAGE_KEY))


def _context(message: dict[str, Any]) -> dict[str, Any]:
    return {key[_CUT:]: value for key, value in message.items() if key[:_CUT] == CONTEXT_PREFIX}


def _extra(message: dict[str, Any]) -> dict[str, Any]:
    extra = {key: value for key, value in message.items() if key not in _KNOWN and key[:_CUT] != CONTEXT_PREFIX}
    if isinstance(extra.get(UNIQUE_ID), str):
        del extra[UNIQUE_ID]
    return extra


def _check_version(version: object) -> None:
    if isinstance(version, str) and version in _COMPATIBLE:
        return
    if isinstance(version, str) and _VERSION_FORM.fullmatch(version):
        raise UnsupportedVersion(f"{_VERSION_KEY}: {version} is not compatible with 2.0")
    raise DecodeError(f"{_VERSION_KEY}: should be two or three numbers with dots between them, in a text")
