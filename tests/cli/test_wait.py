"""`aioswap wait`: it listens before it acts, prints how the swap ended, and says it once more as an exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from aioswap.cli.app import run
from aioswap.cli.output import Style
from aioswap.cli.wait import start_seconds, wait
from aioswap.tracker import SwapTracker
from tests.cli.bus import Bus
from tests.cli.running import Ended
from tests.cli.speech import say
from tests.cli.started import in_a_terminal, started
from tests.swap_kit import INSTANCE, NEW, OLD, exception, fault, swap_event
from tests.tracker_kit import Air, until

_JSON = Style("json")
_THIS: Mapping[str, str | None] = {"instance": INSTANCE}


def running(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


class Waiting:
    """The command on the memory transport, on a clock that is moved by hand."""

    def __init__(
        self,
        air: Air,
        criteria: Mapping[str, str | None] = _THIS,
        arguments: Sequence[str] = (),
        timeout: float | None = None,
        stuck_after: float = 86_400.0,
        style: Style = _JSON,
    ) -> None:
        tracker = SwapTracker(air.transport, stuck_after=stuck_after, clock=air.clock)
        self.air = air
        self.code = asyncio.create_task(wait([], tracker, criteria, arguments, timeout, style, air.clock))

    async def bound(self) -> Waiting:
        await until(self.air.queues)
        await self.air.clock.advance(0)
        return self


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.mark.parametrize(
    ("criteria", "code"),
    [
        ({"instance": INSTANCE}, 0),
        ({"old": OLD, "new": NEW}, 0),
        ({"request_id": "req-1"}, 0),
        ({"global_request_id": "req-of-cinder"}, 0),
        ({"instance": INSTANCE, "new": "another"}, 5),
    ],
)
async def test_each_criterion_says_which_swap(criteria: dict[str, str], code: int, air: Air) -> None:
    async with air.opened():
        waiting = await Waiting(air, criteria, timeout=10).bound()
        await air.say(swap_event("start", 0, global_request_id="req-of-cinder"), swap_event("end", 12.5))
        await air.clock.advance(10)

        assert code == await waiting.code


async def test_the_swap_is_printed_with_all_that_is_known(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    async with air.opened():
        waiting = await Waiting(air).bound()
        await air.say(swap_event("start", 0), swap_event("end", 12.5, shown=(NEW,)))
        code = await waiting.code
    told = json.loads(capsys.readouterr().out)

    assert (0, "succeeded", 12.5) == (code, told["state"], told["duration"])
    assert (INSTANCE, OLD, NEW, "host-1") == (told["instance"], told["old_volume_id"], told["new_volume_id"], told["host"])
    assert (None, None, NEW) == (told["fault"], told["running_for"], told["effective_volume_id"])
    assert "2026-11-22T12:00:00+00:00" == told["started_at"]


async def test_people_read_only_what_is_known(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    async with air.opened():
        waiting = await Waiting(air, style=Style()).bound()
        await air.say(swap_event("end", 12.5, request_id=None))
        await waiting.code
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]

    known = ["field", "host", "instance", "old_volume_id", "new_volume_id", "state", "finished_at"]
    assert known == names[:7]
    assert not {"fault", "deaf", "late", "others", "request_id", "running_for"} & set(names)


async def test_a_failed_swap_is_1_with_its_fault_masked(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    error = swap_event("error", 3)
    hostile = error.payload.model_copy(update={"fault": fault("rabbit://nova:secret@mq/ \x1b[2J")})
    async with air.opened():
        waiting = await Waiting(air).bound()
        await air.say(swap_event("start", 0), replace(error, payload=hostile))
        code = await waiting.code
    told = json.loads(capsys.readouterr().out)

    assert (1, "failed") == (code, told["state"])
    assert "VolumeNotFound: rabbit://nova:***@mq/ \x1b[2J" == told["fault"]


async def test_a_failure_that_is_inferred_is_1_too(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    async with air.opened():
        waiting = await Waiting(air).bound()
        await air.say(swap_event("start", 0), exception(1))
        await air.clock.advance(5)
        code = await waiting.code
    told = json.loads(capsys.readouterr().out)

    assert (1, "compute.exception from nova-compute:host-1: the request failed") == (code, told["inferred"])


async def test_a_stuck_swap_is_3(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    async with air.opened():
        waiting = await Waiting(air, stuck_after=900).bound()
        await air.say(swap_event("start"))
        await air.clock.advance(900)
        code = await waiting.code
    told = capsys.readouterr()

    assert (3, "stuck", 900.0) == (code, json.loads(told.out)["state"], json.loads(told.out)["running_for"])
    assert "stuck" in told.err


@pytest.mark.parametrize("timeout", [30, 60, 90])
async def test_a_swap_that_still_runs_at_the_end_of_the_time_is_3(
    timeout: float, air: Air, capsys: pytest.CaptureFixture[str]
) -> None:
    async with air.opened():
        waiting = await Waiting(air, timeout=timeout).bound()
        await air.say(swap_event("start"))
        await air.clock.advance(timeout)
        code = await waiting.code
    told = capsys.readouterr()

    assert (3, "running") == (code, json.loads(told.out)["state"])
    assert f"listening: waiting for the swap\naioswap: timed out after {timeout} s\naioswap: the swap is not over\n" == told.err


async def test_nothing_seen_is_5_with_the_usual_reasons(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    async with air.opened():
        waiting = await Waiting(air, timeout=30).bound()
        await air.say(swap_event("end", instance="another"))
        await air.clock.advance(30)
        code = await waiting.code
    told = capsys.readouterr()

    assert (5, "") == (code, told.out)
    for reason in ("not attached", "storage moves it", "not active", "notifications are off", "aioswap doctor"):
        assert reason in told.err


async def test_after_a_minute_without_a_swap_the_reasons_are_said_and_it_waits_on(
    air: Air, capsys: pytest.CaptureFixture[str]
) -> None:
    async with air.opened():
        waiting = await Waiting(air).bound()
        await air.clock.advance(60)
        said = capsys.readouterr().err
        await air.say(swap_event("end"))
        code = await waiting.code

    assert (0, 1) == (code, said.count("no swap was seen yet"))


async def test_a_swap_that_is_seen_is_waited_for_without_a_word(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    async with air.opened():
        waiting = await Waiting(air).bound()
        await air.say(swap_event("start"))
        await air.clock.advance(120)
        await air.say(swap_event("end"))
        code = await waiting.code

    assert (0, "listening: waiting for the swap\n") == (code, capsys.readouterr().err)


async def test_a_broker_that_is_away_at_the_end_of_the_time_is_4(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    async with air.opened():
        waiting = await Waiting(air, timeout=30).bound()
        air.transport.lose()
        await air.clock.advance(30)
        code = await waiting.code

    assert 4 == code
    assert "not seen" not in capsys.readouterr().err


async def test_the_worst_of_several_swaps_counts_and_the_others_are_named(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    id, other = "req-of-cinder", "instance-2"
    async with air.opened():
        waiting = await Waiting(air, {"global_request_id": id}).bound()
        for notification in (
            swap_event("start", 0, global_request_id=id),
            swap_event("start", 1, global_request_id=id, instance=other),
            swap_event("end", 2, global_request_id=id),
            swap_event("error", 3, global_request_id=id, instance=other),
        ):
            await air.say(notification)
        code = await waiting.code
    told = json.loads(capsys.readouterr().out)

    assert (1, other) == (code, told["instance"])
    assert [("succeeded", INSTANCE)] == [(swap["state"], swap["instance"]) for swap in told["others"]]


async def test_the_command_runs_when_somebody_listens(air: Air, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    script = f"echo of the command; touch {begun}; until [ -e {go} ]; do sleep 0.01; done"
    async with air.opened():
        waiting = Waiting(air, arguments=("sh", "-c", script))
        await until(begun.exists)
        await air.say(swap_event("start", 0), swap_event("end", 1))
        early = waiting.code.done()
        go.touch()
        code = await waiting.code
    told = capfd.readouterr()

    assert (False, 0) == (early, code)
    assert ("succeeded", "of the command\n") == (json.loads(told.out)["state"], told.err)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("sh", "-c", "exit 7"), "sh failed: it ended with 7; nothing was waited for"),
        (("sh", "-c", "kill -9 $$"), "sh failed: signal 9 ended it; nothing was waited for"),
        (("/no/such/command",), "/no/such/command cannot be run: No such file or directory"),
    ],
)
async def test_a_command_that_fails_is_6_at_once(
    arguments: tuple[str, ...], reason: str, air: Air, capsys: pytest.CaptureFixture[str]
) -> None:
    async with air.opened():
        code = await Waiting(air, arguments=arguments).code

    assert (6, ("", f"aioswap: {reason}\n")) == (code, capsys.readouterr())


async def test_a_command_that_was_interrupted_is_130(air: Air) -> None:
    async with air.opened():
        code = await Waiting(air, arguments=("sh", "-c", "kill -INT $$")).code

    assert 130 == code


@pytest.mark.parametrize(
    ("trap", "pauses"),
    [("trap 'exit 0' INT", []), ("", [0.5]), ("trap '' TERM", [0.5, 5.0])],
    ids=["by itself", "SIGTERM", "SIGKILL"],
)
async def test_leaving_ends_the_command(trap: str, pauses: Sequence[float], air: Air, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    script = f"{trap}\necho $$ > {begun}; while :; do sleep 0.01; done"
    async with air.opened():
        waiting = Waiting(air, arguments=("sh", "-c", script))
        await until(lambda: begun.exists() and begun.read_text().endswith("\n"))
        await air.clock.advance(0)
        process = int(begun.read_text())
        waiting.code.cancel()
        await air.clock.advance(0)
        if not pauses:
            os.kill(process, signal.SIGINT)
        for seconds in pauses:
            await air.clock.advance(seconds)
        await until(waiting.code.done)

    assert (True, False) == (waiting.code.cancelled(), running(process))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "which swap? Give one of --instance, --old, --new, --request-id, --global-request-id"),
        (["--instance", "a", "--timeout", "0"], "give seconds"),
        (["--instance", "a", "--timeout", "soon"], "give seconds"),
        (["--instance", "a", "--stuck-after", "2000000d"], "give seconds"),
        (["--instance"], "--instance"),
    ],
)
def test_misuse_is_2(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["wait", "--url", "amqp://a/", *arguments])
    told = capsys.readouterr()

    assert (2, "") == (code, told.out)
    assert reason in told.err


# on RabbitMQ


@pytest.mark.broker
def test_a_script_learns_how_the_swap_ended_that_its_command_caused(bus: Bus, tmp_path: Path) -> None:
    bus.declare()
    script = f"echo acting; until [ -e {tmp_path}/go ]; do sleep 0.02; done"
    command = ("wait", *bus.where, "--old", OLD, "--timeout", "30s", "-f", "value", "-c", "state", "-c", "duration")
    with started(*command, "--", "sh", "-c", script) as waiting:
        waiting.until_said("acting")
        say(bus, swap_event("start", 0), swap_event("end", 12.5))
        (tmp_path / "go").touch()
        ended = waiting.ended()

    assert Ended(0, "succeeded\n12.5\n", "acting\n") == ended


@pytest.mark.broker
def test_somebody_at_a_terminal_sees_the_same_as_a_table(bus: Bus, tmp_path: Path) -> None:
    bus.declare()
    command = (
        "wait",
        *bus.where,
        "--instance",
        INSTANCE,
        "sh",
        "-c",
        f"echo acting; until [ -e {tmp_path}/go ]; do sleep 0.02; done",
    )
    with in_a_terminal(*command) as terminal:
        terminal.until("acting\n")
        say(bus, swap_event("start", 0), swap_event("error", 12.5))
        (tmp_path / "go").touch()
        code = terminal.ended()

    assert 1 == code
    for name, value in (("state", "failed"), ("duration", "12.5"), ("fault", "VolumeNotFound: no valid connector")):
        assert any(name in line and value in line for line in terminal.text.splitlines())
    assert "effective_volume_id" not in terminal.text


@pytest.mark.broker
def test_a_swap_of_any_cell_is_heard(bus: Bus) -> None:
    bus.declare()
    with started("wait", "--url", bus.url, *bus.where, "--instance", INSTANCE, "--json") as waiting:
        waiting.until_said("listening")
        say(bus, swap_event("end"))
        ended = waiting.ended()

    assert (0, "succeeded") == (ended.code, json.loads(ended.out)["state"])


@pytest.mark.broker
@pytest.mark.parametrize(("option", "state"), [("--stuck-after", "stuck"), ("--timeout", "running")])
def test_a_swap_without_an_end_is_3(option: str, state: str, bus: Bus) -> None:
    bus.declare()
    with started("wait", *bus.where, "--instance", INSTANCE, option, "1", "-f", "value", "-c", "state") as waiting:
        waiting.until_said("listening")
        say(bus, swap_event("start"))
        ended = waiting.ended()

    assert (3, f"{state}\n") == (ended.code, ended.out)


@pytest.mark.broker
def test_nothing_seen_on_a_broker_is_5(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()

    code = run(["wait", *bus.where, "--instance", INSTANCE, "--timeout", "0.1"])

    assert (5, "") == (code, capsys.readouterr().out)


@pytest.mark.broker
def test_a_refused_login_is_4_and_the_command_is_not_run(bus: Bus, capfd: pytest.CaptureFixture[str]) -> None:
    url = bus.url.replace("guest@", "wrong@")

    code = run(["wait", "--url", url, "--exchange", bus.exchange, "--instance", INSTANCE, "--", "echo", "acting"])
    told = capfd.readouterr()

    assert (4, "", False) == (code, told.out, "acting\n" in told.err)
    assert "correct the user and the password" in told.err


@pytest.mark.parametrize(("timeout", "seconds"), [(None, 30), (1.0, 10), (20.0, 20), (900.0, 30)])
def test_who_waits_briefly_is_told_soon_that_nobody_is_there(timeout: float | None, seconds: float) -> None:
    assert seconds == start_seconds(timeout)


@pytest.mark.broker
def test_a_failed_command_is_6_on_a_broker_too(bus: Bus) -> None:
    bus.declare()

    assert 6 == run(["wait", *bus.where, "--instance", INSTANCE, "--", "false"])


def _acting(bus: Bus) -> list[str]:
    return ["wait", *bus.where, "--instance", INSTANCE, "--", "sh", "-c", "echo acting as $$; exec sleep 60"]


def _process(talk: str) -> int:
    return int(talk.partition("acting as ")[2].split()[0])


@pytest.mark.broker
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_its_command(how: signal.Signals, bus: Bus) -> None:
    bus.declare()
    with started(*_acting(bus)) as waiting:
        waiting.until_said("acting")
        ended = waiting.ended(how)

    assert (130, "", 1) == (ended.code, ended.out, ended.err.count("\n"))
    assert not running(_process(ended.err))


@pytest.mark.broker
def test_ctrl_c_ends_it_and_its_command(bus: Bus) -> None:
    bus.declare()
    with in_a_terminal(*_acting(bus)) as terminal:
        terminal.until(r"acting as \d+\n")
        terminal.press(b"\x03")
        code = terminal.ended()

    assert (130, False) == (code, "Traceback" in terminal.text)
    assert not running(_process(terminal.text))
