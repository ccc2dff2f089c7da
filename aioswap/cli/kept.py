"""Swaps that were kept in a file: in a history, or as the notifications of a recording."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import click

from aioswap.cli.options import EXISTING_FILE
from aioswap.cli.output import say
from aioswap.clock import Clock
from aioswap.errors import DecodeError
from aioswap.evidence import TRACKED
from aioswap.history_file import HistoryFile
from aioswap.ledger import SwapLedger
from aioswap.recording import read_line
from aioswap.swaps import Criteria, Swap
from aioswap.wire.envelope import decode
from aioswap.wire.events import peek

__all__ = ["Kept", "Source", "kept_options"]

_ALL: Final = Criteria()
_KEEP: Final = 1_000_000
_FRESH: Final = timedelta(minutes=2)
"""Whoever keeps a history writes at least so often that he listens."""


class Kept(Protocol):
    """What a file tells of swaps."""

    now: datetime
    """The moment that swaps are judged at."""

    def find(self, criteria: Criteria = _ALL, *, limit: int | None = None) -> Iterable[Swap]:
        """Return the swaps that are asked for, the newest last.

        Args:
            criteria: which.
            limit: the newest, so many at most.

        Raises:
            OSError: the file can't be read.
        """
        ...


class _History:
    def __init__(self, file: HistoryFile, stuck_after: float, now: datetime) -> None:
        self.now = now
        self._file = file
        self._stuck_after = timedelta(seconds=stuck_after)
        remembered = file.remembered(1)
        self._deaf = remembered.deaf
        until = remembered.listened_until
        if until is not None and now - until > _FRESH:
            self._deaf = [*self._deaf, (until, now)]
            say(f"aioswap: nobody has kept this history since {until:%Y-%m-%d %H:%M:%SZ}: what came later is not in it")

    def find(self, criteria: Criteria = _ALL, *, limit: int | None = None) -> Iterator[Swap]:
        for attempt in self._file.attempts(criteria, limit):
            yield attempt.swap(self.now, self._stuck_after, self._deaf)


class _Recording:
    """Time is that of the recording: its last message comes now.

    Args:
        lines: of a recording.
        stuck_after: seconds.
        now: the moment if there are no messages.
    """

    def __init__(self, lines: Iterable[bytes], stuck_after: float, now: datetime) -> None:
        self._ledger = SwapLedger(stuck_after, _KEEP)
        latest: datetime | None = None
        unreadable = 0
        wanted = peek(TRACKED)
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                recorded = read_line(line)
            except ValueError as error:
                say(f"aioswap: line {number} is left out: {error}")
                continue
            latest = recorded.received if latest is None else max(latest, recorded.received)
            body = recorded.plain_body
            try:
                if body is not None and wanted(body):
                    self._ledger.observe(decode(body), latest)
            except DecodeError:
                body = None
            unreadable += body is None
        if unreadable:
            say(f"aioswap: {unreadable} messages are left out that cannot be read")
        self.now = latest or now

    def find(self, criteria: Criteria = _ALL, *, limit: int | None = None) -> list[Swap]:
        return self._ledger.find(self.now, **criteria.as_arguments())[-limit if limit else 0 :]


@dataclass(frozen=True, kw_only=True)
class Source:
    """The file that a command reads: a history or a recording. One of them is given."""

    history: Path | None = None
    recording: str | None = None

    @contextmanager
    def opened(self, stuck_after: float, clock: Clock) -> Generator[Kept]:
        """Give what the file tells of swaps.

        Args:
            stuck_after: a swap that runs for so many seconds is stuck.
            clock: tells the moment that a history is judged at.

        Raises:
            click.BadParameter: the file is no history.
            OSError: it can't be read.
        """
        if self.recording is not None:
            with click.open_file(self.recording, "rb") as lines:
                kept = _Recording(lines, stuck_after, clock.utcnow())
            yield kept
            return
        assert self.history is not None
        try:
            file = HistoryFile(self.history)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--history") from None
        with closing(file):
            yield _History(file, stuck_after, clock.utcnow())


def kept_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that say what it reads; the function gets their `Source` as `source`."""

    @functools.wraps(function)
    def command(*args: Any, history: Path | None, recording: str | None, **kwargs: Any) -> int:
        if (history is None) is (recording is None):
            raise click.UsageError("what to read? Give one of --history and --recording")
        return function(*args, source=Source(history=history, recording=recording), **kwargs)

    for option in (
        click.option(
            "--recording",
            type=click.Path(exists=True, dir_okay=False, allow_dash=True),
            metavar="FILE",
            help="Read what aioswap record has written (- is stdin). It is now when its last message came.",
        ),
        click.option("--history", type=EXISTING_FILE, metavar="FILE", help="Read what aioswap collect keeps."),
    ):
        command = option(command)
    return command
