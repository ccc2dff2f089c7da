"""A service that performs swaps: one works, one fails, one is cancelled. What is told never gets in their way."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from aioswap import Consumer, Emitter, MemoryTransport, volume_swap

transport = MemoryTransport()
emitter = Emitter(transport, host="compute-1")


@emitter.swap
async def swap_volume(instance: dict[str, str], old_volume_id: str, new_volume_id: str) -> None:
    """Pretend, by the instance's name."""
    if instance["display_name"] == "full":
        raise OSError("no space left on device")
    if instance["display_name"] == "slow":
        await asyncio.Event().wait()


async def main() -> None:
    async with transport, Consumer(transport).stream(volume_swap.any) as notifications, emitter:
        names = ("fine", "full", "slow")
        swaps = {
            name: asyncio.create_task(swap_volume({"uuid": str(uuid4()), "display_name": name}, "old", "new")) for name in names
        }
        for _ in range(2 * len(swaps)):
            notification = await anext(notifications)
            payload = notification.payload
            print(payload.display_name, notification.event_type, payload.fault.exception if payload.fault else "")
            if payload.display_name == "slow":
                swaps["slow"].cancel()
        await asyncio.wait(swaps.values())
        print("the service saw:", *(repr(task.exception()) for task in swaps.values() if not task.cancelled()))


if __name__ == "__main__":
    asyncio.run(main())
