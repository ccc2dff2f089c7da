"""docs/command-line.md names only commands, options, columns and exit codes that there are."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import click

from aioswap.cli.app import _COMMANDS
from aioswap.tracking.fields import FIELDS

_PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
_USED = re.findall(r"aioswap (\w+)([^\n`]*)", _PAGE)


def _options(name: str) -> set[str]:
    command: click.Command = import_module(f"aioswap.cli.{name}").command
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def test_every_command_on_the_page_is_one() -> None:
    assert {name for name, _ in _USED} <= set(_COMMANDS)
    assert {"wait", "watch", "collect", "status", "timings", "stuck", "doctor"} <= {name for name, _ in _USED}


def test_every_option_on_the_page_is_one_of_its_command() -> None:
    unknown = [
        (name, option)
        for name, arguments in _USED
        if name in _COMMANDS
        for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", arguments.partition(" -- ")[0])
        if option not in _options(name)
    ]

    assert [] == unknown


def test_every_field_on_the_page_is_one() -> None:
    rows = re.findall(r"^\| (`[^|]*) \|", _PAGE.partition("| Field | Says |")[2].partition("##")[0], re.MULTILINE)

    assert rows
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) <= set(FIELDS)
