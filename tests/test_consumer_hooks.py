"""What a consumer's hooks are told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aioswap.consumer import Consumer
from aioswap.hooks import Operation
from aioswap.outcomes import Reject, Retry
from aioswap.wire.events import volume_swap
from tests.consumer_kit import FLAVOR, Bus, Script, notification_body, until


class Watch:
    """A hook that remembers; it fails if it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun: list[str] = []
        self.operations: list[Operation] = []
        self._error = error

    def started(self, operation: Operation, /) -> None:
        self.begun.append(operation.kind)
        if self._error is not None:
            raise self._error

    def finished(self, operation: Operation, /) -> None:
        self.operations.append(operation)

    @property
    def told(self) -> list[tuple[str, str | None, str]]:
        return [(operation.kind, operation.handler, operation.outcome) for operation in self.operations]


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def consumer(bus: Bus, watch: Watch) -> Consumer:
    return Consumer(bus.transport, "billing", hooks=[watch], clock=bus.clock)


async def test_receive_handle_and_settle_are_told(bus: Bus, consumer: Consumer, watch: Watch) -> None:
    consumer.on(volume_swap.end, name="one")(Script().handle)
    consumer.on(volume_swap.end, name="two")(Script(Retry()).handle)
    body = notification_body(message_id="the-id")
    async with bus.opened(), consumer.running():
        await bus.publish(body, headers={"traceparent": "00-1"})
        await until(lambda: consumer.health().retried)

    assert ["receive", "handle", "handle", "settle"] == watch.begun
    assert [
        ("receive", None, "wanted"),
        ("handle", "one", "ack"),
        ("handle", "two", "retry"),
        ("settle", None, "retry"),
    ] == watch.told
    assert {("the-id", "instance.volume_swap.end", "versioned_notifications.info", "billing", len(body), "00-1")} == {
        (each.message_id, each.event_type, each.routing_key, each.pool, each.size, each.headers["traceparent"])
        for each in watch.operations
    }


async def test_the_attempt_and_the_first_routing_key_stay_known(bus: Bus, consumer: Consumer, watch: Watch) -> None:
    consumer.on(volume_swap.end)(Script(Retry()).handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().retried)
        await bus.clock.advance(1)
        await until(lambda: consumer.health().handled)

    settled = [operation for operation in watch.operations if operation.kind == "settle"]
    assert [(0, "retry"), (1, "ack")] == [(operation.attempt, operation.outcome) for operation in settled]
    assert {"versioned_notifications.info"} == {operation.routing_key for operation in settled}


async def test_an_error_is_told_with_its_handler(bus: Bus, consumer: Consumer, watch: Watch) -> None:
    error = KeyError("x")
    consumer.on(volume_swap.end)(Script(error).handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().retried)

    assert [None, error, None] == [operation.error for operation in watch.operations]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"instance.volume_swap.end", "unreadable"),
        (notification_body(FLAVOR, message_id="like instance.volume_swap.end"), "skipped"),
    ],
    ids=["unreadable", "skipped"],
)
async def test_receive_tells_what_nobody_handles(bus: Bus, consumer: Consumer, watch: Watch, body: bytes, outcome: str) -> None:
    consumer.on(volume_swap.end)(Script().handle)
    async with bus.opened(), consumer.running():
        await bus.publish(body)
        await until(lambda: consumer.health().dead_letters + consumer.health().skipped)

    assert ("receive", None, outcome) == watch.told[0]
    assert ([("settle", None, "reject")] if outcome == "unreadable" else []) == watch.told[1:]


async def test_receive_tells_duplicates(bus: Bus, consumer: Consumer, watch: Watch) -> None:
    consumer.on(volume_swap.end)(Script().handle)
    body = notification_body()
    async with bus.opened(), consumer.running():
        await bus.publish(body)
        await until(lambda: consumer.health().handled)
        await bus.publish(body)
        await until(lambda: consumer.health().duplicates)

    assert ("receive", None, "duplicate") == watch.told[-1]


async def test_a_hook_that_fails_is_ignored(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(ValueError("hook"))
    consumer = Consumer(bus.transport, "billing", hooks=[watch], clock=bus.clock)
    consumer.on(volume_swap.end)(Script(Reject("no")).handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().dead_letters)

    assert 3 == len(watch.operations)
    assert "it is ignored" in caplog.text


@pytest.mark.parametrize("where", ["handler", "copy"])
async def test_what_is_cut_off_is_told_too(bus: Bus, consumer: Consumer, watch: Watch, where: str) -> None:
    script = Script(Reject("no"))
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened():
        running: Any = consumer.running()
        await running.__aenter__()
        if where == "handler":
            script.gate.clear()
        bus.transport.refuse("aioswap.billing.dead")
        await bus.publish(notification_body())
        await until(lambda: script.heard)
        await bus.clock.advance(1)
        leaving = asyncio.create_task(running.__aexit__(None, None, None))
        await bus.clock.advance(10)
        await leaving

    last = watch.operations[-1]
    assert ("handle" if where == "handler" else "settle", "") == (last.kind, last.outcome)
    assert isinstance(last.error, asyncio.CancelledError)


async def test_what_is_lost_on_leaving_is_told_as_rejected(bus: Bus, watch: Watch) -> None:
    consumer = Consumer(bus.transport, hooks=[watch], clock=bus.clock)
    consumer.on(volume_swap.end, name="h")(Script(Retry(after=5)).handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().retried)

    assert [
        ("receive", None, "wanted"),
        ("handle", "h", "retry"),
        ("settle", None, "retry"),
        ("settle", None, "reject"),
    ] == watch.told
