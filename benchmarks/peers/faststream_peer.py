# mypy: disable-error-code="import-not-found,untyped-decorator"
"""FastStream. Its best: no logging, orjson installed, a decoder that gives the model at once, no second validation."""

from __future__ import annotations

import asyncio
from typing import Any

from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue

from benchmarks.peers.models import Envelope, encoded
from benchmarks.peers.task import EXCHANGE, INFO, Arrivals, Task, Watch, answer

_NOVA = RabbitExchange(EXCHANGE, type=ExchangeType.TOPIC, durable=True, declare=False)
_SWAP = b"instance.volume_swap."


async def emit(task: Task) -> dict[str, float]:
    """Encode and publish from tasks that wait for their confirms; bytes are passed on as they are."""
    broker = RabbitBroker(task.url, logger=None)
    publisher = broker.publisher(routing_key=INFO, exchange=_NOVA, persist=True)
    async with broker:
        await broker.start()
        left, watch = iter(range(task.count)), Watch()

        async def publish() -> None:
            message_id, body = encoded()
            await publisher.publish(body, content_type="application/json", message_id=message_id)

        async def publishing() -> None:
            for _ in left:
                await publish()

        await publish()
        watch.start()
        await asyncio.gather(*(publishing() for _ in range(task.window)))
        watch.stop()
    return watch.figures(task.count)


def _broker(task: Task, **options: Any) -> tuple[RabbitBroker, Any]:
    broker = RabbitBroker(task.url, logger=None, **options)
    queue = RabbitQueue(INFO, durable=True, declare=False)
    return broker, broker.subscriber(queue, _NOVA, channel=Channel(prefetch_count=task.window))


async def _run(broker: RabbitBroker, done: asyncio.Event) -> None:
    async with broker:
        await broker.start()
        await done.wait()
        await asyncio.sleep(0.2)  # the last handlers end, and acknowledge


async def consume_annotated(task: Task) -> dict[str, float]:
    """A handler with an annotated model, as the first page of the manual shows it."""
    broker, subscriber = _broker(task)
    arrivals, done = Arrivals(task.handled), asyncio.Event()

    @subscriber
    async def handle(envelope: Envelope) -> None:
        if envelope.message.payload.data.uuid and arrivals.one():
            done.set()

    await _run(broker, done)
    return arrivals.figures(task.count)


async def consume(task: Task) -> dict[str, float]:
    """A handler whose model a decoder of ours makes; what is foreign is filtered out before it is decoded."""

    async def decode(message: Any) -> Envelope | None:
        return Envelope.model_validate_json(message.body) if _SWAP in message.body else None

    broker, subscriber = _broker(task, apply_types=False, decoder=decode)
    arrivals, done = Arrivals(task.handled), asyncio.Event()

    @subscriber
    async def handle(envelope: Any) -> None:
        if envelope is not None and envelope.message.payload.data.uuid and arrivals.one():
            done.set()

    await _run(broker, done)
    return arrivals.figures(task.count)


if __name__ == "__main__":
    answer({"emit": emit, "consume": consume, "consume-annotated": consume_annotated})
