"""The file of a history: an SQLite database. Everything here blocks: call it in a thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from aioswap.attempts import Attempt, Span
from aioswap.evidence import SwapKey
from aioswap.history_rows import COLUMNS, read_attempt, row_of, text_of
from aioswap.sqlite import make_private, schema_version, storable, transaction
from aioswap.swaps import Criteria, SwapState

__all__ = ["HistoryFile", "Remembered"]

_SCHEMA_VERSION: Final = 1
_NAMES: Final = ", ".join(COLUMNS)
_KEY: Final = ", ".join(COLUMNS[:6])
_LOOKED_UP: Final = ("old_volume_id", "request_id", "global_request_id", "first_seen", "last_seen")
"""Beside the instance, which the primary key begins with."""
_SCHEMA: Final = (
    f"CREATE TABLE swaps ({', '.join(f'{column} TEXT' for column in COLUMNS)}, PRIMARY KEY ({_KEY}))",
    *(f"CREATE INDEX swaps_{column} ON swaps ({column})" for column in _LOOKED_UP),
    "CREATE TABLE deaf (begins TEXT PRIMARY KEY, ends TEXT)",
    "CREATE TABLE listened (only INTEGER PRIMARY KEY, until TEXT)",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)
# Only names of ours are put into statements, never values.
_WRITE: Final = (
    f"INSERT INTO swaps ({_NAMES}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT ({_KEY}) DO UPDATE SET "  # noqa: S608
    + ", ".join(f"{column} = excluded.{column}" for column in COLUMNS[6:])
)
_OF_A_KEY: Final = f"SELECT heard, state FROM swaps WHERE ({', '.join(COLUMNS[:5])}) = (?, ?, ?, ?, ?) ORDER BY first_seen"  # noqa: S608
_DELETE: Final = f"DELETE FROM swaps WHERE ({_KEY}) = (?, ?, ?, ?, ?, ?)"  # noqa: S608

_RETENTION: Final = timedelta(days=30)
_BUSY_WAIT: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What a history says when it is opened."""

    attempts: list[tuple[Attempt, SwapState]] = field(default_factory=list)
    """Each with its state when it was written, in order of the last arrivals."""
    deaf: list[Span] = field(default_factory=list)
    listened_until: datetime | None = None
    """The last moment at which somebody was known to listen. None: nobody ever did."""


