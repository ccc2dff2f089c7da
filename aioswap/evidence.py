"""What is kept of a notification: of a swap, or of something else that says that a swap can't be running any longer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from aioswap.wire.events import EventPattern, event_pattern, volume_swap
from aioswap.wire.notification import Notification, Priority
from aioswap.wire.payloads import ExceptionPayload, InstanceActionVolumeSwapPayload

__all__ = [
    "DELETED",
    "EXCEPTION",
    "TRACKED",
    "Arrival",
    "Heard",
    "Subject",
    "SwapKey",
    "hear",
    "key_of",
    "subject_of",
    "subjects_of",
]

EXCEPTION: Final = "compute.exception"
DELETED: Final = "instance.delete.end"
_MOVED: Final = (event_pattern("instance.evacuate.#"), event_pattern("instance.rebuild.*"))
TRACKED: Final[tuple[EventPattern[Any], ...]] = (volume_swap.any, event_pattern(EXCEPTION), event_pattern(DELETED), *_MOVED)
"""What says something about swaps. The rest need not be parsed."""

Arrival: TypeAlias = tuple[datetime, int]
"""When a notification arrived, and its number among those that arrived: no two are equal."""
Subject: TypeAlias = tuple[str, ...]
"""What a sign is about: ("instance", uuid), or ("request", source, request id)."""


class SwapKey(NamedTuple):
    """What tells swaps apart. With a request id: one attempt. Without: any number of them, one a start."""

    source: str
    instance: str
    old_volume_id: str
    new_volume_id: str
    request_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What is kept of a notification: of a swap, or a sign that a swap can't be running any longer."""

    message_id: str
    publisher_id: str
    event_type: str
    timestamp: datetime
    arrival: Arrival
    fault: ExceptionPayload | None = None
    effective_volume_id: str | None = None
    global_request_id: str | None = None
    project_id: str | None = None

    @property
    def phase(self) -> str:
        """The last word of the event type."""
        return self.event_type.rpartition(".")[2]

    @property
    def arrived(self) -> datetime:
        """The moment of its arrival."""
        return self.arrival[0]

    @property
    def host(self) -> str | None:
        """The publisher id's part behind the colon, None where there is none."""
        return self.publisher_id.partition(":")[2] or None

    def follows(self, other: Heard) -> bool:
        """Say whether it comes after `other`: by timestamps if one publisher made both, else and in doubt by arrival."""
        if self.publisher_id == other.publisher_id and self.timestamp != other.timestamp:
            return self.timestamp > other.timestamp
        return self.arrival > other.arrival


def hear(notification: Notification[Any], arrival: Arrival) -> Heard:
    """Return what is kept of a notification that `key_of` or `subject_of` knows."""
    event_type, payload = notification.event_type, notification.payload
    failed = isinstance(payload, InstanceActionVolumeSwapPayload) and event_type == volume_swap.error.name
    raised = payload if isinstance(payload, ExceptionPayload) else None
    return Heard(
        message_id=notification.message_id,
        publisher_id=notification.publisher_id,
        event_type=event_type,
        timestamp=notification.timestamp,
        arrival=arrival,
        fault=payload.fault if failed else raised,
        effective_volume_id=_effective_volume_id(payload) if event_type == volume_swap.end.name else None,
        global_request_id=_text(notification.context.get("global_request_id")),
        project_id=_text(getattr(payload, "tenant_id", None)),
    )


def key_of(notification: Notification[Any]) -> SwapKey | None:
    """Return which swap a notification is about, None if it is about none."""
    payload = notification.payload
    if not isinstance(payload, InstanceActionVolumeSwapPayload) or not volume_swap.any.matches(notification.event_type):
        return None
    return SwapKey(
        notification.source,
        payload.uuid,
        payload.old_volume_id,
        payload.new_volume_id,
        _text(notification.context.get("request_id")),
    )


def subject_of(notification: Notification[Any]) -> Subject | None:
    """Return what a notification is a sign about, None if it is none."""
    event_type = notification.event_type
    if event_type == EXCEPTION and notification.priority == Priority.ERROR:
        request_id = _text(notification.context.get("request_id"))
        return ("request", notification.source, request_id) if request_id else None
    if event_type == DELETED or any(pattern.matches(event_type) for pattern in _MOVED):
        instance = _text(getattr(notification.payload, "uuid", None))
        return ("instance", instance) if instance else None
    return None


def subjects_of(key: SwapKey) -> tuple[Subject, ...]:
    """Return what the signs about a swap are about."""
    about_instance = ("instance", key.instance)
    return (about_instance, ("request", key.source, key.request_id)) if key.request_id else (about_instance,)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _effective_volume_id(payload: InstanceActionVolumeSwapPayload) -> str | None:
    """Return the volume of the swap that the block devices show. Nova sends them only where it is told to."""
    shown = {device.volume_id for device in payload.block_devices or ()}
    return next((volume for volume in (payload.new_volume_id, payload.old_volume_id) if volume in shown), None)
