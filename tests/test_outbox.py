from __future__ import annotations

import asyncio

import pytest

from aioswap.errors import OutboxFull
from aioswap.outbox import MemoryOutbox
from aioswap.testing import ManualClock
from aioswap.transports.base import Message, Reservation

INFO, ERROR = "versioned_notifications.info", "versioned_notifications.error"


def message(number: int, key: str = INFO, size: int = 100) -> Message:
    return Message(routing_key=key, body=b"x" * size, message_id=str(number))


def ids(entries: object) -> list[str]:
    return [entry.message.message_id for entry in entries]  # type: ignore[attr-defined]


async def test_messages_are_taken_in_the_order_of_accept_whatever_their_key() -> None:
    outbox = MemoryOutbox()
    for number, key in enumerate([INFO, ERROR, INFO, ERROR, ERROR]):
        outbox.accept(message(number, key))

    assert ["0", "1", "2"] == ids(outbox.take(3))
    assert ["3", "4"] == ids(outbox.take(3))
    assert [] == outbox.take(3)


async def test_accept_is_safe_at_once() -> None:
    outbox = MemoryOutbox()

    assert outbox.accept(message(1)).done()


async def test_skipped_keys_stay_where_they_are() -> None:
    outbox = MemoryOutbox()
    for number, key in enumerate([INFO, ERROR, INFO]):
        outbox.accept(message(number, key))

    assert ["0", "2"] == ids(outbox.take(5, skip={ERROR}))
    assert ["1"] == ids(outbox.take(5, only=ERROR))
    assert [] == outbox.take(5, only=ERROR)


async def test_what_is_given_back_is_taken_again_in_order() -> None:
    outbox = MemoryOutbox()
    for number in range(6):
        outbox.accept(message(number))
    taken = outbox.take(4)
    outbox.give_back([taken[2], taken[0]])

    assert ["0", "2", "4", "5"] == ids(outbox.take(9))


async def test_confirmed_messages_make_room() -> None:
    outbox = MemoryOutbox(max_messages=2)
    outbox.accept(message(1))
    outbox.accept(message(2))
    with pytest.raises(OutboxFull, match="holds 2 messages"):
        outbox.accept(message(3))
    outbox.confirm(outbox.take(1)[0])
    outbox.accept(message(3))

    assert ["2", "3"] == ids(outbox.at_risk())
    assert (3, 1, 2) == (outbox.counts().accepted, outbox.counts().confirmed, outbox.counts().backlog)


async def test_bytes_are_bounded_too() -> None:
    outbox = MemoryOutbox(max_bytes=1 << 16)
    outbox.accept(message(1, size=60_000))
    with pytest.raises(OutboxFull):
        outbox.accept(message(2, size=6_000))

    assert 1 == outbox.counts().backlog


async def test_a_notification_for_several_topics_is_taken_whole_or_not_at_all() -> None:
    outbox = MemoryOutbox(max_messages=3)
    outbox.accept(message(1), message(2))
    with pytest.raises(OutboxFull):
        outbox.accept(message(3), message(4))

    assert ["1", "2"] == ids(outbox.at_risk())


async def test_a_reservation_keeps_room_for_the_terminal_notification() -> None:
    outbox = MemoryOutbox(max_messages=4)
    first, second = Reservation("a", 1, 1000), Reservation("b", 1, 1000)
    outbox.accept(message(1), opens=first)
    outbox.accept(message(2), opens=second)
    with pytest.raises(OutboxFull):
        outbox.accept(message(3))
    outbox.accept(message(4), closes=first)
    outbox.accept(message(5, size=500_000), closes=second)

    assert 4 == outbox.counts().backlog


async def test_what_closes_a_reservation_has_room_whatever_its_size() -> None:
    outbox = MemoryOutbox(max_bytes=1 << 16)
    reservation = Reservation("a", 1, 1000)
    outbox.accept(message(1, size=60_000), opens=reservation)
    outbox.accept(message(2, size=500_000), closes=reservation)

    assert 2 == outbox.counts().backlog


async def test_released_room_is_given_to_those_in_line() -> None:
    outbox = MemoryOutbox(max_messages=2)
    reservation = Reservation("a", 1, 1000)
    outbox.accept(message(1), opens=reservation)
    turn = outbox.line_up(message(2))
    outbox.release(reservation)
    outbox.release(reservation)

    assert turn.done()
    assert 2 == outbox.counts().backlog


