"""What happens to processes: a producer or a consumer that is killed, and one that has no descriptors left."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
from collections.abc import AsyncGenerator, Container
from contextlib import asynccontextmanager

import pytest

from aioswap.emitter import Emitter
from aioswap.outbox_file import FileOutbox
from aioswap.relay import WINDOW
from tests.faults.accounting import Copy, Sum, account
from tests.faults.book import Entry
from tests.faults.journal import Journal
from tests.faults.kit import Scene
from tests.faults.load import passes, until
from tests.faults.process import Process
from tests.faults.ways import rabbit
from tests.faults.witness import Witness
from tests.faults.workload import Workload

pytestmark = pytest.mark.broker

RATE = 100.0
PREFETCH = 20
LITTLE = 2 << 20
"""Bytes: less than the stack of one more thread."""


class Producers:
    """Producers that share a directory of outboxes, and what becomes of what they accept."""

    def __init__(self, scene: Scene, exchange: str) -> None:
        self.witness = Witness(scene.node.url, exchange, f"witness.{exchange}")
        self.names: list[str] = []
        self.told = ""
        self._url, self._exchange, self._folder = scene.proxy.url, exchange, scene.folder
        self._numbers = itertools.count()

    async def start(self, on_failure: str = "raise", prefix: tuple[str, ...] = ()) -> Process:
        """Start one more, under a new name."""
        name = f"{self._exchange}-{next(self._numbers)}"
        self.names.append(name)
        arguments = (self._url, self._exchange, self._folder, name, RATE, on_failure)
        process = Process("producer", *arguments, errors=self._folder / "errors", prefix=prefix)
        await process.start()
        return process

    def noted(self, kind: str) -> list[list[list[str]]]:
        """Return what each producer has noted."""
        return [Journal(self._folder / f"{name}.{kind}").lines() for name in self.names]

    def begun(self) -> int:
        """Return how many swaps have begun."""
        return sum(map(len, self.noted("begun")))

    async def adopt(self) -> None:
        """Relay what is left on disk, as the next run of the service does."""
        transport = rabbit(self._url, exchange=self._exchange)
        outbox = FileOutbox(self._folder / "outbox")
        async with transport, Emitter(transport, host="adopter", outbox=outbox) as emitter:
            await emitter.flush(60)
        await self.witness.read()

    def account(self, faults: int, kills: int) -> Sum:
        """Return the sum. What adoption has told counts as accepted by adoption.

        A producer that is killed between accepting a message and noting that leaves its last one unnoted: one a kill at most.
        """
        copies = self.witness.copies
        delivered = {copy.message_id for copy in copies}
        safe = {words[0] for producer in self.noted("safe") for words in producer}
        accepted = {
            name: [words[0] for words in noted if words[0] in safe | delivered]
            for name, noted in zip(self.names, self.noted("accepted"), strict=True)
        }
        known = {message_id for producer in accepted.values() for message_id in producer}
        adopted: list[str] = []
        unnoted: dict[str, str] = {}
        for copy in copies:
            if copy.message_id in known:
                continue
            if copy.phase == "error":
                adopted.append(copy.message_id)
            else:
                unnoted.setdefault(copy.instance.rsplit("-", 1)[0], copy.message_id)
        for name, message_id in itertools.islice(unnoted.items(), kills):
            accepted[name].append(message_id)
        return account(
            accepted=[*accepted.values(), list(dict.fromkeys(adopted))],
            copies=copies,
            handled=list(delivered),
            bound=WINDOW * faults,
        )

    def wrong(self, unkept: Container[str] = ()) -> list[str]:
        """Return the swaps not told as one start and one end that fits; `unkept` ones by what they have told themselves."""
        ended = {words[0]: words[1] for producer in self.noted("ended") for words in producer}
        wrong = []
        for instance, copies in self._told().items():
            phases = [copy.phase for copy in copies]
            if instance in unkept:
                phases = phases[:2] if len(phases) > 1 else ["start", *phases]
            last = {ended[instance]} if instance in ended else {"end", "error"}
            if len(phases) != 2 or phases[0] != "start" or phases[1] not in last:
                wrong.append(f"{instance} was told as {phases}, it ended with {ended.get(instance, 'its process')}")
        return wrong

    def unkept(self) -> list[str]:
        """Return the swaps that a disk which refuses has left outside the crash journal, and that show it.

        What it refused is relayed from memory, and a kill ends that: the start may be missing, or adoption, which knows the
        start alone, tells an error beside the end.
        """
        safe = {words[0] for producer in self.noted("safe") for words in producer}
        unkept = []
        for instance, copies in self._told().items():
            alone = len(copies) == 1 and copies[0].phase != "start" and copies[0].message_id not in safe
            beside = len(copies) == 3 and copies[1].message_id not in safe
            if alone or (beside and ("start", "error") == (copies[0].phase, copies[2].phase)):
                unkept.append(instance)
        return unkept

    def _told(self) -> dict[str, list[Copy]]:
        """Return what was told of each swap that has begun, each message once, in order."""
        told: dict[str, dict[str, Copy]] = {words[0]: {} for producer in self.noted("begun") for words in producer}
        for copy in self.witness.copies:
            told.setdefault(copy.instance, {})[copy.message_id] = copy
        return {instance: list(copies.values()) for instance, copies in told.items()}


@asynccontextmanager
async def producing(scene: Scene, name: str) -> AsyncGenerator[Producers]:
    """Give producers an exchange of their own."""
    producers = Producers(scene, name)
    await producers.witness.declare()
    try:
        yield producers
    finally:
        await producers.witness.delete("nobody")


def judge(
    scene: Scene,
    producers: Producers,
    number: int,
    injected: str,
    faults: int,
    *,
    kills: int = 0,
    disk_refused: bool = False,
) -> None:
    unkept = producers.unkept() if disk_refused else []
    wrong = producers.wrong(unkept)
    sum_ = producers.account(faults, kills)
    entry = Entry(
        number=number, injected=injected, sum=sum_, swaps=producers.begun(), wrong_swaps=len(wrong), unkept=len(unkept)
    )
    scene.note(entry)

    assert [] == wrong[:5]
    assert sum_.exact, str(sum_)


@pytest.mark.fault(15)
@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=[pytest.mark.faults, pytest.mark.timeout(900)])])
async def test_each_swap_of_a_killed_producer_is_told_to_end_once(scene: Scene, kills: int) -> None:
    seed = int.from_bytes(os.urandom(4))
    choose = random.Random(seed)
    async with producing(scene, f"f15-{kills}") as producers:
        processes = list(await asyncio.gather(producers.start(), producers.start()))
        try:
            for _ in range(kills):
                await passes(choose.uniform(0.05, 1.0))
                killed = choose.randrange(2)
                await processes[killed].kill()
                processes[killed] = await producers.start()
            await until(lambda: producers.begun() >= 400, what="400 swaps")
            told = [await process.leave() for process in processes]
        finally:
            for process in processes:
                await process.kill()
        await producers.adopt()
        judge(
            scene,
            producers,
            15,
            f"SIGKILL of one of two producers side by side, {kills} times, seed {seed}",
            kills,
            kills=kills,
        )

    assert ["left 0\n", "left 0\n"] == told


class HearingProcess(Workload):
    """A workload whose consumer is a process of its own."""

    process: Process

    @property
    def handled(self) -> int:
        return len(Journal(self.plan.folder / "handled").lines())

    async def listen(self) -> None:
        """Start it."""
        arguments = (self.plan.emitting, self.exchange, self.pool, PREFETCH, self.plan.folder / "handled")
        self.process = Process("hearer", *arguments, errors=self.plan.folder / "errors")
        await self.process.start()


@pytest.mark.fault(16)
@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
async def test_what_a_consumer_had_not_acknowledged_is_handled_by_the_next(scene: Scene, how: signal.Signals) -> None:
    workload = HearingProcess(scene.plan())
    times = 3
    try:
        async with workload.running():
            for _ in range(times):
                goal = workload.handled + 50
                await until(lambda goal=goal: workload.handled >= goal, what="the consumer handles")  # type: ignore[misc]
                if how is signal.SIGKILL:
                    await workload.process.kill()
                else:
                    await workload.process.leave()
                await workload.listen()
            await workload.settle()
            await workload.process.leave()
    finally:
        if hasattr(workload, "process"):
            await workload.process.kill()
    twice = PREFETCH * times if how is signal.SIGKILL else 0
    scene.judge(workload, 16, f"{how.name} of the consumer, {times} times", may_handle_twice=twice)


@pytest.mark.fault(19)
@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_nothing_is_lost_without_descriptors(scene: Scene) -> None:
    async with producing(scene, "f19-files") as producers:
        process = await producers.start()
        try:
            await until(lambda: producers.begun() >= 100, what="100 swaps")
            process.signal(signal.SIGUSR1)
            scene.proxy.reset()
            goal = producers.begun() + 300
            await until(lambda: producers.begun() >= goal, what="swaps go on")
            process.signal(signal.SIGUSR2)
            told = await process.leave()
        finally:
            await process.kill()
        await producers.adopt()
        judge(scene, producers, 19, "RLIMIT_NOFILE of 3 for 3 s, and RST", 1)

    assert "left 0\n" == told


@pytest.mark.fault(19)
@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_nothing_is_lost_where_memory_has_no_room_for_a_mapping(scene: Scene) -> None:
    async with producing(scene, "f19-little") as producers:
        process = await producers.start("log")
        try:
            await until(lambda: producers.begun() >= 100, what="100 swaps")
            process.limit_memory(LITTLE)
            scene.proxy.reset()
            goal = producers.begun() + 300
            await until(lambda: producers.begun() >= goal, what="swaps go on")
            process.limit_memory(None)
            told = await process.leave()
        finally:
            await process.kill()
        await producers.adopt()
        judge(scene, producers, 19, f"RLIMIT_AS of {LITTLE >> 20} MiB more than is in use for 3 s, and RST", 1)

    assert "left 0\n" == told


@pytest.mark.fault(19)
@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_what_a_process_without_memory_has_kept_is_told_by_the_next(scene: Scene) -> None:
    async with producing(scene, "f19-none") as producers:
        process = await producers.start()
        try:
            await until(lambda: producers.begun() >= 400, what="400 swaps")
            process.limit_memory(0)  # pydantic's core may end a process that has none; if it does not, SIGKILL does
            scene.proxy.reset()
            await passes(5)
        finally:
            await process.kill()
        await producers.adopt()
        judge(scene, producers, 19, "RLIMIT_AS of what is in use for 5 s, RST, and SIGKILL", 1, kills=1, disk_refused=True)
