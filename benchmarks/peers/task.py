"""What a peer is asked, and what it answers: one task in a process of its own, one line of JSON."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

__all__ = ["EXCHANGE", "INFO", "Arrivals", "Task", "Watch", "answer"]

EXCHANGE: Final = "nova"
INFO: Final = "versioned_notifications.info"
"""Routing key of what is emitted, and the queue of what peers consume."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run.

    Args:
        url: the broker's.
        count: notifications to send or to read, swaps to tell of.
        window: messages in flight, deliveries unsettled, or swaps at once.
        handled: swap notifications among those that are read.
        folder: an empty one, for what is kept on disk.
    """

    url: str
    count: int
    window: int
    handled: int
    folder: str


class Watch:
    """Wall-clock time, and CPU time of this process with all its threads, between `start` and `stop`."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def start(self) -> None:
        """Begin to measure."""
        self.wall, self.cpu = -time.perf_counter(), -time.process_time()

    def stop(self) -> None:
        """Measure no more."""
        self.wall += time.perf_counter()
        self.cpu += time.process_time()

    def figures(self, count: int, **more: float) -> dict[str, float]:
        """Return what is answered: seconds for `count` messages, and other figures by their names."""
        return {"count": count, "wall": self.wall, "cpu": self.cpu, **more}


class Arrivals:
    """Measures from the first swap notification that is handled to the last."""

    def __init__(self, handled: int) -> None:
        self._left = handled
        self._watch = Watch()
        self._first = True

    def one(self) -> bool:
        """Count one as handled; True: it was the last."""
        if self._first:
            self._first = False
            self._watch.start()
        self._left -= 1
        if self._left == 0:
            self._watch.stop()
        return self._left <= 0

    def figures(self, count: int) -> dict[str, float]:
        """Return what is answered; the first message came before the watch was started."""
        return self._watch.figures(count - 1)


Perform: TypeAlias = Callable[[Task], Any]
"""Plain or `async def`; returns the figures."""


def answer(tasks: Mapping[str, Perform]) -> None:
    """Do what the command line asks for, and print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=tasks)
    parser.add_argument("--url", default="", help="of the broker")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--window", type=int, default=128)
    parser.add_argument("--handled", type=int, default=0)
    parser.add_argument("--folder", default="")
    arguments = vars(parser.parse_args())
    perform = tasks[arguments.pop("task")]
    task = Task(**arguments)
    figures = asyncio.run(perform(task)) if inspect.iscoroutinefunction(perform) else perform(task)
    print(json.dumps(figures), flush=True)
