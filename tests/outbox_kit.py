"""What the tests of outboxes share: messages, and outboxes that are open."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

from aioswap.clock import Clock
from aioswap.outbox import MemoryOutbox
from aioswap.outbox_file import FileOutbox
from aioswap.transports.base import Entry, Message, Outbox

__all__ = [
    "DESTINATION",
    "ERROR",
    "INFO",
    "Make",
    "accept",
    "changed",
    "each",
    "file_outbox",
    "files",
    "ids",
    "message",
    "relayed",
]

INFO, ERROR = "versioned_notifications.info", "versioned_notifications.error"
DESTINATION = "memory exchange=nova"

Make: TypeAlias = Callable[..., Awaitable[MemoryOutbox | FileOutbox]]


def message(number: int | str, key: str = INFO, size: int = 100) -> Message:
    """Return a message whose AMQP id is a number."""
    return Message(routing_key=key, body=b"x" * size, message_id=str(number))


def ids(entries: Iterable[Any]) -> list[str]:
    """Return the AMQP ids of entries or parked messages."""
    return [entry.message.message_id for entry in entries]


def changed(folder: Path, statement: str) -> Path:
    """Change the only file in a directory with SQLite itself, and return it."""
    (path,) = folder.glob("*.outbox")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()
    return path


async def accept(outbox: Outbox, *messages: Message, **more: Any) -> None:
    """Accept one notification and wait until it is safe."""
    await outbox.accept(*messages, **more)


@asynccontextmanager
async def file_outbox(folder: Path, clock: Clock | None = None, **more: Any) -> AsyncGenerator[FileOutbox]:
    """An open outbox in a directory."""
    outbox = FileOutbox(folder, **more)
    await outbox.open(clock or Clock(), destination=DESTINATION)
    try:
        yield outbox
    finally:
        await outbox.close()


async def each(outbox: Outbox, count: int) -> AsyncGenerator[Entry]:
    """Give so many entries as they can be taken."""
    woken = asyncio.Event()
    outbox.attach(woken.set)
    while count:
        woken.clear()
        entries = outbox.take(count)
        count -= len(entries)
        for entry in entries:
            yield entry
        if not entries:
            await woken.wait()
    outbox.attach(None)


async def relayed(outbox: Outbox, *, at_least: int = 1) -> list[str]:
    """Take and confirm until so many were taken and nothing is left; return their AMQP ids in order."""
    woken = asyncio.Event()
    outbox.attach(woken.set)
    told: list[str] = []
    while outbox.counts().backlog or len(told) < at_least:
        woken.clear()
        entries = outbox.take(128)
        for entry in entries:
            outbox.confirm(entry)
        told += ids(entries)
        if not entries:
            await woken.wait()
    outbox.attach(None)
    return told


def files(folder: Path) -> list[str]:
    """Return the names in a directory, without what is drawn by lot."""
    return sorted(path.name[16:] for path in folder.iterdir())
