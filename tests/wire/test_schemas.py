"""What real novas sent is valid, and little else is."""

from __future__ import annotations

import copy
import functools
import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]

from aioswap import InstanceActionVolumeSwapPayload
from aioswap.wire.faults import fault_payload
from aioswap.wire.instances import swap_payload
from aioswap.wire.payloads import FlavorPayload
from aioswap.wire.schemas import payload_definitions, payload_schema
from tests.capture import Capture, capture, captures

_VERSIONS = InstanceActionVolumeSwapPayload.known_versions


@functools.cache
def _validator(version: str) -> Draft202012Validator:
    schema = payload_schema(InstanceActionVolumeSwapPayload, version)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


def _faults(payload: dict[str, Any]) -> list[str]:
    return [error.json_path for error in _validator(payload["nova_object.version"]).iter_errors(payload)]


@pytest.mark.parametrize("found", captures("instance.volume_swap"), ids=lambda found: found.name)
def test_what_a_real_nova_sent_is_valid(found: Capture) -> None:
    assert [] == _faults(found.message["payload"])


@pytest.mark.parametrize("version", _VERSIONS)
def test_what_aioswap_emits_is_valid_in_every_version(version: str) -> None:
    instance = {
        "uuid": "1",
        "flavor": {"flavorid": "1", "extra_specs": {"a": "b"}},
        "ip_addresses": [{"address": "10.0.0.1", "label": "n", "mac": "m", "version": 4}],
        "block_devices": [{"volume_id": "v"}],
        "shares": [{"share_mapping_uuid": "m", "share_id": "s", "status": "active"}],
    }
    for fault in (None, fault_payload(ValueError("no"))):
        assert [] == _faults(swap_payload(instance, "o", "n", fault=fault, version=version).to_wire())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("nova_object.name",), "AnotherPayload"),
        (("nova_object.namespace",), "cinder"),
        (("more",), 1),
        (("nova_object.data", "uuid"), None),
        (("nova_object.data", "uuid"), 7),
        (("nova_object.data", "more"), 1),
        (("nova_object.data", "created_at"), 7),
        (("nova_object.data", "flavor", "nova_object.version"), "1.3"),
        (("nova_object.data", "flavor", "nova_object.data", "vcpus"), "1"),
        (("nova_object.data", "fault", "nova_object.data"), {}),
        (("nova_object.data", "flavor"), None),
        (("nova_object.data", "ip_addresses"), [{}]),
    ],
)
def test_what_is_wrong_is_found(path: tuple[str, ...], value: object) -> None:
    payload = copy.deepcopy(capture("nova34-v2-full__instance.volume_swap.error").message["payload"])
    inner = payload
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value

    assert [] != _faults(payload)


@pytest.mark.parametrize("name", ["uuid", "old_volume_id", "fault", "locked", "shares", "request_id"])
def test_a_field_that_is_missing_is_found(name: str) -> None:
    payload = copy.deepcopy(capture("nova34-v2-full__instance.volume_swap.error").message["payload"])
    del payload["nova_object.data"][name]

    assert [] != _faults(payload)


def test_a_field_newer_than_the_version_is_found() -> None:
    payload = swap_payload({"uuid": "1"}, "o", "n", version="1.8").to_wire()
    payload["nova_object.data"]["shares"] = None

    assert ["$['nova_object.data']"] == _faults(payload)


def test_nothing_in_a_flavor_is_null_before_1_3() -> None:
    old, new = (payload_schema(FlavorPayload, version)["properties"]["nova_object.data"] for version in ("1.2", "1.3"))

    assert ("object", "array") == (old["properties"]["extra_specs"]["type"], old["properties"]["projects"]["type"])
    assert {"type": "null"} in new["properties"]["extra_specs"]["anyOf"]


def test_references_stand_where_they_are_said_to() -> None:
    definitions = payload_definitions(InstanceActionVolumeSwapPayload, "1.9", "#/elsewhere/")
    text = json.dumps(definitions)

    assert {"FlavorPayload", "ExceptionPayload", "IpPayload", "BlockDevicePayload", "SharePayload"} == {
        each.removeprefix("#/elsewhere/") for each in re.findall(r'"\$ref": "([^"]*)"', text)
    }
    assert {InstanceActionVolumeSwapPayload.__name__} == definitions.keys() - set(re.findall(r'/(\w+)"', text))


@pytest.mark.parametrize(
    ("version", "flavor", "fault"),
    [("1.0", "1.0", "1.0"), ("1.1", "1.2", "1.0"), ("1.4", "1.3", "1.0"), ("1.5", "1.4", "1.0"), ("1.9", "1.4", "1.1")],
)
def test_what_is_inside_follows_the_version(version: str, flavor: str, fault: str) -> None:
    inside = payload_schema(InstanceActionVolumeSwapPayload, version)["$defs"]

    assert (flavor, fault) == tuple(
        inside[name]["properties"]["nova_object.version"]["const"] for name in ("FlavorPayload", "ExceptionPayload")
    )


def test_real_novas_of_several_versions_are_among_the_captures() -> None:
    versions = {found.message["payload"]["nova_object.version"] for found in captures("instance.volume_swap")}

    assert {"1.7", "1.8", "1.9"} <= versions
