"""What several processes do together, and the figures of one run. Each run checks that no notification was lost or doubled."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from benchmarks.notifications import INNER, swaps
from benchmarks.peers.journal import key_of
from benchmarks.peers.pace import RATE
from benchmarks.stage import Stage, Worker, until
from benchmarks.tally import Failed, latencies, once_each, percentile, rate_together, shares

__all__ = ["GROUPS", "Crew", "Figures", "Group"]

Figures: TypeAlias = dict[str, float]

_POOL: Final = "scale"
_PREFETCH: Final = 500
_PACED: Final = 600
"""Notifications at a steady rate: three seconds of them."""


@dataclass(frozen=True, kw_only=True)
class Crew:
    """One row.

    Args:
        name: unique in its group.
        count: notifications, all together.
        processes: those that are alike.
        wait: seconds that a handler takes.
        quorum: the queue is replicated.
        stops: what happens to the process that works is SIGSTOP, not SIGKILL: it stands still, and its connection stays open.
    """

    name: str
    count: int
    processes: int = 1
    wait: float = 0.0
    quorum: bool = False
    stops: bool = False


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows that are compared with each other; the first one is what the ratios are taken to.

    Args:
        title: what is done, for the report.
        shown: names of figures, in the order of the report.
        run: does one row, once.
        cluster: it needs three nodes.
    """

    name: str
    title: str
    rows: tuple[Crew, ...]
    shown: tuple[str, ...]
    run: Callable[[Stage, Crew], Figures]
    cluster: bool = False


def share_queue(stage: Stage, crew: Crew) -> Figures:
    """Let consumers of one pool empty its filled queue."""
    prefetch = 100 if crew.wait else _PREFETCH
    part = {"task": "consume", "pool": _POOL, "count": crew.count, "window": prefetch, "wait": crew.wait}
    with stage.pools(_POOL):
        stage.fill(_POOL, swaps(crew.count))
        with stage.workers(*[part] * crew.processes) as workers:
            before = stage.cpu()
            _go(workers)
            _until_handled(workers, crew.count)
            broker = stage.cpu() - before
            cpu = _cpu(workers)
            journals = [worker.entries for worker in workers]
        stage.holds(_POOL, 0)
    old = str(INNER["message_id"])
    once_each([key_of(f"{number:08x}{old[8:]}") for number in range(crew.count)], journals)
    fewest, most = shares(journals)
    return _figures(rate_together(journals), crew.count, cpu, broker) | {"fewest": 100 * fewest, "most": 100 * most}


def share_exchange(stage: Stage, crew: Crew) -> Figures:
    """Let emitters send to one queue."""
    each = crew.count // crew.processes
    with stage.pools(_POOL, quorum=crew.quorum):
        with stage.workers(*[{"task": "emit", "count": each}] * crew.processes) as workers:
            before = stage.cpu()
            _go(workers)
            answers = [worker.answer() for worker in workers]
            broker = stage.cpu() - before
        stage.holds(_POOL, (each + 1) * crew.processes)
    count = each * crew.processes
    seconds = max(answer["ended"] for answer in answers) - min(answer["begun"] for answer in answers)
    cpu = sum(answer["cpu"] for answer in answers)
    return _figures(count / seconds, count, cpu, broker)


def copy_to_pools(stage: Stage, crew: Crew) -> Figures:
    """Let one emitter tell consumers of which each has a pool of its own."""
    pools = [f"{_POOL}-{number}" for number in range(crew.processes)]
    room = crew.count + 1
    parts = [{"task": "consume", "pool": pool, "count": room, "window": _PREFETCH, "listening": True} for pool in pools]
    with stage.pools(*pools):
        with stage.workers({"task": "emit", "count": crew.count}, *parts) as (emitter, *workers):
            _go(workers)
            before = stage.cpu()
            emitter.go()
            told = emitter.answer()
            _until_handled(workers, room * crew.processes)
            broker = stage.cpu() - before
            cpu = told["cpu"] + _cpu(workers)
            journals = [worker.entries for worker in workers]
            emitted = [entry.key for entry in emitter.entries]
        for pool in pools:
            stage.holds(pool, 0)
    for journal in journals:
        once_each(emitted, [journal])
    seconds = max(journal[-1].when for journal in journals) - told["begun"]
    return _figures(crew.count / seconds, crew.count, cpu, broker)


def replicate(stage: Stage, crew: Crew) -> Figures:
    """Emit to a queue as fast as possible; then at a steady rate, with a consumer."""
    return share_exchange(stage, crew) | _from_emit_to_handler(stage, crew)


def _from_emit_to_handler(stage: Stage, crew: Crew) -> Figures:
    count = min(_PACED, crew.count)
    listener = {"task": "consume", "pool": _POOL, "count": count + 1, "listening": True, "quorum": crew.quorum}
    with stage.pools(_POOL, quorum=crew.quorum):
        with stage.workers({"task": "emit", "count": count, "rate": RATE}, listener) as (emitter, consumer):
            _go([consumer, emitter])
            emitter.answer()
            _until_handled([consumer], count + 1)
            _cpu([consumer])
            emitted, handled = emitter.entries, consumer.entries
        stage.holds(_POOL, 0)
    once_each([entry.key for entry in emitted], [handled])
    took = latencies(emitted[1:], handled)  # the first one opened the connection
    return {"p50": 1000 * percentile(took, 0.5), "p99": 1000 * percentile(took, 0.99)}


