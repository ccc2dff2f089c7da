"""What payloads look like on the wire, as JSON Schema (draft 2020-12), for each version."""

from __future__ import annotations

from typing import Any, Final

from aioswap.wire.field_docs import field_docs
from aioswap.wire.objects import PREFIX, VersionedObject, field_since
from aioswap.wire.payloads import FlavorPayload

__all__ = ["payload_definitions", "payload_schema"]

_TEXT: Final = {"type": "string"}
_NULL: Final = {"type": "null"}
_NEVER_NULL: Final = ("extra_specs", "projects")
"""Of a flavor 1.2: see `FlavorPayload.at_version`."""
_OURS: Final = ("default", "nova", "since", "title")
"""What pydantic and the models add that says nothing about the wire."""


def payload_schema(kind: type[VersionedObject], version: str) -> dict[str, Any]:
    """Return the JSON Schema of a payload's wire form.

    It is exact for that version: a field that is missing, or that the version does not have, is an error.

    Args:
        kind: the payload's class.
        version: one of its `known_versions`; the objects inside follow it.
    """
    definitions = payload_definitions(kind, version)
    own = definitions.pop(kind.__name__)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{kind.__name__} {version}"}
    return {**head, **own, **({"$defs": definitions} if definitions else {})}


def payload_definitions(kind: type[VersionedObject], version: str, at: str = "#/$defs/") -> dict[str, Any]:
    """Return the schemas of a payload and of the objects inside, by the names of their classes.

    Args:
        kind: the payload's class.
        version: one of its `known_versions`; the objects inside follow it.
        at: where they will stand: what references begin with.
    """
    definitions: dict[str, Any] = {}
    definitions[kind.__name__] = _wrapper(kind, version, definitions, at)
    return definitions


def _wrapper(kind: type[VersionedObject], version: str, definitions: dict[str, Any], at: str) -> dict[str, Any]:
    """Return the schema of the four keys and what they hold; those of the objects inside go into `definitions`."""
    told, docs = kind.model_json_schema(), field_docs(kind)
    versions = kind.known_versions
    fields: dict[str, Any] = {}
    for name, model_field in kind.model_fields.items():
        if versions.index(version) < versions.index(field_since(model_field)):
            continue
        schema = {key: value for key, value in told["properties"][name].items() if key not in _OURS}
        if (kind, version) == (FlavorPayload, "1.2") and name in _NEVER_NULL:
            schema = _without_null(schema)
        if name in docs:
            schema["description"] = docs[name]
        inner = kind.nested_classes.get(name)
        if inner is not None:
            inner_version = kind.nested_versions.get(name, {}).get(version, "1.0")
            definitions[inner.__name__] = _wrapper(inner, inner_version, definitions, at)
            schema = _referring(schema, at + inner.__name__)
        fields[name] = schema
    keys = {
        f"{PREFIX}.name": {"const": kind.__name__},
        f"{PREFIX}.namespace": {"const": "nova"},
        f"{PREFIX}.version": {"const": version},
        f"{PREFIX}.data": _object(fields),
    }
    return {
        "description": told["description"].partition(". ")[0].removesuffix(".") + ".",
        **_object(keys),
        "properties": {**keys, f"{PREFIX}.changes": {"type": "array", "items": _TEXT}},
    }


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    (choice,) = (choice for choice in schema["anyOf"] if choice != _NULL)
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **choice}


def _referring(schema: Any, reference: str) -> Any:
    """Return `schema` with a reference in place of each object that is a wrapper."""
    if isinstance(schema, list):
        return [_referring(item, reference) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if f"{PREFIX}.data" in schema.get("properties", {}):
        kept = {key: value for key, value in schema.items() if key == "description"}
        return {**kept, "$ref": reference}
    return {key: _referring(item, reference) for key, item in schema.items()}
