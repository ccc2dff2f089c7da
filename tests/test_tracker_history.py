"""A tracker with a history: what survives it, what it answers late, and a disk that fails."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aioswap.errors import TransportError
from aioswap.swaps import Swap, SwapState
from aioswap.testing import ManualClock
from aioswap.tracker import SwapTracker
from aioswap.wire.notification import Notification
from tests.swap_kit import INSTANCE, OLD, exception, instance_event, swap_event
from tests.tracker_kit import Air, until

RUNNING, SUCCEEDED, FAILED, STUCK = SwapState

LIMIT = 3600.0
"""Seconds after which the swaps of these tests are stuck."""


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "swaps.db"


@pytest.fixture
def new(air: Air, path: Path) -> Callable[..., SwapTracker]:
    """Make a tracker as a new process does: it knows nothing but the history."""
    return lambda **more: SwapTracker(air.transport, stuck_after=LIMIT, history=path, clock=air.clock, **more)


def sql(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


def put_back(folder: Path, files: dict[Path, bytes]) -> None:
    for path in folder.iterdir():
        path.unlink()
    for path, content in files.items():
        path.write_bytes(content)


@asynccontextmanager
async def hanging(tracker: SwapTracker) -> AsyncIterator[None]:
    """Let the history's thread do nothing meanwhile, as with a disk that hangs."""
    begun, over = threading.Event(), threading.Event()

    def hang(swaps: object) -> None:
        begun.set()
        over.wait()

    assert tracker._history is not None
    task = asyncio.create_task(tracker._history.read(hang))
    try:
        await until(begun.is_set)
        yield
    finally:
        over.set()
        await task


@pytest.mark.parametrize("request_id", ["req-1", None])
async def test_a_swap_that_runs_while_the_process_is_restarted_is_completed(
    air: Air, new: Callable[..., SwapTracker], request_id: str | None
) -> None:
    async with air.opened():
        async with new():
            await air.say(swap_event("start", 1, request_id=request_id, global_request_id="req-global"))
        left = air.clock.utcnow()
        await air.clock.advance(60)
        async with new() as tracker:
            (running,) = tracker.running()
            await air.say(swap_event("end", 70, request_id=request_id))
            swap = await tracker.wait(global_request_id="req-global")

    assert (RUNNING, SUCCEEDED) == (running.state, swap.state)
    assert (timedelta(seconds=69), 2) == (swap.duration, len(swap.evidence))
    assert ((left, left + timedelta(seconds=60)),) == swap.deaf == running.deaf


async def test_a_late_caller_is_answered_by_the_next_process(air: Air, new: Callable[..., SwapTracker]) -> None:
    async with air.opened():
        async with new():
            await air.say(swap_event("start", 1), swap_event("error", 2))
        async with new() as tracker:
            swap = await tracker.wait(instance=INSTANCE)
            known = tracker.get("req-1")

    assert (FAILED, timedelta(seconds=1), "no valid connector") == (
        swap.state,
        swap.duration,
        swap.fault.exception_message if swap.fault else None,
    )
    assert swap == known


async def test_what_memory_has_forgotten_the_history_answers(air: Air, new: Callable[..., SwapTracker]) -> None:
    async with air.opened(), new(keep=2) as tracker:
        for number in range(9):
            await air.say(*(swap_event(phase, old=f"old-{number}", request_id=f"req-{number}") for phase in ("start", "end")))
        await tracker.history()
        swap = await tracker.wait(old="old-0")
        known = await tracker.history(instance=INSTANCE)
        newest = await tracker.history(instance=INSTANCE, limit=3)
        timings = await tracker.timings()

    assert (SUCCEEDED, None) == (swap.state, tracker.get("req-0"))
    assert [f"old-{number}" for number in range(9)] == [swap.old_volume_id for swap in known]
    assert known[6:] == newest
    assert [("host-1", 9)] == [(each.host, each.count) for each in timings]
    assert 7 == tracker.health().evicted


async def test_a_swap_that_memory_has_forgotten_can_be_waited_for(air: Air, new: Callable[..., SwapTracker]) -> None:
    async with air.opened(), new(keep=1) as tracker:
        await air.say(swap_event("start", request_id="req-1"), swap_event("start", request_id="req-2", old="another"))
        await tracker.history()
        task = asyncio.create_task(tracker.wait(old=OLD))
        await tracker.history()
        early = task.done()
        await air.say(swap_event("end", request_id="req-1"))
        swap = await task

    assert (False, SUCCEEDED) == (early, swap.state)
    assert (2, timedelta(0)) == (len(swap.evidence), swap.duration)


