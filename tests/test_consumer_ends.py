"""A consumer that is killed, stopped or cut off in the middle of handlers, on a real RabbitMQ: every id is accounted for."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from aioswap.consumer import Consumer
from aioswap.dead_letters import DeadLetters
from aioswap.emitter import Emitter
from aioswap.outcomes import RetryPolicy
from aioswap.transports.base import Subscription
from aioswap.transports.rabbit import RabbitTransport
from aioswap.transports.topology import pool_queue
from aioswap.wire.events import volume_swap
from aioswap.wire.instances import swap_payload
from aioswap.wire.notification import Notification
from tests.broker import Proxy
from tests.transports.driver import until
from tests.transports.rabbit_driver import Admin

pytestmark = pytest.mark.broker

PUBLISHED, CONCURRENCY, DEADLINE = 20, 8, 30.0


class Child:
    """A consumer process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.last = ""

    async def until(self, *, begun: int = 0, ended: int = 0, word: str = "") -> None:
        """Read lines until so many handlers have begun and ended, or a line begins with `word`."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            while len(self.begun) < begun or len(self.ended) < ended or not self.last.startswith(word):
                line = (await self.process.stdout.readline()).decode()
                assert line, "the consumer process ended"
                self.last = line.strip()
                kind, _, number = self.last.partition(" ")
                (self.begun if kind == "begin" else self.ended if kind == "end" else []).append(number)

    def go(self) -> None:
        """Let its handlers end."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")


@asynccontextmanager
async def consuming(url: str, exchange: str) -> AsyncIterator[Child]:
    pipe = asyncio.subprocess.PIPE
    arguments = (sys.executable, "-m", "tests.consumer_process", url, exchange, exchange)
    process = await asyncio.create_subprocess_exec(*arguments, stdin=pipe, stdout=pipe, cwd=Path(__file__).parent.parent)
    child = Child(process)
    try:
        await child.until(word="ready")
        yield child
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def exchange(amqp_url: str) -> AsyncIterator[str]:
    """An exchange, and the queue of a pool of the same name, removed afterwards."""
    name = f"ends-{uuid4().hex[:8]}"
    async with Admin(amqp_url) as admin:
        await admin.exchange(name)
        yield name
        for queue in ("", ".dead", *(f".retry.{step}" for step in (1, 5, 30, 120, 600, 3600))):
            await admin.delete_queue(pool_queue(name) + queue)
        await admin.delete_exchange(pool_queue(name))
        await admin.delete_exchange(name)


async def publish(url: str, exchange: str, count: int = PUBLISHED) -> list[str]:
    """Emit notifications of so many instances into the pool's queue."""
    numbers = [str(number) for number in range(count)]
    async with RabbitTransport(url, exchange=exchange) as transport:
        async with transport.receiver(Subscription(pool=exchange, prefetch=1), lambda delivery: None, label="declare"):
            pass
        async with Emitter(transport, host="compute-1") as emitter:
            for number in numbers:
                await emitter.emit(volume_swap.start, swap_payload({"uuid": number}, "old", "new"))
            await emitter.flush(timeout=DEADLINE)
    return numbers


async def test_a_consumer_killed_in_the_middle_of_handlers_loses_nothing(amqp_url: str, exchange: str) -> None:
    published = await publish(amqp_url, exchange)
    async with consuming(amqp_url, exchange) as first:
        await first.until(begun=CONCURRENCY)
        os.kill(first.process.pid, signal.SIGKILL)
        await first.process.wait()
    async with consuming(amqp_url, exchange) as second:
        second.go()
        await second.until(ended=PUBLISHED)

    assert [] == first.ended
    assert sorted(published) == sorted(second.ended)
    assert CONCURRENCY == sum((Counter(first.begun) & Counter(second.begun)).values())


async def test_a_consumer_stopped_by_sigterm_finishes_what_it_began_and_nothing_is_redelivered(
    amqp_url: str, exchange: str
) -> None:
    published = await publish(amqp_url, exchange)
    async with consuming(amqp_url, exchange) as first:
        await first.until(begun=CONCURRENCY)
        first.process.terminate()
        first.go()
        await first.until(word="left")
        code = await first.process.wait()
    async with consuming(amqp_url, exchange) as second:
        second.go()
        await second.until(ended=PUBLISHED - len(first.ended))

    assert 0 == code
    assert first.begun == sorted(first.begun, key=int)
    assert Counter(published) == Counter(first.begun + second.begun) == Counter(first.ended + second.ended)


async def test_a_consumer_cut_off_in_the_middle_of_handlers_handles_each_once(amqp_url: str, exchange: str) -> None:
    published = await publish(amqp_url, exchange)
    begun: list[str] = []
    handled: Counter[str] = Counter()
    busy, gate, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with Proxy(amqp_url) as proxy:
        transport = RabbitTransport(proxy.url, exchange=exchange)
        consumer = Consumer(transport, pool=exchange)

        @consumer.on(volume_swap.any)
        async def handle(notification: Notification[Any]) -> None:
            begun.append(notification.payload.uuid)
            if len(begun) == CONCURRENCY:
                busy.set()
            await gate.wait()
            handled[notification.payload.uuid] += 1
            if len(handled) == PUBLISHED:
                done.set()

        async with transport, consumer.running(), asyncio.timeout(DEADLINE):
            await busy.wait()
            await until(lambda: consumer.health().received == PUBLISHED)
            proxy.reset()
            gate.set()
            await done.wait()
            await until(lambda: consumer.health().duplicates == PUBLISHED)
        health = consumer.health()

    assert Counter(published) == handled
    assert (PUBLISHED, PUBLISHED) == (health.handled, health.duplicates)
    async with Admin(amqp_url) as admin:
        assert 0 == await admin.depth(pool_queue(exchange))


async def test_what_keeps_failing_is_retried_as_configured_and_ends_as_a_dead_letter(amqp_url: str, exchange: str) -> None:
    published = await publish(amqp_url, exchange, 3)
    attempts: Counter[str] = Counter()
    transport = RabbitTransport(amqp_url, exchange=exchange)
    consumer = Consumer(transport, pool=exchange, retry=RetryPolicy(attempts=2, delays=(1,)))
    done = asyncio.Event()

    @consumer.on(volume_swap.any, name="page")
    async def handle(notification: Notification[Any]) -> None:
        attempts[notification.payload.uuid] += 1
        if attempts.total() == 6:
            done.set()
        raise OSError("the pager is down")

    async with transport:
        async with consumer.running():
            await asyncio.wait_for(done.wait(), DEADLINE)
        letters = await DeadLetters(transport, exchange).list()

    assert dict.fromkeys(published, 2) == attempts
    assert [(2, "page: OSError: the pager is down (attempt 2 of 2)")] * 3 == [(each.attempts, each.reason) for each in letters]
    assert (3, 3) == (consumer.health().retried, consumer.health().dead_letters)
