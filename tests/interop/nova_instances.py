# mypy: disable-error-code="import-not-found,import-untyped"
"""Instances for a real Nova to tell of, without its database. Runs in a peer's process only."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import netaddr
from nova import context as nova_context
from nova import objects
from nova.network import model as network
from nova.objects import fields

__all__ = ["Database", "new_context", "new_instance"]

_MOMENT = datetime.datetime(2026, 11, 22, 14, 8, 21, tzinfo=datetime.UTC)


def new_context(**changes: Any) -> nova_context.RequestContext:
    """Return the context of a request for a swap, as the compute manager has it: elevated."""
    values: dict[str, Any] = {
        "user_id": "8d4c9a0e8f1b4a1aa1cf2a1b9a0f6f11",
        "project_id": "6f70656e737461636b20342065766572",
        "user_name": "ada",
        "project_name": "research",
        "roles": ["member", "reader"],
        "auth_token": "a-secret-token",
        "remote_address": "192.0.2.7",
        "global_request_id": f"req-{uuid.uuid4()}",
    }
    return nova_context.RequestContext(**(values | changes)).elevated()


def new_instance(context: nova_context.RequestContext, number: int, host: str, *, sparse: bool = False) -> objects.Instance:
    """Return an active instance with a flavor, two addresses and whatever else a notification shows.

    Args:
        context: whose it is.
        number: differs between instances; it is part of the names.
        host: where it runs.
        sparse: null where that is allowed.
    """
    instance = objects.Instance(
        context=context,
        uuid=str(uuid.uuid4()),
        user_id=context.user_id,
        project_id=context.project_id,
        vm_state="active",
        power_state=1,
        task_state=None,
        deleted=False,
        deleted_at=None,
        terminated_at=None,
        root_device_name="/dev/vda",
        system_metadata={} if sparse else {"locked_reason": "a swap is planned"},
        metadata={} if sparse else {"purpose": "test", "naïve": "Grüße, 世界 \U0001f600"},
        locked=not sparse,
        auto_disk_config=not sparse,
        kernel_id="",
        ramdisk_id="",
        image_ref="" if sparse else str(uuid.uuid4()),
        launched_at=None if sparse else _MOMENT,
        created_at=_MOMENT,
        updated_at=None if sparse else _MOMENT + datetime.timedelta(hours=1),
        progress=0,
        display_name=f'server "é" {number}',
        display_description=None if sparse else "back\\slash, \n newline, <>&",
        hostname=f"server-{number}",
        host=host,
        node=None if sparse else f"{host}.example.org",
        os_type=None if sparse else "linux",
        architecture=None if sparse else "x86_64",
        availability_zone=None if sparse else "nova",
        key_name=None if sparse else "my-key",
        reservation_id="r-npxv0e40",
    )
    instance.flavor = _flavor(sparse)
    instance.old_flavor = instance.new_flavor = None
    instance.info_cache = None
    if not sparse:
        instance.info_cache = objects.InstanceInfoCache(instance_uuid=instance.uuid, network_info=_network_info())
    instance.obj_reset_changes(recursive=True)
    return instance


def _flavor(sparse: bool) -> objects.Flavor:
    return objects.Flavor(
        id=1,
        flavorid="a22d5517-147c-4147-a0d1-e698df5cd4e3",
        name="m1.small",
        memory_mb=512,
        vcpus=1,
        root_gb=1,
        ephemeral_gb=0,
        swap=0,
        rxtx_factor=1.0,
        vcpu_weight=None if sparse else 0,
        disabled=False,
        is_public=True,
        extra_specs={} if sparse else {"hw:watchdog_action": "disabled"},
        description=None if sparse else "small",
    )


def _network_info() -> network.NetworkInfo:
    addresses = ("192.168.1.3", "2001:db8::f816:3eff:fe4c:2c30")
    subnets = [
        network.Subnet(cidr=f"{address}/{24 if '.' in address else 64}", ips=[network.FixedIP(address=address)])
        for address in addresses
    ]
    assert [netaddr.IPAddress(address).version for address in addresses] == [4, 6]
    return network.NetworkInfo(
        [
            network.VIF(
                id=str(uuid.uuid4()),
                address="fa:16:3e:4c:2c:30",
                network=network.Network(id=str(uuid.uuid4()), label="private", subnets=subnets),
                devname="tapce531f90-19",
                meta={},
            )
        ]
    )


class Database:
    """What Nova would look up: the volumes and shares of each instance."""

    def __init__(self) -> None:
        self.volumes: dict[str, str] = {}
        """Instance -> the volume that it has now."""
        objects.BlockDeviceMappingList.get_by_instance_uuid = self._block_devices
        objects.ShareMappingList.get_by_instance_uuid = self._shares

    def _block_devices(self, context: nova_context.RequestContext, instance_uuid: str) -> objects.BlockDeviceMappingList:
        common: dict[str, Any] = {"instance_uuid": instance_uuid, "delete_on_termination": False, "boot_index": None}
        volumes = {"/dev/sda": self.volumes[instance_uuid], "/dev/sdb": None}  # an ephemeral disk is no volume
        found = [
            objects.BlockDeviceMapping(
                context=context, device_name=name, volume_id=volume, tag="data" if volume else None, **common
            )
            for name, volume in volumes.items()
        ]
        return objects.BlockDeviceMappingList(objects=found)

    def _shares(self, context: nova_context.RequestContext, instance_uuid: str) -> objects.ShareMappingList:
        share = objects.ShareMapping(
            context=context,
            uuid=str(uuid.uuid5(uuid.NAMESPACE_OID, instance_uuid)),
            instance_uuid=instance_uuid,
            share_id="4be28b05-5e71-4ea9-bba5-d15a3be8f5d6",
            status=fields.ShareMappingStatus.ACTIVE,
            tag="fake-tag",
            export_location="10.0.0.5:/secret",
            share_proto=fields.ShareMappingProto.NFS,
        )
        return objects.ShareMappingList(objects=[share])
