"""Captured messages: JSON files with a message's body, headers, properties and routing key, as it was read from a queue."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from aioswap.cli.output import data, say, table
from aioswap.clock import Clock
from aioswap.consumer import Consumer
from aioswap.health import ConsumerHealth
from aioswap.recording import read_line
from aioswap.transports.base import Confirmation, Message
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import InstanceActionVolumeSwapNotification

__all__ = ["play_captures", "read_capture"]

_TURN = 0.01
"""Seconds between two looks at the consumer's counters."""


def read_capture(path: Path) -> Message:
    """Return the message that the file at `path` tells of, with its own headers, properties and routing key.

    The file holds what a line of a recording does, without the time. An AMQP message id, where it had none, is made up.

    Raises:
        ValueError: it is no captured message; the text says what is missing.
    """
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return read_line(path.read_bytes(), received=written).message(uuid4().hex)


def play_captures(folder: Path) -> int:
    """Put every captured message of `folder` on a memory transport, and print what a consumer of swaps makes of them.

    0: each was handled or skipped. 1: there was none, or one could not be read.
    """
    messages, odd = [], 0
    for path in sorted(folder.glob("*.json")):
        try:
            messages.append(read_capture(path))
        except ValueError as error:
            odd += 1
            say(f"aioswap: {path}: no captured message: {error}")
    if not messages:
        say(
            f"aioswap: {folder} holds no captured message: files *.json with body or body_base64, headers, properties, delivery"
        )
        return 1
    health, versions = asyncio.run(_consume(messages))
    table(
        ("event type", "payload version", "handled"),
        [(event_type, version, str(count)) for (event_type, version), count in sorted(versions.items())],
    )
    unreadable = health.dead_letters
    twice = f", {health.duplicates} heard twice" if health.duplicates else ""
    data(f"{len(messages)} messages: {health.handled} handled typed, {health.skipped} skipped{twice}, {unreadable} unreadable")
    return 1 if odd or unreadable else 0


async def _consume(messages: Sequence[Message]) -> tuple[ConsumerHealth, Counter[tuple[str, str]]]:
    topics, _, priorities = zip(*(message.routing_key.rpartition(".") for message in messages), strict=True)
    transport, clock = MemoryTransport(exchange="nova"), Clock()
    consumer = Consumer(transport, topics=sorted(set(topics)), priorities=sorted(set(priorities)))
    versions: Counter[tuple[str, str]] = Counter()

    @consumer.on(volume_swap.any)
    async def show(notification: InstanceActionVolumeSwapNotification) -> None:
        payload = notification.payload
        versions[notification.event_type, payload.object_version] += 1
        what = f"{payload.object_name} {payload.object_version}"
        data(f"{notification.event_type:26} {notification.publisher_id}  {what}  {payload.uuid}")

    async with transport, consumer.running(), transport.sender("captures") as sender:
        answers = await asyncio.gather(*(sender.send(message) for message in messages))
        waited_for = answers.count(Confirmation.CONFIRMED)
        while _settled(consumer.health()) < waited_for:
            await clock.sleep(_TURN)
    return consumer.health(), versions


def _settled(health: ConsumerHealth) -> int:
    return health.handled + health.skipped + health.duplicates + health.dead_letters
