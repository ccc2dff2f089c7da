"""`aioswap dlq`: the dead letters of a pool."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, TypeVar

import click

from aioswap.cli.options import Connection, connection_options, output_options
from aioswap.cli.output import Style, say
from aioswap.cli.shown import shown_body
from aioswap.dead_letters import DeadLetter, DeadLetters
from aioswap.errors import TransportError

__all__ = ["command"]

_COLUMNS: Final = ("id", "event_type", "reason", "handlers", "attempts", "replays", "first", "last")
_NOT_FOUND: Final = 404

T = TypeVar("T")


@click.group("dlq")
def command() -> None:
    """Look at what a pool could not handle, hand it to the pool once more, or drop it. A look takes nothing."""


@command.command("list")
@click.argument("pool")
@connection_options
@click.option("--limit", type=click.IntRange(min=1), default=100, help="The oldest so many.", show_default=True)
@output_options
def list_letters(pool: str, connection: Connection, limit: int, style: Style) -> int:
    """List the dead letters of POOL, the oldest first."""
    letters = _ask(connection, pool, lambda dead: dead.list(limit))
    if letters is None:
        return 1
    style.rows(_COLUMNS, [[getattr(letter, column) for column in _COLUMNS] for letter in letters])
    return 0


@command.command("show")
@click.argument("pool")
@click.argument("id")
@connection_options
@output_options
def show(pool: str, id: str, connection: Connection, style: Style) -> int:
    """Show one dead letter of POOL with its notification, but for the request context. Secrets in a fault are masked."""
    try:
        letter = _ask(connection, pool, lambda dead: dead.show(id))
    except LookupError as error:
        say(f"aioswap: {error.args[0]}")
        return 1
    if letter is None:
        return 1
    style.item(_fields(letter))
    return 0


def _fields(letter: DeadLetter) -> dict[str, Any]:
    told = {column: getattr(letter, column) for column in _COLUMNS}
    others = ("message_id", "publisher_id", "routing_key")
    return {**told, **{name: getattr(letter, name) for name in others}, "notification": shown_body(letter.body)}


def _chosen(ids: tuple[str, ...], everything: bool) -> Collection[str] | None:
    """Return the ids, None for all.

    Raises:
        click.UsageError: neither or both were given.
    """
    if bool(ids) == everything:
        raise click.UsageError("give the ids of dead letters, or --all")
    return None if everything else frozenset(ids)


def _which(function: Callable[..., int]) -> Callable[..., int]:
    function = click.option("--all", "everything", is_flag=True, help="All of them.")(function)
    return click.argument("ids", nargs=-1, metavar="[ID]...")(function)


@command.command("replay")
@click.argument("pool")
@_which
@connection_options
def replay(pool: str, ids: tuple[str, ...], everything: bool, connection: Connection) -> int:
    """Hand dead letters to POOL's own queue once more: attempts start anew, for the handlers that did not acknowledge."""
    chosen = _chosen(ids, everything)
    return _told("replayed", chosen, _ask(connection, pool, lambda dead: dead.replay(chosen)))


@command.command("drop")
@click.argument("pool")
@_which
@connection_options
def drop(pool: str, ids: tuple[str, ...], everything: bool, connection: Connection) -> int:
    """Delete dead letters of POOL."""
    chosen = _chosen(ids, everything)
    return _told("dropped", chosen, _ask(connection, pool, lambda dead: dead.drop(chosen)))


def _told(what: str, chosen: Collection[str] | None, count: int | None) -> int:
    if count is None:
        return 1
    missing = 0 if chosen is None else max(len(chosen) - count, 0)
    say(f"{count} dead letters {what}{f'; {missing} of the ids were not found' if missing else ''}")
    return 1 if missing else 0


def _ask(connection: Connection, pool: str, question: Callable[[DeadLetters], Awaitable[T]]) -> T | None:
    """Return what `question` answers; None: the pool has no dead-letter queue, which was said.

    Raises:
        click.UsageError: `pool` is no name of a pool.
        TransportError: the broker is away or refuses.
    """
    transport = connection.transport()
    try:
        letters = DeadLetters(transport, pool)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="POOL") from None

    async def ask() -> T:
        async with transport:
            return await question(letters)

    try:
        return asyncio.run(ask())
    except TransportError as error:
        if getattr(error, "code", None) != _NOT_FOUND:
            raise
        say(f"aioswap: the pool {pool} has no dead-letter queue: is the name right, and did its consumer ever run here?")
        return None
