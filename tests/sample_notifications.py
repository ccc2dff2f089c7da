"""Emits the notifications that docs/samples shows: `python -m tests.sample_notifications` writes them anew."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aioswap.context import RequestContext
from aioswap.emitter import Emitter
from aioswap.testing import ManualClock
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.notification import Notification
from tests.bus import declare, told

__all__ = ["FOLDER", "emitted"]

FOLDER: Final = Path(__file__).parent.parent / "docs" / "samples"
OLD, NEW = "a07f71dc-8151-4e7d-a0cc-cd24a3f11113", "227cc671-f30b-4488-96fd-7d0bf13648d8"
NOW: Final = datetime(2026, 11, 22, 14, 13, 4, 816647, tzinfo=UTC)
WHO: Final = RequestContext(
    request_id="req-5b6c791d-5709-4f36-8fbe-c3e02869e35d",
    global_request_id="req-c6b2f9a0-6a0f-4bf1-9ff4-6c5f3b0d1c55",
    user_id="fake",
    project_id="6f70656e737461636b20342065766572",
    user_name="admin",
    roles=("admin",),
)


class VolumeNotFound(Exception):
    """The fault of the sample."""


def server(volume_id: str) -> dict[str, Any]:
    """Return an instance as a service has it."""
    created = datetime(2026, 11, 22, 13, 58, 6, tzinfo=UTC)
    return {
        "uuid": "178b0921-8f85-4257-88b6-2e743b5a975c",
        "user_id": "fake",
        "project_id": "6f70656e737461636b20342065766572",
        "reservation_id": "r-npxv0e40",
        "display_name": "some-server",
        "display_description": "some-server",
        "hostname": "some-server",
        "host": "compute-1",
        "node": "node-1",
        "architecture": "x86_64",
        "availability_zone": "nova",
        "image_ref": "155d900f-4e14-4e4c-a73d-069cbf4541e6",
        "key_name": "my-key",
        "created_at": created,
        "launched_at": created,
        "updated_at": created,
        "vm_state": "active",
        "power_state": 1,
        "progress": 0,
        "metadata": {},
        "flavor": {"flavorid": "a22d5517-147c-4147-a0d1-e698df5cd4e3", "name": "m1.small", "memory_mb": 512, "vcpus": 1}
        | {"root_gb": 1, "ephemeral_gb": 0, "swap": 0, "rxtx_factor": 1.0, "vcpu_weight": 0}
        | {"extra_specs": {"hw:watchdog_action": "disabled"}},
        "ip_addresses": [
            {
                "label": "private",
                "mac": "fa:16:3e:4c:2c:30",
                "meta": {},
                "port_uuid": "ce531f90-199f-48c0-816c-13e38010b442",
                "version": 4,
                "address": "192.168.1.3",
                "device_name": "tapce531f90-19",
            }
        ],
        "block_devices": [
            {"device_name": "/dev/sdb", "boot_index": None, "delete_on_termination": False, "volume_id": volume_id, "tag": None}
        ],
    }


async def emitted() -> dict[str, dict[str, Any]]:
    """Return the inner messages of a start, an end and an error."""
    async with MemoryTransport() as transport:
        await declare(transport)
        async with Emitter(transport, host="compute-1", clock=ManualClock(NOW)) as emitter:

            @emitter.swap
            async def swap(context: RequestContext, instance: dict[str, Any], old_volume_id: str, new_volume_id: str) -> None:
                instance.update(server(new_volume_id))

            @emitter.swap
            async def fail(context: RequestContext, instance: dict[str, Any], old_volume_id: str, new_volume_id: str) -> None:
                raise VolumeNotFound(f"Volume {new_volume_id} could not be found.")

            await swap(WHO, server(OLD), OLD, NEW)
            with contextlib.suppress(VolumeNotFound):
                await fail(WHO, server(OLD), OLD, NEW)
        notifications = await told(transport)
    return {each.event_type.rsplit(".", 1)[-1]: sample(each) for each in notifications}


def sample(notification: Notification[Any]) -> dict[str, Any]:
    """Return the message with what is new in each run replaced."""
    wire = notification.to_wire()
    wire["message_id"], wire["_unique_id"] = "9d0df198-044f-4027-a89f-0f76d6202b1e", "1df0b121de414f81b5a810a710c1cde1"
    fault = wire["payload"]["nova_object.data"]["fault"]
    if fault is not None:
        fault["nova_object.data"]["traceback"] = "Traceback (most recent call last):\n, ..."
    return wire


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for phase, wire in asyncio.run(emitted()).items():
        (FOLDER / f"instance-volume_swap-{phase}.json").write_text(json.dumps(wire, indent=4) + "\n")


if __name__ == "__main__":
    from tests import sample_notifications  # by its name, which the fault shows

    sample_notifications.main()
