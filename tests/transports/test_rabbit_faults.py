"""What happens to the broker itself: restarted, killed, frozen, out of memory. Nothing confirmed is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import pytest

from aioswap.errors import TransportError
from aioswap.testing import ManualClock
from aioswap.transports.base import Confirmation, Sender, Subscription
from aioswap.transports.rabbit import RabbitTransport
from aioswap.transports.topology import pool_queue
from tests.broker import Node
from tests.transports.driver import DEADLINE, Inbox, message, put, until
from tests.transports.rabbit_driver import WAYS, Admin, HurriedClock

pytestmark = pytest.mark.broker

CONFIRMED = Confirmation.CONFIRMED
ALARM = "{resource_limit, memory, node()}"


class _Patient(HurriedClock):
    """Tries again soon, without making the machine busy while its broker starts."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.2))


@pytest.fixture
async def exchange(node: Node) -> AsyncGenerator[str]:
    async with Admin(node.url) as admin:
        await admin.exchange("faults")
    yield "faults"
    async with Admin(node.url) as admin:
        await admin.delete_exchange("faults")
        await admin.delete_queue(pool_queue("faults"))


@pytest.fixture(params=WAYS)
def fast(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@dataclass
class _History:
    """What happened across a fault."""

    sent: list[bytes] = field(default_factory=list)
    confirmed: set[bytes] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    arrived: list[bytes] = field(default_factory=list)


async def _keep_sending(sender: Sender, history: _History, enough: asyncio.Event) -> None:
    """Send numbered messages one by one. What fails is not sent again."""
    await sender.ready()
    while not enough.is_set():
        body = b"%d" % len(history.sent)
        history.sent.append(body)
        try:
            if await sender.send(message(body)) is CONFIRMED:
                history.confirmed.add(body)
        except TransportError as error:
            history.errors.append(str(error))
            await sender.ready()


async def _survives(node: Node, exchange: str, fault: Callable[[], None], *, fast: bool = True) -> _History:
    """Send and receive across `fault`, a blocking call."""
    inbox, history, enough = Inbox(), _History(), asyncio.Event()
    transport = RabbitTransport(node.url, exchange=exchange, clock=_Patient(), fast=fast)
    async with (
        transport,
        transport.receiver(Subscription(pool="faults", prefetch=65_535), inbox, label="r") as receiver,
        transport.sender("s") as sender,
    ):
        sending = asyncio.create_task(_keep_sending(sender, history, enough))
        await until(lambda: history.confirmed)
        await asyncio.to_thread(fault)
        before = len(history.confirmed)
        await until(lambda: history.errors and len(history.confirmed) > before + 20 and receiver.health.connected)
        enough.set()
        await sending
        await until(lambda: history.confirmed <= {delivery.body for delivery in inbox.deliveries})
        for delivery in inbox.deliveries:
            history.arrived.append(delivery.body or b"")
            delivery.ack()
    return history


def _in_order(arrived: list[bytes]) -> bool:
    """Whether first deliveries came in the order in which they were sent."""
    first = list(dict.fromkeys(map(int, arrived)))
    return first == sorted(first)


async def test_a_restart_loses_nothing(node: Node, exchange: str) -> None:
    def restart() -> None:
        node.stop()
        node.start()

    history = await _survives(node, exchange, restart)

    assert set() == history.confirmed - set(history.arrived)
    assert _in_order(history.arrived)


async def test_a_kill_loses_nothing_that_was_confirmed(node: Node, exchange: str) -> None:
    def kill() -> None:
        node.kill()
        node.start()

    history = await _survives(node, exchange, kill)

    assert set() == history.confirmed - set(history.arrived)
    assert _in_order(history.arrived)


async def test_connections_that_an_operator_closes_are_made_again(node: Node, exchange: str, fast: bool) -> None:
    def close() -> None:
        node.ctl("close_all_connections", "maintenance at noon")

    history = await _survives(node, exchange, close, fast=fast)

    assert set() == history.confirmed - set(history.arrived)
    assert "320 CONNECTION_FORCED - maintenance at noon" in history.errors[0]


async def test_a_broker_that_stands_still_is_dropped_and_found_again(node: Node, exchange: str, fast: bool) -> None:
    clock = ManualClock()
    transport = RabbitTransport(node.url, exchange=exchange, clock=clock, fast=fast)
    async with (
        transport,
        transport.receiver(Subscription(pool="faults"), Inbox(), label="r"),
        transport.sender("s") as sender,
    ):
        await sender.ready()
        node.pause()
        try:
            future = sender.send(message(b"x"))
            await clock.advance(10)
            with pytest.raises(TransportError, match="no confirm for 10 seconds"):
                await future
        finally:
            node.resume()
        await clock.advance(1)
        answers = await put(sender, b"x")

    assert [CONFIRMED] == answers


async def test_a_blocked_broker_is_waited_for_without_any_deadline(node: Node, exchange: str, fast: bool) -> None:
    clock = ManualClock()
    transport = RabbitTransport(node.url, exchange=exchange, clock=clock, fast=fast)
    await asyncio.to_thread(node.ctl, "eval", f"rabbit_alarm:set_alarm({{{ALARM}, []}}).")
    try:
        async with (
            transport,
            RabbitTransport(node.url, exchange=exchange) as other,
            other.receiver(Subscription(pool="faults"), Inbox(), label="r") as receiver,
            transport.sender("s") as sender,
        ):
            await sender.ready()  # the broker tells of an alarm only whoever publishes
            futures = [sender.send(message(b"%d" % number)) for number in range(20)]
            await until(lambda: sender.health.blocked)
            ready = asyncio.create_task(sender.ready())
            await clock.advance(3600)
            health = sender.health
            waited = [ready.done(), *(future.done() for future in futures)]
            receiving = receiver.health
            await asyncio.to_thread(node.ctl, "eval", f"rabbit_alarm:clear_alarm({ALARM}).")
            async with asyncio.timeout(DEADLINE):
                answers = await asyncio.gather(*futures)
                await ready
            after = sender.health
    finally:
        await asyncio.to_thread(node.ctl, "eval", f"rabbit_alarm:clear_alarm({ALARM}).")

    assert (True, True) == (health.connected, health.blocked)
    assert "takes no messages, low on memory" in (health.degraded or "")
    assert "free its memory or disk" in (health.degraded or "")
    assert [False] * 21 == waited
    assert (True, False) == (receiving.connected, receiving.blocked)
    assert [CONFIRMED] * 20 == answers
    assert (True, False, None) == (after.connected, after.blocked, after.degraded)


async def test_leaving_a_blocked_broker_does_not_wait(node: Node, exchange: str, fast: bool) -> None:
    transport = RabbitTransport(node.url, exchange=exchange, clock=ManualClock(), fast=fast)
    await asyncio.to_thread(node.ctl, "eval", f"rabbit_alarm:set_alarm({{{ALARM}, []}}).")
    try:
        async with transport:
            async with transport.sender("s") as sender:
                await sender.ready()
                future = sender.send(message(b"x"))
                await until(lambda: sender.health.blocked)
            with pytest.raises(TransportError, match="closed here"):
                await future
    finally:
        await asyncio.to_thread(node.ctl, "eval", f"rabbit_alarm:clear_alarm({ALARM}).")
