# mypy: disable-error-code="import-not-found,import-untyped"
"""A peer that tells what Nova's classes are: versions, fields in the order of the wire, and enumerations."""

from __future__ import annotations

from typing import Any

from nova import objects
from nova.notifications.objects import exception, flavor, instance
from nova.objects import fields as nova_fields
from oslo_versionedobjects import fields

from tests.interop.speech import tell

__all__ = ["main"]

_CLASSES = (
    instance.InstancePayload,
    instance.InstanceActionPayload,
    instance.InstanceActionVolumeSwapPayload,
    flavor.FlavorPayload,
    exception.ExceptionPayload,
    instance.IpPayload,
    instance.BlockDevicePayload,
    instance.SharePayload,
)


def _kind(field: Any) -> str:
    """Return what a field holds, in plain words; the class of anything that has no such word."""
    kind = field._type if isinstance(field, fields.Field) else field
    if isinstance(kind, fields.Enum):
        return "enumeration"
    if isinstance(kind, fields.List | fields.Dict):
        return f"{type(kind).__name__.lower()} of {_kind(kind._element_type)}"
    if isinstance(kind, fields.Object):
        return str(kind._obj_name)
    return type(kind).__name__


def _values(field: Any) -> list[str] | None:
    return list(field._type.valid_values) if isinstance(field._type, fields.Enum) else None


def _describe(payload: Any) -> dict[str, Any]:
    described = [
        {"name": name, "kind": _kind(field), "nullable": field.nullable, "values": _values(field)}
        for name, field in payload.fields.items()
    ]
    return {"version": payload.VERSION, "fields": described}


def main() -> None:
    """Tell of every class that a notification of a swap holds."""
    objects.register_all()
    told = {
        "classes": {payload.__name__: _describe(payload) for payload in _CLASSES},
        "share_statuses": list(nova_fields.ShareMappingStatus.ALL),
        "action": nova_fields.NotificationAction.VOLUME_SWAP,
        "phases": list(nova_fields.NotificationPhase.ALL),
        "priorities": list(nova_fields.NotificationPriority.ALL),
        "source": nova_fields.NotificationSource.COMPUTE,
    }
    tell("ready", told)


if __name__ == "__main__":
    main()
