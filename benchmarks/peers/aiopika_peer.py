"""Plain aio-pika, with pydantic for what is typed. Its best: a reused exchange, a task a message, a peek before parsing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractIncomingMessage

from benchmarks.peers.memory import Memory
from benchmarks.peers.models import Envelope, encoded
from benchmarks.peers.pace import Pace, middle
from benchmarks.peers.task import EXCHANGE, INFO, Arrivals, Task, Watch, answer


@asynccontextmanager
async def connected(task: Task) -> AsyncIterator[tuple[AbstractChannel, AbstractExchange]]:
    """Open a channel with confirms, and find the exchange."""
    connection = await aio_pika.connect(task.url)
    async with connection:
        channel = await connection.channel()
        yield channel, await channel.get_exchange(EXCHANGE, ensure=False)


async def publish(exchange: AbstractExchange) -> str:
    """Encode a notification, publish it and wait for its confirm; return its id."""
    message_id, body = encoded()
    message = aio_pika.Message(body, content_type="application/json", delivery_mode=2, message_id=message_id)
    await exchange.publish(message, INFO)
    return message_id


async def emit(task: Task) -> dict[str, float]:
    """Encode and publish from tasks that wait for their confirms."""
    async with connected(task) as (_, exchange):
        await publish(exchange)
        left, memory, watch = iter(range(task.count)), Memory(), Watch()

        async def publisher() -> None:
            for _ in left:
                await publish(exchange)

        watch.start()
        await asyncio.gather(*(publisher() for _ in range(task.window)))
        watch.stop()
    return watch.figures(task.count, each_kb=memory.grown_kb() / task.window)


async def consume(task: Task) -> dict[str, float]:
    """Peek, parse what may be a swap, acknowledge each message."""
    async with connected(task) as (channel, _):
        await channel.set_qos(prefetch_count=task.window)
        arrivals, done = Arrivals(task.handled), asyncio.Event()

        async def take(message: AbstractIncomingMessage) -> None:
            last = False
            if b"instance.volume_swap." in message.body:
                notification = Envelope.model_validate_json(message.body).message
                last = notification.payload.data.uuid != "" and arrivals.one()
            await message.ack()
            if last:
                done.set()

        queue = await channel.get_queue(INFO, ensure=False)
        await queue.consume(take)
        await done.wait()
        await channel.set_qos(prefetch_count=1)  # answered when the broker has read the acknowledgements
    return arrivals.figures(task.count)


async def swaps(task: Task) -> dict[str, float]:
    """Swaps at once: each waits for the confirm of its start, and of its end."""
    async with connected(task) as (_, exchange):
        await publish(exchange)
        left, watch = iter(range(task.count)), Watch()

        async def swapping() -> None:
            for _ in left:
                await publish(exchange)
                await asyncio.sleep(0)
                await publish(exchange)

        watch.start()
        await asyncio.gather(*(swapping() for _ in range(task.window)))
        watch.stop()
    return watch.figures(task.count)


async def latency(task: Task) -> dict[str, float]:
    """From the call that publishes to the handler, at a steady rate; both in this process, on two connections."""
    begun: dict[str, float] = {}
    took: list[float] = []
    done, watch = asyncio.Event(), Watch()
    async with connected(task) as (_, exchange), connected(task) as (channel, _):

        async def take(message: AbstractIncomingMessage) -> None:
            notification = Envelope.model_validate_json(message.body).message
            took.append(time.perf_counter() - begun[notification.message_id])
            await message.ack()
            if len(took) == task.count:
                done.set()

        async def one() -> None:
            now = time.perf_counter()
            message_id, body = encoded()
            begun[message_id] = now
            message = aio_pika.Message(body, content_type="application/json", delivery_mode=2, message_id=message_id)
            await exchange.publish(message, INFO)

        await channel.set_qos(prefetch_count=task.window)
        queue = await channel.get_queue(INFO, ensure=False)
        await queue.consume(take)
        publishing, pace = set(), Pace()
        watch.start()
        for _ in range(task.count):
            await pace.next()
            publishing.add(asyncio.create_task(one()))
        await done.wait()
        watch.stop()
        await asyncio.wait(publishing)
    return watch.figures(task.count, p50_ms=1000 * middle(took))


if __name__ == "__main__":
    answer({"emit": emit, "consume": consume, "swaps": swaps, "latency": latency})
