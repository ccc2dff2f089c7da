"""A service that reacts to failed swaps: it asks for one again later, and sets aside what it can't handle."""

import asyncio
from contextlib import suppress
from typing import Any

from aioswap import Consumer, Emitter, MemoryTransport, Notification, Reject, Retry, SwapRequest, volume_swap
from aioswap.dead_letters import DeadLetters

transport = MemoryTransport()
consumer = Consumer(transport, pool="pager")
free = asyncio.Event()
paged = asyncio.Event()


@consumer.on(volume_swap.error)
async def page(notification: Notification[Any]) -> None:
    """Page somebody, who is busy at first."""
    if notification.payload.fault.exception == "KeyError":
        raise Reject("a slip of ours: nobody has to wake up")
    if not free.is_set():
        free.set()
        raise Retry(after=1)
    print("paged:", notification.payload.fault.exception_message)
    paged.set()


async def main() -> None:
    async with transport, Emitter(transport, host="compute-1") as emitter, consumer.running():
        for error in (KeyError("flavor"), OSError("no space left on device")):
            with suppress(KeyError, OSError):
                async with emitter.swapping(SwapRequest({"uuid": "server-1"}, "old", "new")):
                    raise error
        await paged.wait()
        print("dead letters:", [dead.reason for dead in await DeadLetters(transport, "pager").list()])


if __name__ == "__main__":
    asyncio.run(main())
