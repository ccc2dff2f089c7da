"""What changes, swap by swap, for those who look at everything."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Self

from aioswap.swaps import Swap

__all__ = ["Changes"]

_WAITING: Final = 10_000


class Changes:
    """An async iterator over swaps, each as it was known when it changed. 10,000 wait at most; the oldest give way."""

    def __init__(self) -> None:
        self.missed = 0
        """Changes that gave way to newer ones."""
        self._waiting: deque[Swap] = deque()
        self._news = asyncio.Event()
        self._over: str | None = None

    def take(self, swap: Swap, born: bool) -> None:
        """Take in what is known of a swap now."""
        self._waiting.append(swap)
        if len(self._waiting) > _WAITING:
            self._waiting.popleft()
            self.missed += 1
        self._news.set()

    def end(self, reason: str) -> None:
        """Hear nothing any more."""
        self._over = reason
        self._news.set()

    def __len__(self) -> int:
        """Return how many changes wait."""
        return len(self._waiting)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Swap:
        """Wait for the next change, and return it. Cancelling loses nothing.

        Raises:
            RuntimeError: nothing is heard any more.
        """
        while not self._waiting:
            if self._over is not None:
                raise RuntimeError(self._over)
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()
