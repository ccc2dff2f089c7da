"""Two ways to learn that a swap is over: ask Nova and Cinder again and again, or listen. A dictionary stands in for both."""

from __future__ import annotations

import asyncio
from time import perf_counter

from aioswap import Consumer, Emitter, MemoryTransport, volume_swap

emitter = Emitter(transport := MemoryTransport(), host="compute-1")
cloud = {"attachment": "vol-1", "migration_status": "migrating"}  # what their APIs would say
requests = 0


@emitter.swap
async def swap_volume(instance: dict[str, str], old_volume_id: str, new_volume_id: str) -> None:
    await asyncio.sleep(0.35)
    cloud.update(attachment=new_volume_id)  # the API shows the new volume before the swap is over
    await asyncio.sleep(0.1)
    cloud.update(migration_status="success")


async def poll(interval: float = 0.2) -> None:
    global requests
    while cloud != {"attachment": "vol-2", "migration_status": "success"}:
        requests += 2  # os-volume_attachments, and the volume
        await asyncio.sleep(interval)


async def main() -> None:
    begun = perf_counter()
    async with transport, emitter, Consumer(transport).stream(volume_swap.end) as ends:
        polling = asyncio.create_task(poll())
        await swap_volume({"uuid": "8a5b0d2e-6f4f-4c55-9a39-5f2f8b4a7f10"}, "vol-1", "vol-2")
        print(f"listening: {(await anext(ends)).event_type} after {perf_counter() - begun:.2f} s, 0 requests")
        await polling
        print(f"polling: over, but not when, after {perf_counter() - begun:.2f} s, {requests} requests")


asyncio.run(main())
