"""Versioned objects to JSON, walked by pydantic's core: in half the time of making plain values first."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import Any, Final, get_args, get_origin

from pydantic_core import CoreSchema, core_schema

from aioswap.wire.objects import PREFIX, NestedSchema, VersionedObject
from aioswap.wire.times import MomentSchema, written_moment

__all__ = ["object_schema"]

_DATA: Final = f"{PREFIX}.data"


def object_schema(kind: type[VersionedObject]) -> CoreSchema:
    """Return the schema that writes an object of class `kind` as `VersionedObject.to_wire` tells it."""
    fields = {
        name: core_schema.typed_dict_field(_schema(field.annotation, field.metadata))
        for name, field in kind.model_fields.items()
        if name in kind.special
    }
    if not fields:
        return _written_by(_wrapped, core_schema.any_schema())
    data = core_schema.typed_dict_schema(fields, extra_behavior="allow")
    wrapper = core_schema.typed_dict_schema({_DATA: core_schema.typed_dict_field(data)}, extra_behavior="allow")
    return _written_by(_wrapped, wrapper)


def _schema(annotation: Any, marks: Sequence[object] = ()) -> CoreSchema:
    """Return the schema for a field's type: a moment, or objects, maybe null, maybe in a list."""
    if any(isinstance(mark, MomentSchema) for mark in marks):
        return _written_by(_moment, core_schema.any_schema())
    if any(isinstance(mark, NestedSchema) for mark in marks):
        return object_schema(annotation)
    first, *others = get_args(annotation)
    if NoneType in others:
        return core_schema.nullable_schema(_schema(first))
    if get_origin(annotation) is list:
        return core_schema.list_schema(_schema(first))
    return _schema(first, others)


def _written_by(function: Any, schema: CoreSchema) -> CoreSchema:
    return core_schema.any_schema(
        serialization=core_schema.plain_serializer_function_ser_schema(function, return_schema=schema)
    )


def _wrapped(value: Any) -> Any:
    # inside of an object that is unusual there are plain values already
    return value if type(value) is dict else value.to_core()


def _moment(value: Any) -> Any:
    return value if type(value) is str else written_moment(value)
