"""What happens to exchanges, queues, bindings and rights while they are in use."""

from __future__ import annotations

import asyncio

import pytest

from aioswap.transports.topology import pool_exchange, pool_queue
from tests.faults.kit import Fault, Scene, rows
from tests.faults.load import passes, until
from tests.faults.witness import KEYS
from tests.faults.workload import Workload
from tests.rights import PASSWORD, as_user
from tests.transports.rabbit_driver import Admin

pytestmark = pytest.mark.broker

INFO, ERROR = KEYS
USER = "rotated"
ALONE = {"witness": False}


# F10


async def delete_exchange(scene: Scene, workload: Workload) -> None:
    async with Admin(scene.node.url) as admin:
        await admin.delete_exchange(workload.exchange)


async def make_exchange(scene: Scene, workload: Workload) -> None:
    await until(lambda: "no exchange" in (workload.emitter.health().link.degraded or ""), what="the remedy is told")
    await passes(2)
    async with Admin(scene.node.url) as admin:
        await admin.exchange(workload.exchange)
    scene.proxy.reset()  # a consumer binds again when it connects
    await workload.healed()


async def delete_exchange_live(scene: Scene, workload: Workload) -> None:
    await delete_exchange(scene, workload)
    await make_exchange(scene, workload)


async def delete_exchange_under_a_consumer(scene: Scene, workload: Workload) -> None:
    async with Admin(scene.node.url) as admin:
        await admin.delete_exchange(workload.exchange)
        await admin.exchange(workload.exchange)
    await workload.healed("bound again by the consumer after")
    await resend(workload)


async def resend(workload: Workload) -> None:
    """Send what is parked once more, when a probe has found out that it is routed again, after at most 30 s."""
    await passes(32)
    workload.sent_again |= {parked.message.message_id for parked in workload.outbox.parked()}
    workload.outbox.resend()
    await until(lambda: not workload.outbox.parked(), 30, what="nothing is parked")


# F11


async def _delete_queue(scene: Scene, workload: Workload) -> None:
    """Delete the pool's queue while nothing moves, and count what is deleted."""
    queue = pool_queue(workload.pool)
    async with Admin(scene.node.url) as admin:
        scene.proxy.hold()
        depths = [-1, -2]
        while depths[-1] != depths[-2]:  # what is on its way in the broker arrives
            depths.append(await admin.depth(queue) or 0)
            await passes(0.3)
        async with admin.channel() as channel:
            workload.destroyed += (await channel.queue_delete(queue)).message_count or 0


async def delete_queue(scene: Scene, workload: Workload) -> None:
    await _delete_queue(scene, workload)
    scene.proxy.heal()
    await workload.healed()


async def make_queue_otherwise(scene: Scene, workload: Workload) -> None:
    await _delete_queue(scene, workload)
    queue, exchange = pool_queue(workload.pool), pool_exchange(workload.pool)
    async with Admin(scene.node.url) as admin:
        await admin.queue(queue, arguments={"x-queue-type": "quorum"})
        for key in KEYS:
            await admin.bind(queue, workload.exchange, key)
        await admin.bind(queue, exchange, queue)
    scene.proxy.heal()
    await workload.healed()


async def busy() -> None:
    """A handler that takes longer than its notifications come."""
    await passes(0.05)


# F12


async def declare_as_nova(scene: Scene, workload: Workload) -> None:
    async with Admin(scene.node.url) as admin:
        for key in KEYS:
            await admin.queue(key, durable=False)


async def declare_again(scene: Scene, workload: Workload) -> None:
    await workload.confirms(200)
    scene.proxy.reset()
    await workload.healed()
    async with Admin(scene.node.url) as admin:
        depths = [await admin.depth(key) for key in KEYS]
        for key in KEYS:
            await admin.delete_queue(key)

    assert all(depths), "Nova's own queues got theirs"


# F13


async def make_user(scene: Scene, workload: Workload) -> None:
    await scene.ctl("add_user", USER, PASSWORD)
    await scene.ctl("set_permissions", USER, "^$", ".*", "^$")


async def _told(workload: Workload, code: str) -> None:
    await until(lambda: code in (workload.emitter.health().link.degraded or ""), 60, what=f"health tells {code}")


