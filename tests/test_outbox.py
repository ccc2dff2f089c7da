"""What every outbox promises, in memory and with files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from aioswap.clock import Clock
from aioswap.errors import OutboxFull
from aioswap.outbox import MemoryOutbox
from aioswap.outbox_file import FileOutbox
from aioswap.testing import ManualClock
from aioswap.transports.base import Reservation
from tests.outbox_kit import DESTINATION, ERROR, INFO, Make, accept, each, ids, message


@pytest.fixture(params=["memory", "file"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Make]:
    """Make an outbox of either kind, and open it."""
    opened: list[MemoryOutbox | FileOutbox] = []

    async def make(clock: Clock | None = None, **bounds: Any) -> MemoryOutbox | FileOutbox:
        outbox = MemoryOutbox(**bounds) if request.param == "memory" else FileOutbox(tmp_path / "outbox", **bounds)
        await outbox.open(clock or Clock(), destination=DESTINATION)
        opened.append(outbox)
        return outbox

    yield make
    for outbox in opened:
        await outbox.close()


async def test_messages_are_taken_in_the_order_of_accept_whatever_their_key(make: Make) -> None:
    outbox = await make()
    for number, key in enumerate([INFO, ERROR, INFO, ERROR, ERROR]):
        await accept(outbox, message(number, key))

    assert ["0", "1", "2"] == ids(outbox.take(3))
    assert ["3", "4"] == ids(outbox.take(3))
    assert [] == outbox.take(3)


async def test_accept_is_safe_at_once_in_memory() -> None:
    outbox = MemoryOutbox()

    assert outbox.accept(message(1)).done()


async def test_skipped_keys_stay_where_they_are(make: Make) -> None:
    outbox = await make()
    for number, key in enumerate([INFO, ERROR, INFO]):
        await accept(outbox, message(number, key))

    assert ["0", "2"] == ids(outbox.take(5, skip={ERROR}))
    assert ["1"] == ids(outbox.take(5, only=ERROR))
    assert [] == outbox.take(5, only=ERROR)


async def test_what_is_given_back_is_taken_again_in_order(make: Make) -> None:
    outbox = await make()
    for number in range(6):
        await accept(outbox, message(number))
    taken = outbox.take(4)
    outbox.give_back([taken[2], taken[0]])

    assert ["0", "2", "4", "5"] == ids(outbox.take(9))


async def test_confirmed_messages_make_room(make: Make) -> None:
    outbox = await make(max_messages=2)
    await accept(outbox, message(1))
    await accept(outbox, message(2))
    with pytest.raises(OutboxFull, match="holds 2 messages"):
        outbox.accept(message(3))
    outbox.confirm(outbox.take(1)[0])
    await accept(outbox, message(3))

    assert ["2", "3"] == ids(outbox.take(9))
    assert (3, 1, 2) == (outbox.counts().accepted, outbox.counts().confirmed, outbox.counts().backlog)


async def test_bytes_are_bounded_too(make: Make) -> None:
    outbox = await make(max_bytes=1 << 16)
    await accept(outbox, message(1, size=60_000))
    with pytest.raises(OutboxFull):
        outbox.accept(message(2, size=6_000))

    assert 1 == outbox.counts().backlog


async def test_a_notification_for_several_topics_is_taken_whole_or_not_at_all(make: Make) -> None:
    outbox = await make(max_messages=3)
    await accept(outbox, message(1), message(2))
    with pytest.raises(OutboxFull):
        outbox.accept(message(3), message(4))

    assert ["1", "2"] == ids(outbox.take(9))


async def test_a_reservation_keeps_room_for_the_terminal_notification(make: Make) -> None:
    outbox = await make(max_messages=4)
    first, second = Reservation("a", 1, 1000), Reservation("b", 1, 1000)
    await accept(outbox, message(1), opens=first)
    await accept(outbox, message(2), opens=second)
    with pytest.raises(OutboxFull):
        outbox.accept(message(3))
    await accept(outbox, message(4), closes=first)
    await accept(outbox, message(5, size=500_000), closes=second)

    assert 4 == outbox.counts().backlog


async def test_what_closes_a_reservation_has_room_whatever_its_size(make: Make) -> None:
    outbox = await make(max_bytes=1 << 16)
    reservation = Reservation("a", 1, 1000)
    await accept(outbox, message(1, size=60_000), opens=reservation)
    await accept(outbox, message(2, size=500_000), closes=reservation)

    assert 2 == outbox.counts().backlog


async def test_released_room_is_given_to_those_in_line(make: Make) -> None:
    outbox = await make(max_messages=2)
    reservation = Reservation("a", 1, 1000)
    await accept(outbox, message(1), opens=reservation)
    turn = outbox.line_up(message(2))
    outbox.release(reservation)
    outbox.release(reservation)
    await (await turn)

    assert 2 == outbox.counts().backlog


async def test_room_is_given_in_turn_and_nobody_overtakes_the_line(make: Make) -> None:
    outbox = await make(max_messages=2)
    await accept(outbox, message(1))
    await accept(outbox, message(2))
    turns = [outbox.line_up(message(3), message(4)), outbox.line_up(message(5))]
    outbox.confirm(outbox.take(1)[0])
    overtaken = [turn.done() for turn in turns]
    with pytest.raises(OutboxFull):
        outbox.accept(message(6))
    outbox.confirm(outbox.take(1)[0])
    await (await turns[0])

    assert [False, False] == overtaken
    assert [True, False] == [turn.done() for turn in turns]
    assert ["3", "4"] == ids(outbox.take(9))


async def test_leaving_the_line_takes_nothing_and_lets_the_next_one_on(make: Make) -> None:
    outbox = await make(max_messages=3)
    await accept(outbox, message(1), message(2))
    large, small = outbox.line_up(message(3), message(4)), outbox.line_up(message(5))
    large.cancel()
    await (await small)

    assert ["1", "2", "5"] == ids(outbox.take(9))


async def test_room_comes_too_late_for_who_has_left(make: Make) -> None:
    outbox = await make(max_messages=2)
    await accept(outbox, message(1))
    await accept(outbox, message(2))
    turns = [outbox.line_up(message(3)), outbox.line_up(message(4))]
    turns[0].cancel()
    outbox.confirm(outbox.take(1)[0])
    await (await turns[1])

    assert ["2", "4"] == ids(outbox.take(9))


async def test_parked_messages_leave_the_backlog_and_can_be_sent_again(make: Make) -> None:
    clock = ManualClock()
    outbox = await make(clock, max_messages=2)
    await clock.advance(7)
    await accept(outbox, message(1))
    await accept(outbox, message(2))
    for entry in outbox.take(2):
        outbox.park(entry, "returned")
    parked = [(each.message.message_id, each.reason, each.parked_at) for each in outbox.parked()]

    assert [("1", "returned", 7.0), ("2", "returned", 7.0)] == parked
    assert (0, 2) == (outbox.counts().backlog, outbox.counts().parked)
    assert 1 == outbox.resend({"2"})
    assert ["2"] == ids(outbox.take(5))
    assert (2, 1, 1) == (outbox.counts().accepted, outbox.counts().backlog, outbox.counts().parked)


async def test_sending_again_takes_no_more_than_there_is_room_for(make: Make) -> None:
    outbox = await make(max_messages=2)
    for number in range(4):
        await accept(outbox, message(number))
        outbox.park(outbox.take(1)[0], "returned")

    assert 2 == outbox.resend()
    assert ["0", "1"] == ids(outbox.take(9))
    assert ["2", "3"] == [each.message.message_id for each in outbox.parked()]


async def test_parking_is_bounded_beside_the_backlog(make: Make) -> None:
    outbox = await make(max_messages=20_000, max_bytes=1 << 30)
    safe = [outbox.accept(message(number, size=1)) for number in range(10_001)]
    await asyncio.wait(safe)
    parked = [outbox.park(entry, "returned") async for entry in each(outbox, 10_001)]

    assert [True] * 10_000 + [False] == parked
    assert 1 == outbox.counts().backlog


async def test_parking_is_bounded_in_bytes(make: Make) -> None:
    outbox = await make(max_bytes=1 << 30)
    for number in range(65):
        await accept(outbox, message(number, size=1 << 20))
    parked = [outbox.park(entry, "returned") async for entry in each(outbox, 65)]

    assert 63 == sum(parked)


async def test_the_oldest_age_is_the_first_of_the_backlog(make: Make) -> None:
    clock = ManualClock()
    outbox = await make(clock)
    empty = outbox.counts().oldest_accepted_at
    await clock.advance(3)
    await accept(outbox, message(1))
    await clock.advance(3)
    await accept(outbox, message(2))

    assert empty is None
    assert 3.0 == outbox.counts().oldest_accepted_at


async def test_accept_wakes_the_relay(make: Make) -> None:
    outbox = await make()
    woken: list[int] = []
    outbox.attach(lambda: woken.append(1))
    await accept(outbox, message(1))
    outbox.attach(None)
    await accept(outbox, message(2))
    await outbox.close()

    assert [1] == woken[:1]


@pytest.mark.parametrize("bounds", [{"max_messages": 1}, {"max_bytes": 100}])
def test_bounds_too_small_for_one_swap_are_refused(bounds: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one swap"):
        MemoryOutbox(**bounds)
    with pytest.raises(ValueError, match="one swap"):
        FileOutbox(tmp_path, **bounds)
