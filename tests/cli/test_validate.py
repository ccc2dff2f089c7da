"""`aioswap validate`: what a message is, or what is wrong with it and where."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aioswap import decode
from aioswap.cli.app import run

_SAMPLES = Path(__file__).parents[1] / "samples"


def _body(name: str) -> str:
    body: str = json.loads((_SAMPLES / f"{name}.json").read_text())["body"]
    return body


def _inner(name: str) -> dict[str, Any]:
    inner: dict[str, Any] = json.loads(json.loads(_body(name))["oslo.message"])
    return inner


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "body.json"


_SWAP = "nova34-v2-full__instance.volume_swap.error"


def test_a_swap_is_described(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(_body(_SWAP))
    notification = decode(_body(_SWAP))

    code = run(["validate", str(file)])
    told = capsys.readouterr()

    assert (0, "") == (code, told.err)
    assert [
        "instance.volume_swap.error: InstanceActionVolumeSwapPayload 1.9",
        f"  ERROR from {notification.publisher_id} at {notification.timestamp.isoformat()}",
        f"  message {notification.message_id}",
    ] == told.out.splitlines()[:3]
    assert told.out.splitlines()[3].endswith(" fields known, 0 unknown")


def test_unknown_fields_are_named_with_their_place(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = _inner(_SWAP)
    fields = inner["payload"]["nova_object.data"]
    fields["colour\x1b"] = "blue"
    fields["flavor"]["nova_object.data"]["taste"] = "sweet"
    fields["block_devices"][0]["nova_object.data"]["shape"] = "round"
    file.write_text(json.dumps(inner))

    code = run(["validate", str(file)])

    assert 0 == code
    assert "3 unknown: colour\\x1b, flavor.taste, block_devices.0.shape" in capsys.readouterr().out


def test_a_payload_without_a_class_is_told_as_such(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(_body("nova34-others__flavor.create"))

    code = run(["validate", str(file)])

    assert 0 == code
    assert "flavor.create: FlavorPayload 1.4, which aioswap has no class for\n" in capsys.readouterr().out


def test_a_plain_payload_is_told_as_such(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(json.dumps(_inner(_SWAP) | {"payload": {"a": 1}, "event_type": "volume.create.end"}))

    code = run(["validate", str(file)])

    assert 0 == code
    assert "volume.create.end: plain JSON, no versioned object\n" in capsys.readouterr().out


def test_what_is_wrong_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = _inner(_SWAP)
    del inner["payload"]["nova_object.data"]["old_volume_id"]
    file.write_text(json.dumps(inner))

    code = run(["validate", str(file)])
    told = capsys.readouterr()

    assert (1, "") == (code, told.err)
    assert told.out.startswith("DecodeError: ")
    assert "old_volume_id" in told.out


def test_another_major_version_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = _inner(_SWAP)
    inner["payload"]["nova_object.version"] = "2.0"
    file.write_text(json.dumps(inner))

    code = run(["validate", str(file)])

    assert (1, True) == (code, capsys.readouterr().out.startswith("UnsupportedVersion: "))


def test_json_lines_are_told_by_their_numbers(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(f"{_body(_SWAP)}\n\n{{}}\n{_body(_SWAP)}\n")

    code = run(["validate", str(file)])
    headings = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("  ")]

    assert 1 == code
    assert ["line 1: instance.volume_swap.error:", "line 3: DecodeError:", "line 4: instance.volume_swap.error:"] == [
        " ".join(line.split()[:3]) for line in headings
    ]


def test_a_body_may_span_lines(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(json.dumps(_inner(_SWAP), indent=2))

    code = run(["validate", str(file)])

    assert (0, True) == (code, capsys.readouterr().out.startswith("instance.volume_swap.error: "))


def test_stdin_is_a_file_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aioswap", "validate", "-"], input=_body(_SWAP), capture_output=True, text=True, check=False
    )

    assert (0, True) == (done.returncode, done.stdout.startswith("instance.volume_swap.error: "))


def test_json_is_the_notification_without_its_context(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(f"{_body(_SWAP)}\n{{}}\n")
    inner = _inner(_SWAP)

    code = run(["validate", "--json", str(file)])
    told = capsys.readouterr()

    assert 1 == code
    assert {key: value for key, value in inner.items() if not key.startswith("_context_")} == json.loads(told.out)
    assert told.err.startswith("line 2: DecodeError: ")


def test_nothing_is_not_valid(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("\n")

    assert 1 == run(["validate", str(file)])
    assert "nothing to validate" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.symlink_to("/proc/self/mem")

    assert 1 == run(["validate", str(file)])
    assert "Could not open file" in capsys.readouterr().err
