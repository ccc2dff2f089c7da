"""The files of earlier runs: found, taken over, and their open swaps told. Everything here blocks: call it in a thread.

A swap is open while its start stands in the table `swaps`. The start and that row are written in one transaction, a terminal
and the row's removal in another, always of the same file. So whoever dies, at any moment, leaves a swap either open and untold
or told and not open: whoever adopts the file tells it, by one transaction again, exactly once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, TypeAlias

from aioswap.errors import DecodeError, OutboxError
from aioswap.outbox_lock import Lock, is_held
from aioswap.outbox_rows import KeptRow
from aioswap.outbox_store import Corrupt, Lane, OpenSwap, Store, Synchronous, lock_of, set_aside
from aioswap.transports.base import Message
from aioswap.wire.envelope import decode, encode
from aioswap.wire.events import volume_swap
from aioswap.wire.faults import traceback_of
from aioswap.wire.notification import InstanceActionVolumeSwapNotification, Notification, new_message_id
from aioswap.wire.payloads import ExceptionPayload, InstanceActionVolumeSwapPayload

__all__ = ["SUFFIX", "Adopted", "Found", "Recover", "files", "find", "terminal"]

_logger = logging.getLogger(__name__)

SUFFIX: Final = ".outbox"
"""What the names of files end with."""

_MOST_PARKED: Final = 10_000

Recover: TypeAlias = Callable[[InstanceActionVolumeSwapNotification], Literal["end", "error", "leave"]]


@dataclass(frozen=True, slots=True)
class Adopted:
    """A file of an earlier run that is ours now.

    Args:
        store: open.
        first: its first row.
        last: its last row.
        lanes: what waits.
        parked: what was set aside.
        left: messages that it keeps, and swaps that stay open.
    """

    store: Store
    first: int
    last: int
    lanes: list[Lane]
    parked: list[KeptRow]
    left: int


@dataclass(slots=True)
class Found:
    """What was found in a directory.

    Args:
        foreign: files whose owner is gone and that go elsewhere, or that a newer aioswap has written.
        aside: damaged files that were set aside.
        newer: why a file that is ours can't be read; None: there is none.
        trouble: why a file could not be adopted now.
    """

    adopted: list[Adopted] = field(default_factory=list)
    foreign: int = 0
    aside: int = 0
    newer: OutboxError | None = None
    trouble: str | None = None


def files(directory: Path) -> list[Path]:
    """Return the files of outboxes in a directory.

    Raises:
        OSError: it can't be read.
    """
    with os.scandir(directory) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.name.endswith(SUFFIX))


def find(directory: Path, destination: str, *, recover: Recover | None, now: datetime, synchronous: Synchronous) -> Found:
    """Adopt the files in `directory` that go to `destination` and whose owner is gone, and tell their open swaps.

    Args:
        directory: there may be no such directory.
        destination: as the files say it.
        recover: is asked what became of each open swap; None: nobody knows.
        now: the time of the notifications that are made.
        synchronous: as the files' owner has it.
    """
    found = Found()
    try:
        others = files(directory)
        _remove_stale_locks(directory)
    except OSError as error:
        found.trouble = None if isinstance(error, FileNotFoundError) else str(error)
        return found
    for path in others:
        try:
            store = _take_over(path, destination, found, synchronous)
            if store is not None:
                _adopt(store, found, recover, now)
        except (OSError, sqlite3.Error) as error:
            _logger.warning("the outbox %s can't be adopted now: %s", path, error)
            found.trouble = str(error)
    found.adopted.sort(key=lambda adopted: adopted.store.created_at)
    return found


def _take_over(path: Path, destination: str, found: Found, synchronous: Synchronous) -> Store | None:
    if is_held(lock_of(path)):
        return None
    lock = Lock.take(lock_of(path))
    if lock is None or not path.exists():  # somebody else was quicker
        if lock is not None:
            lock.release(remove=True)
        return None
    try:
        store = Store(path, lock, destination=destination, synchronous=synchronous, now=path.stat().st_mtime)
    except Corrupt as error:
        _set_aside(path, lock, found, error)
        return None
    except OutboxError as error:
        lock.release()
        found.newer = error
        found.foreign += 1
        return None
    except BaseException:
        lock.release()
        raise
    if store.destination != destination:
        store.leave()
        found.foreign += 1
        return None
    return store


def _adopt(store: Store, found: Found, recover: Recover | None, now: datetime) -> None:
    try:
        for swap in store.swaps():
            _tell(store, swap, recover, now)
        first, last = store.ends()
        parked: list[KeptRow] = []
        while len(parked) < _MOST_PARKED and (more := store.aside(parked[-1].row if parked else 0, 1000)):
            parked += more
        facts = store.facts()
        left = facts["backlog"] + facts["parked"] + facts["open_swaps"]
        if not left:
            store.close()
            return
        found.adopted.append(Adopted(store, first, last, store.lanes(), parked, left))
    except Corrupt as error:
        _logger.error("the outbox %s is damaged (%s): it is set aside as %s", store.path, error, store.set_aside())
        found.aside += 1
    except BaseException:
        store.leave()
        raise


def _set_aside(path: Path, lock: Lock, found: Found, error: Corrupt) -> None:
    _logger.error("the outbox %s is damaged (%s): it is set aside as %s", path, error, set_aside(path, lock))
    found.aside += 1


def _tell(store: Store, swap: OpenSwap, recover: Recover | None, now: datetime) -> None:
    """Tell how a swap ended whose process has died."""
    try:
        start = decode(swap.body)
        if not isinstance(start.payload, InstanceActionVolumeSwapPayload):
            raise DecodeError("it is no swap")
    except DecodeError as error:  # not one that was written by us: it can't be told, and must not come back for ever
        _logger.error("a start in the outbox %s can't be read: %s", store.path, error)
        store.tell(swap, (), now.timestamp())
        return
    answer = _asked(recover, start)
    if answer == "leave":
        return
    told = terminal(start, ended=answer == "end", now=now)
    topics = [key.rpartition(".")[0] for key in swap.routing_keys]
    messages = []
    for topic in topics:
        copy = replace(told, unique_id=os.urandom(16).hex())
        key = f"{topic}.{told.priority.lower()}"
        messages.append(Message(routing_key=key, body=encode(copy), message_id=copy.unique_id or ""))
    store.tell(swap, messages, now.timestamp())
    _logger.warning("told %s of a swap whose process has died; its start is %s", told.event_type, start.message_id)


def _asked(recover: Recover | None, start: InstanceActionVolumeSwapNotification) -> str:
    if recover is None:
        return "error"
    try:
        answer = recover(start)
    except Exception as error:  # a user's function: its failure must not keep a swap untold
        told = traceback_of(error)
        _logger.error("recover failed for the swap whose start is %s; it is told as an error\n%s", start.message_id, told)
        return "error"
    if answer in ("end", "error", "leave"):
        return answer
    _logger.error("recover answered %r for the swap whose start is %s; it is told as an error", answer, start.message_id)
    return "error"


def terminal(
    start: InstanceActionVolumeSwapNotification, *, ended: bool, now: datetime
) -> InstanceActionVolumeSwapNotification:
    """Return the notification that says how a swap ended whose process has died: of the start's publisher and context."""
    event_type = volume_swap.end if ended else volume_swap.error
    fault = None
    if not ended:
        fault = ExceptionPayload(
            module_name="aioswap",
            function_name="swap",
            exception="ProcessDied",
            exception_message="the process died during the swap: its outcome is unknown",
            traceback="",
        )
    payload = start.payload.model_copy(update={"fault": fault})
    return Notification(
        message_id=new_message_id(),
        publisher_id=start.publisher_id,
        event_type=event_type.name,
        priority=event_type.priority,
        timestamp=now,
        payload=payload.at_version(start.payload.object_version),
        context=dict(start.context),
        unique_id=os.urandom(16).hex(),
    )


def _remove_stale_locks(directory: Path) -> None:
    """Remove locks whose file is gone: an owner that died between the two leaves one."""
    with os.scandir(directory) as entries:
        names = {entry.name for entry in entries}
    for name in names:
        guarded = name.removesuffix(".lock")
        if guarded.endswith(SUFFIX) and guarded != name and guarded not in names:
            with contextlib.suppress(OSError):
                lock = Lock.take(directory / name)
                if lock is not None:
                    lock.release(remove=not (directory / guarded).exists())
