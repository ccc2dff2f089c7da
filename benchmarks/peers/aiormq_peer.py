"""Raw aiormq: ready bytes, no decoding. Its best: frames are read ahead, acknowledgements are not waited for."""

from __future__ import annotations

import asyncio

import aiormq
from aiormq.abc import DeliveredMessage

from benchmarks.notifications import BODY
from benchmarks.peers.task import EXCHANGE, INFO, Arrivals, Task, Watch, answer


async def emit(task: Task) -> dict[str, float]:
    """Publish ready bytes from tasks that wait for their confirms."""
    connection = await aiormq.connect(task.url)
    channel = await connection.channel(publisher_confirms=True)
    left = iter(range(task.count))

    async def publisher() -> None:
        for _ in left:
            properties = aiormq.spec.Basic.Properties(content_type="application/json", delivery_mode=2)
            await channel.basic_publish(BODY, exchange=EXCHANGE, routing_key=INFO, properties=properties, mandatory=True)

    await channel.basic_publish(BODY, exchange=EXCHANGE, routing_key=INFO)
    watch = Watch()
    watch.start()
    await asyncio.gather(*(publisher() for _ in range(task.window)))
    watch.stop()
    await connection.close()
    return watch.figures(task.count)


async def consume(task: Task) -> dict[str, float]:
    """Acknowledge each message, unread."""
    connection = await aiormq.connect(task.url)
    channel = await connection.channel(publisher_confirms=False)
    await channel.basic_qos(prefetch_count=task.window)
    arrivals, done = Arrivals(task.handled), asyncio.Event()

    async def take(message: DeliveredMessage) -> None:
        assert message.delivery_tag is not None
        await channel.basic_ack(message.delivery_tag, wait=False)
        if arrivals.one():
            done.set()

    await channel.basic_consume(INFO, take)
    await done.wait()
    await channel.basic_qos(prefetch_count=1)  # answered when the broker has read the acknowledgements
    await connection.close()
    return arrivals.figures(task.count)


if __name__ == "__main__":
    answer({"emit": emit, "consume": consume})
