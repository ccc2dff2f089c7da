"""A consumer in a process of its own: `python -m tests.faults.hearer URL EXCHANGE POOL PREFETCH JOURNAL`.

It notes each id that a handler has ended with. SIGTERM leaves in order.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from aioswap.clock import Clock
from aioswap.consumer import Consumer
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification
from tests.faults.journal import Journal
from tests.faults.ways import rabbit

__all__: list[str] = []


async def main(url: str, exchange: str, pool: str, prefetch: int, path: Path) -> None:
    """Consume until SIGTERM."""
    journal, stopped = Journal(path), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    transport = rabbit(url, exchange=exchange)
    consumer = Consumer(transport, pool, prefetch=prefetch)

    @consumer.on(volume_swap.any)
    async def handle(notification: Notification[Any]) -> None:
        await Clock().sleep(0.01)
        journal.note(notification.message_id)

    async with transport, consumer.running():
        print("ready", flush=True)
        await stopped.wait()
    print("left", consumer.health().handled, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5])))
