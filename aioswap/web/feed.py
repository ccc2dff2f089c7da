"""What everybody is shown: the swaps of one tracker, followed by one task and told to many streams."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Self

from aioswap.clock import Clock
from aioswap.opened import Opened
from aioswap.swaps import Swap
from aioswap.tracker import SwapTracker
from aioswap.tracking.changes import Changes
from aioswap.web.shelf import Numbered, Shelf, Wanted
from aioswap.web.told import event, told
from aioswap.wire.faults import traceback_of

__all__ = ["Feed", "Stream"]

_logger = logging.getLogger(__name__)

_STREAMS: Final = 50
_WAITING: Final = 1_000
"""Events that wait for one reader."""
_SNAPSHOT: Final = 500
"""Swaps that a stream begins with."""
_LOADED: Final = 10_000
_LOOK_EVERY: Final = 1.0
_BEAT_EVERY: Final = 10.0
_AGAIN_AFTER: Final = 1.0
"""Seconds between two looks at the tracker's health, two events that say that all is well, two attempts to follow."""
_NOT_OPEN: Final = "the tracker is not open"
_FAILED: Final = "following the tracker failed: the log says why"


class Stream:
    """Events for one reader, as an async iterator. It ends when he is too slow: he connects anew and begins anew."""

    def __init__(self, first: bytes) -> None:
        self._waiting = deque([first])
        self._news = asyncio.Event()
        self._over = False

    def put(self, chunk: bytes) -> None:
        """Let `chunk` wait for the reader."""
        if self._over:
            return
        self._waiting.append(chunk)
        if len(self._waiting) > _WAITING:
            self.end()
        self._news.set()

    def end(self) -> None:
        """Let it end; what waits is left out."""
        self._waiting.clear()
        self._over = True
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Wait for the next event, and return it. Cancelling loses nothing."""
        while not self._waiting:
            if self._over:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()


class Feed:
    """Follows a tracker. Open it with `async with`, before or after the tracker; it follows whenever that is open.

    Args:
        tracker: it.
        project: only this project's swaps are ever shown; None: all.
        clock: the time; tests give their own.
    """

    def __init__(self, tracker: SwapTracker, *, project: str | None = None, clock: Clock | None = None) -> None:
        self.tracker = tracker
        self.clock = clock or Clock()
        self._shown = Wanted(projects=() if project is None else (project,))
        self._shelf = Shelf()
        self._streams: set[Stream] = set()
        self._away: str | None = _NOT_OPEN
        self._ending = False
        self._told: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._beat_at = 0.0
        self._opened = Opened("this status app")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to follow, and return once it does, or once the tracker was found not to be open.

        Raises:
            RuntimeError: it is open already.
        """
        self._opened.open()
        self._ending = False
        tried = asyncio.Event()
        self._task = asyncio.create_task(self._keep_following(tried))
        await tried.wait()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End all streams and follow no more."""
        self._opened.check()
        self.end_streams()
        assert self._task is not None
        self._task.cancel()
        try:
            await asyncio.wait({self._task})
        finally:
            self._opened.close()

    def swaps(self, wanted: Wanted, limit: int) -> list[Numbered]:
        """Return the wanted swaps, as `Shelf.swaps` does."""
        return self._shelf.swaps(wanted, limit)

    def counts(self) -> dict[str, int]:
        """Return how many swaps are shown of each state."""
        return self._shelf.counts()

    def shows(self, swap: Swap) -> bool:
        """Say whether a swap may be shown."""
        return self._shown.match(swap)

    def deaf(self) -> tuple[str, ...]:
        """Return why swaps may be going unheard now: empty when all are heard."""
        if self._away is not None:
            return (self._away,)
        links = self.tracker.health().links
        return tuple(
            f"connection {number} of {len(links)} to RabbitMQ is away: {link.degraded or 'it is being made'}"
            for number, link in enumerate(links, 1)
            if not link.connected
        )

    def notes(self) -> tuple[str, ...]:
        """Return what else is wrong, while swaps are heard."""
        trouble = self.tracker.health().trouble
        return () if trouble is None else (f"the history can't be written: {trouble}",)

    def stream(self) -> Stream | None:
        """Return a stream that begins with all that is shown now; give it back to `close`. None: there are too many.

        It ends by itself only when its reader is too slow.
        """
        if self._ending or len(self._streams) >= _STREAMS:
            return None
        stream = Stream(event("snapshot", self._state() | self._snapshot()))
        self._streams.add(stream)
        return stream

    def close(self, stream: Stream) -> None:
        """Forget a stream."""
        stream.end()
        self._streams.discard(stream)

    @property
    def streams(self) -> int:
        """How many are open."""
        return len(self._streams)

    def end_streams(self) -> None:
        """End all streams, and begin none any more."""
        self._ending = True
        for stream in self._streams:
            stream.end()

    async def _keep_following(self, tried: asyncio.Event) -> None:
        while True:
            try:
                async with self.tracker.changes() as changes:
                    await self._begin()
                    tried.set()
                    await self._follow(changes)
            except RuntimeError:  # the tracker is not open, or was closed
                self._away = _NOT_OPEN
            except Exception as error:  # a supervisor: whatever is wrong with one swap, the next ones are shown
                self._away = _FAILED
                _logger.error("following the tracker failed; it is tried again\n%s", traceback_of(error))
            tried.set()
            self._look()
            await self.clock.sleep(_AGAIN_AFTER)

    async def _begin(self) -> None:
        """Show what the tracker knows; what changes meanwhile waits."""
        self._shelf = Shelf()
        try:
            known = await self.tracker.history(limit=_LOADED)
        except OSError as error:
            _logger.warning("%s; only what is heard from now on is shown", error)
            known = []
        for swap in (*known, *self.tracker.running(), *self.tracker.stuck()):
            if self._shown.match(swap):
                self._shelf.take(swap)
        self._away = None
        self._say("snapshot", self._snapshot)

    async def _follow(self, changes: Changes) -> None:
        look_at, missed = self.clock.monotonic(), 0
        while True:
            if changes.missed > missed:
                missed = changes.missed
                await self._begin()
            now = self.clock.monotonic()
            if now >= look_at:
                self._look()
                look_at = now + _LOOK_EVERY
            try:
                async with self.clock.timeout(look_at - now):
                    swap = await anext(changes)
            except TimeoutError:
                continue
            self._take(swap)
            await asyncio.sleep(0)  # many changes at once must not keep others waiting

    def _take(self, swap: Swap) -> None:
        if not self._shown.match(swap):
            return
        number, gone = self._shelf.take(swap)
        self._tell("swap", lambda: {"swap": {"id": number, **told(swap, self.clock.utcnow())}, "gone": gone})

    def _look(self) -> None:
        """Tell how the tracker is, if that is news, or if it is time to say anything."""
        if (self.deaf(), self.notes()) != self._told or self.clock.monotonic() >= self._beat_at:
            self._say("beat", dict)

    def _say(self, name: str, more: Callable[[], dict[str, Any]]) -> None:
        """Tell how the tracker is, and more."""
        self._told, self._beat_at = (self.deaf(), self.notes()), self.clock.monotonic() + _BEAT_EVERY
        self._tell(name, more)

    def _tell(self, name: str, more: Callable[[], dict[str, Any]]) -> None:
        if self._streams:
            chunk = event(name, self._state() | more())
            for stream in self._streams:
                stream.put(chunk)

    def _state(self) -> dict[str, Any]:
        return {"now": self.clock.utcnow(), "counts": self.counts(), "deaf": self.deaf(), "notes": self.notes()}

    def _snapshot(self) -> dict[str, Any]:
        now = self.clock.utcnow()
        return {"swaps": [{"id": number, **told(swap, now)} for number, swap in self._shelf.swaps(Wanted(), _SNAPSHOT)]}
