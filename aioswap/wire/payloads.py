"""Nova's payloads: classes, names and fields as Nova's, in the order of the wire.

A field without a version stands in every version since 1.0 and must be there; a newer one may be absent, and its attribute
is then None or the default. Identifiers and enumerations are text as it came: Nova validates neither, and newer novas add
values. Source: nova `notifications/objects/instance.py`, `flavor.py`, `exception.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Final, Self, TypeAlias

from pydantic import FailFast

from aioswap.wire.objects import NestedSchema, VersionedObject, since
from aioswap.wire.times import MomentSchema

__all__ = [
    "BlockDevicePayload",
    "ExceptionPayload",
    "FlavorPayload",
    "InstanceActionPayload",
    "InstanceActionVolumeSwapPayload",
    "InstancePayload",
    "IpPayload",
    "NestedVolumeSwap",
    "SharePayload",
    "VersionedObject",
]

_Moment: TypeAlias = Annotated[datetime, MomentSchema()]

_FLAVORS: Final = ("1.0", "1.2", "1.3", "1.3", "1.3", "1.4", "1.4", "1.4", "1.4", "1.4")
_FAULTS: Final = ("1.0",) * 6 + ("1.1",) * 4
_VERSIONS: Final = tuple(f"1.{minor}" for minor in range(10))


class FlavorPayload(VersionedObject):
    """The flavor of an instance. Version 1.4."""

    known_versions: ClassVar[tuple[str, ...]] = ("1.0", "1.1", "1.2", "1.3", "1.4")

    flavorid: str | None
    """The flavor's id as users know it."""
    memory_mb: int | None
    """MiB."""
    vcpus: int | None
    root_gb: int | None
    """GiB."""
    ephemeral_gb: int | None
    """GiB."""
    name: str = since("1.1", "15.0.0", "")
    swap: int = since("1.1", "15.0.0", 0)
    """MiB of swap space; nothing to do with volume swaps."""
    rxtx_factor: int | float | None = since("1.1", "15.0.0")
    vcpu_weight: int | None = since("1.1", "15.0.0")
    disabled: bool = since("1.1", "15.0.0", False)
    is_public: bool = since("1.1", "15.0.0", True)
    extra_specs: dict[str, str] | None = since("1.2", "15.0.0")
    """Null since 1.3 only."""
    projects: Annotated[list[str] | None, FailFast()] = since("1.2", "15.0.0")
    """Null since 1.3 only; always null for an instance's flavor there."""
    description: str | None = since("1.4", "17.0.0")

    def at_version(self, version: str) -> Self:
        """Return this flavor as `version` writes it: see `VersionedObject.at_version`. Nothing is null before 1.3."""
        pinned = super().at_version(version)
        if version != "1.2":
            return pinned
        return pinned.model_copy(update={"extra_specs": pinned.extra_specs or {}, "projects": pinned.projects or []})


class ExceptionPayload(VersionedObject):
    """A fault: what was raised, and where. Version 1.1. Nova does not mask it: it may hold secrets and paths."""

    known_versions: ClassVar[tuple[str, ...]] = ("1.0", "1.1")

    module_name: str
    """Where it was raised; `unknown` where Nova could not tell."""
    function_name: str
    exception: str
    """The exception's class name."""
    exception_message: str
    traceback: str = since("1.1", "18.0.0", "")
    """Lines of Python's traceback; newer novas glue them by commas."""


class IpPayload(VersionedObject):
    """One fixed address of an instance. Version 1.0."""

    known_versions: ClassVar[tuple[str, ...]] = ("1.0",)

    label: str
    """The network's name."""
    mac: str
    meta: dict[str, str]
    port_uuid: str | None
    version: int
    """4 or 6."""
    address: str
    device_name: str | None


class BlockDevicePayload(VersionedObject):
    """One volume of an instance. Version 1.0, in nova since 16."""

    known_versions: ClassVar[tuple[str, ...]] = ("1.0",)

    device_name: str | None
    boot_index: int | None
    delete_on_termination: bool
    volume_id: str
    tag: str | None


