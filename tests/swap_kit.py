"""What the tests of swaps share: notifications as nova sends them, and moments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from aioswap.wire.envelope import decode
from aioswap.wire.notification import Notification
from aioswap.wire.payloads import BlockDevicePayload, ExceptionPayload, InstanceActionVolumeSwapPayload

__all__ = ["DAY", "INSTANCE", "NEW", "OLD", "T0", "at", "captured", "exception", "fault", "instance_event", "swap_event"]

T0 = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = 86_400.0
INSTANCE, OLD, NEW = "instance-1", "volume-old", "volume-new"

_SAMPLES = Path(__file__).parent / "samples"
_NUMBERS = count(1)


def at(seconds: float) -> datetime:
    """Return the moment so many seconds after `T0`."""
    return T0 + timedelta(seconds=seconds)


@cache
def captured(name: str) -> Notification[Any]:
    """Return a captured notification by its file's name."""
    return decode(json.loads((_SAMPLES / f"{name}.json").read_text())["body"])


@cache
def fault(message: str = "no valid connector") -> ExceptionPayload:
    """Return a fault."""
    return ExceptionPayload(
        module_name="nova.compute.manager",
        function_name="_swap_volume",
        exception="VolumeNotFound",
        exception_message=message,
        traceback="",
    )


@cache
def _payload(phase: str, instance: str, old: str, new: str, shown: tuple[str, ...] | None) -> InstanceActionVolumeSwapPayload:
    name = phase if phase in ("start", "end", "error") else "start"
    payload: InstanceActionVolumeSwapPayload = captured(f"nova34-v2-default__instance.volume_swap.{name}").payload
    devices = shown and [
        BlockDevicePayload(device_name=None, boot_index=None, delete_on_termination=False, volume_id=volume, tag=None)
        for volume in shown
    ]
    values = {"uuid": instance, "old_volume_id": old, "new_volume_id": new, "tenant_id": f"project of {instance}"}
    return payload.model_copy(update={**values, "block_devices": devices, "fault": fault() if phase == "error" else None})


def _notification(
    event_type: str, payload: object, seconds: float, publisher: str, context: Mapping[str, Any], message_id: str | None
) -> Notification[Any]:
    failed = event_type.endswith(".error") or event_type == "compute.exception"
    return Notification(
        message_id=message_id or f"message-{next(_NUMBERS)}",
        publisher_id=publisher,
        event_type=event_type,
        priority="ERROR" if failed else "INFO",
        timestamp=at(seconds),
        payload=payload,
        context=context,
    )


def swap_event(
    phase: str,
    seconds: float = 0.0,
    *,
    publisher: str = "nova-compute:host-1",
    instance: str = INSTANCE,
    old: str = OLD,
    new: str = NEW,
    request_id: str | None = "req-1",
    global_request_id: str | None = None,
    shown: tuple[str, ...] | None = None,
    message_id: str | None = None,
) -> Notification[Any]:
    """Return a notification of a swap, made so many seconds after `T0`.

    Args:
        shown: the volumes of its block devices.
    """
    context = {"request_id": request_id, "global_request_id": global_request_id}
    payload = _payload(phase, instance, old, new, shown)
    return _notification(f"instance.volume_swap.{phase}", payload, seconds, publisher, context, message_id)


def exception(
    seconds: float = 0.0,
    *,
    publisher: str = "nova-compute:host-1",
    request_id: str | None = "req-1",
    message_id: str | None = None,
) -> Notification[Any]:
    """Return a `compute.exception`."""
    return _notification("compute.exception", fault("it raised"), seconds, publisher, {"request_id": request_id}, message_id)


def instance_event(
    event_type: str,
    seconds: float = 0.0,
    *,
    publisher: str = "nova-compute:host-1",
    instance: str = INSTANCE,
    message_id: str | None = None,
) -> Notification[Any]:
    """Return another notification about an instance; its payload is a generic one."""
    payload = captured("nova34-others__instance.delete.end").payload.model_copy(update={"uuid": instance})
    return _notification(event_type, payload, seconds, publisher, {"request_id": "req-of-something-else"}, message_id)
