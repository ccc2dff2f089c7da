from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aioswap.errors import TransportError
from aioswap.health import LinkHealth
from aioswap.hooks import Hooks, Operation
from aioswap.outbox import MemoryOutbox
from aioswap.relay import WINDOW, Relay
from aioswap.testing import ManualClock
from aioswap.transports.base import Answer, Confirmation, Message

INFO, ERROR = "versioned_notifications.info", "versioned_notifications.error"


class ScriptedSender:
    """A sender whose broker answers when the test says so."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.answers: list[Callable[[Answer], None]] = []
        self.answered: set[int] = set()
        self.connected = asyncio.Event()
        self.connected.set()

    @property
    def health(self) -> LinkHealth:
        return LinkHealth(connected=self.connected.is_set())

    async def ready(self) -> None:
        await self.connected.wait()

    def send(self, message: Message) -> asyncio.Future[Confirmation]:
        raise AssertionError("a relay needs no future for each message")

    def submit(self, message: Message, told: Callable[[Answer], None]) -> None:
        self.sent.append(message)
        self.answers.append(told)

    @property
    def ids(self) -> list[str]:
        return [message.message_id for message in self.sent]

    def answer(self, number: int, answer: Answer = Confirmation.CONFIRMED) -> None:
        self.answered.add(number)
        self.answers[number](answer)


class Bench:
    """A relay at work between an outbox and a scripted broker."""

    def __init__(self, outbox: MemoryOutbox, hooks: Hooks) -> None:
        self.outbox = outbox
        self.clock = ManualClock()
        self.sender = ScriptedSender()
        self.relay = Relay(outbox, clock=self.clock, hooks=hooks)
        self.accepted = 0

    async def accept(self, *keys: str) -> None:
        for key in keys:
            self.outbox.accept(Message(routing_key=key, body=b"x", message_id=f"{key[-4:].strip('.')}{self.accepted}"))
            self.accepted += 1
        await self.clock.advance(0)

    async def answer(self, *answers: tuple[int, Answer]) -> None:
        for number, answer in answers:
            self.sender.answer(number, answer)
        await self.clock.advance(0)


@asynccontextmanager
async def relaying(outbox: MemoryOutbox | None = None, hooks: Hooks | None = None) -> AsyncIterator[Bench]:
    bench = Bench(outbox or MemoryOutbox(), hooks or Hooks())
    await bench.outbox.open(bench.clock)
    async with running(bench):
        yield bench


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[None]:
    task = asyncio.create_task(bench.relay.run(bench.sender))
    await bench.clock.advance(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


CONFIRMED, RETURNED, NACKED = Confirmation.CONFIRMED, Confirmation.RETURNED, Confirmation.NACKED


async def test_messages_are_published_in_order_and_removed_when_confirmed() -> None:
    async with relaying() as bench:
        await bench.accept(INFO, ERROR, INFO)
        await bench.answer((0, CONFIRMED), (1, CONFIRMED))

        assert ["info0", "rror1", "info2"] == bench.sender.ids
        assert 1 == bench.outbox.counts().backlog


async def test_at_most_a_window_is_unconfirmed() -> None:
    async with relaying() as bench:
        await bench.accept(*[INFO] * (WINDOW + 10))
        first = len(bench.sender.sent)
        await bench.answer(*[(number, CONFIRMED) for number in range(4)])

        assert WINDOW == first
        assert WINDOW + 4 == len(bench.sender.sent)


async def test_drained_returns_when_all_is_confirmed() -> None:
    async with relaying() as bench:
        await bench.accept(INFO, INFO)
        drained = asyncio.create_task(bench.relay.drained())
        await bench.answer((0, CONFIRMED))
        early = drained.done()
        await bench.answer((1, CONFIRMED))

        assert not early
        assert drained.done()


async def test_a_lost_connection_replays_from_the_lowest_unconfirmed() -> None:
    async with relaying() as bench:
        await bench.accept(INFO, INFO, INFO)
        lost = TransportError("reset")
        bench.sender.connected.clear()
        await bench.answer((0, CONFIRMED), (1, lost), (2, lost))
        await bench.accept(INFO)
        waiting = len(bench.sender.sent)
        bench.sender.connected.set()
        await bench.clock.advance(0)

        assert 3 == waiting
        assert ["info0", "info1", "info2", "info1", "info2", "info3"] == bench.sender.ids


async def test_nothing_is_sent_again_before_the_whole_window_has_come_back() -> None:
    async with relaying() as bench:
        await bench.accept(INFO, INFO)
        await bench.answer((0, TransportError("reset")))
        early = list(bench.sender.ids)
        await bench.answer((1, TransportError("reset")))

        assert ["info0", "info1"] == early
        assert ["info0", "info1", "info0", "info1"] == bench.sender.ids


async def test_any_failure_of_sending_is_connection_trouble(caplog: pytest.LogCaptureFixture) -> None:
    async with relaying() as bench:
        await bench.accept(INFO)
        await bench.answer((0, RuntimeError("a driver's own")))

        assert ["info0", "info0"] == bench.sender.ids
        assert "unexpected way" in caplog.text


@pytest.mark.parametrize("refusal", [RETURNED, NACKED])
async def test_a_refused_key_waits_in_order_while_others_flow(refusal: Confirmation) -> None:
    async with relaying() as bench:
        await bench.accept(INFO, INFO)
        await bench.answer((0, refusal), (1, refusal))
        await bench.accept(INFO, ERROR)
        flowing = list(bench.sender.ids)
        await bench.clock.advance(1)
        probing = list(bench.sender.ids)
        await bench.answer((3, CONFIRMED))

        assert ["info0", "info1", "rror3"] == flowing
        assert [*flowing, "info0"] == probing
        assert [*probing, "info1", "info2"] == bench.sender.ids
        assert {} == bench.relay.refused


async def test_a_probe_is_repeated_with_back_off_up_to_30_seconds() -> None:
    async with relaying() as bench:
        await bench.accept(INFO)
        await bench.answer((0, NACKED))
        times: list[float] = []
        for number in range(1, 8):
            while len(bench.sender.sent) <= number:
                await bench.clock.advance(0.5)
            times.append(bench.clock.monotonic())
            await bench.answer((number, NACKED))

        assert [1, 3, 7, 15, 31, 61, 91] == times
        assert {INFO: "nacked"} == bench.relay.refused
        assert 0 == bench.outbox.counts().parked


async def returned_for_a_minute(bench: Bench) -> int:
    """Let the key of everything waiting be returned until it is parked; say how many were sent."""
    for _ in range(62):
        for number in range(len(bench.sender.answers)):
            if number not in bench.sender.answered:
                bench.sender.answer(number, RETURNED)
        await bench.clock.advance(1)
    return len(bench.sender.sent)


async def test_what_is_returned_for_a_minute_is_parked_with_all_that_waits_behind_it() -> None:
    async with relaying() as bench:
        await bench.accept(INFO, INFO, INFO)
        await returned_for_a_minute(bench)
        drained = asyncio.create_task(bench.relay.drained())
        await bench.clock.advance(0)

        assert ["info0", "info1", "info2"] == sorted(each.message.message_id for each in bench.outbox.parked())
        assert "no queue is bound" in bench.outbox.parked()[0].reason
        assert drained.done()


async def test_later_messages_of_a_parked_key_are_parked_on_arrival_but_for_a_probe_every_30_seconds() -> None:
    async with relaying() as bench:
        await bench.accept(INFO)
        sent = await returned_for_a_minute(bench)
        await bench.accept(INFO, INFO)
        parked_on_arrival = (len(bench.sender.sent) - sent, bench.outbox.counts().parked)
        await bench.clock.advance(30)
        await bench.accept(INFO, INFO)
        probed = len(bench.sender.sent) - sent
        await bench.answer((sent, RETURNED))

        assert (0, 3) == parked_on_arrival
        assert 1 == probed
        assert 5 == bench.outbox.counts().parked


async def test_a_routed_probe_opens_the_gate_of_a_parked_key() -> None:
    async with relaying() as bench:
        await bench.accept(INFO)
        sent = await returned_for_a_minute(bench)
        await bench.clock.advance(30)
        await bench.accept(INFO)
        await bench.answer((sent, CONFIRMED))
        await bench.accept(INFO, INFO)

        assert sent + 3 == len(bench.sender.sent)
        assert 1 == bench.outbox.counts().parked


async def test_nacked_after_returned_waits_and_is_not_parked() -> None:
    async with relaying() as bench:
        await bench.accept(INFO)
        await bench.answer((0, RETURNED))
        await bench.clock.advance(1)
        await bench.answer((1, NACKED))
        await bench.clock.advance(100)

        assert 0 == bench.outbox.counts().parked
        assert {INFO: "nacked"} == bench.relay.refused


class NarrowOutbox(MemoryOutbox):
    """No room for parked messages."""

    def park(self, entry: Any, reason: str) -> bool:
        return False


async def test_without_room_for_parked_messages_they_wait_in_the_outbox() -> None:
    async with relaying(NarrowOutbox()) as bench:
        await bench.accept(INFO, INFO)
        await returned_for_a_minute(bench)

        assert (2, 0) == (bench.outbox.counts().backlog, bench.outbox.counts().parked)


async def test_a_message_that_no_broker_takes_is_parked_at_once() -> None:
    async with relaying() as bench:
        await bench.accept(INFO, INFO)
        await bench.answer((0, ValueError("the routing key has more than 255 bytes")), (1, CONFIRMED))

        assert ["the routing key has more than 255 bytes"] == [each.reason for each in bench.outbox.parked()]
        assert 0 == bench.outbox.counts().backlog


async def test_an_impossible_message_that_cannot_be_parked_waits_behind_its_gate() -> None:
    async with relaying(NarrowOutbox()) as bench:
        await bench.accept(INFO)
        await bench.answer((0, ValueError("too large")))

        assert {INFO: "nacked"} == bench.relay.refused
        assert 1 == bench.outbox.counts().backlog


async def test_a_probe_that_is_lost_with_the_connection_is_sent_again_on_the_next() -> None:
    async with relaying() as bench:
        await bench.accept(INFO, INFO)
        await bench.answer((0, NACKED), (1, NACKED))
        await bench.clock.advance(1)
        await bench.answer((2, TransportError("reset")))
        await bench.answer((3, CONFIRMED))

        assert ["info0", "info1", "info0", "info0", "info1"] == bench.sender.ids


async def test_an_answer_to_an_earlier_run_is_ignored() -> None:
    async with relaying() as bench:
        await bench.accept(INFO)
    async with running(bench):
        early = len(bench.sender.sent)
        await bench.answer((0, CONFIRMED))
        still = bench.outbox.counts().backlog
        await bench.answer((1, CONFIRMED))

    assert (2, 1, 0) == (early, still, bench.outbox.counts().backlog)


async def test_what_was_in_flight_goes_back_when_the_relay_ends_and_late_answers_are_ignored() -> None:
    async with relaying() as bench:
        await bench.accept(INFO, ERROR)
        await bench.answer((1, NACKED))
    bench.sender.answer(0)
    await bench.clock.advance(0)

    assert ["info0", "rror1"] == [entry.message.message_id for entry in bench.outbox.take(5)]
    assert 2 == bench.outbox.counts().backlog


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str | None]] = []

    def started(self, operation: Operation) -> None:
        self.seen.append((operation.kind, operation.outcome, operation.message_id))

    def finished(self, operation: Operation) -> None:
        self.seen.append((operation.kind, operation.outcome, operation.message_id))


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(CONFIRMED, "confirmed"), (RETURNED, "returned"), (NACKED, "nacked"), (TransportError("reset"), "unconfirmed")],
)
async def test_hooks_see_each_publish_with_its_outcome(answer: Answer, outcome: str) -> None:
    recorder = Recorder()
    async with relaying(hooks=Hooks([recorder])) as bench:
        await bench.accept(INFO)
        bench.sender.connected.clear()
        await bench.answer((0, answer))

        assert [("publish", "", "info0"), ("publish", outcome, "info0")] == recorder.seen
