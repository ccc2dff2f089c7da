"""What a peer writes into its names steers no terminal, and forges no line, in any command."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aioswap.cli.app import run
from aioswap.cli.board import Filters
from aioswap.cli.output import FORMATS, Style, logs
from aioswap.cli.watch import watch
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.outbox_file import FileOutbox
from aioswap.tracker import SwapTracker
from aioswap.tracking.fields import FIELDS
from aioswap.transports.base import Message
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.envelope import encode
from aioswap.wire.notification import Notification
from tests.cli.bus import Bus
from tests.cli.running import in_terminal
from tests.cli.speech import say
from tests.cli.started import started
from tests.cli.test_status import in_history, in_recording
from tests.swap_kit import DAY, fault, swap_event
from tests.tracker_kit import Air, until

EVIL = "x\x1b]0;pwned\x07\x1b[2J\r\nforged: line\x9b31m\u202e\x7f\0"
COMMANDS = (["status"], ["stuck", "--older-than", "1s"], ["timings"])


def evil(phase: str, seconds: float = 0) -> Notification[Any]:
    """Return a notification of a swap whose every name steers a terminal."""
    names = {name: name[0] + EVIL for name in ("instance", "old", "new", "request_id", "global_request_id")}
    told = swap_event(phase, seconds, publisher=f"nova{EVIL}:host{EVIL}", message_id=f"{phase}{EVIL}", **names)  # type: ignore[arg-type]
    if phase == "error":
        told = replace(told, payload=told.payload.model_copy(update={"fault": fault(f"no {EVIL} way")}))
    return told


def harmless(*outputs: str) -> bool:
    """Say whether nothing but line ends is there to steer a terminal."""
    return all(char.isprintable() or char == "\n" for output in outputs for char in output)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kept", [in_history, in_recording])
@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_what_was_kept_is_escaped(
    arguments: list[str], kept: Any, format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = kept(tmp_path / "kept", (2 * DAY, evil("start")), (DAY, evil("error", DAY)), (9, swap_event("start", old=EVIL)))

    run([*arguments, *where, "-f", format])
    told = capsys.readouterr()

    assert told.out
    assert harmless(told.out, told.err)
    assert "forged" not in [line.partition(":")[0] for line in told.out.splitlines()]
    if format == "json":
        assert json.loads(told.out)
    elif format == "csv":
        assert 1 == len({len(row) for row in csv.reader(io.StringIO(told.out))})


def test_a_table_on_a_terminal_is_escaped(tmp_path: Path) -> None:
    told = in_terminal("status", *in_history(tmp_path / "kept", (9, evil("start")), (1, evil("error", 8))), columns=250)

    assert "forged" in told.out
    assert not {"\x07", "\r", "\x9b", "\u202e", "\x7f", "\0"} & set(told.out + told.err)
    assert "\x1b]" not in told.out
    assert "\x1b[2J" not in told.out


@pytest.mark.parametrize("format", FORMATS)
async def test_what_is_watched_is_escaped(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    air = Air()
    async with air.opened():
        tracker = SwapTracker(air.transport, clock=air.clock)
        task = asyncio.create_task(watch([], tracker, Filters(), None, 2, Style(format, FIELDS), air.clock))
        await until(lambda: air.queues() or task.done())
        await air.clock.advance(0)
        await air.say(evil("start"), evil("error", 1))
        await until(task.done)
    told = capsys.readouterr()

    assert harmless(told.out, told.err)
    assert "forged" in told.out


@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.parametrize("phase", ["start", "error"])
def test_what_is_validated_is_escaped(phase: str, more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "body"
    file.write_bytes(encode(evil(phase)))

    run(["validate", str(file), *more])
    told = capsys.readouterr()

    assert "forged" in told.out
    assert harmless(told.out, told.err)


_BODIES = (EVIL.encode(), json.dumps({EVIL: EVIL}).encode(), encode(replace(evil("end"), event_type=EVIL)))


@pytest.mark.parametrize("body", _BODIES)
def test_what_is_no_message_is_escaped(body: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / f"body{EVIL[:4]}"
    file.write_bytes(body)

    run(["validate", str(file)])
    run(["validate", str(tmp_path / "none\x1b[2J")])
    told = capsys.readouterr()

    assert told.out + told.err
    assert harmless(told.out, told.err)


@pytest.mark.parametrize("format", FORMATS)
async def test_what_an_outbox_holds_is_escaped(format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    topic = EVIL[:20]
    outbox = FileOutbox(tmp_path)
    transport = MemoryTransport()
    transport.lose()
    async with transport:
        emitter = Emitter(transport, host=f"h{EVIL}", outbox=outbox, topics=(topic,))
        await emitter.__aenter__()
        async with emitter.swapping(SwapRequest({"uuid": EVIL}, EVIL, EVIL)):
            pass
        await emitter._stop_relaying()
        await outbox.close()

    await asyncio.to_thread(run, ["outbox", "list", str(tmp_path), "-f", format])
    await asyncio.to_thread(run, ["outbox", "show", str(tmp_path), "-f", format])
    told = capsys.readouterr()

    assert told.out
    assert harmless(told.out, told.err)


def test_a_log_line_is_escaped_and_masked(capsys: pytest.CaptureFixture[str]) -> None:
    with logs():
        logging.getLogger("some.library").warning("it failed: %s password=sesame", EVIL)
        logging.getLogger("aiormq.connection").error("password=sesame")
    told = capsys.readouterr()

    assert 1 == len(told.err.splitlines())
    assert "password=***" in told.err
    assert harmless(told.err)
    assert "sesame" not in told.err


@pytest.mark.broker
def test_what_is_heard_of_a_broker_is_escaped(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()
    bus.bind(bus.info, bus.error)
    with started("wait", *bus.where, "--instance", f"i{EVIL}".replace("\0", ""), "--timeout", "30") as waiting:
        waiting.until_said("listening")
        say(bus, _without_zeros(evil("start")), _without_zeros(evil("error", 1)))
        waited = waiting.ended()
    message = Message(routing_key=bus.info, body=EVIL.encode(), message_id=EVIL[:40], headers={EVIL: EVIL})
    bus.publish(message)
    capsys.readouterr()

    assert 1 == waited.code
    assert harmless(waited.out, waited.err)


def _without_zeros(notification: Notification[Any]) -> Notification[Any]:
    """Return it without NUL: no argument of a command can hold one."""
    payload = notification.payload
    return replace(notification, payload=payload.model_copy(update={"uuid": payload.uuid.replace("\0", "")}))
