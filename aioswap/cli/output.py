"""What commands print: data to stdout, talk to stderr, and never a control character that the text brought along."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TextIO

__all__ = ["data", "escaped", "json_line", "logs", "say", "table"]

_DRIVERS: Final = ("aio_pika", "aiormq")
"""Loggers whose trouble aioswap tells in its own words, with the remedy."""


def escaped(text: str) -> str:
    r"""Return `text` with everything that is not printable as `\x1b` or `\u202e`: it can't steer a terminal or forge a line."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def data(text: str) -> None:
    """Print one line of data, escaped, at once."""
    print(escaped(text), flush=True)


def say(text: str) -> None:
    """Print one line of talk, escaped, to stderr."""
    print(escaped(text), file=sys.stderr, flush=True)


def json_line(value: Any) -> str:
    """Return `value` as one line of JSON, all ASCII."""
    return json.dumps(value).replace("\x7f", "\\u007f")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, file: TextIO | None = None) -> None:
    """Print a table: framed on a terminal, plain columns otherwise.

    Args:
        header: the columns' names.
        rows: a text for each column.
        file: stdout by default.
    """
    out = file or sys.stdout
    lines = [[escaped(cell) for cell in row] for row in (header, *rows)]
    if out.isatty():
        _framed(lines, out)
        return
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), file=out)
    out.flush()


def _framed(lines: Sequence[Sequence[str]], out: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    framed = Table()
    for name in lines[0]:
        framed.add_column(Text(name))
    for line in lines[1:]:
        framed.add_row(*(Text(cell) for cell in line))
    Console(file=out).print(framed)


class _Escaping(logging.Formatter):
    """One line a record: what a peer wrote into it can't forge another."""

    def format(self, record: logging.LogRecord) -> str:
        return escaped(super().format(record))


@contextmanager
def logs() -> Generator[None]:
    """Show warnings on stderr inside the `with`, each as one escaped line."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Escaping("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(lambda record: record.name.partition(".")[0] not in _DRIVERS)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
