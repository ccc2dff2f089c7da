"""The outbox with files on a disk that refuses: the swap goes on, and nothing is lost that memory can hold."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from aioswap import outbox_adoption
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.errors import OutboxError
from aioswap.outbox_file import FileOutbox
from aioswap.outbox_store import Store
from aioswap.testing import ManualClock
from aioswap.transports.base import Reservation
from aioswap.transports.memory import MemoryTransport
from tests.bus import DEADLINE, declare, phases, told
from tests.outbox_kit import DESTINATION, ERROR, INFO, accept, changed, file_outbox, files, ids, message, relayed

REQUEST = SwapRequest({"uuid": "1"}, "old", "new")


@contextmanager
def no_larger_than(size: int) -> Iterator[None]:
    """Let no file of this process grow above a size: the kernel refuses with EFBIG, which SQLite tells as an I/O error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("only root may mount a small disk; a limit of the files' size stands for it in the other tests")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nothing be written into a mounted folder."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


@contextmanager
def held_by_another(folder: Path) -> Iterator[None]:
    """Let another connection hold the database, as a slow disk does."""
    (path,) = folder.glob("*.outbox")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def refused(outbox: FileOutbox, number: int) -> None:
    with pytest.raises(OutboxError, match="kept in memory"):
        await accept(outbox, message(number, size=3000))


async def test_what_the_disk_refuses_is_kept_relayed_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with file_outbox(tmp_path, ManualClock()) as outbox:
        await accept(outbox, message("saved"))
        with no_larger_than(4_000):
            for number in range(3):
                await refused(outbox, number)
            counts, at_risk = outbox.counts(), ids(outbox.at_risk())
            order = await relayed(outbox)
        after = outbox.counts()

    assert (3, 4) == (counts.unsaved, counts.backlog)
    assert counts.trouble is not None
    assert ["0", "1", "2"] == at_risk
    assert ["saved", "0", "1", "2"] == order
    assert (0, 0) == (after.unsaved, after.backlog)
    assert 1 == caplog.text.count("can't be written")
    assert [] == files(tmp_path)


async def test_what_was_refused_is_written_when_the_disk_takes_it_again(tmp_path: Path) -> None:
    clock, outbox = ManualClock(), FileOutbox(tmp_path)
    await outbox.open(clock, destination=DESTINATION)
    with no_larger_than(4_000):
        for number in range(3):
            await refused(outbox, number)
    saved = asyncio.Event()
    outbox.attach(saved.set)
    await clock.advance(1)
    await saved.wait()
    counts = outbox.counts()
    await outbox.close()
    async with file_outbox(tmp_path) as other:
        order = await relayed(other)

    assert (0, None) == (counts.unsaved, counts.trouble)
    assert ["0", "1", "2"] == order


async def test_a_disk_that_takes_new_messages_gets_the_old_ones_too_and_in_order(tmp_path: Path) -> None:
    clock = ManualClock()
    async with file_outbox(tmp_path, clock) as outbox:
        with no_larger_than(4_000):
            await refused(outbox, 0)
        await accept(outbox, message(1))
    async with file_outbox(tmp_path, clock) as outbox:
        assert ["0", "1"] == await relayed(outbox)


async def test_retries_back_off_and_end_with_the_outbox(tmp_path: Path) -> None:
    clock = ManualClock()
    outbox = FileOutbox(tmp_path)
    await outbox.open(clock, destination=DESTINATION)
    with no_larger_than(4_000):
        await refused(outbox, 0)
        woken = asyncio.Event()
        outbox.attach(woken.set)
        for seconds in (1, 2, 4):
            woken.clear()
            await clock.advance(seconds)
            await woken.wait()
        await outbox.close()
        at_risk = ids(outbox.at_risk())
    await outbox.open(clock, destination=DESTINATION)
    order = await relayed(outbox)
    await outbox.close()

    assert ["0"] == at_risk
    assert ["0"] == order
    assert [] == files(tmp_path)


