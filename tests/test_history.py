"""A history's file: whose it is, what is in it, how long; and that it never blocks who gives it something to write."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aioswap.attempts import Attempt
from aioswap.history import SwapHistory
from aioswap.history_rows import read_attempt, row_of
from aioswap.ledger import SwapLedger
from aioswap.swaps import Criteria, Swap, SwapState
from aioswap.testing import ManualClock
from aioswap.wire.notification import Notification
from tests.swap_kit import INSTANCE, at, exception, fault, swap_event
from tests.tracker_kit import until

RUNNING, SUCCEEDED, FAILED, STUCK = SwapState


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(at(0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "swaps.db"


@pytest.fixture
def history(path: Path, clock: ManualClock) -> SwapHistory:
    return SwapHistory(path, clock=clock)


def kept(*notifications: Notification[Any], arrived: float = 0.0) -> list[tuple[Attempt, SwapState]]:
    """Return what a ledger keeps that heard these, a second after the other."""
    ledger = SwapLedger()
    for number, notification in enumerate(notifications):
        ledger.observe(notification, at(arrived + number))
    found = [(ledger.attempt(swap), swap.state) for swap in ledger.find(at(arrived + len(notifications)))]
    return [(attempt, state) for attempt, state in found if attempt is not None]


async def note(history: SwapHistory, attempts: Iterable[tuple[Attempt, SwapState]]) -> None:
    for attempt, state in attempts:
        history.note(attempt, state)
    await history.flush()


def contents(path: Path) -> dict[Path, bytes]:
    """Return what is in the folder of `path`."""
    return {each: each.read_bytes() for each in path.parent.iterdir()}


def sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def rows(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o377])
async def test_its_files_are_its_owners_alone_whatever_the_umask_is(history: SwapHistory, path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        await history.open()
        await note(history, kept(swap_event("start")))
        modes = {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
        await history.close()
    finally:
        os.umask(before)

    assert {0o600} == modes


async def test_what_was_heard_is_the_same_when_it_is_read(history: SwapHistory) -> None:
    attempts = kept(
        swap_event("start", 1.25, global_request_id="req-global", shown=("a",)),
        exception(2),
        swap_event("error", 3),
        swap_event("end", 4, instance="another", request_id=None, shown=("volume-new",)),
    )
    await history.open()
    await note(history, attempts)
    await history.close()
    remembered = await history.open()
    await history.close()

    assert attempts == sorted(remembered.attempts, key=lambda pair: pair[0].first_seen)
    assert (None, []) == (remembered.listened_until, remembered.deaf)


async def test_no_secret_and_no_context_is_in_it(history: SwapHistory, path: Path) -> None:
    error = swap_event("error")
    secret = fault("password=sesame " + 20_000 * "x")
    payload = error.payload.model_copy(update={"fault": secret})
    context = {"request_id": "req-1", "auth_token": "open sesame", "user_name": "ali baba"}
    told = Notification(
        message_id="one",
        publisher_id=error.publisher_id,
        event_type=error.event_type,
        priority="ERROR",
        timestamp=error.timestamp,
        payload=payload,
        context=context,
    )
    await history.open()
    await note(history, kept(told))
    (swap,) = await history.find()
    await history.close()
    text = b"".join(contents(path).values())

    assert swap.fault is not None
    assert swap.fault.exception_message.startswith("password=*** xxx")
    assert 4096 == len(swap.fault.exception_message)
    assert not any(word in text for word in (b"sesame", b"ali baba", b"auth_token"))


async def test_odd_text_is_kept_as_it_is(history: SwapHistory) -> None:
    odd = "lone \ud800 surrogate, nul \0, quote ' and more"
    await history.open()
    await note(history, kept(swap_event("start", instance=odd, request_id=odd), swap_event("start", request_id=None)))
    found = await history.find(Criteria(instance=odd, request_id=odd))
    await history.close()
    remembered = await history.open()
    await history.close()

    assert [odd] == [swap.instance for swap in found]
    assert {odd, INSTANCE} == {attempt.key.instance for attempt, _ in remembered.attempts}


def test_a_row_of_what_two_publishers_say_reads_as_it_was_cut() -> None:
    ledger = SwapLedger()
    for number, (phase, seconds, host) in enumerate(
        [("end", 5, "b"), ("start", 1, "a"), ("end", 2, "a"), ("start", 3, "b"), ("start", 4, "b")]
    ):
        ledger.observe(swap_event(phase, seconds, publisher=f"nova-compute:{host}", request_id=None), at(number))
    for swap in ledger.find(at(9)):
        attempt = ledger.attempt(swap)

        assert attempt is not None
        assert attempt.heard == read_attempt(str(row_of(attempt, swap.state)["heard"])).heard


async def test_a_newer_schema_is_refused_and_left_untouched(history: SwapHistory, path: Path) -> None:
    await history.open()
    await note(history, kept(swap_event("start")))
    await history.close()
    await until(lambda: len(contents(path)) == 1)
    sql(path, "PRAGMA user_version = 7")
    before = contents(path)

    with pytest.raises(ValueError, match="has schema version 7, and this aioswap knows 1 at most: upgrade aioswap, or give"):
        await history.open()

    assert before == contents(path)


@pytest.mark.parametrize(
    "make",
    [lambda path: path.write_bytes(1000 * b"no database "), lambda path: sql(path, "CREATE TABLE precious (value)")],
    ids=["no database", "another database"],
)
async def test_what_is_no_history_is_refused_and_left_untouched(
    history: SwapHistory, path: Path, make: Callable[[Path], None]
) -> None:
    make(path)
    before = contents(path)
    with pytest.raises(ValueError, match=r"no history of swaps.*: give another path"):
        await history.open()

    assert before == contents(path)


async def test_a_newer_schema_that_is_not_in_the_file_itself_yet_is_refused_too(history: SwapHistory, path: Path) -> None:
    await history.open()
    sql(path, "PRAGMA user_version = 7")
    other = SwapHistory(path)
    with pytest.raises(ValueError, match="has schema version 7"):
        await other.open()
    await history.close()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.with_name(f"{path.name}-journal").mkdir(), "can't be opened: "),
        (lambda path: sql(path, "PRAGMA user_version = 1"), "can't be written: no such table: swaps"),
    ],
    ids=["a folder", "no place for a journal", "no tables"],
)
async def test_what_can_not_be_opened_is_the_disks_fault(
    history: SwapHistory, path: Path, make: Callable[[Path], None], text: str
) -> None:
    make(path)
    with pytest.raises(OSError, match=text):
        await history.open()


async def test_an_empty_file_becomes_a_history(history: SwapHistory, path: Path) -> None:
    os.close(os.open(path, os.O_CREAT))
    await history.open()
    await history.close()
    await until(lambda: rows(path, "PRAGMA user_version") == [(1,)])


async def test_it_is_open_once_at_a_time(history: SwapHistory) -> None:
    with pytest.raises(RuntimeError, match="this history is not open"):
        await history.find()
    await history.open()
    with pytest.raises(RuntimeError, match="this history is open already"):
        await history.open()
    await history.close()
    await history.open()
    await history.close()


async def test_swaps_are_forgotten_30_days_after_they_were_last_heard_of(history: SwapHistory, clock: ManualClock) -> None:
    await history.open()
    history.note_deaf(at(0), at(60))
    await note(history, kept(swap_event("start", request_id="old"), arrived=0))
    await note(history, kept(swap_event("start", request_id="young"), arrived=3601))
    await clock.advance(30 * 86_400 - 1)
    await history.flush()
    all_of_them = await history.find()
    await clock.advance(3600)
    await history.flush()
    left = await history.find()
    await history.close()
    await clock.advance(3600)
    remembered = await history.open()
    await history.close()

    assert [["old", "young"], ["young"]] == [[swap.request_id for swap in each] for each in (all_of_them, left)]
    assert ([], []) == (remembered.attempts, remembered.deaf)


async def test_verdicts_are_made_when_it_is_read(history: SwapHistory, clock: ManualClock) -> None:
    await history.open()
    history.note_deaf(at(10), at(20))
    await note(history, kept(swap_event("start")))
    await clock.advance(86_400)
    (swap,) = await history.find(Criteria(since=at(0)))
    nothing = await history.find(Criteria(since=at(1)))
    await history.close()

    assert (STUCK, ((at(10), at(20)),), []) == (swap.state, swap.deaf, nothing)


async def test_so_many_are_known_again_the_latest_of_each_kind(history: SwapHistory) -> None:
    await history.open()
    for phase in ("start", "end"):
        for number in range(5):
            request_id = f"{phase}-{number}"
            await note(history, kept(swap_event(phase, request_id=request_id), arrived=10 * number + (phase == "end")))
    await history.close()
    remembered = await history.open(keep=2)
    await history.close()

    expected = ["start-3", "end-3", "start-4", "end-4"]
    assert expected == [attempt.key.request_id for attempt, _ in remembered.attempts]


async def test_a_reader_gets_one_after_the_other_in_the_historys_thread(history: SwapHistory) -> None:
    def count(swaps: Iterable[Swap]) -> int:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return sum(1 for _ in swaps)

    await history.open()
    await note(history, kept(swap_event("start"), swap_event("end", request_id="req-2")))
    counts = [
        await history.read(count),
        await history.read(count, Criteria(request_id="req-2")),
        await history.read(count, limit=1),
    ]
    await history.close()

    assert [2, 1, 1] == counts


async def test_what_waits_is_bounded_and_what_is_given_up_is_counted(
    history: SwapHistory, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await history.open()
    sql(path, "DROP TABLE swaps")
    ((attempt, state),) = kept(swap_event("start"))
    for number in range(10_005):
        history.note(Attempt(attempt.key._replace(request_id=str(number)), attempt.heard, (), attempt.place), state)
    waiting = history.unsaved
    await history.flush()
    await history.flush()
    await history.close()

    assert (10_000, 0, 10_005) == (waiting, history.unsaved, history.lost)
    assert "10000 changes of swaps are not in the history" in caplog.text
    assert 1 == caplog.text.count("it is tried again")


async def test_what_changes_while_it_is_written_is_written_again(history: SwapHistory) -> None:
    await history.open()
    ((before, _),) = kept(swap_event("start", message_id="a"))
    ((after, _),) = kept(swap_event("start", message_id="a"), swap_event("end", message_id="b"))
    history.note(before, RUNNING)
    history.note_deaf(at(0), at(1))
    writing = asyncio.create_task(history.flush())
    await asyncio.sleep(0)
    history.note(after, SUCCEEDED)
    history.note_deaf(at(0), at(2))
    await writing
    waiting = history.unsaved
    await history.flush()
    (swap,) = await history.find()
    await history.close()
    remembered = await history.open()
    await history.close()

    assert (1, SUCCEEDED, [(at(0), at(2))]) == (waiting, swap.state, remembered.deaf)


async def test_cancelling_a_flush_stops_nothing(history: SwapHistory) -> None:
    await history.open()
    history.note(*kept(swap_event("start"))[0])
    history.note_listening(at(5))
    writing = asyncio.create_task(history.flush())
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    waiting = history.unsaved
    found = await history.find()
    await history.close()
    remembered = await history.open()
    await history.close()

    assert (1, 1, at(5)) == (len(found), waiting, remembered.listened_until)


async def test_cancelling_the_opening_closes_the_file(history: SwapHistory) -> None:
    opening = asyncio.create_task(history.open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("aioswap history")])
    await history.open()
    await history.close()


async def test_a_disk_that_hangs_is_left_after_ten_seconds(
    history: SwapHistory, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    reading = asyncio.Event()
    loop = asyncio.get_running_loop()
    release = asyncio.run_coroutine_threadsafe

    def hang(swaps: Iterable[Swap]) -> None:
        loop.call_soon_threadsafe(reading.set)
        release(gate.wait(), loop).result()

    gate = asyncio.Event()
    await history.open()
    hanging = asyncio.create_task(history.read(hang))
    await reading.wait()
    history.note(*kept(swap_event("start"))[0])
    closing_it = asyncio.create_task(history.close())
    await clock.advance(9)
    early = closing_it.done()
    await clock.advance(1)
    await closing_it
    gate.set()
    await hanging

    assert not early
    assert "writing takes longer than 10 s" in caplog.text


async def test_each_row_says_for_a_human_what_it_is_about(history: SwapHistory, path: Path) -> None:
    await history.open()
    await note(history, kept(swap_event("start", global_request_id="req-global")))
    statement = "SELECT instance, request_id, global_request_id, state, first_seen, heard FROM swaps"
    await history.close()
    ((*shown, heard),) = rows(path, statement)

    assert [INSTANCE, "req-1", "req-global", "running", "2026-11-22T12:00:00.000000+00:00"] == shown
    assert {"key", "heard", "signs"} == json.loads(heard).keys()
    assert timedelta(0) == datetime.fromisoformat(shown[-1]).utcoffset()
