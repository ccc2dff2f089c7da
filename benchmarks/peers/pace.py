"""A steady rate, and the middle of what was measured at it."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from typing import Final

__all__ = ["RATE", "Pace", "middle"]

RATE: Final = 200.0
"""Notifications a second."""


class Pace:
    """Lets pass one call in each interval. A late call does not delay those behind it."""

    def __init__(self, rate: float = RATE) -> None:
        self._step = 1 / rate
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()

    async def next(self) -> None:
        """Wait until the next call is due."""
        self._due += self._step
        await asyncio.sleep(self._due - self._loop.time())


def middle(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)
