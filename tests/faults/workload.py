"""A service that swaps and a service that hears of it, while something happens to what lies between them."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from aioswap.clock import Clock
from aioswap.consumer import Consumer
from aioswap.emitter import Emitter
from aioswap.hooks import Operation, OperationKind
from aioswap.outbox import MemoryOutbox
from aioswap.relay import WINDOW
from aioswap.transports.base import Outbox
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification
from tests.faults.accounting import Copy, Sum, account
from tests.faults.journal import Journal
from tests.faults.load import Load, until
from tests.faults.ways import rabbit
from tests.faults.witness import Witness, notification_of

__all__ = ["Ear", "Footprint", "Plan", "Workload", "descriptors", "memory_outbox"]

_WARM = 40
"""Notifications that are confirmed before a fault."""

_SETTLE_SECONDS = 150.0


def memory_outbox(folder: Path) -> Outbox:
    """Return an outbox in memory that is large enough for any run."""
    return MemoryOutbox(max_messages=100_000, max_bytes=1 << 30)


def descriptors() -> int:
    """Return how many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


@dataclass(frozen=True, slots=True)
class Footprint:
    """What this process has while nothing is under way."""

    tasks: int
    descriptors: int
    memory: float
    """MB of resident memory."""

    @staticmethod
    def now() -> Footprint:
        """Measure it."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return Footprint(len(asyncio.all_tasks()), descriptors(), pages * resource.getpagesize() / 1e6)

    def __str__(self) -> str:
        return f"{self.tasks} tasks, {self.descriptors} descriptors, {self.memory:.1f} MB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a run is set up.

    Args:
        url: the broker's own.
        emitting: where the emitter's transport connects; None: `url`.
        consuming: where the consumer's transport connects; None: as the emitter.
        folder: an empty one, for journals.
        outbox: makes the emitter's outbox in a folder.
        swaps: at least so many.
        rate: swaps started per second.
        witness: a queue of the witness's own; without one (the fault deletes queues) the consumer is believed: what it
            received, and handled.
        handler: is awaited in each handling.
        durable: how the exchange was declared before.
        priorities: of the consumer.
        transport: more arguments of the emitter's transport.
        clock: the emitter's.
        network_clock: of both transports.
    """

    url: str
    emitting: str | None = None
    consuming: str | None = None
    folder: Path
    outbox: Callable[[Path], Outbox] = memory_outbox
    swaps: int = 400
    rate: float = 100.0
    witness: bool = True
    prefetch: int = 100
    quorum: bool = False
    handler: Callable[[], Awaitable[object]] | None = None
    durable: bool = True
    priorities: Sequence[str] = ("info", "error")
    transport: dict[str, Any] = field(default_factory=dict)
    clock: Clock | None = None
    network_clock: Clock | None = None


class Ear:
    """The hook of an emitter: notes what is accepted and refused.

    Args:
        folder: for its journals.
    """

    def __init__(self, folder: Path) -> None:
        self.accepted = Journal(folder / "accepted")
        self.refused = Journal(folder / "refused")
        self.confirmed = 0
        self.last_confirmed = 0.0
        self.longest_gap = 0.0
        self.on_confirmed: Callable[[float], None] = lambda now: None

    def started(self, operation: Operation) -> None:
        """Do nothing: it is not yet accepted."""

    def finished(self, operation: Operation) -> None:
        """Note what was accepted and what was refused."""
        if operation.kind is OperationKind.EMIT and operation.outcome == "accepted":
            self.accepted.note(operation.message_id)
        elif operation.kind is OperationKind.PUBLISH and operation.outcome == "confirmed":
            self.confirmed += 1
            now = asyncio.get_running_loop().time()
            self.longest_gap = max(self.longest_gap, now - (self.last_confirmed or now))
            self.last_confirmed = now
        elif operation.kind is OperationKind.PUBLISH and operation.outcome in ("returned", "nacked"):
            self.refused.note(operation.message_id)


class _Arrivals:
    """The hook of the consumer: in which order the broker delivers."""

    def __init__(self, folder: Path) -> None:
        self.received = Journal(folder / "received")

    def started(self, operation: Operation) -> None:
        """Do nothing: it is not yet parsed."""

    def finished(self, operation: Operation) -> None:
        """Note what has arrived."""
        if operation.kind is OperationKind.RECEIVE:
            self.received.note(operation.message_id)


