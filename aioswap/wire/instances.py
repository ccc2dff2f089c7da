"""The payload of a swap from whatever a service has for an instance: a payload, a mapping, or any object.

Nova's own names come first (`hostname`, `project_id`, ...), the payload's names second. Sources: nova
`notifications/objects/instance.py` `InstancePayload.SCHEMA`, `objects/fields.py` for the enumerations; oslo.versionedobjects
`fields.py` for which values are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from aioswap.context import RequestContext
from aioswap.wire import coercion
from aioswap.wire.objects import VersionedObject
from aioswap.wire.payloads import (
    BlockDevicePayload,
    ExceptionPayload,
    FlavorPayload,
    InstanceActionPayload,
    InstanceActionVolumeSwapPayload,
    InstancePayload,
    IpPayload,
    SharePayload,
)

__all__ = ["swap_payload"]

_ABSENT: Final = object()


class _Field(NamedTuple):
    """How a field is found, and what becomes of its value."""

    convert: Callable[[Any, str], Any]
    """Takes a value that is not None, and its path for errors."""
    exact: type[Any] | None = None
    """Values of just this class stay as they are: `convert` is not asked."""
    source: str | None = None
    """Nova's own name, where it is another one."""
    default: Callable[[], Any] | None = None
    """Makes the value where there is none; without it that is None, or an error."""
    nullable: bool = True
    """Or else None is as good as absent."""


def swap_payload(
    instance: object,
    old_volume_id: str,
    new_volume_id: str,
    *,
    context: RequestContext | None = None,
    fault: ExceptionPayload | None = None,
    version: str = "1.9",
) -> InstanceActionVolumeSwapPayload:
    """Return the payload of one phase of a swap.

    Args:
        instance: an `InstancePayload`, a mapping, or an object with attributes. Only `uuid` is required; what is absent is
            null, or Nova's default. An attribute is absent if it raises AttributeError, or NotImplementedError (a field of a
            versioned object that is not loaded).
        old_volume_id: the volume that the instance has.
        new_volume_id: the volume that takes its place.
        context: who asked; None: what `instance` says if it is a payload, else nobody.
        fault: why the swap failed.
        version: of the payload, 1.0 to 1.9.

    Raises:
        TypeError: a value is of a type that its field cannot take; the text names the field.
        ValueError: `uuid` is missing, a value cannot be read (the text names the field), or there is no such version.
    """
    values: dict[str, Any] = _EMPTY_PAYLOAD.copy()
    if type(instance) in _PAYLOADS:
        values |= instance.__dict__
        for name in _MOMENTS:
            if values[name] is not None:
                values[name] = coercion.moment(values[name], name)
    else:
        values |= _told(instance, _INSTANCE, "instance")
    for name, volume_id in (("old_volume_id", old_volume_id), ("new_volume_id", new_volume_id)):
        if volume_id is None:
            raise ValueError(f"swap.{name}: is missing")
        values[name] = coercion.identifier(volume_id, f"swap.{name}")
    values["fault"] = fault
    if context is not None:
        values["request_id"] = context.shown_request_id
        values["action_initiator_user"] = context.user_id
        values["action_initiator_project"] = context.project_id
    elif isinstance(instance, InstancePayload):
        for name in ("request_id", "action_initiator_user", "action_initiator_project"):
            values[name] = getattr(instance, name)
    return InstanceActionVolumeSwapPayload.made_of(values).at_version(version)


def _told(source: object, fields: Mapping[str, _Field], path: str) -> dict[str, Any]:
    """Return the values that `source` has for `fields`, with one look at each name.

    Raises:
        TypeError: see `swap_payload`; the text begins with the path.
        ValueError: likewise.
    """
    read = _reader(source, path)
    values: dict[str, Any] = {}
    for name, (convert, exact, nova_name, default, nullable) in fields.items():
        found, value = name, _ABSENT
        if nova_name is not None:
            found, value = nova_name, read(nova_name, _ABSENT)
        if value is _ABSENT:
            found, value = name, read(name, _ABSENT)
        if value is not None and value is not _ABSENT:
            values[name] = value if type(value) is exact else convert(value, f"{path}.{found}")
        elif default is not None and not (value is None and nullable):
            values[name] = default()
        elif nullable:
            values[name] = None
        else:
            raise ValueError(f"{path}.{name}: is missing")
    return values


def _reader(source: object, path: str) -> Callable[[str, object], Any]:
    """Return what looks a name up in `source`, as `dict.get` does."""
    if isinstance(source, Mapping):
        return source.get
    if source is None or isinstance(source, str | bytes | int | float | list | tuple | set):
        raise coercion.wrong(source, path, "a payload, a mapping or an object with attributes")

    def read(name: str, absent: object) -> Any:
        try:
            return getattr(source, name, absent)
        except NotImplementedError:
            return absent

    return read


