"""The public parser of AsyncAPI takes the document of every version, and would refuse a wrong one."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from aioswap import InstanceActionVolumeSwapPayload
from aioswap.wire.asyncapi import asyncapi
from tests.packages import apt_install

pytestmark = pytest.mark.interop

PARSER: Final = "@asyncapi/parser@3.6.3"
NO_NPM: Final = "this test needs node and npm: install the packages nodejs and npm, or run it as root where apt-get can"

_CHECK: Final = """
import { Parser } from "@asyncapi/parser";
import { readFileSync } from "node:fs";

const told = {};
for (const file of process.argv.slice(2)) {
    const { document, diagnostics } = await new Parser().parse(readFileSync(file, "utf8"));
    told[file] = {
        errors: diagnostics.filter((one) => one.severity === 0).map((one) => `${one.path.join(".")}: ${one.message}`),
        notes: diagnostics.filter((one) => one.severity > 0).map((one) => one.code),
        messages: document ? document.allMessages().all().map((one) => one.name()) : [],
        operations: document ? document.operations().all().map((one) => `${one.action()} ${one.id()}`) : [],
    };
}
console.log(JSON.stringify(told));
"""


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the parser and a script that asks it."""
    npm = shutil.which("npm")
    if npm is None and "CI" in os.environ and apt_install("nodejs", "npm"):
        npm = shutil.which("npm")
    if npm is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)(NO_NPM)
    folder = tmp_path_factory.mktemp("asyncapi")
    command = [
        npm,
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--prefix",
        str(folder),
        PARSER,
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=600, check=False)
    if done.returncode != 0:
        pytest.fail(f"npm cannot install {PARSER}: {done.stderr[-1000:]}")
    (folder / "check.mjs").write_text(_CHECK)
    return folder


def ask(parser: Path, *documents: dict[str, Any]) -> list[dict[str, list[str]]]:
    """Return what the parser says of each document."""
    files = []
    for number, document in enumerate(documents):
        files.append(str(parser / f"{number}.json"))
        Path(files[-1]).write_text(json.dumps(document))
    done = subprocess.run(
        ["node", str(parser / "check.mjs"), *files], capture_output=True, text=True, cwd=parser, timeout=100, check=False
    )

    assert 0 == done.returncode, done.stderr
    return list(json.loads(done.stdout).values())


def test_the_parser_takes_the_document_of_every_version(parser: Path) -> None:
    said = ask(parser, *(asyncapi(version) for version in InstanceActionVolumeSwapPayload.known_versions))

    assert [[]] * 10 == [each["errors"] for each in said]
    # it says that there is a newer AsyncAPI
    assert [["asyncapi-latest-version"]] * 10 == [each["notes"] for each in said]
    names = {f"instance.volume_swap.{phase}" for phase in ("start", "end", "error")}
    assert [names] * 10 == [set(each["messages"]) for each in said]
    assert ["send emit_info", "receive consume_info", "send emit_error", "receive consume_error"] == said[0]["operations"]


def _wrong(*path: str, value: object) -> dict[str, Any]:
    document = copy.deepcopy(asyncapi())
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document


def test_the_parser_refuses_what_is_wrong(parser: Path) -> None:
    said = ask(
        parser,
        _wrong("channels", "info", "bindings", "amqp", "is", value="tube"),
        _wrong("operations", "emit_info", "action", value="shout"),
        _wrong("components", "messages", "end", "payload", "properties", "oslo.version", value={"type": "nothing"}),
        _wrong("components", "schemas", "end_notification", "properties", "payload", "$ref", value="#/components/schemas/X"),
    )

    assert [] == [number for number, each in enumerate(said) if not each["errors"]]
