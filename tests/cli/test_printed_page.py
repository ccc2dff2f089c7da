"""docs/command-line.md shows what commands print: each is run as it stands there, on a RabbitMQ, beside swaps as it tells.

`aioswap outbox` is not: it names a file and a message by random ids. What it prints is in test_outbox.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

import pytest

from aioswap.wire.notification import Notification
from aioswap.wire.payloads import ExceptionPayload
from tests.broker import Node
from tests.cli.bus import Bus
from tests.cli.running import environment
from tests.cli.speech import say
from tests.cli.started import in_a_terminal
from tests.swap_kit import swap_event
from tests.transports.rabbit_driver import Admin

pytestmark = pytest.mark.broker

VHOST: Final = "page"
_PAGE: Final = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()
_FAULT: Final = ExceptionPayload(
    module_name="nova.compute.manager",
    function_name="_swap_volume",
    exception="OSError",
    exception_message="[Errno 28] No space left on device",
    traceback="",
)
_MASKS: Final = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
    (r"\b[0-9a-f]{32}\b", "PROJECT"),
    (r"\b[0-9a-f]{8}\b", "SHORT"),
    (r"amqp://\S+?(?=[:,] )", "ADDRESS"),
    (r"RabbitMQ [0-9.]+", "RabbitMQ"),
    (r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\dZ?", "TIME"),
    (r"\d+\.\d+", "SECONDS"),
    (r"No sp\w*( \w+)*…?", "No space"),
    (r" +", " "),
)
"""What is another thing each time, and how wide it is."""


def masked(text: str) -> list[str]:
    """Return the lines without what is another thing each time."""
    for pattern, name in _MASKS:
        text = re.sub(pattern, name, text)
    return [line.rstrip() for line in text.rstrip("\n").split("\n")]


class Run(NamedTuple):
    """A command of the page, and what the page says it prints."""

    command: str
    printed: str


def runs() -> list[list[Run]]:
    """Return the commands of each block."""
    blocks = re.findall(r"```console\n(.*?)```", _PAGE, re.DOTALL)
    return [[Run(*run.partition("\n")[::2]) for run in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]] for block in blocks]


def one_swap(instance: str, host: str, seconds: float, *, old: str = "", fails: bool = False) -> list[Notification[Any]]:
    """Return the notifications of a swap that takes so long."""
    old, new = old or str(uuid4()), str(uuid4())
    request_id, global_request_id = f"req-{uuid4()}", f"req-{uuid4()}"
    told = []
    for phase, moment in (("start", 0.0), ("error" if fails else "end", seconds)):
        said = swap_event(
            phase,
            moment,
            publisher=f"nova-compute:{host}",
            instance=instance,
            old=old,
            new=new,
            request_id=request_id,
            global_request_id=global_request_id,
            message_id=str(uuid4()),
        )
        update = {"tenant_id": uuid4().hex, **({"fault": _FAULT} if phase == "error" else {})}
        told.append(replace(said, payload=said.payload.model_copy(update=update)))
    return told


def cued() -> dict[str, list[list[Notification[Any]]]]:
    """Return what happens when a command says this: the first time, the second, ..."""
    volume = next(iter(re.findall(r"aioswap wait --old (\S+)", _PAGE)))
    known = next(iter(re.findall(r"aioswap status --history swaps.db (\S+)", _PAGE)))
    several = [
        *one_swap(str(uuid4()), "compute-2", 1.203, old=known),
        *one_swap(str(uuid4()), "compute-1", 1.902),
        *one_swap(str(uuid4()), "compute-2", 2.6, fails=True),
        *one_swap(str(uuid4()), "compute-1", 3.303),
        *one_swap(str(uuid4()), "compute-2", 4.002),
        *one_swap(str(uuid4()), "compute-1", 4.702),
    ]
    return {
        "Request to migrate": [one_swap(str(uuid4()), "compute-1", 3.206, old=volume) for _ in range(2)],
        "watching": [[*one_swap(str(uuid4()), "compute-1", 3.205), one_swap(str(uuid4()), "compute-2", 1.2)[0]]],
        "collecting": [several],
        "table": [several],
    }


class Stage:
    """A folder with what the page speaks of, and a broker that the environment names."""

    def __init__(self, bus: Bus, folder: Path) -> None:
        self._bus = bus
        self._folder = folder
        self._cued = cued()
        binaries = folder / "bin"
        binaries.mkdir()
        for name, script in (
            ("openstack", "echo Request to migrate volume has been accepted."),
            ("aioswap", f'exec {sys.executable} -m aioswap "$@"'),
        ):
            (binaries / name).write_text(f"#!/bin/sh\n{script}\n")
            (binaries / name).chmod(0o755)
        (folder / "nova.conf").write_text(
            f"[DEFAULT]\ntransport_url = {bus.url.replace('amqp:', 'rabbit:')}\n"
            "[notifications]\nnotification_format = unversioned\n[oslo_messaging_notifications]\ndriver = messagingv2\n"
        )
        self._environment = environment(
            AIOSWAP_URL=bus.url, PATH=f"{binaries}:{os.environ['PATH']}", PYTHONPATH=str(Path(__file__).parents[2])
        )

    def play(self, block: Sequence[Run]) -> list[Run]:
        """Run the commands of a block, one after the other, and return what they print."""
        played, code = [], 0
        for command, _ in block:
            if command == "echo $?":
                played.append(Run(command, f"{code}\n"))
            else:
                code, printed = self._run(command)
                played.append(Run(command, printed))
        return played

    def _run(self, command: str) -> tuple[int, str]:
        printed = ""
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                printed += line
                self.hear(line)
        return process.returncode, printed

    def hear(self, line: str) -> None:
        """Let happen what happens when a command says this."""
        for cue, happenings in self._cued.items():
            if line.startswith(cue) and happenings:
                say(self._bus, *happenings.pop(0))


@pytest.fixture(scope="module")
def stage(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    node.ctl("add_vhost", VHOST)
    node.ctl("set_permissions", "-p", VHOST, "guest", ".*", ".*", ".*")
    bus = Bus(f"{node.url}{VHOST}")
    bus.exchange, bus.topic = "nova", "versioned_notifications"

    async def make() -> None:
        async with Admin(bus.url) as admin:
            await admin.exchange("nova")

    asyncio.run(make())
    yield Stage(bus, tmp_path_factory.mktemp("page"))
    node.ctl("delete_vhost", VHOST)


BLOCKS: Final = runs()


@pytest.mark.parametrize(
    "number", [n for n, block in enumerate(BLOCKS) if not block[0].command.startswith(("aioswap watch", "aioswap outbox"))]
)
def test_a_block_of_the_page_is_what_its_commands_print(number: int, stage: Stage) -> None:
    block = BLOCKS[number]

    assert [(run.command, masked(run.printed)) for run in block] == [
        (run.command, masked(run.printed)) for run in stage.play(block)
    ]


def test_the_table_of_the_page_is_what_a_terminal_shows(stage: Stage, node: Node) -> None:
    ((run,),) = [block for block in BLOCKS if block[0].command == "aioswap watch"]
    width = max(map(len, run.printed.splitlines()))
    with in_a_terminal("watch", columns=width + 1, AIOSWAP_URL=f"{node.url}{VHOST}") as terminal:
        terminal.until("watching", "0 running")
        stage.hear("table")
        terminal.until("0 running, 5 succeeded, 1 failed")
        terminal.press(b"\x03")
        code = terminal.ended()
    shown = set(masked(terminal.text))

    assert 130 == code
    assert [] == [line for line in masked(run.printed) if line not in shown]
