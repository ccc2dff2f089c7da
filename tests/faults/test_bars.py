"""A long backlog, and many reconnects. How long it takes is printed, and judged by whoever reads it."""

from __future__ import annotations

import asyncio

import pytest

from aioswap.clock import Clock
from tests.faults.kit import Scene
from tests.faults.load import until
from tests.faults.workload import Workload

pytestmark = [pytest.mark.broker, pytest.mark.faults, pytest.mark.timeout(600)]

BACKLOG = 18_000
RECONNECTS = 200


class Brisk(Clock):
    """Does not pause between connections."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.02))


async def test_a_backlog_of_18000_drains_in_order(scene: Scene) -> None:
    workload = Workload(scene.plan(rate=300.0, swaps=BACKLOG // 2))
    loop = asyncio.get_running_loop()
    async with workload.running():
        scene.proxy.cut()
        await until(lambda: workload.emitter.health().backlog >= BACKLOG, 300, what="the backlog")
        workload.load.pause()
        begun = loop.time()
        scene.proxy.heal()
        await until(lambda: not workload.emitter.health().backlog, 300, what="an empty outbox")
        workload.figures["drained in"] = loop.time() - begun
    scene.judge(workload, 5, f"RST, and refused until {BACKLOG} notifications wait")


async def test_two_hundred_reconnects_leave_nothing_behind(scene: Scene) -> None:
    workload = Workload(scene.plan(rate=50.0, network_clock=Brisk()))
    async with workload.running():
        before = await workload.quiet()
        for _ in range(RECONNECTS):
            goal = workload.confirmed + 1
            scene.proxy.reset()
            await workload.confirms(goal)
        after = await workload.quiet()
        workload.figures["more MB"] = after.memory - before.memory
    scene.judge(workload, 5, f"RST of all connections, {RECONNECTS} times", faults=RECONNECTS)

    assert (before.tasks, before.descriptors) == (after.tasks, after.descriptors)
