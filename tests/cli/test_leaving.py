"""Commands that talk to a broker leave quietly: interrupted, and when nobody reads any more."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import environment

_NOBODY = "amqp://127.0.0.1:1/"


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server


@pytest.mark.parametrize(
    "arguments",
    [["emit", "start", "--yes"], ["record", "-"], ["dlq", "list", "p"], ["doctor"], ["replay", os.devnull, "--yes"]],
    ids=lambda arguments: arguments[0],
)
def test_an_interrupt_is_quiet_and_130(arguments: list[str], silent: socket.socket) -> None:
    url = f"amqp://127.0.0.1:{silent.getsockname()[1]}/"
    option = "--to-url" if arguments[0] == "replay" else "--url"
    command = [sys.executable, "-m", "aioswap", *arguments, option, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True) as running:
        connection, _ = silent.accept()
        with connection:
            running.send_signal(signal.SIGINT)
            out, err = running.communicate()

    assert (130, "", "") == (running.returncode, out, err)


@pytest.mark.parametrize("arguments", [["schema"], ["doctor", "--url", _NOBODY]], ids=lambda arguments: arguments[0])
def test_a_broken_pipe_is_quiet_and_fine(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "aioswap", *arguments]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment(), text=True, check=False)
    os.close(writing)

    assert (0, "") == (done.returncode, done.stderr)


def test_a_password_file_works_without_a_word(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.touch(0o600)
    file.write_text("amqp://user:secret@127.0.0.1:1/\n")
    command = [sys.executable, "-m", "aioswap", "dlq", "list", "p", "--url-file", str(file)]
    done = subprocess.run(command, capture_output=True, env=environment(), text=True, check=False)

    assert (4, "") == (done.returncode, done.stdout)
    assert "user@127.0.0.1" in done.stderr
    assert "secret" not in done.stderr
