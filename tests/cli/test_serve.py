"""`aioswap serve`: who may be let in, and how it ends."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from aioswap.cli.app import run
from aioswap.cli.serve import _metrics, serve_swaps
from aioswap.clock import Clock
from aioswap.tracker import SwapTracker
from aioswap.web.app import StatusApp
from aioswap.web.server import listen_at
from tests.cli.bus import Bus
from tests.cli.running import environment, in_pipe
from tests.cli.speech import say
from tests.cli.started import Started, started
from tests.swap_kit import swap_event
from tests.tracker_kit import Air, until

TOKEN: Final = "sesame-sesame-sesame"
_NOWHERE: Final = ("--url", "amqp://127.0.0.1:1/")


def port_of(command: Started) -> int:
    """Wait until it serves, and return its port."""
    command.until_said("serving at ")
    return int(command.talk.rstrip("/\n").rpartition(":")[2])


def asked(port: int, path: str, **headers: str) -> tuple[int, Any]:
    """Return status and JSON of an answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.parametrize("broken", [False, True])
async def test_it_ends_with_the_seconds_and_says_what_the_history_lacks(
    broken: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    air, path = Air(), tmp_path / "swaps.db"
    tracker = SwapTracker(air.transport, history=path, clock=air.clock)
    app = StatusApp(tracker, clock=air.clock)
    listening = listen_at("127.0.0.1", 0)
    port = listening.getsockname()[1]
    async with air.opened():
        task = asyncio.create_task(serve_swaps([], tracker, app, listening, 60, air.clock))
        await until(lambda: not app.feed.deaf())
        if broken:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("ALTER TABLE swaps RENAME TO away")
        await air.say(swap_event("start"))
        status, told = await asyncio.to_thread(asked, port, "/swaps")
        await air.clock.advance(60)
        await until(task.done)
    said = capsys.readouterr().err

    assert (int(broken), 200, 1) == (await task, status, len(told["swaps"]))
    assert said.startswith(f"serving at http://127.0.0.1:{port}/ for 60 s\n")
    assert broken == ("aioswap: 1 changes are not in the history\n" in said)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--listen", "8080"], "give an address and a port, such as 127.0.0.1:8080"),
        (["--listen", "0.0.0.0:0"], "whoever reaches 0.0.0.0 could read this: give --token-file"),
        (["--listen", "[::]:0"], "whoever reaches :: could read this"),
        (["--token-file", "/nowhere"], "'/nowhere' does not exist"),
        (["--seconds", "0"], "--seconds"),
        (["--stuck-after", "0"], "--stuck-after"),
    ],
)
def test_misuse_is_2(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["serve", *_NOWHERE, *arguments])
    told = capsys.readouterr().err

    assert 2 == code
    assert reason in told.replace("\n", " ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"sesame", "a token has 16 to 512 printable ASCII characters"),
        (b"", "a token has 16 to 512 printable ASCII characters"),
        (b"sesame \xff sesame sesame", "it is no text in ASCII"),
        (b"sesame-" * 1000, "a token has 16 to 512 printable ASCII characters"),
    ],
)
def test_a_file_without_a_token_is_misuse_and_stays_secret(
    content: bytes, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    file.chmod(0o600)
    code = run(["serve", *_NOWHERE, "--token-file", str(file)])
    told = capsys.readouterr().err

    assert (2, False) == (code, "sesame" in told)
    assert reason in told


def test_a_token_that_others_may_read_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "token"
    file.write_text("short")
    file.chmod(0o644)
    code = run(["serve", *_NOWHERE, "--token-file", str(file)])

    assert 2 == code
    assert f"others may read {file}, which holds a token: chmod 600 {file}" in capsys.readouterr().err


def test_an_address_in_use_is_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = in_pipe("serve", *_NOWHERE, "--listen", f"127.0.0.1:{port}")

    said = f"aioswap: [Errno 98] can't listen at 127.0.0.1 port {port}: Address already in use\n"
    assert (1, "", said) == ended


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "aioswap.cli.serve")
    monkeypatch.delitem(sys.modules, "aioswap.web.server")
    code = run(["serve", *_NOWHERE])
    told = capsys.readouterr()

    assert (2, "") == (code, told.out)
    assert "serve needs the extra web: pip install 'aioswap[web]'" in told.err


def test_another_module_that_is_missing_is_no_matter_of_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aioswap.web.app", None)
    monkeypatch.delitem(sys.modules, "aioswap.cli.serve")

    with pytest.raises(ModuleNotFoundError, match=r"aioswap\.web\.app"):
        run(["serve", *_NOWHERE])


def test_an_installation_without_the_extra_ends_with_2_too() -> None:
    script = "import sys; sys.modules['starlette'] = None; from aioswap.cli.app import run; sys.exit(run(['serve']))"
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=False)

    assert (2, "") == (done.returncode, done.stdout)
    assert "pip install 'aioswap[web]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_extra_for_metrics_it_serves_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    for module in ("aioswap.hooks.prometheus", "aioswap.web.metrics"):
        monkeypatch.delitem(sys.modules, module, raising=False)

    assert ((), None) == _metrics(None, Clock())


