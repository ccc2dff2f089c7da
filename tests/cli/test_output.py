"""What reaches a terminal: escaped, in columns, on the right stream."""

from __future__ import annotations

import io
import logging

import pytest

from aioswap.cli.output import data, escaped, json_line, logs, say, table


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
