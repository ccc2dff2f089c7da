"""What is under way on a bus: so that a test can wait until nothing is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from aioswap.clock import Clock
from aioswap.testing.broker_clock import MemoryOnly

__all__ = ["MARK", "Listener", "Traffic"]

MARK: Final = b'{"aioswap.testing": "mark", "id": "'
"""What the body of a mark begins with. A mark is sent into a queue to learn that everything before it was handed over."""

_TURNS: Final = 25
"""Turns of the loop after which whoever has something to do has begun: more than any chain of callbacks in aioswap needs."""

_LONGEST: Final = 10.0
"""Seconds that a test may really have to wait for a retry."""

_LATE: Final = 5.0
"""Seconds by which RabbitMQ may be late with it."""

_UNHEARD: Final = 0.3
"""Seconds that RabbitMQ gets for putting it where nobody listens."""

_ROUNDING: Final = 1e-9


class Listener(Protocol):
    """A receiver of the bus."""

    @property
    def label(self) -> str:
        """Whose it is."""
        ...

    @property
    def queue(self) -> str:
        """The queue that it reads."""
        ...

    @property
    def unsettled(self) -> int:
        """Deliveries handed over and not settled."""
        ...


class _Waiting(NamedTuple):
    """A copy in a retry queue: where it comes out, and when, by the test's clock and really."""

    queue: str
    due: float
    really: float


class Traffic:
    """Counts what is under way, of all who use a bus. All calls but the waiting ones are plain.

    Args:
        clock: the test's.
    """

    def __init__(self, clock: Clock) -> None:
        self.moves = 0
        """Grows with everything that happens."""
        self.connecting = 0
        """Senders that wait until they can send."""
        self.unanswered = 0
        """Messages whose confirmation has not come."""
        self.late = 0
        """Messages that a fault held back, and that are to be sent now."""
        self.listeners: list[Listener] = []
        self._seen: set[bytes] = set()
        self._retries: dict[str, _Waiting] = {}
        self._news = asyncio.Event()
        self._clock = clock
        self._real = Clock()

    def open(self) -> None:
        """Begin anew, in this loop."""
        self._news = asyncio.Event()
        self.connecting = self.unanswered = self.late = 0

    def moved(self) -> None:
        """Note that something happened."""
        self.moves += 1
        self._news.set()

    def seen(self, mark: bytes) -> None:
        """Note that a mark came out of its queue."""
        self._seen.add(mark)
        self._news.set()

    def retry_waits(self, message_id: str, queue: str, seconds: int) -> None:
        """Note that the broker keeps a copy for so many seconds, and puts it into `queue` then."""
        self._retries[message_id] = _Waiting(queue, self._clock.monotonic() + seconds, self._real.monotonic() + seconds)

    def came(self, message_id: str | None) -> None:
        """Note a delivery: it may be a copy that waited."""
        self._retries.pop(message_id or "", None)
        self.moved()

    async def retried(self, seconds: float) -> None:
        """Wait until the broker has handed over each retry that is due within `seconds` of the test's clock.

        What nobody listens for is waited for as long as it stays where it is.

        Raises:
            MemoryOnly: that takes longer than 10 real seconds.
        """
        end = self._clock.monotonic() + seconds + _ROUNDING
        due = {message_id: waiting for message_id, waiting in self._retries.items() if waiting.due <= end}
        needed = max((waiting.really for waiting in due.values()), default=0.0) - self._real.monotonic()
        if needed > _LONGEST:
            raise MemoryOnly(f"a retry waits on the broker for {needed:.0f} s more: only in memory can time be moved")
        await asyncio.sleep(max(needed, 0.0))
        heard = {listener.queue for listener in self.listeners}
        try:
            async with asyncio.timeout(_LATE):
                while any(message_id in self._retries for message_id, waiting in due.items() if waiting.queue in heard):
                    await self.news()
        except TimeoutError:
            pass  # the test will notice, and say what it waited for
        if any(waiting.queue not in heard for waiting in due.values()):
            await asyncio.sleep(_UNHEARD)
        for message_id in due:
            self._retries.pop(message_id, None)

    def busy(self, *, stopped: bool, handled: bool = True) -> str:
        """Say what is under way; empty: nothing.

        Args:
            stopped: a fault keeps messages from being sent or confirmed, so nobody waits for these.
            handled: deliveries that are being handled count.
        """
        told = []
        if not stopped:
            told += [f"{self.connecting} senders are not connected"] if self.connecting else []
            told += [f"{self.unanswered} messages are not confirmed"] if self.unanswered else []
            told += [f"{self.late} messages are still held back"] if self.late else []
        if handled:
            told += [
                f"{each.unsettled} deliveries to {each.label} are not settled" for each in self.listeners if each.unsettled
            ]
        return ", ".join(told)

    async def calm(self, busy: Callable[[], str]) -> None:
        """Wait until `busy` says nothing, and nothing happens for some turns of the loop."""
        while True:
            moves = self.moves
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if busy():
                await self.news()
            elif moves == self.moves:
                return

    async def reached(self, mark: bytes, listener: Listener) -> None:
        """Wait until a mark has come out of its queue, or `listener` has gone."""
        while mark not in self._seen and listener in self.listeners:
            await self.news()
        self._seen.discard(mark)

    async def news(self) -> None:
        """Wait until something happens. To be called in the turn in which nothing was found."""
        self._news.clear()
        await self._news.wait()