class HistoryFile:
    """An open history file, for the one thread that opens it.

    Args:
        path: made if it is missing, for its owner alone whatever the umask is. Its directory must be there.

    Raises:
        ValueError: the file is no history, or was written by a newer aioswap. It is left untouched.
        OSError: it can't be made or opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        _look_into(path)
        with self._told("opened"):
            self._connection = sqlite3.connect(path, timeout=_BUSY_WAIT, isolation_level=None)
        try:
            with self._told("opened"):
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def remembered(self, keep: int) -> Remembered:
        """Return what is to be known again: so many finished attempts, and as many unfinished ones, the latest.

        Raises:
            OSError: the file can't be read.
        """
        rows: list[tuple[str, str, str]] = []
        with self._told("read"):
            for test in ("IN", "NOT IN"):
                some = f"SELECT last_seen, state, heard FROM swaps WHERE state {test} (?, ?) ORDER BY last_seen DESC LIMIT ?"  # noqa: S608
                rows += self._connection.execute(some, (SwapState.RUNNING, SwapState.STUCK, keep))
            until = next(self._connection.execute("SELECT until FROM listened"), (None,))[0]
        return Remembered(
            attempts=[(read_attempt(heard), SwapState(state)) for _, state, heard in sorted(rows)],
            deaf=self.deaf(),
            listened_until=None if until is None else datetime.fromisoformat(until),
        )

    def write(
        self, attempts: Iterable[tuple[Attempt, SwapState]], deaf: Iterable[Span], listened_until: datetime | None
    ) -> None:
        """Write what has changed.

        Args:
            attempts: they and their states.
            deaf: spans in which nobody listened; one that begins as another replaces it.
            listened_until: the last moment at which somebody listened; None: as before.

        Raises:
            OSError: the file can't be written; nothing of this is in it.
        """
        with self._told("written"), transaction(self._connection):
            for attempt, state in attempts:
                row = row_of(attempt, state)
                self._connection.execute(_WRITE, [row[column] for column in COLUMNS])
                if attempt.key.request_id is None:
                    same = [row[column] for column in COLUMNS[:5]]
                    merged = [(*same, storable(one.message_id)) for one in attempt.heard[1:]]
                    self._connection.executemany(_DELETE, merged)
            spans = [(text_of(begin), text_of(end)) for begin, end in deaf]
            self._connection.executemany("REPLACE INTO deaf VALUES (?, ?)", spans)
            if listened_until is not None:
                self._connection.execute("REPLACE INTO listened VALUES (1, ?)", (text_of(listened_until),))

    def prune(self, now: datetime) -> None:
        """Forget what was last heard of 30 days ago.

        Raises:
            OSError: the file can't be written.
        """
        oldest = (text_of(now - _RETENTION),)
        with self._told("written"), transaction(self._connection):
            self._connection.execute("DELETE FROM swaps WHERE last_seen < ?", oldest)
            self._connection.execute("DELETE FROM deaf WHERE ends < ?", oldest)

    def attempts(self, criteria: Criteria, limit: int | None) -> Iterator[Attempt]:
        """Give the attempts that are asked for, the newest last.

        Args:
            criteria: which.
            limit: the newest, so many at most.

        Raises:
            OSError: the file can't be read.
        """
        wanted = {
            "instance": criteria.instance,
            "old_volume_id": criteria.old,
            "new_volume_id": criteria.new,
            "request_id": criteria.request_id,
            "global_request_id": criteria.global_request_id,
        }
        given = {f"{column} = ?": storable(value) for column, value in wanted.items() if value is not None}
        if criteria.since is not None:
            given["first_seen >= ?"] = text_of(criteria.since)
        where = " AND ".join(given) or "TRUE"
        newest = f"SELECT rowid AS place, first_seen, heard FROM swaps WHERE {where} ORDER BY 2 DESC, 1 DESC LIMIT ?"  # noqa: S608
        oldest_first = f"SELECT heard FROM ({newest}) ORDER BY first_seen, place"  # noqa: S608
        with self._told("read"):
            for (heard,) in self._connection.execute(oldest_first, [*given.values(), -1 if limit is None else limit]):
                yield read_attempt(heard)

    def attempts_of(self, key: SwapKey) -> list[tuple[Attempt, SwapState]]:
        """Return the attempts of `key`, each with its state when it was written, in order of the first arrivals.

        Raises:
            OSError: the file can't be read.
        """
        values = (key.instance, key.old_volume_id, key.new_volume_id, key.source, key.request_id or "")
        with self._told("read"):
            rows = self._connection.execute(_OF_A_KEY, [storable(value) for value in values]).fetchall()
        found = [(read_attempt(heard), SwapState(state)) for heard, state in rows]
        return [(attempt, state) for attempt, state in found if attempt.key == key]

    def deaf(self) -> list[Span]:
        """Return the spans in which nobody listened.

        Raises:
            OSError: the file can't be read.
        """
        with self._told("read"):
            rows = self._connection.execute("SELECT begins, ends FROM deaf ORDER BY begins")
            return [(datetime.fromisoformat(begins), datetime.fromisoformat(ends)) for begins, ends in rows]

    def _prepare(self) -> None:
        execute = self._connection.execute
        version: int = execute("PRAGMA user_version").fetchone()[0]
        _refuse_newer(self._path, version)
        if not version and execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise ValueError(f"{self._path} is a database, but no history of swaps: give another path")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        if not version:
            with transaction(self._connection):
                for statement in _SCHEMA:
                    execute(statement)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OSError(f"the history {self._path} can't be {what}: {error}") from error


def _look_into(path: Path) -> None:
    """Make the file if it is missing; look at the header of one that is there: SQLite itself would put files beside it."""
    if make_private(path):
        return
    try:
        version = schema_version(path)
    except ValueError:
        raise ValueError(f"{path} is no history of swaps, and no database at all: give another path") from None
    _refuse_newer(path, version)


def _refuse_newer(path: Path, version: int) -> None:
    if version > _SCHEMA_VERSION:
        raise ValueError(
            f"the history {path} has schema version {version}, and this aioswap knows {_SCHEMA_VERSION} at most: "
            "upgrade aioswap, or give another path"
        )
