"""Every swap of a cloud as it begins and ends, and how they went on each host. Memory stands in for RabbitMQ."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aioswap import Emitter, MemoryTransport, SwapRequest, SwapState, SwapTracker

transport = MemoryTransport()  # for real: one transport for each cell, SwapTracker(first, second, history=Path("swaps.db"))
tracker = SwapTracker(transport)


async def compute(host: str, *servers: str) -> None:
    """Pretend to be a hypervisor, and swap a volume of each server. That of server-2 is too small."""
    async with Emitter(transport, host=host) as emitter:
        for server in servers:
            with suppress(OSError):
                async with emitter.swapping(SwapRequest({"uuid": server}, "vol-1", "vol-2")):
                    await asyncio.sleep(0.01)
                    if server == "server-2":
                        raise OSError("no space left on device")


async def main() -> None:
    async with transport, tracker, tracker.changes() as changes:
        cloud = asyncio.gather(compute("compute-1", "server-1", "server-2"), compute("compute-2", "server-3"))
        left = 3
        async for swap in changes:
            print(f"{swap.instance} on {swap.host}: {swap.state}", swap.fault.exception_message if swap.fault else "")
            left -= swap.state is not SwapState.RUNNING
            if not left:
                break
        await cloud
        for host in await tracker.timings():
            print(f"{host.host}: {host.count} succeeded, {host.failed} failed")


if __name__ == "__main__":
    asyncio.run(main())
