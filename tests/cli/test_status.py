"""`aioswap status`, `stuck` and `timings`: what a history or a recording tells of swaps."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from aioswap.attempts import Span
from aioswap.cli.app import run
from aioswap.history_file import HistoryFile
from aioswap.ledger import SwapLedger
from aioswap.recording import Recorded, write_line
from aioswap.tracking.fields import FIELDS
from aioswap.wire.envelope import encode
from aioswap.wire.notification import Notification
from tests.cli.running import Ended, in_pipe, in_terminal
from tests.swap_kit import INSTANCE, NEW, OLD, at, exception, fault, swap_event

Past: TypeAlias = tuple[float, Notification[Any]]
"""A notification, and how many seconds ago it came."""
Keep: TypeAlias = Callable[..., list[str]]
"""Keeps what is past in a file, and returns the options to read it by."""

DAY = 86_400.0


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def line_of(seconds: float, notification: Notification[Any]) -> str:
    key = f"versioned_notifications.{notification.priority.lower()}"
    return write_line(Recorded(received=ago(seconds), exchange="nova", routing_key=key, body=encode(notification)))


def in_history(path: Path, *past: Past, deaf: tuple[Span, ...] = (), listened: datetime | None = None) -> list[str]:
    ledger = SwapLedger()
    with closing(HistoryFile(path)) as file:
        changes = [swap for seconds, notification in past for swap in ledger.observe(notification, ago(seconds))]
        for swap in (*changes, *ledger.tick(ago(0))):
            attempt = ledger.attempt(swap)
            assert attempt is not None
            file.write([(attempt, swap.state)], deaf, listened or ago(0))
    return ["--history", str(path)]


def in_recording(path: Path, *past: Past) -> list[str]:
    now = (0.0, Notification(**_FOREIGN))
    path.write_text("".join(f"{line_of(*one)}\n" for one in (*past, now)))
    return ["--recording", str(path)]


_FOREIGN: dict[str, Any] = {
    "message_id": "foreign",
    "publisher_id": "nova-api:api-1",
    "event_type": "flavor.create",
    "priority": "INFO",
    "timestamp": at(0),
    "payload": {},
    "context": {},
}


@pytest.fixture(params=[in_history, in_recording], ids=["history", "recording"])
def keep(request: pytest.FixtureRequest, tmp_path: Path) -> Keep:
    """Both sources tell the same."""
    put: Keep = request.param
    return lambda *past: put(tmp_path / "kept", *past)


_OVER = ((60.0, swap_event("start", 0, global_request_id="req-of-cinder")), (30.0, swap_event("end", 12.5)))


@pytest.mark.parametrize("id", [INSTANCE, OLD, NEW, "req-1", "req-of-cinder"])
def test_any_id_of_a_swap_finds_it_once(id: str, keep: Keep, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["status", id, *keep(*_OVER), "--json"])
    (told,) = json.loads(capsys.readouterr().out)

    assert (0, FIELDS) == (code, tuple(told))
    assert ("succeeded", 12.5, "req-1") == (told["state"], told["duration"], told["request_id"])


def test_an_id_that_is_two_things_finds_a_swap_once(keep: Keep, capsys: pytest.CaptureFixture[str]) -> None:
    run(["status", "req-1", *keep((9.0, swap_event("end", global_request_id="req-1"))), "-f", "value", "-c", "state"])

    assert "succeeded\n" == capsys.readouterr().out


@pytest.mark.parametrize(
    ("past", "code"),
    [
        ([(60.0, swap_event("start"))], 0),
        ([(60.0, swap_event("start")), (30.0, swap_event("error", 1))], 1),
        ([(60.0, swap_event("start")), (59.0, exception(1))], 1),
        ([(2 * DAY, swap_event("start"))], 3),
        ([(60.0, swap_event("start", instance="another"))], 5),
        ([(60.0, swap_event("error")), (30.0, swap_event("end", request_id="req-2"))], 0),
        ([(60.0, swap_event("end")), (30.0, swap_event("error", request_id="req-2"))], 1),
        (
            [
                (60.0, swap_event("start", request_id=None)),
                (40.0, swap_event("end", 1, request_id=None)),
                (30.0, swap_event("error", 2, request_id=None)),
            ],
            1,
        ),
    ],
    ids=["running", "failed", "inferred", "stuck", "not seen", "then succeeded", "then failed", "without request ids"],
)
def test_it_ends_as_the_newest_swap_of_the_id(past: list[Past], code: int, keep: Keep) -> None:
    assert code == run(["status", INSTANCE, *keep(*past)])


def test_not_seen_is_said_with_the_usual_reasons(keep: Keep, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["status", "req-9\x1b[2J", *keep()])
    told = capsys.readouterr()

    assert (5, "") == (code, told.out)
    assert told.err.startswith("aioswap: not seen: req-9\\x1b[2J: perhaps there is none (the volume is not attached")


def test_without_an_id_the_newest_are_listed(keep: Keep, capsys: pytest.CaptureFixture[str]) -> None:
    past = [
        (60.0 - number, swap_event("end", instance=f"instance-{number}", request_id=f"req-{number}")) for number in range(5)
    ]

    code = run(["status", *keep(*past), "--limit", "2", "-f", "value", "-c", "instance"])

    assert (0, "instance-3\ninstance-4\n") == (code, capsys.readouterr().out)


def test_a_table_has_what_people_can_take_in_and_csv_everything(keep: Keep, capsys: pytest.CaptureFixture[str]) -> None:
    where = keep((90.0, swap_event("start", 0, request_id="req-0")), (60.0, swap_event("start", 1)), (59.0, exception(2)))

    run(["status", *where])
    header, running, failed = (line.split("  ") for line in capsys.readouterr().out.splitlines())
    run(["status", *where, "-f", "csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))

    assert ["started_at", "host", "instance", "old_volume_id", "new_volume_id"] == [name.strip() for name in header if name][:5]
    assert ["2026-11-22 12:00:00Z", "host-1", INSTANCE, OLD] == [cell.strip() for cell in running if cell][:4]
    assert "inferred: compute.exception from nova-compute:host-1: the request failed: VolumeNotFound: it raised" in failed
    assert (list(FIELDS), ["running", "failed"]) == (list(rows[0]), [row["state"] for row in rows])
    assert 90 <= float(rows[0]["running_for"]) < 150
    assert ("2026-11-22T12:00:01+00:00", "") == (rows[1]["started_at"], rows[1]["running_for"])


def test_faults_are_masked_and_steer_no_terminal(keep: Keep, capsys: pytest.CaptureFixture[str]) -> None:
    error = swap_event("error")
    payload = error.payload.model_copy(update={"fault": fault("password=secret \x1b[2J" + 5000 * "x")})

    run(["status", *keep((9.0, replace(error, payload=payload))), "-f", "value", "-c", "fault"])
    told = capsys.readouterr().out

    assert told.startswith("VolumeNotFound: password=*** \\x1b[2Jxxx")
    assert len(told) < 1100


def test_a_column_that_there_is_not_is_misuse(keep: Keep, capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == run(["status", *keep(), "-c", "nonsense"])
    assert "no column nonsense: there are started_at, host" in capsys.readouterr().err


@pytest.mark.parametrize("form", [in_pipe, in_terminal], ids=["pipe", "terminal"])
def test_it_is_the_same_in_a_pipe_and_in_a_terminal(form: Callable[..., Ended], tmp_path: Path) -> None:
    where = in_history(tmp_path / "kept", *_OVER)

    found, missing = form("status", INSTANCE, *where), form("status", "nonsense", *where)

    assert (0, "", 5, "") == (found.code, found.err, missing.code, missing.out)
    for value in (INSTANCE, OLD, "succeeded", "12.5"):
        assert value in found.out


# what is read


def test_a_history_that_nobody_keeps_any_more_says_until_when(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = in_history(tmp_path / "kept", (7200.0, swap_event("start")), listened=ago(3600))

    run(["status", INSTANCE, *where, "--json"])
    told = capsys.readouterr()
    ((begin, end),) = json.loads(told.out)[0]["deaf"]

    assert "aioswap: nobody has kept this history since 20" in told.err
    assert 3600 == round((datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds(), -1)


def test_reading_a_history_forgets_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = in_history(tmp_path / "kept", (60 * DAY, swap_event("end")))

    codes = [run(["status", INSTANCE, *where]) for _ in range(2)]

    assert [0, 0] == codes


def test_the_time_of_a_recording_is_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun, later = swap_event("start"), swap_event("end", instance="another")
    path = tmp_path / "kept"
    path.write_text("".join(f"{line}\n" for line in (line_of(9 * DAY, begun), line_of(9 * DAY - 60, later))))

    code = run(["status", INSTANCE, "--recording", str(path), "--json"])
    (told,) = json.loads(capsys.readouterr().out)

    assert (0, "running", 60) == (code, told["state"], round(told["running_for"]))


def test_what_a_recording_holds_out_of_order_is_taken_as_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kept"
    path.write_text("".join(f"{line}\n" for line in (line_of(5, swap_event("start", 0)), line_of(60, swap_event("end", 1)))))

    run(["status", "--recording", str(path), "-f", "value", "-c", "state", "-c", "duration"])

    assert "succeeded 1.0\n" == capsys.readouterr().out


def test_what_can_not_be_read_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kept"
    torn = write_line(Recorded(received=ago(0), exchange="nova", routing_key="a.info", body=b'"instance.volume_swap.end"'))
    packed = write_line(
        Recorded(
            received=ago(0), exchange="nova", routing_key="a.info", body=b"x", headers={"compression": "application/x-gzip"}
        )
    )
    path.write_text("\n".join(["", "no JSON\x1b", torn, packed, line_of(1, swap_event("end"))]))

    code = run(["status", "--recording", str(path), "-f", "value", "-c", "state"])
    told = capsys.readouterr()

    assert (0, "succeeded\n") == (code, told.out)
    assert "aioswap: line 2 is left out: it is no JSON\naioswap: 2 messages are left out that cannot be read\n" == told.err


def test_a_recording_may_come_from_a_pipe() -> None:
    lines = f"{line_of(60, swap_event('start'))}\n{line_of(30, swap_event('end', 1))}\n"

    ended = in_pipe("status", INSTANCE, "--recording", "-", "-f", "value", "-c", "state", stdin=lines.encode())

    assert Ended(0, "succeeded\n", "") == ended


def test_a_recording_of_nothing_tells_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept").write_text("")

    codes = [run([name, "--recording", str(tmp_path / "kept"), "--json"]) for name in ("status", "stuck", "timings")]

    assert ([0, 0, 0], "[]\n[]\n[]\n") == (codes, capsys.readouterr().out)


@pytest.mark.parametrize("name", ["status", "stuck", "timings"])
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "Give one of --history and --recording"),
        (["--history", __file__, "--recording", __file__], "Give one of --history and --recording"),
        (["--history", "/no/such/file"], "does not exist"),
        (["--recording", "/no/such/file"], "does not exist"),
        (["--history", __file__], "is no history of swaps"),
    ],
)
def test_misuse_is_2(name: str, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run([name, *arguments])
    told = capsys.readouterr()

    assert (2, "") == (code, told.out)
    assert reason in " ".join(told.err.split())


def test_a_history_that_can_not_be_read_is_1(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    in_history(path, *_OVER)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)

    ended = in_pipe("status", "--history", str(path))

    assert (1, "") == (ended.code, ended.out)
    assert ended.err.startswith(f"aioswap: the history {path} can't be ")
    assert 1 == ended.err.count("\n")


# stuck


def test_stuck_swaps_are_listed_and_3(keep: Keep, capsys: pytest.CaptureFixture[str]) -> None:
    where = keep(
        (2 * DAY, swap_event("start", instance="stuck", request_id="req-1")),
        (3600.0, swap_event("start", instance="running", request_id="req-2")),
        (1800.0, swap_event("start", instance="ended", request_id="req-3")),
        (900.0, swap_event("end", 1, instance="ended", request_id="req-3")),
    )
    told = []
    for arguments in ([], ["--older-than", "30m"], ["--older-than", "1.5h"], ["--older-than", "3d"]):
        code = run(["stuck", *where, *arguments, "-f", "value", "-c", "instance", "-c", "state"])
        told.append((code, capsys.readouterr().out.splitlines()))

    stuck, both = ["stuck stuck"], ["stuck stuck", "running stuck"]
    assert [(3, stuck), (3, both), (3, stuck), (0, [])] == told


def test_a_stuck_swap_whose_end_may_have_been_missed_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    span = ago(1.5 * DAY), ago(1.4 * DAY)

    run(["stuck", *in_history(tmp_path / "kept", (2 * DAY, swap_event("start")), deaf=(span,)), "-f", "json"])
    told = capsys.readouterr()

    assert "nobody listened all the time while 1 of them ran" in told.err
    assert 1 == len(json.loads(told.out)[0]["deaf"])


# timings


def _swaps_of(host: str, *seconds: float) -> list[Past]:
    publisher = f"nova-compute:{host}"
    past = []
    for number, duration in enumerate(seconds):
        id = f"req-{host}-{number}"
        past.append((3600.0, swap_event("start", 0, publisher=publisher, request_id=id)))
        past.append((1800.0, swap_event("end", duration, publisher=publisher, request_id=id)))
    return past


def test_timings_are_by_host(keep: Keep, capsys: pytest.CaptureFixture[str]) -> None:
    where = keep(
        (2 * DAY, swap_event("start", publisher="nova-compute:host-2", request_id="never ended")),
        *_swaps_of("host-1", *range(1, 21)),
        *_swaps_of("host-2"),
        (60.0, swap_event("error", publisher="nova-compute:host-2", request_id="never started")),
    )

    codes = run(["timings", *where]), run(["timings", *where, "--since", "1d", "--json"])
    table, array = capsys.readouterr().out.split("[", 1)
    lines = [line.split() for line in table.splitlines()]

    assert (0, 0) == codes
    assert ["host", "count", "min", "p50", "p95", "max", "failed", "never_ended", "never_started"] == lines[0]
    assert ["host-1", "20", "1.0", "10.0", "19.0", "20.0", "0", "0", "0"] == lines[1]
    assert ["host-2", "0", "1", "1", "1"] == lines[2]
    assert [0, 0] == [host["never_ended"] for host in json.loads(f"[{array}")]


@pytest.mark.parametrize("form", [in_pipe, in_terminal], ids=["pipe", "terminal"])
def test_stuck_and_timings_are_the_same_in_a_pipe_and_in_a_terminal(form: Callable[..., Ended], tmp_path: Path) -> None:
    where = in_history(tmp_path / "kept", (2 * DAY, swap_event("start")), *_swaps_of("host-2", 4))

    stuck, timings = form("stuck", *where), form("timings", *where)

    assert (3, 0, "") == (stuck.code, timings.code, timings.err)
    assert INSTANCE in stuck.out
    assert "4.0" in timings.out
