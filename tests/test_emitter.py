from __future__ import annotations

import asyncio
import inspect
import json
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from aioswap.clock import Clock
from aioswap.context import RequestContext, request_context
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.errors import OutboxError, OutboxFull
from aioswap.hooks import Operation
from aioswap.outbox import MemoryOutbox
from aioswap.testing import ManualClock
from aioswap.transports.base import Confirmation, Message, Reservation
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.events import volume_swap
from aioswap.wire.instances import swap_payload
from tests.bus import DEADLINE, declare, phases, told

SERVER = {"uuid": "6b5ae6ba-0f3a-4c0c-9b0f-0d5a6a4f1c11"}
OLD, NEW = "a0a0a0a0-0000-4000-8000-000000000001", "a0a0a0a0-0000-4000-8000-000000000002"
REQUEST = SwapRequest(SERVER, OLD, NEW)
START = datetime(2026, 11, 22, 14, 13, 4, 816647, tzinfo=UTC)


@asynccontextmanager
async def bus(clock: Clock | None = None) -> AsyncIterator[MemoryTransport]:
    async with MemoryTransport(clock=clock) as transport:
        await declare(transport)
        yield transport


async def swap(emitter: Emitter, request: SwapRequest = REQUEST, error: Exception | None = None) -> None:
    async with emitter.swapping(request):
        if error is not None:
            raise error


async def test_emit_returns_the_notification_that_arrives() -> None:
    async with bus() as transport, Emitter(transport, host="compute-1", clock=ManualClock(START)) as emitter:
        payload = swap_payload(SERVER, OLD, NEW)
        emitted = await emitter.emit(volume_swap.start, payload)
        await emitter.flush(timeout=DEADLINE)
        arrived = await told(transport)

    assert [emitted] == arrived
    assert ("nova-compute:compute-1", "INFO", START) == (emitted.publisher_id, emitted.priority, emitted.timestamp)


async def test_a_message_looks_like_novas() -> None:
    outbox = MemoryOutbox()
    async with bus() as transport, Emitter(transport, host="c1", outbox=outbox, clock=ManualClock(START)) as emitter:
        transport.lose()
        with pytest.raises(ValueError, match="boom"):
            await swap(emitter, error=ValueError("boom"))
        messages = [entry.message for entry in outbox.at_risk()]
        transport.restore()

    inner = [json.loads(json.loads(message.body)["oslo.message"]) for message in messages]
    assert ["versioned_notifications.info", "versioned_notifications.error"] == [each.routing_key for each in messages]
    assert [each["_unique_id"] for each in inner] == [message.message_id for message in messages]
    assert {"content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2, "priority": 0} == dict(
        messages[0].properties
    )
    assert {} == messages[0].headers
    assert "2026-11-22 14:13:04.816647" == inner[0]["timestamp"]
    assert 4 == len({each[key] for each in inner for key in ("message_id", "_unique_id")})
    assert [
        "message_id",
        "publisher_id",
        "event_type",
        "priority",
        "payload",
        "timestamp",
        "_unique_id",
        "_context_user",
    ] == list(inner[0])[:8]


async def test_the_decorated_function_keeps_its_face() -> None:
    transport = MemoryTransport()

    async def migrate(instance: Any, old_volume_id: str, new_volume_id: str) -> int:
        """Move."""
        return 7

    decorated = Emitter(transport, host="c1").swap(migrate)

    assert inspect.iscoroutinefunction(decorated)
    assert ("migrate", "Move.") == (decorated.__name__, decorated.__doc__)
    assert inspect.signature(migrate) == inspect.signature(decorated)