class Workload:
    """Opens a witness, a consumer and an emitter, and lets swaps run. Use `running`; then `sum` tells what became of all.

    Args:
        plan: how it is set up.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.exchange = f"faults.{uuid4().hex[:8]}"
        self.pool = self.exchange.replace(".", "-")
        self.witness = Witness(plan.url, self.exchange, f"witness.{self.exchange}", durable=plan.durable, quorum=plan.quorum)
        self.destroyed = 0
        self.parked: set[str] = set()
        self.figures: dict[str, float] = {}
        self.copies: list[Copy] = []
        self.sent_again: set[str] = set()
        """AMQP ids of messages that were parked, then sent again: behind what came meanwhile."""
        self.more_swaps = 0
        """That a test has run beside the load, and judged itself."""
        self.others: list[Ear] = []
        """Of other emitters that send to the same exchange."""
        plan.folder.mkdir(parents=True, exist_ok=True)
        self._ear = Ear(plan.folder)
        self._arrivals = _Arrivals(plan.folder)
        self._handled = Journal(plan.folder / "handled")
        self.outbox = plan.outbox(plan.folder / "outbox")
        emitting = rabbit(plan.emitting or plan.url, exchange=self.exchange, **{"clock": plan.network_clock, **plan.transport})
        consuming_url = plan.consuming or plan.emitting or plan.url
        consuming = rabbit(consuming_url, exchange=self.exchange, clock=plan.network_clock)
        self._transports = (emitting, consuming)
        self.emitter = Emitter(emitting, host=f"host-{self.pool}", outbox=self.outbox, hooks=[self._ear], clock=plan.clock)
        self.consumer = Consumer(
            consuming,
            self.pool,
            quorum=plan.quorum,
            prefetch=plan.prefetch,
            priorities=plan.priorities,
            hooks=[self._arrivals],
        )
        self.consumer.on(volume_swap.any, name="handler")(self._handle)
        self.load = Load(self.emitter, plan.rate, prefix=self.pool)
        self._consuming = AsyncExitStack()

    @property
    def accepted(self) -> int:
        """Notifications accepted until now."""
        return self._ear.accepted.noted

    @property
    def confirmed(self) -> int:
        """Messages confirmed until now."""
        return self._ear.confirmed

    @property
    def refused(self) -> int:
        """Returned and nacked messages until now."""
        return self._ear.refused.noted

    @property
    def handled(self) -> int:
        """Handlings that have ended until now."""
        return self._handled.noted

    @property
    def longest_gap(self) -> float:
        """Seconds between two confirms, at most."""
        return self._ear.longest_gap

    def forget_gap(self) -> None:
        """Let `longest_gap` begin anew."""
        self._ear.longest_gap = 0.0

    @asynccontextmanager
    async def running(self, before: Callable[[], Awaitable[object]] | None = None) -> AsyncGenerator[None]:
        """Let swaps run during the body, in which the fault is injected and healed; then settle.

        The fault comes when all is well and something is on its way.

        Args:
            before: a fault that comes before the emitter is opened: then the body begins at once.
        """
        tasks, files = asyncio.all_tasks(), descriptors()
        async with self.declared():
            await self.listen()
            if before is not None:
                await before()
            async with self.emitting():
                if before is None:
                    await self.warm()
                yield
                await self.settle()
        await self.read()
        await until(lambda: not asyncio.all_tasks() - tasks, 10, what="no task is left")
        await until(lambda: descriptors() <= files, 10, what="no descriptor is left")

    @asynccontextmanager
    async def declared(self) -> AsyncGenerator[None]:
        """The queues are there, and go after the body. The body's end closes the consumer."""
        async with self._consuming:
            for transport in self._transports:
                await self._consuming.enter_async_context(transport)
            await self.witness.declare(exchange_only=not self.plan.witness)
            yield

    @asynccontextmanager
    async def emitting(self) -> AsyncGenerator[None]:
        """The emitter is open and swaps run."""
        running: asyncio.Task[None] | None = None
        try:
            async with self.emitter:
                running = asyncio.create_task(self.load.run())
                yield
        finally:
            if running is not None:
                running.cancel()
                await asyncio.wait({running})

    async def listen(self) -> None:
        """Start the consumer."""
        await self._consuming.enter_async_context(self.consumer.running(start_timeout=60))

    async def warm(self) -> None:
        """Wait until all is well."""
        await until(lambda: self.confirmed >= _WARM, what="notifications are confirmed before the fault")

    async def accepts(self, number: int) -> None:
        """Wait until so many more notifications are accepted."""
        goal = self.accepted + number
        await until(lambda: self.accepted >= goal, what=f"{number} notifications accepted")

    async def confirms(self, number: int) -> None:
        """Wait until so many notifications are confirmed, since the beginning."""
        await until(lambda: self.confirmed >= number, what=f"{number} notifications confirmed")

    async def healed(self, name: str = "again after") -> None:
        """Wait until something is confirmed, and note how long it took from now."""
        loop = asyncio.get_running_loop()
        begun, goal = loop.time(), self.confirmed + 1
        await until(lambda: self.confirmed >= goal, 120, what="notifications are confirmed after the fault")
        self.figures[name] = max(self.figures.get(name, 0.0), loop.time() - begun)

    async def noticed(self) -> None:
        """Wait until the emitter knows that its connection is gone, and note how long it took from now."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await until(lambda: not self.emitter.health().link.connected, 120, what="the loss is noticed")
        self.figures["noticed after"] = max(self.figures.get("noticed after", 0.0), loop.time() - begun)

    async def settle(self) -> None:
        """Let the swaps be enough and end, and wait until the emitter and the consumer are done with all of them.

        The second time it does nothing.
        """
        await until(lambda: self.load.started >= self.plan.swaps, 300, what="enough swaps")
        self.load.stop()
        await self.load.finished()
        await self.drained()

    async def drained(self, seconds: float = _SETTLE_SECONDS) -> None:
        """Wait until everything accepted is confirmed or parked, and handled.

        Raises:
            AssertionError: it is not, for so long.
        """
        await until(lambda: not self.emitter.health().backlog, seconds, what="an empty outbox")
        accepted = self.accepted + sum(ear.accepted.noted for ear in self.others)
        expected = accepted - self.destroyed - len(self.outbox.parked())
        await until(lambda: self.handled >= expected, seconds, what=f"{expected} handled")
        self.parked = {notification_of(parked.message.body)["message_id"] for parked in self.outbox.parked()}

    async def quiet(self) -> Footprint:
        """Let everything come to rest for a moment, and measure what this process has."""
        self.load.pause()
        await self.load.finished()
        await self.drained()
        await until(self._at_rest, what="all is at rest")
        footprint = Footprint.now()
        self.load.go_on()
        return footprint

    def _at_rest(self) -> bool:
        consumer = self.consumer.health()
        return consumer.link.connected and not consumer.in_flight and self.emitter.health().link.connected

    async def read(self) -> None:
        """Let the witness tell."""
        if self.plan.witness:
            await self.witness.read()
            self.copies = self.witness.copies
        else:
            handled = {words[0]: Copy(*words) for words in self._handled.lines()}
            arrived = dict.fromkeys(words[0] for words in self._arrivals.received.lines())
            self.copies = [handled[message_id] for message_id in arrived if message_id in handled]
        await self.witness.delete(self.pool)
        for journal in (self._handled, self._arrivals.received, self._ear.accepted, self._ear.refused):
            journal.close()

    def account(self, *, faults: int = 1, may_handle_twice: int = 0) -> Sum:
        """Return the sum, and add what was told wrongly to the load's wrong swaps.

        Args:
            faults: how many there were.
            may_handle_twice: bound of the duplicates that handlers see.
        """
        if not (self.destroyed or self.parked):
            self.load.wrong += self.load.untold(self.copies)
        return account(
            accepted=[[words[0] for words in ear.accepted.lines()] for ear in (self._ear, *self.others)],
            copies=self.copies,
            handled=[words[0] for words in self._handled.lines()],
            confirmed=self.confirmed,
            parked=self.parked,
            lost_at_exit={notification_of(entry.message.body)["message_id"] for entry in self.outbox.at_risk()},
            refused={words[0] for words in self._ear.refused.lines()} | self.sent_again,
            destroyed=self.destroyed,
            bound=WINDOW * faults,
            may_handle_twice=may_handle_twice,
        )

    async def _handle(self, notification: Notification[Any]) -> None:
        if self.plan.handler is not None:
            await self.plan.handler()
        key = "versioned_notifications." + notification.priority.lower()
        phase = notification.event_type.rpartition(".")[2]
        self._handled.note(notification.message_id, notification.unique_id, key, notification.payload.uuid, phase)
