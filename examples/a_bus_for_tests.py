"""What the test kit sees, here without pytest: expectations, and a duplicate. In tests it is the fixture `aioswap_bus`."""

from __future__ import annotations

import asyncio

from aioswap import Consumer, Emitter, InstanceActionVolumeSwapNotification, SwapRequest, volume_swap
from aioswap.testing import Bus

bus = Bus()
consumer = Consumer(bus.transport, pool="billing")
handled: list[str] = []


@consumer.on(volume_swap.end)
async def bill(notification: InstanceActionVolumeSwapNotification) -> None:
    """Remember what was handled."""
    handled.append(notification.message_id)


async def main() -> None:
    async with bus, Emitter(bus.transport, host="compute-1") as emitter, consumer.running():
        request = SwapRequest({"uuid": "server-1"}, "vol-1", "vol-2")
        async with bus.expects(volume_swap.start, volume_swap.end) as seen, emitter.swapping(request):
            pass
        print("as expected:", [notification.event_type for notification in seen])
        with bus.faults.duplicate(volume_swap.end) as duplicate:
            await bus.nova_swap().run()
        await bus.settled()
        print(f"{duplicate.count} duplicate, {len(handled)} handled of {len(bus.notifications(volume_swap.end))} copies")
        try:
            async with bus.expects(volume_swap.end):
                await bus.nova_swap(uuid="server-2", old_volume_id="vol-1", new_volume_id="small").error(OSError("full"))
        except AssertionError as error:
            print(error)


if __name__ == "__main__":
    asyncio.run(main())
