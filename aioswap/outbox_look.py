"""What the files of an outbox hold, seen from outside; and parked messages put back. Everything here blocks.

A look changes nothing, and can be had while the owner works.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Container, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from aioswap.errors import OutboxError
from aioswap.outbox_adoption import SUFFIX, files
from aioswap.outbox_lock import Lock, is_held
from aioswap.outbox_rows import resending
from aioswap.outbox_store import Corrupt, Store, lock_of

__all__ = ["KeptMessage", "Seen", "look", "put_back", "read"]

_KNOWN_SCHEMA: Final = 1
_BUSY_WAIT: Final = 5.0
_PAGE: Final = 1000
_SIDES: Final = ("-wal", "-shm", "rnal")
"""How the names of SQLite's own files end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A file of an outbox.

    Args:
        file: its name.
        destination: where its messages go; None: it can't be read.
        owner: does somebody hold it?
        backlog: messages that wait.
        parked: messages that were set aside.
        open_swaps: starts without a terminal.
        oldest: when its oldest message was accepted; None: there is none.
        trouble: why it can't be read; None: it can.
    """

    file: str
    destination: str | None = None
    owner: bool = False
    backlog: int | None = None
    parked: int | None = None
    open_swaps: int | None = None
    oldest: datetime | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMessage:
    """A message in a file.

    Args:
        id: AMQP's `message_id`.
        reason: why it was set aside; None: it waits.
    """

    id: str
    file: str
    routing_key: str
    accepted_at: datetime
    reason: str | None
    parked_at: datetime | None
    body: bytes


def look(directory: Path) -> list[Seen]:
    """Return what the files in a directory hold, those that were set aside at the end.

    Raises:
        OSError: the directory can't be read.
    """
    seen = []
    for path in files(directory):
        owner = is_held(lock_of(path))
        try:
            with closing(_reading(path)) as connection:
                seen.append(_seen(path, owner, connection))
        except (sqlite3.Error, OSError, OutboxError) as error:
            seen.append(Seen(file=path.name, owner=owner, trouble=str(error)))
    aside = [path.name for path in sorted(directory.glob(f"*{SUFFIX}.corrupt-*")) if path.name[-4:] not in _SIDES]
    return seen + [Seen(file=name, trouble="it was damaged, and was set aside") for name in aside]


def read(directory: Path, *, parked: bool = False, id: str | None = None, limit: int = -1) -> Iterator[KeptMessage]:
    """Give the messages in the files of a directory, in the order of each.

    Args:
        directory: where.
        parked: only those that were set aside.
        id: only the one with this AMQP id.
        limit: so many at most; -1: all.

    Raises:
        OSError: the directory can't be read. A file that can't is left out.
    """
    query = (
        "SELECT message_id, routing_key, accepted_at, reason, parked_at, body FROM messages "
        "WHERE (? IS NULL OR message_id = ?) AND (NOT ? OR reason IS NOT NULL) ORDER BY row LIMIT ?"
    )
    for path in files(directory):
        try:
            with closing(_reading(path)) as connection:
                for message_id, key, at, reason, parked_at, body in connection.execute(query, (id, id, parked, limit)):
                    limit -= limit > 0
                    yield KeptMessage(
                        id=message_id,
                        file=path.name,
                        routing_key=key,
                        accepted_at=_moment(at),
                        reason=reason,
                        parked_at=None if parked_at is None else _moment(parked_at),
                        body=body,
                    )
        except (sqlite3.Error, OutboxError):
            continue
        if limit == 0:
            return


def put_back(directory: Path, ids: Container[str] | None, *, trouble: Callable[[str], None]) -> int:
    """Let parked messages wait again, in the files whose owner is gone, and return how many.

    Args:
        directory: where.
        ids: AMQP ids; None: all.
        trouble: is told why a file was left as it is.

    Raises:
        OSError: the directory can't be read, or the disk refuses.
        sqlite3.Error: likewise.
    """
    count = 0
    for path in files(directory):
        lock = Lock.take(lock_of(path))
        if lock is None:
            trouble(f"{path.name} is held by its owner: only the process itself can send its parked messages again")
            continue
        try:
            store = Store(path, lock)
        except (Corrupt, OutboxError, sqlite3.Error) as error:
            lock.release()
            trouble(str(error))
            continue
        try:
            count += _put_back(store, ids)
        finally:
            store.leave()
    return count


def _put_back(store: Store, ids: Container[str] | None) -> int:
    count = after = 0
    last = store.ends()[1]
    now = datetime.now(UTC).timestamp()
    end = last
    while rows := [row for row in store.aside(after, _PAGE) if row.row <= end]:
        after = rows[-1].row
        chosen = [row for row in rows if ids is None or row.message.message_id in ids]
        acts = []
        for row in chosen:
            last += 1
            acts.append(resending(row.row, last, now))
        if acts:
            store.write(acts, safe=True)
        count += len(chosen)
    return count


def _reading(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_WAIT, isolation_level=None)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _KNOWN_SCHEMA:
            raise OutboxError(f"schema version {version} is newer than this aioswap: upgrade it")
    except BaseException:
        connection.close()
        raise
    return connection


def _seen(path: Path, owner: bool, connection: sqlite3.Connection) -> Seen:
    query = (
        "SELECT (SELECT destination FROM about), (SELECT count(*) FROM messages WHERE reason IS NULL), "
        "(SELECT count(*) FROM messages WHERE reason IS NOT NULL), (SELECT count(*) FROM swaps), "
        "(SELECT min(accepted_at) FROM messages)"
    )
    destination, backlog, parked, open_swaps, oldest = connection.execute(query).fetchone()
    return Seen(
        file=path.name,
        destination=destination,
        owner=owner,
        backlog=backlog,
        parked=parked,
        open_swaps=open_swaps,
        oldest=None if oldest is None else _moment(oldest),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
