"""`aioswap outbox`: real files, and a real broker where one is needed."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from aioswap import Emitter, RabbitTransport, SwapRequest
from aioswap.cli.app import run
from aioswap.cli.outbox import relay_all
from aioswap.clock import Clock
from aioswap.emitting.swapping import Swapping
from aioswap.outbox_file import FileOutbox
from aioswap.testing import ManualClock
from aioswap.transports.base import Message, Reservation
from aioswap.transports.memory import MemoryTransport
from tests.cli.bus import Bus
from tests.cli.running import in_terminal
from tests.outbox_kit import DESTINATION, accept, file_outbox, files, message


def leave(folder: Path, messages: Sequence[Message], *, parked: int = 0, destination: str = DESTINATION) -> None:
    """Leave messages in a directory, the first so many parked."""

    async def main() -> None:
        outbox = FileOutbox(folder)
        await outbox.open(ManualClock(), destination=destination)
        for each in messages:
            await accept(outbox, each)
        for entry in outbox.take(parked) if parked else ():
            outbox.park(entry, "returned: \x1bnobody, password=secret")
        await outbox.close()

    asyncio.run(main())


def real(bus: Bus, folder: Path, count: int) -> None:
    """Leave real notifications for a broker in a directory: so many swaps, of a service whose broker is away."""

    async def main() -> None:
        away = RabbitTransport("amqp://127.0.0.1:1/", exchange=bus.exchange)
        outbox = FileOutbox(folder)
        emitter = Emitter(away, host="h", outbox=outbox, topics=(bus.topic,))
        await outbox.open(Clock(), destination=RabbitTransport(bus.url, exchange=bus.exchange).destination)
        desk = emitter._desk
        for number in range(count):
            request = SwapRequest({"uuid": f"vm-{number}"}, "old", "new")
            desk.open()
            async with Swapping(desk, lambda request=request: request):  # type: ignore[misc]
                pass
        await outbox.close()

    asyncio.run(main())


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    capsys.readouterr()
    assert 0 == run(["outbox", *arguments, "--json"])
    rows: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return rows


def test_the_list_says_what_each_file_holds_and_for_whom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave(tmp_path, [message(1), message(2), message(3)], parked=1)
    (row,) = shown(capsys, "list", str(tmp_path))

    assert (DESTINATION, False, 2, 1, 0) == tuple(
        row[name] for name in ("destination", "owner", "backlog", "parked", "open_swaps")
    )
    assert "2026-01-01T00:00:00+00:00" == row["oldest"]
    assert None is row["trouble"]


async def test_the_list_can_be_had_while_the_owner_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with file_outbox(tmp_path) as outbox:
        await accept(outbox, message(1), opens=Reservation("swap", 1, 10))
        (row,) = await asyncio.to_thread(shown, capsys, "list", str(tmp_path))
        outbox.release(Reservation("swap", 1, 10))

    assert (True, 1, 1) == (row["owner"], row["backlog"], row["open_swaps"])


def test_a_look_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave(tmp_path, [message(1)])
    (path,) = tmp_path.glob("*.outbox")
    before = path.read_bytes()
    shown(capsys, "list", str(tmp_path))
    shown(capsys, "show", str(tmp_path))

    assert before == path.read_bytes()


def test_files_that_cannot_be_read_are_listed_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "0000000000000000.outbox").write_bytes(b"nonsense" * 100)
    (tmp_path / "1111111111111111.outbox.corrupt-1").touch()
    (tmp_path / "1111111111111111.outbox.corrupt-1-wal").touch()
    leave(tmp_path / "newer", [message(1)])
    (path,) = (tmp_path / "newer").glob("*.outbox")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()

    rows = shown(capsys, "list", str(tmp_path)) + shown(capsys, "list", str(tmp_path / "newer"))

    assert ["not a database", "set aside", "upgrade"] == [
        next(word for word in ("not a database", "set aside", "upgrade") if word in str(row["trouble"])) for row in rows
    ]
    assert [] == shown(capsys, "show", str(tmp_path)) + shown(capsys, "show", str(tmp_path / "newer"))


def test_messages_are_shown_parked_ones_with_their_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave(tmp_path, [message(number) for number in range(4)], parked=2)
    everything = shown(capsys, "show", str(tmp_path))
    parked = shown(capsys, "show", str(tmp_path), "--parked")
    first = shown(capsys, "show", str(tmp_path), "--limit", "1")

    assert ["0", "1", "2", "3"] == [row["id"] for row in everything]
    assert ["returned: \x1bnobody, password=***"] * 2 == [row["reason"] for row in parked]
    assert ["0"] == [row["id"] for row in first]


def test_nothing_of_a_message_steers_a_terminal(tmp_path: Path) -> None:
    leave(tmp_path, [message(1)], parked=1)
    ended = in_terminal("outbox", "show", str(tmp_path), "-c", "reason")

    assert (0, "") == (ended.code, ended.err)
    assert "\\x1bnobody" in ended.out


def test_one_is_shown_without_its_request_context(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = json.dumps({"event_type": "x", "_context_auth_token": "secret", "payload": {}}).encode()
    leave(tmp_path, [Message(routing_key="k", body=body, message_id="one"), message("other")])

    code = run(["outbox", "show", str(tmp_path), "one", "--json"])
    out = capsys.readouterr().out

    assert 0 == code
    assert {"event_type": "x", "payload": {}} == json.loads(out)["notification"]
    assert "secret" not in out


def test_one_that_is_not_there_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["outbox", "show", str(tmp_path), "nothing"])
    told = capsys.readouterr()

    assert (1, "") == (code, told.out)
    assert "has no message 'nothing'" in told.err


def test_parked_ones_are_put_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave(tmp_path, [message(number) for number in range(3)], parked=2)

    code = run(["outbox", "resend", str(tmp_path), "0", "nothing"])
    told = capsys.readouterr().err
    left = [row["id"] for row in shown(capsys, "show", str(tmp_path), "--parked")]
    everything = run(["outbox", "resend", str(tmp_path), "--all"])

    assert (1, "1 parked messages wait again; 1 of the ids were not found\n") == (code, told)
    assert ["1"] == left
    assert 0 == everything
    assert ["2", "0", "1"] == [row["id"] for row in shown(capsys, "show", str(tmp_path))]
    assert [] == shown(capsys, "show", str(tmp_path), "--parked")


async def test_a_file_that_is_held_is_left_to_its_owner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with file_outbox(tmp_path) as outbox:
        await accept(outbox, message(1))
        outbox.park(outbox.take(1)[0], "returned")
        code = await asyncio.to_thread(run, ["outbox", "resend", str(tmp_path), "--all"])

    assert 1 == code
    assert "is held by its owner" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_said_when_sending_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "0000000000000000.outbox").write_bytes(b"nonsense" * 100)

    assert 1 == run(["outbox", "resend", str(tmp_path), "--all"])
    assert "no database" in capsys.readouterr().err


@pytest.mark.broker
def test_what_a_dead_service_has_left_is_relayed(bus: Bus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()
    bus.bind(bus.info, bus.error)
    real(bus, tmp_path, 3)

    code = run(["outbox", "relay", str(tmp_path), *bus.where])

    assert (0, "6 messages relayed\n") == (code, capsys.readouterr().err)
    assert 6 == len(bus.take(bus.info))
    assert [] == files(tmp_path)


@pytest.mark.broker
def test_what_is_returned_stays_and_is_1(bus: Bus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()
    real(bus, tmp_path, 1)

    code = run(["outbox", "relay", str(tmp_path), *bus.where])
    said = capsys.readouterr().err

    assert 1 == code
    assert f"returned: messages of routing key {bus.info} stay" in said
    assert [".outbox", ".outbox.lock"] == files(tmp_path)


@pytest.mark.broker
def test_files_and_parked_messages_that_stay_are_1(bus: Bus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()
    leave(tmp_path, [message(1)])
    leave(tmp_path, [message(2)], parked=1, destination=RabbitTransport(bus.url, exchange=bus.exchange).destination)

    code = run(["outbox", "relay", str(tmp_path), *bus.where])
    said = capsys.readouterr().err

    assert 1 == code
    assert "1 messages are parked" in said
    assert "1 files are not for" in said


def test_what_stays_unconfirmed_is_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave(tmp_path, [message(1)])
    transport = MemoryTransport()
    transport.hold_confirms()

    code = asyncio.run(relay_all(tmp_path, transport, 0.3))

    assert 4 == code
    assert "unconfirmed: 1 messages after 0.3 s" in capsys.readouterr().err


@pytest.mark.broker
def test_a_newer_file_is_1(bus: Bus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()
    leave(tmp_path, [message(1)])
    (path,) = tmp_path.glob("*.outbox")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()

    assert 1 == run(["outbox", "relay", str(tmp_path), *bus.where])
    assert "schema version 2" in capsys.readouterr().err


def test_a_broker_that_is_away_is_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 4 == run(["outbox", "relay", str(tmp_path), "--url", "amqp://127.0.0.1:1/", "--timeout", "3"])
    assert "aioswap:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["list", "/nowhere/at/all"], "does not exist"),
        (["resend", "."], "give the ids of parked messages, or --all"),
        (["resend", ".", "1", "--all"], "give the ids of parked messages, or --all"),
        (["list", ".", "-c", "nothing"], "no column nothing"),
        (["relay", "."], "where is RabbitMQ?"),
        (["nothing"], "nothing"),
        ([], "Usage"),
    ],
)
def test_misuse_is_2(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["outbox", *arguments])
    told = capsys.readouterr()

    assert (2, "") == (code, told.out)
    assert reason in told.err
