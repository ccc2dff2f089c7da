"""The history of swaps: a file that outlives the process, and remembers more than a ledger in memory keeps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from aioswap.attempts import Attempt, Span
from aioswap.clock import Clock
from aioswap.evidence import SwapKey
from aioswap.history_file import HistoryFile, Remembered
from aioswap.swaps import Criteria, Swap, SwapState

__all__ = ["SwapHistory"]

_logger = logging.getLogger(__name__)

_PRUNE_EVERY: Final = 3600.0
_MAX_WAITING: Final = 10_000
_CLOSE_WAIT: Final = 10.0

_ALL: Final = Criteria()

R = TypeVar("R")


class SwapHistory:
    """Keeps swaps in an SQLite file for 30 days after they were last heard of.

    One thread of its own does all the work. A disk that fails is logged once, shown in `trouble`, and tried again; what is to
    be written waits in memory, at most 10,000 attempts.

    Args:
        path: the file; made if it is missing, readable by its owner alone. Its directory must be there.
        stuck_after: seconds until a swap that runs is stuck.
        clock: the time; tests give their own.
    """

    def __init__(self, path: Path, *, stuck_after: float = 86_400.0, clock: Clock | None = None) -> None:
        self.trouble: str | None = None
        """Why nothing can be written now; None: no trouble."""
        self.lost = 0
        """Changes that were given up: too many waited, or the disk still failed when the history was closed."""
        self._path = Path(path)
        self._stuck_after = timedelta(seconds=stuck_after)
        self._clock = clock or Clock()
        self._waiting: dict[tuple[SwapKey, str], tuple[Attempt, SwapState]] = {}
        self._deaf: dict[datetime, datetime] = {}
        self._listened_until: datetime | None = None
        self._pruned_at = 0.0
        self._worker: _Worker | None = None

    @property
    def unsaved(self) -> int:
        """Changes that wait to be written."""
        return len(self._waiting)

    async def open(self, *, keep: int = 10_000) -> Remembered:
        """Open the file, prune it, and return what it says.

        Args:
            keep: so many finished attempts at most, and as many unfinished ones: those that were heard of last.

        Raises:
            ValueError: the file is no history, or was written by a newer aioswap. It is left untouched.
            OSError: it can't be opened, read or written.
            RuntimeError: it is open already.
        """
        if self._worker is not None:
            raise RuntimeError("this history is open already: close it before you open it again")
        self._worker = _Worker(self._path)
        now, self._pruned_at = self._clock.utcnow(), self._clock.monotonic()

        def remember(file: HistoryFile) -> Remembered:
            file.prune(now)
            return file.remembered(keep)

        try:
            return await self._opened().do(remember)
        except BaseException:
            self._opened().abandon()
            self._worker = None
            raise

    async def close(self) -> None:
        """Write what waits, for up to 10 s, and close the file. Cancelling it gives up what is not written."""
        worker = self._opened()
        try:
            async with self._clock.timeout(_CLOSE_WAIT):
                await self.flush()
                await worker.close()
        except TimeoutError:
            _logger.warning("the history %s is left: writing takes longer than %g s", self._path, _CLOSE_WAIT)
        finally:
            if self._waiting:
                _logger.error("%d changes of swaps are not in the history %s", len(self._waiting), self._path)
            self.lost += len(self._waiting)
            self._waiting.clear()
            self._worker = None
            worker.abandon()

    def note(self, attempt: Attempt, state: SwapState) -> None:
        """Take an attempt as it is now, to be written; returns at once."""
        self._waiting.pop((attempt.key, attempt.name), None)
        self._waiting[attempt.key, attempt.name] = attempt, state
        if len(self._waiting) > _MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
            self.lost += 1

    def note_deaf(self, begin: datetime, end: datetime) -> None:
        """Take a span in which nobody listened, to be written; it replaces one of the same begin. Returns at once."""
        self._deaf[begin] = end

    def note_listening(self, until: datetime) -> None:
        """Take the last moment at which somebody listened, to be written; returns at once."""
        self._listened_until = until

    async def flush(self) -> None:
        """Write what waits; once an hour, prune. A disk that fails raises nothing.

        Cancelling it withdraws nothing: what was on its way is written, and waits to be written again.
        """
        attempts, spans = list(self._waiting.values()), list(self._deaf.items())
        listened_until = self._listened_until
        now, elapsed = self._clock.utcnow(), self._clock.monotonic()
        due = elapsed - self._pruned_at >= _PRUNE_EVERY

        def write(file: HistoryFile) -> None:
            file.write(attempts, spans, listened_until)
            if due:
                file.prune(now)

        try:
            await self._opened().do(write)
        except OSError as error:
            if self.trouble is None:
                _logger.error("%s; it is tried again", error)
            self.trouble = str(error)
            return
        self._written(attempts, spans)
        if due:
            self._pruned_at = elapsed
        if self.trouble is not None:
            _logger.info("the history %s can be written again", self._path)
            self.trouble = None

    async def find(self, criteria: Criteria = _ALL, *, limit: int | None = None) -> list[Swap]:
        """Return the attempts that are asked for, as they are known now, the newest last.

        Takes and raises what `read` does.
        """
        return await self.read(list, criteria, limit=limit)

    async def read(self, reader: Callable[[Iterator[Swap]], R], criteria: Criteria = _ALL, *, limit: int | None = None) -> R:
        """Write what waits, then return what `reader` makes of the attempts that are asked for, the newest last.

        Args:
            reader: called in the history's thread.
            criteria: which.
            limit: the newest ones, so many at most; None: all.

        Raises:
            OSError: the file can't be read.
            RuntimeError: the history is not open.
        """
        await self.flush()
        now, stuck_after = self._clock.utcnow(), self._stuck_after

        def work(file: HistoryFile) -> R:
            deaf = file.deaf()
            return reader(attempt.swap(now, stuck_after, deaf) for attempt in file.attempts(criteria, limit))

        return await self._opened().do(work)

    async def recall(self, key: SwapKey) -> list[tuple[Attempt, SwapState]]:
        """Return what is known of the attempts of `key`, with their states: what the file says, then what waits to be written.

        An attempt of which more is known by now may be among them twice.

        Raises:
            OSError: the file can't be read.
            RuntimeError: the history is not open.
        """
        waiting = [entry for (waiting_key, _), entry in self._waiting.items() if waiting_key == key]
        return await self._opened().do(lambda file: file.attempts_of(key)) + waiting

    def _written(self, attempts: list[tuple[Attempt, SwapState]], spans: list[Span]) -> None:
        """Forget what was written, but for what has changed meanwhile."""
        for entry in attempts:
            name = entry[0].key, entry[0].name
            if self._waiting.get(name) is entry:
                del self._waiting[name]
        for begin, end in spans:
            if self._deaf.get(begin) == end:
                del self._deaf[begin]

    def _opened(self) -> _Worker:
        if self._worker is None:
            raise RuntimeError("this history is not open")
        return self._worker


class _Worker:
    """A thread, and the file that is open in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aioswap history")
        self._file: HistoryFile | None = None

    async def do(self, work: Callable[[HistoryFile], R]) -> R:
        """Do `work` behind all that was given before. Cancelling the wait does not stop it."""
        return await asyncio.shield(asyncio.wrap_future(self._thread.submit(self._do, work)))

    async def close(self) -> None:
        """Close the file behind all that was given before."""
        await self.do(HistoryFile.close)

    def abandon(self) -> None:
        """Let the file be closed, and the thread end, behind all that was given before. Returns at once."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    def _do(self, work: Callable[[HistoryFile], R]) -> R:
        if self._file is None:
            self._file = HistoryFile(self._path)
        return work(self._file)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
