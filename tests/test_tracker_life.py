"""The life of a tracker: opening, leaving, being cancelled, being cut off; what it can't read; what it says of itself."""

from __future__ import annotations

import asyncio
from datetime import datetime

import anyio.lowlevel
import pytest

from aioswap.errors import TransportError
from aioswap.hooks import Operation
from aioswap.swaps import Swap, SwapState
from aioswap.testing import ManualClock
from aioswap.tracker import SwapTracker
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.envelope import encode
from tests.consumer_kit import FLAVOR, Bus, notification_body
from tests.swap_kit import INSTANCE, swap_event
from tests.tracker_kit import Air

RUNNING, SUCCEEDED, FAILED, STUCK = SwapState


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def tracker(air: Air) -> SwapTracker:
    return SwapTracker(air.transport, clock=air.clock)


def the_task() -> asyncio.Task[object]:
    (found,) = [task for task in asyncio.all_tasks() if task.get_name() == "aioswap tracker"]
    return found


async def test_entering_returns_when_its_queue_is_bound_and_leaving_deletes_it(air: Air, tracker: SwapTracker) -> None:
    async with air.opened():
        async with tracker:
            (queue,) = air.queues()
            said = await air.publish(encode(swap_event("end")))
        left = air.queues()

    assert queue.startswith("aioswap.anon.")
    assert ("confirmed", []) == (said, left)


@pytest.mark.parametrize("priority", ["info", "error"])
async def test_it_hears_info_and_error_of_every_topic_that_it_is_given(air: Air, priority: str) -> None:
    tracker = SwapTracker(air.transport, topics=("versioned_notifications", "another"), clock=air.clock)
    async with air.opened(), tracker:
        for topic in ("versioned_notifications", "another"):
            await air.publish(encode(swap_event("end", message_id="one")), routing_key=f"{topic}.{priority}")
        swap = await tracker.wait(instance=INSTANCE)

    assert (SUCCEEDED, ("one",)) == (swap.state, swap.evidence)


async def test_it_binds_no_more_than_the_documented_rights_allow(air: Air, tracker: SwapTracker) -> None:
    priorities = ("audit", "debug", "warn", "critical", "sample")
    async with air.opened(), tracker:
        said = [await air.publish(b"{}", routing_key=f"versioned_notifications.{priority}") for priority in priorities]

    assert {"returned"} == set(said)


async def test_several_transports_are_heard_at_once(air: Air) -> None:
    other = Bus()
    other.clock, other.transport = air.clock, MemoryTransport(clock=air.clock)
    tracker = SwapTracker(air.transport, other.transport, clock=air.clock)
    async with air.opened(), other.opened(), tracker:
        await air.say(swap_event("start", 1))
        await other.publish(encode(swap_event("end", 2, instance="of another cell")))
        swap = await tracker.wait(instance="of another cell")
        running = tracker.running()
        links = tracker.health().links
    left = tracker.health()

    assert (SUCCEEDED, [INSTANCE]) == (swap.state, [swap.instance for swap in running])
    assert [True, True] == [link.connected for link in links]
    assert [False, False] == [link.connected for link in left.links]
    assert 2 == left.received


async def test_a_broker_that_is_away_is_an_error_at_the_deadline_and_nothing_stays(air: Air) -> None:
    other = MemoryTransport(clock=air.clock)
    tracker = SwapTracker(air.transport, other, clock=air.clock)
    async with air.opened(), other:
        other.lose()
        before = asyncio.all_tasks()
        opening = asyncio.create_task(tracker.__aenter__())
        await air.clock.advance(30)
        with pytest.raises(TransportError, match="tracker is not ready after 30 s"):
            await opening

        assert (before, []) == (asyncio.all_tasks(), air.queues())
        other.restore()
        async with tracker:
            assert 1 == len(air.queues())


