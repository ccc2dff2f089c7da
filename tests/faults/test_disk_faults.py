"""What happens to the disk of an outbox: full, read-only, failing, damaged, locked."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from aioswap.outbox_file import FileOutbox
from tests.faults.kit import Fault, Scene, rows
from tests.faults.load import passes, until
from tests.faults.test_process_faults import judge, producing
from tests.faults.workload import Workload

pytestmark = pytest.mark.broker


def _run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
async def small_disk(tmp_path: Path) -> AsyncIterator[Path]:
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = await asyncio.to_thread(_run, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    await asyncio.to_thread(_run, "umount", folder)


def _file(workload: Workload) -> Path:
    return cast(FileOutbox, workload.outbox).path


async def _unsaved(workload: Workload) -> None:
    await until(lambda: workload.emitter.health().unsaved, what="something is not saved")


@pytest.mark.fault(18)
@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_a_full_disk_stops_nothing(scene: Scene, small_disk: Path) -> None:
    workload = Workload(scene.plan(outbox=lambda folder: FileOutbox(small_disk / "outbox")))
    async with workload.running():
        scene.proxy.cut()
        await _unsaved(workload)
        await workload.accepts(200)
        scene.proxy.heal()
        await workload.healed()
    scene.judge(workload, 18, "a disk of 1 MiB, and RST until it is full")


@pytest.mark.fault(18)
@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_a_read_only_disk_stops_nothing(scene: Scene, small_disk: Path) -> None:
    async def remount(how: str) -> None:
        done = await asyncio.to_thread(_run, "mount", "-o", f"remount,{how}", small_disk)
        assert 0 == done.returncode, done.stderr

    workload = Workload(scene.plan(outbox=lambda folder: FileOutbox(small_disk / "outbox")))
    async with workload.running(lambda: remount("ro")):
        await _unsaved(workload)
        await workload.confirms(300)
        await remount("rw")
        await workload.healed()
    scene.judge(workload, 18, "a disk that is read-only at first")


async def damage(scene: Scene, workload: Workload) -> None:
    """Overwrite the file while its messages wait, all of them in memory too."""
    scene.proxy.cut()
    await workload.accepts(100)
    with _file(workload).open("r+b") as file:
        file.write(os.urandom(1 << 14))
    await workload.accepts(100)
    scene.proxy.heal()
    await workload.healed()


@contextmanager
def _written_by_another(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None, timeout=30)
    try:
        other.execute("begin immediate")
        yield
        other.execute("rollback")
    finally:
        other.close()


async def lock(scene: Scene, workload: Workload) -> None:
    """Let somebody else write for 3 seconds."""
    with _written_by_another(_file(workload)):
        await passes(3)
    await workload.healed()


@pytest.mark.parametrize(
    "fault",
    rows(
        Fault(18, "16 KiB of the file are overwritten", damage),
        Fault(18, "somebody else holds SQLite's lock for 3 s", lock, slow=True),
    ),
    ids=str,
)
async def test_a_file_in_trouble_stops_nothing(scene: Scene, fault: Fault) -> None:
    await scene.survives(fault)


@pytest.mark.fault(18)
@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_a_disk_that_fails_stops_nothing(scene: Scene, tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace, which makes fdatasync fail, is not installed")
    prefix = (strace, "-D", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", "trace=fdatasync,fsync")
    inject = ("-e", "inject=fdatasync,fsync:error=EIO:when=40..80")
    async with producing(scene, "f18-eio") as producers:
        process = await producers.start("log", prefix=(*prefix, *inject))
        try:
            await until(lambda: producers.begun() >= 400, what="400 swaps")
            told = await process.leave()
        finally:
            await process.kill()
        await producers.adopt()
        judge(scene, producers, 18, "EIO of 41 fdatasync in a row", 1)

    assert "INJECTED" in (tmp_path / "trace").read_text()
    assert told.startswith("left")
