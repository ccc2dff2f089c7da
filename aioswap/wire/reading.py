"""Plain JSON values to versioned objects: the way that takes every text, keeps everything, and says what is wrong.

An object is found by its keys, whatever their prefix: Nova's is `nova_object`, Watcher's `watcher_object`.
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from aioswap.errors import DecodeError
from aioswap.wire.objects import PREFIX, VersionedObject, check_version, set_extra, set_private

__all__ = ["read_generic", "read_object"]

_Object = TypeVar("_Object", bound=VersionedObject)

_DATA: Final = ".data"
_MANY: Final = 20
"""Errors from which on none is told: listing them would cost more than reading the message."""
_KEY_FORM: Final = re.compile(r"[\w.:-]{1,64}", re.ASCII)

_PARTS: Final = frozenset((dict, list))
"""What may hold an object: long lists of anything else are not walked in Python."""


def read_object(payload: type[_Object], wire: object, path: str = "payload") -> _Object:
    """Return the object of class `payload` that the wrapper `wire` holds.

    Args:
        payload: the class.
        wire: plain JSON.
        path: where it stands, for errors.

    Raises:
        DecodeError: it is no wrapper, or a field is missing or of a wrong type; the text says where.
        UnsupportedVersion: it is of another major version.
    """
    prefix = _prefix_of(wire) if isinstance(wire, dict) else None
    if prefix is None or not isinstance(wire, dict):
        raise DecodeError(f"{path}: should be a versioned object")
    check_version(wire[f"{prefix}.version"], path)
    data = wire[f"{prefix}.data"]
    known = {name: data[name] for name in payload.model_fields if name in data}
    for name, kind in payload.nested_classes.items():
        value = known.get(name)
        if isinstance(value, list):
            known[name] = [read_object(kind, item, f"{path}.{name}.{place}") for place, item in enumerate(value)]
        elif value is not None:
            known[name] = read_object(kind, value, f"{path}.{name}")
    try:
        instance = payload.model_validate(known)
    except ValidationError as error:
        raise _explained(error, path) from None
    set_extra(instance, {name: value for name, value in data.items() if name not in payload.model_fields})
    _keep_wrapper(instance, prefix, wire)
    return instance


def read_generic(payload: Any) -> Any:
    """Return plain JSON as a `VersionedObject`, with such objects inside, if it is a wrapper; else as it is."""
    return _generic(payload) if isinstance(payload, dict) and _prefix_of(payload) is not None else payload


def _generic(value: Any) -> Any:
    if isinstance(value, list):
        if _PARTS.isdisjoint(map(type, value)):
            return value
        return [_generic(item) if type(item) in _PARTS else item for item in value]
    if not isinstance(value, dict):
        return value
    prefix = _prefix_of(value)
    if prefix is None:
        if _PARTS.isdisjoint(map(type, value.values())):
            return value
        return {key: _generic(item) if type(item) in _PARTS else item for key, item in value.items()}
    instance = VersionedObject.model_construct(set())
    set_extra(instance, {name: _generic(item) for name, item in value[f"{prefix}.data"].items()})
    _keep_wrapper(instance, prefix, value)
    return instance


def _keep_wrapper(instance: VersionedObject, prefix: str, wire: dict[str, Any]) -> None:
    set_private(instance, {"prefix": prefix, "wrapper": {**wire, f"{prefix}.data": None}})


def _prefix_of(wire: dict[str, Any]) -> str | None:
    """Return the prefix of the wrapper that `wire` is, None if it is none or could be several."""
    if _is_wrapper(wire, PREFIX):
        return PREFIX
    prefixes = [key[: -len(_DATA)] for key in wire if key[-len(_DATA) :] == _DATA]
    found = [prefix for prefix in prefixes if _is_wrapper(wire, prefix)]
    return found[0] if len(found) == 1 else None


def _is_wrapper(wire: dict[str, Any], prefix: str) -> bool:
    texts = (wire.get(f"{prefix}.{key}") for key in ("name", "namespace", "version"))
    return isinstance(wire.get(f"{prefix}.data"), dict) and all(isinstance(text, str) for text in texts)


def _explained(error: ValidationError, path: str) -> DecodeError:
    """Return the error that says where and why, without the values."""
    if error.error_count() > _MANY:
        return DecodeError(f"{path}: {error.error_count()} values are missing or of a wrong type")
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    keys = (str(key) if _KEY_FORM.fullmatch(str(key)) else "?" for key in first["loc"])
    return DecodeError(f"{'.'.join((path, *keys))}: {first['msg'].removeprefix('Value error, ')}")
