"""Every block of code in the pages runs, or says who runs it, or why nobody does."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
import tomllib
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Final

import click
import pytest

from aioswap.cli.app import _COMMANDS
from tests.broker import Node
from tests.docs.blocks import LANGUAGES, PAGES, ROOT, Block, Program, blocks, programs
from tests.transports.rabbit_driver import Admin

_BLOCKS: Final = [block for page in PAGES for block in blocks(page)]
_RUNNABLE: Final = [block for block in _BLOCKS if block.language in LANGUAGES]
_PROGRAMS: Final = [program for page in PAGES for program in programs(page)]
_COMMANDS_SHOWN: Final = [block for block in _RUNNABLE if block.language != "python" and not block.not_run]
_URL: Final = re.compile(r"amqps?://[^\"/]+/")


def _name(program: Program) -> str:
    return str(program.first)


def _run(program: Program, url: str, folder: Path) -> None:
    source = _URL.sub(url, program.source) if program.on_rabbitmq else program.source
    command = [sys.executable, "-W", "error", "-c", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=folder)

    assert done.returncode == 0, done.stderr
    assert program.writes("stderr", done.stderr), f"{program.promised.get('stderr', '')!r} != {done.stderr!r}"
    assert program.writes("stdout", done.stdout), f"{program.promised.get('stdout', '')!r} != {done.stdout!r}"


@pytest.mark.parametrize("program", [each for each in _PROGRAMS if not each.on_rabbitmq], ids=_name)
def test_the_code_of_a_page_runs_and_prints_what_it_says(program: Program, tmp_path: Path) -> None:
    _run(program, "", tmp_path)


@pytest.mark.broker
@pytest.mark.parametrize("program", [each for each in _PROGRAMS if each.on_rabbitmq], ids=_name)
def test_the_code_of_a_page_runs_on_rabbitmq(program: Program, amqp_url: str, tmp_path: Path) -> None:
    _run(program, amqp_url, tmp_path)


def test_who_runs_a_block_exists() -> None:
    named = [(str(block), block.run_by) for block in _RUNNABLE if block.run_by]

    assert named
    assert [] == [(block, path) for block, path in named if not (ROOT / str(path)).is_file()]


def _how(block: Block) -> str:
    if block.not_run is not None:
        return "not run"
    if block.run_by:
        return "run by another test"
    return "run" if block.language == "python" else "looked at: commands and options exist"


def test_what_is_not_run_has_a_reason() -> None:
    kinds = Counter(f"{block.language} {_how(block)}" for block in _RUNNABLE)
    unrun = {str(block): block.not_run for block in _RUNNABLE if block.not_run is not None}
    print(f"\n{len(PAGES)} pages, {sum(kinds.values())} blocks: {dict(kinds)}")
    print(*(f"not run: {block}: {reason}" for block, reason in unrun.items()), sep="\n")

    assert [] == [block for block, reason in unrun.items() if not reason]


def test_what_a_console_shows_is_run_by_somebody() -> None:
    assert [] == [str(block) for block in _RUNNABLE if block.language == "console" and not (block.run_by or block.not_run)]


def test_a_block_with_tests_in_it_is_run_by_pytest() -> None:
    tests = [block for block in _RUNNABLE if re.search(r"^(async )?def test_", block.code, re.MULTILINE)]

    assert [] == [str(block) for block in tests if not block.run_by]


def test_every_mark_is_understood() -> None:
    understood = ("", "new program", "new program, on RabbitMQ")
    odd = [(str(block), block.mark) for block in _RUNNABLE if not (block.run_by or block.not_run is not None)]

    assert [] == [(block, mark) for block, mark in odd if mark not in understood]


def test_only_python_makes_programs_and_promises_come_after_one() -> None:
    promised = [block for block in _BLOCKS if block.promised]

    assert len(promised) > 5
    assert [] == [str(block) for block in promised if block.language != "text"]
    assert sum(bool(program.promised) for program in _PROGRAMS) > 5


def _lines(block: Block) -> list[str]:
    """Return the commands of a block, without the output of a console's."""
    text = block.code.replace("\\\n", " ")
    if block.language == "console":
        return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    return [line for line in text.splitlines() if line and not line.startswith("#")]


_SHOWN: Final = [(str(block), line) for block in _COMMANDS_SHOWN for line in _lines(block)]


def _command(words: list[str]) -> click.Command:
    """Return the command that these words begin with, and take them away."""
    found: click.Command = import_module(f"aioswap.cli.{words.pop(0)}").command
    while isinstance(found, click.Group):
        found = found.commands[words.pop(0)]
    return found


@pytest.mark.parametrize(("where", "line"), [shown for shown in _SHOWN if re.match(r"aioswap ", shown[1])])
def test_a_command_of_aioswap_has_the_options_that_are_shown(where: str, line: str) -> None:
    words = shlex.split(re.split(r" \| |\s>\s| # ", line)[0])[1:]
    before, _, _ = " ".join(words).partition(" -- ")

    assert words[0] in _COMMANDS
    words = before.split()
    command = _command(words)
    context = click.Context(command, info_name=command.name)
    command.make_parser(context).parse_args(args=words)


def test_every_other_command_is_known() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    others = [(where, line) for where, line in _SHOWN if not line.startswith(("aioswap ", "echo $?", "export "))]
    unknown = []
    for where, line in others:
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            known = words[1] in targets
        elif words[:2] == ["pip", "install"]:
            extras = re.fullmatch(r"aioswap(?:\[(.*)\])?", words[2])
            known = extras is not None and set((extras[1] or "cli").split(",")) <= set(project["optional-dependencies"])
        elif words[:3] == [".venv/bin/python", "-m", "pytest"]:
            known = (ROOT / words[3]).is_file()
        else:
            known = words[0] == "rabbitmqctl"
        if not known:
            unknown.append((where, line))

    assert [] == unknown


async def _with_queues(url: str, names: list[str]) -> None:
    async with Admin(url) as admin:
        for name in names:
            await admin.queue(name)


_CTL: Final = [(where, line) for where, line in _SHOWN if line.startswith("rabbitmqctl ")]


@pytest.mark.broker
def test_rabbitmq_takes_the_commands_that_are_shown(node: Node) -> None:
    vhost = "docs"
    node.ctl("add_vhost", vhost)
    node.ctl("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
    deleted = [shlex.split(line)[2] for _, line in _CTL if line.split()[1] == "delete_queue"]
    asyncio.run(_with_queues(f"{node.url}{vhost}", deleted))
    try:
        for _, line in _CTL:
            words = shlex.split(line)[1:]
            if words[0] == "add_user":
                words = [words[0], words[1], "secret"]
            at = [] if words[0] in ("add_user", "delete_user", "list_users") else ["-p", vhost]
            node.ctl(words[0], *at, *words[1:])
    finally:
        node.ctl("delete_vhost", vhost)
        for user in {shlex.split(line)[2] for _, line in _CTL if line.split()[1] == "add_user"}:
            node.ctl("delete_user", user)

    assert len(_CTL) > 4