async def test_cancelling_the_opening_leaves_nothing_behind(air: Air, tracker: SwapTracker) -> None:
    async with air.opened():
        air.transport.lose()
        before = asyncio.all_tasks()
        opening = asyncio.create_task(tracker.__aenter__())
        await air.clock.advance(1)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

        assert before == asyncio.all_tasks()
        air.transport.restore()
        async with tracker:
            pass


async def test_it_is_open_once_at_a_time_and_keeps_what_it_knows(air: Air, tracker: SwapTracker) -> None:
    async with air.opened():
        async with tracker:
            with pytest.raises(RuntimeError, match="this tracker is open already"):
                await tracker.__aenter__()
            await air.say(swap_event("start", 1))
        await air.clock.advance(60)
        async with tracker:
            await air.say(swap_event("end", 2))
            swap = await tracker.wait(instance=INSTANCE)

    assert 1 == swap.duration.total_seconds() if swap.duration else None
    assert [60] == [(end - begin).total_seconds() for begin, end in swap.deaf]


async def test_one_that_is_not_open_or_not_here_says_so(air: Air, tracker: SwapTracker) -> None:
    with pytest.raises(RuntimeError, match="this tracker is not open"):
        await tracker.wait(instance=INSTANCE)
    with pytest.raises(RuntimeError, match="this tracker is not open"):
        async with tracker.expect(instance=INSTANCE):
            pass
    with pytest.raises(RuntimeError, match="this tracker is not open"):
        await tracker.__aexit__(None, None, None)
    async with air.opened(), tracker:
        with pytest.raises(RuntimeError, match="another event loop or thread"):
            await asyncio.to_thread(asyncio.run, tracker.wait(instance=INSTANCE))

    assert ([], []) == (tracker.running(), await tracker.history())


async def test_it_may_be_left_by_another_task_with_the_bodys_exception_unchanged(air: Air, tracker: SwapTracker) -> None:
    async with air.opened():
        await asyncio.create_task(tracker.__aenter__())
        await asyncio.create_task(tracker.__aexit__(None, None, None))
        with pytest.raises(KeyError, match="the body's own"):
            async with tracker:
                raise KeyError("the body's own")

        assert [] == air.queues()


async def test_who_still_waits_is_told_that_it_was_closed(air: Air, tracker: SwapTracker) -> None:
    async with air.opened():
        async with tracker:
            task = asyncio.create_task(tracker.wait(instance=INSTANCE))
            await air.clock.advance(0)
        with pytest.raises(RuntimeError, match="the tracker was closed"):
            await task


async def test_a_task_that_is_cancelled_from_outside_is_told(air: Air, tracker: SwapTracker) -> None:
    async with air.opened():
        with pytest.raises(RuntimeError, match="the tracker's task was cancelled from outside"):
            async with tracker:
                the_task().cancel()
                await air.clock.advance(0)
                with pytest.raises(RuntimeError, match="does not listen any more"):
                    await tracker.wait(instance=INSTANCE)

        assert [] == air.queues()
        async with tracker:
            pass


async def test_a_fault_of_the_closing_is_told_unless_the_body_has_its_own(air: Air, caplog: pytest.LogCaptureFixture) -> None:
    class Stopped(ManualClock):
        stopped = False

        def utcnow(self) -> datetime:
            if self.stopped:
                raise OSError("what time is it?")
            return super().utcnow()

    clock = Stopped()
    tracker = SwapTracker(air.transport, clock=clock)
    caplog.set_level("DEBUG", "aioswap")
    async with air.opened():
        with pytest.raises(OSError, match="what time is it"):
            async with tracker:
                clock.stopped = True
        clock.stopped = False
        caplog.clear()
        with pytest.raises(KeyError, match="the body's own"):
            async with tracker:
                clock.stopped = True
                raise KeyError("the body's own")

        assert [] == air.queues()
    assert "the tracker's task ended with OSError('what time is it?')" in caplog.text


async def test_leaving_in_a_cancelled_scope_closes_everything(air: Air, tracker: SwapTracker) -> None:
    async with air.opened():
        with anyio.CancelScope() as scope:
            async with tracker:
                scope.cancel()
                await anyio.lowlevel.checkpoint()

        assert [] == air.queues()