async def test_describe_serves_any_signature_and_is_called_anew_for_each_phase() -> None:
    server = {"uuid": "1", "task_state": "swapping"}

    def describe(box: dict[str, Any], ids: tuple[str, str]) -> SwapRequest:
        return SwapRequest(box, ids[0] + str(len(box)), ids[1])

    async with bus() as transport:
        async with Emitter(transport, host="c1") as emitter:

            @emitter.swap(describe=describe)
            async def migrate(box: dict[str, Any], ids: tuple[str, str]) -> None:
                box.update(task_state=None, host="c2", uuid="2")

            await migrate(server, ids=(OLD, NEW))
        start, end = await told(transport)

    assert ("swapping", None) == (start.payload.task_state, start.payload.host)
    assert (None, "c2") == (end.payload.task_state, end.payload.host)
    assert (OLD + "2", NEW, "1") == (end.payload.old_volume_id, end.payload.new_volume_id, end.payload.uuid)


@pytest.mark.parametrize("use", [{}, {"describe": None}])
async def test_swap_without_anything_to_decorate_is_a_type_error(use: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="describe="):
        Emitter(MemoryTransport(), host="c1").swap(**use)


async def test_names_are_checked_at_decoration() -> None:
    emitter = Emitter(MemoryTransport(), host="c1")

    def plain(instance: Any, old_volume_id: str, new_volume_id: str) -> None: ...

    with pytest.raises(TypeError, match="coroutine function"):
        emitter.swap(plain)  # type: ignore[arg-type]


async def test_a_describe_that_fails_at_the_start_leaves_the_whole_swap_untold(caplog: pytest.LogCaptureFixture) -> None:
    async with bus() as transport:
        async with Emitter(transport, host="c1") as emitter:
            await swap(emitter, SwapRequest({"no": "uuid"}, OLD, NEW))
            await swap(emitter, SwapRequest(SERVER, OLD, NEW, context=3))  # type: ignore[arg-type]
            await swap(emitter, "no request")  # type: ignore[arg-type]
            untold = emitter.health().untold
        notifications = await told(transport)

    assert 3 == untold
    assert [] == notifications
    assert 3 == caplog.text.count("stays untold")


async def test_a_describe_that_fails_later_is_told_with_the_state_at_the_start() -> None:
    calls = iter([REQUEST])

    def describe() -> SwapRequest:
        return next(calls)

    async with bus() as transport:
        async with Emitter(transport, host="c1") as emitter:

            @emitter.swap(describe=describe)
            async def migrate() -> None:
                raise ValueError("boom")

            with pytest.raises(ValueError, match="boom"):
                await migrate()
        start, error = await told(transport)

    assert "ValueError" == error.payload.fault.exception
    assert start.payload == error.payload.model_copy(update={"fault": None})


async def test_a_terminal_notification_too_large_is_told_with_the_state_at_the_start() -> None:
    server = dict(SERVER)
    async with bus() as transport:
        async with Emitter(transport, host="c1") as emitter, emitter.swapping(SwapRequest(server, OLD, NEW)):
            server["display_name"] = "x" * (1 << 20)
        notifications = await told(transport)

    assert ["start", "end"] == phases(notifications)
    assert notifications[1].payload.display_name is None


async def test_each_topic_gets_a_copy_that_differs_in_its_unique_id_alone() -> None:
    outbox = MemoryOutbox()
    async with MemoryTransport() as transport:
        transport.lose()
        async with Emitter(transport, host="c1", outbox=outbox, topics=["one", "two"]) as emitter:
            await swap(emitter)
            messages = [entry.message for entry in outbox.at_risk()]
            for entry in outbox.take(9):
                outbox.confirm(entry)

    one, two = (json.loads(json.loads(message.body)["oslo.message"]) for message in messages[:2])
    assert ["one.info", "two.info", "one.info", "two.info"] == [message.routing_key for message in messages]
    assert one.pop("_unique_id") != two.pop("_unique_id")
    assert one == two