async def test_a_late_caller_is_told_what_is_not_written_yet(air: Air, new: Callable[..., SwapTracker]) -> None:
    async with air.opened(), new(keep=1) as tracker:
        async with hanging(tracker):
            await air.say(swap_event("end", old="old-0", request_id="req-0"), swap_event("end", request_id="req-1"))
            forgotten, unsaved = tracker.get("req-0"), tracker.health().unsaved
            waiting = asyncio.create_task(tracker.wait(old="old-0"))
            await air.clock.advance(0)
        swap = await waiting

    assert (None, True) == (forgotten, unsaved > 0)
    assert (SUCCEEDED, "req-0") == (swap.state, swap.request_id)


@pytest.mark.parametrize("request_id", ["req-1", None])
@pytest.mark.parametrize(
    ("phases", "late", "state"),
    [
        (("start",), swap_event("end", 1, request_id="", message_id="late"), SUCCEEDED),
        (("start", "end"), swap_event("progress", 1, request_id="", message_id="late"), SUCCEEDED),
        (("start", "error"), swap_event("start", 0, request_id="", message_id="start"), FAILED),
    ],
    ids=["end", "progress", "duplicate"],
)
async def test_what_comes_late_is_added_to_what_the_history_knows(
    air: Air,
    new: Callable[..., SwapTracker],
    phases: tuple[str, ...],
    late: Notification[Any],
    state: SwapState,
    request_id: str | None,
) -> None:
    late = replace(late, context={"request_id": request_id})
    async with air.opened():
        async with new() as tracker:
            await air.say(*(swap_event(phase, request_id=request_id, message_id=phase) for phase in phases))
            await air.say(*(swap_event("end", 9, old=f"{number}", request_id="req-2") for number in range(4)))
            await air.say(*(swap_event("start", 9, old=f"{number}", request_id="req-3") for number in range(4)))
        async with new(keep=1) as tracker, tracker.expect(old=OLD) as expected:
            forgotten = tracker.get("req-1")
            await air.say(late)
            swap = await tracker.wait(old=OLD)
            written = await tracker.history(old=OLD)
            expecting = asyncio.create_task(expected.wait(timeout=1))
            await air.clock.advance(1)
            with pytest.raises(TimeoutError) as unseen:
                await expecting

    assert forgotten is None
    assert [swap] == written
    assert (state, {*phases, late.message_id}) == (swap.state, set(swap.evidence))
    assert unseen.value.swap is None  # type: ignore[attr-defined]


async def test_what_was_evicted_is_known_again_when_more_of_it_comes(air: Air, new: Callable[..., SwapTracker]) -> None:
    async with air.opened(), new(keep=1) as tracker:
        for number in range(5):
            await air.say(swap_event("start", number, old=f"old-{number}", request_id=f"req-{number}"))
        air.put(*(swap_event("end", 10 + number, old=f"old-{number}", request_id=f"req-{number}") for number in range(5)))
        await air.clock.advance(0)
        swaps = [await tracker.wait(old=f"old-{number}") for number in range(5)]
        known = await tracker.history()

    assert [(SUCCEEDED, timedelta(seconds=10))] * 5 == [(swap.state, swap.duration) for swap in swaps]
    assert swaps == known


async def test_what_waits_for_the_history_is_taken_in_before_leaving(air: Air, new: Callable[..., SwapTracker]) -> None:
    async with air.opened():
        async with new(keep=1) as tracker:
            await air.say(*(swap_event("start", request_id=f"req-{number}") for number in range(3)))
            air.put(swap_event("end", request_id="req-0"))
            await asyncio.sleep(0)
        async with new() as tracker:
            swap = tracker.get("req-0")

    assert swap is not None
    assert (SUCCEEDED, 2) == (swap.state, len(swap.evidence))