async def test_parked_while_the_disk_refuses_is_parked_in_the_file_later(tmp_path: Path) -> None:
    clock = ManualClock()
    async with file_outbox(tmp_path, clock) as outbox:
        with no_larger_than(4_000):
            await refused(outbox, 0)
            await refused(outbox, 1)
            first, second = outbox.take(2)
            outbox.park(first, "returned")
            outbox.park(second, "returned")
            outbox.resend({"1"})
            unsaved = outbox.counts().unsaved
    async with file_outbox(tmp_path, clock) as outbox:
        parked, order = ids(outbox.parked()), await relayed(outbox)

    assert 1 == unsaved
    assert ["0"] == parked
    assert ["1"] == order


async def test_parked_and_unsaved_survives_in_the_object(tmp_path: Path) -> None:
    outbox = FileOutbox(tmp_path)
    await outbox.open(ManualClock(), destination=DESTINATION)
    with no_larger_than(4_000):
        await refused(outbox, 0)
        outbox.park(outbox.take(1)[0], "returned")
        await outbox.close()
    await outbox.open(ManualClock(), destination=DESTINATION)
    parked = ids(outbox.parked())
    await outbox.close()
    async with file_outbox(tmp_path) as other:
        assert parked == ids(other.parked()) == ["0"]


async def test_a_swap_runs_as_ever_on_a_full_disk(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with MemoryTransport() as transport:
        await declare(transport)
        async with Emitter(transport, host="h", outbox=FileOutbox(small_disk / "outbox")) as emitter:
            ballast = small_disk / "ballast"
            with pytest.raises(OSError, match="No space"):
                ballast.write_bytes(b"x" * (1 << 20))
            for _ in range(3):
                async with emitter.swapping(REQUEST):
                    pass
            await emitter.flush(DEADLINE)
            trouble = emitter.health().trouble
            ballast.unlink()
        notifications = await told(transport)

    assert trouble is not None
    assert ["start", "end"] * 3 == phases(notifications)


async def test_an_end_that_the_disk_refused_is_told_as_an_error_too_where_the_process_is_killed(tmp_path: Path) -> None:
    clock, running, killed = ManualClock(), tmp_path / "running", tmp_path / "killed"
    async with MemoryTransport() as transport:
        await declare(transport)
        async with Emitter(transport, host="h", outbox=FileOutbox(running), clock=clock) as emitter:
            with ExitStack() as disk:
                async with emitter.swapping(REQUEST):
                    await emitter.flush(DEADLINE)
                    disk.enter_context(no_larger_than(4_000))
                await emitter.flush(DEADLINE)
            shutil.copytree(running, killed)  # what is left by a process that is killed now
        before = await told(transport)
        async with Emitter(transport, host="h", outbox=FileOutbox(killed), clock=clock) as emitter:
            await emitter.flush(DEADLINE)
        after = await told(transport)

    assert ["start", "end"] == phases(before)
    assert ["start", "error"] == phases(after)
    assert before[0].message_id == after[0].message_id  # that it was confirmed was refused, too


async def test_an_outbox_opens_on_a_full_disk_and_uses_it_once_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"):
        ballast.write_bytes(b"x" * (1 << 20))
    clock = ManualClock()
    async with file_outbox(small_disk / "outbox", clock) as outbox:
        await refused(outbox, 0)
        unsaved = outbox.counts().unsaved
        ballast.unlink()
        await accept(outbox, message(1))
    async with file_outbox(small_disk / "outbox") as outbox:
        order = await relayed(outbox)

    assert 1 == unsaved
    assert ["0", "1"] == order


async def test_an_outbox_opens_on_a_read_only_disk(small_disk: Path) -> None:
    async with MemoryTransport() as transport:
        await declare(transport)
        with read_only(small_disk):
            async with Emitter(transport, host="h", outbox=FileOutbox(small_disk / "outbox")) as emitter:
                async with emitter.swapping(REQUEST):
                    pass
                trouble = emitter.health().trouble
                await emitter.flush(DEADLINE)
        notifications = await told(transport)

    assert "Read-only" in str(trouble)
    assert ["start", "end"] == phases(notifications)


async def test_files_of_earlier_runs_on_a_read_only_disk_are_left_for_later(small_disk: Path) -> None:
    async with file_outbox(small_disk) as outbox:
        await accept(outbox, message(1))
    with read_only(small_disk):
        async with file_outbox(small_disk) as outbox:
            trouble = outbox.counts().trouble
    async with file_outbox(small_disk) as outbox:
        order = await relayed(outbox)

    assert trouble is not None
    assert ["1"] == order


async def test_without_descriptors_the_outbox_is_memory(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    outbox = FileOutbox(tmp_path)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), hard))
    try:
        await outbox.open(ManualClock(), destination=DESTINATION)
        await refused(outbox, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await accept(outbox, message(1))
    order = await relayed(outbox)
    await outbox.close()

    assert ["0", "1"] == order


async def test_a_slow_disk_makes_a_swap_wait_for_a_quarter_of_a_second(tmp_path: Path) -> None:
    clock = ManualClock()
    async with MemoryTransport() as transport:
        await declare(transport)
        async with Emitter(transport, host="h", outbox=FileOutbox(tmp_path), clock=clock) as emitter:
            with held_by_another(tmp_path):
                swapping = emitter.swapping(REQUEST)
                entering = asyncio.ensure_future(swapping.__aenter__())
                await clock.advance(0.24)
                early = entering.done()
                await clock.advance(0.02)
                waited = entering.done()
                relayed_before = emitter.health().confirmed
            await swapping.__aexit__(None, None, None)
            await emitter.flush()
        notifications = await told(transport)

    assert (False, True, 0) == (early, waited, relayed_before)
    assert ["start", "end"] == phases(notifications)


async def test_a_file_that_is_damaged_while_it_is_used_is_set_aside_and_memory_goes_into_a_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with file_outbox(tmp_path) as outbox:
        await accept(outbox, message("running"), opens=Reservation("swap", 1, 1000))
        outbox.confirm(outbox.take(1)[0])
        await accept(outbox, message("parked"))
        outbox.park(outbox.take(1)[0], "returned")
        await asyncio.wait([outbox.accept(message(number)) for number in range(600)])
        await accept(outbox, message("other", ERROR))
        old = outbox.path
        break_schema(old)
        with pytest.raises(OutboxError, match="kept in memory"):
            await accept(outbox, message("last"))
        counts, path = outbox.counts(), outbox.path
        outbox.release(Reservation("swap", 1, 1000))
        order = await relayed(outbox)
        parked = ids(outbox.parked())

    assert path != old
    assert 1 == counts.damaged_files
    assert [*map(str, range(512)), "last"] == [name for name in order if name != "other"]
    assert ["parked"] == parked
    assert "is set aside" in caplog.text
    assert old.with_name(f"{old.name}.corrupt-1").exists()


def break_schema(path: Path) -> None:
    """Let a table begin where there is nothing, for every connection."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET rootpage = 99999 WHERE name = 'messages'")
    connection.execute("PRAGMA schema_version = 1000")
    connection.close()


def spoil(path: Path) -> None:
    """Overwrite a database that is in use, its log too."""
    for name in (path, path.with_name(path.name + "-wal")):
        size = name.stat().st_size
        with name.open("r+b") as file:
            file.seek(32 if name.name.endswith("wal") else 0)
            file.write(os.urandom(max(size - 32, 0)))


async def test_a_damaged_file_that_is_found_out_when_it_is_read_is_set_aside(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        await asyncio.wait([outbox.accept(message(number, INFO, 3000)) for number in range(900)])
        spoil(outbox.path)
        order = await relayed(outbox)

    assert 1 == outbox.counts().damaged_files
    assert [str(number) for number in range(512)] == order


async def test_what_cannot_be_read_now_is_read_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with file_outbox(tmp_path, clock := ManualClock()) as outbox:
        await asyncio.wait([outbox.accept(message(number)) for number in range(900)])
        await asyncio.to_thread(changed, tmp_path, "ALTER TABLE messages RENAME TO moved")
        relaying = asyncio.create_task(relayed(outbox))
        while "can't be read: no such table" not in caplog.text:
            await clock.advance(0)
        await asyncio.to_thread(changed, tmp_path, "ALTER TABLE moved RENAME TO messages")
        while not relaying.done():
            await clock.advance(1)

    assert [str(number) for number in range(900)] == await relaying


async def test_a_fault_of_ours_in_the_thread_is_logged_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*arguments: Any, **more: Any) -> None:
        raise LookupError("unforeseen, password=hunter2")

    async with file_outbox(tmp_path, ManualClock()) as outbox:
        with monkeypatch.context() as patch:
            patch.setattr(Store, "write", failing)
            await refused(outbox, 0)
        await accept(outbox, message(1))
        order = await relayed(outbox)

    assert ["0", "1"] == order
    assert "unexpected way" in caplog.text
    assert "hunter2" not in caplog.text


async def test_rows_that_a_file_lost_are_counted_no_more(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        await asyncio.wait([outbox.accept(message(number)) for number in range(900)])
        other = sqlite3.connect(outbox.path, isolation_level=None)
        other.execute("DELETE FROM messages WHERE row > 600")
        other.close()
        order = await relayed(outbox)

    assert [str(number) for number in range(600)] == order


async def test_a_file_of_an_earlier_run_that_is_damaged_while_it_is_read_is_set_aside(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        await asyncio.wait([outbox.accept(message(number)) for number in range(600)])
    async with file_outbox(tmp_path) as outbox:
        first = outbox.take(128)
        while not first:
            await asyncio.sleep(0)
            first = outbox.take(128)
        for path in outbox_adoption.files(tmp_path):
            if path != outbox.path:
                break_schema(path)
        order = ids(first)
        for entry in first:
            outbox.confirm(entry)
        order += await relayed(outbox)

    assert 1 == outbox.counts().damaged_files
    assert [str(number) for number in range(256)] == order
    assert [".outbox.corrupt-1"] == [name for name in files(tmp_path) if not name.endswith(("-wal", "-shm"))]


async def test_a_directory_that_cannot_be_read_is_trouble(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    async with file_outbox(folder, clock := ManualClock()) as outbox:
        folder.rename(tmp_path / "elsewhere")
        folder.touch()
        await clock.advance(60)
        while outbox.counts().trouble is None:
            await clock.advance(0)
        trouble = outbox.counts().trouble
        folder.unlink()
        (tmp_path / "elsewhere").rename(folder)

    assert "Not a directory" in str(trouble)


async def test_a_file_that_cannot_be_adopted_now_is_left_for_later(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        await accept(outbox, message(1))
    changed(tmp_path, "ALTER TABLE swaps RENAME TO moved")

    async with file_outbox(tmp_path) as outbox:
        trouble, backlog = outbox.counts().trouble, outbox.counts().backlog
    changed(tmp_path, "ALTER TABLE moved RENAME TO swaps")
    async with file_outbox(tmp_path) as outbox:
        order = await relayed(outbox)

    assert ("no such table: swaps", 0) == (trouble, backlog)
    assert ["1"] == order


async def test_closing_gives_up_on_a_disk_that_hangs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    outbox = FileOutbox(tmp_path)
    await outbox.open(clock, destination=DESTINATION)
    await accept(outbox, message(0))
    with held_by_another(tmp_path):
        safe = outbox.accept(message(1))
        closing = asyncio.create_task(outbox.close())
        await clock.advance(10)
        await closing
        at_risk = ids(outbox.at_risk())
    await asyncio.wait([safe])
    async with file_outbox(tmp_path) as other:
        order = await relayed(other)

    assert ["1"] == at_risk
    assert "writing takes longer than 10 s" in caplog.text
    assert ["0", "1"] == order
