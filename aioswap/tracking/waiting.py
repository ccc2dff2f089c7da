"""Waiting for swaps: which of those that are heard of are followed, and when they give an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

from aioswap.clock import Clock
from aioswap.swaps import Swap, SwapState
from aioswap.tracking.criteria import Criteria, ended, same_attempt, with_others, worst

__all__ = ["Choice", "FromNowOn", "Newest", "Watch", "Watches"]

_UNSEEN: Final = (
    "no such swap was seen in {timeout:g} s: perhaps there is none (the volume is not attached, the storage moves it by itself,"
    " the instance is not active), or it is not told (Nova's versioned notifications are off, or go to another topic)"
)


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
    if ended(known):
        return False
    if swap.first_seen < known.first_seen:
        return swap.state is SwapState.RUNNING and known.state is SwapState.STUCK
    return swap.state is SwapState.RUNNING or known.state is SwapState.STUCK


class Watch:
    """What one `wait` or `expect` has heard."""

    def __init__(self, choice: Choice) -> None:
        self.over: str | None = None
        """Why nothing is heard any more; None: it is."""
        self._choice = choice
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

    async def wait(self, clock: Clock, timeout: float | None, or_stuck: bool) -> Swap:
        """Wait for the answer.

        Raises:
            TimeoutError: `timeout` seconds have passed; its `swap` is the one that is not over, None if there is none.
            RuntimeError: nothing is heard any more.
        """
        try:
            async with clock.timeout(timeout):
                while (swap := self.answer(or_stuck)) is None:
                    if self.over is not None:
                        raise RuntimeError(self.over)
                    self._news.clear()
                    await self._news.wait()
                return swap
        except TimeoutError:
            raise self._timed_out(timeout or 0.0) from None

    def _timed_out(self, timeout: float) -> TimeoutError:
        followed = self._choice.followed()
        unfinished = [swap for swap in followed if not ended(swap)]
        swap = with_others(worst(unfinished), followed) if unfinished else None
        text = f"the swap is {swap.state} after {timeout:g} s of waiting" if swap else _UNSEEN.format(timeout=timeout)
        error = TimeoutError(text)
        error.swap = swap  # type: ignore[attr-defined]  # a caller's own timeout is the builtin; this says what is known
        return error


class Watches:
    """All that wait now."""

    def __init__(self) -> None:
        self._watches: dict[Watch, None] = {}

    def __len__(self) -> int:
        return len(self._watches)

    def add(self, watch: Watch) -> None:
        """Let `watch` hear what comes."""
        self._watches[watch] = None

    def remove(self, watch: Watch, reason: str) -> None:
        """Let `watch` hear nothing any more."""
        self._watches.pop(watch, None)
        watch.end(reason)

    def tell(self, swap: Swap, born: bool) -> None:
        """Tell everybody what is known of a swap now."""
        for watch in self._watches:
            watch.take(swap, born)

    def end(self, reason: str) -> None:
        """Let nobody hear anything any more."""
        for watch in tuple(self._watches):
            self.remove(watch, reason)
