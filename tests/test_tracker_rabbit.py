"""Trackers on a real RabbitMQ: each hears everything, whatever races, however many there are, with its rights alone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.swaps import Swap, SwapState
from aioswap.testing import ManualClock
from aioswap.tracker import SwapTracker
from aioswap.transports.rabbit import RabbitTransport
from tests.broker import Node, Proxy
from tests.cli.running import in_pipe
from tests.rights import CONSUMER, EMITTER, as_user, grant
from tests.tracker_kit import until
from tests.transports.rabbit_driver import Admin

pytestmark = pytest.mark.broker

SWAPS, RACES, AT_ONCE, DEADLINE = 50, 1000, 100, 100.0
VHOST = "tracking"


@pytest.fixture
async def exchange(amqp_url: str) -> AsyncIterator[str]:
    """An exchange of this test's own."""
    name = f"test-{uuid4().hex[:12]}"
    async with Admin(amqp_url) as admin:
        await admin.exchange(name)
        yield name
        await admin.delete_exchange(name)


async def swap(emitter: Emitter, instance: str) -> None:
    """Tell of a swap that begins and ends at once."""
    async with emitter.swapping(SwapRequest({"uuid": instance}, "old", "new")):
        pass


def ends(swaps: list[Swap]) -> list[tuple[str, SwapState, int]]:
    return [(swap.instance, swap.state, len(swap.evidence)) for swap in swaps]


async def test_a_connection_that_is_cut_loses_nothing(amqp_url: str, exchange: str) -> None:
    async with Proxy(amqp_url) as proxy:
        direct, cut = RabbitTransport(amqp_url, exchange=exchange), RabbitTransport(proxy.url, exchange=exchange)
        trackers = SwapTracker(direct), SwapTracker(cut)
        emitter = Emitter(direct, host="compute-1")
        async with asyncio.timeout(DEADLINE), direct, cut, emitter, trackers[0], trackers[1]:
            async with trackers[1].expect(instance="last") as expected:
                for number in range(SWAPS):
                    if number == SWAPS // 4:
                        proxy.cut()
                    await swap(emitter, f"instance-{number}")
                await emitter.flush()
                lost = trackers[1].health().links[0].connected
                proxy.heal()
                await swap(emitter, "last")
                await expected.wait()
            await trackers[0].wait(instance="last")
            known = [await tracker.history(limit=None) for tracker in trackers]

    assert not lost
    assert [[f"instance-{number}" for number in range(SWAPS)] + ["last"]] * 2 == [[s.instance for s in each] for each in known]
    assert {(SwapState.SUCCEEDED, ())} == {(swap.state, swap.deaf) for swaps in known for swap in swaps}


async def test_a_connection_that_is_cut_for_20_seconds_loses_nothing(amqp_url: str, exchange: str) -> None:
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(DEADLINE))
        proxy = await stack.enter_async_context(Proxy(amqp_url))
        direct = await stack.enter_async_context(RabbitTransport(amqp_url, exchange=exchange))
        cut = await stack.enter_async_context(RabbitTransport(proxy.url, exchange=exchange, clock=clock))
        emitter = await stack.enter_async_context(Emitter(direct, host="compute-1"))
        tracker = await stack.enter_async_context(SwapTracker(cut, clock=clock))
        expected = [await stack.enter_async_context(tracker.expect(instance=f"instance-{number}")) for number in range(21)]
        async with emitter.swapping(SwapRequest({"uuid": "instance-0"}, "old", "new")):
            await emitter.flush()
            await until(tracker.running)
            proxy.cut()
            await until(lambda: not tracker.health().links[0].connected)
        for number in range(1, 21):
            await clock.advance(1)
            await swap(emitter, f"instance-{number}")
            await proxy.settled()
        await emitter.flush()
        refused, connected = proxy.accepted - 1, tracker.health().links[0].connected
        proxy.heal()
        while not tracker.health().links[0].connected:
            await clock.advance(1)
            await asyncio.to_thread(lambda: None)
        swaps = [await each.wait() for each in expected]

    assert refused
    assert not connected
    assert [(f"instance-{number}", SwapState.SUCCEEDED, 2) for number in range(21)] == ends(swaps)
    assert {()} == {swap.deaf for swap in swaps}


