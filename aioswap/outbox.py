"""The outbox in memory: messages kept, in order, from accepted until the broker has confirmed them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aioswap.clock import Clock
from aioswap.outbox_backlog import Backlog
from aioswap.transports.base import Entry, Reservation

__all__ = ["MemoryOutbox"]


class MemoryOutbox(Backlog[Entry]):
    """Keeps messages in memory. They survive any trouble of the broker, but not the end of this process.

    Args:
        max_messages: messages held at most, those reserved for terminal notifications included; at least 2.
        max_bytes: bytes held at most, likewise.

    Parked messages are held beside these bounds: at most 10,000, or 64 MiB.

    Raises:
        ValueError: a bound is too small to hold one swap.
    """

    def __init__(self, *, max_messages: int = 10_000, max_bytes: int = 64 << 20) -> None:
        super().__init__(Entry, max_messages=max_messages, max_bytes=max_bytes)
        self._safe: asyncio.Future[None] | None = None
        """What every accepting returns: in memory a message is safe at once."""

    async def open(self, clock: Clock, *, destination: str = "") -> None:
        """Use `clock` for ages. Opening it again keeps what it holds, wherever it is sent then."""
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._safe = self._new_safe()

    async def close(self) -> None:
        """Do nothing: memory needs no closing. What it still holds can be relayed by the next emitter that opens it."""

    def at_risk(self) -> Sequence[Entry]:
        """Return the whole backlog, in order."""
        return tuple(self._held.values())

    def _keep(self, entries: Sequence[Entry], opens: Reservation | None, closes: Reservation | None) -> asyncio.Future[None]:
        for entry in entries:
            self._ready(entry)
        self._wake_relay()
        return self._new_safe() if self._safe is None else self._safe

    def _new_safe(self) -> asyncio.Future[None]:
        safe = self._new_future()
        safe.set_result(None)
        return safe
