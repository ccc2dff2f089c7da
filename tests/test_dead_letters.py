"""Dead letters: looking at them takes nothing; a replay is confirmed before its dead letter goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aioswap.consumer import Consumer
from aioswap.dead_letters import DeadLetter, DeadLetters
from aioswap.errors import TransportError
from aioswap.outcomes import Reject, Retry, RetryPolicy
from aioswap.transports.base import Confirmation, Delivery
from aioswap.transports.limits import MAX_COPY
from aioswap.wire.events import volume_swap
from tests.consumer_kit import END, ERROR, START, Bus, OddTransport, Script, body_of, notification_body, until

QUEUE, DEAD = "aioswap.billing", "aioswap.billing.dead"


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def consumer(bus: Bus) -> Consumer:
    return Consumer(bus.transport, "billing", retry=RetryPolicy(attempts=2), clock=bus.clock)


@pytest.fixture
def letters(bus: Bus) -> DeadLetters:
    return DeadLetters(bus.transport, "billing", clock=bus.clock)


async def kill(bus: Bus, consumer: Consumer, *bodies: bytes) -> None:
    """Publish what the consumer's handlers reject."""
    async with consumer.running():
        for body in bodies:
            await bus.publish(body)
        await until(lambda: consumer.health().dead_letters == len(bodies))


def ids(letters: Any) -> list[str | None]:
    return [letter.message_id for letter in letters]


async def test_a_dead_letter_tells_what_and_why(bus: Bus, consumer: Consumer, letters: DeadLetters) -> None:
    consumer.on(volume_swap.error, name="page")(Script(Retry(), Retry(reason="busy")).handle)
    body = body_of(f"nova34-v2-gzip__{ERROR}")
    async with bus.opened(), consumer.running():
        await bus.publish(body, headers={"compression": "application/x-gzip"}, routing_key="versioned_notifications.error")
        await until(lambda: consumer.health().retried)
        await bus.clock.advance(1)
        await until(lambda: consumer.health().dead_letters)
        (letter,) = await letters.list()
        (delivery,) = await bus.look(DEAD)

    started = datetime(2026, 1, 1, tzinfo=UTC)
    assert b'"oslo.message"' in letter.body
    assert (
        DeadLetter(
            id=str(delivery.message_id),
            event_type=ERROR,
            message_id=letter.message_id,
            publisher_id="nova-compute:compute-1",
            reason="page: busy (attempt 2 of 2)",
            handlers=("page",),
            attempts=2,
            replays=0,
            first=started,
            last=started + timedelta(seconds=1),
            routing_key="versioned_notifications.error",
            body=letter.body,
            headers=delivery.headers,
        )
        == letter
    )
    assert "oslo" not in repr(letter)
    assert "compression" not in repr(letter)


async def test_looking_takes_nothing(bus: Bus, consumer: Consumer, letters: DeadLetters) -> None:
    consumer.on(volume_swap.any)(Script(*(Reject("no") for _ in range(3))).handle)
    async with bus.opened():
        await kill(bus, consumer, *(notification_body(message_id=number) for number in "123"))
        listed, some = await letters.list(), await letters.list(limit=2)
        shown = await letters.show(listed[1].id)
        left = await letters.list()

    assert ["1", "2", "3"] == ids(listed) == ids(left)
    assert ["1", "2"] == ids(some)
    assert listed[1] == shown


async def test_a_replay_runs_the_handlers_that_did_not_acknowledge_and_attempts_start_anew(
    bus: Bus, consumer: Consumer, letters: DeadLetters
) -> None:
    fine, script = Script(), Script(Reject("no"), Retry(), Retry(reason="busy"), None)
    consumer.on(volume_swap.end, name="fine")(fine.handle)
    consumer.on(volume_swap.end, name="rejects")(script.handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().dead_letters == 1)
        replayed = await letters.replay()
        await until(lambda: consumer.health().retried == 1)
        await bus.clock.advance(1)
        await until(lambda: consumer.health().dead_letters == 2)
        (again,) = await letters.list()
        await letters.replay([again.id])
        await until(lambda: consumer.health().handled)
        left = bus.depth(DEAD)

    assert (1, 0) == (replayed, left)
    assert [1, 4] == [len(fine.heard), len(script.heard)]
    assert ("rejects: busy (attempt 2 of 2)", 2, 1) == (again.reason, again.attempts, again.replays)
    assert datetime(2026, 1, 1, tzinfo=UTC) == again.first
    assert "versioned_notifications.info" == again.routing_key