def _object(kind: type[VersionedObject], fields: Mapping[str, _Field], value: Any, path: str) -> VersionedObject:
    return value if isinstance(value, kind) else kind.made_of(_told(value, fields, path))


def _objects(kind: type[VersionedObject], fields: Mapping[str, _Field]) -> Callable[[Any, str], Any]:
    return partial(coercion.list_of, partial(_object, kind, fields))


_ID: Final = _Field(coercion.identifier, nullable=False)
_TEXT: Final = _Field(coercion.text, str)
_EMPTY: Final = _TEXT._replace(default=str)
_INTEGER: Final = _Field(coercion.integer, int)
_ZERO: Final = _INTEGER._replace(default=int)
_FLAG: Final = _Field(coercion.flag, bool, default=bool, nullable=False)
_MOMENT: Final = _Field(coercion.moment)
_TEXTS: Final = _Field(coercion.texts, default=dict, nullable=False)

_EMPTY_PAYLOAD: Final[dict[str, None]] = dict.fromkeys(InstanceActionVolumeSwapPayload.model_fields)
_PAYLOADS: Final = frozenset({InstancePayload, InstanceActionPayload, InstanceActionVolumeSwapPayload})
"""Classes whose objects hold nothing that has to be converted, but for times of an odd form."""
_MOMENTS: Final = ("created_at", "launched_at", "terminated_at", "deleted_at", "updated_at")
_FLAVOR: Final = {
    "flavorid": _TEXT,
    "memory_mb": _INTEGER,
    "vcpus": _INTEGER,
    "root_gb": _INTEGER,
    "ephemeral_gb": _INTEGER,
    "name": _EMPTY._replace(nullable=False),
    "swap": _ZERO._replace(nullable=False),
    "rxtx_factor": _Field(coercion.number, float),
    "vcpu_weight": _INTEGER,
    "disabled": _FLAG,
    "is_public": _FLAG._replace(default=lambda: True),
    "extra_specs": _Field(coercion.texts),
    "projects": _Field(partial(coercion.list_of, coercion.text)),
    "description": _TEXT,
}
_IP: Final = {
    "label": _EMPTY._replace(nullable=False),
    "mac": _ID,
    "meta": _TEXTS,
    "port_uuid": _TEXT,
    "version": _INTEGER._replace(nullable=False),
    "address": _ID,
    "device_name": _TEXT,
}
_BLOCK_DEVICE: Final = {
    "device_name": _TEXT,
    "boot_index": _INTEGER,
    "delete_on_termination": _FLAG,
    "volume_id": _ID,
    "tag": _TEXT,
}
_SHARE: Final = {"share_mapping_uuid": _ID, "share_id": _ID, "status": _ID, "tag": _EMPTY._replace(nullable=False)}
_INSTANCE: Final = {
    "uuid": _ID,
    "user_id": _TEXT,
    "tenant_id": _TEXT._replace(source="project_id"),
    "reservation_id": _TEXT,
    "display_name": _TEXT,
    "display_description": _TEXT,
    "host_name": _TEXT._replace(source="hostname"),
    "host": _TEXT,
    "node": _TEXT,
    "os_type": _TEXT,
    "architecture": _TEXT,
    "availability_zone": _TEXT,
    "flavor": _Field(
        partial(_object, FlavorPayload, _FLAVOR), default=lambda: _object(FlavorPayload, _FLAVOR, {}, ""), nullable=False
    ),
    "image_uuid": _TEXT._replace(source="image_ref"),
    "key_name": _TEXT,
    "kernel_id": _EMPTY,
    "ramdisk_id": _EMPTY,
    "created_at": _MOMENT,
    "launched_at": _MOMENT,
    "terminated_at": _MOMENT,
    "deleted_at": _MOMENT,
    "updated_at": _MOMENT,
    "state": _TEXT._replace(source="vm_state"),
    "power_state": _Field(coercion.power_state, str),
    "task_state": _TEXT,
    "progress": _ZERO,
    "ip_addresses": _Field(_objects(IpPayload, _IP), default=list, nullable=False),
    "block_devices": _Field(_objects(BlockDevicePayload, _BLOCK_DEVICE)),
    "metadata": _TEXTS,
    "locked": _FLAG,
    "auto_disk_config": _Field(coercion.disk_config, str, default=lambda: "MANUAL", nullable=False),
    "locked_reason": _TEXT,
    "shares": _Field(_objects(SharePayload, _SHARE)),
}