async def test_cancelling_the_leaving_cuts_off_at_once(air: Air, tracker: SwapTracker) -> None:
    ended = []

    @tracker.on_stuck
    async def alert(swap: Swap) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(swap.instance)

    async with air.opened():
        await tracker.__aenter__()
        await air.say(swap_event("start"))
        await air.clock.advance(86_400)
        leaving = asyncio.create_task(tracker.__aexit__(None, None, None))
        await air.clock.advance(1)
        early = list(ended)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving

        assert ([], [INSTANCE], []) == (early, ended, air.queues())


# deafness


async def test_a_connection_that_is_cut_for_20_seconds_loses_nothing(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        await air.say(swap_event("start", 1))
        task = asyncio.create_task(tracker.wait(instance=INSTANCE))
        air.transport.lose()
        for number in range(100):
            air.put(swap_event("end", request_id=f"req-away-{number}", new="another"))
        await air.clock.advance(20)
        away = tracker.health().links[0].connected
        air.transport.restore()
        await air.say(swap_event("end", 2))
        swap = await task
        await air.clock.advance(60)
        known = await tracker.history(new="another", limit=None)

    assert (False, SUCCEEDED, ()) == (away, swap.state, swap.deaf)
    assert [(SUCCEEDED, ())] * 100 == [(swap.state, swap.deaf) for swap in known]


async def test_a_long_loss_counts_as_deaf_while_it_lasts_and_afterwards(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        await air.say(swap_event("start", 1))
        task = asyncio.create_task(tracker.wait(instance=INSTANCE, timeout=900))
        async with tracker.expect(instance=INSTANCE):
            await air.clock.advance(60)
            cut = air.clock.utcnow()
            air.transport.lose()
            await air.clock.advance(240)
            early = tracker.running()[0].deaf
            await air.clock.advance(60)
            during = tracker.running()[0].deaf
            await air.clock.advance(540)
        with pytest.raises(TimeoutError) as caught:
            await task
        air.transport.restore()
        await air.clock.advance(30)
        heard_again = air.clock.utcnow()
        await air.clock.advance(600)
        await air.say(swap_event("end", 2))
        swap = await tracker.wait(instance=INSTANCE)

    assert () == early
    assert [cut] == [begin for begin, _ in during]
    assert [cut] == [begin for begin, _ in caught.value.swap.deaf]  # type: ignore[attr-defined]
    assert [(cut, heard_again)] == list(swap.deaf)


# time


async def test_a_wall_clock_that_is_set_makes_no_timer_miss_for_longer_than_a_look(air: Air) -> None:
    stuck: list[datetime] = []
    tracker = SwapTracker(air.transport, stuck_after=3600, clock=air.clock)

    @tracker.on_stuck
    async def alert(swap: Swap) -> None:
        stuck.append(air.clock.utcnow())

    async with air.opened(), tracker:
        await air.say(swap_event("start"))
        due = air.clock.utcnow().timestamp() + 3600
        air.clock.jump(3000)
        await air.clock.advance(570)
        early = list(stuck)
        await air.clock.advance(30)
        forth = list(stuck)
        await air.say(swap_event("start", request_id="req-2"))
        air.clock.jump(-600)
        await air.clock.advance(4199)
        back = list(stuck)
        await air.clock.advance(1)

    assert [] == early
    assert [due] == [moment.timestamp() for moment in forth]
    assert [1, 2] == [len(back), len(stuck)]


async def test_a_timer_that_is_a_little_early_counts(air: Air) -> None:
    class Rounded(ManualClock):
        """Its timers go off a tenth of a millisecond early."""

        def utcnow(self) -> datetime:
            now = super().utcnow()
            return now.replace(microsecond=now.microsecond // 100 * 100)

    clock = Rounded()
    transport = MemoryTransport(clock=clock)
    tracker = SwapTracker(transport, stuck_after=3.00005, clock=clock)
    air.transport, air.clock = transport, clock
    async with air.opened(), tracker:
        await air.say(swap_event("start"))
        await clock.advance(3.00005)
        health = tracker.health()

    assert (0, 1) == (health.running, health.stuck)


# what it hears and can't use


async def test_what_it_cannot_read_is_logged_counted_and_acknowledged(
    air: Air, tracker: SwapTracker, caplog: pytest.LogCaptureFixture
) -> None:
    async with air.opened(), tracker:
        (queue,) = air.queues()
        await air.publish(b"instance.volume_swap.end _context_auth_token")
        await air.publish(notification_body(FLAVOR))
        await air.say(swap_event("end"))
        health = tracker.health()
        depth = air.depth(queue)
    left = tracker.health()
    async with air.opened(), tracker:
        await air.publish(notification_body(FLAVOR))
        await air.clock.advance(0)
        again = tracker.health()

    assert 2 == again.skipped
    assert (2, 1, 1, 0) == (health.received, health.unreadable, health.skipped, depth)
    assert (2, 1, 1) == (left.received, left.unreadable, left.skipped)
    assert "the tracker leaves out a message of 'versioned_notifications.info'" in caplog.text
    assert "auth_token" not in caplog.text


@pytest.mark.parametrize(("question", "evidence"), [(1, ("end",)), (2, ("start", "end"))], ids=["arriving", "taken in"])
async def test_a_fault_of_ours_stops_nothing(
    air: Air, caplog: pytest.LogCaptureFixture, question: int, evidence: tuple[str, ...]
) -> None:
    class Stumbling(ManualClock):
        """Does not know what time it is when it is asked the first or the second time."""

        questions = 0

        def utcnow(self) -> datetime:
            self.questions -= 1
            if not self.questions:
                raise OSError("what time is it?")
            return super().utcnow()

    clock = Stumbling()
    tracker = SwapTracker(air.transport, clock=clock)
    async with air.opened(), tracker:
        clock.questions = question
        await air.say(swap_event("start", message_id="start"))
        await air.say(swap_event("end", message_id="end"))
        swap = await tracker.wait(instance=INSTANCE)

    assert (SUCCEEDED, evidence) == (swap.state, swap.evidence)
    assert "could not be taken in for a reason that nobody thought of" in caplog.text


class Watcher:
    """A hook that remembers."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def started(self, operation: Operation) -> None:
        assert "" == operation.outcome

    def finished(self, operation: Operation) -> None:
        self.operations.append(operation)


async def test_hooks_are_told_of_each_receive(air: Air) -> None:
    watcher = Watcher()
    tracker = SwapTracker(air.transport, clock=air.clock, hooks=(watcher,))
    async with air.opened(), tracker:
        end = swap_event("end", message_id="the-id")
        await air.say(end, end)
        await air.publish(b"instance.volume_swap.end")
        await air.clock.advance(0)

    received = [operation for operation in watcher.operations if operation.kind == "receive"]
    assert ["wanted", "skipped", "unreadable"] == [operation.outcome for operation in received]
    assert ["the-id", "the-id", None] == [operation.message_id for operation in received]
    assert len(encode(end)) == received[0].size


async def test_opening_takes_no_longer_than_it_is_given(air: Air) -> None:
    tracker = SwapTracker(air.transport, start_timeout=2, clock=air.clock)
    async with air.opened():
        air.transport.lose()
        opening = asyncio.create_task(tracker.__aenter__())
        await air.clock.advance(2)
        with pytest.raises(TransportError, match="tracker is not ready after 2 s"):
            await opening


@pytest.mark.parametrize("wrong", [{"stuck_after": 0}, {"keep": 0}, {"topics": ()}])
def test_values_out_of_range_are_refused(air: Air, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"stuck_after|keep|topics"):
        SwapTracker(air.transport, **wrong)  # type: ignore[arg-type]