def fail_over(stage: Stage, crew: Crew) -> Figures:
    """End the consumer that gets everything, while another one stands by and an emitter goes on."""
    room = 2 * crew.count  # what was handled and not yet acknowledged comes again
    consumer = {"task": "consume", "pool": _POOL, "count": room, "listening": True, "single_active": True}
    steady = {"task": "emit", "count": crew.count, "rate": RATE}
    with stage.pools(_POOL, single_active=True):
        # One after the other: the first consumer of the queue is the one that works.
        with stage.workers(consumer) as (active,), stage.workers(consumer, steady) as (standby, emitter):
            _go([active, standby, emitter])
            _until_handled([active], crew.count // 3)
            ended_at = active.signal(signal.SIGSTOP if crew.stops else signal.SIGKILL)
            emitter.answer()
            emitted = {entry.key for entry in emitter.entries}

            def complete() -> bool:
                enough = active.count + standby.count >= len(emitted)
                return enough and {entry.key for entry in active.entries + standby.entries} >= emitted

            until(complete, "everything handled by one of the two")
            _cpu([standby])
            before, after = active.entries, standby.entries
        stage.holds(_POOL, 0)
    once_each([entry.key for entry in after], [after])
    if not after or after[0].when < ended_at:
        raise Failed("the consumer that stands by was given nothing, or something while the other one worked")
    again = len({entry.key for entry in before} & {entry.key for entry in after})
    return {"gap": after[0].when - ended_at, "again": again}


def _figures(rate: float, count: int, cpu: float, broker: float) -> Figures:
    """Return what is told of `count` notifications: `cores` is how many cores clients and broker kept busy at this rate."""
    each, brokers = 1e6 * cpu / count, 1e6 * broker / count
    return {"rate": rate, "cpu": each, "broker": brokers, "cores": rate * (each + brokers) / 1e6}


def _go(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.go()


def _until_handled(workers: Sequence[Worker], count: int) -> None:
    until(lambda: sum(worker.count for worker in workers) >= count, f"{count} notifications handled")


def _cpu(consumers: Sequence[Worker]) -> float:
    """Let consumers end, and return the CPU time in seconds of all together."""
    _go(consumers)
    return sum(consumer.answer()["cpu"] for consumer in consumers)


def _rows(one: str, more: str, *, count: int, wait: float = 0.0) -> tuple[Crew, ...]:
    names = {1: f"1 {one}", 2: f"2 {more}", 4: f"4 {more}"}
    return tuple(Crew(name=name, count=count, processes=number, wait=wait) for number, name in names.items())


_CONSUMERS: Final = Group(
    name="consumers",
    title="consumers of one pool share a filled queue: typed, acknowledged after handling, order per instance, prefetch 500",
    rows=_rows("process", "processes", count=30_000),
    shown=("rate", "cpu", "broker", "cores", "fewest", "most"),
    run=share_queue,
)
_WAITING: Final = Group(
    name="waiting",
    title="the same with a handler that waits 20 ms: concurrency 8, prefetch 100",
    rows=_rows("process", "processes", count=2_000, wait=0.02),
    shown=("rate", "cpu", "broker", "cores", "fewest", "most"),
    run=share_queue,
)
_EMITTERS: Final = Group(
    name="emitters",
    title="emitters, confirmed, 100 emits at once each, memory outbox",
    rows=_rows("process", "processes", count=30_000),
    shown=("rate", "cpu", "broker", "cores"),
    run=share_exchange,
)
_POOLS: Final = Group(
    name="pools",
    title="pools with one consumer each, of what one emitter sends: figures for each notification that is emitted",
    rows=_rows("pool", "pools", count=10_000),
    shown=("rate", "cpu", "broker", "cores"),
    run=copy_to_pools,
)
_FAILOVER: Final = Group(
    name="failover",
    title="single_active, two processes, 200 notifications a second: the time without deliveries when the active one ends",
    rows=(
        Crew(name="killed (SIGKILL)", count=_PACED, processes=2),
        Crew(name="stands still (SIGSTOP)", count=_PACED, processes=2, stops=True),
    ),
    shown=("gap", "again"),
    run=fail_over,
)
_CLUSTER: Final = Group(
    name="cluster",
    title="one emitter, 100 emits at once, and from emit to the handler at 200 a second; three nodes on this machine",
    rows=(Crew(name="classic, on one node", count=20_000), Crew(name="quorum, three replicas", count=20_000, quorum=True)),
    shown=("rate", "cpu", "broker", "cores", "p50", "p99"),
    run=replicate,
    cluster=True,
)

GROUPS: Final = {each.name: each for each in (_CONSUMERS, _WAITING, _EMITTERS, _POOLS, _FAILOVER, _CLUSTER)}