@pytest.mark.parametrize(("pin", "newest"), [("1.0", "uuid"), ("1.8", "locked_reason")])
async def test_a_pinned_emitter_writes_the_older_payload(pin: str, newest: str) -> None:
    async with bus() as transport:
        async with Emitter(transport, host="c1", pin=pin) as emitter:
            await swap(emitter)
            await emitter.emit(volume_swap.end, swap_payload(SERVER, OLD, NEW))
        notifications = await told(transport)

    assert [pin] * 3 == [each.payload.object_version for each in notifications]
    data = notifications[0].to_wire()["payload"]["nova_object.data"]
    assert newest in data
    assert "shares" not in data
    assert data.keys() == notifications[2].to_wire()["payload"]["nova_object.data"].keys()


async def test_the_context_of_the_request_wins_over_the_context_variable() -> None:
    given = RequestContext(request_id="req-given", user_id="u", project_id="p")
    async with bus() as transport:
        async with Emitter(transport, host="c1") as emitter:
            with request_context({"request_id": "req-around", "user_id": "v", "project_id": "q"}):
                await swap(emitter, SwapRequest(SERVER, OLD, NEW, context=given))
                await swap(emitter)
            await swap(emitter)
        ids = [(each.context["request_id"], each.payload.request_id) for each in await told(transport)]

    assert [("req-given", "req-given")] * 2 + [("req-around", "req-around")] * 2 == ids[:4]
    assert ids[4] == ids[5]
    assert (True, None) == (ids[4][0].startswith("req-"), ids[4][1])


async def test_emit_takes_a_context_too() -> None:
    async with bus() as transport, Emitter(transport, host="c1") as emitter:
        payload = swap_payload(SERVER, OLD, NEW)
        given = await emitter.emit(volume_swap.start, payload, context={"request_id": "req-given"})
        with request_context(RequestContext(request_id="req-around")):
            around = await emitter.emit(volume_swap.start, payload)

    assert ("req-given", "req-around") == (given.context["request_id"], around.context["request_id"])


class SlowOutbox(MemoryOutbox):
    """Safe only when the test says so, as a file on a slow disk."""

    def __init__(self) -> None:
        super().__init__()
        self.safe: list[asyncio.Future[None]] = []
        self._more = asyncio.Event()

    async def accepts(self, number: int) -> None:
        """Wait until so many notifications were accepted."""
        while len(self.safe) < number:
            self._more.clear()
            await self._more.wait()

    def accept(
        self, *messages: Message, opens: Reservation | None = None, closes: Reservation | None = None
    ) -> asyncio.Future[None]:
        super().accept(*messages, opens=opens, closes=closes)
        self.safe.append(asyncio.get_running_loop().create_future())
        self._more.set()
        return self.safe[-1]


async def test_a_slow_outbox_holds_a_phase_for_no_more_than_its_budget() -> None:
    clock, outbox = ManualClock(), SlowOutbox()
    async with bus() as transport:
        async with Emitter(transport, host="c1", outbox=outbox, clock=clock) as emitter:
            task = asyncio.create_task(swap(emitter))
            await clock.advance(0.2)
            waiting = task.done()
            await clock.advance(0.06)
            begun = len(outbox.safe)
            await clock.advance(0.26)
            done = task.done()
        notifications = await told(transport)

    assert (False, 2, True) == (waiting, begun, done)
    assert ["start", "end"] == phases(notifications)


async def test_a_slow_outbox_is_logged_once_a_minute_however_many_swaps_there_are(caplog: pytest.LogCaptureFixture) -> None:
    clock, outbox = ManualClock(), SlowOutbox()
    async with bus() as transport, Emitter(transport, host="c1", outbox=outbox, clock=clock) as emitter:
        for pause in (0, 0, 60):
            await clock.advance(pause)
            task = asyncio.create_task(swap(emitter))
            while not task.done():
                await clock.advance(0.3)

    assert ["a start", "a start"] == [text.partition(" is not")[0] for text in caplog.messages if "not safe yet" in text]
    assert "(1 since" in caplog.text
    assert "(4 since" in caplog.text


