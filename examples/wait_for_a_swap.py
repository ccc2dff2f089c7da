"""Who migrates a volume listens first, acts then, and learns how the swap ended. Memory stands in for RabbitMQ."""

from __future__ import annotations

import asyncio

from aioswap import Emitter, MemoryTransport, SwapRequest, SwapTracker

transport = MemoryTransport()
emitter = Emitter(transport, host="compute-1")
tracker = SwapTracker(transport)


async def migrate(server: str, volume: str) -> None:
    """Pretend to be Cinder, which asks Nova to swap: the new volume's id is nobody else's business."""
    async with emitter.swapping(SwapRequest({"uuid": server}, volume, "a new volume of Cinder's")):
        await asyncio.sleep(0.01)
        if volume == "vol-2":
            raise OSError("no space left on device")


async def main() -> None:
    async with transport, emitter, tracker:
        for volume in ("vol-1", "vol-2"):
            async with tracker.expect(instance="server-1", old=volume) as expected:
                await asyncio.gather(migrate("server-1", volume), return_exceptions=True)
                swap = await expected.wait(timeout=10)
            print(f"{volume} on {swap.host}: {swap.state}", swap.fault.exception_message if swap.fault else "")
        late = await tracker.wait(old="vol-1")
        print("asked again later:", late.state)


if __name__ == "__main__":
    asyncio.run(main())
