"""What happened, line by line in a file: memory does not grow with it, and a kill -9 takes nothing that was noted."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["Journal"]


class Journal:
    """Notes lines at the end of a file, each by one unbuffered write.

    Args:
        path: may exist: then it goes on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self.noted = 0
        """Lines noted by this object."""

    def note(self, *words: object) -> None:
        """Append one line."""
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())
        self.noted += 1

    def lines(self) -> list[list[str]]:
        """Return the words of every whole line."""
        if not self._path.exists():
            return []
        *whole, _ = self._path.read_text().split("\n")
        return [line.split(" ") for line in whole]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