async def test_emit_waits_until_it_is_safe() -> None:
    outbox = SlowOutbox()
    async with bus() as transport, Emitter(transport, host="c1", outbox=outbox) as emitter:
        task = asyncio.create_task(emitter.emit(volume_swap.start, swap_payload(SERVER, OLD, NEW)))
        await outbox.accepts(1)
        waiting = not task.done()
        outbox.safe[0].set_exception(OutboxError("no space left on the disk"))
        with pytest.raises(OutboxError):
            await task

    assert waiting


async def test_a_disk_that_refuses_is_logged_and_the_swap_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(SlowOutbox):
        def accept(self, *messages: Message, **room: Any) -> asyncio.Future[None]:
            safe = super().accept(*messages, **room)
            asyncio.get_running_loop().call_soon(safe.set_exception, OutboxError("no space"))
            return safe

    async with bus() as transport:
        async with Emitter(transport, host="c1", outbox=Refusing()) as emitter:
            await swap(emitter)
        notifications = await told(transport)

    assert ["start", "end"] == phases(notifications)
    assert "a start is not safe yet: no space" in caplog.text


@pytest.mark.parametrize("phase", [0, 1])
async def test_on_failure_raise_passes_the_disks_error_on(phase: int) -> None:
    outbox = SlowOutbox()
    ran = []
    async with bus() as transport:
        async with Emitter(transport, host="c1", outbox=outbox, on_failure="raise") as emitter:

            async def once() -> None:
                async with emitter.swapping(REQUEST):
                    ran.append(1)

            task = asyncio.create_task(once())
            for number in range(phase + 1):
                await outbox.accepts(number + 1)
                if number < phase:
                    outbox.safe[number].set_result(None)
            outbox.safe[phase].set_exception(OutboxError("no space"))
            with pytest.raises(OutboxError):
                await task
            for safe in outbox.safe[phase + 1 :]:
                safe.cancel()
        notifications = await told(transport)

    assert phase == len(ran)
    assert ["start", "error" if phase == 0 else "end"] == phases(notifications)


async def test_the_bodys_exception_wins_over_a_failure_to_tell() -> None:
    outbox = SlowOutbox()
    async with bus() as transport, Emitter(transport, host="c1", outbox=outbox, on_failure="raise") as emitter:
        task = asyncio.create_task(swap(emitter, error=ValueError("boom")))
        for number in range(2):
            await outbox.accepts(number + 1)
            outbox.safe[number].set_exception(OutboxError("no space")) if number else outbox.safe[0].set_result(None)
        with pytest.raises(ValueError, match="boom"):
            await task


async def test_a_full_outbox_is_waited_for_and_then_the_whole_swap_stays_untold() -> None:
    clock, outbox = ManualClock(), MemoryOutbox(max_messages=2)
    async with bus(clock) as transport:
        transport.lose()
        async with Emitter(transport, host="c1", outbox=outbox, clock=clock) as emitter:
            await swap(emitter)
            task = asyncio.create_task(swap(emitter))
            await clock.advance(0.24)
            waiting = not task.done()
            await clock.advance(0.02)
            await asyncio.wait_for(task, DEADLINE)
            untold = emitter.health().untold
            transport.restore()
        notifications = await told(transport)

    assert (True, 1) == (waiting, untold)
    assert ["start", "end"] == phases(notifications)


async def test_room_that_comes_in_time_is_used() -> None:
    clock, outbox = ManualClock(), MemoryOutbox(max_messages=2)
    async with bus(clock) as transport:
        transport.lose()
        async with Emitter(transport, host="c1", outbox=outbox, clock=clock) as emitter:
            await swap(emitter)
            task = asyncio.create_task(swap(emitter))
            await clock.advance(0.1)
            transport.restore()
            await asyncio.wait_for(task, DEADLINE)
            untold = emitter.health().untold
        notifications = await told(transport)

    assert 0 == untold
    assert ["start", "end", "start", "end"] == phases(notifications)


