"""Trackers on a real RabbitMQ: each hears everything, also what comes while its connection is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.swaps import SwapState
from aioswap.tracker import SwapTracker
from aioswap.transports.rabbit import RabbitTransport
from tests.broker import Proxy
from tests.transports.rabbit_driver import Admin

pytestmark = pytest.mark.broker

SWAPS, DEADLINE = 50, 60.0


@pytest.fixture
async def exchange(amqp_url: str) -> AsyncIterator[str]:
    """An exchange of this test's own."""
    name = f"test-{uuid4().hex[:12]}"
    async with Admin(amqp_url) as admin:
        await admin.exchange(name)
        yield name
        await admin.delete_exchange(name)


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
                    async with emitter.swapping(SwapRequest({"uuid": f"instance-{number}"}, "old", "new")):
                        pass
                await emitter.flush()
                lost = trackers[1].health().links[0].connected
                proxy.heal()
                async with emitter.swapping(SwapRequest({"uuid": "last"}, "old", "new")):
                    pass
                await expected.wait()
            await trackers[0].wait(instance="last")
            known = [await tracker.history(limit=None) for tracker in trackers]

    assert not lost
    assert [[f"instance-{number}" for number in range(SWAPS)] + ["last"]] * 2 == [[s.instance for s in each] for each in known]
    assert {(SwapState.SUCCEEDED, ())} == {(swap.state, swap.deaf) for swaps in known for swap in swaps}
