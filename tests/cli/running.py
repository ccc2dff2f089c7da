"""The command as users run it: in a process of its own, in a pipe or in a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from typing import NamedTuple

__all__ = ["Ended", "environment", "in_pipe", "in_terminal"]

_DEADLINE = 60.0
_VARIABLES = ("AIOSWAP_", "RABBITMQ_URL", "AMQP_URL", "COLUMNS")


class Ended(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """Return the environment without what the command would read in it, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_VARIABLES)}
    return kept | {"TERM": "xterm-256color"} | more


def in_pipe(*arguments: str, stdin: bytes = b"", **more: str) -> Ended:
    """Run the command with pipes, and `more` in its environment."""
    done = subprocess.run(
        [sys.executable, "-m", "aioswap", *arguments],
        input=stdin,
        env=environment(**more),
        capture_output=True,
        timeout=_DEADLINE,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def in_terminal(*arguments: str, columns: int = 200, **more: str) -> Ended:
    """Run the command with a terminal for its input and its data; its talk goes to a pipe, to be told apart."""
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "aioswap", *arguments],
        stdin=inner,
        stdout=inner,
        stderr=subprocess.PIPE,
        env=environment(**more),
    ) as running:
        os.close(inner)
        out = bytearray()
        with contextlib.suppress(OSError):  # a terminal that nobody writes to any more ends with an error
            while part := os.read(terminal, 1 << 16):
                out += part
        assert running.stderr is not None
        err = running.stderr.read()
    os.close(terminal)
    return Ended(running.returncode, out.decode().replace("\r\n", "\n"), err.decode())
