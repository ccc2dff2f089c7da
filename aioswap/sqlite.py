"""What the files of aioswap that are SQLite databases have in common: private, versioned, and never taken for another's."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["make_private", "schema_version", "storable", "transaction"]

_MAGIC: Final = b"SQLite format 3\0"
_VERSION_AT: Final = slice(60, 64)
"""Where a database has its `user_version` (sqlite.org/fileformat2.html section 1.3)."""


def make_private(path: Path) -> bool:
    """Make an empty file for its owner alone, whatever the umask is. False: it is there already, and was left as it is.

    Raises:
        OSError: it can't be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    os.fchmod(descriptor, 0o600)  # the umask may have taken more
    os.close(descriptor)
    return True


def schema_version(path: Path) -> int:
    """Return the `user_version` that the header of a database says: SQLite itself would put files beside it to find out.

    Nothing of this process may have the file open: closing it here would release SQLite's own locks.

    Raises:
        ValueError: it is no database. An empty file is one.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        header = file.read(100)
    if header and header[:16] != _MAGIC:
        raise ValueError(f"{path} is no database")
    return int.from_bytes(header[_VERSION_AT], "big")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do everything in the body, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def storable(text: str) -> str:
    """Return `text` without lone surrogates, which JSON may hold and SQLite may not."""
    return text.encode(errors="backslashreplace").decode()
