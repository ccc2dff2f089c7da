"""The fields of Nova's payloads, as printed from Nova's own classes: order, type, nullability, first version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from aioswap.wire.objects import field_since
from aioswap.wire.payloads import (
    BlockDevicePayload,
    ExceptionPayload,
    FlavorPayload,
    InstanceActionPayload,
    InstanceActionVolumeSwapPayload,
    InstancePayload,
    IpPayload,
    SharePayload,
    VersionedObject,
)

SWAP = """
old_volume_id str 1.0; new_volume_id str 1.0; fault ExceptionPayload? 1.0; request_id str? 1.6
"""
INSTANCE = """
uuid str 1.0; user_id str? 1.0; tenant_id str? 1.0; reservation_id str? 1.0; display_name str? 1.0
display_description str? 1.1; host_name str? 1.0; host str? 1.0; node str? 1.0; os_type str? 1.0; architecture str? 1.0
availability_zone str? 1.0; flavor FlavorPayload 1.0; image_uuid str? 1.0; key_name str? 1.3; kernel_id str? 1.0
ramdisk_id str? 1.0; created_at datetime? 1.0; launched_at datetime? 1.0; terminated_at datetime? 1.0; deleted_at datetime? 1.0
updated_at datetime? 1.5; state str? 1.0; power_state str? 1.0; task_state str? 1.0; progress int? 1.0
ip_addresses list[IpPayload] 1.0; block_devices list[BlockDevicePayload]? 1.4; metadata dict[str,str] 1.0; locked bool 1.1
auto_disk_config str 1.2; action_initiator_user str? 1.7; action_initiator_project str? 1.7; locked_reason str? 1.8
shares list[SharePayload]? 1.9
"""
FLAVOR = """
flavorid str? 1.0; memory_mb int? 1.0; vcpus int? 1.0; root_gb int? 1.0; ephemeral_gb int? 1.0; name str 1.1; swap int 1.1
rxtx_factor int|float? 1.1; vcpu_weight int? 1.1; disabled bool 1.1; is_public bool 1.1; extra_specs dict[str,str]? 1.2
projects list[str]? 1.2; description str? 1.4
"""
FAULT = "module_name str 1.0; function_name str 1.0; exception str 1.0; exception_message str 1.0; traceback str 1.1"
IP = """
label str 1.0; mac str 1.0; meta dict[str,str] 1.0; port_uuid str? 1.0; version int 1.0; address str 1.0; device_name str? 1.0
"""
BLOCK_DEVICE = "device_name str? 1.0; boot_index int? 1.0; delete_on_termination bool 1.0; volume_id str 1.0; tag str? 1.0"
SHARE = "share_mapping_uuid str 1.0; share_id str 1.0; status str 1.0; tag str 1.0"

TABLES = {
    InstanceActionVolumeSwapPayload: SWAP + INSTANCE,
    FlavorPayload: FLAVOR,
    ExceptionPayload: FAULT,
    IpPayload: IP,
    BlockDevicePayload: BLOCK_DEVICE,
    SharePayload: SHARE,
}
NEWER_THAN_1_0 = [
    ("1.0", {"display_description", "locked"}),
    ("1.1", {"auto_disk_config"}),
    ("1.2", {"key_name"}),
    ("1.3", {"block_devices"}),
    ("1.4", {"updated_at"}),
    ("1.5", {"request_id"}),
    ("1.6", {"action_initiator_user", "action_initiator_project"}),
    ("1.7", {"locked_reason"}),
    ("1.8", {"shares"}),
    ("1.9", set()),
]
PINS = {
    "1.0": ("1.0", "1.0"),
    "1.1": ("1.2", "1.0"),
    "1.2": ("1.3", "1.0"),
    "1.3": ("1.3", "1.0"),
    "1.4": ("1.3", "1.0"),
    "1.5": ("1.4", "1.0"),
    "1.6": ("1.4", "1.1"),
    "1.7": ("1.4", "1.1"),
    "1.8": ("1.4", "1.1"),
    "1.9": ("1.4", "1.1"),
}


def rows(table: str) -> list[tuple[str, str, str]]:
    told = (row.split() for row in table.replace("\n", ";").split(";") if row.strip())
    return [(name, kind, since) for name, kind, since in told]


def spelled(annotation: Any) -> str:
    """Spell a type as the tables do."""
    arguments = [argument for argument in get_args(annotation) if isinstance(argument, type) or get_args(argument)]
    if type(None) in arguments:
        return "|".join(spelled(argument) for argument in arguments if argument is not type(None)) + "?"
    if hasattr(annotation, "__metadata__"):
        return spelled(annotation.__origin__)
    if arguments:
        return f"{annotation.__origin__.__name__}[{','.join(spelled(argument) for argument in arguments)}]"
    return str(annotation.__name__)


@pytest.mark.parametrize(("payload", "table"), TABLES.items(), ids=lambda item: getattr(item, "__name__", ""))
def test_fields_stand_in_the_order_of_the_wire_with_their_type_and_version(payload: type[VersionedObject], table: str) -> None:
    fields = payload.model_fields

    assert rows(table) == [(name, spelled(field.annotation), field_since(field)) for name, field in fields.items()]
    assert {name for name, _, since in rows(table) if since == "1.0"} == {
        n for n, field in fields.items() if field.is_required()
    }


def test_a_swap_has_39_fields() -> None:
    assert 39 == len(InstanceActionVolumeSwapPayload.model_fields)


def test_the_classes_inherit_as_novas_do() -> None:
    own = [name for name, _, _ in rows(SWAP)]
    inherited = [name for name, _, _ in rows(INSTANCE)]

    assert issubclass(InstanceActionVolumeSwapPayload, InstanceActionPayload)
    assert issubclass(InstanceActionPayload, InstancePayload)
    assert own[2:] + inherited == list(InstanceActionPayload.model_fields)
    assert [*inherited[:31], "request_id", *inherited[31:]] == list(InstancePayload.model_fields)


def full_swap() -> InstanceActionVolumeSwapPayload:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    texts = {name: name for name, kind, _ in rows(SWAP + INSTANCE) if kind in ("str", "str?")}
    return InstanceActionVolumeSwapPayload(
        **texts,
        fault=ExceptionPayload(
            module_name="m", function_name="f", exception="E", exception_message="no", traceback="Traceback"
        ),
        flavor=FlavorPayload(
            flavorid="f", memory_mb=1, vcpus=2, root_gb=3, ephemeral_gb=4, name="n", swap=5, rxtx_factor=1.0, vcpu_weight=6,
            disabled=True, is_public=False, extra_specs={"a": "b"}, projects=["p"], description="d",
        ),
        created_at=moment, launched_at=moment, terminated_at=None, deleted_at=None, updated_at=moment, progress=1,
        ip_addresses=[
            IpPayload(label="l", mac="m", meta={}, port_uuid=None, version=4, address="10.0.0.1", device_name=None)
        ],
        block_devices=[
            BlockDevicePayload(device_name=None, boot_index=None, delete_on_termination=False, volume_id="v", tag=None)
        ],
        metadata={"a": "b"}, locked=True,
        shares=[SharePayload(share_mapping_uuid="a", share_id="b", status="inactive", tag="c")],
    )  # fmt: skip


@pytest.mark.parametrize(("version", "dropped"), NEWER_THAN_1_0)
def test_a_version_has_its_own_fields_and_no_newer_ones(version: str, dropped: set[str]) -> None:
    newer = dropped.union(*(more for later, more in NEWER_THAN_1_0 if later > version))
    wire = full_swap().at_version(version).to_wire()

    assert version == wire["nova_object.version"]
    assert [name for name, _, _ in rows(SWAP + INSTANCE) if name not in newer] == list(wire["nova_object.data"])


@pytest.mark.parametrize("version", PINS)
def test_the_objects_inside_follow(version: str) -> None:
    pinned = full_swap().at_version(version)
    flavor, fault = PINS[version]
    flavor_wire, fault_wire = pinned.flavor.to_wire(), pinned.fault.to_wire() if pinned.fault else {}

    assert flavor == pinned.flavor.object_version
    assert flavor == flavor_wire["nova_object.version"]
    assert [name for name, _, since in rows(FLAVOR) if since <= flavor] == list(flavor_wire["nova_object.data"])
    assert fault == fault_wire["nova_object.version"]
    assert [name for name, _, since in rows(FAULT) if since <= fault] == list(fault_wire["nova_object.data"])
    assert ["1.0"] == [ip.object_version for ip in pinned.ip_addresses]


@pytest.mark.parametrize("version", PINS)
def test_a_version_is_a_fixed_point(version: str) -> None:
    pinned = full_swap().at_version(version)

    assert pinned is not full_swap().at_version(version)
    assert pinned == full_swap().at_version(version)
    assert pinned is pinned.at_version(version) or version != "1.9"
    assert pinned == pinned.at_version(version)


def test_the_newest_version_of_what_was_made_here_is_the_same_object() -> None:
    swap = full_swap()

    assert swap is swap.at_version("1.9")


@pytest.mark.parametrize("version", PINS)
def test_dropped_fields_have_their_defaults_again(version: str) -> None:
    back = full_swap().at_version(version).at_version("1.9")

    assert "1.9" == back.object_version
    assert [name for name, _, _ in rows(SWAP + INSTANCE)] == list(back.to_wire()["nova_object.data"])
    assert (version >= "1.1") is back.locked
    assert ("auto_disk_config" if version >= "1.2" else "MANUAL") == back.auto_disk_config
    assert (back.shares is not None) is (version >= "1.9")
    assert "1.4" == back.flavor.object_version


def test_a_flavor_has_no_nulls_before_1_3() -> None:
    flavor = full_swap().flavor.model_copy(update={"extra_specs": None, "projects": None})

    assert {} == flavor.at_version("1.2").extra_specs
    assert [] == flavor.at_version("1.2").projects
    assert flavor.at_version("1.3").extra_specs is None
    assert {"a": "b"} == full_swap().flavor.at_version("1.2").extra_specs


def test_null_lists_and_objects_stay_null() -> None:
    pinned = full_swap().model_copy(update={"fault": None, "block_devices": None}).at_version("1.5")

    assert pinned.fault is None
    assert pinned.block_devices is None


@pytest.mark.parametrize(
    ("payload", "version"),
    [(full_swap(), "1.10"), (full_swap(), "2.0"), (full_swap().flavor, "1.9"), (VersionedObject(), "1.0")],
)
def test_an_unknown_version_is_refused(payload: VersionedObject, version: str) -> None:
    with pytest.raises(ValueError, match=f"version '{version}'"):
        payload.at_version(version)


def test_a_payload_made_here_is_strict_and_frozen() -> None:
    share = SharePayload(share_mapping_uuid="a", share_id="b", status="c", tag="d")

    with pytest.raises(ValidationError, match="share_id"):
        SharePayload(share_mapping_uuid="a", share_id=5, status="c", tag="d")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="frozen"):
        share.tag = "e"


def test_a_payload_says_what_its_fields_mean() -> None:
    for payload in TABLES:
        assert payload.__doc__
    assert {"since": "1.9", "nova": "31.0.0"} == InstancePayload.model_fields["shares"].json_schema_extra


def test_a_json_schema_can_be_made() -> None:
    schema = InstanceActionVolumeSwapPayload.model_json_schema()

    assert "date-time" == schema["properties"]["created_at"]["anyOf"][0]["format"]
    assert "FlavorPayload" in schema["$defs"]
    assert InstanceActionVolumeSwapPayload.model_json_schema(mode="serialization")["properties"]


def test_a_dump_is_flat() -> None:
    dumped = full_swap().model_dump(mode="json")

    assert 2 == dumped["flavor"]["vcpus"]
    assert "2026-01-02T03:04:05Z" == dumped["created_at"]
    assert dumped["terminated_at"] is None
