"""A service that swaps, in a process of its own that may be killed: `python -m tests.outbox_process FOLDER HOW`.

Its broker is away, so that everything stays in the outbox. HOW is `hang` (starts three swaps, of which one ends) or `busy`
(swap after swap). It writes a line once the starts are safe; with `busy`, a line for each swap.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from aioswap.context import RequestContext
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.outbox_file import FileOutbox
from aioswap.transports.memory import MemoryTransport

__all__ = ["CONTEXT", "main"]

CONTEXT = RequestContext(request_id="req-of-the-dead", user_id="user", project_id="project")


async def main(folder: Path, how: str) -> None:
    """Swap until killed."""
    async with (
        MemoryTransport() as transport,
        Emitter(transport, host="dead-host", outbox=FileOutbox(folder), pin="1.4", topics=("first", "second")) as emitter,
    ):
        transport.lose()
        started = asyncio.Semaphore(0)

        async def swap(number: int, *, ends: bool) -> None:
            request = SwapRequest({"uuid": f"vm-{number}"}, f"old-{number}", f"new-{number}", CONTEXT)
            async with emitter.swapping(request):
                started.release()
                if not ends:
                    await asyncio.Event().wait()
            started.release()

        async def one_after_another(first: int) -> None:
            for number in itertools.count(first, 8):
                await swap(number, ends=True)
                print(number, flush=True)

        if how == "busy":
            await asyncio.gather(*(one_after_another(first) for first in range(8)))
        tasks = [asyncio.create_task(swap(number, ends=number == 0)) for number in range(3)]
        for _ in range(4):
            await started.acquire()
        print("started", flush=True)
        await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
