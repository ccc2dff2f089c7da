"""Waiting for swaps: which of those that are heard of are followed, and when they give an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from aioswap.clock import Clock
from aioswap.swaps import Criteria, Swap, SwapState
from aioswap.tracking.answers import ended, same_attempt, worst

__all__ = ["UNSEEN", "Choice", "Expected", "FromNowOn", "Newest", "Watch", "Watcher", "Watches"]

UNSEEN: Final = (
    "perhaps there is none (the volume is not attached, the storage moves it by itself, the instance is not active), or it is"
    " not told (Nova's versioned notifications are off, or go to another topic)"
)
"""Why no swap may be seen."""
_LEFT: Final = "this expectation was left: wait inside of its `async with`"


class Choice(Protocol):
    """Which swaps are followed."""

    def take(self, swap: Swap, born: bool) -> bool:
        """Take in what is known of a swap now, and say whether it is followed.

        Args:
            swap: it.
            born: this was just heard of for the first time.
        """
        ...

    def followed(self) -> list[Swap]:
        """Return those that are followed, as they were when last heard of."""
        ...


class FromNowOn:
    """Follows the first swap that begins from now on; with a global request id all of them.

    A global request id counts as the first notification tells it.
    """

    def __init__(self, criteria: Criteria) -> None:
        self._criteria = criteria
        self._several = criteria.global_request_id is not None
        self._followed: list[Swap] = []

    def take(self, swap: Swap, born: bool) -> bool:
        """Take in a swap, as `Choice.take` says."""
        for place, known in enumerate(self._followed):
            if same_attempt(known, swap):
                self._followed[place] = swap
                return True
        if not born or not self._criteria.match(swap) or (self._followed and not self._several):
            return False
        self._followed.append(swap)
        return True

    def followed(self) -> list[Swap]:
        """Return those that are followed, in order of their first notification."""
        return self._followed


class Newest:
    """Follows the newest swap, a running one before others; with a global request id, that of each instance and old volume.

    Once the followed one has ended, it stays: nobody else's swap takes the answer away.
    """

    def __init__(self, criteria: Criteria) -> None:
        self._criteria = criteria
        self._followed: dict[tuple[str, ...], Swap] = {}

    def begin(self, swaps: Iterable[Swap]) -> None:
        """Begin with what is known already, the newest last; of what was heard of meanwhile nothing changes."""
        known: dict[tuple[str, ...], Swap] = {}
        for swap in swaps:
            group = self._group(swap)
            if group not in known or swap.state is SwapState.RUNNING or known[group].state is not SwapState.RUNNING:
                known[group] = swap
        self._followed = known | self._followed

    def take(self, swap: Swap, born: bool) -> bool:
        """Take in a swap, as `Choice.take` says."""
        if not self._criteria.match(swap):
            return False
        group = self._group(swap)
        known = self._followed.get(group)
        if known is not None and not same_attempt(known, swap) and not _goes_before(swap, known):
            return False
        self._followed[group] = swap
        return True

    def followed(self) -> list[Swap]:
        """Return those that are followed."""
        return list(self._followed.values())

    def _group(self, swap: Swap) -> tuple[str, ...]:
        return () if self._criteria.global_request_id is None else (swap.instance, swap.old_volume_id)


def _goes_before(swap: Swap, known: Swap) -> bool:
    if ended(known) or swap.first_seen < known.first_seen:
        return False
    return swap.state is SwapState.RUNNING or known.state is SwapState.STUCK


class Watch:
    """What one `wait` or `expect` has heard.

    Args:
        choice: which swaps it follows.
        now: returns a swap as it is known now.
    """

    def __init__(self, choice: Choice, now: Callable[[Swap], Swap]) -> None:
        self.over: str | None = None
        """Why nothing is heard any more; None: it is."""
        self._choice = choice
        self._now = now
        self._news = asyncio.Event()

    def take(self, swap: Swap, born: bool) -> None:
        """Take in what is known of a swap now."""
        if self._choice.take(swap, born):
            self._news.set()

    def end(self, reason: str) -> None:
        """Hear nothing any more."""
        self.over = reason
        self._news.set()

    def answer(self, or_stuck: bool) -> Swap | None:
        """Return the swap that was waited for; None: it is not over."""
        followed = self._choice.followed()
        return worst(followed) if followed and all(ended(swap, or_stuck) for swap in followed) else None

    async def ended(self, or_stuck: bool) -> Swap:
        """Wait for the answer, without limit.

        Raises:
            RuntimeError: nothing is heard any more.
        """
        while (swap := self.answer(or_stuck)) is None:
            if self.over is not None:
                raise RuntimeError(self.over)
            self._news.clear()
            await self._news.wait()
        return swap

    def timed_out(self, timeout: float | None) -> TimeoutError:
        """Return what says that the answer did not come in `timeout` seconds, and what is known instead."""
        followed = self._choice.followed()
        unfinished = [self._now(swap) for swap in followed if not ended(swap)]
        swap = worst(unfinished, [swap for swap in followed if ended(swap)]) if unfinished else None
        told = f"no such swap was seen in {timeout:g} s: {UNSEEN}"
        error = TimeoutError(told if swap is None else f"the swap is {swap.state} after {timeout:g} s of waiting")
        error.swap = swap  # type: ignore[attr-defined]  # a caller's own timeout is the builtin; this says what is known
        return error


class Expected:
    """A swap that was expected before it began."""

    def __init__(self, watch: Watch, clock: Clock) -> None:
        self._watch = watch
        self._clock = clock

    async def wait(self, timeout: float | None = None, or_stuck: bool = False) -> Swap:
        """Wait until the swap is over, and return what is known of it. It may be over already. Cancelling loses nothing.

        With a global request id all swaps that began since and have it must be over; the worst is returned (failed, then
        stuck, then succeeded), with the rest in its `others`.

        Args:
            timeout: seconds; None: no limit.
            or_stuck: return a stuck one, too, instead of waiting on.

        Raises:
            TimeoutError: its `swap` is what is known of the one that is not over; None: none was seen.
            RuntimeError: the `async with` of the expectation, or of the tracker, was left.
        """
        try:
            async with self._clock.timeout(timeout):
                return await self._watch.ended(or_stuck)
        except TimeoutError:
            raise self._watch.timed_out(timeout) from None


class Watcher(Protocol):
    """Who is told of swaps."""

    def take(self, swap: Swap, born: bool) -> None:
        """Take in what is known of a swap now, as `Choice.take` says."""
        ...

    def end(self, reason: str) -> None:
        """Hear nothing any more."""
        ...


class Watches:
    """All that are told now."""

    def __init__(self) -> None:
        self._watches: dict[Watcher, None] = {}

    def __len__(self) -> int:
        return len(self._watches)

    def add(self, watch: Watcher) -> None:
        """Let `watch` hear what comes."""
        self._watches[watch] = None

    def remove(self, watch: Watcher, reason: str = _LEFT) -> None:
        """Let `watch` hear nothing any more."""
        if watch in self._watches:
            del self._watches[watch]
            watch.end(reason)

    def tell(self, swap: Swap, born: bool) -> None:
        """Tell everybody what is known of a swap now."""
        for watch in self._watches:
            watch.take(swap, born)

    def end(self, reason: str) -> None:
        """Let nobody hear anything any more."""
        for watch in tuple(self._watches):
            self.remove(watch, reason)
