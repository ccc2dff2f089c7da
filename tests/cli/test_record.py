"""`aioswap record`: what is written, where, for whom to read, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aioswap.cli.app import run
from aioswap.cli.record import Recorder, code_of
from aioswap.clock import Clock
from aioswap.recording import Recorded, read_line
from aioswap.testing import ManualClock
from aioswap.transports.base import Message, Sender
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.envelope import decode
from aioswap.wire.events import event_pattern
from tests.capture import capture
from tests.cli.bus import Bus
from tests.cli.running import Ended, environment, in_pipe, in_terminal

_SWAP = capture("nova34-v2-full__instance.volume_swap.error")
_OTHER = capture("nova34-others__service.update")
_SECRET = json.dumps({"event_type": "a.b", "_context_auth_token": "gAAAAsecret"}).encode()


def _lines(path: Path) -> list[Recorded]:
    return [read_line(line) for line in path.read_bytes().splitlines()]


def _emit_until_heard(bus: Bus) -> None:
    """Emit until somebody gets it: its queue is bound then. What is returned before, nobody gets."""
    while run(["emit", "start", *bus.where]) == 1:
        pass


def _while(recording: Callable[[], Ended | int], acting: Callable[[], None]) -> Ended | int:
    with ThreadPoolExecutor(1) as pool:
        future: Future[Ended | int] = pool.submit(recording)
        acting()
        return future.result()


@pytest.mark.broker
def test_what_is_heard_is_written_for_its_owner_alone(bus: Bus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()
    path = tmp_path / "swaps.jsonl"

    code = _while(lambda: run(["record", str(path), *bus.where, "--count", "1"]), lambda: _emit_until_heard(bus))
    (recorded,) = _lines(path)
    notification = decode(recorded.body)

    assert (0, 0o600) == (code, stat.S_IMODE(path.stat().st_mode))
    assert (bus.exchange, bus.info) == (recorded.exchange, recorded.routing_key)
    assert "application/json" == recorded.properties["content_type"]
    assert ("instance.volume_swap.start", notification.unique_id) == (notification.event_type, recorded.message_id)
    assert "1 messages recorded\n" in capsys.readouterr().err


@pytest.mark.broker
def test_nothing_is_taken_from_anybody(bus: Bus, tmp_path: Path) -> None:
    bus.declare()
    bus.bind(bus.info)
    path = tmp_path / "swaps.jsonl"

    def emit() -> None:
        while not (path.exists() and path.stat().st_size):
            run(["emit", "start", *bus.where])

    _while(lambda: run(["record", str(path), *bus.where, "--count", "1"]), emit)
    (recorded,) = _lines(path)

    assert recorded.message_id in [delivery.message_id for delivery in bus.take(bus.info)]


@pytest.mark.broker
@pytest.mark.parametrize("form", [in_pipe, in_terminal], ids=["pipe", "terminal"])
def test_stdout_is_a_file_too(form: Callable[..., Ended], bus: Bus) -> None:
    bus.declare()

    ended = _while(lambda: form("record", "-", *bus.where, "--count", "1"), lambda: _emit_until_heard(bus))

    assert isinstance(ended, Ended)
    assert (0, bus.info) == (ended.code, read_line(ended.out.strip()).routing_key)
    assert f"recording {bus.topic}\n1 messages recorded\n" == ended.err


@pytest.mark.broker
def test_lines_on_stdout_are_data(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()

    def emit() -> None:
        while run(["emit", "start", *bus.where, "-f", "value", "-c", "outcome"]) == 1:
            pass

    code = _while(lambda: run(["record", "-", *bus.where, "--count", "1"]), emit)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]

    assert (0, [bus.info]) == (code, [read_line(line).routing_key for line in lines])


def _started(*arguments: str) -> subprocess.Popen[str]:
    """Start to record, and return when the queue is bound."""
    command = [sys.executable, "-m", "aioswap", "record", *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True)
    assert running.stderr is not None
    assert running.stderr.readline().startswith("recording ")
    return running


@pytest.mark.broker
def test_an_interrupt_is_quiet_and_130(bus: Bus, tmp_path: Path) -> None:
    bus.declare()
    path = tmp_path / "swaps.jsonl"
    with _started(str(path), *bus.where) as running:
        _emit_until_heard(bus)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate()

    assert (130, "", "") == (running.returncode, out, err)


@pytest.mark.broker
def test_a_broken_pipe_is_quiet_and_fine(bus: Bus) -> None:
    bus.declare()
    with _started("-", *bus.where) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        _emit_until_heard(bus)
        err = running.stderr.read()

    assert (0, "") == (running.returncode, err)


@pytest.mark.broker
def test_nothing_heard_is_5(bus: Bus, tmp_path: Path) -> None:
    bus.declare()
    path = tmp_path / "swaps.jsonl"

    code = run(["record", str(path), *bus.where, "--seconds", "0.1", "--count", "1"])

    assert (5, b"") == (code, path.read_bytes())


@pytest.mark.parametrize(("recorded", "wanted", "code"), [(0, None, 0), (2, None, 0), (2, 2, 0), (1, 2, 3), (0, 2, 5)])
def test_too_few_are_3_and_none_5(recorded: int, wanted: int | None, code: int) -> None:
    assert code == code_of(recorded, wanted)


@pytest.mark.broker
def test_a_refused_login_is_4_and_leaves_no_file(bus: Bus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "swaps.jsonl"

    code = run(["record", str(path), "--url", bus.url.replace("guest@", "wrong@"), "--exchange", bus.exchange])

    assert (4, False) == (code, path.exists())
    assert "correct the user and the password" in capsys.readouterr().err


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "swaps.jsonl"
    path.write_text("kept")

    code = run(["record", str(path), "--url", "amqp://a/"])

    assert (2, "kept") == (code, path.read_text())
    assert "--append" in capsys.readouterr().err


@pytest.mark.broker
def test_on_request_it_is_added_to(bus: Bus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()
    path = tmp_path / "swaps.jsonl"
    path.write_text("whole\ntorn")
    path.chmod(0o644)

    _while(lambda: run(["record", str(path), *bus.where, "--count", "1", "--append"]), lambda: _emit_until_heard(bus))
    lines = path.read_bytes().splitlines()

    assert [b"whole", b"torn"] == lines[:2]
    assert bus.info == read_line(lines[2]).routing_key
    assert f"others may read {path}: chmod 600" in capsys.readouterr().err


@pytest.mark.broker
def test_a_full_disk_is_1(bus: Bus) -> None:
    bus.declare()

    ended = _while(lambda: in_pipe("record", "/dev/full", *bus.where, "--append"), lambda: _emit_until_heard(bus))

    assert isinstance(ended, Ended)
    assert (1, "") == (ended.code, ended.out)
    assert "aioswap: [Errno 28] No space left on device\n" in ended.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["x", "--pattern", "a..b"], "--pattern"),
        (["x", "--count", "0"], "--count"),
        (["x", "--seconds", "0"], "--seconds"),
        ([], "FILE"),
    ],
)
def test_misuse_is_2(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["record", *arguments, "--url", "amqp://a/"])
    told = capsys.readouterr()

    assert (2, "") == (code, told.out)
    assert reason in told.err


class _Recording:
    """A recorder that runs on the memory transport, and what it has written."""

    def __init__(self, recorder: Recorder, clock: ManualClock, senders: list[Sender]) -> None:
        self.recorder = recorder
        self.clock = clock
        self.senders = senders
        self.lines: list[str] = []

    @property
    def event_types(self) -> list[str]:
        return [decode(read_line(line).body).event_type for line in self.lines]

    def write(self, lines: Sequence[str]) -> None:
        self.lines += lines

    async def send(self, *bodies: bytes, to: int = 0, headers: dict[str, Any] | None = None) -> None:
        sender = self.senders[to]
        for number, body in enumerate(bodies):
            message = Message(routing_key="t.info", body=body, message_id=str(number), headers=headers or {})
            await sender.send(message)


@asynccontextmanager
async def _recording(patterns: Sequence[str] = ("#",), *, raw: bool = False, limit: int | None = None, brokers: int = 1) -> Any:
    clock = ManualClock()
    transports = [MemoryTransport(clock=clock) for _ in range(brokers)]
    recorder = Recorder([event_pattern(pattern) for pattern in patterns], raw=raw, limit=limit, clock=clock)
    recording = _Recording(recorder, clock, [])
    opened = asyncio.Event()

    def opening() -> Callable[[Sequence[str]], None]:
        opened.set()
        return recording.write

    task = asyncio.create_task(recorder.run(transports, ("t",), 60.0, opening))
    await opened.wait()
    async with AsyncExitStack() as stack:
        for transport in transports:
            recording.senders.append(await stack.enter_async_context(transport.sender("test")))
        yield recording
        await clock.advance(61.0)
        await asyncio.wait_for(task, 10)


async def test_only_what_matches_a_pattern_is_recorded() -> None:
    async with _recording(["instance.#", "compute.*"]) as recording:
        await recording.send(_SWAP.body, _OTHER.body, _SECRET, b'{"event_type": "a.b", "more": "instance.compute."}')

    assert ["instance.volume_swap.error"] == recording.event_types
    assert (1, 0) == (recording.recorder.count, recording.recorder.left_out)


async def test_secrets_are_left_out_unless_raw() -> None:
    async with _recording() as recording:
        await recording.send(_SECRET)
    async with _recording(raw=True) as raw:
        await raw.send(_SECRET)

    assert "secret" not in recording.lines[0]
    assert "secret" in raw.lines[0]
    assert _SECRET == read_line(raw.lines[0]).body


async def test_what_cannot_be_read_is_recorded_raw_only() -> None:
    for raw, expected in ((False, (0, 2)), (True, (2, 0))):
        async with _recording(raw=raw) as recording:
            await recording.send(b"torn")
            await recording.send(b"x", headers={"compression": "gzip"})

        assert expected == (recording.recorder.count, recording.recorder.left_out)


async def test_what_cannot_be_read_matches_no_other_pattern() -> None:
    async with _recording(["a.#"], raw=True) as recording:
        await recording.send(b"x", headers={"compression": "gzip"})

    assert (0, 1) == (recording.recorder.count, recording.recorder.left_out)


async def test_it_ends_with_the_limit_and_writes_no_more() -> None:
    async with _recording(limit=2) as recording:
        await recording.send(_OTHER.body, _OTHER.body, _OTHER.body)

    assert 2 == len(recording.lines)


async def test_several_brokers_are_heard() -> None:
    async with _recording(brokers=2) as recording:
        await recording.send(_SWAP.body, to=1)
        await recording.send(_OTHER.body, to=0)

    assert sorted([_SWAP.event_type, _OTHER.event_type]) == sorted(recording.event_types)


async def test_it_tells_when_a_message_came() -> None:
    async with _recording() as recording:
        await recording.clock.advance(30.0)
        await recording.send(_OTHER.body)

    assert 30.0 == (read_line(recording.lines[0]).received - ManualClock().utcnow()).total_seconds()


async def test_what_cannot_be_written_ends_it() -> None:
    transport, clock = MemoryTransport(), Clock()
    recorder = Recorder([event_pattern("#")], raw=False, limit=None, clock=clock)

    def full(lines: Sequence[str]) -> None:
        raise OSError("full")

    opened = asyncio.Event()

    def opening() -> Callable[[Sequence[str]], None]:
        opened.set()
        return full

    task = asyncio.create_task(recorder.run([transport], ("t",), None, opening))
    await opened.wait()
    async with transport.sender("test") as sender:
        sender.send(Message(routing_key="t.info", body=_OTHER.body, message_id="1"))

        with pytest.raises(OSError, match="full"):
            await task


def test_the_environment_of_a_process_is_ours() -> None:
    assert not any(name.startswith("AIOSWAP_") for name in environment())
    assert os.environ["PATH"] == environment()["PATH"]
