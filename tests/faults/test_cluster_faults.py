"""What happens to a cluster of three nodes with quorum queues: its leader is killed, or stands still."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from aioswap.transports.topology import pool_queue
from tests.broker import Node
from tests.faults.book import Book
from tests.faults.cluster import TICK, Cluster
from tests.faults.kit import judge
from tests.faults.load import passes, until
from tests.faults.workload import Plan, Workload

pytestmark = [pytest.mark.broker, pytest.mark.faults, pytest.mark.timeout(600)]

TIMES = 3


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, rabbitmq_scripts: Path, certificates: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), rabbitmq_scripts, certificates)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


async def kill(node: Node, workload: Workload) -> None:
    await asyncio.to_thread(node.kill)
    try:
        await workload.healed()
        await passes(5)
    finally:
        await asyncio.to_thread(node.start)


async def freeze(node: Node, workload: Workload) -> None:
    node.pause()
    try:
        await passes(0.5)
        await workload.healed()
        await passes(10)
    finally:
        node.resume()
    await passes(10)  # it finds out that it was left, and joins again


@pytest.mark.fault(23)
@pytest.mark.parametrize("strike", [kill, freeze], ids=["SIGKILL", "SIGSTOP"])
async def test_a_cluster_that_loses_its_leader_loses_nothing(
    cluster: Cluster, book: Book, tmp_path: Path, strike: Callable[[Node, Workload], Awaitable[None]]
) -> None:
    plan = Plan(url=cluster.nodes[0].url, emitting=cluster.url, folder=tmp_path, quorum=True)
    workload = Workload(plan)
    gaps = []
    async with workload.running():
        for _ in range(TIMES):
            await workload.confirms(workload.confirmed + 100)
            leader = await asyncio.to_thread(cluster.leader, pool_queue(workload.pool))
            workload.forget_gap()
            await strike(leader, workload)
            await workload.confirms(workload.confirmed + 100)
            gaps.append(workload.longest_gap)
        await until(lambda: workload.consumer.health().link.connected, what="the consumer is connected")
    workload.figures.clear()
    workload.figures["longest time without a confirm, median"] = statistics.median(gaps)
    what = "SIGKILL of" if strike is kill else f"net_ticktime {TICK}, SIGSTOP for 10 s and more of"
    judge(book, workload, 23, f"{what} the leader of a quorum queue, {TIMES} times", faults=2 * TIMES)