async def revoke_right(scene: Scene, workload: Workload) -> None:
    await workload.warm()
    await scene.ctl("set_permissions", USER, "^$", "^$", "^$")
    scene.proxy.reset()  # the broker remembers what it has allowed a channel
    await _told(workload, "403")
    await scene.ctl("set_permissions", USER, "^$", ".*", "^$")
    await workload.healed()
    await scene.ctl("delete_user", USER)
    await make_user(scene, workload)
    await workload.healed()


async def rotate_password(scene: Scene, workload: Workload) -> None:
    await workload.warm()
    await scene.ctl("change_password", USER, "another")
    scene.proxy.reset()
    await _told(workload, "403")
    await scene.ctl("change_password", USER, PASSWORD)
    await workload.healed()


# F14


async def unbind(scene: Scene, workload: Workload) -> None:
    queue = pool_queue(workload.pool)
    async with Admin(scene.node.url) as admin:
        await admin.unbind(queue, workload.exchange, ERROR)
        await until(lambda: workload.refused, what="an error is returned")
        await passes(2)
        await admin.bind(queue, workload.exchange, ERROR)
    await until(lambda: workload.emitter.health().backlog < 50, what="the gate opens")


async def bind_late(scene: Scene, workload: Workload) -> None:
    await until(lambda: workload.outbox.parked(), 120, what="errors are parked")
    async with Admin(scene.node.url) as admin:
        await admin.bind(pool_queue(workload.pool), workload.exchange, ERROR)
    await resend(workload)


async def bound_queue(scene: Scene, workload: Workload) -> None:
    bound = '{"max-length": 150, "overflow": "reject-publish"}'
    await scene.ctl("set_policy", "full", f"^{workload.witness.queue}$", bound, "--apply-to", "queues")


async def fill_queue(scene: Scene, workload: Workload) -> None:
    await until(lambda: workload.refused, what="something is nacked")
    await passes(2)
    await scene.ctl("clear_policy", "full")
    await workload.healed()


@pytest.fixture
async def user(scene: Scene) -> str:
    """The emitter's URL, of a user of its own."""
    return as_user(scene.proxy.url, USER)


@pytest.mark.parametrize(
    "fault",
    rows(
        Fault(
            10, "the exchange is missing at the start", make_exchange, before=delete_exchange, faults=2, plan=ALONE, slow=True
        ),
        Fault(10, "the exchange is deleted and made again after 2 s", delete_exchange_live, faults=2, plan=ALONE),
        Fault(10, "the exchange is made anew, and bindings are gone", delete_exchange_under_a_consumer, plan=ALONE, slow=True),
        Fault(11, "the queue is deleted", delete_queue, plan={**ALONE, "prefetch": 10, "handler": busy}),
        Fault(
            11,
            "the queue is deleted and made again as a quorum queue",
            make_queue_otherwise,
            plan={**ALONE, "prefetch": 10, "handler": busy},
            slow=True,
        ),
        Fault(
            12,
            "exchange and default queues are not durable, and expected to be",
            declare_again,
            before=declare_as_nova,
            plan={"durable": False, "transport": {"exchange_durable": True, "declare_default_queues": True}},
            slow=True,
        ),
        Fault(14, "errors are unroutable for 2 s", unbind, plan=ALONE),
        Fault(
            14,
            "errors are unroutable for over 60 s, then sent again",
            bind_late,
            plan={**ALONE, "priorities": ("info",)},
            slow=True,
        ),
        Fault(14, "a queue is full for 2 s", fill_queue, before=bound_queue, slow=True),
    ),
    ids=str,
)
async def test_nothing_is_lost_when_the_topology_changes(scene: Scene, fault: Fault) -> None:
    await scene.survives(fault)


@pytest.mark.parametrize(
    "fault",
    rows(
        Fault(13, "the right to write is revoked, the user deleted", revoke_right, before=make_user, faults=2, slow=True),
        Fault(13, "the password is changed for a while", rotate_password, before=make_user, slow=True),
    ),
    ids=str,
)
async def test_nothing_is_lost_when_rights_change(scene: Scene, fault: Fault, user: str) -> None:
    try:
        await scene.survives(fault, emitting=user, consuming=scene.proxy.url)
    finally:
        await asyncio.to_thread(scene.node.ctl, "delete_user", USER)
