"""Emptying SQLite's log beside the commits."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from aioswap.outbox_log import Emptier

MUCH = 5 << 20
"""Bytes after which the log is emptied."""


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "file", isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE rows (body BLOB)")
        yield connection


@contextmanager
def no_memory_for_a_thread() -> Iterator[None]:
    """Let this process map less than the stack of one more thread."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 20), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def write(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO rows VALUES (zeroblob(?))", (MUCH,))


def test_a_thread_that_cannot_be_started_is_started_by_a_later_commit(connection: sqlite3.Connection, tmp_path: Path) -> None:
    emptier = Emptier(tmp_path / "file", connection)
    write(connection)
    with no_memory_for_a_thread():
        emptier.committed(MUCH)
    size = (tmp_path / "file-wal").stat().st_size
    emptier.committed(MUCH)
    emptier.close()
    write(connection)

    assert size == (tmp_path / "file-wal").stat().st_size, "the log began anew"
