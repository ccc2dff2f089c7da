"""What a process has emitted or handled, and when. It is kept in a file, so that it outlives the process."""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Entry", "Journal", "entries", "key_of", "written"]

_COUNT: Final = struct.Struct("<Q")
_ENTRY: Final = struct.Struct("<Qd")


class Entry(NamedTuple):
    """One notification: the first 64 bits of its `message_id`, and when, by the clock that all processes share."""

    key: int
    when: float


class Journal:
    """Writes entries by way of mapped memory: without a system call for each, and a killed process leaves them behind.

    Args:
        path: a new file.
        room: entries at most.
    """

    def __init__(self, path: Path, room: int) -> None:
        size = _COUNT.size + room * _ENTRY.size
        with path.open("w+b") as file:
            file.truncate(size)
            self._memory = mmap.mmap(file.fileno(), size)
        self._count = 0

    def note(self, message_id: str, when: float | None = None) -> None:
        """Write an entry; it happened now unless told."""
        moment = time.monotonic() if when is None else when
        place = _COUNT.size + self._count * _ENTRY.size
        _ENTRY.pack_into(self._memory, place, key_of(message_id), moment)
        self._count += 1
        _COUNT.pack_into(self._memory, 0, self._count)


def key_of(message_id: str) -> int:
    """Return the first 64 bits of a `message_id`."""
    return int(message_id.replace("-", "")[:16], 16)


def written(path: Path) -> int:
    """Return how many entries there are, also while more are written."""
    with path.open("rb") as file:
        count: int = _COUNT.unpack(file.read(_COUNT.size))[0]
    return count


def entries(path: Path) -> list[Entry]:
    """Return what was written."""
    content = path.read_bytes()
    (count,) = _COUNT.unpack_from(content)
    return [Entry(*_ENTRY.unpack_from(content, _COUNT.size + number * _ENTRY.size)) for number in range(count)]
