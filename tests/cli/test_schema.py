"""`aioswap schema`: what it prints."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from aioswap import InstanceActionVolumeSwapPayload
from aioswap.cli.app import run
from aioswap.wire.asyncapi import asyncapi
from aioswap.wire.schemas import payload_schema
from tests.cli.running import in_pipe, in_terminal

_NAMES = ["FlavorPayload", "ExceptionPayload", "InstancePayload", "InstanceActionPayload", "IpPayload", "SharePayload"]


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


@pytest.mark.parametrize(
    "arguments",
    [
        ["--pin", "2.0"],
        ["--payload", "Nothing"],
        ["--payload", "IpPayload", "--pin", "1.9"],
        ["--asyncapi", "--pin", "2.0"],
        ["--asyncapi", "--payload", "IpPayload"],
    ],
    ids=" ".join,
)
def test_what_is_not_known_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["schema", *arguments])

    assert (2, "") == (code, capsys.readouterr().out)


@pytest.mark.parametrize(("arguments", "version"), [([], "1.9"), (["--pin", "1.0"], "1.0")], ids=["newest", "pinned"])
def test_the_asyncapi_document_is_printed(arguments: list[str], version: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["schema", "--asyncapi", *arguments])

    assert (0, asyncapi(version)) == (code, json.loads(capsys.readouterr().out))


def test_it_is_the_same_in_a_pipe_and_in_a_terminal() -> None:
    piped, shown = in_pipe("schema"), in_terminal("schema")

    assert (0, "", piped.out) == (shown.code, shown.err, shown.out)