async def test_emit_into_a_full_outbox_raises_after_its_turn() -> None:
    clock, outbox = ManualClock(), MemoryOutbox(max_messages=2)
    async with bus(clock) as transport:
        transport.lose()
        async with Emitter(transport, host="c1", outbox=outbox, clock=clock) as emitter:
            await swap(emitter)
            task = asyncio.create_task(emitter.emit(volume_swap.start, swap_payload(SERVER, OLD, NEW)))
            await clock.advance(0.3)
            with pytest.raises(OutboxFull):
                await task
            transport.restore()


async def test_a_cancel_while_waiting_for_room_tells_nothing() -> None:
    clock, outbox = ManualClock(), MemoryOutbox(max_messages=2)
    async with bus(clock) as transport:
        transport.lose()
        async with Emitter(transport, host="c1", outbox=outbox, clock=clock) as emitter:
            await swap(emitter)
            task = asyncio.create_task(swap(emitter))
            await clock.advance(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            transport.restore()
            running = emitter.health().running
        notifications = await told(transport)

    assert 0 == running
    assert ["start", "end"] == phases(notifications)


async def test_a_cancel_after_the_start_was_accepted_is_told_though_the_body_never_ran() -> None:
    outbox = SlowOutbox()
    async with bus() as transport:
        async with Emitter(transport, host="c1", outbox=outbox) as emitter:
            task = asyncio.create_task(swap(emitter, error=ValueError("never raised")))
            await outbox.accepts(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        start, error = await told(transport)

    assert "CancelledError" == error.payload.fault.exception
    assert start.payload.uuid == error.payload.uuid


async def test_a_cancel_while_the_end_is_made_safe_leaves_the_end_standing() -> None:
    outbox = SlowOutbox()
    async with bus() as transport:
        async with Emitter(transport, host="c1", outbox=outbox) as emitter:
            task = asyncio.create_task(swap(emitter))
            await outbox.accepts(1)
            outbox.safe[0].set_result(None)
            await outbox.accepts(2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        notifications = await told(transport)

    assert ["start", "end"] == phases(notifications)


async def test_a_broken_outbox_reaches_no_swap(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryOutbox):
        def accept(self, *messages: Message, closes: Reservation | None = None, **room: Any) -> asyncio.Future[None]:
            if closes is not None:
                raise RuntimeError("broken")
            return super().accept(*messages, **room)

    async with bus() as transport:
        async with Emitter(transport, host="c1", outbox=Broken()) as emitter:
            await swap(emitter)
        notifications = await told(transport)

    assert ["start"] == phases(notifications)
    assert "volume_swap.end could not be told" in caplog.text


async def test_swaps_of_an_emitter_that_is_not_open_run_untold_and_say_so_once(caplog: pytest.LogCaptureFixture) -> None:
    emitter = Emitter(MemoryTransport(), host="c1")
    for _ in range(3):
        await swap(emitter)

    assert 3 == emitter.health().untold
    assert 1 == caplog.text.count("not open")


async def test_on_failure_raise_makes_a_closed_emitter_an_error() -> None:
    emitter = Emitter(MemoryTransport(), host="c1", on_failure="raise")
    with pytest.raises(RuntimeError, match="not open"):
        await swap(emitter)


async def test_emit_needs_an_open_emitter() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await Emitter(MemoryTransport(), host="c1").emit(volume_swap.start, swap_payload(SERVER, OLD, NEW))


async def test_another_thread_is_told_where_the_emitter_was_opened() -> None:
    errors: list[str] = []
    async with bus() as transport, Emitter(transport, host="c1") as emitter:

        def other() -> None:
            try:
                asyncio.run(emitter.emit(volume_swap.start, swap_payload(SERVER, OLD, NEW)))
            except RuntimeError as error:
                errors.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        await asyncio.to_thread(thread.join)

    assert "another event loop or thread" in errors[0]


async def test_open_close_open_again_is_fine_and_open_twice_is_not() -> None:
    async with bus() as transport:
        emitter = Emitter(transport, host="c1")
        for _ in range(2):
            async with emitter:
                await swap(emitter)
                with pytest.raises(RuntimeError, match="open already"):
                    await emitter.__aenter__()
        notifications = await told(transport)

    assert ["start", "end"] * 2 == phases(notifications)


async def test_an_outbox_that_cannot_be_opened_leaves_the_emitter_closed() -> None:
    class Locked(MemoryOutbox):
        async def open(self, clock: Clock, *, destination: str = "") -> None:
            raise OutboxError("held by another process")

    emitter = Emitter(MemoryTransport(), host="c1", outbox=Locked())
    for _ in range(2):
        with pytest.raises(OutboxError, match="another process"):
            await emitter.__aenter__()


async def test_leaving_waits_for_swaps_that_still_run() -> None:
    begun, finish = asyncio.Event(), asyncio.Event()
    async with bus() as transport:
        async with Emitter(transport, host="c1") as emitter:

            async def slow() -> None:
                async with emitter.swapping(REQUEST):
                    begun.set()
                    await finish.wait()

            task = asyncio.create_task(slow())
            await begun.wait()
            asyncio.get_running_loop().call_soon(finish.set)
        finished = task.done()
        notifications = await told(transport)

    assert finished
    assert ["start", "end"] == phases(notifications)


async def test_a_swap_begun_while_the_emitter_closes_stays_untold() -> None:
    clock = ManualClock()
    begun, finish = asyncio.Event(), asyncio.Event()
    async with bus() as transport:
        emitter = Emitter(transport, host="c1", clock=clock)
        await emitter.__aenter__()

        async def slow() -> None:
            async with emitter.swapping(REQUEST):
                begun.set()
                await finish.wait()

        task = asyncio.create_task(slow())
        await begun.wait()
        closing = asyncio.create_task(emitter.__aexit__(None, None, None))
        await clock.advance(1)
        await swap(emitter)
        finish.set()
        await asyncio.wait_for(closing, DEADLINE)
        await task
        notifications = await told(transport)

    assert 1 == emitter.health().untold
    assert ["start", "end"] == phases(notifications)


async def test_leaving_with_the_broker_away_says_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    async with bus(clock) as transport:
        emitter = Emitter(transport, host="c1", clock=clock)
        await emitter.__aenter__()
        transport.lose()
        await swap(emitter)
        closing = asyncio.create_task(emitter.__aexit__(None, None, None))
        await clock.advance(9)
        waiting = not closing.done()
        await clock.advance(2)
        await asyncio.wait_for(closing, DEADLINE)

    health = emitter.health()
    assert waiting
    assert (2, 0, 2, 2) == (health.accepted, health.confirmed, health.backlog, health.lost_at_exit)
    assert "2 messages were not confirmed and are lost at exit" in caplog.text


async def test_parked_messages_are_named_at_exit(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    async with MemoryTransport(clock=clock) as transport, Emitter(transport, host="c1", clock=clock) as emitter:
        await swap(emitter)
        await clock.advance(62)
        parked = emitter.health().parked

    assert 2 == parked
    assert "2 messages are parked" in caplog.text


async def test_flush_waits_for_confirmation() -> None:
    async with bus() as transport, Emitter(transport, host="c1") as emitter:
        await swap(emitter)
        await emitter.flush(timeout=DEADLINE)
        health = emitter.health()

    assert (2, 2, 0, 0) == (health.accepted, health.confirmed, health.backlog, health.running)
    assert health.link.connected


async def test_flush_says_how_many_are_left_at_its_deadline() -> None:
    clock = ManualClock()
    async with bus(clock) as transport, Emitter(transport, host="c1", clock=clock) as emitter:
        transport.lose()
        await swap(emitter)
        flush = asyncio.create_task(emitter.flush(timeout=5))
        await clock.advance(6)
        with pytest.raises(TimeoutError, match="2 messages are not confirmed after 5 s"):
            await flush
        age = emitter.health().oldest_age
        transport.restore()

    assert 6.0 == age


async def test_a_relay_that_fails_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()

    class Stumbling(MemoryTransport):
        stumbles = 2

        def sender(self, label: str) -> Any:
            if self.stumbles:
                self.stumbles -= 1
                raise RuntimeError("stumbled")
            return super().sender(label)

    async with Stumbling(clock=clock) as transport:
        await declare(transport)
        async with Emitter(transport, host="c1", clock=clock) as emitter:
            await swap(emitter)
            await clock.advance(4)
            confirmed = emitter.health().confirmed

    assert 2 == confirmed
    assert 2 == caplog.text.count("relaying failed")


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None, str]] = []

    def started(self, operation: Operation) -> None:
        if operation.kind == "emit":
            operation.headers["traceparent"] = "00-1"

    def finished(self, operation: Operation) -> None:
        self.seen.append((operation.kind, operation.event_type, operation.outcome))


async def test_hooks_see_each_emit_and_may_add_headers() -> None:
    recorder, outbox = Recorder(), MemoryOutbox()
    async with bus() as transport:
        transport.lose()
        async with Emitter(transport, host="c1", outbox=outbox, hooks=[recorder]) as emitter:
            await swap(emitter)
            headers = [dict(entry.message.headers) for entry in outbox.at_risk()]
            transport.restore()

    assert [
        ("emit", "instance.volume_swap.start", "accepted"),
        ("emit", "instance.volume_swap.end", "accepted"),
        ("swap", None, "succeeded"),
    ] == recorder.seen[:3]
    assert [{"traceparent": "00-1"}] * 2 == headers
    assert [("publish", None, "confirmed")] * 2 == recorder.seen[3:]


async def test_hooks_see_what_was_not_accepted() -> None:
    clock, recorder, outbox = ManualClock(), Recorder(), MemoryOutbox(max_messages=2)
    async with bus(clock) as transport:
        transport.lose()
        async with Emitter(transport, host="c1", outbox=outbox, hooks=[recorder], clock=clock) as emitter:
            await swap(emitter)
            task = asyncio.create_task(swap(emitter))
            await clock.advance(0.3)
            await task
            with pytest.raises(ValueError, match="above the limit"):
                await emitter.emit(volume_swap.start, swap_payload({"uuid": "1", "display_name": "x" * (1 << 20)}, OLD, NEW))
            transport.restore()

    assert ["accepted", "accepted", "untold", "failed"] == [outcome for kind, _, outcome in recorder.seen if kind == "emit"]


async def test_a_refused_error_overtaken_or_not_never_stops_the_starts() -> None:
    clock = ManualClock()
    async with bus(clock) as transport, Emitter(transport, host="c1", clock=clock) as emitter:
        transport.refuse("versioned_notifications.error", Confirmation.NACKED)
        for _ in range(2):
            with pytest.raises(ValueError, match="boom"):
                await swap(emitter, error=ValueError("boom"))
        await clock.advance(3)
        before = await told(transport)
        transport.accept("versioned_notifications.error")
        await clock.advance(30)
        after = await told(transport)

    assert ["start", "start"] == phases(before)
    assert ["error", "error"] == phases(after)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": ""}, "publisher id"),
        ({"source": ""}, "publisher id"),
        ({"topics": "versioned_notifications"}, "list"),
        ({"topics": []}, "at least one"),
        ({"pin": "2.0"}, "1.0, 1.1"),
        ({"on_failure": "ignore"}, "'log' or 'raise'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Emitter(MemoryTransport(), **{"host": "c1", **settings})


async def test_nothing_of_the_context_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with bus() as transport, Emitter(transport, host="c1") as emitter:
        await swap(emitter, SwapRequest(SERVER, OLD, NEW, context={"auth_token": "canary", "user_name": "canary"}))
        await emitter.flush()
        emitted = await told(transport)

    assert "canary" not in caplog.text
    assert "canary" not in repr(emitted)
    assert emitted[0].context["auth_token"] is None
