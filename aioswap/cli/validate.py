"""`aioswap validate`: say what a message is, or what is wrong with it and where."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from aioswap.cli.output import data, json_line, say
from aioswap.cli.shown import shown
from aioswap.errors import DecodeError
from aioswap.wire.envelope import decode
from aioswap.wire.notification import Notification
from aioswap.wire.payloads import VersionedObject

__all__ = ["command"]

_SHOWN = 20
"""Unknown fields that are named."""


@click.command("validate")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="Print the notification without its request context, its fault masked.")
def command(file: str, as_json: bool) -> int:
    """Say what the message in FILE (- is stdin) is, or what is wrong with it and where.

    FILE holds the body of one message, or JSON lines: one body a line.
    """
    bodies = list(_bodies(_read(file)))
    if not bodies:
        say("aioswap: there is nothing to validate: no body was found")
        return 1
    wrong = 0
    for where, body in bodies:
        try:
            notification = decode(body)
        except DecodeError as error:
            wrong += 1
            (say if as_json else data)(f"{where}{type(error).__name__}: {error}")
            continue
        if as_json:
            data(json_line(shown(notification.to_wire())))
        else:
            _describe(where, notification)
    return 1 if wrong else 0


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise click.FileError(file, str(error)) from error


def _bodies(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Give each body with the words that say where it stands. JSON lines are told by their first line: one whole object."""
    lines = [(number, line.strip()) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    if len(lines) > 1 and lines[0][1].startswith(b"{") and lines[0][1].endswith(b"}"):
        yield from ((f"line {number}: ", line) for number, line in lines)
    elif lines:
        yield "", content


def _describe(where: str, notification: Notification[Any]) -> None:
    data(f"{where}{notification.event_type}: {_what(notification.payload)}")
    data(f"  {notification.priority} from {notification.publisher_id} at {notification.timestamp.isoformat()}")
    data(f"  message {notification.message_id}")
    if isinstance(notification.payload, VersionedObject):
        known, unknown = _fields(notification.payload, "")
        data(f"  {known} fields known, {len(unknown)} unknown{': ' if unknown else ''}{', '.join(unknown[:_SHOWN])}")


def _what(payload: object) -> str:
    if not isinstance(payload, VersionedObject):
        return "plain JSON, no versioned object"
    untyped = ", which aioswap has no class for" if type(payload) is VersionedObject else ""
    return f"{payload.object_name} {payload.object_version}{untyped}"


def _fields(value: object, path: str) -> tuple[int, list[str]]:
    """Return how many fields have a place in aioswap's classes, nested objects included, and the paths of those without."""
    inner: dict[str, object] = {}
    known, unknown = 0, []
    if isinstance(value, list | tuple):
        inner = {f"{path}{index}.": item for index, item in enumerate(value)}
    elif isinstance(value, VersionedObject):
        named = [name for name in type(value).model_fields if name in value.model_fields_set]
        inner = {f"{path}{name}.": getattr(value, name) for name in named}
        known, unknown = len(named), [f"{path}{name}" for name in value.model_extra or ()]
    for deeper, item in inner.items():
        more, names = _fields(item, deeper)
        known, unknown = known + more, unknown + names
    return known, unknown
