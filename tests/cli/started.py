"""A command that runs while the test acts: with pipes, or as the foreground of a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO

from tests.cli.running import Ended, environment

__all__ = ["Started", "Terminal", "in_a_terminal", "started"]

_DEADLINE = 60.0
_STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Started:
    """A command with pipes."""

    def __init__(self, *arguments: str, stdout: int = subprocess.PIPE) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aioswap", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
        )
        self.talk = ""
        """What was said so far."""

    def until_said(self, text: str) -> None:
        """Read what it says until `text` is in a line."""
        while text not in (line := _stream(self.process.stderr).readline()):
            self.talk += line
            if not line:
                raise AssertionError(f"it ended without saying {text!r}: {self.talk}")
        self.talk += line

    def line(self) -> str:
        """Return the next line of data."""
        return _stream(self.process.stdout).readline().rstrip("\n")

    def ended(self, how: signal.Signals | None = None) -> Ended:
        """Wait for its end, after a signal if one is given."""
        if how is not None:
            self.process.send_signal(how)
        out, err = self.process.communicate(timeout=_DEADLINE)
        return Ended(self.process.returncode, out or "", self.talk + err)


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


@contextmanager
def started(*arguments: str, stdout: int = subprocess.PIPE) -> Generator[Started]:
    """Start a command; whatever happens, it does not outlive the `with`."""
    command = Started(*arguments, stdout=stdout)
    with command.process:
        try:
            yield command
        finally:
            if command.process.poll() is None:
                command.process.kill()


class Terminal:
    """A command with a terminal for everything, as somebody sits before."""

    def __init__(self, *arguments: str, columns: int = 120, **more: str) -> None:
        self._master, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aioswap", *arguments],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=environment(**more),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(inner)
        self.raw = ""
        """All that was written, with what steers the terminal."""

    @property
    def text(self) -> str:
        """All that was written, without what steers the terminal."""
        return _STEERING.sub("", self.raw).replace("\r", "")

    def until(self, *patterns: str) -> None:
        """Read until each pattern was seen."""
        while not all(re.search(pattern, self.text) for pattern in patterns):
            if not self._read():
                raise AssertionError(f"it ended without {patterns}: {self.text}")

    def press(self, keys: bytes) -> None:
        """Press keys: b"\\x03" is Ctrl-C."""
        os.write(self._master, keys)

    def ended(self) -> int:
        """Wait for its end, and return its exit code."""
        while self._read():
            pass
        return self.process.wait(_DEADLINE)

    def close(self) -> None:
        """Close the terminal."""
        os.close(self._master)

    def _read(self) -> bool:
        if not select.select([self._master], [], [], _DEADLINE)[0]:
            raise AssertionError(f"nothing more comes: {self.text}")
        try:
            part = os.read(self._master, 1 << 16)
        except OSError:  # how a terminal ends that nobody writes to any more
            return False
        self.raw += part.decode(errors="replace")
        return bool(part)


@contextmanager
def in_a_terminal(*arguments: str, columns: int = 120, **more: str) -> Generator[Terminal]:
    """Start a command; whatever happens, it does not outlive the `with`."""
    terminal = Terminal(*arguments, columns=columns, **more)
    with terminal.process:
        try:
            yield terminal
        finally:
            if terminal.process.poll() is None:
                terminal.process.kill()
            terminal.close()
