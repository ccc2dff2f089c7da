"""`aioswap schema`: what real novas sent is valid, and little else is."""

from __future__ import annotations

import copy
import functools
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]

from aioswap import InstanceActionVolumeSwapPayload
from aioswap.cli.app import run
from aioswap.cli.schema import payload_schema
from aioswap.wire.faults import fault_payload
from aioswap.wire.instances import swap_payload
from aioswap.wire.payloads import FlavorPayload
from tests.capture import Capture, capture, captures
from tests.cli.running import in_pipe, in_terminal

_VERSIONS = InstanceActionVolumeSwapPayload.known_versions
_NAMES = ["FlavorPayload", "ExceptionPayload", "InstancePayload", "InstanceActionPayload", "IpPayload", "SharePayload"]


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


def test_it_is_printed_for_the_newest_version(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["schema"])
    schema = json.loads(capsys.readouterr().out)

    assert (0, payload_schema(InstanceActionVolumeSwapPayload, "1.9")) == (code, schema)
    assert "https://json-schema.org/draft/2020-12/schema" == schema["$schema"]
    assert {"FlavorPayload", "ExceptionPayload", "IpPayload", "BlockDevicePayload", "SharePayload"} == schema["$defs"].keys()


def test_it_is_printed_for_the_pinned_version(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["schema", "--pin", "1.0"])
    schema = json.loads(capsys.readouterr().out)

    assert (0, "1.0") == (code, schema["properties"]["nova_object.version"]["const"])
    assert {"FlavorPayload", "ExceptionPayload", "IpPayload"} == schema["$defs"].keys()


@pytest.mark.parametrize("name", _NAMES)
def test_each_payload_has_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["schema", "--payload", name])

    schema = json.loads(capsys.readouterr().out)
    Draft202012Validator.check_schema(schema)

    assert name == schema["properties"]["nova_object.name"]["const"]


@pytest.mark.parametrize("arguments", [["--pin", "2.0"], ["--payload", "Nothing"], ["--payload", "IpPayload", "--pin", "1.9"]])
def test_what_is_not_known_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["schema", *arguments])

    assert (2, "") == (code, capsys.readouterr().out)


def test_it_is_the_same_in_a_pipe_and_in_a_terminal() -> None:
    piped, shown = in_pipe("schema"), in_terminal("schema")

    assert (0, "", piped.out) == (shown.code, shown.err, shown.out)
