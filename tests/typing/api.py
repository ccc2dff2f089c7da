"""The public API as a type checker must see it. mypy reads this file; nothing ever runs it.

An error that must be an error stands as an ignored one: mypy complains about an ignore that hides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, assert_type

from aioswap import (
    Ack,
    Consumer,
    Delivery,
    Emitter,
    EventPattern,
    EventType,
    Hook,
    InstanceActionVolumeSwapNotification,
    InstanceActionVolumeSwapPayload,
    MemoryOutbox,
    MemoryTransport,
    Message,
    Notification,
    Operation,
    Outbox,
    RabbitTransport,
    Reject,
    RequestContext,
    Retry,
    RetryPolicy,
    SwapRequest,
    VersionedObject,
    decode,
    encode,
    request_context,
    volume_swap,
)
from aioswap.dead_letters import DeadLetters
from aioswap.health import ConsumerHealth, EmitterHealth
from aioswap.transports.base import Receiver, Sender, Transport
from aioswap.wire.payloads import ExceptionPayload, FlavorPayload

memory = MemoryTransport()
rabbit = RabbitTransport("amqp://guest:guest@localhost/", exchange="nova")
transport: Transport = memory
transport = rabbit
outbox: Outbox = MemoryOutbox(max_messages=10, max_bytes=1 << 20)
emitter = Emitter(memory, host="compute-1", outbox=outbox)
consumer = Consumer(memory, pool="billing", retry=RetryPolicy(attempts=3, reject=(KeyError,)))


class Server:
    """A service's own instance."""

    uuid: str


# Event types and their payloads

assert_type(volume_swap.start, EventType[InstanceActionVolumeSwapPayload])
assert_type(volume_swap.any, EventPattern[InstanceActionVolumeSwapPayload])
other_type = EventType("compute.exception", ExceptionPayload)
assert_type(other_type, EventType[ExceptionPayload])
a_type_is_a_pattern: EventPattern[ExceptionPayload] = other_type
a_type_is_invariant: EventType[VersionedObject] = other_type  # type: ignore[assignment]
a_pattern_is_no_type: EventType[InstanceActionVolumeSwapPayload] = volume_swap.any  # type: ignore[assignment]


# Notifications

assert_type(decode(b""), Notification[Any])
assert_type(encode(decode("")), bytes)


def notifications(notification: InstanceActionVolumeSwapNotification) -> None:
    """Look at one."""
    assert_type(notification, Notification[InstanceActionVolumeSwapPayload])
    assert_type(notification.timestamp, datetime)
    assert_type(notification.host, str | None)
    assert_type(notification.payload.old_volume_id, str)
    assert_type(notification.payload.fault, ExceptionPayload | None)
    assert_type(notification.payload.at_version("1.0"), InstanceActionVolumeSwapPayload)
    wider: Notification[VersionedObject] = notification
    narrower: Notification[FlavorPayload] = wider  # type: ignore[assignment]
    notification.message_id = "another"  # type: ignore[misc]
    assert_type((wider, narrower), tuple[Notification[VersionedObject], Notification[FlavorPayload]])


# Emitting


async def emits(payload: InstanceActionVolumeSwapPayload, fault: ExceptionPayload) -> None:
    """Emit, rightly and wrongly."""
    assert_type(await emitter.emit(volume_swap.end, payload), Notification[InstanceActionVolumeSwapPayload])
    assert_type(await emitter.emit(other_type, fault, context={"request_id": "req-1"}), Notification[ExceptionPayload])
    await emitter.emit(volume_swap.end, fault)  # type: ignore[misc]
    await emitter.emit(other_type, payload)  # type: ignore[misc]
    await emitter.emit("instance.volume_swap.end", payload)  # type: ignore[arg-type]
    await emitter.emit(volume_swap.any, payload)  # type: ignore[arg-type]
    async with emitter.swapping(SwapRequest({"uuid": "1"}, "old", "new", context=RequestContext(user_id="u"))):
        await emitter.flush(5.0)
    with request_context({"request_id": "req-1"}):
        assert_type(emitter.health(), EmitterHealth)


# The decorator keeps the signature


