"""What happens to connections: reset, held, slow, closed by an operator."""

from __future__ import annotations

import pytest

from tests.broker import Direction
from tests.faults.kit import Fault, Scene, rows
from tests.faults.load import passes
from tests.faults.workload import Workload, memory_outbox

pytestmark = pytest.mark.broker

IN_MEMORY = {"outbox": memory_outbox}


async def reset(scene: Scene, workload: Workload) -> None:
    for _ in range(3):
        goal = workload.confirmed + 240
        scene.proxy.reset()
        await workload.healed()
        await workload.confirms(goal)


async def reset_and_refuse(scene: Scene, workload: Workload) -> None:
    scene.proxy.cut()
    await passes(6)
    scene.proxy.heal()
    await workload.healed()


async def hold_for_a_moment(scene: Scene, workload: Workload) -> None:
    scene.proxy.hold()
    await passes(2)
    scene.proxy.heal()
    await workload.healed()


async def hold_then_reset(scene: Scene, workload: Workload) -> None:
    scene.proxy.hold()
    await passes(2)
    scene.proxy.reset()
    scene.proxy.heal()
    await workload.healed()


async def black_hole(scene: Scene, workload: Workload) -> None:
    scene.proxy.hold()
    await workload.noticed()
    await passes(35 - workload.figures["noticed after"])
    scene.proxy.heal()
    await workload.healed()


async def hold_what_the_emitter_says(scene: Scene, workload: Workload) -> None:
    scene.proxy.hold(Direction.UP)
    await workload.noticed()
    await passes(5)
    scene.proxy.heal()
    await workload.healed()


async def hold_what_the_broker_says(scene: Scene, workload: Workload) -> None:
    scene.proxy.hold(Direction.DOWN)
    await workload.noticed()
    await passes(5)
    scene.proxy.heal()
    await workload.healed()


async def lose_what_the_emitter_says(scene: Scene, workload: Workload) -> None:
    scene.proxy.drop(Direction.UP)
    await workload.noticed()
    scene.proxy.heal()
    scene.proxy.reset()
    await workload.healed()


async def lose_what_the_broker_says(scene: Scene, workload: Workload) -> None:
    scene.proxy.drop(Direction.DOWN)
    await workload.noticed()
    scene.proxy.heal()
    scene.proxy.reset()
    await workload.healed()


async def late(scene: Scene, workload: Workload) -> None:
    scene.proxy.delay = 0.2
    await workload.accepts(400)
    await passes(2)
    scene.proxy.heal()
    await workload.healed()


async def narrow(scene: Scene, workload: Workload) -> None:
    scene.proxy.rate = 64_000
    await workload.accepts(400)
    await passes(4)
    scene.proxy.heal()
    await workload.healed()


async def close_by_operator(scene: Scene, workload: Workload) -> None:
    await scene.ctl("close_all_connections", "maintenance")
    await workload.healed()


@pytest.mark.parametrize(
    "fault",
    rows(
        Fault(5, "RST of all connections, 3 times", reset, faults=3),
        Fault(5, "RST, and refused for 6 s", reset_and_refuse, slow=True),
        Fault(5, "RST, and refused for 6 s, outbox in memory", reset_and_refuse, plan=IN_MEMORY, slow=True),
        Fault(6, "nothing goes through for 2 s, outbox in memory", hold_for_a_moment, plan=IN_MEMORY, slow=True),
        Fault(6, "nothing goes through for 2 s, then RST", hold_then_reset),
        Fault(6, "nothing goes through for 35 s", black_hole, faults=2, slow=True),
        Fault(6, "nothing goes through for 35 s, outbox in memory", black_hole, faults=2, plan=IN_MEMORY, slow=True),
        Fault(6, "what clients say is held until it is noticed, and 5 s", hold_what_the_emitter_says, faults=2, slow=True),
        Fault(6, "what the broker says is held until it is noticed, and 5 s", hold_what_the_broker_says, faults=2, slow=True),
        Fault(6, "what clients say is lost until it is noticed", lose_what_the_emitter_says, faults=2, slow=True),
        Fault(6, "what the broker says is lost until it is noticed", lose_what_the_broker_says, faults=2, slow=True),
        Fault(7, "200 ms later", late, slow=True),
        Fault(7, "64 kB/s to the broker", narrow, slow=True),
        Fault(8, "rabbitmqctl close_all_connections", close_by_operator, slow=True),
    ),
    ids=str,
)
async def test_nothing_is_lost_when_connections_are_in_trouble(scene: Scene, fault: Fault) -> None:
    await scene.survives(fault)
