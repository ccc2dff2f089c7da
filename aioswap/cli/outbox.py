"""`aioswap outbox`: the files in which a service keeps what RabbitMQ has not confirmed yet."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Final

import click

from aioswap.cli.options import Connection, connection_options, output_options
from aioswap.cli.output import Style, say
from aioswap.cli.sending import until_ready
from aioswap.cli.shown import shown_body
from aioswap.clock import Clock
from aioswap.errors import OutboxError
from aioswap.hooks import Hooks
from aioswap.outbox_file import FileOutbox
from aioswap.outbox_look import Seen, look, put_back, read
from aioswap.recording import inner_message
from aioswap.relay import Relay
from aioswap.transports.base import Transport

__all__ = ["command", "relay_all"]

_FILES: Final = tuple(field.name for field in fields(Seen))
_MESSAGES: Final = ("id", "event_type", "routing_key", "accepted_at", "parked_at", "reason", "file")
_DIRECTORY: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_PATIENCE: Final = 5.0
"""Seconds without a confirm in which all that is left is refused: nobody waits out the time for a missing queue."""
_TURN: Final = 0.1


@click.group("outbox")
def command() -> None:
    """Look at what services keep on disk, put parked messages back, and relay what a dead service has left."""


def _directory(function: Callable[..., int]) -> Callable[..., int]:
    return click.argument("directory", type=_DIRECTORY)(function)


@command.command("list")
@_directory
@output_options
def list_files(directory: Path, style: Style) -> int:
    """List the files in DIRECTORY: where their messages go, whether their owner lives, and what they hold."""
    seen = look(directory)
    style.rows(_FILES, [[_shown(getattr(one, name)) for name in _FILES] for one in seen])
    return 0


@command.command("show")
@_directory
@click.argument("id", required=False)
@click.option("--parked", is_flag=True, help="Only messages that RabbitMQ refuses.")
@click.option("--limit", type=click.IntRange(min=1), default=100, help="So many at most.", show_default=True)
@output_options
def show(directory: Path, id: str | None, parked: bool, limit: int, style: Style) -> int:
    """Show the messages in DIRECTORY; one with its notification, but for the request context. Secrets in a fault are masked."""
    if id is None:
        rows = []
        for message in read(directory, parked=parked, limit=limit):
            values = [getattr(message, name) if name != "event_type" else _event_type(message.body) for name in _MESSAGES]
            rows.append([_shown(value) for value in values])
        style.rows(_MESSAGES, rows)
        return 0
    found = next(read(directory, parked=parked, id=id, limit=1), None)
    if found is None:
        say(f"aioswap: {directory} has no message {id!r}")
        return 1
    told = {name: _shown(getattr(found, name)) for name in _MESSAGES if name != "event_type"}
    style.item({**told, "event_type": _event_type(found.body), "notification": shown_body(found.body)})
    return 0


@command.command("resend")
@_directory
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All of them.")
def resend(directory: Path, ids: tuple[str, ...], everything: bool) -> int:
    """Put parked messages in DIRECTORY back in line, in files whose owner is gone: `relay`, or the next service, sends them."""
    if bool(ids) == everything:
        raise click.UsageError("give the ids of parked messages, or --all")
    held: list[str] = []
    try:
        count = put_back(directory, None if everything else frozenset(ids), trouble=held.append)
    except sqlite3.Error as error:
        say(f"aioswap: the files in {directory} can't be written: {error}")
        return 1
    for why in held:
        say(f"aioswap: {why}")
    missing = max(len(set(ids)) - count, 0)
    say(f"{count} parked messages wait again{f'; {missing} of the ids were not found' if missing else ''}")
    return 1 if missing or held else 0


@command.command("relay")
@_directory
@connection_options
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=300.0, help="Seconds.", show_default=True)
def relay(directory: Path, connection: Connection, timeout: float) -> int:
    """Relay what dead services have left in DIRECTORY for this broker and exchange, and tell their open swaps as errors.

    It ends with 0 when nothing is left, with 1 when something is refused or goes elsewhere, with 4 when something stays
    unconfirmed.
    """
    transport = connection.transport()
    try:
        return asyncio.run(relay_all(directory, transport, timeout))
    except OutboxError as error:
        say(f"aioswap: {error}")
        return 1


async def relay_all(directory: Path, transport: Transport, timeout: float) -> int:
    """Relay what is in `directory` for `transport`, say what became of it, and return the exit code.

    Raises:
        TransportError: the broker can't be reached within `timeout` seconds.
        OutboxError: a file was written by a newer aioswap.
    """
    clock, outbox = Clock(), FileOutbox(directory)
    async with transport, transport.sender("outbox") as sender:
        await until_ready(sender, clock, timeout)
        await outbox.open(clock, destination=transport.destination)
        relay = Relay(outbox, clock=clock, hooks=Hooks())
        relaying = asyncio.create_task(relay.run(sender))
        try:
            refused = await _drained(outbox, relay, clock, timeout)
        finally:
            relaying.cancel()
            await asyncio.wait((relaying,))
            await outbox.close()
    counts = outbox.counts()
    say(f"{counts.confirmed} messages relayed")
    for key, how in refused.items():
        say(f"aioswap: {how}: messages of routing key {key} stay in the outbox")
    if counts.backlog and not refused:
        say(f"aioswap: unconfirmed: {counts.backlog} messages after {timeout:g} s; they stay in the outbox")
        return 4
    if counts.parked:
        say(f"aioswap: {counts.parked} messages are parked: aioswap outbox show --parked")
    if counts.foreign_files:
        say(f"aioswap: {counts.foreign_files} files are not for {transport.destination}: aioswap outbox list")
    if counts.trouble is not None:
        say(f"aioswap: not all files can be used: {counts.trouble}")
    return 1 if refused or counts.parked or counts.foreign_files or counts.trouble is not None else 0


async def _drained(outbox: FileOutbox, relay: Relay, clock: Clock, timeout: float) -> dict[str, str]:
    """Wait until nothing is left to relay, or nothing more comes of it; return what is refused."""
    began = moved = clock.monotonic()
    confirmed = 0
    while outbox.counts().backlog:
        await clock.sleep(_TURN)
        now = clock.monotonic()
        if outbox.counts().confirmed > confirmed:
            confirmed, moved = outbox.counts().confirmed, now
        if now - began >= timeout or (relay.refused and now - moved >= _PATIENCE):
            return relay.refused
    return {}


def _event_type(body: bytes) -> str | None:
    try:
        event_type = inner_message(body).get("event_type")
    except ValueError:
        return None
    return event_type if isinstance(event_type, str) else None


def _shown(value: object) -> object:
    return value.replace(microsecond=0) if isinstance(value, datetime) else value
