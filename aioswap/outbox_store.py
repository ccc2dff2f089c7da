"""One file of an outbox: an SQLite database in WAL mode. Everything here blocks: call it in a thread.

A batch of changes is one statement, and so one commit: SQLite does it without the interpreter's lock. With a statement each,
the thread would have to win that lock back from the event loop after each of them, which takes up to 5 ms.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from aioswap.errors import OutboxError
from aioswap.outbox_lock import Lock
from aioswap.outbox_log import Emptier
from aioswap.outbox_rows import Act, KeptRow, accepting, closing, message_of
from aioswap.sqlite import make_private, schema_version, transaction
from aioswap.transports.base import Message

__all__ = ["Corrupt", "Lane", "OpenSwap", "Store", "Synchronous", "lock_of", "make", "set_aside", "side_files"]

Synchronous = Literal["FULL", "NORMAL"]

_SCHEMA_VERSION: Final = 1
_APPLICATION: Final = 0x61696F73
"""SQLite's `application_id` of an outbox: `aios`."""
_ACTS: Final = {
    "accept": """
        INSERT OR IGNORE INTO messages
        VALUES (NEW.row, NEW.routing_key, NEW.message_id, NEW.at, NEW.number, NULL, NULL, NEW.text, NEW.body)
    """,
    "confirm": "DELETE FROM messages WHERE row = NEW.row",
    "park": "UPDATE messages SET reason = NEW.text, parked_at = NEW.at WHERE row = NEW.row",
    "resend": """
        UPDATE messages SET row = NEW.number, accepted_at = NEW.at, reason = NULL, parked_at = NULL WHERE row = NEW.row
    """,
    "open": "INSERT OR IGNORE INTO swaps VALUES (NEW.row, NEW.at, NEW.text, NEW.body)",
    "close": "DELETE FROM swaps WHERE row = NEW.row",
}
_COLUMNS: Final = ", ".join(Act._fields)
_SCHEMA: Final = (
    "CREATE TABLE about (destination TEXT NOT NULL, created_at REAL NOT NULL)",
    """
    CREATE TABLE messages (
        row INTEGER PRIMARY KEY, routing_key TEXT NOT NULL, message_id TEXT NOT NULL, accepted_at REAL NOT NULL,
        size INTEGER NOT NULL, reason TEXT, parked_at REAL, extra TEXT, body BLOB NOT NULL
    )
    """,
    "CREATE TABLE swaps (row INTEGER PRIMARY KEY, begun_at REAL NOT NULL, routing_keys TEXT NOT NULL, body BLOB NOT NULL)",
    f"CREATE VIEW acts AS SELECT {', '.join(f'NULL AS {column}' for column in Act._fields)} WHERE FALSE",
    *(
        f"CREATE TRIGGER do_{act} INSTEAD OF INSERT ON acts WHEN NEW.act = '{act}' BEGIN {statement}; END"
        for act, statement in _ACTS.items()
    ),
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)
_PADDED: Final = (1, 4, 16, 64, 128, 256, 512)
"""So many acts a statement has, that few statements must be prepared; what is too many is NULL."""
_NOTHING: Final = (None,) * len(Act._fields)
_WINDOW_BYTES: Final = 4 << 20
# One step, and so one look of the interpreter's lock, for all rows.
_WINDOW: Final = (
    "SELECT json_group_array(json_array(row, routing_key, message_id, accepted_at, extra, hex(body), reason, parked_at)) "
    "FROM (SELECT *, sum(size) OVER (ORDER BY row) - size AS before FROM (SELECT * FROM messages WHERE {where} "
    "ORDER BY row LIMIT ?)) WHERE before < ?"
)
_WAITING: Final = _WINDOW.format(where="reason IS NULL AND routing_key = ? AND row > ? AND row <= ?")
_ASIDE: Final = _WINDOW.format(where="reason IS NOT NULL AND row > ?")
_ROW_BYTES: Final = 512
"""What a change writes into the log beside a body, about."""
_BUSY_WAIT: Final = 5.0
_NO_LOCKS: Final = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Corrupt(Exception):
    """The file is damaged: set it aside."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What a file keeps of one routing key, but for what is parked."""

    routing_key: str
    count: int
    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class OpenSwap:
    """A start without a terminal."""

    row: int
    routing_keys: list[str]
    body: bytes


