"""Whatever comes from the bus: it is handled or becomes a dead letter, the sum is exact, and the next good one is handled."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aioswap.consumer import Consumer
from aioswap.hooks import Operation
from aioswap.transports.base import Message
from aioswap.transports.topology import dead_letter_queue, pool_queue
from aioswap.wire.envelope import decode, encode
from aioswap.wire.notification import Notification
from tests.capture import captures
from tests.consumer_kit import END, Bus, notification_body
from tests.faults.bad_input import CASES
from tests.faults.broken import BadInput
from tests.faults.mutations import mutated

POOL = "bad"
BATCH = 500
NAMES = [case.name for case in CASES]


def told(body: bytes) -> str:
    """Return what a body tells, whatever the order of its keys is."""
    return json.dumps(json.loads(json.loads(body)["oslo.message"]), sort_keys=True)


class Everything:
    """A consumer of everything, with a pool; its handler looks at all of a notification."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.consumer = Consumer(self.bus.transport, POOL, clock=self.bus.clock, hooks=(self,))
        self.consumer.on("#")(self.handle)
        self.heard: list[str] = []
        self.settled = 0
        self.wanted = 0
        self.all_settled = asyncio.Event()

    async def handle(self, notification: Notification[Any]) -> None:
        self.heard.append(notification.message_id)
        body = encode(notification)
        if told(body) != told(encode(decode(body))):
            raise ValueError("it is another one when it is read again")
        if not repr(notification) or len(notification.context) + len(notification.extra) < 0:
            raise ValueError("it has no repr")

    def started(self, operation: Operation, /) -> None:
        """Nothing: what counts is the end."""

    def finished(self, operation: Operation, /) -> None:
        """Count what is done."""
        if operation.kind == "settle" or (operation.kind == "receive" and operation.outcome in ("skipped", "duplicate")):
            self.settled += 1
            if self.settled == self.wanted:
                self.all_settled.set()

    def send(self, body: bytes, **more: Any) -> None:
        """Put a message on the broker, whatever its size: another broker's limits may be other ones."""
        message = {"routing_key": "versioned_notifications.info", "body": body, "message_id": "", "exchange": "nova"}
        self.bus.transport._broker.publish(Message(**{**message, **more}))
        self.wanted += 1

    async def done(self) -> None:
        """Wait until everything that was sent is settled."""
        self.all_settled.clear()
        if self.settled < self.wanted:
            await self.all_settled.wait()
        await asyncio.sleep(0)

    @property
    def sums(self) -> Counter[str]:
        """What became of what was sent."""
        health = self.consumer.health()
        return Counter(handled=health.handled, skipped=health.skipped, dead=health.dead_letters, duplicates=health.duplicates)


@asynccontextmanager
async def everything() -> AsyncIterator[Everything]:
    """A consumer of everything that runs."""
    every = Everything()
    async with every.bus.transport, every.consumer.running():  # no deadline: how long it takes says something of the machine
        yield every


def message_of(case: BadInput, body: bytes) -> dict[str, Any]:
    return {"body": body, "headers": case.headers, "properties": case.properties, "message_id": case.message_id}


async def redelivered(every: Everything) -> None:
    """Take what is in the pool's queue, and give it back."""
    async with every.bus.transport.browser(pool_queue(POOL)) as browser:
        delivery = await browser.get()
        assert delivery is not None
        delivery.requeue()


@pytest.mark.parametrize("case", CASES, ids=NAMES)
async def test_a_bad_message_is_handled_or_a_dead_letter_and_the_next_good_one_is_handled(case: BadInput) -> None:
    body = case.make()
    every = Everything()
    async with every.bus.opened():
        async with every.consumer.running():
            pass  # its queue is there now
        every.send(**message_of(case, body))
        if case.redelivered:
            await redelivered(every)
        async with every.consumer.running():
            await every.done()
            every.send(notification_body(END, message_id="good"))
            await every.done()
            health = every.consumer.health()
        dead = await every.bus.look(dead_letter_queue(POOL))

    assert Counter(handled=1 + case.handled, dead=not case.handled) == +every.sums
    assert "good" == every.heard[-1]
    assert [not case.handled] == [len(dead) == 1]
    assert all(body[: len(letter.original)] == letter.original and letter.headers["aioswap-reason"] for letter in dead)
    assert (None, 0) == (health.link.degraded, health.in_flight)


async def test_one_id_with_two_bodies_is_two_notifications() -> None:
    async with everything() as every:
        for host in ("a", "b", "b"):
            inner = json.loads(json.loads(notification_body(END, message_id="same"))["oslo.message"]) | {"publisher_id": host}
            every.send(json.dumps(inner).encode())
        await every.done()

    assert {"handled": 2, "duplicates": 1} == +every.sums


@pytest.mark.parametrize("name", [found.name for found in captures()])
async def test_nothing_that_a_nova_has_sent_is_refused(name: str) -> None:
    sample = next(found for found in captures() if found.name == name)
    async with everything() as every:
        every.send(sample.raw, headers=sample.headers, properties=sample.properties)
        await every.done()

    assert {"handled": 1} == +every.sums


async def _take_all(bodies: Iterable[bytes]) -> tuple[Counter[str], int]:
    """Let a consumer take `bodies`, a good notification after each `BATCH` of them; return the sums and the good ones."""
    good = 0
    async with everything() as every:
        for number, body in enumerate(bodies, 1):
            every.send(body)
            if number % BATCH == 0:
                good += 1
                every.send(notification_body(END, message_id=f"good {good}"))
                await every.done()
                assert [f"good {good}"] == [heard for heard in every.heard if heard == f"good {good}"]
        await every.done()
        assert every.wanted == every.settled == every.sums.total()
        dead = every.bus.depth(dead_letter_queue(POOL))
    sums = every.sums

    assert dead == sums["dead"]
    return sums, good


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(1, 20))])
async def test_a_mutated_message_is_handled_or_a_dead_letter(seed: int, record_property: Any) -> None:
    random = Random(seed)
    samples = [found.body for found in captures()]
    sums, good = await _take_all(mutated(random, samples, 5_000))
    record_property("sums", dict(sums))
    print(f"seed {seed}: {dict(sums)}, of which {good} are good ones in between")

    assert 5_000 + good == sums.total()
    assert min(sums["handled"], sums["dead"]) > 500


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(["uuid", "a.data"]), inner, max_size=4)
    ),
    max_leaves=12,
)
_TEXTS = st.text() | st.sampled_from([END, "compute.exception", "2026-11-22 14:13:04.816647"])
_MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("message_id", "publisher_id", "event_type", "priority", "timestamp"), _TEXTS | _VALUES),
        "payload": _VALUES
        | st.fixed_dictionaries({f"nova_object.{key}": _TEXTS | _VALUES for key in ("name", "namespace", "version", "data")}),
        "_unique_id": _VALUES,
        "_context_user": _VALUES,
    },
)
_BODIES = st.binary() | st.one_of(
    st.builds(lambda value: json.dumps(value).encode(), _VALUES | _MESSAGES),
    st.builds(
        lambda version, value: json.dumps({"oslo.version": version, "oslo.message": json.dumps(value)}).encode(),
        st.just("2.0") | _VALUES,
        _MESSAGES,
    ),
)


@settings(max_examples=25)
@given(st.lists(_BODIES, min_size=20, max_size=40))
def test_a_generated_body_is_handled_or_a_dead_letter(bodies: list[bytes]) -> None:
    sums, _ = asyncio.run(_take_all(bodies))

    assert len(bodies) == sums.total()
