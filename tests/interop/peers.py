"""The real peers, each in a process of its own: Nova's threads never meet an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import IO, Any, Final, Self, TypeAlias

__all__ = ["DEADLINE", "NO_CHANGES", "Peer", "Peers", "Sections"]

DEADLINE: Final = 150.0
"""Seconds after which a test that waits for a peer has failed: Nova emits about a hundred notifications a second."""

Sections: TypeAlias = Mapping[str, Mapping[str, object]]
"""Options of a nova.conf by section."""

NO_CHANGES: Final[Sections] = {}

_ROOT: Final = Path(__file__).parents[2]
_LINE_LIMIT: Final = 1 << 24


class Peer:
    """A module of this folder, run by the tests' interpreter, that speaks in JSON lines.

    Opening it by `async with` waits until it is ready. Leaving closes its standard input, which it takes as the end of its
    work, and waits until it has ended.

    Args:
        module: the module's name.
        arguments: of its command line.
        errors: a new file for its standard error.
    """

    def __init__(self, module: str, *arguments: str, errors: Path) -> None:
        self._command = [sys.executable, "-m", f"tests.interop.{module}", *arguments]
        self._errors = errors
        self._told: defaultdict[str, list[Any]] = defaultdict(list)
        self._news = asyncio.Event()
        self._ended = False
        self._output: IO[bytes] | None = None
        self.ready: Any = None
        """What it told first."""

    @property
    def complaints(self) -> list[str]:
        """What the peer has logged as a warning or worse."""
        return list(self._told["complaint"])

    async def __aenter__(self) -> Self:
        self._output = self._errors.open("wb")
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._output,
            cwd=_ROOT,
            limit=_LINE_LIMIT,
        )
        self._reading = asyncio.create_task(self._read())
        try:
            (self.ready,) = await self.take("ready", 1)
        except BaseException:
            await self._end(0)
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._end(DEADLINE)

    def command(self, **words: object) -> None:
        """Send one command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")

    async def take(self, kind: str, number: int) -> list[Any]:
        """Wait until the peer has told `number` things of `kind`, and return all of that kind, which are then forgotten.

        Raises:
            AssertionError: it is silent for too long, or has ended.
        """
        told = self._told[kind]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE):
                while len(told) < number and not self._ended:
                    self._news.clear()
                    await self._news.wait()
        if len(told) < number:
            why = "it has ended" if self._ended else f"there is no more after {DEADLINE} s"
            raise AssertionError(
                f"{len(told)} of {number} {kind!r} from {' '.join(self._command[2:])}: {why}; it complains of "
                f"{self.complaints[:3]} and wrote {self._errors.read_text()[-2000:]}"
            )
        return self._told.pop(kind)

    async def _end(self, patience: float) -> None:
        assert self._output is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reading
        self._output.close()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            words = json.loads(line)
            self._told[words["kind"]].append(words["told"])
            self._news.set()
        self._ended = True
        self._news.set()


class Peers:
    """Makes peers that share one broker.

    Args:
        url: the broker, by oslo's scheme.
        folder: an empty one, for their configurations and what they write to standard error.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        self._numbers = count()

    def nova(self, *arguments: str, sections: Sections = NO_CHANGES, url: str | None = None) -> Peer:
        """Return a Nova that emits.

        Args:
            arguments: of `nova_emitter`.
            sections: changes of its nova.conf: options by section; a list is an option that is given several times.
            url: another way to the broker.
        """
        return self._peer("nova_emitter", arguments, url, sections)

    def listener(self, *arguments: str, sections: Sections = NO_CHANGES) -> Peer:
        """Return a listener of oslo.messaging, with the same kind of configuration."""
        return self._peer("oslo_listener", arguments, None, sections)

    def _peer(self, module: str, arguments: tuple[str, ...], url: str | None, sections: Sections) -> Peer:
        name = f"{next(self._numbers)}-{module}"
        configuration = self._folder / f"{name}.conf"
        configuration.write_text(_nova_configuration(url or self._url, sections))
        return Peer(module, str(configuration), *arguments, errors=self._folder / f"{name}.errors")


def _nova_configuration(url: str, changes: Sections) -> str:
    sections: dict[str, Mapping[str, object]] = {
        "DEFAULT": {"host": "compute-1", "transport_url": url},
        "notifications": {"notification_format": "versioned"},
        # The log driver tells the tests what was emitted, by another way than the bus.
        "oslo_messaging_notifications": {"driver": ["messagingv2", "log"]},
    }
    for section, options in changes.items():
        sections[section] = {**sections.get(section, {}), **options}
    lines = []
    for section, options in sections.items():
        lines.append(f"[{section}]")
        for option, value in options.items():
            lines += [f"{option} = {one}" for one in (value if isinstance(value, list) else [value])]
    return "\n".join([*lines, ""])
