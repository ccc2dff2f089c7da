"""An operator is told of swaps that begin and never end. Memory stands in for RabbitMQ, half a second for a day."""

from __future__ import annotations

import asyncio

from aioswap import Emitter, MemoryTransport, Swap, SwapRequest, SwapTracker

transport = MemoryTransport()
tracker = SwapTracker(transport, stuck_after=0.5)  # a day is the default; history=Path("swaps.db") outlives a restart
told = asyncio.Event()


@tracker.on_stuck
async def alert(swap: Swap) -> None:
    """Page somebody here. It is called once for each swap."""
    print(f"stuck on {swap.host}: {swap.old_volume_id} -> {swap.new_volume_id} of {swap.instance}")
    told.set()


async def main() -> None:
    async with transport, Emitter(transport, host="compute-1") as emitter, tracker:
        async with emitter.swapping(SwapRequest({"uuid": "server-1"}, "vol-1", "vol-2")):
            await told.wait()
        swap = await tracker.wait(instance="server-1", timeout=10)
        print("after all:", swap.state, "late" if swap.late else "in time")


if __name__ == "__main__":
    asyncio.run(main())
