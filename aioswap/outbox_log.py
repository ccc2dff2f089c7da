"""Emptying the log that SQLite writes ahead: beside the commits, so that they do not wait for it.

By itself SQLite does it within a commit, every thousand pages: that commit waits for all of them to reach the disk. Here a
second connection does the bulk of it (PASSIVE keeps nobody out), and a later commit what came meanwhile, so that the log begins
anew. Source: sqlite.org/wal.html, "Checkpointing".
"""

from __future__ import annotations

import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["Emptier"]

_BYTES: Final = 4 << 20
"""So much is written before the log is emptied. It is longer by the pages that are written again and again."""
_EMPTY: Final = "PRAGMA wal_checkpoint(PASSIVE)"


class Emptier:
    """Empties the log of one file. What fails is tried again with a later commit, which will tell if the disk refuses.

    Args:
        path: the file.
        connection: the one that writes; its own emptying is switched off.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # kept open: SQLite could not let go of the descriptor of one that is closed while the other holds locks
        self._second = sqlite3.connect(path, check_same_thread=False)
        self._second.execute("PRAGMA schema_version").fetchone()  # opens what it will need
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aioswap outbox log")
        self._bulk: Future[None] | None = None
        self._written = 0
        connection.execute("PRAGMA wal_autocheckpoint = 0")

    def committed(self, size: int) -> None:
        """Begin, or finish, if it is time to, after a commit of `size` bytes. Call it where the connection is used."""
        self._written += size
        if self._bulk is None:
            if self._written >= _BYTES:
                self._written = 0
                with suppress(RuntimeError):  # there is no memory for a thread: a later commit tries again
                    self._bulk = self._thread.submit(self._do_bulk)
        elif self._bulk.done():
            self._bulk = None
            with suppress(sqlite3.Error):
                self._connection.execute(_EMPTY).fetchone()

    def close(self) -> None:
        """Wait for what runs, and let go of the file. Call it before the connection is closed."""
        self._thread.shutdown()
        with suppress(sqlite3.Error):
            self._second.close()

    def _do_bulk(self) -> None:
        with suppress(sqlite3.Error):
            self._second.execute(_EMPTY).fetchone()
