"""`aioswap collect`: what it hears is in the history when it leaves, however it leaves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from aioswap.cli.app import run
from aioswap.cli.collect import collect
from aioswap.cli.listening import listen
from aioswap.tracker import SwapTracker
from tests.cli.bus import Bus
from tests.cli.running import in_pipe
from tests.cli.speech import say
from tests.cli.started import in_a_terminal, started
from tests.swap_kit import INSTANCE, swap_event
from tests.tracker_kit import Air, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "swaps.db"


def states(path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    run(["status", "--history", str(path), "-f", "value", "-c", "state"])
    return capsys.readouterr().out.split()


async def collecting(path: Path, air: Air, seconds: float | None = 60) -> asyncio.Task[int]:
    tracker = SwapTracker(air.transport, history=path, clock=air.clock)
    task = asyncio.create_task(collect([], tracker, path, seconds, air.clock))
    await until(air.queues)
    await air.clock.advance(0)
    return task


async def test_what_is_heard_is_kept(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    air = Air()
    async with air.opened():
        task = await collecting(path, air)
        await air.say(swap_event("start", request_id="req-1"), swap_event("end", request_id="req-2"))
        await air.clock.advance(60)
        await until(task.done)
    said = capsys.readouterr()

    assert (0, ("", f"collecting into {path} for 60 s\n")) == (await task, said)
    assert ["stuck", "succeeded"] == states(path, capsys)  # what began on the clock's day never ended


async def test_what_the_disk_did_not_take_is_1(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    air = Air()
    async with air.opened():
        task = await collecting(path, air)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("ALTER TABLE swaps RENAME TO away")
        await air.say(swap_event("start"))
        await air.clock.advance(60)
        await until(task.done)

    assert 1 == await task
    assert capsys.readouterr().err.endswith("aioswap: 1 changes are not in the history\n")


@pytest.mark.parametrize("arguments", [[], ["--history", "/"], ["--history", "x", "--seconds", "0"]])
def test_misuse_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == run(["collect", "--url", "amqp://a/", *arguments])
    assert "Usage: aioswap collect" in capsys.readouterr().err


# signals


async def _tell_ourselves(how: signal.Signals) -> int:
    os.kill(os.getpid(), how)
    await asyncio.Event().wait()
    return 0


@pytest.mark.parametrize(("terminated", "code"), [({}, 130), ({"terminated": lambda: 1}, 1)])
def test_sigterm_cancels_and_has_a_code(terminated: dict[str, Callable[[], int]], code: int) -> None:
    assert code == listen(_tell_ourselves(signal.SIGTERM), **terminated)


def test_ctrl_c_is_left_to_the_caller() -> None:
    with pytest.raises(KeyboardInterrupt):
        listen(_tell_ourselves(signal.SIGINT))


# on RabbitMQ


@pytest.mark.broker
def test_sigterm_ends_it_in_order_and_others_may_read_meanwhile(
    bus: Bus, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bus.declare()
    with started("collect", *bus.where, "--history", str(path)) as command:
        command.until_said("collecting")
        say(bus, swap_event("start"))
        while not (meanwhile := states(path, capsys)):
            pass
        say(bus, swap_event("end"))
        ended = command.ended(signal.SIGTERM)

    assert (0, "", f"collecting into {path}\n") == ended
    assert (["running"], ["succeeded"]) == (meanwhile, states(path, capsys))
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


@pytest.mark.broker
def test_ctrl_c_ends_it_in_order_too(bus: Bus, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()
    with in_a_terminal("collect", *bus.where, "--history", str(path)) as terminal:
        terminal.until("collecting")
        say(bus, swap_event("error"))
        terminal.press(b"\x03")
        code = terminal.ended()

    assert (130, False) == (code, "Traceback" in terminal.text)
    assert ["failed"] == states(path, capsys)


@pytest.mark.broker
def test_it_goes_on_where_it_was_left(bus: Bus, path: Path) -> None:
    bus.declare()
    for phase in ("start", "end"):
        with started("collect", *bus.where, "--history", str(path)) as command:
            command.until_said("collecting")
            say(bus, swap_event(phase))
            command.ended(signal.SIGTERM)

    ended = in_pipe("status", INSTANCE, "--history", str(path), "--json")
    (told,) = json.loads(ended.out)

    assert ("succeeded", 1) == (told["state"], len(told["deaf"]))


@pytest.mark.broker
@pytest.mark.parametrize(
    ("password", "history", "code"),
    [("guest", "swaps.db", 0), ("wrong", "swaps.db", 4), ("guest", "other", 2)],
)
def test_how_it_ends_on_a_broker(password: str, history: str, code: int, bus: Bus, tmp_path: Path) -> None:
    bus.declare()
    (tmp_path / "other").write_text("something else")
    url = bus.url.replace("guest@", f"{password}@")

    assert code == run(["collect", "--url", url, *bus.where[2:], "--history", str(tmp_path / history), "--seconds", "0.1"])


@pytest.mark.broker
def test_a_folder_that_is_not_there_is_1(bus: Bus, tmp_path: Path) -> None:
    bus.declare()

    ended = in_pipe("collect", *bus.where, "--history", str(tmp_path / "missing" / "swaps.db"))

    assert (1, "", 1) == (ended.code, ended.out, ended.err.count("\n"))
    assert "No such file or directory" in ended.err
