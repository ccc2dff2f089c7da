"""The README's code runs as it stands: its Python blocks, one after the other, are a program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import aioswap

_ROOT = Path(__file__).parents[1]
_TEXT = (_ROOT / "README.md").read_text()
_LONGEST = 120
"""Lines: a screen and a half."""


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", _TEXT, re.DOTALL | re.MULTILINE)


def test_the_code_runs_and_prints_what_the_page_says() -> None:
    program = "\n".join(_blocks("python"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    promised = re.search(r"^This prints `(.*?)`, then `(.*?)`", _TEXT, re.MULTILINE)

    assert promised is not None
    assert (0, "") == (done.returncode, done.stderr)
    assert list(promised.groups()) == done.stdout.splitlines()


def test_every_block_is_run_or_checked() -> None:
    assert {"python", "sh"} == set(re.findall(r"^```(\w+)$", _TEXT, re.MULTILINE))


def test_the_commands_exist() -> None:
    commands = [line for block in _blocks("sh") for line in block.splitlines()]
    targets = re.findall(r"^([a-z-]+):", (_ROOT / "Makefile").read_text(), re.MULTILINE)
    named = [command.split()[1] for command in commands if command.startswith("make ")]

    assert named
    assert set() == set(named) - set(targets)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"from aioswap import ([\w, ]+)", _TEXT))))
def test_the_names_are_public(name: str) -> None:
    assert set() == {part.strip() for part in name.split(",")} - set(aioswap.__all__)


def test_the_page_is_short() -> None:
    assert _TEXT.count("\n") <= _LONGEST
