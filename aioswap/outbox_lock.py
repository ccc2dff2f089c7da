"""Who owns a file of an outbox: `flock` on a separate file beside it. Local disks only."""

from __future__ import annotations

import fcntl
import os
import weakref
from functools import partial
from pathlib import Path
from typing import Self

__all__ = ["Lock", "is_held"]


class Lock:
    """A lock that is held, until it is released or this process ends, however it ends.

    A child made by fork lets go of it, so that it ends with its owner alone.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor
        os.register_at_fork(after_in_child=partial(_let_go, weakref.ref(self)))

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """Take the lock at `path`, and make its file for its owner alone. None: somebody else holds it.

        Raises:
            OSError: the file can't be made, or the file system knows no locks.
        """
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(descriptor, path):
                    return cls(path, descriptor)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its owner removed it meanwhile

    def release(self, *, remove: bool = False) -> None:
        """Let go; `remove` the file first, where what it guards is gone. Does nothing the second time."""
        if self._descriptor is not None:
            if remove:
                self._path.unlink(missing_ok=True)
            self.let_go()

    def let_go(self) -> None:
        """Close this process's end of it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def is_held(path: Path) -> bool:
    """Return whether somebody holds the lock at `path`.

    Raises:
        OSError: its file can't be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _let_go(reference: weakref.ref[Lock]) -> None:  # pragma: no cover - runs in a forked child, which is not measured
    lock = reference()
    if lock is not None:
        lock.let_go()
