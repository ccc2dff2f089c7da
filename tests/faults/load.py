"""The swaps of a run: what each of them should end with, and whether it did."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any, Final

from aioswap.clock import Clock
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from tests.faults.accounting import Copy

__all__ = ["Ending", "Load", "passes", "until"]

_TICK: Final = 0.01
_HANG: Final = 60.0
"""Seconds after which a swap whose body was let go has hung."""


class Ending(StrEnum):
    """How a swap should end."""

    RETURNS = "end"
    RAISES = "error"
    CANCELLED = "cancelled"
    """By the test itself."""


class _Broken(Exception):
    """What a swap raises of its own."""


async def until(fact: Callable[[], object], seconds: float = 90.0, *, what: str = "") -> None:
    """Look again and again until `fact()` is true.

    Raises:
        AssertionError: it is not, for so many seconds.
    """
    try:
        async with asyncio.timeout(seconds):
            while not fact():
                await passes(_TICK)
    except TimeoutError:
        raise AssertionError(f"what the test waits for has not come in {seconds} s: {what or fact}") from None


async def passes(seconds: float) -> None:
    """Let a fault last for so long, or a load keep its rate."""
    await Clock().sleep(seconds)


class Load:
    """Swaps at a steady rate, under an emitter.

    Every tenth raises, every tenth is cancelled by the load in its body, every seventh lasts until `release`.

    Args:
        emitter: tells of them.
        rate: swaps started per second.
        prefix: of the instances' names.
    """

    def __init__(self, emitter: Emitter, rate: float, prefix: str = "vm") -> None:
        self._rate = rate
        self._prefix = prefix
        self._tasks: dict[asyncio.Task[int], int] = {}
        self._released = asyncio.Event()
        self._going = asyncio.Event()
        self._going.set()
        self._stopped = False
        self._numbers = itertools.count()
        self.results: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.started = 0

        @emitter.swap(describe=self._describe)
        async def swap(number: int, body: Callable[[], Awaitable[None]]) -> int:
            await body()
            return number

        self._swap: Callable[[int, Callable[[], Awaitable[None]]], Any] = swap

    @staticmethod
    def ending(number: int) -> Ending:
        """Return how swap `number` ends."""
        return {0: Ending.RAISES, 5: Ending.CANCELLED}.get(number % 10, Ending.RETURNS)

    async def run(self) -> None:
        """Start swaps until `stop`."""
        loop = asyncio.get_running_loop()
        while not self._stopped:
            begun, before = loop.time(), self.started
            while self._going.is_set() and not self._stopped:
                due = before + int((loop.time() - begun) * self._rate) + 1
                while self.started < due:
                    self.start()
                await passes(_TICK)
            await self._going.wait()

    def pause(self) -> None:
        """Start no more until `go_on`, and let those end that wait."""
        self._going.clear()
        self.release()

    def go_on(self) -> None:
        """Start swaps again."""
        self._released.clear()
        self._going.set()

    def start(self) -> None:
        """Start one swap."""
        number = next(self._numbers)
        task = asyncio.create_task(self._one(number))
        self._tasks[task] = number
        task.add_done_callback(self._done)
        self.started += 1

    def stop(self) -> None:
        """Start no more, and let those end that wait."""
        self._stopped = True
        self._going.set()
        self.release()

    def release(self) -> None:
        """Let the swaps end that last across the fault."""
        self._released.set()

    async def finished(self) -> None:
        """Wait until all swaps have ended; those that do not are counted as wrong."""
        if self._tasks:
            _, hung = await asyncio.wait(set(self._tasks), timeout=_HANG)
            for task in hung:
                self.wrong.append(f"swap {self._tasks[task]} hangs")
                task.cancel()

    def untold(self, copies: Sequence[Copy]) -> list[str]:
        """Return the instances of which something else was told than one start and the right end, if anything was."""
        told: dict[str, dict[str, str]] = defaultdict(dict)
        for copy in copies:
            told[copy.instance][copy.message_id] = copy.phase
        wrong = []
        for number in range(self.started):
            instance = self._instance(number)
            last = "end" if self.ending(number) is Ending.RETURNS else "error"
            if instance in told and sorted(told[instance].values()) != sorted(("start", last)):
                wrong.append(f"{instance} was told as {list(told[instance].values())}")
        return wrong

    def _describe(self, number: int, body: Callable[[], Awaitable[None]]) -> SwapRequest:
        return SwapRequest({"uuid": self._instance(number)}, f"old-{number}", f"new-{number}")

    def _instance(self, number: int) -> str:
        return f"{self._prefix}-{number}"

    async def _one(self, number: int) -> int:
        task = asyncio.current_task()
        assert task is not None
        ending = self.ending(number)

        async def body() -> None:
            await asyncio.sleep(0)
            if ending is Ending.CANCELLED:
                asyncio.get_running_loop().call_soon(task.cancel)
                await asyncio.Event().wait()
            if number % 7 == 0:
                await self._released.wait()
            if ending is Ending.RAISES:
                raise _Broken(number)

        result: int = await self._swap(number, body)
        return result

    def _done(self, task: asyncio.Task[int]) -> None:
        number = self._tasks.pop(task)
        if task.cancelled():
            came = Ending.CANCELLED.value
        elif (error := task.exception()) is not None:
            came = Ending.RAISES.value if isinstance(error, _Broken) else repr(error)
        else:
            came = Ending.RETURNS.value if task.result() == number else f"returned {task.result()!r}"
        self.results[came] += 1
        if came != self.ending(number):
            self.wrong.append(f"swap {number} ended with {came}")
