"""What commands print: data to stdout, talk to stderr, and never a control character that the text brought along."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TextIO

import click

__all__ = ["FORMATS", "Style", "data", "escaped", "json_line", "logs", "say", "table"]

FORMATS: Final = ("table", "json", "value", "csv")
"""What `-f` takes, as the OpenStack client has it."""


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


def json_line(value: Any, *, indent: int | None = None) -> str:
    """Return `value` as one line of JSON (several if `indent` is given), all ASCII. Times are written in ISO 8601."""
    return json.dumps(value, default=_plain, indent=indent).replace("\x7f", "\\u007f")


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _cell(value: object) -> str:
    """Return `value` as people read it: nothing for None, JSON for what has parts."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | list | tuple | dict):
        return json_line(value)
    return _plain(value)


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
        framed.add_column(Text(name), overflow="fold")
    for line in lines[1:]:
        framed.add_row(*(Text(cell) for cell in line))
    Console(file=out).print(framed)


@dataclass(frozen=True, slots=True)
class Style:
    """How data is printed: what `-f` and `-c` say.

    Args:
        format: one of `FORMATS`.
        columns: the columns to print, in their own order whatever this one is; empty: all.
    """

    format: str = "table"
    columns: tuple[str, ...] = ()

    def rows(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a list: a table, a JSON array of objects, or lines.

        Args:
            header: the columns' names; in JSON they are the keys.
            rows: a value for each column: text, numbers, times, None, or what JSON can say.

        Raises:
            click.UsageError: `columns` names one that is not in `header`.
        """
        places = self._places(header)
        names = [header[place] for place in places]
        chosen = [[row[place] for place in places] for row in rows]
        if self.format == "table":
            table(names, [[_cell(value) for value in row] for row in chosen])
        elif self.format == "json":
            print(json_line([dict(zip(names, row, strict=True)) for row in chosen], indent=2), flush=True)
        else:
            show = self._lines(names, ())
            for row in chosen:
                show(row)

    def item(self, values: Mapping[str, object]) -> None:
        """Print one thing by its fields: a table of names and values, a JSON object, a value a line, or two lines of CSV.

        Raises:
            click.UsageError: as `rows`.
        """
        header = list(values)
        names = [header[place] for place in self._places(header)]
        if self.format == "table":
            table(("field", "value"), [(name, _cell(values[name])) for name in names])
        elif self.format == "json":
            print(json_line({name: values[name] for name in names}, indent=2), flush=True)
        elif self.format == "value":
            for name in names:
                data(_cell(values[name]))
        else:
            self._lines(names, ())([values[name] for name in names])

    def stream(self, header: Sequence[str], widths: Sequence[int] = ()) -> Callable[[Sequence[object]], None]:
        """Return a function that prints one row at once: a line each, of JSON with `-f json`.

        Args:
            header: the columns' names, printed at once but with `json` and `value`.
            widths: letters for each column of a table; a longer text pushes the rest of its line aside.

        Raises:
            click.UsageError: as `rows`.
        """
        places = self._places(header)
        names = [header[place] for place in places]
        show = self._lines(names, [widths[place] if place < len(widths) else 0 for place in places])
        return lambda row: show([row[place] for place in places])

    def _places(self, header: Sequence[str]) -> Sequence[int]:
        wanted = {name.lower() for name in self.columns}
        if unknown := wanted - {name.lower() for name in header}:
            raise click.UsageError(f"no column {', '.join(sorted(unknown))}: there are {', '.join(header)}")
        return [place for place, name in enumerate(header) if not wanted or name.lower() in wanted]

    def _lines(self, names: Sequence[str], widths: Sequence[int]) -> Callable[[Sequence[object]], None]:
        """Return a function that prints a row as one line, and print the names if the format has them."""
        if self.format == "json":
            return lambda row: data(json_line(dict(zip(names, row, strict=True))))
        if self.format == "value":
            return lambda row: data(" ".join(map(_cell, row)))
        show = _csv_line if self.format == "csv" else lambda row: data(_aligned(row, names, widths))
        show(names)
        return show


def _aligned(row: Sequence[object], names: Sequence[str], widths: Sequence[int]) -> str:
    cells = [escaped(_cell(value)) for value in row]
    return "  ".join(cell.ljust(max(len(name), width)) for cell, name, width in zip(cells, names, widths, strict=True)).rstrip()


def _csv_line(row: Sequence[object]) -> None:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([escaped(_cell(value)) for value in row])
    data(line.getvalue())


class _Escaping(logging.Formatter):
    """One line a record, masked: what a peer wrote into it can't forge another, nor show what other code let out."""

    def format(self, record: logging.LogRecord) -> str:
        from aioswap.wire.faults import mask  # not for --help: it brings pydantic along

        return escaped(mask(super().format(record)))


def _is_ours(record: logging.LogRecord) -> bool:
    from aioswap.hooks.logging import DRIVERS

    return record.name.partition(".")[0] not in DRIVERS


class _Talk(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at that moment: a table that changes puts what is said above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        self.setStream(sys.stderr)
        super().emit(record)


@contextmanager
def logs() -> Generator[None]:
    """Show warnings on stderr inside the `with`, each as one line, escaped and masked; but for the driver's own."""
    handler = _Talk()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Escaping("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_is_ours)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