class SharePayload(VersionedObject):
    """One share of an instance. Version 1.0, in nova since 31."""

    known_versions: ClassVar[tuple[str, ...]] = ("1.0",)

    share_mapping_uuid: str
    share_id: str
    status: str
    """Seen: attaching, detaching, active, inactive, error."""
    tag: str


_Flavor: TypeAlias = Annotated[FlavorPayload, NestedSchema()]
_Fault: TypeAlias = Annotated[ExceptionPayload, NestedSchema()]
_Ip: TypeAlias = Annotated[IpPayload, NestedSchema()]
_BlockDevice: TypeAlias = Annotated[BlockDevicePayload, NestedSchema()]
_Share: TypeAlias = Annotated[SharePayload, NestedSchema()]


class InstancePayload(VersionedObject):
    """An instance. Version 1.9."""

    known_versions: ClassVar[tuple[str, ...]] = _VERSIONS
    nested_versions: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "flavor": dict(zip(_VERSIONS, _FLAVORS, strict=True)),
        "fault": dict(zip(_VERSIONS, _FAULTS, strict=True)),
    }

    uuid: str
    user_id: str | None
    tenant_id: str | None
    """The project's id."""
    reservation_id: str | None
    display_name: str | None
    display_description: str | None = since("1.1", "15.0.0")
    host_name: str | None
    """The guest's host name; `host` is the hypervisor's."""
    host: str | None
    node: str | None
    os_type: str | None
    architecture: str | None
    availability_zone: str | None
    flavor: _Flavor
    image_uuid: str | None
    """May be empty for an instance that boots from a volume."""
    key_name: str | None = since("1.3", "16.0.0")
    kernel_id: str | None
    """Usually empty."""
    ramdisk_id: str | None
    """Usually empty."""
    created_at: _Moment | None
    launched_at: _Moment | None
    terminated_at: _Moment | None
    deleted_at: _Moment | None
    updated_at: _Moment | None = since("1.5", "16.0.0")
    state: str | None
    """Nova's vm_state. Seen: active, building, paused, suspended, stopped, rescued, resized, soft-delete, deleted, error,
    shelved, shelved_offloaded."""
    power_state: str | None
    """Seen: pending, running, paused, shutdown, crashed, suspended, _unused."""
    task_state: str | None
    progress: int | None
    """Percent."""
    ip_addresses: list[_Ip]
    """One for each fixed address."""
    block_devices: list[_BlockDevice] | None = since("1.4", "16.0.0")
    """Null unless Nova is told to send them (`bdms_in_notifications`)."""
    metadata: dict[str, str]
    locked: bool = since("1.1", "15.0.0", False)
    auto_disk_config: str = since("1.2", "16.0.0", "MANUAL")
    """MANUAL or AUTO."""
    request_id: str | None = since("1.6", "18.0.0")
    """The request that led here; null where the user or the project is not known."""
    action_initiator_user: str | None = since("1.7", "18.0.0")
    action_initiator_project: str | None = since("1.7", "18.0.0")
    locked_reason: str | None = since("1.8", "20.0.0")
    shares: list[_Share] | None = since("1.9", "31.0.0")
    """Null unless Nova is told to send them (`include_share_mapping`)."""


# On the wire a class's own fields come before its parent's; pydantic puts the parent's first. So the own fields of the two
# classes below are in bases that come last in the order of resolution, which pydantic reads from its end.


class _ActionFields(VersionedObject):
    fault: _Fault | None
    """Why the action failed; null but in `.error`."""
    request_id: str | None = since("1.6", "18.0.0")
    """The request that led here; null where the user or the project is not known."""


class InstanceActionPayload(InstancePayload, _ActionFields):
    """An action on an instance, or the end of it. Version 1.9."""


class _VolumeSwapFields(VersionedObject):
    old_volume_id: str
    new_volume_id: str
    """In a migration by Cinder it is temporary: Cinder gives the new volume the old id afterwards."""


class InstanceActionVolumeSwapPayload(InstanceActionPayload, _VolumeSwapFields):
    """A swap of a volume of an instance, at one of its phases. Version 1.9."""


NestedVolumeSwap: TypeAlias = Annotated[InstanceActionVolumeSwapPayload, NestedSchema()]
"""As a message holds it: with its wrapper."""
