"""Factories: everything that a swap is told with, whole and valid, made by the models themselves."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from aioswap.clock import Clock
from aioswap.context import RequestContext
from aioswap.wire.envelope import encode
from aioswap.wire.events import volume_swap
from aioswap.wire.faults import fault_payload
from aioswap.wire.instances import swap_payload
from aioswap.wire.notification import InstanceActionVolumeSwapNotification, Notification, new_message_id
from aioswap.wire.objects import VersionedObject
from aioswap.wire.payloads import ExceptionPayload, InstanceActionVolumeSwapPayload

__all__ = ["Factory"]

_CREATED: Final = datetime(2025, 12, 1, tzinfo=UTC)
_PHASES: Final = {event_type.phase: event_type for event_type in (volume_swap.start, volume_swap.end, volume_swap.error)}
_OWN: Final = ("request_id", "action_initiator_user", "action_initiator_project")
"""What a payload has of the request, not of the instance."""

V = TypeVar("V", bound=VersionedObject)


class Factory:
    """Makes what tests need; you name only what matters to yours.

    Ids count up within a factory, so that failures are easy to read; a notification's `message_id` is random, as everywhere.

    Args:
        clock: what time notifications are made at.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._numbers = itertools.count(1)

    def id(self) -> str:
        """Return an id that this factory has not given yet: a UUID that ends with its number."""
        return str(UUID(int=next(self._numbers), version=4))

    def instance(self, **fields: Any) -> dict[str, Any]:
        """Return an instance as a service has it, for `SwapRequest` or a decorated function.

        Args:
            fields: by the names of Nova or of the payload; others may stand there, too.
        """
        uuid = self.id()
        name = f"server-{int(uuid[-12:], 16)}"
        made = {
            "uuid": uuid,
            "user_id": "user-1",
            "tenant_id": "project-1",
            "display_name": name,
            "host_name": name,
            "host": "compute-1",
            "node": "compute-1",
            "availability_zone": "nova",
            "state": "active",
            "power_state": "running",
            "created_at": _CREATED,
            "launched_at": _CREATED,
            "flavor": {"flavorid": "1", "name": "m1.tiny", "memory_mb": 512, "vcpus": 1, "root_gb": 1, "ephemeral_gb": 0},
        }
        return made | fields

    def context(self, **fields: Any) -> RequestContext:
        """Return a request context with a user, a project and a request id of its own.

        Raises:
            TypeError: a context has no such field.
        """
        return RequestContext(**{"user_id": "user-1", "project_id": "project-1", "roles": ("admin",)} | fields)

    def fault(self, error: BaseException | None = None, *, version: str = "1.1", **fields: Any) -> ExceptionPayload:
        """Return the fault that tells of `error`, masked as an emitter does it.

        Args:
            error: what was raised; None: an OSError.
            version: 1.0 or 1.1.
            fields: of the payload, instead of what `error` gives.

        Raises:
            TypeError: there is no such field.
            ValueError: there is no such version, it does not have one of the fields, or a value does not fit.
        """
        made = fault_payload(OSError("no space left on device") if error is None else error)
        _check(ExceptionPayload, fields)
        return _pinned(ExceptionPayload.model_validate(made.__dict__ | fields), version, fields)

    def payload(
        self,
        version: str = "1.9",
        *,
        context: RequestContext | None = None,
        fault: ExceptionPayload | BaseException | None = None,
        **fields: Any,
    ) -> InstanceActionVolumeSwapPayload:
        """Return the payload of a phase of a swap.

        Args:
            version: 1.0 to 1.9.
            context: who asked.
            fault: why it failed; of an exception the fault is made.
            fields: of the payload, by its names; values as `swap_payload` takes them, so an instance's.

        Raises:
            TypeError: there is no such field, or its value is of a wrong type.
            ValueError: there is no such version, it does not have one of the fields, or a value cannot be read.
        """
        _check(InstanceActionVolumeSwapPayload, fields)
        told = self.instance(**fields)
        own: dict[str, Any] = {name: fields[name] for name in _OWN if name in fields}
        made = swap_payload(
            told,
            told.get("old_volume_id", "old-volume"),
            told.get("new_volume_id", "new-volume"),
            context=context,
            fault=self.fault(fault) if isinstance(fault, BaseException) else fault,
        )
        return _pinned(made.model_copy(update=own) if own else made, version, fields)

    def notification(
        self,
        phase: str = "end",
        version: str = "1.9",
        *,
        host: str = "compute-1",
        context: RequestContext | Mapping[str, Any] | None = None,
        fault: ExceptionPayload | BaseException | None = None,
        message_id: str | None = None,
        timestamp: datetime | None = None,
        **fields: Any,
    ) -> InstanceActionVolumeSwapNotification:
        """Return the notification of a phase of a swap, as Nova makes it.

        Args:
            phase: start, end or error.
            version: of the payload, 1.0 to 1.9.
            host: where the swap happens.
            context: who asked; None: a new one.
            fault: why it failed; None: an OSError for the phase error, else none.
            message_id: None: a new one.
            timestamp: aware; None: now.
            fields: of the payload; see `payload`.

        Raises:
            TypeError: as `payload`.
            ValueError: as `payload`; or there is no such phase.
        """
        if phase not in _PHASES:
            raise ValueError(f"phase {phase!r}: give one of {', '.join(_PHASES)}")
        now = timestamp or self._clock.utcnow()
        who = self.context() if context is None else RequestContext.of(context)
        why = self.fault() if fault is None and phase == "error" else fault
        return Notification(
            message_id=message_id or new_message_id(),
            publisher_id=f"nova-compute:{host}",
            event_type=_PHASES[phase].name,
            priority=_PHASES[phase].priority,
            timestamp=now,
            payload=self.payload(version, context=who, fault=why, **{"host": host, "node": host} | fields),
            context=who.to_wire(now),
            unique_id=os.urandom(16).hex(),
        )

    def body(self, phase: str = "end", version: str = "1.9", **given: Any) -> bytes:
        """Return the bytes that a notification is on the wire: oslo's envelope 2.0.

        Args:
            phase: start, end or error.
            version: of the payload, 1.0 to 1.9.
            given: what `notification` takes.

        Raises:
            TypeError: as `notification`.
            ValueError: as `notification`.
        """
        return encode(self.notification(phase, version, **given))


def _check(kind: type[VersionedObject], fields: Mapping[str, Any]) -> None:
    unknown = sorted(fields.keys() - kind.model_fields.keys())
    if unknown:
        raise TypeError(f"{kind.__name__} has no field {unknown[0]!r}: it has {', '.join(kind.model_fields)}")


def _pinned(payload: V, version: str, fields: Mapping[str, Any]) -> V:
    pinned = payload.at_version(version)
    newer = sorted(fields.keys() - pinned.model_fields_set)
    if newer:
        raise ValueError(f"version {version} of {type(payload).__name__} does not have {newer[0]!r} yet")
    return pinned
