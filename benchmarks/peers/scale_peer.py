"""One of several processes of aioswap that work together, as its users write it: an emitter, or a consumer of a pool.

It writes `ready` and waits for a line before it begins. A consumer ends at a second line. Both then write their figures as a
line of JSON: `count`, `cpu` in seconds, and `begun` and `ended` by the clock that all processes share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aioswap.consumer import Consumer
from aioswap.emitter import Emitter
from aioswap.outbox import MemoryOutbox
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import InstanceActionVolumeSwapNotification
from benchmarks.peers.emitted import CONTEXT_OF_REQUEST, payload
from benchmarks.peers.journal import Journal
from benchmarks.peers.pace import Pace
from benchmarks.peers.task import Watch

_LONGEST: Final = 120
"""Seconds: a process that hangs is ended by its own alarm."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one process does.

    Args:
        url: the broker's.
        journal: the file of what it has emitted or handled.
        count: notifications that it emits, or handles at most.
        window: tasks that emit, or deliveries unsettled.
        rate: emitted a second; 0: as many as it can.
        pool: of a consumer.
        wait: seconds that its handler takes.
        listening: it is ready once its queue is bound, and handles what comes; otherwise it takes nothing before it begins.
        quorum: its queue is a quorum queue.
        single_active: it shares a queue of which one consumer gets all.
    """

    url: str
    journal: Path
    count: int
    window: int = 100
    rate: float = 0.0
    pool: str = ""
    wait: float = 0.0
    listening: bool = False
    quorum: bool = False
    single_active: bool = False


async def emit(part: Part) -> dict[str, float]:
    """Emit from `window` tasks or at a steady rate, until all is confirmed. One more is emitted before it is ready."""
    journal, watch, told = Journal(part.journal, part.count + 1), Watch(), payload()
    outbox = MemoryOutbox(max_messages=4 * part.count + 16, max_bytes=1 << 30)
    async with RabbitTransport(part.url) as transport, Emitter(transport, host="compute", outbox=outbox) as emitter:

        async def one() -> None:
            now = time.monotonic()
            emitted = await emitter.emit(volume_swap.start, told, context=CONTEXT_OF_REQUEST)
            journal.note(emitted.message_id, now)

        await one()
        await emitter.flush(30)
        await _ready()
        begun = time.monotonic()
        watch.start()
        if part.rate:
            pace = Pace(part.rate)
            for _ in range(part.count):
                await pace.next()
                await one()
        else:
            left = iter(range(part.count))

            async def emitting() -> None:
                for _ in left:
                    await one()
                    await asyncio.sleep(0)

            await asyncio.gather(*(emitting() for _ in range(part.window)))
        await emitter.flush(60)
        watch.stop()
        ended = time.monotonic()
        health = emitter.health()
        if health.confirmed != part.count + 1 or health.untold or health.parked:
            raise RuntimeError(f"not everything was confirmed: {health}")
    return watch.figures(part.count, begun=begun, ended=ended)


async def consume(part: Part) -> dict[str, float]:
    """Handle swaps until told to end. CPU time counts from the first one that is handled."""
    journal, watch = Journal(part.journal, part.count), Watch()
    handled, begun = 0, 0.0
    async with RabbitTransport(part.url) as transport:
        consumer = Consumer(
            transport, pool=part.pool, prefetch=part.window, quorum=part.quorum, single_active=part.single_active
        )

        @consumer.on(volume_swap.any)
        async def handle(notification: InstanceActionVolumeSwapNotification) -> None:
            nonlocal handled, begun
            if not begun:
                begun = time.monotonic()
                watch.start()
            if part.wait:
                await asyncio.sleep(part.wait)
            if notification.payload.uuid:
                journal.note(notification.message_id)
                handled += 1

        if not part.listening:
            await _ready()
        async with consumer.running():
            if part.listening:
                await _ready()
            await _line()
            if begun:
                watch.stop()
            ended = time.monotonic()
        health = consumer.health()
        if not health.handled == health.received == handled or health.retried or health.dead_letters:
            raise RuntimeError(f"{handled} were handled: {health}")
    return watch.figures(handled, begun=begun, ended=ended)


async def _ready() -> None:
    print("ready", flush=True)
    await _line()


async def _line() -> None:
    if not await asyncio.to_thread(sys.stdin.readline):
        raise RuntimeError("nobody is there any more who would tell it what to do")


_TASKS: Final = {"emit": emit, "consume": consume}


def main() -> None:
    """Do what the command line asks for."""
    signal.alarm(_LONGEST)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=_TASKS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--window", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--pool", default="")
    parser.add_argument("--wait", type=float, default=0.0)
    for flag in ("listening", "quorum", "single-active"):
        parser.add_argument(f"--{flag}", action="store_true")
    arguments = vars(parser.parse_args())
    perform = _TASKS[arguments.pop("task")]
    print(json.dumps(asyncio.run(perform(Part(**arguments)))), flush=True)


if __name__ == "__main__":
    main()
