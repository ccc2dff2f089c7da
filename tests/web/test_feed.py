"""What streams are told, and what happens to readers who are too slow or too many."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from aioswap.tracker import SwapTracker
from aioswap.tracking.changes import Changes
from aioswap.web.feed import Feed, Stream
from aioswap.web.shelf import Wanted
from tests.swap_kit import swap_event
from tests.tracker_kit import Air, until
from tests.web.kit import served


@pytest.fixture
async def air() -> AsyncIterator[Air]:
    air = Air()
    async with air.opened():
        yield air


async def test_a_stream_begins_with_all_and_goes_on_with_each_change(air: Air) -> None:
    tracker = SwapTracker(air.transport, stuck_after=900, clock=air.clock)
    async with tracker, served(tracker, clock=air.clock) as site:
        await air.say(swap_event("start", request_id="before"))
        async with site.events() as events:
            first = await events.until("snapshot")
            await air.say(swap_event("start", request_id="after"), swap_event("end", 2, request_id="before"))
            changes = [await events.until("swap") for _ in range(2)]
            await air.clock.advance(900)
            stuck = await events.until("swap")

    assert [(1, "before", "running")] == [(swap["id"], swap["request_id"], swap["state"]) for swap in first["swaps"]]
    assert [(2, "after", "running"), (1, "before", "succeeded")] == [
        (change["swap"]["id"], change["swap"]["request_id"], change["swap"]["state"]) for change in changes
    ]
    assert (2, "stuck") == (stuck["swap"]["id"], stuck["swap"]["state"])
    assert {"running": 0, "succeeded": 1, "failed": 0, "stuck": 1} == stuck["counts"]


async def test_it_beats_while_nothing_happens_and_at_once_when_the_tracker_is_deaf(air: Air) -> None:
    tracker = SwapTracker(air.transport, clock=air.clock)
    async with tracker, served(tracker, clock=air.clock) as site, site.events() as events:
        await events.until("snapshot")
        await air.clock.advance(10)
        beat = await events.until("beat")
        air.transport.lose()
        await air.clock.advance(1)
        deaf = await events.until("beat")

    assert (("2026-01-01T00:00:10+00:00", []), "2026-01-01T00:00:11+00:00") == ((beat["now"], beat["deaf"]), deaf["now"])
    assert deaf["deaf"][0].startswith("connection 1 of 1 to RabbitMQ is away")


async def test_a_history_that_cannot_be_written_is_a_note(air: Air, tmp_path: Path) -> None:
    tracker = SwapTracker(air.transport, history=tmp_path / "swaps.db", clock=air.clock)
    async with tracker, served(tracker, clock=air.clock) as site:
        before = site.app.feed.notes()
        with closing(sqlite3.connect(tmp_path / "swaps.db")) as connection:
            connection.execute("ALTER TABLE swaps RENAME TO away")
        await air.say(swap_event("start"))
        await until(lambda: tracker.health().trouble)
        async with site.events() as events:
            snapshot = await events.until("snapshot")

    assert () == before
    assert [] == snapshot["deaf"]
    assert snapshot["notes"][0].startswith("the history can't be written: ")


async def test_a_reader_who_is_too_slow_is_cut_off_and_begins_anew(air: Air) -> None:
    tracker = SwapTracker(air.transport, clock=air.clock)
    async with tracker, Feed(tracker, clock=air.clock) as feed:
        slow, quick = feed.stream(), feed.stream()
        assert slow is not None
        assert quick is not None
        got = [await anext(quick)]
        for number in range(1_001):
            await air.say(swap_event("start", request_id=f"req-{number}"))
            got.append(await anext(quick))
        with pytest.raises(StopAsyncIteration):
            await anext(slow)
        feed.close(slow)
        again = feed.stream()
        assert again is not None
        snapshot = await anext(again)

    assert 1_002 == len(got)
    assert 500 == snapshot.count(b'"id":')


async def test_nothing_waits_for_a_reader_who_was_cut_off() -> None:
    stream = Stream(b"first")
    stream.end()
    stream.put(b"more")

    assert [] == [chunk async for chunk in stream]


async def test_there_are_only_so_many_streams_and_a_place_is_given_back(air: Air) -> None:
    tracker = SwapTracker(air.transport, clock=air.clock)
    async with tracker, served(tracker, clock=air.clock) as site:
        feed = site.app.feed
        streams = [feed.stream() for _ in range(49)]
        async with site.events():
            refused = await site.ask("/events")
            number = feed.streams
        await until(lambda: feed.streams == 49)
        async with site.events() as events:
            await events.until("snapshot")
        for stream in streams:
            assert stream is not None
            feed.close(stream)
        await until(lambda: not feed.streams)

    assert (50, 503, "10") == (number, refused.status, refused.headers["retry-after"])


async def test_a_tracker_may_be_opened_later_closed_and_opened_again(air: Air) -> None:
    tracker = SwapTracker(air.transport, clock=air.clock)
    async with served(tracker, clock=air.clock) as site, site.events() as events:
        told = [await events.next()]
        for _ in range(2):
            async with tracker:
                await air.say(swap_event("start"))
                await air.clock.advance(1)
                told.append(await events.next())
            told.append(await events.next())

    assert ["snapshot", "snapshot", "beat", "snapshot", "beat"] == [name for name, _ in told]
    assert [["the tracker is not open"], []] * 2 == [state["deaf"] for _, state in told[:4]]
    assert [0, 1, 1] == [len(state["swaps"]) for name, state in told if name == "snapshot"]


async def test_changes_that_were_missed_are_read_anew(air: Air) -> None:
    class Overrun(SwapTracker):
        @asynccontextmanager
        async def changes(self) -> AsyncGenerator[Changes]:
            async with super().changes() as self.given:
                yield self.given

    tracker = Overrun(air.transport, clock=air.clock)
    async with tracker, Feed(tracker, clock=air.clock) as feed:
        stream = feed.stream()
        assert stream is not None
        await air.say(swap_event("start"))
        tracker.given.missed = 7
        await air.clock.advance(1)
        chunks = [await anext(stream) for _ in range(3)]

    assert [b"snapshot", b"swap", b"snapshot"] == [chunk.split()[1] for chunk in chunks]
    assert [0, 1, 1] == [chunk.count(b'"id":') for chunk in chunks]


async def test_what_goes_wrong_is_logged_and_following_goes_on(air: Air, caplog: pytest.LogCaptureFixture) -> None:
    class Once(SwapTracker):
        fails = 1

        async def history(self, **criteria: Any) -> Any:
            self.fails -= 1
            if self.fails == 0:
                raise ValueError("password=sesame")
            return await super().history(**criteria)

    tracker = Once(air.transport, clock=air.clock)
    async with tracker, Feed(tracker, clock=air.clock) as feed:
        before = feed.deaf()
        await air.clock.advance(1)
        after = feed.deaf()

    assert (("following the tracker failed: the log says why",), ()) == (before, after)
    assert "following the tracker failed; it is tried again" in caplog.text
    assert "sesame" not in caplog.text


async def test_what_was_known_before_is_shown(air: Air, tmp_path: Path) -> None:
    async with SwapTracker(air.transport, history=tmp_path / "swaps.db", clock=air.clock):
        await air.say(swap_event("end"))
    tracker = SwapTracker(air.transport, history=tmp_path / "swaps.db", clock=air.clock)
    async with tracker, Feed(tracker, clock=air.clock) as feed:
        found = feed.swaps(Wanted(), 10)

    assert ["succeeded"] == [swap.state for _, swap in found]


async def test_a_burst_keeps_nobody_waiting(air: Air) -> None:
    tracker = SwapTracker(air.transport, clock=air.clock)
    async with tracker, Feed(tracker, clock=air.clock) as feed:
        turns = 0
        air.put(*(swap_event("start", request_id=f"req-{number}") for number in range(300)))
        while sum(feed.counts().values()) < 300:
            turns += 1
            await asyncio.sleep(0)

    assert turns > 100
