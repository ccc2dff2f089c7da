"""aioswap, as its users write it: `emit`, `@swap`, `on`. Nothing is set but prefetch and the outbox's bounds."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from aioswap.consumer import Consumer
from aioswap.emitter import Emitter
from aioswap.outbox import MemoryOutbox
from aioswap.outbox_file import FileOutbox
from aioswap.transports.base import Outbox
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.envelope import encode
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import InstanceActionVolumeSwapNotification
from benchmarks.peers.emitted import CONTEXT_OF_REQUEST, NEW, OLD, PacedOutbox, instance, mapping, notification, payload
from benchmarks.peers.memory import Memory
from benchmarks.peers.pace import Pace, middle
from benchmarks.peers.task import Arrivals, Task, Watch, answer

POOL = "bench"
_CALLS = 500


def _check(emitter: Emitter, count: int) -> None:
    health = emitter.health()
    if health.confirmed != count or health.untold or health.parked:
        raise RuntimeError(f"not everything was confirmed: {health}")


async def emit(task: Task) -> dict[str, float]:
    """Emit in a loop; `window` notifications are accepted and not yet confirmed."""
    outbox, told = PacedOutbox(task.window), payload()
    async with RabbitTransport(task.url) as transport, Emitter(transport, host="compute", outbox=outbox) as emitter:
        await outbox.room()
        await emitter.emit(volume_swap.start, told, context=CONTEXT_OF_REQUEST)
        await emitter.flush(30)
        memory, watch = Memory(), Watch()
        watch.start()
        for _ in range(task.count):
            await outbox.room()
            await emitter.emit(volume_swap.start, told, context=CONTEXT_OF_REQUEST)
        await emitter.flush(60)
        watch.stop()
        _check(emitter, task.count + 1)
    return watch.figures(task.count, each_kb=memory.grown_kb() / task.window)


async def _emit_by_tasks(task: Task, outbox: Outbox) -> dict[str, float]:
    told = payload()
    async with RabbitTransport(task.url) as transport, Emitter(transport, host="compute", outbox=outbox) as emitter:
        await emitter.emit(volume_swap.start, told, context=CONTEXT_OF_REQUEST)
        await emitter.flush(30)
        left, watch = iter(range(task.count)), Watch()

        async def emitting() -> None:
            for _ in left:
                await emitter.emit(volume_swap.start, told, context=CONTEXT_OF_REQUEST)
                await asyncio.sleep(0)

        watch.start()
        await asyncio.gather(*(emitting() for _ in range(task.window)))
        await emitter.flush(60)
        watch.stop()
        _check(emitter, task.count + 1)
    return watch.figures(task.count)


def _memory_outbox(task: Task) -> Outbox:
    return MemoryOutbox(max_messages=4 * task.count + 4 * _CALLS, max_bytes=1 << 30)


def _file_outbox(task: Task) -> Outbox:
    return FileOutbox(Path(task.folder) / "outbox")


async def emit_by_tasks(task: Task) -> dict[str, float]:
    """Emit from `window` tasks, as long as the outbox takes it."""
    return await _emit_by_tasks(task, _memory_outbox(task))


async def emit_to_file(task: Task) -> dict[str, float]:
    """The same; each task waits until its notification is committed (synchronous FULL)."""
    return await _emit_by_tasks(task, _file_outbox(task))


async def consume(task: Task) -> dict[str, float]:
    """Handle swaps by an async handler, typed, in order for each instance; foreign ones are skipped."""
    arrivals, done = Arrivals(task.handled), asyncio.Event()
    async with RabbitTransport(task.url) as transport:
        consumer = Consumer(transport, pool=POOL, prefetch=task.window)

        @consumer.on(volume_swap.any)
        async def handle(notification: InstanceActionVolumeSwapNotification) -> None:
            if notification.payload.uuid and arrivals.one():
                done.set()

        async with consumer.running():
            await done.wait()
        if (health := consumer.health()).handled != task.handled:
            raise RuntimeError(f"{task.handled} should be handled, each once: {health}")
    return arrivals.figures(task.count)


async def _swaps(task: Task, outbox: Outbox) -> dict[str, float]:
    typed, plain = instance(), mapping()
    async with RabbitTransport(task.url) as transport, Emitter(transport, host="compute", outbox=outbox) as emitter:

        @emitter.swap
        async def swap(instance: Any, old_volume_id: str, new_volume_id: str, context: Any) -> None:
            await asyncio.sleep(0)

        before_us, encode_us = await _before_us(emitter, typed)
        before_plain_us, _ = await _before_us(emitter, plain)
        left, watch = iter(range(task.count)), Watch()

        async def swapping() -> None:
            for _ in left:
                await swap(typed, OLD, NEW, CONTEXT_OF_REQUEST)

        watch.start()
        await asyncio.gather(*(swapping() for _ in range(task.window)))
        await emitter.flush(60)
        watch.stop()
        _check(emitter, 2 * (task.count + 2 * _CALLS))
    return watch.figures(task.count, before_us=before_us, before_plain_us=before_plain_us, encode_us=encode_us)


async def _before_us(emitter: Emitter, kept: Any) -> tuple[float, float]:
    """Return what the decorator adds before the body of a swap, one swap at a time, and what one encode takes beside it.

    Both are of medians. Between two swaps the relay has its turn, and takes the processor's caches along; so an encode is timed
    there too, not in a loop of its own, and so is the call of the body without the decorator.
    """
    before: list[float] = []
    bare: list[float] = []
    encodes: list[float] = []
    took, begun = before, 0.0

    async def body(instance: Any, old_volume_id: str, new_volume_id: str, context: Any) -> None:
        took.append(time.perf_counter() - begun)

    swap = emitter.swap(body)
    for _ in range(_CALLS):
        took, begun = before, time.perf_counter()
        await swap(kept, OLD, NEW, CONTEXT_OF_REQUEST)
        await asyncio.sleep(0)
        encodes.append(_took(lambda: encode(notification(kept))))
        await asyncio.sleep(0)
        took, begun = bare, time.perf_counter()
        await body(kept, OLD, NEW, CONTEXT_OF_REQUEST)
    await emitter.flush(60)
    return 1e6 * (middle(before) - middle(bare)), 1e6 * middle(encodes)


def _took(function: Any) -> float:
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


async def swaps(task: Task) -> dict[str, float]:
    """Decorated swaps at once.

    `before_us` is what the decorator adds before the body where the instance is an InstancePayload, `before_plain_us` where
    it is a mapping of plain values; `encode_us` is one typed encode: from the instance, with fresh ids, to a body.
    """
    return await _swaps(task, _memory_outbox(task))


async def swaps_to_file(task: Task) -> dict[str, float]:
    """The same with an outbox on disk."""
    return await _swaps(task, _file_outbox(task))


async def latency(task: Task) -> dict[str, float]:
    """From the call that emits to the handler, at a steady rate; both in this process."""
    begun: dict[str, float] = {}
    took: list[float] = []
    done, watch, told = asyncio.Event(), Watch(), payload()
    async with RabbitTransport(task.url) as transport, Emitter(transport, host="compute") as emitter:
        consumer = Consumer(transport, pool=POOL, prefetch=task.window)

        @consumer.on(volume_swap.any)
        async def handle(notification: InstanceActionVolumeSwapNotification) -> None:
            took.append(time.perf_counter() - begun[notification.message_id])
            if len(took) == task.count:
                done.set()

        async with consumer.running():
            pace = Pace()
            watch.start()
            for _ in range(task.count):
                await pace.next()
                now = time.perf_counter()
                emitted = await emitter.emit(volume_swap.start, told, context=CONTEXT_OF_REQUEST)
                begun[emitted.message_id] = now
            await done.wait()
            watch.stop()
    return watch.figures(task.count, p50_ms=1000 * middle(took))


async def declare(task: Task) -> dict[str, float]:
    """Make the pool's queue."""
    async with RabbitTransport(task.url) as transport:
        consumer = Consumer(transport, pool=POOL)
        consumer.on(volume_swap.any)(_nothing)
        async with consumer.running():
            pass
    return {}


async def _nothing(notification: InstanceActionVolumeSwapNotification) -> None:
    """Handle nothing."""


TASKS = {
    "emit": emit,
    "emit-by-tasks": emit_by_tasks,
    "emit-to-file": emit_to_file,
    "consume": consume,
    "swaps": swaps,
    "swaps-to-file": swaps_to_file,
    "latency": latency,
}

if __name__ == "__main__":
    answer(TASKS)
