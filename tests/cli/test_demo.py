"""`aioswap demo`: swaps that pretend, and captured messages played again."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from aioswap import Emitter, MemoryTransport, SwapRequest
from aioswap.cli.app import run
from aioswap.cli.captures import read_capture
from aioswap.cli.demo import play
from aioswap.testing import ManualClock

_SAMPLES = Path(__file__).parents[1] / "samples"
_SWAPS = len(list(_SAMPLES.glob("*volume_swap*.json")))
_ALL = len(list(_SAMPLES.glob("*.json")))


def test_every_swap_is_told_and_heard(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["demo"])
    told = capsys.readouterr().out
    phases = re.findall(r"^instance\.volume_swap\.(\w+) +demo-\w{6}  \w{8}  \w{8} -> \w{8}", told, re.MULTILINE)

    assert 0 == code
    assert {"start": 5, "end": 3, "error": 2} == {phase: phases.count(phase) for phase in phases}


def test_the_table_tells_how_each_swap_ended(capsys: pytest.CaptureFixture[str]) -> None:
    run(["demo"])
    told = capsys.readouterr().out
    rows = told[told.index("instance  ") :].splitlines()[1:]

    assert 3 == sum(bool(re.fullmatch(r"\w{8}  \w{8}    \w{8}    succeeded  \d+\.\d\d s", row)) for row in rows)
    assert 1 == sum("failed" in row and "OSError: [Errno 28] No space left on device" in row for row in rows)
    assert 1 == sum("failed" in row and "CancelledError" in row for row in rows)
    assert 5 == len(rows)


async def test_what_is_not_heard_is_said_and_1(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock()
    transport = MemoryTransport(clock=clock)
    transport.block()

    playing = asyncio.create_task(play(transport, clock))
    while not playing.done():
        await clock.advance(5.0)

    assert 1 == await playing
    assert 10 == capsys.readouterr().err.count("aioswap: not heard: instance.volume_swap.")


async def test_what_others_tell_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock()
    transport = MemoryTransport(clock=clock)

    playing = asyncio.create_task(play(transport, clock))
    await clock.advance(0.1)
    async with Emitter(transport, host="elsewhere", clock=clock) as other, other.swapping(SwapRequest({"uuid": "1"}, "a", "b")):
        pass
    while not playing.done():
        await clock.advance(0.1)

    assert 0 == await playing
    assert "elsewhere" not in capsys.readouterr().out


@pytest.mark.broker
def test_it_runs_on_rabbitmq_too(amqp_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["demo", "--url", amqp_url])

    assert 0 == code
    assert 10 == len(re.findall(r"^instance\.volume_swap\.", capsys.readouterr().out, re.MULTILINE))


def test_a_wrong_url_is_misuse_and_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["demo", "--url", "http://user:secret@host/"])
    told = capsys.readouterr()

    assert (2, "") == (code, told.out)
    assert "--url" in told.err
    assert "secret" not in told.err


def test_captured_messages_are_typed_or_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["demo", "--replay", str(_SAMPLES)])
    told = capsys.readouterr().out.splitlines()

    assert 0 == code
    assert _SWAPS == sum(
        line.startswith("instance.volume_swap.") and "InstanceActionVolumeSwapPayload" in line for line in told
    )
    assert f"{_ALL} messages: {_SWAPS} handled typed, {_ALL - _SWAPS} skipped, 0 unreadable" == told[-1]


def test_a_message_played_twice_is_heard_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.json", "b.json"):
        shutil.copy(_SAMPLES / "nova34-v2-gzip__instance.volume_swap.end.json", tmp_path / name)

    code = run(["demo", "--replay", str(tmp_path)])

    assert 0 == code
    assert capsys.readouterr().out.endswith("2 messages: 1 handled typed, 0 skipped, 1 heard twice, 0 unreadable\n")


def test_an_unreadable_message_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads((_SAMPLES / "nova34-v2-default__instance.volume_swap.end.json").read_text())
    (tmp_path / "torn.json").write_text(json.dumps(told | {"body": told["body"][:-100]}))

    code = run(["demo", "--replay", str(tmp_path)])

    assert 1 == code
    assert capsys.readouterr().out.endswith("1 messages: 0 handled typed, 0 skipped, 1 unreadable\n")


def test_a_file_that_is_no_captured_message_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(_SAMPLES / "nova34-v2-default__instance.volume_swap.end.json", tmp_path)
    (tmp_path / "odd.json").write_text("{}")

    code = run(["demo", "--replay", str(tmp_path)])
    told = capsys.readouterr()

    assert 1 == code
    assert "1 messages: 1 handled typed" in told.out
    assert "odd.json: no captured message: it has no object delivery" in told.err


def test_a_folder_without_captured_messages_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["demo", "--replay", str(tmp_path)])

    assert (1, "") == (code, capsys.readouterr().out)


@pytest.mark.parametrize("arguments", [["--replay", "/no/such/folder"], ["--replay", str(_SAMPLES), "--url", "amqp://host/"]])
def test_misuse_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == run(["demo", *arguments])
    assert "Usage: " in capsys.readouterr().err


def test_a_captured_message_keeps_what_it_came_with(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(
        json.dumps(
            {
                "body_base64": "AAEC",
                "headers": {"compression": "application/x-gzip"},
                "properties": {"delivery_mode": 2, "message_id": "7"},
                "delivery": {"exchange": "nova", "routing_key": "a.info"},
            }
        )
    )

    message = read_capture(path)

    assert ("a.info", b"\0\1\2", "7") == (message.routing_key, message.body, message.message_id)
    assert {"compression": "application/x-gzip"} == message.headers
    assert {"delivery_mode": 2} == message.properties


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "it is no JSON object"),
        ("torn", "it is no JSON"),
        ('{"delivery": {}}', "it has no object properties"),
        ('{"properties": {}, "delivery": {}, "headers": {}}', "it has no text exchange"),
        ('{"properties": {}, "delivery": {"exchange": "", "routing_key": "a.info"}, "headers": {}}', "it has no text body"),
        ('{"properties": {}, "delivery": {"exchange": "", "routing_key": "a"}, "headers": {}, "body_base64": "A"}', "base64"),
    ],
)
def test_what_is_missing_in_a_captured_message_is_said(content: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(content)

    with pytest.raises(ValueError, match=reason):
        read_capture(path)