async def test_a_replay_of_what_could_not_be_read_runs_all_that_match(
    bus: Bus, consumer: Consumer, letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Script(), Script()
    consumer.on(volume_swap.end, name="one")(one.handle)
    consumer.on(volume_swap.end, name="two")(two.handle)
    async with bus.opened(), consumer.running():
        with monkeypatch.context() as patch:
            patch.setattr("aioswap.consuming.reading.decode", lambda body: 1 / 0)
            await bus.publish(notification_body())
            await until(lambda: consumer.health().dead_letters)
        await letters.replay()
        await until(lambda: consumer.health().handled)

    assert [1, 1] == [len(one.heard), len(two.heard)]


async def test_a_replay_goes_to_its_own_pool_only(bus: Bus, consumer: Consumer, letters: DeadLetters) -> None:
    other, script = Consumer(bus.transport, "other", clock=bus.clock), Script()
    other.on(volume_swap.any)(script.handle)
    consumer.on(volume_swap.any)(Script(Reject("no")).handle)
    async with bus.opened(), other.running(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().dead_letters and other.health().handled)
        await letters.replay()
        await until(lambda: consumer.health().handled)

    assert 1 == len(script.heard)


async def test_only_the_named_ones_are_replayed_or_dropped(bus: Bus, consumer: Consumer, letters: DeadLetters) -> None:
    consumer.on(volume_swap.any)(Script(*(Reject("no") for _ in range(4))).handle)
    async with bus.opened():
        await kill(bus, consumer, *(notification_body(message_id=number) for number in "1234"))
        found = await letters.list()
        replayed = await letters.replay([found[1].id, "no such id"])
        dropped = await letters.drop([found[2].id])
        left, waiting = await letters.list(), bus.depth(QUEUE)

    assert (1, 1, 1) == (replayed, dropped, waiting)
    assert ["1", "4"] == ids(left)


async def test_dropping_all_empties_the_queue(bus: Bus, consumer: Consumer, letters: DeadLetters) -> None:
    consumer.on(volume_swap.any)(Script(Reject("no"), Reject("no")).handle)
    async with bus.opened():
        await kill(bus, consumer, notification_body(START), notification_body(END))
        dropped = await letters.drop()
        left = bus.depth(DEAD)

    assert (2, 0) == (dropped, left)


async def test_what_dies_again_during_a_replay_stays(bus: Bus, consumer: Consumer, letters: DeadLetters) -> None:
    consumer.on(volume_swap.any)(Script(*(Reject("no") for _ in range(100))).handle)
    async with bus.opened(), consumer.running():
        for _ in range(5):
            await bus.publish(notification_body())
        await until(lambda: consumer.health().dead_letters == 5)
        replayed = await letters.replay()
        await until(lambda: consumer.health().dead_letters == 10)
        left = await letters.list()

    assert 5 == replayed
    assert [1] * 5 == [letter.replays for letter in left]


@pytest.mark.parametrize("answer", [Confirmation.RETURNED, Confirmation.NACKED])
async def test_a_refused_replay_keeps_its_dead_letter(
    bus: Bus, consumer: Consumer, letters: DeadLetters, answer: Confirmation
) -> None:
    consumer.on(volume_swap.any)(Script(Reject("no")).handle)
    async with bus.opened():
        await kill(bus, consumer, notification_body())
        bus.transport.refuse(QUEUE, answer)
        with pytest.raises(TransportError, match=rf"{QUEUE} \({answer}\).*replayed before: 0"):
            await letters.replay()

        assert 1 == bus.depth(DEAD)


async def test_a_broker_that_does_not_answer_keeps_the_dead_letter(bus: Bus, consumer: Consumer, letters: DeadLetters) -> None:
    import asyncio

    consumer.on(volume_swap.any)(Script(Reject("no")).handle)
    async with bus.opened():
        await kill(bus, consumer, notification_body())
        bus.transport.hold_confirms()
        replaying = asyncio.create_task(letters.replay())
        await bus.clock.advance(30)
        with pytest.raises(TransportError, match="did not confirm a copy within 30 s: it may or may not have arrived"):
            await replaying

        assert 1 == bus.depth(DEAD)


async def test_without_a_queue_or_a_broker_there_is_an_error(bus: Bus, letters: DeadLetters) -> None:
    async with bus.opened():
        with pytest.raises(TransportError, match="no queue"):
            await letters.list()
        bus.transport.lose()
        with pytest.raises(TransportError):
            await letters.drop()


async def test_what_is_not_there_cannot_be_shown(bus: Bus, consumer: Consumer, letters: DeadLetters) -> None:
    consumer.on(volume_swap.any)(Script(Reject("no")).handle)
    async with bus.opened():
        await kill(bus, consumer, notification_body())
        with pytest.raises(LookupError, match="no dead letter 'gone'"):
            await letters.show("gone")


def test_a_limit_or_a_pool_outside_its_range_is_an_error(bus: Bus) -> None:
    with pytest.raises(ValueError, match="pool"):
        DeadLetters(bus.transport, "no pool")


async def test_a_limit_below_one_is_an_error(letters: DeadLetters) -> None:
    with pytest.raises(ValueError, match="limit=0"):
        await letters.list(limit=0)


DEATH = {
    "reason": "delivery_limit",
    "queue": QUEUE,
    "time": datetime(2026, 1, 2, tzinfo=UTC),
    "routing-keys": ["versioned_notifications.info"],
}


async def test_what_the_broker_has_dead_lettered_is_shown_and_replayed(
    bus: Bus, consumer: Consumer, letters: DeadLetters
) -> None:
    script = Script()
    consumer.on(volume_swap.any, name="end")(script.handle)
    body = notification_body()
    async with bus.opened(), consumer.running():
        headers = {"x-death": [DEATH], "x-first-death-queue": QUEUE}
        await bus.publish(body, routing_key=DEAD, exchange="", headers=headers, message_id="")
        (letter,) = await letters.list()
        same = await letters.show(letter.id)
        await letters.replay([letter.id])
        await until(lambda: consumer.health().handled)

    assert letter == same
    assert ("delivery_limit in queue aioswap.billing, by the broker", (), 0) == (
        letter.reason,
        letter.handlers,
        letter.attempts,
    )
    assert (None, datetime(2026, 1, 2, tzinfo=UTC)) == (letter.first, letter.last)
    assert ("versioned_notifications.info", 32) == (letter.routing_key, len(letter.id))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-death": "odd", "aioswap-attempts": "odd", "aioswap-first": "no time", "aioswap-handlers": "odd"},
        {"x-death": [], "aioswap-attempts": -1, "aioswap-last": 3, "aioswap-owed": [1]},
        {"x-death": ["odd"], "aioswap-reasons": [None]},
        {"x-death": [{"routing-keys": [], "time": "odd"}]},
        {"x-death": [{"routing-keys": [5]}]},
    ],
    ids=str,
)
async def test_odd_headers_are_no_reason_to_fail(
    bus: Bus, consumer: Consumer, letters: DeadLetters, headers: dict[str, Any]
) -> None:
    consumer.on(volume_swap.any)(Script().handle)
    async with bus.opened(), consumer.running():
        await bus.publish(b"no notification", routing_key=DEAD, exchange="", headers=headers)
        (letter,) = await letters.list()

    assert (None, None, None) == (letter.event_type, letter.message_id, letter.publisher_id)
    assert ((), 0, None, None, DEAD) == (letter.handlers, letter.attempts, letter.first, letter.last, letter.routing_key)
    assert b"no notification" == letter.body


