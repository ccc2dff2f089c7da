"""What is told of swaps whose process was killed: real processes, real files."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.outbox_file import FileOutbox
from aioswap.testing import ManualClock
from aioswap.transports.base import Subscription
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.envelope import decode, encode
from aioswap.wire.notification import Notification
from tests.bus import DEADLINE
from tests.outbox_kit import each, file_outbox, files, relayed
from tests.swap_kit import exception

ROOT = Path(__file__).parents[1]


@contextmanager
def service(folder: Path, how: str, lines: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A process that swaps, once it has written so many lines; it is killed at the end, if not before."""
    command = [sys.executable, "-m", "tests.outbox_process", str(folder), how]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for _ in range(lines):
                assert process.stdout.readline()
            yield process
        finally:
            process.kill()


def kill(folder: Path, how: str = "hang", lines: int = 1) -> None:
    """Let a service swap, and kill it with SIGKILL."""
    with service(folder, how, lines):
        pass


async def all_told(outbox: FileOutbox) -> list[Notification[Any]]:
    """Take and confirm everything that is in the backlog."""
    notifications = []
    async for entry in each(outbox, outbox.counts().backlog):
        notifications.append(decode(entry.message.body))
        outbox.confirm(entry)
    return notifications


def per_swap(notifications: list[Notification[Any]]) -> dict[str, list[str]]:
    """Return the phases by instance, each notification once, whatever topics it went to."""
    phases: dict[str, list[str]] = {}
    for notification in {notification.message_id: notification for notification in notifications}.values():
        phases.setdefault(notification.payload.uuid, []).append(notification.event_type.rsplit(".", 1)[-1])
    return phases


async def test_a_swap_whose_process_was_killed_is_told_as_an_error_exactly_once(tmp_path: Path) -> None:
    kill(tmp_path)

    async with file_outbox(tmp_path) as outbox:
        told = await all_told(outbox)
    async with file_outbox(tmp_path) as outbox:
        again = outbox.counts().backlog

    seen = Counter((notification.payload.uuid, notification.event_type.rsplit(".", 1)[-1]) for notification in told)
    assert 0 == again
    assert {(f"vm-{number}", "start"): 2 for number in range(3)} | {
        ("vm-0", "end"): 2,
        ("vm-1", "error"): 2,
        ("vm-2", "error"): 2,
    } == seen
    assert [] == files(tmp_path)


async def test_the_error_has_its_starts_publisher_context_and_version_and_says_that_nobody_knows(tmp_path: Path) -> None:
    kill(tmp_path)

    async with file_outbox(tmp_path, ManualClock()) as outbox:
        entries = [entry async for entry in each(outbox, outbox.counts().backlog)]

    told = [(entry.message.routing_key, decode(entry.message.body)) for entry in entries]
    starts = [one for _, one in told if one.payload.uuid == "vm-1" and one.event_type.endswith("start")]
    errors = [(key, one) for key, one in told if one.payload.uuid == "vm-1" and one.event_type.endswith("error")]
    start, error = starts[0], errors[0][1]
    fault = error.payload.fault
    assert ["first.error", "second.error"] == sorted(key for key, _ in errors)
    assert (start.publisher_id, "ERROR", "1.4") == (error.publisher_id, error.priority, error.payload.object_version)
    assert ("nova-compute:dead-host", "req-of-the-dead") == (error.publisher_id, error.context["request_id"])
    assert dict(start.context) == dict(error.context)
    assert (start.payload.old_volume_id, "new-1") == (error.payload.old_volume_id, error.payload.new_volume_id)
    assert ("ProcessDied", "1.0") == (fault.exception, fault.object_version)
    assert "outcome is unknown" in fault.exception_message
    assert 1 == len({one.message_id for _, one in errors})
    assert 2 == len({one.unique_id for _, one in errors})
    assert error.message_id != start.message_id
    assert ManualClock().utcnow() == error.timestamp


@pytest.mark.parametrize("kills", [1, 3])
async def test_killed_at_any_moment_each_start_has_exactly_one_terminal(kills: int, tmp_path: Path) -> None:
    for run in range(kills):
        kill(tmp_path, "busy", 40 + 7 * run)

    async with file_outbox(tmp_path) as outbox:
        phases = per_swap(await all_told(outbox))

    assert 40 <= len(phases)
    assert [] == [uuid for uuid, told in phases.items() if 2 * told.count("start") != len(told)]
    assert kills == max(told.count("start") for told in phases.values())


@pytest.mark.parametrize(("answer", "phase"), [("end", "end"), ("error", "error"), ("nonsense", "error")])
async def test_recover_says_how_a_swap_ended(answer: Any, phase: str, tmp_path: Path) -> None:
    kill(tmp_path)
    asked: list[str] = []

    def recover(start: Notification[Any]) -> Any:
        asked.append(start.payload.uuid)
        return answer

    async with file_outbox(tmp_path, recover=recover) as outbox:
        phases = per_swap(await all_told(outbox))

    assert ["vm-1", "vm-2"] == asked
    assert [["start", phase]] * 2 == [sorted(phases[uuid], reverse=True) for uuid in asked]


