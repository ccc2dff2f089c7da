"""The test kit as a type checker must see it. mypy reads this file; nothing ever runs it."""

from __future__ import annotations

from typing import Any, assert_type

from aioswap import (
    InstanceActionVolumeSwapNotification,
    InstanceActionVolumeSwapPayload,
    Notification,
    RequestContext,
    Transport,
    volume_swap,
)
from aioswap.clock import Clock
from aioswap.dead_letters import DeadLetter
from aioswap.testing import BrokerClock, Bus, Factory, ManualClock, MemoryOnly, Mishap, NovaSwap
from aioswap.wire.payloads import ExceptionPayload


async def uses(bus: Bus, factory: Factory) -> None:
    """Use a bus, rightly and wrongly."""
    transport: Transport = bus.transport
    clock: Clock = bus.clock
    assert_type(bus.clock, ManualClock)
    assert_type(await bus.wait_for(volume_swap.any, 2), list[Notification[InstanceActionVolumeSwapPayload]])
    assert_type(await bus.wait_for("#"), list[Notification[Any]])
    assert_type(bus.notifications(volume_swap.end), list[Notification[InstanceActionVolumeSwapPayload]])
    assert_type(bus.notifications(), list[Notification[Any]])
    async with bus.expects(volume_swap.start, "instance.*.end", among=volume_swap.any, timeout=1.0) as seen:
        assert_type(seen, list[Notification[Any]])
    assert_type([*await bus.dead_letters("billing")], list[DeadLetter])
    with bus.faults.drop(volume_swap.end, n=1) as dropped, bus.faults.delay(5, "compute.#"), bus.faults.away():
        assert_type(dropped, Mishap)
    bus.faults.refuse(volume_swap.end)  # type: ignore[arg-type]
    assert_type(bus.nova_swap(host="compute-7", uuid="server-1"), NovaSwap)
    assert_type(await bus.nova_swap().error(OSError()), InstanceActionVolumeSwapNotification)
    await bus.publish("text")  # type: ignore[arg-type]
    assert_type((transport, clock), tuple[Transport, Clock])


def makes(factory: Factory) -> None:
    """Make things."""
    assert_type(factory.payload("1.4", display_name="web"), InstanceActionVolumeSwapPayload)
    assert_type(factory.notification("start", context={"request_id": "req-1"}), InstanceActionVolumeSwapNotification)
    assert_type(factory.body("error", fault=OSError("full")), bytes)
    assert_type(factory.fault(version="1.0"), ExceptionPayload)
    assert_type(factory.context(user_id="u"), RequestContext)
    assert_type(factory.instance(hostname="web"), dict[str, Any])
    clock: ManualClock = BrokerClock()
    skipped: Exception = MemoryOnly("why")
    assert_type((clock, skipped), tuple[ManualClock, Exception])