async def test_room_is_given_in_turn_and_nobody_overtakes_the_line() -> None:
    outbox = MemoryOutbox(max_messages=2)
    outbox.accept(message(1))
    outbox.accept(message(2))
    turns = [outbox.line_up(message(3), message(4)), outbox.line_up(message(5))]
    outbox.confirm(outbox.take(1)[0])
    overtaken = [turn.done() for turn in turns]
    with pytest.raises(OutboxFull):
        outbox.accept(message(6))
    outbox.confirm(outbox.take(1)[0])

    assert [False, False] == overtaken
    assert [True, False] == [turn.done() for turn in turns]
    assert (await turns[0]).done()
    assert ["3", "4"] == ids(outbox.at_risk())


async def test_leaving_the_line_takes_nothing_and_lets_the_next_one_on() -> None:
    outbox = MemoryOutbox(max_messages=3)
    outbox.accept(message(1), message(2))
    large, small = outbox.line_up(message(3), message(4)), outbox.line_up(message(5))
    large.cancel()
    await asyncio.wait([small])

    assert ["1", "2", "5"] == ids(outbox.at_risk())


async def test_room_comes_too_late_for_who_has_left() -> None:
    outbox = MemoryOutbox(max_messages=2)
    outbox.accept(message(1))
    outbox.accept(message(2))
    turns = [outbox.line_up(message(3)), outbox.line_up(message(4))]
    turns[0].cancel()
    outbox.confirm(outbox.take(1)[0])

    assert turns[1].done()
    assert ["2", "4"] == ids(outbox.at_risk())


async def test_parked_messages_leave_the_backlog_and_can_be_sent_again() -> None:
    clock = ManualClock()
    outbox = MemoryOutbox(max_messages=2)
    await outbox.open(clock)
    await clock.advance(7)
    outbox.accept(message(1))
    outbox.accept(message(2))
    for entry in outbox.take(2):
        outbox.park(entry, "returned")
    parked = [(each.message.message_id, each.reason, each.parked_at) for each in outbox.parked()]

    assert [("1", "returned", 7.0), ("2", "returned", 7.0)] == parked
    assert (0, 2) == (outbox.counts().backlog, outbox.counts().parked)
    assert 1 == outbox.resend({"2"})
    assert ["2"] == ids(outbox.take(5))
    assert (2, 1, 1) == (outbox.counts().accepted, outbox.counts().backlog, outbox.counts().parked)


async def test_sending_again_takes_no_more_than_there_is_room_for() -> None:
    outbox = MemoryOutbox(max_messages=2)
    for number in range(4):
        outbox.accept(message(number))
        outbox.park(outbox.take(1)[0], "returned")

    assert 2 == outbox.resend()
    assert ["0", "1"] == ids(outbox.at_risk())
    assert ["2", "3"] == [each.message.message_id for each in outbox.parked()]


async def test_parking_is_bounded_beside_the_backlog() -> None:
    outbox = MemoryOutbox(max_messages=20_000, max_bytes=1 << 30)
    for number in range(10_001):
        outbox.accept(message(number, size=1))
    taken = outbox.take(10_001)
    parked = [outbox.park(entry, "returned") for entry in taken]

    assert [True] * 10_000 + [False] == parked
    assert 1 == outbox.counts().backlog


async def test_parking_is_bounded_in_bytes() -> None:
    outbox = MemoryOutbox(max_bytes=1 << 30)
    for number in range(65):
        outbox.accept(message(number, size=1 << 20))
    parked = [outbox.park(entry, "returned") for entry in outbox.take(65)]

    assert 63 == sum(parked)


async def test_the_oldest_age_is_the_first_of_the_backlog() -> None:
    clock = ManualClock()
    outbox = MemoryOutbox()
    await outbox.open(clock)
    empty = outbox.counts().oldest_accepted_at
    await clock.advance(3)
    outbox.accept(message(1))
    await clock.advance(3)
    outbox.accept(message(2))

    assert empty is None
    assert 3.0 == outbox.counts().oldest_accepted_at


async def test_accept_wakes_the_relay() -> None:
    outbox = MemoryOutbox()
    woken: list[int] = []
    outbox.attach(lambda: woken.append(1))
    outbox.accept(message(1))
    outbox.attach(None)
    outbox.accept(message(2))
    await outbox.close()

    assert [1] == woken


@pytest.mark.parametrize("bounds", [{"max_messages": 1}, {"max_bytes": 100}])
def test_bounds_too_small_for_one_swap_are_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="one swap"):
        MemoryOutbox(**bounds)
