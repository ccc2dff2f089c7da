"""What reaches a terminal: escaped, in columns, on the right stream."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime
from typing import Any

import click
import pytest

from aioswap.cli.output import Style, data, escaped, json_line, logs, say, table


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("grün, 日本", "grün, 日本"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("one\ntwo\r\ttab", "one\\ntwo\\r\\ttab"),
        ("\x7f and \x9b2J", "\\x7f and \\x9b2J"),
        ("\u202eback\u2028", "\\u202eback\\u2028"),
        ("half \ud83d of one", "half \\ud83d of one"),
        ("\U000e0041 tag", "\\U000e0041 tag"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert shown == escaped(text)


def test_data_goes_to_stdout_and_talk_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    data("a\x1bb")
    say("c\nd")

    assert ("a\\x1bb\n", "c\\nd\n") == capsys.readouterr()


def test_json_is_one_line_of_plain_characters() -> None:
    assert '{"a": "\\u001b\\u007f\\u009b\\ud83d", "b": 1}' == json_line({"a": "\x1b\x7f\x9b\ud83d", "b": 1})


def test_a_table_is_plain_columns_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table(("name", "n"), [("short", "1"), ("longer\x1b", "")])

    assert "name        n\nshort       1\nlonger\\x1b\n" == capsys.readouterr().out


def test_a_table_is_framed_on_a_terminal() -> None:
    terminal = _Terminal()

    table(("name", "n"), [("[bold]no markup[/bold]\x1b", "1")], file=terminal)

    assert "[bold]no markup[/bold]\\x1b" in terminal.getvalue()
    assert "─" in terminal.getvalue()


def test_warnings_are_one_escaped_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("aioswap.something")
    with logs():
        logger.warning("the broker says: %s", "bad\nWARNING forged")
        logger.info("too quiet")
        logging.getLogger("aiormq.connection").warning("told by aioswap itself")
    logger.warning("not shown any more")

    assert "WARNING aioswap.something: the broker says: bad\\nWARNING forged\n" == capsys.readouterr().err


_HEADER = ("name", "count", "parts", "at")
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_ROWS: list[list[Any]] = [["a\x1b", 1, ["x", None], _MOMENT], ["b, c", None, True, "\n"]]


_TABLE = """\
name   count  parts        at
a\\x1b  1      ["x", null]  2026-01-01T00:00:00+00:00
b, c          true         \\n
"""


@pytest.mark.parametrize(
    ("style", "shown"),
    [
        ("table", _TABLE),
        ("value", 'a\\x1b 1 ["x", null] 2026-01-01T00:00:00+00:00\nb, c  true \\n\n'),
        ("csv", 'name,count,parts,at\na\\x1b,1,"[""x"", null]",2026-01-01T00:00:00+00:00\n"b, c",,true,\\n\n'),
    ],
)
def test_a_list_is_printed_in_each_format(style: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    Style(style).rows(_HEADER, _ROWS)

    assert shown == capsys.readouterr().out


def test_a_list_in_json_is_an_array_of_objects(capsys: pytest.CaptureFixture[str]) -> None:
    Style("json").rows(_HEADER, _ROWS)

    assert [
        {"name": "a\x1b", "count": 1, "parts": ["x", None], "at": "2026-01-01T00:00:00+00:00"},
        {"name": "b, c", "count": None, "parts": True, "at": "\n"},
    ] == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("style", "shown"),
    [
        ("table", "field  value\na      1\nb      x\\n\nc\n"),
        ("value", "1\nx\\n\n\n"),
        ("csv", "a,b,c\n1,x\\n,\n"),
        ("json", '{\n  "a": 1,\n  "b": "x\\n",\n  "c": null\n}\n'),
    ],
)
def test_one_thing_is_printed_by_its_fields(style: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    Style(style).item({"a": 1, "b": "x\n", "c": None})

    assert shown == capsys.readouterr().out


@pytest.mark.parametrize(
    ("style", "shown"),
    [
        ("table", "a    b\n1    x\n22222  y\n"),
        ("value", "1 x\n22222 y\n"),
        ("csv", "a,b\n1,x\n22222,y\n"),
        ("json", '{"a": 1, "b": "x"}\n{"a": 22222, "b": "y"}\n'),
    ],
)
def test_what_never_ends_is_a_line_each(style: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    show = Style(style).stream(("a", "b"), (3,))
    show([1, "x"])
    show([22222, "y"])

    assert shown == capsys.readouterr().out


@pytest.mark.parametrize("style", ["table", "value", "csv", "json"])
def test_columns_are_chosen_by_name_and_keep_their_order(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = Style(style, ("C", "a"))
    chosen.rows(("a", "b", "c"), [(1, 2, 3)])
    chosen.item({"a": 1, "b": 2, "c": 3})
    chosen.stream(("a", "b", "c"), (1, 2, 3))((1, 2, 3))
    told = capsys.readouterr().out

    assert "2" not in told
    assert told.index("1") < told.index("3")


def test_a_column_that_is_not_there_is_misuse() -> None:
    with pytest.raises(click.UsageError, match="no column d, e: there are a, b"):
        Style("value", ("e", "a", "d")).rows(("a", "b"), [])


def test_an_empty_list_is_its_header() -> None:
    terminal = _Terminal()

    table(("a",), [], file=terminal)

    assert "a" in terminal.getvalue()


def test_a_long_word_is_folded_on_a_narrow_terminal_and_never_cut() -> None:
    terminal = _Terminal()

    table(("name", "remedy"), [("versioned_notifications.error", "x" * 200)], file=terminal)

    assert 200 == terminal.getvalue().count("x")
