"""What mypy makes of event types: checked with the rest of the tests, never run. Each `type: ignore` is a fact to be kept."""

from __future__ import annotations

from typing import Any, TypeVar, assert_type

from aioswap.wire.envelope import decode
from aioswap.wire.events import EventPattern, EventType, event_pattern, volume_swap
from aioswap.wire.notification import InstanceActionVolumeSwapNotification, Notification
from aioswap.wire.payloads import ExceptionPayload, FlavorPayload, InstanceActionVolumeSwapPayload, InstancePayload

T = TypeVar("T")


def emit(event_type: EventType[T], payload: T) -> Notification[T]:
    """Stand for whatever takes an event type and its payload."""
    raise NotImplementedError


def on(pattern: EventPattern[T]) -> T:
    """Stand for whatever gives what belongs to a pattern."""
    raise NotImplementedError


def event_types(swap: InstanceActionVolumeSwapPayload, instance: InstancePayload, fault: ExceptionPayload) -> None:
    assert_type(emit(volume_swap.start, swap), InstanceActionVolumeSwapNotification)
    emit(volume_swap.start, instance)  # type: ignore[misc]
    emit(volume_swap.error, fault)  # type: ignore[misc]
    emit(volume_swap.end, object())  # type: ignore[misc]
    emit(volume_swap.any, swap)  # type: ignore[arg-type]
    assert_type(on(volume_swap.any), InstanceActionVolumeSwapPayload)
    assert_type(on(event_pattern("a.#")), Any)
    assert_type(on(EventPattern("a.*", FlavorPayload)), FlavorPayload)


def notifications(notification: InstanceActionVolumeSwapNotification) -> None:
    wider: Notification[InstancePayload] = notification
    narrower: Notification[ExceptionPayload] = notification  # type: ignore[assignment]
    assert_type(wider.payload.flavor.vcpus, int | None)
    assert_type(notification.payload.fault, ExceptionPayload | None)
    assert_type(decode(b""), Notification[Any])
    narrower.payload = wider  # type: ignore[assignment, misc]


def fields(swap: InstanceActionVolumeSwapPayload) -> None:
    assert_type(swap.at_version("1.0"), InstanceActionVolumeSwapPayload)
    assert_type(swap.old_volume_id, str)
    swap.no_such_field  # type: ignore[attr-defined]  # noqa: B018
