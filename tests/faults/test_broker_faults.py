"""What happens to the broker: away, stopped, killed, frozen, without room."""

from __future__ import annotations

import pytest

from tests.faults.kit import Fault, Scene, rows
from tests.faults.load import passes, until
from tests.faults.workload import Workload

pytestmark = pytest.mark.broker

MEMORY = "{resource_limit, memory, node()}"


async def stop(scene: Scene, workload: Workload) -> None:
    await scene.thread(scene.node.stop)


async def start_late(scene: Scene, workload: Workload) -> None:
    await passes(5)
    await scene.thread(scene.node.start)
    await workload.healed()


async def refuse(scene: Scene, workload: Workload) -> None:
    scene.proxy.cut()


async def listen_late(scene: Scene, workload: Workload) -> None:
    await passes(3)
    scene.proxy.heal()
    await workload.healed()


async def restart(scene: Scene, workload: Workload) -> None:
    await scene.thread(scene.node.stop)
    await passes(5)
    await scene.thread(scene.node.start)
    await workload.healed()


async def kill(scene: Scene, workload: Workload) -> None:
    await scene.thread(scene.node.kill)
    await scene.thread(scene.node.start)
    await workload.healed()


async def freeze(scene: Scene, workload: Workload) -> None:
    scene.node.pause()
    try:
        await passes(3)
    finally:
        scene.node.resume()
    await workload.healed()


async def freeze_long(scene: Scene, workload: Workload) -> None:
    scene.node.pause()
    try:
        await workload.noticed()
        await passes(30 - workload.figures["noticed after"])
    finally:
        scene.node.resume()
    await workload.healed()


async def _blocked(workload: Workload, seconds: float) -> None:
    await until(lambda: workload.emitter.health().link.blocked, 60, what="the alarm is told")
    await passes(seconds)


async def alarm(scene: Scene, workload: Workload) -> None:
    await scene.ctl("eval", f"rabbit_alarm:set_alarm({{{MEMORY}, []}}).")
    try:
        await _blocked(workload, 2)
    finally:
        await scene.ctl("eval", f"rabbit_alarm:clear_alarm({MEMORY}).")
    await workload.healed()


async def memory_alarm(scene: Scene, workload: Workload) -> None:
    await scene.ctl("set_vm_memory_high_watermark", "0.0000001")
    try:
        await _blocked(workload, 30)
    finally:
        await scene.ctl("set_vm_memory_high_watermark", "0.4")
    await workload.healed()


async def disk_alarm(scene: Scene, workload: Workload) -> None:
    await scene.ctl("set_disk_free_limit", "900GB")
    try:
        await _blocked(workload, 10)
    finally:
        await scene.ctl("set_disk_free_limit", "50MB")
    await workload.healed()


@pytest.mark.parametrize(
    "fault",
    rows(
        Fault(1, "nobody listens at the port for 3 s", listen_late, before=refuse),
        Fault(1, "a broker that starts 5 s after the emitter", start_late, before=stop, slow=True),
        Fault(2, "SIGTERM of the broker, 5 s, start", restart, slow=True),
        Fault(3, "SIGKILL of the broker, start", kill, slow=True),
        Fault(4, "SIGSTOP of the broker for 3 s", freeze),
        Fault(4, "SIGSTOP of the broker for 30 s", freeze_long, faults=2, slow=True),
        Fault(9, "an alarm for 2 s", alarm, slow=True),
        Fault(9, "memory alarm for 30 s", memory_alarm, slow=True),
        Fault(9, "disk alarm for 10 s", disk_alarm, slow=True),
    ),
    ids=str,
)
async def test_nothing_is_lost_when_the_broker_is_in_trouble(scene: Scene, fault: Fault) -> None:
    await scene.survives(fault)
