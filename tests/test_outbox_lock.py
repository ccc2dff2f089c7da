"""Who owns a file: real locks, of real files."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from aioswap.errors import OutboxError
from aioswap.outbox_lock import Lock, is_held
from aioswap.outbox_store import make


def test_a_lock_is_held_once_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    before = is_held(path)
    lock = Lock.take(path)
    assert lock is not None
    while_held = (Lock.take(path), is_held(path))
    lock.release()
    lock.release()
    again = Lock.take(path)

    assert not before
    assert (None, True) == while_held
    assert again is not None
    again.release(remove=True)
    assert not path.exists()


@pytest.mark.parametrize("gone", [True, False], ids=["removed", "replaced"])
def test_a_lock_whose_file_was_removed_meanwhile_is_taken_anew(
    gone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    flock, calls = fcntl.flock, 0

    def interrupted(descriptor: int, operation: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:  # its owner removes it between open and flock
            path.unlink()
            if not gone:
                path.touch()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", interrupted)
    lock = Lock.take(path)

    assert lock is not None
    assert 2 == calls
    assert path.exists()
    lock.release()


@pytest.mark.parametrize(("number", "error"), [(37, OutboxError), (95, OutboxError), (5, OSError)])
def test_a_file_system_without_locks_is_misuse_and_a_failing_one_is_not(
    number: int, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error, match="knows no locks" if error is OutboxError else "error"):
        make(tmp_path / "x.outbox", "", synchronous="FULL", now=0.0)

    assert descriptors == len(os.listdir("/proc/self/fd"))
