"""What happens inside of the process: slow handlers, cancellations, loops, forks, and clocks that jump."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import anyio
import pytest

from aioswap.clock import Clock
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.wire.events import volume_swap
from aioswap.wire.instances import swap_payload
from tests.faults.kit import Fault, Scene, rows
from tests.faults.load import passes, until
from tests.faults.ways import rabbit
from tests.faults.workload import Ear, Workload

pytestmark = pytest.mark.broker


# F17


@pytest.mark.fault(17)
@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_what_is_acknowledged_too_late_is_handled_once(scene: Scene) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def slow_once() -> None:
        if not begun.is_set():
            begun.set()
            await gate.wait()

    async def limit(timeout: int, tick: int) -> None:
        await scene.ctl(
            "eval",
            f"application:set_env(rabbit, consumer_timeout, {timeout}), "
            f"application:set_env(rabbit, channel_tick_interval, {tick}).",
        )

    await limit(3_000, 1_000)
    try:
        workload = Workload(scene.plan(handler=slow_once))
        async with workload.running():
            await until(lambda: not workload.consumer.health().link.connected, 60, what="the broker ends the channel")
            await limit(1_800_000, 60_000)
            scene.proxy.reset()  # the channel that knows the short limit goes
            await until(lambda: workload.consumer.health().link.connected, what="the consumer is back")
            gate.set()
    finally:
        await limit(1_800_000, 60_000)
    scene.judge(workload, 17, "a handler that takes longer than the broker's consumer_timeout of 3 s", faults=2)


# F20


class Broken(Exception):
    """What a neighbour in a task group raises."""


async def by_cancel(swap: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.ensure_future(swap())
    asyncio.get_running_loop().call_later(0.005, task.cancel)
    await task


async def by_timeout(swap: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(0.005):
        await swap()


async def by_scope(swap: Callable[[], Awaitable[None]]) -> None:
    with anyio.move_on_after(0.005):
        await swap()


async def by_neighbour(swap: Callable[[], Awaitable[None]]) -> None:
    async def fail() -> None:
        await passes(0.005)
        raise Broken

    async with asyncio.TaskGroup() as group:
        group.create_task(_coroutine(swap))
        group.create_task(fail())


async def _coroutine(swap: Callable[[], Awaitable[None]]) -> None:
    await swap()


WAYS = (
    (by_cancel, asyncio.CancelledError),
    (by_timeout, TimeoutError),
    (by_scope, type(None)),
    (by_neighbour, ExceptionGroup),
)


async def end_swaps(scene: Scene, workload: Workload) -> None:
    """End 400 swaps in every way, while connections are reset."""
    ended: Counter[str] = Counter()

    async def one(number: int) -> None:
        way, expected = WAYS[number % len(WAYS)]
        result: BaseException | None = None

        async def swap() -> None:
            request = SwapRequest({"uuid": f"ended-{number}"}, f"old-{number}", f"new-{number}")
            async with workload.emitter.swapping(request):
                await asyncio.Event().wait()

        try:
            await way(swap)
        except BaseException as error:
            result = error
        ended["right" if isinstance(result, expected) else f"{way.__name__}: {result!r}"] += 1

    for batch in range(8):
        async with asyncio.timeout(30):
            await asyncio.gather(*(one(50 * batch + number) for number in range(50)))
        if batch == 4:
            scene.proxy.reset()

    workload.more_swaps += 400

    assert {"right": 400} == ended


@pytest.mark.parametrize(
    "fault", rows(Fault(20, "400 swaps cancelled, timed out, left by scopes and neighbours", end_swaps)), ids=str
)
async def test_every_end_of_a_swap_is_told_as_an_error(scene: Scene, fault: Fault) -> None:
    told: defaultdict[str, list[str]] = defaultdict(list)
    workload = await scene.survives(fault)
    for message_id in dict.fromkeys(copy.message_id for copy in workload.copies):
        copy = next(copy for copy in workload.copies if copy.message_id == message_id)
        if copy.instance.startswith("ended-"):
            told[copy.instance].append(copy.phase)

    assert 400 == len(told)
    assert {("start", "error")} == set(map(tuple, told.values()))


async def use_elsewhere(scene: Scene, workload: Workload) -> None:
    """Use the emitter in another loop and in a forked child: both are refused clearly, and swaps run there untold."""
    request = SwapRequest({"uuid": "elsewhere"}, "old", "new")
    payload = swap_payload({"uuid": "elsewhere"}, "old", "new")
    bodies: list[str] = []

    async def swap() -> None:
        async with workload.emitter.swapping(request):
            bodies.append("ran")

    async def emit() -> str:
        await swap()
        try:
            await workload.emitter.emit(volume_swap.start, payload)
        except RuntimeError as error:
            return str(error)
        return "emitted"

    refused = await asyncio.to_thread(lambda: asyncio.run(emit()))
    child = os.fork()
    if child == 0:
        os._exit(0 if _refuses(workload) else 1)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    await workload.healed()

    assert "another event loop or thread" in refused
    assert ["ran"] == bodies
    assert 0 == status


def _refuses(workload: Workload) -> bool:
    """Say whether the emitter knows that it is in a forked child."""
    try:
        workload.emitter._opened.check()
    except RuntimeError as error:
        return "before a fork" in str(error)
    return False


@pytest.mark.parametrize(
    "fault", rows(Fault(20, "used in another loop and in a forked child", use_elsewhere, slow=True)), ids=str
)
async def test_an_emitter_is_used_where_it_was_opened(scene: Scene, fault: Fault) -> None:
    await scene.survives(fault)


@pytest.mark.fault(20)
@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_a_loop_that_is_closed_tells_its_swaps_and_drains(scene: Scene) -> None:
    workload = Workload(scene.plan())
    transport = rabbit(scene.proxy.url, exchange=workload.exchange)
    folder = scene.folder / "closing"
    folder.mkdir()
    ear = Ear(folder)
    workload.others.append(ear)

    async def service() -> None:
        async with transport, Emitter(transport, host="closing", hooks=[ear]) as emitter:

            async def swap(number: int) -> None:
                async with emitter.swapping(SwapRequest({"uuid": f"closing-{number}"}, "old", "new")):
                    await asyncio.Event().wait()

            swaps = [asyncio.create_task(swap(number)) for number in range(400)]
            await until(lambda: emitter.health().running == len(swaps), what="all swaps run")
            asyncio.get_running_loop().stop()
            await asyncio.gather(*swaps)

    def run() -> None:
        with pytest.raises(RuntimeError, match="Event loop stopped"):
            asyncio.run(service())

    async with workload.running():
        await asyncio.to_thread(run)
        ear.accepted.close()
    workload.more_swaps += 400
    scene.judge(workload, 20, "400 swaps run when their loop is closed")


# F21


class JumpingClock(Clock):
    """A clock whose wall time an operator sets."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def utcnow(self) -> datetime:
        return super().utcnow() + self.offset


@pytest.mark.fault(21)
async def test_nothing_is_lost_when_the_wall_clock_jumps(scene: Scene) -> None:
    clock = JumpingClock()
    workload = Workload(scene.plan(clock=clock, transport={"clock": clock}))
    async with workload.running():
        for days in (10, -10, 0):
            clock.offset = timedelta(days=days)
            scene.proxy.cut()
            await workload.accepts(100)
            scene.proxy.heal()
            await workload.healed()
            await workload.confirms(workload.confirmed + 100)
    scene.judge(workload, 21, "the wall clock jumps by 10 days, forth, back and right, at an RST each", faults=3)
