"""The outbox with files: what it writes, and what it finds when it opens."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aioswap.clock import Clock
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.errors import OutboxError
from aioswap.outbox_file import FileOutbox
from aioswap.outbox_store import lock_of
from aioswap.relay import WINDOW
from aioswap.testing import ManualClock
from aioswap.transports.base import Message, Reservation
from aioswap.transports.memory import MemoryTransport
from aioswap.transports.rabbit import RabbitTransport
from tests.bus import DEADLINE, declare, phases, told
from tests.outbox_kit import DESTINATION, ERROR, INFO, accept, changed, each, file_outbox, files, ids, message, relayed


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


async def filled(folder: Path, messages: Iterable[Message], **more: Any) -> None:
    """Leave messages in a directory, as a service does whose broker is away."""
    async with file_outbox(folder, **more) as outbox:
        await asyncio.wait([outbox.accept(each) for each in messages])


def contents(path: Path) -> bytes:
    return path.read_bytes()


async def test_concurrent_accepts_share_commits(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        await asyncio.gather(*(accept(outbox, message(number)) for number in range(200)))
        commits = outbox.commits

    assert commits <= 3


async def test_accept_is_safe_when_it_is_committed(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        safe = outbox.accept(message(1))
        early = (safe.done(), outbox.take(9), ids(outbox.at_risk()))
        await safe

        assert (False, [], ["1"]) == early
        assert [] == outbox.at_risk()
        assert ["1"] == ids(outbox.take(9))


async def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "outbox"
    before = os.umask(0)
    try:
        async with file_outbox(folder) as outbox:
            await accept(outbox, message(1))
            modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    finally:
        os.umask(before)

    assert {0o600} == modes
    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)


async def test_nothing_is_left_of_an_outbox_that_was_drained(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        await accept(outbox, message(1))
        while_open = files(tmp_path)
        await relayed(outbox)

    assert [".outbox", ".outbox-shm", ".outbox-wal", ".outbox.lock"] == while_open
    assert [] == files(tmp_path)


async def test_a_backlog_is_relayed_in_order_by_the_next_run_before_what_comes_then(tmp_path: Path) -> None:
    await filled(tmp_path, [message(number) for number in range(700)])

    async with file_outbox(tmp_path) as outbox:
        await accept(outbox, message("new"))
        order = await relayed(outbox)

    assert [*numbers(700), "new"] == order
    assert [] == files(tmp_path)


async def test_what_was_confirmed_before_the_end_does_not_come_again(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        await asyncio.wait([outbox.accept(message(number)) for number in range(5)])
        for entry in outbox.take(3):
            outbox.confirm(entry)
    async with file_outbox(tmp_path) as outbox:
        order = await relayed(outbox)

    assert ["3", "4"] == order


async def test_memory_holds_a_window_of_a_long_backlog(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        await asyncio.wait([outbox.accept(message(number)) for number in range(3000)])
        await accept(outbox, message("other", ERROR))
        held = len(outbox._held)
        counts = outbox.counts()
        order = await relayed(outbox)

    assert held < 600
    assert 3001 == counts.backlog
    assert [*numbers(3000), "other"] == order


async def test_no_routing_key_overtakes_another_one_that_waits_in_the_file(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        keys = [ERROR if number % 10 == 9 else INFO for number in range(3000)]
        await asyncio.wait([outbox.accept(message(number, key)) for number, key in enumerate(keys)])

        assert numbers(3000) == await relayed(outbox)


async def test_no_routing_key_overtakes_another_one_of_an_earlier_run(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        keys = [ERROR if number % 10 == 9 else INFO for number in range(3000)]
        await asyncio.wait([outbox.accept(message(number, key)) for number, key in enumerate(keys)])
    async with file_outbox(tmp_path) as outbox:
        await accept(outbox, message("new", ERROR))

        assert [*numbers(3000), "new"] == await relayed(outbox, at_least=3001)


async def test_what_is_given_back_comes_before_what_is_in_the_file_alone(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        await asyncio.wait([outbox.accept(message(number)) for number in range(1500)])
        taken = outbox.take(WINDOW)
        outbox.give_back(reversed(taken))
        order = await relayed(outbox)

    assert numbers(1500) == order


async def test_messages_come_back_as_they_were(tmp_path: Path) -> None:
    headers = {
        "bytes": b"\0\xff",
        "when": datetime(2026, 1, 2, 3, tzinfo=UTC),
        "decimal": Decimal("1.50"),
        "list": [1, 2.5, None, True, {"in": "side"}],
    }
    kept = [
        Message(routing_key=INFO, body=b"\xff\0x", message_id="1", headers=headers),
        Message(routing_key=ERROR, body=b"{}", message_id="2", exchange="other", properties={"delivery_mode": 1}),
    ]
    await filled(tmp_path, kept)

    async with file_outbox(tmp_path) as outbox:
        back = [entry.message async for entry in each(outbox, 2)]

    assert sorted(kept, key=lambda each: each.message_id) == sorted(back, key=lambda each: each.message_id)


async def test_a_message_that_sqlite_cannot_say_spoils_no_other(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        odd = Message(routing_key="a\ud800", body=b"", message_id="\ud800", headers={"x": object()})
        await asyncio.gather(accept(outbox, odd), accept(outbox, message(1)))

        assert 0 == outbox.counts().unsaved


async def test_parked_messages_survive_with_their_reasons(tmp_path: Path) -> None:
    clock = ManualClock()
    async with file_outbox(tmp_path, clock) as outbox:
        await asyncio.wait([outbox.accept(message(number)) for number in range(3)])
        for entry in outbox.take(2):
            outbox.park(entry, "returned: password=secret")
    await clock.advance(5)
    async with file_outbox(tmp_path, clock) as outbox:
        parked = [(each.message.message_id, each.reason, each.parked_at) for each in outbox.parked()]
        counts = outbox.counts()
        order = await relayed(outbox)
        resent = outbox.resend()
        order += await relayed(outbox)

    assert [("0", "returned: password=***", 0.0), ("1", "returned: password=***", 0.0)] == parked
    assert (1, 2, 2) == (counts.backlog, counts.parked, resent)
    assert ["2", "0", "1"] == order
    assert [] == files(tmp_path)


async def test_what_was_sent_again_stands_behind_what_was_accepted_before_in_the_next_run_too(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        await accept(outbox, message("parked"))
        outbox.park(outbox.take(1)[0], "returned")
        await asyncio.wait([outbox.accept(message(number)) for number in range(600)])
        outbox.resend()
    async with file_outbox(tmp_path) as outbox:
        order = await relayed(outbox)

    assert [*numbers(600), "parked"] == order


async def test_sending_again_with_a_long_backlog_keeps_the_order(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as outbox:
        await accept(outbox, message("parked"))
        outbox.park(outbox.take(1)[0], "returned")
        await asyncio.wait([outbox.accept(message(number)) for number in range(900)])
        outbox.resend()
        await asyncio.wait([outbox.accept(message(number)) for number in range(900, 1000)])
        order = await relayed(outbox)

    assert [*numbers(900), "parked", *map(str, range(900, 1000))] == order


async def test_what_waits_in_the_file_comes_first_however_much_is_sent_again(tmp_path: Path) -> None:
    parked, waiting = [str(number) for number in range(1_000)], [str(number) for number in range(1_000, 3_000)]
    async with file_outbox(tmp_path) as outbox:
        await asyncio.gather(*(accept(outbox, message(name)) for name in parked))
        async for entry in each(outbox, len(parked)):
            outbox.park(entry, "returned")
        await asyncio.gather(*(accept(outbox, message(name)) for name in waiting))
        outbox.resend()

        told = await relayed(outbox, at_least=len(parked) + len(waiting))

    assert waiting + parked == told


async def test_files_that_go_elsewhere_are_left_and_reported(tmp_path: Path) -> None:
    outbox = FileOutbox(tmp_path)
    await outbox.open(Clock(), destination="memory exchange=other")
    await accept(outbox, message(1))
    async with file_outbox(tmp_path) as beside:
        alive = beside.counts().foreign_files
    await outbox.close()
    async with MemoryTransport() as transport, Emitter(transport, host="h", outbox=FileOutbox(tmp_path)) as emitter:
        health = emitter.health()

    assert 0 == alive
    assert (1, 0) == (health.foreign_files, health.backlog)
    assert [".outbox", ".outbox.lock"] == files(tmp_path)


async def test_several_outboxes_share_a_directory(tmp_path: Path) -> None:
    async with file_outbox(tmp_path) as one, file_outbox(tmp_path) as other:
        await asyncio.gather(accept(one, message(1)), accept(other, message(2)))

        assert (["1"], ["2"]) == (ids(one.take(9)), ids(other.take(9)))


async def test_a_file_that_somebody_else_holds_is_refused(tmp_path: Path) -> None:
    outbox = FileOutbox(tmp_path)
    descriptor = os.open(lock_of(outbox.path), os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(OutboxError, match="held by someone else"):
        await outbox.open(Clock(), destination=DESTINATION)
    os.close(descriptor)
    await outbox.open(Clock(), destination=DESTINATION)
    with pytest.raises(RuntimeError, match="open already"):
        await outbox.open(Clock(), destination=DESTINATION)
    await outbox.close()


async def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(OutboxError, match="is no directory"):
            await FileOutbox(path).open(Clock(), destination=DESTINATION)


async def test_a_file_of_a_newer_aioswap_is_refused_and_left_untouched(tmp_path: Path) -> None:
    await filled(tmp_path, [message(1)])
    path = changed(tmp_path, "PRAGMA user_version = 2")
    before = contents(path)
    with pytest.raises(OutboxError, match="schema version 2"):
        await FileOutbox(tmp_path).open(Clock(), destination=DESTINATION)

    assert before == contents(path)
    assert [".outbox", ".outbox.lock"] == files(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"not a database at all, but long enough to be one" * 10),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096)),
        lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * 4000 + path.read_bytes()[4100:]),
    ],
    ids=["no database", "rows", "schema"],
)
async def test_a_damaged_file_of_an_earlier_run_is_set_aside(
    damage: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(tmp_path, [message(number, size=2000) for number in range(40)])
    path = changed(tmp_path, "SELECT 1")
    damage(path)
    damaged = contents(path)

    async with file_outbox(tmp_path) as outbox:
        counts = outbox.counts()
        await accept(outbox, message("new"))
        order = await relayed(outbox)

    assert (1, 0) == (counts.damaged_files, counts.backlog)
    assert ["new"] == order
    assert [".outbox.corrupt-1"] == files(tmp_path)
    assert damaged == contents(path.with_name(f"{path.name}.corrupt-1"))
    assert "is set aside" in caplog.text


@pytest.mark.parametrize("statement", ["DELETE FROM about", "PRAGMA application_id = 1"])
async def test_a_database_that_is_no_outbox_is_set_aside(statement: str, tmp_path: Path) -> None:
    await filled(tmp_path, [message(1)])
    changed(tmp_path, statement)

    async with file_outbox(tmp_path) as outbox:
        damaged = outbox.counts().damaged_files

    assert 1 == damaged


async def test_a_database_of_somebody_else_is_set_aside(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "0123456789abcdef.outbox")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()

    async with file_outbox(tmp_path) as outbox:
        damaged = outbox.counts().damaged_files

    assert 1 == damaged


async def test_locks_and_empty_files_that_a_crash_has_left_are_removed(tmp_path: Path) -> None:
    (tmp_path / "0123456789abcdef.outbox.lock").touch()
    (tmp_path / "fedcba9876543210.outbox").touch()
    (tmp_path / "somebody.lock").touch()

    async with file_outbox(tmp_path):
        pass

    assert ["somebody.lock"] == os.listdir(tmp_path)


async def test_a_directory_that_appears_later_is_used_and_one_that_is_missing_is_made(tmp_path: Path) -> None:
    async with file_outbox(tmp_path / "a" / "b") as outbox:
        await accept(outbox, message(1))

        assert (tmp_path / "a" / "b").is_dir()


async def test_an_earlier_runs_file_goes_as_soon_as_it_is_drained(tmp_path: Path) -> None:
    await filled(tmp_path, [message(1)])
    async with file_outbox(tmp_path) as outbox:
        await relayed(outbox)
        await outbox._clerks[1].drain()
        await asyncio.wrap_future(outbox._closing[0])
        left = files(tmp_path)

    assert [".outbox", ".outbox-shm", ".outbox-wal", ".outbox.lock"] == left


async def test_files_that_appear_are_adopted_once_a_minute(tmp_path: Path) -> None:
    clock, woken = ManualClock(), asyncio.Event()
    async with file_outbox(tmp_path, clock) as outbox:
        async with file_outbox(tmp_path) as other:
            await accept(other, message(1))
        outbox.attach(woken.set)
        await clock.advance(60)
        await woken.wait()
        await accept(outbox, message(2))
        order = await relayed(outbox)

    assert ["1", "2"] == order


async def test_trouble_while_looking_for_files_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    folder = tmp_path / "outbox"

    class Failing(FileOutbox):
        failures = 0

        async def _adopt(self) -> Any:
            if self._task is not None:
                self.failures += 1
                raise LookupError("unforeseen")
            return await super()._adopt()

    outbox = Failing(folder)
    await outbox.open(clock, destination=DESTINATION)
    await clock.advance(120)
    await outbox.close()

    assert 2 == outbox.failures
    assert 2 == caplog.text.count("looking for outboxes")


async def test_a_swap_survives_between_runs_without_being_told_twice(tmp_path: Path) -> None:
    async with MemoryTransport() as transport:
        await declare(transport)
        for _ in range(2):
            async with Emitter(transport, host="h", outbox=FileOutbox(tmp_path)) as emitter:
                async with emitter.swapping(SwapRequest({"uuid": "1"}, "old", "new")):
                    pass
                await emitter.flush(DEADLINE)
        notifications = await told(transport)

    assert ["start", "end"] * 2 == phases(notifications)
    assert [] == files(tmp_path)


async def test_a_reservation_that_is_released_closes_its_swap(tmp_path: Path) -> None:
    reservation = Reservation("a", 1, 1000)
    async with file_outbox(tmp_path) as outbox:
        await accept(outbox, message(1), opens=reservation)
        outbox.release(reservation)
        outbox.release(reservation)
        await relayed(outbox)

    assert [] == files(tmp_path)


async def test_the_same_object_opens_again_and_finds_what_it_left(tmp_path: Path) -> None:
    outbox = FileOutbox(tmp_path)
    for number in range(3):
        await outbox.open(Clock(), destination=DESTINATION)
        await accept(outbox, message(number))
        await outbox.close()
        left = outbox.counts().backlog
    await outbox.open(Clock(), destination=DESTINATION)
    order = await relayed(outbox)
    await outbox.close()

    assert 3 == left
    assert ["0", "1", "2"] == order


async def test_what_is_accepted_by_a_closed_outbox_is_kept_and_written_when_it_opens(tmp_path: Path) -> None:
    outbox = FileOutbox(tmp_path)
    with pytest.raises(OutboxError, match="not open"):
        await accept(outbox, message(1))
    unsaved = (outbox.counts().unsaved, ids(outbox.at_risk()))
    await outbox.open(Clock(), destination=DESTINATION)
    await outbox.close()
    async with file_outbox(tmp_path) as other:
        order = await relayed(other)

    assert (1, ["1"]) == unsaved
    assert ["1"] == order
    assert 0 == outbox.counts().unsaved


@pytest.mark.parametrize("mode", ["OFF", "full"])
def test_what_synchronous_may_be(mode: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="synchronous"):
        FileOutbox(tmp_path, synchronous=mode)


async def test_normal_keeps_what_the_process_leaves(tmp_path: Path) -> None:
    await filled(tmp_path, [message(1)], synchronous="NORMAL")

    async with file_outbox(tmp_path, synchronous="NORMAL") as outbox:
        assert ["1"] == await relayed(outbox)


def test_a_swap_that_is_closed_after_its_loop_is_written_at_once(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    outbox = FileOutbox(tmp_path)

    async def main() -> None:
        await outbox.open(Clock(), destination=DESTINATION)
        await accept(outbox, message("start"), opens=Reservation("swap", 1, 1000))

    loop.run_until_complete(main())
    safe = outbox.accept(message("terminal"), closes=Reservation("swap", 1, 1000))
    done = safe.done()
    loop.run_until_complete(outbox.close())
    loop.close()

    async def read() -> list[str]:
        async with file_outbox(tmp_path) as other:
            return await relayed(other)

    assert done
    assert ["start", "terminal"] == asyncio.run(read())


def test_destinations_name_hosts_and_exchange_and_no_login() -> None:
    rabbit = RabbitTransport("rabbit://u:secret@b:5672,u:secret@a:5673/v", exchange="x")

    assert "amqp a:5673,b:5672 vhost=v exchange=x" == rabbit.destination
    assert "memory exchange=nova" == MemoryTransport().destination


async def test_a_drained_file_of_a_dead_process_is_removed(tmp_path: Path) -> None:
    await filled(tmp_path, [message(1)])
    changed(tmp_path, "DELETE FROM messages")

    async with file_outbox(tmp_path) as outbox:
        backlog = outbox.counts().backlog

    assert 0 == backlog
    assert [] == files(tmp_path)


async def test_a_name_without_a_file_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "0123456789abcdef.outbox").symlink_to("gone")

    async with file_outbox(tmp_path) as outbox:
        trouble = outbox.counts().trouble

    assert trouble is None
    assert [".outbox"] == files(tmp_path)


async def test_an_own_file_that_was_torn_when_it_was_made_is_made_again(tmp_path: Path) -> None:
    clock, outbox = ManualClock(), FileOutbox(tmp_path)
    spoil(outbox.path)
    await outbox.open(clock, destination=DESTINATION)
    trouble = outbox.counts().trouble
    await accept(outbox, message(1))
    order = await relayed(outbox)
    await outbox.close()

    assert "set aside" in str(trouble)
    assert ["1"] == order
    assert [".outbox.corrupt-1"] == files(tmp_path)


def spoil(path: Path) -> None:
    path.write_bytes(b"nonsense" * 100)