class Store:
    """An open file, for one thread at a time, and its lock.

    Args:
        path: made if it is missing, for its owner alone.
        lock: held.
        destination: where its messages go, without a secret; written into a new file.
        synchronous: what a commit waits for: the disk (FULL), or not (NORMAL: a loss of power may cost the last commits).

    Raises:
        OutboxError: the file was written by a newer aioswap; it is left untouched.
        Corrupt: it is no outbox.
        OSError: it can't be made or opened.
        sqlite3.Error: likewise.
    """

    def __init__(
        self, path: Path, lock: Lock, *, destination: str = "", synchronous: Synchronous = "FULL", now: float = 0.0
    ) -> None:
        self.path = path
        self._lock = lock
        self._synchronous = synchronous
        self._set_to = ""
        new = make_private(path)
        self._look_at_header()
        self._connection = sqlite3.connect(
            path, timeout=_BUSY_WAIT, isolation_level=None, check_same_thread=False, cached_statements=32
        )
        try:
            with _damage_told():
                self._prepare(destination, now)
                about = self._connection.execute("SELECT destination, created_at FROM about").fetchone()
                if about is None:
                    raise Corrupt(f"{path} does not say where its messages go")
                self.destination: str = about[0]
                self.created_at: float = about[1]
            if new:
                _sync_folder(path.parent)
            with _damage_told():
                self._emptier = Emptier(path, self._connection)
        except BaseException:
            self._connection.close()
            raise

    def write(self, acts: Sequence[Act], *, safe: bool) -> None:
        """Do all of `acts`, in order, in one commit.

        Args:
            acts: at most a few thousand.
            safe: wait for the disk; False: nothing of this has to survive a loss of power.

        Raises:
            Corrupt: the file is damaged.
            sqlite3.Error: it can't be written; nothing was done.
        """
        padded = next((size for size in _PADDED if size >= len(acts)), len(acts))
        values = [value for act in acts for value in act] + [*_NOTHING] * (padded - len(acts))
        self._synchronize(self._synchronous if safe else "NORMAL")
        with _damage_told():
            self._connection.execute(_insert(padded), values)
        self._emptier.committed(sum(_ROW_BYTES + len(act.body or b"") for act in acts))

    def waiting(self, lane: str, after: int, last: int, limit: int) -> list[KeptRow]:
        """Return messages of a routing key from the row behind `after` on to `last`: so many, or 4 MiB of them."""
        return self._window(_WAITING, lane, after, last, limit)

    def aside(self, after: int, limit: int) -> list[KeptRow]:
        """Return parked messages from the row behind `after` on: so many, or 4 MiB of them."""
        return self._window(_ASIDE, after, limit)

    def lanes(self) -> list[Lane]:
        """Return what waits, by routing keys."""
        sums = "routing_key, count(*), sum(size), min(row), max(row)"
        with _damage_told():
            grouped = f"SELECT {sums} FROM messages WHERE reason IS NULL GROUP BY routing_key"  # noqa: S608
            return [Lane(*row) for row in self._connection.execute(grouped)]

    def ends(self) -> tuple[int, int]:
        """Return the first and the last row, parked ones included; 1 and 0 where there is none."""
        with _damage_told():
            first, last = self._connection.execute("SELECT min(row), max(row) FROM messages").fetchone()
        return (1, 0) if first is None else (first, last)

    def swaps(self) -> list[OpenSwap]:
        """Return the starts without a terminal."""
        with _damage_told():
            rows = self._connection.execute("SELECT row, routing_keys, body FROM swaps ORDER BY row")
            return [OpenSwap(row, json.loads(keys), body) for row, keys, body in rows]

    def tell(self, swap: OpenSwap, messages: Iterable[Message], now: float) -> None:
        """Keep the terminal messages of an open swap, and forget that it is open, in one commit."""
        row = max(self.ends()[1], swap.row) + 1
        acts = [accepting(row + place, message, now) for place, message in enumerate(messages)]
        self.write([*acts, closing(swap.row)], safe=True)

    def facts(self) -> dict[str, Any]:
        """Return what there is to know of the file as a whole."""
        with _damage_told():
            query = (
                "SELECT (SELECT count(*) FROM messages WHERE reason IS NULL), (SELECT count(*) FROM messages WHERE reason "
                "IS NOT NULL), (SELECT count(*) FROM swaps), (SELECT min(accepted_at) FROM messages), "
                "(SELECT created_at FROM about)"
            )
            values = self._connection.execute(query).fetchone()
        return dict(zip(("backlog", "parked", "open_swaps", "oldest", "created_at"), values, strict=True))

    def close(self) -> bool:
        """Close the file and let go of it; remove it if it keeps nothing. Say whether it was removed."""
        try:
            query = "SELECT EXISTS (SELECT 1 FROM messages) OR EXISTS (SELECT 1 FROM swaps)"
            empty = not self._connection.execute(query).fetchone()[0]
        except sqlite3.Error:  # it is left as it is
            empty = False
        try:
            self._emptier.close()
            self._connection.close()
        except sqlite3.Error:
            empty = False
        if empty:
            try:
                for path in (self.path, *side_files(self.path)):
                    path.unlink(missing_ok=True)
            except OSError:
                empty = False
        self._lock.release(remove=empty)
        return empty

    def leave(self) -> None:
        """Close the file as it is, and let go of it."""
        self._emptier.close()
        self._connection.close()
        self._lock.release()

    def set_aside(self) -> Path:
        """Close a damaged file, and give it and its log a name that no outbox looks for. Return that name."""
        self._emptier.close()
        self._connection.close()
        return set_aside(self.path, self._lock)

    def _look_at_header(self) -> None:
        try:
            version = schema_version(self.path)
        except ValueError as error:
            raise Corrupt(str(error)) from None
        self._refuse_newer(version)

    def _refuse_newer(self, version: int) -> None:
        if version > _SCHEMA_VERSION:
            raise OutboxError(
                f"the outbox {self.path} has schema version {version}, and this aioswap knows {_SCHEMA_VERSION} at most: "
                "upgrade aioswap, or give another directory"
            )

    def _prepare(self, destination: str, now: float) -> None:
        execute = self._connection.execute
        version: int = execute("PRAGMA user_version").fetchone()[0]
        self._refuse_newer(version)
        if version and execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
            raise Corrupt(f"{self.path} is a database, but no outbox")
        execute("PRAGMA temp_store = MEMORY")
        if not version:
            if execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise Corrupt(f"{self.path} is a database, but no outbox")
            with transaction(self._connection):
                for statement in _SCHEMA:
                    execute(statement)
                execute("INSERT INTO about VALUES (?, ?)", (destination, now))
        execute("PRAGMA journal_mode = WAL")

    def _synchronize(self, how: Synchronous) -> None:
        if how != self._set_to:
            self._connection.execute(f"PRAGMA synchronous = {how}")
            self._set_to = how

    def _window(self, query: str, *arguments: object) -> list[KeptRow]:
        with _damage_told():
            found = self._connection.execute(query, (*arguments, _WINDOW_BYTES)).fetchone()[0]
        rows = []
        for row, key, message_id, at, extra, body, reason, parked_at in json.loads(found):
            message = message_of(key, message_id, extra, bytes.fromhex(body))
            rows.append(KeptRow(row, message, at, reason, parked_at))
        return rows