async def test_without_the_history_what_comes_late_begins_anew(
    air: Air, new: Callable[..., SwapTracker], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with air.opened(), new(keep=1) as tracker:
        await air.say(*(swap_event("start", request_id=f"req-{number}") for number in range(3)))
        await tracker.timings()
        sql(path, "ALTER TABLE swaps RENAME TO away")
        await air.say(swap_event("end", request_id="req-0"))
        swap = await tracker.wait(request_id="req-0")
        sql(path, "ALTER TABLE away RENAME TO swaps")

    assert (SUCCEEDED, 1) == (swap.state, len(swap.evidence))
    assert "a swap begins anew, whatever the history knows of it" in caplog.text


async def test_an_end_that_comes_while_the_history_is_asked_is_the_answer(air: Air, new: Callable[..., SwapTracker]) -> None:
    async with air.opened(), new(keep=1) as tracker:
        await air.say(swap_event("start", request_id="req-1"), swap_event("start", request_id="req-2", old="another"))
        await tracker.history()
        task = asyncio.create_task(tracker.wait(old=OLD))
        await asyncio.sleep(0)
        air.put(swap_event("end", request_id="req-1"))
        swap = await task

    assert SUCCEEDED is swap.state


async def test_a_stuck_swap_is_told_by_one_process_only(air: Air, new: Callable[..., SwapTracker]) -> None:
    told: list[tuple[str, str | None]] = []

    def opened(name: str) -> SwapTracker:
        tracker = new()

        @tracker.on_stuck
        async def alert(swap: Swap) -> None:
            told.append((name, swap.request_id))

        return tracker

    async with air.opened():
        async with opened("first"):
            await air.say(swap_event("start", request_id="req-1"))
            await air.clock.advance(10)
            await air.say(swap_event("start", request_id=None))
            await air.clock.advance(LIMIT - 10)
        await air.clock.advance(10)
        async with opened("second"):
            await air.clock.advance(0)
        async with opened("third") as tracker:
            await air.clock.advance(0)
            stuck = tracker.stuck()

    assert [("first", "req-1"), ("second", None)] == told
    assert ["req-1", None] == [swap.request_id for swap in stuck]


async def test_signs_survive(air: Air, new: Callable[..., SwapTracker]) -> None:
    async with air.opened():
        async with new():
            await air.say(exception(1), swap_event("start", 0))
        async with new() as tracker:
            task = asyncio.create_task(tracker.wait(request_id="req-1"))
            await air.clock.advance(5)
            swap = await task

    assert (FAILED, "compute.exception from nova-compute:host-1: the request failed") == (swap.state, swap.inferred)


@pytest.mark.parametrize("event_type", ["compute.exception", "instance.delete.end"])
async def test_a_sign_is_written_at_once(air: Air, new: Callable[..., SwapTracker], event_type: str, path: Path) -> None:
    sign = exception(1) if event_type == "compute.exception" else instance_event(event_type, 1)
    async with air.opened():
        async with new() as tracker:
            await air.say(swap_event("start", 0))
            await tracker.history()
            await air.say(sign)
            await until(lambda: not tracker.health().unsaved)
            as_killed = contents(path.parent)
        put_back(path.parent, as_killed)
        await air.clock.advance(60)
        async with new() as tracker:
            swap = await tracker.wait(request_id="req-1")

    assert (FAILED, sign.message_id) == (swap.state, swap.evidence[-1])


async def test_attempts_that_become_one_are_one_in_the_history(air: Air, new: Callable[..., SwapTracker]) -> None:
    async with air.opened():
        async with new() as tracker:
            await air.say(swap_event("end", 2, request_id=None))
            apart = await tracker.history()
            await air.say(swap_event("start", 1, request_id=None))
            together = await tracker.history()
        async with new() as tracker:
            again = await tracker.history()

    assert [None] == [swap.duration for swap in apart]
    assert [timedelta(seconds=1)] == [swap.duration for swap in together]
    assert together == again


async def test_a_kill_is_a_span_without_a_listener(air: Air, new: Callable[..., SwapTracker], path: Path) -> None:
    async with air.opened():
        async with new() as tracker:
            await air.say(swap_event("start"))
            await air.clock.advance(45)
            await tracker.history()
            as_killed = contents(path.parent)
        put_back(path.parent, as_killed)
        await air.clock.advance(60)
        async with new() as tracker:
            ((begin, end),) = tracker.running()[0].deaf

    assert timedelta(seconds=75) == end - begin


async def test_spans_survive(air: Air, new: Callable[..., SwapTracker]) -> None:
    async with air.opened():
        async with new() as tracker:
            await air.say(swap_event("start"))
            air.transport.lose()
            await air.clock.advance(600)
            air.transport.restore()
            await air.clock.advance(60)
            before = tracker.running()[0].deaf
        async with new() as tracker:
            after = tracker.running()[0].deaf
            (kept,) = await tracker.history()

    assert 1 == len(before)
    assert before == after == kept.deaf


async def test_a_disk_that_fails_is_told_and_the_tracker_goes_on(
    air: Air, new: Callable[..., SwapTracker], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with air.opened():
        async with new(keep=1) as tracker:
            sql(path, "ALTER TABLE swaps RENAME TO away")
            await air.say(swap_event("start", request_id="req-1"))
            await until(lambda: tracker.health().trouble)
            failing = tracker.health()
            with pytest.raises(TimeoutError):
                task = asyncio.create_task(tracker.wait(old="another", timeout=0.001))
                await until(lambda: "a swap is waited for without it" in caplog.text)
                await air.clock.advance(1)
                await task
            with pytest.raises(OSError, match="can't be read: no such table: swaps"):
                await tracker.history()
            await air.say(swap_event("end", request_id="req-1"))
            swap = await tracker.wait(request_id="req-1")
            sql(path, "ALTER TABLE away RENAME TO swaps")
            await air.clock.advance(30)
            await until(lambda: not tracker.health().trouble)
            healed = tracker.health()
        async with new() as tracker:
            kept = tracker.get("req-1")

    assert f"the history {path} can't be written: no such table: swaps" == failing.trouble
    assert (1, 0, 0) == (failing.unsaved, failing.lost, healed.unsaved)
    assert SUCCEEDED is swap.state
    assert swap == kept
    assert 1 == sum(record.getMessage().endswith("it is tried again") for record in caplog.records)


async def test_a_fault_of_ours_stops_no_writing(air: Air, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Stumbling(ManualClock):
        """Does not know what time it is when the history writes."""

        stumbles = 0

        def utcnow(self) -> datetime:
            self.stumbles -= 1
            if not self.stumbles:
                raise KeyError("what time is it?")
            return super().utcnow()

    clock = Stumbling()
    tracker = SwapTracker(air.transport, history=path, clock=clock)
    async with air.opened(), tracker:
        await air.say(swap_event("start"))
        await tracker.history()
        clock.stumbles = 2  # at the arrival it knows
        await air.say(swap_event("end"))
        await until(lambda: "failed in an unexpected way; it is tried again" in caplog.text)
        (swap,) = await tracker.history()

    assert SUCCEEDED is swap.state


async def test_a_disk_that_hangs_is_left(air: Air, new: Callable[..., SwapTracker], caplog: pytest.LogCaptureFixture) -> None:
    tracker = new()
    async with air.opened():
        await tracker.__aenter__()
        async with hanging(tracker):
            await air.say(swap_event("start"))
            leaving = asyncio.create_task(tracker.__aexit__(None, None, None))
            await air.clock.advance(9)
            early = leaving.done()
            await air.clock.advance(11)
            await leaving

    assert not early
    assert 1 == tracker.health().lost
    assert "the history is left: writing takes longer than 10 s" in caplog.text


async def test_a_file_that_can_not_be_opened_is_an_error_at_once(air: Air, path: Path) -> None:
    async with air.opened():
        with pytest.raises(FileNotFoundError):
            async with SwapTracker(air.transport, history=path / "nowhere", clock=air.clock):
                pass
        sql(path, "PRAGMA user_version = 2")
        with pytest.raises(ValueError, match="schema version 2"):
            async with SwapTracker(air.transport, history=path, clock=air.clock):
                pass

        assert [] == air.queues()


async def test_a_broker_that_is_away_leaves_the_history_as_it_was(air: Air, new: Callable[..., SwapTracker]) -> None:
    async with air.opened():
        async with new():
            await air.say(swap_event("start"))
        left = air.clock.utcnow()
        air.transport.lose()
        tracker = new()
        opening = asyncio.create_task(tracker.__aenter__())
        await until(lambda: [timer for timer in air.clock._timers if timer[2].callback])
        await air.clock.advance(30)
        with pytest.raises(TransportError):
            await opening
        air.transport.restore()
        async with tracker:
            ((begin, _),) = tracker.running()[0].deaf

    assert left == begin


async def test_one_that_is_not_open_has_no_history(new: Callable[..., SwapTracker]) -> None:
    tracker = new()

    with pytest.raises(RuntimeError, match="this tracker is not open"):
        await tracker.history()
    with pytest.raises(RuntimeError, match="this tracker is not open"):
        await tracker.timings()