async def test_a_swap_that_recover_leaves_is_asked_for_again_by_the_next_run(tmp_path: Path) -> None:
    kill(tmp_path)
    asked: list[str] = []

    def recover(start: Notification[Any]) -> Any:
        asked.append(start.payload.uuid)
        return "leave" if len(asked) == 1 else "error"

    async with file_outbox(tmp_path, recover=recover) as outbox:
        first = per_swap(await all_told(outbox))
    async with file_outbox(tmp_path, recover=recover) as outbox:
        second = per_swap(await all_told(outbox))

    assert ["vm-1", "vm-2", "vm-1"] == asked
    assert ["start"] == first["vm-1"]
    assert {"vm-1": ["error"]} == second
    assert [] == files(tmp_path)


async def test_recover_that_raises_is_logged_and_means_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kill(tmp_path)

    def recover(start: Notification[Any]) -> Any:
        raise LookupError("no hypervisor, password=hunter2")

    async with file_outbox(tmp_path, recover=recover) as outbox:
        phases = per_swap(await all_told(outbox))

    assert 2 == caplog.text.count("recover failed")
    assert "no hypervisor" in caplog.text
    assert "hunter2" not in caplog.text
    assert ["error", "start"] == sorted(phases["vm-1"])


async def test_a_process_that_lives_keeps_its_file_and_a_dead_ones_is_adopted_within_a_minute(tmp_path: Path) -> None:
    clock, adopted = ManualClock(), asyncio.Event()
    with service(tmp_path, "hang") as process:
        async with file_outbox(tmp_path, clock) as outbox:
            alive = outbox.counts().backlog
            outbox.attach(adopted.set)
            await clock.advance(60)
            still = outbox.counts().backlog
            process.send_signal(signal.SIGKILL)
            process.wait()
            await clock.advance(60)
            await adopted.wait()
            told = per_swap(await all_told(outbox))

    assert (0, 0) == (alive, still)
    assert ["error", "start"] == sorted(told["vm-2"])


async def test_two_that_start_at_once_adopt_each_file_once(tmp_path: Path) -> None:
    for _ in range(3):
        kill(tmp_path)

    async with file_outbox(tmp_path) as one, file_outbox(tmp_path) as other:
        told = await all_told(one) + await all_told(other)

    assert 3 * (3 + 3) * 2 == len(told)
    assert len(told) == len({notification.unique_id for notification in told})


async def test_an_emitter_relays_what_a_dead_process_has_left(tmp_path: Path) -> None:
    kill(tmp_path)
    async with MemoryTransport() as transport:
        subscription = Subscription(pool="witness", topics=("first", "second"))
        async with transport.receiver(subscription, lambda delivery: delivery.ack(), label="witness"):
            pass
        async with Emitter(transport, host="h", outbox=FileOutbox(tmp_path)) as emitter:
            backlog = emitter.health().backlog
            await emitter.flush(DEADLINE)
        health = emitter.health()

    assert 12 == backlog
    assert (12, 0) == (health.confirmed, health.backlog)


async def test_a_child_made_by_fork_does_not_keep_the_file_of_its_dead_parent(tmp_path: Path) -> None:
    code = (
        "import asyncio, os, sys, signal\n"
        "from pathlib import Path\n"
        "from tests.outbox_kit import *\n"
        "async def main():\n"
        "    async with file_outbox(Path(sys.argv[1])) as outbox:\n"
        "        await accept(outbox, message(1))\n"
        "        if os.fork() == 0:\n"
        "            os.close(1)\n"
        "            signal.pause()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(tmp_path), cwd=ROOT, start_new_session=True)
    await process.wait()
    try:
        async with file_outbox(tmp_path) as outbox:
            told = await relayed(outbox)
    finally:
        os.killpg(process.pid, signal.SIGKILL)

    assert ["1"] == told


def spoil_starts(folder: Path, body: bytes) -> None:
    (path,) = folder.glob("*.outbox")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE swaps SET body = ?", (body,))
    connection.close()


@pytest.mark.parametrize("body", [b"{", encode(exception())], ids=["torn", "no swap"])
async def test_a_start_that_cannot_be_read_is_told_no_more(
    body: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kill(tmp_path)
    spoil_starts(tmp_path, body)

    async with file_outbox(tmp_path) as outbox:
        phases = per_swap(await all_told(outbox))

    assert 2 == caplog.text.count("can't be read")
    assert ["start"] == phases["vm-1"]
    assert [] == files(tmp_path)


async def test_a_swap_that_outlives_its_emitter_is_told_by_what_really_became_of_it(tmp_path: Path) -> None:
    clock = ManualClock()
    outbox = FileOutbox(tmp_path)
    finish, begun = asyncio.Event(), asyncio.Event()

    async def slow(emitter: Emitter) -> None:
        async with emitter.swapping(SwapRequest({"uuid": "slow"}, "old", "new")):
            begun.set()
            await finish.wait()

    async with MemoryTransport(clock=clock) as transport:
        emitter = Emitter(transport, host="h", outbox=outbox, clock=clock)
        await emitter.__aenter__()
        task = asyncio.create_task(slow(emitter))
        await begun.wait()
        leaving = asyncio.create_task(emitter.__aexit__(None, None, None))
        while not leaving.done():
            await clock.advance(1)
        held = files(tmp_path)
        async with file_outbox(tmp_path) as other:
            meanwhile = other.counts().backlog
        finish.set()
        await task
    async with file_outbox(tmp_path) as other:
        phases = [decode(entry.message.body).event_type async for entry in each(other, other.counts().backlog)]

    assert ".outbox.lock" in held
    assert 0 == meanwhile
    assert "instance.volume_swap.end" == phases[-1]
    assert "instance.volume_swap.error" not in phases
