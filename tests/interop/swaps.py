"""Swaps that aioswap performs, for real peers to hear of."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aioswap.context import RequestContext
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest

__all__ = ["Volumes", "server"]


class NoSuchVolume(Exception):
    """The swap fails."""


def server(number: int) -> dict[str, Any]:
    """Return an instance as a service may have it."""
    return {
        "uuid": str(uuid4()),
        "user_id": "8d4c9a0e8f1b4a1aa1cf2a1b9a0f6f11",
        "project_id": "6f70656e737461636b20342065766572",
        "display_name": f'server "é" {number}',
        "hostname": f"server-{number}",
        "vm_state": "active",
        "power_state": 1,
        "metadata": {"naïve": "Grüße, 世界 \U0001f600"},
        "locked": True,
    }


@dataclass
class Volumes:
    """Performs swaps, several at once, and knows what must be heard of them.

    Args:
        emitter: tells of them; open.
        fail_every: every so many fails.
    """

    emitter: Emitter
    fail_every: int = 4
    expected: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Method of an oslo endpoint, event type, request id and new volume of each notification."""

    async def swap(self, count: int) -> None:
        """Perform `count` swaps, each of an own instance, and wait until all that was told is confirmed."""
        async with asyncio.TaskGroup() as swaps:
            for number in range(count):
                swaps.create_task(self._swap(number))
        await self.emitter.flush(60)

    async def _swap(self, number: int) -> None:
        fails = number % self.fail_every == self.fail_every - 1
        context = RequestContext(user_id="ada", project_id="research", roles=("member",))
        request = SwapRequest(server(number), str(uuid4()), str(uuid4()), context)
        about = context.request_id, request.new_volume_id
        self.expected.append(("info", "instance.volume_swap.start", *about))
        try:
            async with self.emitter.swapping(request):
                await asyncio.sleep(0)  # other swaps start meanwhile
                if fails:
                    raise NoSuchVolume(request.new_volume_id)
        except NoSuchVolume:
            self.expected.append(("error", "instance.volume_swap.error", *about))
        else:
            self.expected.append(("info", "instance.volume_swap.end", *about))