async def test_two_replicas_lose_no_swap_that_is_over_before_wait_is_called(amqp_url: str, exchange: str) -> None:
    transport = RabbitTransport(amqp_url, exchange=exchange)
    replicas = SwapTracker(transport), SwapTracker(transport)
    swaps: list[list[Swap]] = [[], []]
    async with asyncio.timeout(DEADLINE), transport, Emitter(transport, host="h") as emitter, replicas[0], replicas[1]:
        for begin in range(0, RACES, AT_ONCE):
            names = [f"instance-{number}" for number in range(begin, begin + AT_ONCE)]
            async with AsyncExitStack() as stack:
                expected = [
                    [await stack.enter_async_context(replica.expect(instance=name)) for name in names] for replica in replicas
                ]
                for name in names:
                    await swap(emitter, name)
                await emitter.flush()
                await until(lambda: all(each.health().received == 2 * (begin + AT_ONCE) for each in replicas))  # noqa: B023
                for each, found in zip(expected, swaps, strict=True):
                    found += [await one.wait(timeout=0) for one in each]

    assert [[(f"instance-{number}", SwapState.SUCCEEDED, 2) for number in range(RACES)]] * 2 == [ends(each) for each in swaps]


async def test_two_replicas_lose_no_swap_that_is_over_first_thing_after_entry(amqp_url: str, exchange: str) -> None:
    transport = RabbitTransport(amqp_url, exchange=exchange)
    replicas = SwapTracker(transport), SwapTracker(transport)

    async def race(emitter: Emitter, name: str) -> list[Swap]:
        async with replicas[0].expect(instance=name) as one, replicas[1].expect(instance=name) as other:
            await swap(emitter, name)
            return [await one.wait(), await other.wait()]

    swaps: list[list[Swap]] = []
    async with asyncio.timeout(DEADLINE), transport, Emitter(transport, host="h") as emitter, replicas[0], replicas[1]:
        for begin in range(0, RACES, AT_ONCE):
            swaps += await asyncio.gather(*(race(emitter, f"instance-{begin + number}") for number in range(AT_ONCE)))

    assert [[(f"instance-{number}", SwapState.SUCCEEDED, 2)] * 2 for number in range(RACES)] == [ends(each) for each in swaps]


@pytest.fixture(scope="module")
def limited(node: Node) -> Iterator[tuple[str, str]]:
    """URLs of an emitter and of a consumer who have exactly the documented rights, in a vhost that has an exchange nova."""
    node.ctl("add_vhost", VHOST)
    node.ctl("set_permissions", "-p", VHOST, "guest", ".*", ".*", ".*")
    grant(node, VHOST, {"tracked": EMITTER, "tracking": CONSUMER})
    url = f"{node.url}{VHOST}"

    async def make() -> None:
        async with Admin(url) as admin:
            await admin.exchange("nova")

    asyncio.run(make())
    yield as_user(url, "tracked"), as_user(url, "tracking")
    node.ctl("delete_vhost", VHOST)


async def test_the_documented_rights_are_enough(limited: tuple[str, str]) -> None:
    emitting, tracking = (RabbitTransport(url) for url in limited)
    emitter, tracker = Emitter(emitting, host="compute-1"), SwapTracker(tracking)
    async with asyncio.timeout(DEADLINE), emitting, tracking, emitter, tracker, tracker.expect(old="old") as expected:
        with pytest.raises(OSError, match="no space"):
            async with emitter.swapping(SwapRequest({"uuid": "bad"}, "old", "new")):
                raise OSError("no space left on device")
        failed = await expected.wait()
        await swap(emitter, "good")
        succeeded = await tracker.wait(instance="good")

    assert [("bad", SwapState.FAILED, 2), ("good", SwapState.SUCCEEDED, 2)] == ends([failed, succeeded])


async def test_the_documented_rights_are_enough_for_who_waits_in_a_shell(limited: tuple[str, str]) -> None:
    emitting, tracking = limited
    emit = f"{sys.executable} -m aioswap emit end --instance one --yes"
    waiting = ("wait", "--instance", "one", "--timeout", "60", "-f", "value", "-c", "state", "--", "sh", "-c")
    ended = await asyncio.to_thread(in_pipe, *waiting, f"AIOSWAP_URL={emitting} {emit}", AIOSWAP_URL=tracking)
    doctor = ("doctor", "--seconds", "0", "-f", "value", "-c", "check", "-c", "state")
    examined = await asyncio.to_thread(in_pipe, *doctor, AIOSWAP_URL=tracking)

    assert (0, "succeeded\n") == (ended.code, ended.out), ended.err
    assert (0, True) == (examined.code, "rights fine\n" in examined.out)
