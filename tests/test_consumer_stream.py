"""A stream: notifications one by one, from a queue of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aioswap.consumer import Consumer
from aioswap.consuming.stream import Stream
from aioswap.errors import TransportError
from aioswap.wire.events import EventPattern, volume_swap
from aioswap.wire.payloads import ExceptionPayload, InstanceActionVolumeSwapPayload
from tests.consumer_kit import END, ERROR, FLAVOR, START, Bus, Script, notification_body, until


@pytest.fixture
def bus() -> Bus:
    return Bus()


def the_queue(bus: Bus) -> str:
    (name,) = [name for name in bus.transport.depths() if name.startswith("aioswap.anon.")]
    return name


async def read(stream: Stream[Any], count: int) -> list[str]:
    return [(await anext(stream)).event_type for _ in range(count)]


async def test_it_gives_what_matches_in_order(bus: Bus) -> None:
    async with bus.opened(), Consumer(bus.transport).stream("instance.volume_swap.#") as notifications:
        for event_type in (START, FLAVOR, ERROR, END):
            await bus.publish(notification_body(event_type))
        given = []
        async for notification in notifications:
            given.append(notification.event_type)
            if len(given) == 3:
                break

    assert [START, ERROR, END] == given


async def test_payloads_are_typed(bus: Bus) -> None:
    async with bus.opened(), Consumer(bus.transport).stream(volume_swap.end) as notifications:
        await bus.publish(notification_body())
        notification = await anext(notifications)

    assert InstanceActionVolumeSwapPayload is type(notification.payload)


async def test_it_takes_nothing_from_a_pool(bus: Bus) -> None:
    consumer, script = Consumer(bus.transport, "billing", clock=bus.clock), Script()
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened(), consumer.running(), consumer.stream("#") as notifications:
        await bus.publish(notification_body())
        await until(lambda: consumer.health().handled)
        given = await anext(notifications)

    assert [given.message_id] == script.ids


async def test_one_is_acknowledged_when_the_next_is_asked_for(bus: Bus) -> None:
    async with bus.opened(), Consumer(bus.transport, prefetch=1).stream("#") as notifications:
        for event_type in (START, END):
            await bus.publish(notification_body(event_type))
        first = await read(notifications, 1)
        await bus.clock.advance(1)
        waiting = bus.depth(the_queue(bus))
        second = await read(notifications, 1)
        left = bus.depth(the_queue(bus))

    assert [[START], [END]] == [first, second]
    assert [1, 0] == [waiting, left]


async def test_a_slow_reader_leaves_the_rest_on_the_broker(bus: Bus) -> None:
    async with bus.opened(), Consumer(bus.transport, prefetch=3).stream("#") as notifications:
        for _ in range(10):
            await bus.publish(notification_body())
        await bus.clock.advance(1)
        waiting = bus.depth(the_queue(bus))
        given = await read(notifications, 10)

    assert 7 == waiting
    assert 10 == len(given)


async def test_leaving_deletes_the_queue_and_ends_the_iteration(bus: Bus) -> None:
    async with bus.opened():
        async with Consumer(bus.transport).stream("#") as notifications:
            await bus.publish(notification_body())
            await read(notifications, 1)
            await bus.publish(notification_body())
        left = bus.transport.depths()
        rest = [notification async for notification in notifications]

    assert ({}, []) == (left, rest)


async def test_a_reader_that_waits_is_told_of_the_end(bus: Bus) -> None:
    async with bus.opened():
        async with Consumer(bus.transport).stream("#") as notifications:
            reading = asyncio.create_task(anext(notifications, None))
            await bus.clock.advance(1)
        given = await reading

    assert given is None


async def test_cancelling_a_reader_loses_nothing(bus: Bus) -> None:
    async with bus.opened(), Consumer(bus.transport).stream("#") as notifications:
        reading = asyncio.create_task(anext(notifications))
        await bus.clock.advance(1)
        reading.cancel()
        await bus.publish(notification_body())
        given = await read(notifications, 1)

    assert [END] == given


async def test_what_cannot_be_read_is_logged_and_counted(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    async with bus.opened(), Consumer(bus.transport).stream(volume_swap.end) as notifications:
        await bus.publish(b"instance.volume_swap.end {")
        await bus.publish(b"no zlib", headers={"compression": "application/x-gzip"})
        await bus.publish(notification_body(FLAVOR, message_id="like instance.volume_swap.end"))
        await bus.publish(notification_body())
        given = await read(notifications, 1)

        assert 2 == notifications.unreadable
        assert 0 == bus.depth(the_queue(bus))
    assert [END] == given
    assert 2 == caplog.text.count("a stream leaves out a message of 'versioned_notifications.info'")


async def test_a_payload_of_another_class_is_left_out(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    async with bus.opened(), Consumer(bus.transport).stream(EventPattern("#", ExceptionPayload)) as notifications:
        await bus.publish(notification_body())
        await until(lambda: notifications.unreadable)

    assert "the payload is a InstanceActionVolumeSwapPayload, and # means a ExceptionPayload" in caplog.text


async def test_the_bodys_exception_goes_on_as_it_was(bus: Bus) -> None:
    error = KeyError("mine")
    async with bus.opened():
        with pytest.raises(KeyError) as caught:
            async with Consumer(bus.transport).stream("#"):
                raise error

    assert error is caught.value


async def test_it_may_be_left_in_another_task(bus: Bus) -> None:
    async with bus.opened():
        streaming = Consumer(bus.transport).stream("#")
        await asyncio.create_task(streaming.__aenter__())
        await asyncio.create_task(streaming.__aexit__(None, None, None))

        assert {} == bus.transport.depths()


async def test_a_broker_that_is_away_is_an_error_at_the_deadline(bus: Bus) -> None:
    async with bus.opened():
        bus.transport.lose()

        async def start() -> None:
            async with Consumer(bus.transport).stream("#", start_timeout=5):
                pass

        starting = asyncio.create_task(start())
        await bus.clock.advance(5)
        with pytest.raises(TransportError, match="not ready after 5 s"):
            await starting


async def test_an_empty_pattern_is_an_error(bus: Bus) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Consumer(bus.transport).stream("")
