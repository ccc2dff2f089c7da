"""`aioswap schema`: what a payload looks like on the wire, as JSON Schema (draft 2020-12)."""

from __future__ import annotations

from typing import Any, Final

import click

from aioswap.cli.output import data, json_line
from aioswap.wire.objects import PREFIX, VersionedObject, field_since
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

__all__ = ["command", "payload_schema"]

_PAYLOADS: Final[dict[str, type[VersionedObject]]] = {
    kind.__name__: kind
    for kind in (
        InstanceActionVolumeSwapPayload,
        InstanceActionPayload,
        InstancePayload,
        FlavorPayload,
        ExceptionPayload,
        IpPayload,
        BlockDevicePayload,
        SharePayload,
    )
}
_TEXT: Final = {"type": "string"}
_NULL: Final = {"type": "null"}
_NEVER_NULL: Final = ("extra_specs", "projects")
"""Of a flavor 1.2: see `FlavorPayload.at_version`."""
_OURS: Final = ("default", "nova", "since", "title")
"""What pydantic and the models add that says nothing about the wire."""


@click.command("schema")
@click.option(
    "--payload", "name", type=click.Choice(list(_PAYLOADS)), default="InstanceActionVolumeSwapPayload", help="Of which payload."
)
@click.option("--pin", metavar="VERSION", help="Of which version of it; else the newest that is known.")
def command(name: str, pin: str | None) -> int:
    """Print the JSON Schema of a payload, as a notification holds it: with the keys that name its class and version.

    It is exact for that version: a field that is missing, or that the version does not have, is an error.
    """
    kind = _PAYLOADS[name]
    version = pin or kind.known_versions[-1]
    if version not in kind.known_versions:
        raise click.BadParameter(f"{name} has the versions {', '.join(kind.known_versions)}", param_hint="--pin")
    for line in json_line(payload_schema(kind, version), indent=2).splitlines():
        data(line)
    return 0


def payload_schema(kind: type[VersionedObject], version: str) -> dict[str, Any]:
    """Return the JSON Schema of a payload's wire form.

    Args:
        kind: the payload's class.
        version: one of its `known_versions`; the objects inside follow it.
    """
    definitions: dict[str, Any] = {}
    wrapper = _wrapper(kind, version, definitions)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{kind.__name__} {version}"}
    return {**head, **wrapper, **({"$defs": definitions} if definitions else {})}


def _wrapper(kind: type[VersionedObject], version: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the four keys and what they hold; those of the objects inside go into `definitions`."""
    told = kind.model_json_schema()
    versions = kind.known_versions
    fields: dict[str, Any] = {}
    for name, model_field in kind.model_fields.items():
        if versions.index(version) < versions.index(field_since(model_field)):
            continue
        schema = {key: value for key, value in told["properties"][name].items() if key not in _OURS}
        if (kind, version) == (FlavorPayload, "1.2") and name in _NEVER_NULL:
            schema = _without_null(schema)
        inner = kind.nested_classes.get(name)
        if inner is not None:
            inner_version = kind.nested_versions.get(name, {}).get(version, "1.0")
            definitions[inner.__name__] = _wrapper(inner, inner_version, definitions)
            schema = _referring(schema, inner)
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


def _referring(schema: Any, kind: type[VersionedObject]) -> Any:
    """Return `schema` with a reference in place of each object that is a wrapper."""
    if isinstance(schema, list):
        return [_referring(item, kind) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if f"{PREFIX}.data" in schema.get("properties", {}):
        kept = {key: value for key, value in schema.items() if key == "description"}
        return {**kept, "$ref": f"#/$defs/{kind.__name__}"}
    return {key: _referring(item, kind) for key, item in schema.items()}
