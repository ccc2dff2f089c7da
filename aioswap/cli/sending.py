"""Sending messages by hand: soon, in order, and with a count of what the broker said."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Final

from aioswap.cli.output import say
from aioswap.clock import Clock
from aioswap.errors import TransportError
from aioswap.transports.base import Confirmation, Message, Sender

__all__ = ["Post", "until_ready"]

_WINDOW: Final = 128
"""Messages sent and not yet answered."""

_TURN: Final = 0.05
_PATIENCE: Final = 1.0
"""Seconds that trouble may last: enough to try the other hosts of a cluster."""


async def until_ready(sender: Sender, clock: Clock, timeout: float) -> None:
    """Wait until `sender` can send. Trouble that lasts for a second is enough: nobody waits out the time for a typo.

    Args:
        sender: just opened.
        clock: measures.
        timeout: seconds.

    Raises:
        TransportError: it can't; the text says why.
    """
    ready = asyncio.ensure_future(sender.ready())
    end, troubled = clock.monotonic() + timeout, 0.0
    try:
        while not ready.done():
            await clock.sleep(_TURN)
            trouble = sender.health.degraded
            troubled = troubled + _TURN if trouble is not None else 0.0
            if not ready.done() and (troubled >= _PATIENCE or clock.monotonic() >= end):
                raise TransportError(trouble or f"the broker has not answered after {timeout:g} seconds")
    finally:
        ready.cancel()


class Post:
    """Sends messages in order, and counts what becomes of them.

    Args:
        sender: ready.
        clock: measures.
        timeout: seconds in which each message must be confirmed.
    """

    def __init__(self, sender: Sender, clock: Clock, timeout: float) -> None:
        self.confirmed = 0
        self.refused: Counter[tuple[str, Confirmation]] = Counter()
        """By routing key, and how."""
        self.impossible = 0
        """Messages that no broker would take."""
        self.unconfirmed = 0
        """Messages whose fate is not known: the last ones."""
        self._sender = sender
        self._clock = clock
        self._timeout = timeout
        self._pending: deque[tuple[Message, asyncio.Future[Confirmation]]] = deque()

    def refusals(self, how: Confirmation) -> int:
        """Return how many the broker refused in this way."""
        return sum(count for (_, answer), count in self.refused.items() if answer is how)

    @property
    def worst(self) -> str:
        """The worst that became of a message: `unconfirmed`, `impossible`, `returned`, `nacked`, else `confirmed`."""
        if self.unconfirmed:
            return "unconfirmed"
        if self.impossible:
            return "impossible"
        return next((how.value for how in (Confirmation.RETURNED, Confirmation.NACKED) if self.refusals(how)), "confirmed")

    @property
    def code(self) -> int:
        """The exit code: 4 if something is unconfirmed, 1 if something was refused, else 0."""
        return {"unconfirmed": 4, "confirmed": 0}.get(self.worst, 1)

    async def send(self, message: Message) -> bool:
        """Send `message`. False: something is unconfirmed, and nothing more should be sent."""
        while not self.unconfirmed and len(self._pending) >= _WINDOW:
            await self._answer()
        if self.unconfirmed:
            return False
        future = self._sender.send(message)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, even if nobody asks
        self._pending.append((message, future))
        return True

    async def finish(self) -> None:
        """Wait for the answers that are still owed, and say in words what the broker refuses."""
        while self._pending and not self.unconfirmed:
            await self._answer()
        self.unconfirmed += len(self._pending)
        self._pending.clear()
        for (key, how), count in sorted(self.refused.items()):
            why = (
                "no queue is bound for it: nobody would get them" if how is Confirmation.RETURNED else "a queue for it is full"
            )
            say(f"aioswap: {how}: {count} of routing key {key}; {why}")

    async def _answer(self) -> None:
        message, future = self._pending.popleft()
        try:
            async with self._clock.timeout(self._timeout):
                said = await future
        except TimeoutError:
            trouble = self._sender.health.degraded or f"no confirm within {self._timeout:g} seconds"
            self._lose(f"{trouble}; it may arrive all the same")
        except TransportError as error:
            self._lose(str(error))
        except ValueError as error:
            self.impossible += 1
            say(f"aioswap: impossible: a message of routing key {message.routing_key}: {error}")
        else:
            if said is Confirmation.CONFIRMED:
                self.confirmed += 1
            else:
                self.refused[message.routing_key, said] += 1

    def _lose(self, why: str) -> None:
        self.unconfirmed += 1
        say(f"aioswap: unconfirmed: {why}")
