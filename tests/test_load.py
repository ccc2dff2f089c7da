"""Ten thousand swaps at once, in memory: everything is told, in order, within bounds."""

from __future__ import annotations

import asyncio
from typing import Any

from aioswap.consumer import Consumer
from aioswap.emitter import Emitter
from aioswap.emitting.desk import BUDGET
from aioswap.emitting.request import SwapRequest
from aioswap.hooks import Operation
from aioswap.outbox import MemoryOutbox
from aioswap.testing import ManualClock
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification
from tests.bus import DEADLINE, declare, told

SWAPS, INSTANCES = 10_000, 500


class AcceptOrder:
    """The ids of notifications, in the order in which the outbox accepted them."""

    def __init__(self) -> None:
        self.ids: list[str | None] = []

    def started(self, operation: Operation) -> None: ...

    def finished(self, operation: Operation) -> None:
        if operation.kind == "emit":
            self.ids.append(operation.message_id)


async def test_ten_thousand_concurrent_swaps_are_told_and_handled_in_order() -> None:
    order, transport = AcceptOrder(), MemoryTransport()
    outbox = MemoryOutbox(max_messages=50_000, max_bytes=1 << 30)
    consumer = Consumer(transport, pool="load")
    handled: dict[str, list[Notification[Any]]] = {}
    all_handled = asyncio.Event()
    count = most = 0

    @consumer.on(volume_swap.any)
    async def record(notification: Notification[Any]) -> None:
        nonlocal count
        handled.setdefault(notification.payload.uuid, []).append(notification)
        count += 1
        if count == 2 * SWAPS:
            all_handled.set()

    async with transport, consumer.running():
        async with Emitter(transport, host="compute-1", outbox=outbox, hooks=[order]) as emitter:

            async def swap(number: int) -> None:
                nonlocal most
                request = SwapRequest({"uuid": f"vm-{number % INSTANCES}"}, f"old-{number}", f"new-{number}")
                async with emitter.swapping(request):
                    await asyncio.sleep(0)
                most = max(most, outbox.counts().backlog)

            async with asyncio.TaskGroup() as group:
                for number in range(SWAPS):
                    group.create_task(swap(number))
        await asyncio.wait_for(all_handled.wait(), DEADLINE * 3)
        health = emitter.health()

    place = {message_id: number for number, message_id in enumerate(order.ids)}
    places = {uuid: [place[each.message_id] for each in handled[uuid]] for uuid in handled}
    swaps: dict[str, list[str]] = {}
    for notifications in handled.values():
        for each in notifications:
            swaps.setdefault(each.payload.old_volume_id, []).append(each.event_type)
    assert (INSTANCES, SWAPS) == (len(handled), len(swaps))
    assert places == {uuid: sorted(numbers) for uuid, numbers in places.items()}
    assert {("instance.volume_swap.start", "instance.volume_swap.end")} == {tuple(types) for types in swaps.values()}
    assert (2 * SWAPS, 2 * SWAPS, 0, 0) == (health.accepted, health.confirmed, health.backlog, health.untold)
    assert most <= 2 * SWAPS


async def test_with_the_default_outbox_every_swap_is_told_or_counted_and_none_waits_longer_than_its_budget() -> None:
    clock = ManualClock()
    waits: list[float] = []
    finish = asyncio.Event()
    async with MemoryTransport(clock=clock) as transport:
        await declare(transport)
        transport.lose()
        async with Emitter(transport, host="compute-1", clock=clock) as emitter:

            async def swap(number: int) -> None:
                before = clock.monotonic()
                async with emitter.swapping(SwapRequest({"uuid": f"vm-{number}"}, "old", "new")):
                    waits.append(clock.monotonic() - before)
                    await finish.wait()

            tasks = [asyncio.create_task(swap(number)) for number in range(SWAPS)]
            await clock.advance(BUDGET)
            running = len(waits)
            finish.set()
            await asyncio.wait_for(asyncio.gather(*tasks), DEADLINE)
            transport.restore()
            await emitter.flush(timeout=DEADLINE)
            health = emitter.health()
        notifications = await told(transport)

    started = {each.payload.uuid for each in notifications if each.event_type == volume_swap.start.name}
    ended = {each.payload.uuid for each in notifications if each.event_type == volume_swap.end.name}
    assert SWAPS == running
    assert max(waits) <= BUDGET
    assert started == ended
    assert SWAPS == len(started) + health.untold
    assert 0 < len(started) < SWAPS