@emitter.swap
async def swap_volume(context: object, old_volume_id: str, new_volume_id: str, instance: Server) -> int:
    """Swap."""
    return 1


def as_request(server: Server, source: str, target: str, *, speed: float = 1.0) -> SwapRequest:
    """Describe `migrate`."""
    return SwapRequest(server, source, target)


@emitter.swap(describe=as_request)
async def migrate(server: Server, source: str, target: str, *, speed: float = 1.0) -> bytes:
    """Swap, too."""
    return b""


@emitter.swap(describe=as_request)  # type: ignore[arg-type]
async def other_parameters(server: Server, source: int, target: str, *, speed: float = 1.0) -> None:
    """Its source is no text."""


@emitter.swap(describe=as_request)  # type: ignore[arg-type]
async def other_names(machine: Server, source: str, target: str, *, speed: float = 1.0) -> None:
    """Its machine is a server there."""


@emitter.swap  # type: ignore[arg-type]
def not_a_coroutine(old_volume_id: str, new_volume_id: str, instance: Server) -> None:
    """It can't await."""


class Service:
    """Methods can be decorated, too."""

    @emitter.swap
    async def swap_volume(self, instance: Server, old_volume_id: str, new_volume_id: str) -> str:
        """Swap."""
        return ""


async def swaps(server: Server) -> None:
    """Call what was decorated, rightly and wrongly."""
    assert_type(await swap_volume(None, "old", "new", instance=server), int)
    assert_type(await migrate(server, "old", target="new", speed=2.0), bytes)
    assert_type(await Service().swap_volume(server, "old", "new"), str)
    await swap_volume(None, "old", "new")  # type: ignore[call-arg]
    await swap_volume(None, "old", "new", "no server")  # type: ignore[arg-type]
    await migrate(server, "old", "new", rate=2.0)  # type: ignore[call-arg]
    plain: Callable[..., Coroutine[Any, Any, int]] = swap_volume
    assert_type(plain, Callable[..., Coroutine[Any, Any, int]])


# Consuming


@consumer.on(volume_swap.error)
async def page(notification: Notification[InstanceActionVolumeSwapPayload]) -> None:
    """Handle, or ask for it again."""
    if notification.payload.fault is None:
        raise Reject("no fault")
    raise Retry(after=30)


@consumer.on(volume_swap.any, name="wider")
async def wider_handler(notification: Notification[VersionedObject]) -> None:
    """Handle any payload."""


@consumer.on("instance.volume_swap.*")
async def untyped(notification: Notification[Any]) -> Ack | Retry | None:
    """Return the outcome."""
    return Ack()


@consumer.on(volume_swap.error)  # type: ignore[arg-type]
async def wrong_payload(notification: Notification[ExceptionPayload]) -> None:
    """Handle what does not come."""


@consumer.on(volume_swap.error)  # type: ignore[type-var]
async def wrong_result(notification: InstanceActionVolumeSwapNotification) -> int:
    """Return what is no outcome."""
    return 1


async def consumes() -> None:
    """Open, stream, look."""
    async with memory, consumer.running(start_timeout=5.0):
        await page(await anything())
        assert_type(consumer.health(), ConsumerHealth)
    async with consumer.stream(volume_swap.end) as typed:
        async for notification in typed:
            assert_type(notification, Notification[InstanceActionVolumeSwapPayload])
    async with consumer.stream("instance.#") as others:
        async for other in others:
            assert_type(other, Notification[Any])
    assert_type(await DeadLetters(rabbit, "billing").replay(), int)


async def anything() -> Notification[Any]:
    """Return what may be anything."""
    return decode(b"")


# What users write themselves


class Counter:
    """A hook."""

    def started(self, operation: Operation, /) -> None:
        """Begin."""

    def finished(self, operation: Operation, /) -> None:
        """End."""


hook: Hook = Counter()


def halves(sender: Sender, receiver: Receiver, delivery: Delivery) -> None:
    """Use the halves of a transport."""
    sender.send(Message(routing_key="versioned_notifications.info", body=b"{}", message_id="1"))
    assert_type(receiver.queue, str)
    delivery.ack()
