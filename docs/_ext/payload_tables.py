"""The tables of the notification reference, made from the models: what they say can't differ from what is read and written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from aioswap.wire.objects import VersionedObject, field_since
from aioswap.wire.payloads import (
    BlockDevicePayload,
    ExceptionPayload,
    FlavorPayload,
    InstanceActionPayload,
    InstanceActionVolumeSwapPayload,
    InstancePayload,
    IpPayload,
    SharePayload,
)

__all__ = ["BASES", "PAYLOADS", "payload_tables"]

PAYLOADS: Final[tuple[type[VersionedObject], ...]] = (
    InstanceActionVolumeSwapPayload,
    ExceptionPayload,
    FlavorPayload,
    IpPayload,
    BlockDevicePayload,
    SharePayload,
)
"""Each has a table of its own."""

BASES: Final[tuple[type[VersionedObject], ...]] = (InstanceActionPayload, InstancePayload)
"""Their fields are among those of the first table."""

_WORDS: Final = {str: "text", int: "integer", float: "number", bool: "boolean", datetime: "time"}


def payload_tables() -> str:
    """Return the tables, in Markdown."""
    return "\n".join([*map(_table, PAYLOADS), *map(_base, BASES)])


def _table(kind: type[VersionedObject]) -> str:
    rows = "\n".join(_row(name, field) for name, field in kind.model_fields.items())
    return (
        f"## {kind.__name__}\n\n{_summary(kind)} {_versions(kind)}\n\n"
        f"| Field | Type | Null | Since version | Since Nova | |\n| --- | --- | --- | --- | --- | --- |\n{rows}\n"
    )


def _base(kind: type[VersionedObject]) -> str:
    first = PAYLOADS[0]
    lacking = ", ".join(f"`{name}`" for name in first.model_fields if name not in kind.model_fields)
    return (
        f"## {kind.__name__}\n\n{_summary(kind)} {_versions(kind)} "
        f"It has the fields of [{first.__name__}](#{first.__name__.lower()}) but {lacking}.\n"
    )


def _summary(kind: type[VersionedObject]) -> str:
    return " ".join((kind.__doc__ or "").split())


def _versions(kind: type[VersionedObject]) -> str:
    known = kind.known_versions
    return f"Known versions: {', '.join(known)}."


def _row(name: str, field: FieldInfo) -> str:
    told = field.json_schema_extra
    release = str(told["nova"]) if isinstance(told, dict) else ""
    nullable = "yes" if NoneType in set(_choices(field.annotation)) else "no"
    cells = (
        f"`{name}`",
        _type(field.annotation),
        nullable,
        field_since(field),
        release,
        _one_line(field.description),
    )
    return f"| {' | '.join(cells)} |"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _choices(annotation: Any) -> Iterator[Any]:
    """Give what a union is of; anything else by itself."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _choices(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for choice in get_args(annotation):
            yield from _choices(choice)
    else:
        yield annotation


def _type(annotation: Any) -> str:
    """Return how a reader of JSON would name the type.

    Raises:
        LookupError: it is a type that no payload had before: name it here.
    """
    choices = [choice for choice in _choices(annotation) if choice is not NoneType]
    return "number" if set(choices) == {int, float} else " or ".join(map(_one_type, choices))


def _one_type(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is list:
        return f"list of {_type(get_args(kind)[0])}"
    if origin is dict:
        return f"object of {_type(get_args(kind)[1])}"
    if isinstance(kind, type) and issubclass(kind, VersionedObject):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    return _WORDS[kind]
