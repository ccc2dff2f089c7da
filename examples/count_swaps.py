"""A service whose swaps and handlers are counted for Prometheus: what a scrape of it would show."""

import asyncio
from contextlib import suppress
from typing import Any

from prometheus_client import generate_latest

from aioswap import Consumer, Emitter, MemoryTransport, Notification, Reject, SwapRequest, volume_swap
from aioswap.hooks.prometheus import PrometheusHook

hook = PrometheusHook()
transport = MemoryTransport()
consumer = Consumer(transport, pool="pager", hooks=[hook])
emitter = Emitter(transport, host="compute-1", hooks=[hook])
hook.watch(emitter, consumer)
paged = asyncio.Event()


@consumer.on(volume_swap.error, name="page")
async def page(notification: Notification[Any]) -> None:
    paged.set()
    raise Reject("nobody is on call")


async def main() -> None:
    async with transport, consumer.running(), emitter:
        for server, error in (("server-1", None), ("server-2", None), ("server-3", OSError("no space left on device"))):
            with suppress(OSError):
                async with emitter.swapping(SwapRequest({"uuid": server}, "old", "new")):
                    if error is not None:
                        raise error
        await paged.wait()
    # a real service: prometheus_client.start_http_server(9100, addr="127.0.0.1", registry=hook.registry)
    print(generate_latest(hook.registry).decode())


if __name__ == "__main__":
    asyncio.run(main())