async def test_a_time_without_a_zone_is_utc(bus: Bus, consumer: Consumer, letters: DeadLetters) -> None:
    consumer.on(volume_swap.any)(Script().handle)
    async with bus.opened(), consumer.running():
        await bus.publish(b"", routing_key=DEAD, exchange="", headers={"aioswap-first": "2026-01-02T00:00:00"})
        (letter,) = await letters.list()

    assert datetime(2026, 1, 2, tzinfo=UTC) == letter.first


async def test_a_body_that_cannot_be_uncompressed_is_shown_as_it_came(
    bus: Bus, consumer: Consumer, letters: DeadLetters
) -> None:
    consumer.on(volume_swap.any)(Script().handle)
    async with bus.opened(), consumer.running():
        await bus.publish(b"no zlib", headers={"compression": "application/x-gzip"})
        await until(lambda: consumer.health().dead_letters)
        (letter,) = await letters.list()

    assert b"no zlib" == letter.body


async def test_a_dead_letter_with_headers_that_cannot_be_sent_is_replayed_without_them() -> None:
    class Odd(OddTransport):
        """Another peer's dead letters: one has a header that nobody can send."""

        def browsed(self, delivery: Delivery) -> None:
            delivery.headers = {**delivery.headers, "odd": object()}

    bus = Bus(Odd)
    consumer, letters = Consumer(bus.transport, "billing", clock=bus.clock), DeadLetters(bus.transport, "billing")
    script = Script(Reject("no"))
    consumer.on(volume_swap.any)(script.handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body())
        await until(lambda: consumer.health().dead_letters)
        await letters.replay()
        await until(lambda: consumer.health().handled)

    assert 2 == len(script.heard)


async def test_a_dead_letter_that_cannot_be_sent_at_all_stays() -> None:
    class Odd(OddTransport):
        """Another peer's dead letters: one is larger than what can be sent."""

        def browsed(self, delivery: Delivery) -> None:
            delivery.original = bytes(MAX_COPY + 1)

    bus = Bus(Odd)
    consumer, letters = Consumer(bus.transport, "billing", clock=bus.clock), DeadLetters(bus.transport, "billing")
    consumer.on(volume_swap.any)(Script(Reject("no")).handle)
    async with bus.opened():
        await kill(bus, consumer, notification_body())
        with pytest.raises(TransportError, match="cannot be sent: the body has"):
            await letters.replay()

        assert 1 == bus.depth(DEAD)
