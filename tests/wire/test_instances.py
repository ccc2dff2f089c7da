from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import MappingProxyType, SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from aioswap.context import RequestContext
from aioswap.wire.envelope import decode
from aioswap.wire.instances import swap_payload
from aioswap.wire.payloads import (
    BlockDevicePayload,
    ExceptionPayload,
    FlavorPayload,
    InstanceActionVolumeSwapPayload,
    InstancePayload,
    IpPayload,
)
from tests.capture import capture, captures

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FAULT = ExceptionPayload(module_name="m", function_name="f", exception="E", exception_message="no", traceback="")

NOVA_INSTANCE: dict[str, Any] = {
    "uuid": "i-1", "user_id": "u", "project_id": "p", "reservation_id": "r", "display_name": "n", "display_description": "d",
    "hostname": "guest", "host": "compute-1", "node": "node-1", "os_type": "linux", "architecture": "x86_64",
    "availability_zone": "nova", "image_ref": "img", "key_name": "k", "kernel_id": "kernel", "ramdisk_id": "ramdisk",
    "created_at": NOW, "launched_at": NOW.replace(tzinfo=None), "terminated_at": None, "deleted_at": None, "updated_at": NOW,
    "vm_state": "active", "power_state": 1, "task_state": "migrating", "progress": 50, "metadata": {"a": "b"}, "locked": True,
    "locked_reason": "why", "auto_disk_config": True,
    "flavor": {
        "flavorid": "42", "memory_mb": 512, "vcpus": 2, "root_gb": 1, "ephemeral_gb": 0, "name": "m1", "swap": 0,
        "rxtx_factor": 1, "vcpu_weight": None, "disabled": False, "is_public": True, "extra_specs": {"x": 1},
        "projects": ["p"], "description": None,
    },
}  # fmt: skip


def as_object(values: dict[str, Any]) -> object:
    return SimpleNamespace(**{**values, "flavor": SimpleNamespace(**values["flavor"])})


@pytest.mark.parametrize("made", [dict, MappingProxyType, as_object])
def test_novas_names_are_found(made: Callable[[dict[str, Any]], object]) -> None:
    payload = swap_payload(made(NOVA_INSTANCE), "old", "new")

    assert ("old", "new", "i-1", "u", "p") == (
        payload.old_volume_id,
        payload.new_volume_id,
        payload.uuid,
        payload.user_id,
        payload.tenant_id,
    )
    assert ("guest", "active", "img", "compute-1") == (payload.host_name, payload.state, payload.image_uuid, payload.host)
    assert ("running", "AUTO", True, "why", {"a": "b"}) == (
        payload.power_state,
        payload.auto_disk_config,
        payload.locked,
        payload.locked_reason,
        payload.metadata,
    )
    assert (2, {"x": "1"}, ["p"]) == (payload.flavor.vcpus, payload.flavor.extra_specs, payload.flavor.projects)
    assert NOW == payload.created_at == payload.launched_at
    assert "1.9" == payload.object_version


def test_a_payloads_names_are_found_after_novas() -> None:
    names = {"host_name": "guest", "tenant_id": "p", "state": "active", "image_uuid": "img"}
    payload = swap_payload({"uuid": "i", **names, "hostname": "first"}, "old", "new")

    assert ("first", "p", "active", "img") == (payload.host_name, payload.tenant_id, payload.state, payload.image_uuid)
    assert swap_payload({"uuid": "i", "host_name": "guest", "hostname": None}, "old", "new").host_name is None


def test_only_the_uuid_is_required() -> None:
    wire = swap_payload({"uuid": UUID(int=1)}, "old", "new").to_wire()["nova_object.data"]
    given = {"uuid": "00000000-0000-0000-0000-000000000001", "old_volume_id": "old", "new_volume_id": "new"}
    defaults = {"kernel_id": "", "ramdisk_id": "", "progress": 0, "metadata": {}, "locked": False, "auto_disk_config": "MANUAL"}
    flavor = {"name": "", "swap": 0, "disabled": False, "is_public": True}

    assert given | defaults | {"ip_addresses": []} == {k: v for k, v in wire.items() if v is not None and k != "flavor"}
    assert 39 == len(wire)
    assert flavor == {k: v for k, v in wire["flavor"]["nova_object.data"].items() if v is not None}
    assert 14 == len(wire["flavor"]["nova_object.data"])


def test_none_is_null_or_the_default_where_there_is_no_null() -> None:
    nothing = dict.fromkeys(NOVA_INSTANCE) | {"uuid": "i"}
    payload = swap_payload(nothing, "old", "new")

    assert payload.kernel_id is None
    assert payload.progress is None
    assert {} == payload.metadata
    assert payload.locked is False
    assert "MANUAL" == payload.auto_disk_config
    assert "" == payload.flavor.name


@pytest.mark.parametrize("sample", captures("instance.volume_swap."), ids=lambda sample: sample.name)
def test_a_payload_gives_what_it_has(sample: Any) -> None:
    read = decode(sample.body).payload
    payload = swap_payload(read, read.old_volume_id, read.new_volume_id, fault=read.fault)

    assert read.at_version("1.9").model_dump() == payload.model_dump()
    assert {} == payload.model_extra


def test_the_context_tells_who_asked() -> None:
    read = decode(capture("nova34-v2-default__instance.volume_swap.end").body).payload
    context = RequestContext(user_id="me", project_id="us")
    payload = swap_payload(read, "old", "new", context=context)

    assert (context.request_id, "me", "us") == (
        payload.request_id,
        payload.action_initiator_user,
        payload.action_initiator_project,
    )
    assert swap_payload(read, "old", "new", context=RequestContext(user_id="me")).request_id is None
    assert read.request_id == swap_payload(read, "old", "new").request_id


