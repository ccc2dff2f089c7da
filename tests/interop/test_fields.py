"""The payload classes compared with those of the Nova that is installed, field by field."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from aioswap.wire import payloads
from aioswap.wire.events import volume_swap
from aioswap.wire.field_docs import field_docs
from aioswap.wire.notification import Priority
from tests.interop.peers import Peer

pytestmark = pytest.mark.interop

CLASSES: Final = tuple(name for name in payloads.__all__ if name.endswith("Payload"))

ALLOWED: Final = {
    ("UUID", "String"): "Nova's UUIDField only warns of other text, and keeps case and dashes: an id is text as it came",
    (
        "MACAddress",
        "String",
    ): "a text on the wire, which Nova has checked when it was emitted; nothing is gained by refusing it",
    ("IPV4AndV6Address", "String"): "a text on the wire; Python's ipaddress would write some addresses in another form",
    ("Float", "Integer|Float"): "a number as it came, so that `1` is not written back as `1.0`",
    ("enumeration", "String"): "newer novas add values without a new version of the payload: enumerations are open",
}
"""(what Nova's field is, what aioswap's is) -> why they may differ. Names, order and nullability may not."""

_WORDS: Final = {str: "String", int: "Integer", float: "Float", bool: "Boolean", datetime: "DateTime"}


def kind(annotation: Any) -> str:
    """Return what a field holds, in the words of `nova_fields`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (UnionType, Union):
        return "|".join(kind(argument) for argument in arguments if argument is not type(None))
    if origin in (list, dict):
        return f"{origin.__name__} of {kind(arguments[-1])}"
    if hasattr(annotation, "__metadata__"):
        return kind(annotation.__origin__)
    return _WORDS.get(annotation) or str(annotation.__name__)


def nullable(field: FieldInfo) -> bool:
    return type(None) in get_args(field.annotation)


@pytest.fixture
async def nova(tmp_path: Path) -> Any:
    """What Nova's classes are."""
    async with Peer("nova_fields", errors=tmp_path / "errors") as peer:
        return peer.ready


async def test_the_fields_are_novas(nova: Any) -> None:
    used = set()
    differences = []
    for name in CLASSES:
        ours = getattr(payloads, name)
        theirs = nova["classes"][name]
        if ours.known_versions[-1] != theirs["version"]:
            differences.append(f"{name} {ours.known_versions[-1]}: Nova's is {theirs['version']}")
        if list(ours.model_fields) != [field["name"] for field in theirs["fields"]]:
            differences.append(f"{name}: {list(ours.model_fields)}: Nova's are {[field['name'] for field in theirs['fields']]}")
        for field in theirs["fields"]:
            our = ours.model_fields[field["name"]]
            pair = field["kind"], kind(our.annotation)
            if pair in ALLOWED:
                used.add(pair)
            elif pair[0] != pair[1]:
                differences.append(f"{name}.{field['name']} is {pair[1]}: Nova's is {pair[0]}")
            if nullable(our) != field["nullable"]:
                differences.append(f"{name}.{field['name']} is {'' if nullable(our) else 'not '}nullable: Nova's is otherwise")

    assert [] == differences
    assert set(ALLOWED) == used, "a difference is allowed that there is not"


async def test_the_documented_values_are_novas(nova: Any) -> None:
    theirs = {field["name"]: field["values"] for field in nova["classes"]["InstancePayload"]["fields"] if field["values"]}
    theirs["status"] = nova["share_statuses"]
    documented = {**field_docs(payloads.InstancePayload), "status": field_docs(payloads.SharePayload)["status"]}
    differences = []
    for name, values in theirs.items():
        description = documented.get(name, "")
        seen = re.search(r"Seen: ([^.]*)\.", description)
        if seen is not None and set(re.split(r",\s+", seen[1])) != set(values):
            differences.append(f"{name}: {description!r}: Nova's are {values}")

    assert [] == differences


async def test_the_event_types_are_novas(nova: Any) -> None:
    told = {event_type.name: event_type.phase for event_type in (volume_swap.start, volume_swap.end, volume_swap.error)}

    assert {f"instance.{nova['action']}.{phase}": phase for phase in nova["phases"] if phase != "progress"} == told
    assert {priority.upper() for priority in nova["priorities"]} == {priority.value for priority in Priority}
    assert nova["source"] == "nova-compute"
