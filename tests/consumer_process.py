"""A consumer in a process of its own: `python -m tests.consumer_process URL EXCHANGE POOL`.

It writes `ready`, then `begin N` and `end N` for each notification. A handler ends when a line has come on stdin. SIGTERM
leaves in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import Any

from aioswap.consumer import Consumer
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification

__all__: list[str] = []


def say(*words: object) -> None:
    """Write one line at once."""
    print(*words, flush=True)


async def main(url: str, exchange: str, pool: str) -> None:
    """Consume until SIGTERM."""
    loop, gate = asyncio.get_running_loop(), asyncio.Event()
    transport = RabbitTransport(url, exchange=exchange)
    consumer = Consumer(transport, pool=pool)

    @consumer.on(volume_swap.any)
    async def handle(notification: Notification[Any]) -> None:
        say("begin", notification.payload.uuid)
        await gate.wait()
        say("end", notification.payload.uuid)

    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)

    def go() -> None:
        sys.stdin.readline()
        gate.set()

    loop.add_reader(sys.stdin, go)
    async with transport, consumer.running():
        say("ready")
        await stopped.wait()
    say("left", consumer.health().handled)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        asyncio.run(main(*sys.argv[1:4]))
