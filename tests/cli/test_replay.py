"""`aioswap replay`: what goes out again, in which pace, and what is said of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from aioswap.cli.app import run
from aioswap.cli.output import Style
from aioswap.cli.replay import replay
from aioswap.recording import Recorded, write_line
from aioswap.testing import ManualClock
from aioswap.transports.base import MAX_BODY, Delivery, Subscription
from aioswap.transports.memory import MemoryTransport
from aioswap.transports.topology import pool_queue
from tests.capture import captures
from tests.cli.bus import Bus
from tests.cli.running import in_pipe, in_terminal

_START = ManualClock().utcnow()


def _recorded(key: str, *, seconds: float = 0.0, body: bytes = b"{}") -> Recorded:
    return Recorded(received=_START + timedelta(seconds=seconds), exchange="nova", routing_key=key, body=body)


def _file(path: Path, recorded: Iterable[Recorded]) -> str:
    path.write_text("".join(f"{write_line(each)}\n" for each in recorded))
    return str(path)


@pytest.mark.broker
def test_everything_goes_out_again_byte_by_byte(bus: Bus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()
    bus.bind(bus.info)
    recorded = [
        replace(_recorded(bus.info, body=found.raw), headers=found.headers, properties=found.properties, message_id=found.name)
        for found in captures()
    ]
    path = _file(tmp_path / "all.jsonl", recorded)

    code = run(["replay", path, "--to-url", bus.url, "--exchange", bus.exchange, "--json"])
    taken = bus.take(bus.info)

    assert (0, len(recorded)) == (code, json.loads(capsys.readouterr().out)["confirmed"])
    assert [(each.body, each.message_id) for each in recorded] == [(each.original, each.message_id) for each in taken]
    assert [(each.headers, each.properties) for each in recorded] == [(each.headers, each.properties) for each in taken]


@pytest.mark.broker
def test_a_recording_of_a_replay_is_the_same(bus: Bus, tmp_path: Path) -> None:
    bus.declare()
    bus.bind(bus.info)
    found = captures("instance.volume_swap")[0]
    path = _file(tmp_path / "one.jsonl", [replace(_recorded(bus.info, body=found.raw), properties=found.properties)])

    run(["replay", path, "--to-url", bus.url, "--exchange", bus.exchange])
    (delivery,) = bus.take(bus.info)

    assert (found.raw, found.properties) == (delivery.original, delivery.properties)
    assert delivery.message_id


@pytest.mark.broker
def test_what_nobody_gets_is_returned_and_1(bus: Bus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()
    bus.bind(bus.info)
    path = _file(tmp_path / "r.jsonl", [_recorded(bus.error), _recorded(bus.info), _recorded(bus.error)])

    code = run(
        ["replay", path, "--to-url", bus.url, "--exchange", bus.exchange, "-f", "csv", "-c", "confirmed", "-c", "returned"]
    )
    told = capsys.readouterr()

    assert (1, "confirmed,returned\n1,2\n") == (code, told.out)
    assert f"returned: 2 of routing key {bus.error}" in told.err


@pytest.mark.broker
@pytest.mark.parametrize("form", ["pipe", "terminal"])
def test_in_a_pipe_it_is_columns_and_in_a_terminal_a_frame(form: str, bus: Bus, tmp_path: Path) -> None:
    bus.declare()
    bus.bind(bus.info)
    path = _file(tmp_path / "r.jsonl", [_recorded(bus.info)])

    ended = (in_pipe if form == "pipe" else in_terminal)("replay", path, "--to-url", bus.url, "--exchange", bus.exchange)

    assert (0, "") == (ended.code, ended.err)
    assert ("confirmed    1\n" if form == "pipe" else "│ confirmed   │ 1 ") in ended.out


@pytest.mark.broker
def test_a_recording_may_come_by_a_pipe(bus: Bus) -> None:
    bus.declare()
    bus.bind(bus.info)

    ended = in_pipe(
        "replay", "-", "--to-url", bus.url, "--exchange", bus.exchange, stdin=write_line(_recorded(bus.info)).encode()
    )

    assert (0, 1) == (ended.code, len(bus.take(bus.info)))


@pytest.mark.broker
def test_lines_that_cannot_be_read_are_said_and_1(bus: Bus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()
    bus.bind(bus.info)
    path = tmp_path / "r.jsonl"
    path.write_text(f"{write_line(_recorded(bus.info))}\n\n{{}}\n{write_line(_recorded(bus.info))[:-9]}")

    code = run(["replay", str(path), "--to-url", bus.url, "--exchange", bus.exchange, "-f", "value", "-c", "unreadable"])
    told = capsys.readouterr()

    assert (1, "2\n", 1) == (code, told.out, len(bus.take(bus.info)))
    assert "aioswap: line 3: it has no object delivery\naioswap: line 4: it is no JSON\n" == told.err


@pytest.mark.broker
def test_a_refused_login_is_4(bus: Bus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _file(tmp_path / "r.jsonl", [_recorded("k")])

    code = run(["replay", path, "--to-url", bus.url.replace("guest@", "wrong@"), "--exchange", bus.exchange])
    told = capsys.readouterr()

    assert (4, "") == (code, told.out)
    assert "correct the user and the password" in told.err


@pytest.mark.broker
def test_a_url_may_stand_in_a_file(bus: Bus, tmp_path: Path) -> None:
    bus.declare()
    bus.bind(bus.info)
    urls = tmp_path / "urls"
    urls.write_text(bus.url)
    path = _file(tmp_path / "r.jsonl", [_recorded(bus.info)])

    assert 0 == run(["replay", path, "--to-url-file", str(urls), "--exchange", bus.exchange])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--to-url", "amqp://a/"], "is Nova's own"),
        (["--yes"], "where to?"),
        (["--url", "amqp://a/"], "--url"),
        (["--to-url", "http://u:secret@a/"], "--to-url"),
        (["--to-url", "amqp://a/", "--to-url", "amqp://b/", "--yes"], "one broker: 2 URLs"),
        (["--to-url", "amqp://a/", "--exchange", "x", "--speed", "0"], "--speed"),
    ],
)
def test_misuse_is_2(arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["replay", _file(tmp_path / "r.jsonl", []), *arguments])
    told = capsys.readouterr()

    assert (2, "") == (code, told.out)
    assert reason in told.err
    assert "secret" not in told.err


def test_the_environment_is_no_place_to_send_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIOSWAP_URL", "amqp://a/")

    assert 2 == run(["replay", _file(tmp_path / "r.jsonl", []), "--yes"])


class _Replay:
    """A replay to the memory transport, whose pool `p` gets everything."""

    def __init__(self, lines: Iterable[Recorded], speed: float | None = None) -> None:
        self.clock = ManualClock()
        self.transport = MemoryTransport(clock=self.clock)
        self.arrivals: list[float] = []
        """When each message arrived: seconds, to the next step of the clock."""
        self._lines = [write_line(line).encode() for line in lines]
        self._speed = speed

    async def run(self, *steps: float) -> int:
        """Replay while the clock moves in steps, and return the exit code."""
        subscription = Subscription(pool="p", topics=("t",))
        async with self.transport, self.transport.receiver(subscription, lambda delivery: None, label="x"):
            pass
        task = asyncio.create_task(replay(self.transport, self._lines, self._speed, 10.0, Style("json"), self.clock))
        for step in steps:
            await self.clock.advance(step)
            new = self.transport.depths()[pool_queue("p")] - len(self.arrivals)
            self.arrivals += [round(self.clock.monotonic(), 1)] * new
        return await asyncio.wait_for(task, 10)

    async def arrived(self) -> list[Delivery]:
        """Return what has arrived, in order."""
        found = []
        async with self.transport, self.transport.browser(pool_queue("p")) as browser:
            while (delivery := await browser.get()) is not None:
                found.append(delivery)
        return found


@pytest.mark.parametrize(("speed", "times"), [(None, [0.1, 0.1, 0.1]), (1.0, [0.1, 60.1, 90.1]), (2.0, [0.1, 30.1, 45.1])])
async def test_pauses_are_kept_on_request(speed: float | None, times: list[float]) -> None:
    replaying = _Replay([_recorded("t.info", seconds=at) for at in (0, 60, 90)], speed)

    assert 0 == await replaying.run(0.1, *[1.0] * 120)
    assert times == replaying.arrivals


async def test_a_clock_that_jumped_back_while_recording_is_no_pause() -> None:
    replaying = _Replay([_recorded("t.info", seconds=at) for at in (60, 0)], 1.0)

    assert 0 == await replaying.run(1.0)
    assert [1.0, 1.0] == replaying.arrivals


async def test_more_than_fit_the_window_go_out_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    keys = ["t.info" if number % 3 else "t.error" for number in range(300)]
    replaying = _Replay([_recorded(key) for key in keys])

    assert 0 == await replaying.run(1.0)
    assert keys == [delivery.routing_key for delivery in await replaying.arrived()]
    assert 300 == json.loads(capsys.readouterr().out)["confirmed"]


async def test_what_is_not_confirmed_ends_it_with_4(capsys: pytest.CaptureFixture[str]) -> None:
    replaying = _Replay([_recorded("t.info") for _ in range(200)])
    replaying.transport.hold_confirms()

    code = await replaying.run(1.0, 15.0)
    told = capsys.readouterr()
    counts: dict[str, Any] = json.loads(told.out)

    assert (4, 0, 128) == (code, counts["confirmed"], counts["unconfirmed"])
    assert "unconfirmed: no confirm within 10 seconds; it may arrive all the same" in told.err
    assert "nothing was sent from line 129 on" in told.err


async def test_what_no_broker_takes_is_said_and_1(capsys: pytest.CaptureFixture[str]) -> None:
    replaying = _Replay([_recorded("t.info", body=b"x" * (MAX_BODY + 1)), _recorded("t.info")])

    code = await replaying.run(1.0)
    told = capsys.readouterr()
    counts = json.loads(told.out)

    assert (1, 1, 1) == (code, counts["impossible"], counts["confirmed"])
    assert "impossible: a message of routing key t.info: the body has" in told.err


async def test_a_lost_connection_ends_it_with_4(capsys: pytest.CaptureFixture[str]) -> None:
    replaying = _Replay([_recorded("t.info", seconds=at) for at in (0, 60)], 1.0)
    replaying.clock.call_later(30.0, replaying.transport.lose)

    code = await replaying.run(*[1.0] * 70)

    assert 4 == code
    assert 1 == json.loads(capsys.readouterr().out)["unconfirmed"]
