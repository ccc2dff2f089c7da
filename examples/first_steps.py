"""A decorated swap, and a consumer that hears of it. Memory stands in for RabbitMQ."""

from __future__ import annotations

import asyncio

from aioswap import Consumer, Emitter, InstanceActionVolumeSwapNotification, MemoryTransport, volume_swap

transport = MemoryTransport()
emitter = Emitter(transport, host="compute-1")
consumer = Consumer(transport, pool="first-steps")
over = asyncio.Event()


@emitter.swap
async def swap_volume(instance: dict[str, str], old_volume_id: str, new_volume_id: str) -> None:
    """Copy, attach and detach here: start, end and error are told without a line more."""


@consumer.on(volume_swap.any)
async def show(notification: InstanceActionVolumeSwapNotification) -> None:
    """Print what was heard."""
    payload = notification.payload
    print(f"{notification.event_type} on {notification.host}: {payload.old_volume_id} -> {payload.new_volume_id}")
    if notification.event_type == volume_swap.end.name:
        over.set()


async def main() -> None:
    async with transport, emitter, consumer.running():
        await swap_volume({"uuid": "8a5b0d2e-6f4f-4c55-9a39-5f2f8b4a7f10"}, "vol-1", "vol-2")
        await over.wait()


if __name__ == "__main__":
    asyncio.run(main())
