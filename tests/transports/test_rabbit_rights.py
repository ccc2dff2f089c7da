"""With exactly the documented rights everything works, and Nova's RPC traffic can be neither read nor written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Any

import aio_pika
import pytest
from aiormq.exceptions import ChannelAccessRefused

from aioswap.consumer import Consumer
from aioswap.dead_letters import DeadLetters
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.errors import TransportError
from aioswap.outcomes import Reject, Retry
from aioswap.transports.base import Subscription
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification
from tests.broker import Node
from tests.rights import CONSUMER, EMITTER, OWN, Rights, as_user, grant
from tests.transports.driver import DEADLINE, Driver
from tests.transports.rabbit_driver import Admin, rabbit_driver
from tests.transports.test_contract import *  # noqa: F403  # the whole suite, with the rights of both roles together

pytestmark = pytest.mark.broker

VHOST = "rights"
# The suite has one transport for both roles. Besides it has topics of its own, and looks into queues that its driver declares
# (`...-nova`); everything else is as documented.
SUITE_TOPICS = r"^[a-z_]+[a-z0-9-]*\.(info|error|warn|sample)$"
BOTH = Rights(OWN, r"^(aioswap\..*|nova)$", r"^(aioswap\..*|nova|[a-z]+-nova(\..*)?)$", SUITE_TOPICS, SUITE_TOPICS)


@dataclass(frozen=True)
class Users:
    """URLs: of an administrator, of an emitter, of a consumer, of one with the rights of both."""

    admin: str
    emitter: str
    consumer: str
    both: str


@pytest.fixture(scope="module")
def users(node: Node) -> Iterator[Users]:
    """Users with the documented rights, in a vhost of their own."""
    node.ctl("add_vhost", VHOST)
    node.ctl("set_permissions", "-p", VHOST, "guest", ".*", ".*", ".*")
    grant(node, VHOST, {"emitter": EMITTER, "consumer": CONSUMER, "both": BOTH})
    url = f"{node.url}{VHOST}"
    yield Users(url, *(as_user(url, user) for user in ("emitter", "consumer", "both")))
    node.ctl("delete_vhost", VHOST)


@pytest.fixture  # type: ignore[no-redef]  # in place of the suite's own
async def driver(users: Users) -> AsyncGenerator[Driver]:
    async with rabbit_driver(users.admin, transport_url=users.both, exchange="nova") as driver:
        yield driver


@pytest.fixture
async def nova(users: Users) -> AsyncGenerator[Admin]:
    """Nova's exchange, made beforehand, with a queue of its RPC."""
    async with Admin(users.admin) as admin:
        await admin.exchange("nova", durable=False)
        await admin.queue("compute.host-1")
        await admin.bind("compute.host-1", "nova", "compute.host-1")
        yield admin
        await admin.delete_queue("compute.host-1")
        await admin.delete_exchange("nova")


@pytest.mark.parametrize("quorum", [False, True], ids=["classic", "quorum"])
async def test_the_main_job_retries_and_dead_letters_work_with_the_documented_rights(
    users: Users, nova: Admin, quorum: bool
) -> None:
    hearing = RabbitTransport(users.consumer)
    pool = f"rights-{quorum}"
    consumer = Consumer(hearing, pool=pool, quorum=quorum)
    handled: list[str] = []
    done = asyncio.Event()

    @consumer.on(volume_swap.any)
    async def hear(notification: Notification[Any]) -> None:
        handled.append(notification.event_type.rsplit(".", 1)[-1])
        if notification.event_type == volume_swap.error.name:
            raise Reject("not mine")
        if len(handled) == 1:
            raise Retry(after=1)
        if len(handled) == 5:
            done.set()

    async with hearing, consumer.running():
        telling = RabbitTransport(users.emitter)
        async with telling, Emitter(telling, host="compute-1") as emitter:
            async with emitter.swapping(SwapRequest({"uuid": "1"}, "old", "new")):
                pass
            with pytest.raises(OSError, match="no space"):
                async with emitter.swapping(SwapRequest({"uuid": "2"}, "old", "new")):
                    raise OSError("no space")
            await emitter.flush(timeout=DEADLINE)
        await asyncio.wait_for(done.wait(), DEADLINE)
    async with hearing:
        letters = await DeadLetters(hearing, pool).list()
        dropped = await DeadLetters(hearing, pool).drop()

    assert ["end", "error", "start", "start", "start"] == sorted(handled)
    assert (["instance.volume_swap.error"], 1) == ([letter.event_type for letter in letters], dropped)


@pytest.mark.parametrize("role", ["emitter", "consumer"])
async def test_novas_rpc_cannot_be_written(users: Users, nova: Admin, role: str) -> None:
    connection = await aio_pika.connect(getattr(users, role), timeout=DEADLINE)
    async with connection, connection.channel() as channel:
        exchange = await channel.get_exchange("nova", ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await exchange.publish(aio_pika.Message(b"{}"), "compute.host-1", timeout=DEADLINE)

    assert 0 == await nova.depth("compute.host-1")


async def test_novas_rpc_cannot_be_read_by_a_consumer(users: Users, nova: Admin) -> None:
    connection = await aio_pika.connect(users.consumer, timeout=DEADLINE)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("aioswap.spy", durable=True, arguments={"x-expires": 60_000}, timeout=DEADLINE)
        with pytest.raises(ChannelAccessRefused):
            await queue.bind("nova", "compute.host-1", timeout=DEADLINE)
        another = await connection.channel()
        rpc = await another.get_queue("compute.host-1", ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await rpc.get(timeout=DEADLINE)


async def test_an_emitter_cannot_listen_and_says_why(users: Users, nova: Admin) -> None:
    async with RabbitTransport(users.emitter) as transport:
        with pytest.raises(TransportError, match="403"):
            async with transport.receiver(Subscription(pool="spy"), lambda delivery: None, label="spy"):
                pass
