"""What the tests of faults share: a place with a broker and a proxy before it, and a table's row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.broker import Node, Proxy
from tests.faults.book import Book, Entry
from tests.faults.workload import Plan, Workload

__all__ = ["Fault", "Scene", "judge", "rows"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of a table of faults.

    Args:
        number: its number in the list.
        injected: what is done, in words.
        strike: does it while swaps run, and heals it.
        before: does what has to come before the emitter is opened.
        faults: how often it happens.
        plan: what is set up otherwise.
        slow: takes too long for each run of the tests.
    """

    number: int
    injected: str
    strike: Callable[[Scene, Workload], Awaitable[None]]
    before: Callable[[Scene, Workload], Awaitable[None]] | None = None
    faults: int = 1
    plan: dict[str, Any] = field(default_factory=dict)
    slow: bool = False

    def __str__(self) -> str:
        return f"F{self.number} {self.injected}"


def rows(*faults: Fault) -> list[Any]:
    """Return parameters of a test: each fault with its markers."""
    parameters = []
    for fault in faults:
        marks = [pytest.mark.fault(fault.number)]
        if fault.slow:
            marks += [pytest.mark.faults, pytest.mark.timeout(600)]
        parameters.append(pytest.param(fault, marks=marks))
    return parameters


class Scene:
    """A broker, a proxy before it, a folder, and the book in which everything is written.

    Args:
        node: the private broker.
        proxy: what emitter and consumer connect through.
        folder: an empty one.
        book: of the session.
        outbox: what plans have unless they say otherwise.
    """

    def __init__(self, node: Node, proxy: Proxy, folder: Path, book: Book, outbox: dict[str, Any]) -> None:
        self.node = node
        self.proxy = proxy
        self.folder = folder
        self._book = book
        self._outbox = outbox

    def plan(self, **more: Any) -> Plan:
        """Return a plan in which everything goes through the proxy."""
        values: dict[str, Any] = {"url": self.node.url, "emitting": self.proxy.url, "folder": self.folder}
        return Plan(**{**values, **self._outbox, **more})

    async def thread(self, call: Callable[[], object]) -> None:
        """Make a blocking call of the node's."""
        await asyncio.to_thread(call)

    async def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl."""
        return await asyncio.to_thread(self.node.ctl, *arguments)

    async def survives(self, fault: Fault, **plan: Any) -> Workload:
        """Let swaps run across `fault`, see that the sum is right, and return what has been left."""
        workload = Workload(self.plan(**{**fault.plan, **plan}))
        before = None if fault.before is None else partial(fault.before, self, workload)
        async with workload.running(before):
            await fault.strike(self, workload)
        self.judge(workload, fault.number, fault.injected, faults=fault.faults)
        return workload

    def note(self, entry: Entry) -> None:
        """Write something down."""
        self._book.add(entry)

    def judge(self, workload: Workload, number: int, injected: str, *, faults: int = 1, may_handle_twice: int = 0) -> None:
        """Write down what a workload that has been left shows, and see that it is right."""
        judge(self._book, workload, number, injected, faults=faults, may_handle_twice=may_handle_twice)


def judge(book: Book, workload: Workload, number: int, injected: str, *, faults: int = 1, may_handle_twice: int = 0) -> None:
    """Write down what a workload that has been left shows, and see that it is right.

    Args:
        book: of the session.
        workload: it has been left.
        number: the fault's, in the list.
        injected: what was done, in words.
        faults: how often.
        may_handle_twice: duplicates that handlers may see.
    """
    sum_ = workload.account(faults=faults, may_handle_twice=may_handle_twice)
    entry = Entry(
        number=number,
        injected=injected,
        sum=sum_,
        swaps=workload.load.started + workload.more_swaps,
        wrong_swaps=len(workload.load.wrong),
        figures=workload.figures,
    )
    book.add(entry)

    assert [] == workload.load.wrong[:5]
    assert sum_.exact, str(sum_)
