"""`aioswap watch`: every swap as it is heard of, as lines or as a table that changes, and nobody else loses anything."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import pty
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from threading import Thread
from typing import Any

import click
import pytest
from rich.console import Console

from aioswap.cli.app import run
from aioswap.cli.board import Board, Filters, lasting, picture
from aioswap.cli.output import Style, logs
from aioswap.cli.watch import watch
from aioswap.ledger import SwapLedger
from aioswap.swaps import Swap
from aioswap.tracker import SwapTracker
from aioswap.tracking.changes import Changes
from aioswap.tracking.fields import FIELDS
from aioswap.wire.notification import Notification
from tests.cli.bus import Bus
from tests.cli.speech import say
from tests.cli.started import in_a_terminal, started
from tests.swap_kit import DAY, INSTANCE, at, exception, fault, swap_event
from tests.tracker_kit import Air, until

_EVERYTHING = Filters()
_STATES = Style("value", ("state",))


class Watching:
    """The command on the memory transport, on a clock that is moved by hand."""

    def __init__(
        self,
        air: Air,
        filters: Filters = _EVERYTHING,
        style: Style = _STATES,
        *,
        seconds: float | None = None,
        count: int | None = None,
        stuck_after: float = DAY,
    ) -> None:
        tracker = SwapTracker(air.transport, stuck_after=stuck_after, clock=air.clock)
        self.air = air
        self.code = asyncio.create_task(watch([], tracker, filters, seconds, count, style, air.clock))

    async def bound(self) -> Watching:
        await until(lambda: self.air.queues() or self.code.done())
        await self.air.clock.advance(0)
        return self

    async def ended(self) -> int:
        await until(self.code.done)
        return await self.code


@pytest.fixture
def air() -> Air:
    return Air()


# lines


async def test_a_swap_has_a_line_for_each_state(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    async with air.opened():
        watching = await Watching(air, count=2).bound()
        await air.say(swap_event("start", 0), swap_event("progress", 1), swap_event("start", 0), swap_event("end", 2))
        code = await watching.ended()

    assert (0, ("running\nsucceeded\n", "watching: interrupt it to end\n")) == (code, capsys.readouterr())


async def test_what_becomes_of_a_swap_by_time_alone_has_lines_too(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    style = Style("value", ("state", "inferred"))
    async with air.opened():
        watching = await Watching(air, style=style, count=5, stuck_after=900).bound()
        await air.say(swap_event("start"), swap_event("start", request_id="req-2"), exception(request_id="req-2"))
        await air.clock.advance(5)
        await air.say(swap_event("error", request_id="req-2"))
        await air.clock.advance(895)
        code = await watching.ended()
    sign = "compute.exception from nova-compute:host-1: the request failed"

    lines = ["running", "running", f"failed {sign}", "failed", "stuck"]
    assert (0, lines) == (code, [line.strip() for line in capsys.readouterr().out.splitlines()])


async def test_json_is_a_whole_object_a_line(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    async with air.opened():
        watching = await Watching(air, style=Style("json"), count=1).bound()
        await air.say(swap_event("error", 3))
        await watching.ended()
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)

    assert FIELDS == tuple(told)
    assert ("failed", INSTANCE, "VolumeNotFound: no valid connector") == (told["state"], told["instance"], told["fault"])


async def test_a_table_for_a_pipe_is_aligned_and_escaped(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    async with air.opened():
        watching = await Watching(air, style=Style(), count=2).bound()
        await air.say(swap_event("end", 1, publisher="nova-compute:a\x1b[2J"), swap_event("start", 2, request_id="req-2"))
        await watching.ended()
    header, hostile, plain = capsys.readouterr().out.splitlines()

    assert "a\\x1b[2J" in hostile
    assert header.index("instance") == hostile.index(INSTANCE) == plain.index(INSTANCE)
    assert header.index("state") == hostile.index("succeeded") == plain.index("running")
    assert plain.startswith("2026-11-22 12:00:02Z")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(instances=["instance-2"]), ["req-2", "req-2"]),
        (Filters(hosts=["host-3", "host-1"]), ["req-1", "req-3", "req-1", "req-3"]),
        (Filters(projects=["project of instance-2"]), ["req-2", "req-2"]),
        (Filters(states=["succeeded"]), ["req-1", "req-2"]),
        (Filters(states=["failed", "stuck"]), ["req-3"]),
        (Filters(instances=["instance-2"], states=["failed"]), []),
    ],
)
async def test_filters_leave_out_what_is_not_wanted(
    filters: Filters, expected: list[str], air: Air, capsys: pytest.CaptureFixture[str]
) -> None:
    async with air.opened():
        watching = await Watching(air, filters, Style("value", ("request_id",)), seconds=10).bound()
        for phases in (("start", "start", "start"), ("end", "end", "error")):
            for number, phase in enumerate(phases, 1):
                instance, publisher = f"instance-{number}", f"nova-compute:host-{number}"
                await air.say(swap_event(phase, request_id=f"req-{number}", instance=instance, publisher=publisher))
        await air.clock.advance(10)
        code = await watching.ended()

    assert (0, expected) == (code, capsys.readouterr().out.split())


@pytest.mark.parametrize(("count", "heard", "code"), [(None, 0, 0), (None, 1, 0), (1, 1, 0), (2, 1, 3), (1, 0, 5)])
async def test_it_ends_with_the_seconds_or_the_count(count: int | None, heard: int, code: int, air: Air) -> None:
    async with air.opened():
        watching = await Watching(air, seconds=10, count=count).bound()
        for _ in range(heard):
            await air.say(swap_event("end"))
        await air.clock.advance(10)

        assert code == await watching.ended()


async def test_a_reader_that_is_too_slow_is_told_what_it_missed(air: Air, capsys: pytest.CaptureFixture[str]) -> None:
    class Slow(SwapTracker):
        @asynccontextmanager
        async def changes(self) -> AsyncGenerator[Changes]:
            async with super().changes() as changes:
                yield changes
                changes.missed = 7

    async with air.opened():
        task = asyncio.create_task(watch([], Slow(air.transport, clock=air.clock), _EVERYTHING, 1, None, _STATES, air.clock))
        await until(air.queues)
        await air.clock.advance(1)
        await until(task.done)

    assert 0 == await task
    assert "aioswap: 7 changes were not shown" in capsys.readouterr().err


async def test_a_column_that_there_is_not_is_misuse(air: Air) -> None:
    async with air.opened():
        watching = await Watching(air, style=Style("table", ("nonsense",))).bound()
        with pytest.raises(click.UsageError, match="no column nonsense"):
            await watching.ended()


# the table that changes


def swaps(*notifications: Notification[Any], seconds: float = 0.0) -> list[Swap]:
    """Return the changes that notifications make, heard one second after the other."""
    ledger = SwapLedger()
    heard = [swap for number, one in enumerate(notifications) for swap in ledger.observe(one, at(number))]
    return [*heard, *ledger.tick(at(seconds))] if seconds else heard


def drawn(board: Board, seconds: float = 90.0, columns: int = 120, lines: int = 24, trouble: str | None = None) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=columns, height=lines, color_system=None)
    console.print(picture(board, at(seconds), columns, lines, trouble))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def board_of(*changes: Swap, filters: Filters = _EVERYTHING) -> Board:
    board = Board(filters)
    for swap in changes:
        board.take(swap)
    return board


def test_the_table_shows_each_swap_once_with_its_state_and_time() -> None:
    board = board_of(
        *swaps(
            swap_event("start", 0, instance="11111111-aaaa", old="22222222-aaaa", new="33333333-aaaa"),
            swap_event("start", 1, request_id="req-2"),
            swap_event("error", 63, request_id="req-2"),
            swap_event("end", 4, request_id="req-3"),
        )
    )

    header, running, failed, ended, summary = drawn(board)

    assert ["start", "(UTC)", "host", "instance", "old", "->", "new", "state", "time", "fault"] == header.split()
    assert "12:00:00 host-1 11111111 22222222 -> 33333333 running 1:30" == " ".join(running.split())
    assert failed.split()[-6:] == ["failed", "1:02", "VolumeNotFound:", "no", "valid", "connector"]
    assert ["?", "host-1"] == ended.split()[:2]
    assert ["succeeded", "?"] == ended.split()[-2:]
    assert "1 running, 1 succeeded, 1 failed, 0 stuck" == summary


def test_a_wide_terminal_shows_whole_ids() -> None:
    board = board_of(*swaps(swap_event("start", instance="11111111-aaaa")))

    assert "11111111-aaaa" in drawn(board, columns=180)[1]


def test_a_narrow_terminal_has_no_longer_lines() -> None:
    board = board_of(*swaps(swap_event("start"), swap_event("error", publisher=f"nova-compute:{'h' * 90}")))

    assert max(map(len, drawn(board, columns=60))) <= 60


def test_a_fault_has_the_room_that_the_others_leave() -> None:
    error = swap_event("error")
    payload = error.payload.model_copy(update={"fault": fault("no space " * 50)})

    line = drawn(board_of(*swaps(replace(error, payload=payload))), columns=100)[1]

    assert 100 == len(line)
    assert line.endswith("…")
    assert "volume-o -> volume-n  failed" in line


def test_where_there_is_no_room_swaps_without_an_end_stay() -> None:
    first = swaps(swap_event("start", request_id="running"))
    others = [swap for number in range(30) for swap in swaps(swap_event("end", request_id=f"req-{number}"))]

    lines = drawn(board_of(*first, *others), lines=10)

    assert 8 == len(lines)
    assert "running" in lines[1]
    assert "1 running, 30 succeeded, 0 failed, 0 stuck" == lines[-1]


def test_trouble_is_shown_and_steers_nothing() -> None:
    lines = drawn(Board(_EVERYTHING), trouble="no connection\x1b[2J")

    assert "0 running, 0 succeeded, 0 failed, 0 stuck; no connection\\x1b[2J" == lines[-1]


def test_hostile_names_steer_nothing_and_are_no_markup() -> None:
    board = board_of(*swaps(swap_event("start", instance="[red]\x1b[2J", publisher="nova-compute:\u202eh")))

    line = drawn(board, columns=200)[1]

    assert "[red]\\x1b[2J" in line
    assert "\\u202eh" in line


def test_a_filter_on_states_is_about_the_state_now() -> None:
    filters = Filters(states=["running"])
    changes = swaps(swap_event("start"), swap_event("end"))
    board = Board(filters)

    news = [board.take(swap) for swap in changes]

    assert ([True, False], []) == (news, board.swaps())


def test_attempts_without_request_ids_are_told_apart() -> None:
    board = board_of(
        *swaps(
            swap_event("start", 0, request_id=None),
            swap_event("error", 1, request_id=None),
            swap_event("start", 2, request_id=None),
        )
    )

    assert ["failed", "running"] == [swap.state for swap in board.swaps()]


def test_of_very_many_swaps_the_latest_are_kept() -> None:
    (swap,) = swaps(swap_event("end"))
    board = board_of(*(replace(swap, request_id=f"req-{number}") for number in range(10_001)))

    assert (10_000, "req-1") == (len(board.swaps()), board.swaps()[0].request_id)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (12.34, "12.3 s"), (59.94, "59.9 s"), (60, "1:00"), (3599, "59:59"), (90_061, "25:01:01")],
)
def test_spans_read_well(seconds: float, text: str) -> None:
    assert text == lasting(timedelta(seconds=seconds))


@contextmanager
def terminal_for(monkeypatch: pytest.MonkeyPatch, term: str = "xterm") -> Generator[Callable[[], str]]:
    """Let stdout and stderr be a terminal. What is given returns what was written, once nobody writes any more."""
    outer, inner = pty.openpty()
    parts: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # how a terminal ends that nobody writes to any more
            while part := os.read(outer, 1 << 16):
                parts.append(part)

    reading = Thread(target=read)
    reading.start()

    def written() -> str:
        stdout.close()
        reading.join()
        return b"".join(parts).decode()

    with os.fdopen(inner, "w") as stdout, monkeypatch.context() as patch:
        patch.setenv("TERM", term)
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "stderr", stdout)
        yield written
    reading.join()
    os.close(outer)


async def test_a_terminal_gets_the_table(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal_for(monkeypatch) as written:
        async with air.opened():
            watching = await Watching(air, style=Style(), seconds=10, count=3).bound()
            await air.say(swap_event("start"))
            await air.clock.advance(0.25)
            await air.say(swap_event("end"))
            air.transport.lose()
            await air.clock.advance(10)
            code = await watching.ended()
        text = written()

    assert 3 == code
    assert text.index("1 running, 0 succeeded") < text.index("0 running, 1 succeeded, 0 failed, 0 stuck; ")


async def test_what_is_logged_meanwhile_stands_above_the_table(air: Air, monkeypatch: pytest.MonkeyPatch) -> None:
    with logs(), terminal_for(monkeypatch) as written:
        async with air.opened():
            watching = await Watching(air, style=Style(), seconds=1).bound()
            logging.getLogger("aioswap").warning("the broker has gone\x1b[2J")
            await air.clock.advance(1)
            await watching.ended()
        text = written()

    assert r"WARNING aioswap: the broker has gone\x1b[2J" in text
    assert text.index("WARNING") < text.rindex("0 running, 0 succeeded")


@pytest.mark.parametrize(("style", "term"), [(Style("json"), "xterm"), (_STATES, "xterm"), (Style(), "dumb")])
async def test_who_asks_for_a_format_or_cannot_change_a_table_gets_lines(
    style: Style, term: str, air: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal_for(monkeypatch, term) as written:
        async with air.opened():
            watching = await Watching(air, style=style, count=1).bound()
            await air.say(swap_event("end"))
            code = await watching.ended()
        text = written()

    assert (0, False) == (code, "\x1b" in text)
    assert "succeeded" in text


# the options


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--errors-only", "--state", "failed"], "give one of --errors-only and --state"),
        (["--state", "odd"], "'odd' is not one of 'running', 'succeeded', 'failed', 'stuck'"),
        (["--count", "0"], "--count"),
        (["--seconds", "0"], "--seconds"),
    ],
)
def test_misuse_is_2(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["watch", "--url", "amqp://a/", *arguments])
    told = capsys.readouterr()

    assert (2, "") == (code, told.out)
    assert reason in told.err


# on RabbitMQ


@pytest.mark.broker
def test_in_a_pipe_it_prints_lines_until_it_is_interrupted(bus: Bus) -> None:
    bus.declare()
    with started("watch", *bus.where, "--errors-only", "-f", "value", "-c", "instance", "-c", "fault") as watching:
        watching.until_said("watching")
        say(bus, swap_event("start", 0), swap_event("end", 1), swap_event("error", 2, request_id="req-2"))
        line = watching.line()
        ended = watching.ended(signal.SIGINT)

    assert f"{INSTANCE} VolumeNotFound: no valid connector" == line
    assert (130, "", "watching: interrupt it to end\n") == ended


@pytest.mark.broker
def test_on_a_terminal_the_table_changes_until_ctrl_c(bus: Bus) -> None:
    bus.declare()
    with in_a_terminal("watch", *bus.where) as terminal:
        terminal.until("watching: ", "0 running")
        say(bus, swap_event("start", 0, publisher="nova-compute:\x1b[2Jhost"))
        terminal.until(r"\\x1b\[2Jhost .* running", "1 running")
        say(bus, swap_event("end", 12.5, publisher="nova-compute:\x1b[2Jhost"))
        terminal.until(r"\\x1b\[2Jhost .* succeeded +12\.5 s", "0 running, 1 succeeded")
        terminal.press(b"\x03")
        code = terminal.ended()

    assert (130, False, False) == (code, "\x1b[2J" in terminal.raw, "Traceback" in terminal.text)
    assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l")


@pytest.mark.broker
def test_whoever_reads_the_default_queues_still_gets_everything(bus: Bus) -> None:
    bus.declare()
    bus.bind(bus.info, bus.error)
    told = [swap_event("start", number, request_id=f"req-{number}") for number in range(50)]
    told += [swap_event("error", number, request_id=f"req-{number}") for number in range(50)]
    with started("watch", *bus.where, "--json") as watching:
        watching.until_said("watching")
        say(bus, *told)
        lines = [json.loads(watching.line()) for _ in told]
        watching.ended(signal.SIGINT)
    kept = [delivery.message_id for queue in (bus.info, bus.error) for delivery in bus.take(queue)]

    assert {f"req-{number}" for number in range(50)} == {line["request_id"] for line in lines if line["state"] == "failed"}
    assert sorted(notification.message_id for notification in told) == sorted(filter(None, kept))


@pytest.mark.broker
def test_a_broken_pipe_is_quiet_and_fine(bus: Bus) -> None:
    bus.declare()
    reading, writing = os.pipe()
    with started("watch", *bus.where, stdout=writing) as watching:
        os.close(writing)
        watching.until_said("watching")
        os.close(reading)
        say(bus, swap_event("end"))
        ended = watching.ended()

    assert (0, "watching: interrupt it to end\n") == (ended.code, ended.err)


@pytest.mark.broker
@pytest.mark.parametrize(
    ("arguments", "wrong", "code"),
    [
        (["--seconds", "0.1"], False, 0),
        (["--seconds", "0.1", "--count", "1"], False, 5),
        ([], True, 4),
    ],
)
def test_how_it_ends_on_a_broker(arguments: list[str], wrong: bool, code: int, bus: Bus) -> None:
    bus.declare()
    where = ["--url", bus.url.replace("guest@", "wrong@")] if wrong else []

    assert code == run(["watch", *bus.where[2:], *(where or bus.where[:2]), *arguments])