def make(path: Path, destination: str, *, synchronous: Synchronous, now: float) -> Store:
    """Make a file, own it and open it.

    Args:
        path: its directory is made if it is missing, for its owner alone.
        destination: where its messages go, without a secret.
        synchronous: what a commit waits for.
        now: seconds since 1970.

    Raises:
        OutboxError: misuse: its directory is none, the file system knows no locks, or somebody else holds it.
        OSError: the disk refuses.
        sqlite3.Error: likewise.
    """
    folder = path.parent
    try:
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = Lock.take(lock_of(path))
    except (NotADirectoryError, FileExistsError) as error:
        raise OutboxError(f"{folder} is no directory: give one on a local disk") from error
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise OutboxError(f"the file system of {folder} knows no locks: give a local disk") from error
        raise
    if lock is None:
        raise OutboxError(f"the outbox {path} is held by someone else")
    try:
        return Store(path, lock, destination=destination, synchronous=synchronous, now=now)
    except Corrupt as error:  # torn when it was made: the next time begins anew
        raise OSError(f"{error}; it is set aside as {set_aside(path, lock)}") from error
    except BaseException:
        lock.release()
        raise


def lock_of(path: Path) -> Path:
    """Return where the lock of a file is."""
    return path.with_name(f"{path.name}.lock")


def side_files(path: Path) -> Iterator[Path]:
    """Give the files that SQLite keeps beside a database."""
    for suffix in ("-wal", "-shm", "-journal"):
        yield path.with_name(path.name + suffix)


def set_aside(path: Path, lock: Lock) -> Path:
    """Give a damaged file and its log a name that no outbox looks for, and let go of the lock. Return that name."""
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    for side in side_files(path):
        if side.exists():
            side.rename(aside.with_name(aside.name + side.name.removeprefix(path.name)))
    path.rename(aside)
    lock.release(remove=True)
    return aside


@contextmanager
def _damage_told() -> Iterator[None]:
    """Tell damage from what may heal."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
            raise Corrupt(str(error)) from error
        raise


def _insert(count: int) -> str:
    marks = ", ".join("?" * len(Act._fields))
    return f"INSERT INTO acts ({_COLUMNS}) SELECT * FROM (VALUES {', '.join([f'({marks})'] * count)}) WHERE column1 IS NOT NULL"  # noqa: S608


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