def test_nobody_asked_where_no_context_is_known() -> None:
    payload = swap_payload({"uuid": "i", "request_id": "req", "action_initiator_user": "u"}, "old", "new")

    assert payload.request_id is None
    assert payload.action_initiator_user is None


def test_lists_of_objects_are_taken() -> None:
    ip = {"label": "private", "mac": "fa:16:3e:00:00:00", "version": 4, "address": "10.0.0.1"}
    disk = SimpleNamespace(volume_id="v", boot_index=0)
    share = {"share_mapping_uuid": "a", "share_id": "b", "status": "inactive"}
    whole = IpPayload(**ip, meta={}, port_uuid=None, device_name=None)  # type: ignore[arg-type]
    instance = {"uuid": "i", "ip_addresses": (ip, whole), "block_devices": [disk], "shares": [share]}
    payload = swap_payload(instance, "old", "new")

    assert [whole, whole] == payload.ip_addresses
    assert payload.ip_addresses[1] is whole
    assert [BlockDevicePayload(volume_id="v", boot_index=0, device_name=None, delete_on_termination=False, tag=None)] == (
        payload.block_devices
    )
    assert payload.shares is not None
    assert "" == payload.shares[0].tag


def test_the_fault_is_told() -> None:
    assert FAULT == swap_payload({"uuid": "i"}, "old", "new", fault=FAULT).fault


@pytest.mark.parametrize("version", [f"1.{minor}" for minor in range(10)])
def test_every_version_can_be_made(version: str) -> None:
    payload = swap_payload(NOVA_INSTANCE, "old", "new", fault=FAULT, version=version)
    whole = swap_payload(NOVA_INSTANCE, "old", "new", fault=FAULT)

    assert version == payload.object_version
    assert whole.at_version(version) == payload


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"version '2\.0'"):
        swap_payload({"uuid": "i"}, "old", "new", version="2.0")


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"uuid": None}, ValueError, "instance.uuid: is missing"),
        ({"uuid": ""}, ValueError, "instance.uuid: is empty"),
        ({"uuid": b"i"}, TypeError, "instance.uuid: should be text, got bytes"),
        ({"hostname": []}, TypeError, "instance.hostname: should be text, got list"),
        ({"progress": "half"}, ValueError, "instance.progress: should be a whole number"),
        ({"power_state": 9}, ValueError, "instance.power_state: Nova has no power state"),
        ({"created_at": 5}, TypeError, "instance.created_at: should be a datetime, got int"),
        ({"metadata": "a"}, TypeError, "instance.metadata: should be a mapping of texts, got str"),
        ({"locked": "no"}, TypeError, "instance.locked: should be true or false, got str"),
        ({"flavor": "m1.small"}, TypeError, "instance.flavor: should be a payload, a mapping or an object"),
        ({"flavor": {"vcpus": []}}, TypeError, "instance.flavor.vcpus: should be a whole number, got list"),
        ({"ip_addresses": "10.0.0.1"}, TypeError, "instance.ip_addresses: should be a list, got str"),
        ({"ip_addresses": ["10.0.0.1"]}, TypeError, "instance.ip_addresses.0: should be a payload"),
        ({"ip_addresses": [{}]}, ValueError, "instance.ip_addresses.0.mac: is missing"),
        ({"block_devices": [{"volume_id": None}]}, ValueError, "instance.block_devices.0.volume_id: is missing"),
    ],
)
def test_a_wrong_value_names_its_field(changes: dict[str, Any], error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        swap_payload(NOVA_INSTANCE | changes, "old", "new")


@pytest.mark.parametrize("instance", [None, "i-1", b"bytes", 5, 1.5, ["i"], ("i",), {"i"}])
def test_what_is_no_instance_is_refused(instance: object) -> None:
    with pytest.raises(TypeError, match="instance: should be a payload, a mapping or an object with attributes"):
        swap_payload(instance, "old", "new")


@pytest.mark.parametrize(
    ("old", "new", "reason"), [("", "b", "swap.old_volume_id: is empty"), ("a", None, "swap.new_volume_id: is missing")]
)
def test_both_volumes_are_required(old: str, new: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        swap_payload({"uuid": "i"}, old, new)


def test_attributes_that_cannot_be_had_are_absent() -> None:
    class Lazy:
        uuid = "i"

        @property
        def hostname(self) -> str:
            raise AttributeError("no such attribute")

        host_name = "second"

        @property
        def flavor(self) -> object:
            raise NotImplementedError("Cannot load 'flavor' in the base class")

    payload = swap_payload(Lazy(), "old", "new")

    assert "second" == payload.host_name
    assert "" == payload.flavor.name


def test_what_else_an_attribute_raises_is_not_hidden() -> None:
    class Broken:
        uuid = "i"

        @property
        def hostname(self) -> str:
            raise OSError("the database is away")

    with pytest.raises(OSError, match="database"):
        swap_payload(Broken(), "old", "new")


def test_an_object_that_has_every_attribute_is_looked_at_once_for_each_name() -> None:
    class Endless:
        looks = 0

        def __getattr__(self, name: str) -> Any:
            Endless.looks += 1
            return self

    with pytest.raises(TypeError, match=r"instance\.uuid: should be text, got Endless"):
        swap_payload(Endless(), "old", "new")
    assert 1 == Endless.looks


def test_a_generic_payload_is_an_object_too() -> None:
    read = decode(capture("nova34-others__instance.delete.end").body).payload
    payload = swap_payload(read, "old", "new")

    assert read.host_name == payload.host_name
    assert read.flavor.vcpus == payload.flavor.vcpus
    assert type(payload.flavor) is FlavorPayload
    assert isinstance(payload, InstancePayload)
    assert type(payload) is InstanceActionVolumeSwapPayload