def test_metrics_that_cannot_be_loaded_are_no_matter_of_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aioswap.hooks.prometheus", None)

    with pytest.raises(ModuleNotFoundError, match=r"aioswap\.hooks\.prometheus"):
        _metrics(None, Clock())


# on RabbitMQ


@pytest.mark.broker
@pytest.mark.parametrize(("how", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_order_while_somebody_listens(how: signal.Signals, code: int, bus: Bus) -> None:
    bus.declare()
    with started("serve", *bus.where, "--listen", "127.0.0.1:0") as command:
        port = port_of(command)
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.request("GET", "/events")
            stream = connection.getresponse()
            lines = [stream.readline() for _ in range(3)]
            say(bus, swap_event("start"))
            while b'"state":"running"' not in (line := stream.readline()):
                lines.append(line)
            ended = command.ended(how)
            rest = stream.read()

    assert b"event: snapshot\n" in lines
    assert (code, "", f"serving at http://127.0.0.1:{port}/\n") == ended
    assert rest in (b"", b"\n")


@pytest.mark.broker
def test_elsewhere_the_token_opens_and_a_name_may_be_allowed(bus: Bus, tmp_path: Path) -> None:
    bus.declare()
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(f"{TOKEN}\n")
    arguments = [*bus.where, "--listen", "0.0.0.0:0", "--allow-host", "Status.example"]
    with started("serve", *arguments, "--token-file", str(file)) as command:
        port = port_of(command)
        bearer = {"Authorization": f"Bearer {TOKEN}", "Host": "status.example"}
        answers = [
            asked(port, "/swaps", **bearer)[0],
            asked(port, "/swaps", Host="status.example")[0],
            asked(port, "/swaps", **bearer | {"Host": "evil.example"})[0],
            asked(port, "/ready", Host="10.0.0.1")[0],
        ]
        ended = command.ended(signal.SIGTERM)

    assert [200, 401, 403, 200] == answers
    assert (0, "", f"serving at http://0.0.0.0:{port}/\n") == ended


@pytest.mark.broker
@pytest.mark.parametrize(
    ("password", "arguments", "code"),
    [
        ("guest", [], 0),
        ("guest", ["--project", "p"], 0),
        ("guest", ["--history", "{folder}/swaps.db"], 0),
        ("guest", ["--history", "{folder}/nowhere/swaps.db"], 1),
        ("guest", ["--history", "{folder}/other"], 2),
        ("wrong", [], 4),
    ],
)
def test_how_it_ends_on_a_broker(password: str, arguments: list[str], code: int, bus: Bus, tmp_path: Path) -> None:
    bus.declare()
    (tmp_path / "other").write_text("something else")
    url = bus.url.replace("guest@", f"{password}@")
    more = [argument.format(folder=tmp_path) for argument in arguments]
    ended = in_pipe("serve", "--url", url, *bus.where[2:], "--listen", "127.0.0.1:0", "--seconds", "0.1", *more)

    assert code == ended.code
    assert (code == 0) == ended.err.startswith("serving at ")


@pytest.mark.broker
def test_it_ends_by_itself_when_its_seconds_are_over(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()

    assert 0 == run(["serve", *bus.where, "--listen", "127.0.0.1:0", "--seconds", "0.1"])
    assert capsys.readouterr().err.endswith(" for 0.1 s\n")


@pytest.mark.broker
def test_the_token_may_stand_in_the_environment(bus: Bus) -> None:
    bus.declare()

    assert 0 == in_pipe("serve", *bus.where, "--listen", "0.0.0.0:0", "--seconds", "0.1", AIOSWAP_SERVE_TOKEN=TOKEN).code


@pytest.mark.broker
def test_it_keeps_a_history_and_shows_what_is_in_it(bus: Bus, tmp_path: Path) -> None:
    bus.declare()
    history = ["--history", str(tmp_path / "swaps.db")]
    with started("collect", *bus.where, *history) as collecting:
        collecting.until_said("collecting")
        say(bus, swap_event("start"), swap_event("end", 1))
        while '"succeeded"' not in in_pipe("status", *history, "--json").out:
            pass
        collecting.ended(signal.SIGTERM)
    with started("serve", *bus.where, *history, "--listen", "127.0.0.1:0", "--project", "project of instance-1") as command:
        port = port_of(command)
        listed, ready = asked(port, "/swaps"), asked(port, "/ready")
        command.ended(signal.SIGTERM)

    assert (200, ["succeeded"]) == (listed[0], [swap["state"] for swap in listed[1]["swaps"]])
    assert (200, {"ready": True, "reasons": []}) == ready
