"""Acknowledging in few frames, and what a delivery is made of."""

from __future__ import annotations

import asyncio
from dataclasses import fields

import pamqp.frame
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands

from aioswap.transports.base import Delivery
from aioswap.transports.rabbit_delivery import RabbitSettler, Route, delivery_of
from aioswap.transports.rabbit_fast import FastTeller


class _Wire:
    """Keeps what is written, as readable frames."""

    def __init__(self) -> None:
        self.writes: list[list[str]] = []

    def __call__(self, data: bytes) -> None:
        told = []
        while data:
            size, channel, frame = pamqp.frame.unmarshal(data)
            data = data[size:]
            assert 7 == channel
            assert isinstance(frame, commands.Basic.Ack | commands.Basic.Nack)
            many = "..." if frame.multiple else ""
            told.append(f"{many}{frame.delivery_tag}" if isinstance(frame, commands.Basic.Ack) else f"-{frame.delivery_tag}")
        self.writes.append(told)


def _settler(delivered: int) -> tuple[RabbitSettler, _Wire]:
    wire = _Wire()
    settler = RabbitSettler(FastTeller(7, wire))
    settler.delivered(delivered)
    return settler, wire


async def test_what_is_settled_in_one_turn_is_one_write_and_one_frame() -> None:
    settler, wire = _settler(5)
    for tag in (2, 1, 3):
        settler.settle(tag, requeue=False)
    before = list(wire.writes)
    await asyncio.sleep(0)
    settler.settle(4, requeue=False)
    await asyncio.sleep(0)

    assert [] == before
    assert [["...3"], ["4"]] == wire.writes


async def test_beyond_a_gap_they_are_told_one_by_one() -> None:
    settler, wire = _settler(5)
    for tag in (1, 3, 5):
        settler.settle(tag, requeue=False)
    await asyncio.sleep(0)
    settler.settle(2, requeue=False)
    await asyncio.sleep(0)
    settler.settle(4, requeue=False)
    await asyncio.sleep(0)

    assert [["1", "3", "5"], ["2"], ["4"]] == wire.writes


async def test_what_is_given_back_is_never_acknowledged() -> None:
    settler, wire = _settler(4)
    settler.settle(1, requeue=False)
    settler.settle(2, requeue=True)
    settler.settle(3, requeue=False)
    settler.flush()

    assert [["-2", "...3"]] == wire.writes


async def test_settling_again_or_what_never_came_does_nothing() -> None:
    settler, wire = _settler(3)
    for tag in (1, 1, 3, 3, 4, 0):
        settler.settle(tag, requeue=False)
    settler.settle(1, requeue=True)
    settler.settle(3, requeue=True)
    settler.flush()
    settler.flush()

    assert [["1", "3"]] == wire.writes


@given(data=st.data(), count=st.integers(1, 30))
def test_each_delivery_is_told_exactly_once(data: st.DataObject, count: int) -> None:
    order = data.draw(st.permutations(range(1, count + 1)))
    requeued = data.draw(st.sets(st.integers(1, count)))
    turns = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))

    async def settle() -> list[str]:
        settler, wire = _settler(count)
        for tag, ends in zip(order, turns, strict=True):
            settler.settle(tag, requeue=tag in requeued)
            if ends:
                settler.flush()
        settler.flush()
        return [frame for write in wire.writes for frame in write]

    waiting = set(range(1, count + 1))
    acked: set[int] = set()
    given_back: set[int] = set()
    for frame in asyncio.run(settle()):
        number = int(frame.lstrip("-."))
        assert number in waiting  # else the broker closes the channel
        meant = {tag for tag in waiting if tag <= number} if frame.startswith("...") else {number}
        (given_back if frame.startswith("-") else acked).update(meant)
        waiting -= meant

    assert set() == waiting
    assert (requeued, set(order) - requeued) == (given_back, acked)


async def test_why_properties_cannot_be_read_is_told_in_the_delivery() -> None:
    settler, _ = _settler(1)
    delivery = delivery_of(Route("e", "k"), 1, True, b"body", settler, "the properties cannot be read")

    assert (None, b"body", {}, None) == (delivery.body, delivery.original, delivery.headers, delivery.message_id)
    assert ("the properties cannot be read", {}, True) == (delivery.unreadable, delivery.properties, delivery.redelivered)


async def test_a_delivery_has_everything_that_was_read() -> None:
    settler, _ = _settler(7)
    delivery = delivery_of(Route("e", "k"), 7, False, b"body", settler, ("m", {"h": 1}, {"type": "t"}))

    assert {
        "body": b"body",
        "original": b"body",
        "unreadable": None,
        "exchange": "e",
        "routing_key": "k",
        "redelivered": False,
        "message_id": "m",
        "headers": {"h": 1},
        "properties": {"type": "t"},
        "tag": 7,
        "settler": settler,
    } == {field.name: getattr(delivery, field.name) for field in fields(Delivery)}
