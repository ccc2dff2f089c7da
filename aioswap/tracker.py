"""The tracker: hears of swaps, pairs starts with ends, and answers those who wait. It takes nothing from anybody.

What a verdict is stands in `aioswap.ledger` and below; the parts of a tracker are in `aioswap.tracking`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from aioswap.clock import Clock
from aioswap.evidence import TRACKED
from aioswap.health import TrackerHealth
from aioswap.history import SwapHistory
from aioswap.hooks import Hook, Hooks
from aioswap.ledger import SwapLedger
from aioswap.opened import Opened
from aioswap.swaps import Criteria, Swap, SwapState
from aioswap.tracking.alerts import Alerts
from aioswap.tracking.answers import same_attempt
from aioswap.tracking.changes import Changes
from aioswap.tracking.intake import Shared
from aioswap.tracking.owner import Owner
from aioswap.tracking.session import Session
from aioswap.tracking.timings import HostTimings, timings_of
from aioswap.tracking.waiting import Expected, FromNowOn, Newest, Watch
from aioswap.transports.base import Subscription, Transport
from aioswap.wire.events import peek

__all__ = ["SwapTracker"]

_logger = logging.getLogger(__name__)

_LEFT: Final = "these changes were left: iterate inside of their `async with`"

F = TypeVar("F", bound=Callable[[Swap], Coroutine[Any, Any, object]])


class SwapTracker:
    """Knows of every swap that is heard of: whether it runs, how it ended, how long it took.

    Open it with `async with`: entering returns when its queue is bound on each transport. What it knows stays when it is
    closed and opened again; the time between counts as deaf.

    In memory it keeps `keep` finished attempts and as many unfinished ones. With a history it also knows what a tracker
    before it knew, and what memory has forgotten, for 30 days: more of such a swap is added to what the history knows of it. A
    history's disk that fails is logged and shown in `health`, and the tracker goes on.

    A loss of connection for less than four minutes loses nothing: the queue waits for five. Longer ones are shown in the
    `deaf` of the swaps of that time.

    Args:
        transport: what it hears by. It may be closed only after the tracker.
        more: other transports, where there are several cells.
        stuck_after: seconds until a swap that runs is stuck; above 0, a century at most.
        history: an SQLite file; made if it is missing, readable by its owner alone. None: memory alone.
        keep: attempts in memory; 1 or more.
        topics: at least one. Of each, info and error are heard: Nova tells nothing of swaps by another priority.
        start_timeout: seconds that opening may take, on each transport.
        clock: the time; tests give their own.
        hooks: told of each receive, and of each swap that is over, once.

    Raises:
        ValueError: one of the values is out of range.
    """

    def __init__(
        self,
        transport: Transport,
        *more: Transport,
        stuck_after: float = 86_400.0,
        history: Path | None = None,
        keep: int = 10_000,
        topics: Sequence[str] = ("versioned_notifications",),
        start_timeout: float = 30.0,
        clock: Clock | None = None,
        hooks: Iterable[Hook] = (),
    ) -> None:
        self._transports = (transport, *more)
        self._subscription = Subscription(topics=topics, wanted=peek(TRACKED))
        self._start_timeout = start_timeout
        self._clock = clock or Clock()
        self._ledger = SwapLedger(stuck_after, keep)
        self._history = None if history is None else SwapHistory(history, stuck_after=stuck_after, clock=self._clock)
        self._alerts = Alerts(self._clock, keep)
        self._shared = Shared(
            ledger=self._ledger,
            keep=keep,
            history=self._history,
            alerts=self._alerts,
            clock=self._clock,
            hooks=Hooks(hooks),
        )
        self._opened = Opened("this tracker")
        self._session: Session | None = None
        self._owner: Owner | None = None

    async def __aenter__(self) -> Self:
        """Open the history, connect, and bind a queue on each transport.

        Raises:
            RuntimeError: it is open already.
            TransportError: login, vhost, right or exchange refused, or not ready within `start_timeout` seconds.
            ValueError: the history's file is none, or was written by a newer aioswap. It is left untouched.
            OSError: the history can't be opened.
        """
        self._opened.open()
        self._shared.skipped += self._session.skipped if self._session is not None else 0
        self._session = Session(self._shared, self._transports, self._subscription, self._start_timeout)
        self._owner = Owner(self._session)
        try:
            await self._owner.bound()
        except BaseException:
            await self._leave(self._owner)
            raise
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> None:
        """Stop hearing, write the history for up to 10 s, close. Whoever still waits gets a `RuntimeError`.

        `on_stuck` functions that run have 10 s, too. Cancelling cuts off at once. The body's exception goes on unchanged.

        Raises:
            RuntimeError: it is not open, or not here; or its task was cancelled from outside.
        """
        self._opened.check()
        assert self._owner is not None
        await self._leave(self._owner)
        if exc_type is None:
            self._owner.check()

    def expect(
        self,
        *,
        instance: str | None = None,
        old: str | None = None,
        new: str | None = None,
        request_id: str | None = None,
        global_request_id: str | None = None,
    ) -> AbstractAsyncContextManager[Expected]:
        """Return an `async with` to act in: a swap that begins after it was entered is expected, and can be waited for.

        A swap matches for which everything holds that is given, and whose first notification comes after entering. Of several
        the first counts; with a global request id all, see `Expected.wait`. In a migration by Cinder the new volume's id is
        Cinder's own: give the instance, the old one, or the global request id.

        Args:
            instance: the instance's uuid.
            old: the old volume's id.
            new: the new volume's id.
            request_id: Nova's request id.
            global_request_id: the caller's request id, as the first notification tells it.

        Raises:
            TypeError: nothing is given.
            RuntimeError: (on entering) the tracker is not open, or not here.
        """
        criteria = Criteria(instance=instance, old=old, new=new, request_id=request_id, global_request_id=global_request_id)
        return self._expecting(criteria.narrow())

    async def wait(
        self,
        *,
        instance: str | None = None,
        old: str | None = None,
        new: str | None = None,
        request_id: str | None = None,
        global_request_id: str | None = None,
        since: datetime | None = None,
        timeout: float | None = None,
        or_stuck: bool = False,
    ) -> Swap:
        """Wait until the newest swap for which everything holds that is given is over, and return what is known of it.

        A running one is preferred to a finished one. One that is over already is returned at once, from memory or from the
        history; where none was seen, the first that comes is waited for. With a global request id the newest of each instance
        and old volume counts: all must be over, and the worst is returned (failed, then stuck, then succeeded), with the rest
        in its `others`. Cancelling loses nothing.

        An inferred failure ends the wait. To be sure to wait for the swap that you cause, use `expect`.

        Args:
            instance: the instance's uuid.
            old: the old volume's id.
            new: the new volume's id.
            request_id: Nova's request id.
            global_request_id: the caller's request id.
            since: the first notification arrived then or later; aware.
            timeout: seconds; None: no limit.
            or_stuck: return a stuck one, too, instead of waiting on.

        Raises:
            TypeError: nothing but `since` is given.
            ValueError: `since` is naive.
            RuntimeError: the tracker is not open, or not here, or is closed meanwhile.
            TimeoutError: its `swap` is what is known of the one that is not over; None: none was seen.
        """
        criteria = Criteria(
            instance=instance, old=old, new=new, request_id=request_id, global_request_id=global_request_id, since=since
        ).narrow()
        session = self._listening()
        choice = Newest(criteria)
        watch = Watch(choice, self._known_now)
        self._shared.watches.add(watch)
        try:
            async with self._clock.timeout(timeout):
                await session.intake.catch_up()
                choice.begin(self._ledger.find(self._clock.utcnow(), **criteria.as_arguments()))
                if not choice.followed():
                    choice.begin(await self._recall(criteria))
                return await watch.ended(or_stuck)
        except TimeoutError:
            raise watch.timed_out(timeout) from None
        finally:
            self._shared.watches.remove(watch)

    @asynccontextmanager
    async def changes(self) -> AsyncGenerator[Changes]:
        """Give an async iterator over all swaps that change from now on, each as it was known then.

        It is for those who look at everything. One that begins, or of which anything else is heard, has changed; so has one
        that becomes stuck. It ends with a `RuntimeError` when the tracker is closed.

        Raises:
            RuntimeError: the tracker is not open, or not here.
        """
        self._listening()
        changes = Changes()
        self._shared.watches.add(changes)
        try:
            yield changes
        finally:
            self._shared.watches.remove(changes, _LEFT)

    def get(self, request_id: str) -> Swap | None:
        """Return the newest attempt of Nova's request that is in memory, None if there is none."""
        return self._ledger.get(request_id, self._clock.utcnow())

    def running(self) -> list[Swap]:
        """Return the swaps that run now, the newest last. Stuck ones are not among them."""
        return self._ledger.running(self._clock.utcnow())

    def stuck(self, older_than: float | None = None) -> list[Swap]:
        """Return the swaps that are stuck now, the newest last.

        Args:
            older_than: seconds after which a swap that runs is judged to be stuck here; None: `stuck_after`.

        Raises:
            ValueError: `older_than` is out of range.
        """
        return self._ledger.stuck(self._clock.utcnow(), older_than)

    def on_stuck(self, function: F) -> F:
        """Decorate a coroutine function: it is called with each swap that becomes stuck from now on, once an attempt.

        The calls are made in tasks of the tracker while it is open, 8 swaps at once. One that takes 10 minutes is cancelled;
        what it raises is logged. With a history, what was told before is not told again by the next process.

        Raises:
            TypeError: it is no coroutine function.
        """
        self._alerts.add(function)
        return function

    async def history(
        self,
        *,
        instance: str | None = None,
        old: str | None = None,
        new: str | None = None,
        request_id: str | None = None,
        global_request_id: str | None = None,
        since: datetime | None = None,
        limit: int | None = 100,
    ) -> list[Swap]:
        """Return the swaps for which everything holds that is given, as they are known now, the newest last.

        They come from the history, or from memory where there is none.

        Args:
            instance: the instance's uuid.
            old: the old volume's id.
            new: the new volume's id.
            request_id: Nova's request id.
            global_request_id: the caller's request id.
            since: the first notification arrived then or later; aware.
            limit: the newest ones, so many at most, 1 or more; None: all.

        Raises:
            ValueError: `since` is naive, or `limit` below 1.
            RuntimeError: there is a history, and the tracker is not open, or not here.
            OSError: the history can't be read.
        """
        if limit is not None and limit < 1:
            raise ValueError(f"limit={limit}: give 1 or more, or None for all")
        criteria = Criteria(
            instance=instance, old=old, new=new, request_id=request_id, global_request_id=global_request_id, since=since
        )
        if self._history is None:
            return self._ledger.find(self._clock.utcnow(), **criteria.as_arguments())[-limit if limit else 0 :]
        await self._caught_up()
        return await self._history.find(criteria, limit=limit)

    async def timings(self, since: datetime | None = None) -> list[HostTimings]:
        """Return how long the swaps of each host took, in order of the hosts' names.

        They come from the history, or from memory where there is none.

        Args:
            since: the first notification arrived then or later; aware.

        Raises:
            ValueError: `since` is naive.
            RuntimeError: as `history`.
            OSError: the history can't be read.
        """
        criteria = Criteria(since=since)
        if self._history is None:
            return timings_of(self._ledger.find(self._clock.utcnow(), since=criteria.since))
        await self._caught_up()
        return await self._history.read(timings_of, criteria)

    def health(self) -> TrackerHealth:
        """Return how it is now, or how it was when it was left. Cheap."""
        session, history, unfinished = self._session, self._history, self._ledger.unfinished()
        return TrackerHealth(
            links=() if session is None else tuple(ear.receiver.health for ear in session.ears),
            received=self._shared.received,
            skipped=self._shared.skipped + (0 if session is None else session.skipped),
            unreadable=self._shared.unreadable,
            running=unfinished.get(SwapState.RUNNING, 0),
            stuck=unfinished.get(SwapState.STUCK, 0),
            evicted=self._ledger.evicted,
            unsaved=0 if history is None else history.unsaved,
            lost=0 if history is None else history.lost,
            trouble=None if history is None else history.trouble,
        )

    @asynccontextmanager
    async def _expecting(self, criteria: Criteria) -> AsyncGenerator[Expected]:
        self._listening()
        watch = Watch(FromNowOn(criteria), self._known_now)
        self._shared.watches.add(watch)
        try:
            yield Expected(watch, self._clock)
        finally:
            self._shared.watches.remove(watch)

    def _known_now(self, swap: Swap) -> Swap:
        """Return a swap as it is known now: time alone changes it, too."""
        found = self._ledger.find(self._clock.utcnow(), **Criteria.of(swap).as_arguments())
        return next((each for each in found if same_attempt(each, swap)), swap)

    def _listening(self) -> Session:
        self._opened.check()
        if self._session is None or self._session.over:
            raise RuntimeError("this tracker does not listen any more: its task has ended")
        return self._session

    async def _caught_up(self) -> None:
        """Let all that arrived be in the ledger."""
        self._opened.check()
        assert self._session is not None
        await self._session.intake.catch_up()

    async def _recall(self, criteria: Criteria) -> list[Swap]:
        """Return what the history knows; a disk that fails knows nothing."""
        if self._history is None:
            return []
        try:
            return await self._history.find(criteria)
        except OSError as error:
            _logger.warning("%s; a swap is waited for without it", error)
            return []

    async def _leave(self, owner: Owner) -> None:
        try:
            await owner.leave()
        finally:
            self._opened.close()
