"""A process of the test's own, started as a module of this folder."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import sys
from pathlib import Path
from typing import IO, Final

__all__ = ["Process"]

_ROOT: Final = Path(__file__).parents[2]
_PATIENCE: Final = 90.0


class Process:
    """Runs `python -m tests.faults.<module>`; `start` returns when it has written its first line.

    Args:
        module: its name in this folder.
        arguments: of its command line.
        errors: a file for its standard error.
        prefix: a command that runs it.
    """

    def __init__(self, module: str, *arguments: object, errors: Path, prefix: tuple[str, ...] = ()) -> None:
        self._command = [*prefix, sys.executable, "-m", f"tests.faults.{module}", *map(str, arguments)]
        self._errors_path = errors
        self._errors: IO[bytes] | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it is ready.

        Raises:
            AssertionError: it ends before.
        """
        self._errors = self._errors_path.open("ab")
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=self._errors, cwd=_ROOT
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(_PATIENCE):
            line = await self._process.stdout.readline()
        if line != b"ready\n":
            await self.kill()
            raise AssertionError(f"{self._command} says {line!r}: {self._errors_path.read_text()[-2000:]}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def limit_memory(self, more: int | None) -> None:
        """Let it have so many bytes of memory more than it has now; None: as much as it likes."""
        assert self._process is not None
        used = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[0]) * resource.getpagesize()
        limit = resource.RLIM_INFINITY if more is None else used + more
        resource.prlimit(self._process.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))

    async def kill(self) -> None:
        """End it by SIGKILL. Does nothing when it has ended."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._ended()

    async def leave(self) -> str:
        """End it by SIGTERM, and return what it wrote last."""
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.terminate()
        async with asyncio.timeout(_PATIENCE):
            told = (await self._process.stdout.read()).decode()
        await self._ended()
        return told

    async def _ended(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(_PATIENCE):
            await self._process.wait()
        if self._errors is not None:
            self._errors.close()
        self._process = None
