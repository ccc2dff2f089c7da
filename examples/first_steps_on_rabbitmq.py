"""A decorated swap and a consumer that hears of it, on RabbitMQ: `first_steps_on_rabbitmq.py amqp://guest:guest@localhost/`."""

from __future__ import annotations

import asyncio
import sys

from aioswap import Consumer, Emitter, InstanceActionVolumeSwapNotification, RabbitTransport, volume_swap


async def main(url: str) -> None:
    # An exchange of our own, made if it is missing. Beside a Nova: exchange="nova", which only Nova declares.
    transport = RabbitTransport(url, exchange="aioswap-first-steps", exchange_durable=True)
    emitter = Emitter(transport, host="compute-1")
    consumer = Consumer(transport, pool="first-steps")
    over = asyncio.Event()

    @emitter.swap
    async def swap_volume(instance: dict[str, str], old_volume_id: str, new_volume_id: str) -> None:
        """Copy, attach and detach here."""

    @consumer.on(volume_swap.any)
    async def show(notification: InstanceActionVolumeSwapNotification) -> None:
        payload = notification.payload
        print(f"{notification.event_type} on {notification.host}: {payload.old_volume_id} -> {payload.new_volume_id}")
        if notification.event_type == volume_swap.end.name:
            over.set()

    async with transport, emitter, consumer.running():
        await swap_volume({"uuid": "8a5b0d2e-6f4f-4c55-9a39-5f2f8b4a7f10"}, "vol-1", "vol-2")
        await over.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
