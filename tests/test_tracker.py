"""A tracker: who waits for a swap is answered, early or late, and whoever acts after `expect` misses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from aioswap.consumer import Consumer
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.swaps import Swap, SwapFailed, SwapState
from aioswap.tracker import SwapTracker
from aioswap.wire.envelope import encode
from aioswap.wire.events import volume_swap
from tests.consumer_kit import Script
from tests.swap_kit import INSTANCE, NEW, OLD, exception, instance_event, swap_event
from tests.tracker_kit import Air, until

RUNNING, SUCCEEDED, FAILED, STUCK = SwapState

LIMIT = 3600.0
"""Seconds after which the swaps of these tests are stuck."""


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def tracker(air: Air) -> SwapTracker:
    return SwapTracker(air.transport, stuck_after=LIMIT, clock=air.clock)


async def waiting(air: Air, tracker: SwapTracker, **criteria: Any) -> asyncio.Task[Swap]:
    """Return a task that waits already."""
    task = asyncio.create_task(tracker.wait(**criteria))
    await air.clock.advance(0)
    return task


async def timeout_of(air: Air, wait: Coroutine[Any, Any, Swap], seconds: float = 1) -> tuple[str, Any]:
    """Return what is told when `wait` ends after so many seconds: a text and a swap."""
    task = asyncio.create_task(wait)
    await air.clock.advance(seconds - 0.1)
    early = task.done()
    await air.clock.advance(0.1)

    assert not early
    with pytest.raises(TimeoutError) as caught:
        await task
    return str(caught.value), caught.value.swap  # type: ignore[attr-defined]


# expect


async def test_who_expects_a_swap_learns_how_it_ended(air: Air, tracker: SwapTracker) -> None:
    emitter = Emitter(air.transport, host="compute-1", clock=air.clock)
    async with air.opened(), emitter, tracker, tracker.expect(instance=INSTANCE, old=OLD) as expected:
        async with emitter.swapping(SwapRequest({"uuid": INSTANCE}, OLD, NEW)):
            await air.clock.advance(90)
        swap = await expected.wait(timeout=900)

    assert (SUCCEEDED, timedelta(seconds=90), "compute-1") == (swap.state, swap.duration, swap.host)
    assert (INSTANCE, OLD, NEW) == (swap.instance, swap.old_volume_id, swap.new_volume_id)
    swap.raise_for_state()


async def test_expect_loses_no_swap_that_is_over_before_wait_is_called(air: Air, tracker: SwapTracker) -> None:
    swaps = []
    async with air.opened(), Emitter(air.transport, host="compute-1", clock=air.clock) as emitter, tracker:
        for begin in range(0, 1000, 100):
            numbers = range(begin, begin + 100)
            async with AsyncExitStack() as stack:
                expected = [
                    await stack.enter_async_context(tracker.expect(instance=f"instance-{number}")) for number in numbers
                ]
                for number in numbers:
                    async with emitter.swapping(SwapRequest({"uuid": f"instance-{number}"}, OLD, NEW)):
                        pass
                await emitter.flush()
                await until(lambda: not tracker.running() and tracker.health().received == 2 * (begin + 100))  # noqa: B023
                swaps += [await each.wait(timeout=0) for each in expected]

    assert [SUCCEEDED] * 1000 == [swap.state for swap in swaps]
    assert [f"instance-{number}" for number in range(1000)] == [swap.instance for swap in swaps]


async def test_expect_loses_no_swap_that_is_over_first_thing_after_entry(air: Air, tracker: SwapTracker) -> None:
    async def swap(emitter: Emitter, number: int) -> Swap:
        async with tracker.expect(instance=f"instance-{number}") as expected:
            async with emitter.swapping(SwapRequest({"uuid": f"instance-{number}"}, OLD, NEW)):
                pass
            return await expected.wait(timeout=1)

    swaps = []
    async with air.opened(), Emitter(air.transport, host="compute-1", clock=air.clock) as emitter, tracker:
        for begin in range(0, 1000, 100):
            swaps += await asyncio.gather(*(swap(emitter, number) for number in range(begin, begin + 100)))

    assert [SUCCEEDED] * 1000 == [swap.state for swap in swaps]
    assert [f"instance-{number}" for number in range(1000)] == [swap.instance for swap in swaps]


async def test_two_trackers_at_once_hear_everything_and_so_does_a_pool(air: Air, tracker: SwapTracker) -> None:
    other = SwapTracker(air.transport, clock=air.clock)
    consumer, script = Consumer(air.transport, "billing", clock=air.clock), Script()
    consumer.on(volume_swap.any)(script.handle)
    async with air.opened(), consumer.running(), tracker, other:
        for number in range(100):
            await air.say(*(swap_event(phase, request_id=f"req-{number}") for phase in ("start", "end")))
        known = [await each.history(limit=None) for each in (tracker, other)]

    assert [100, 100, 200] == [*map(len, known), len(script.heard)]
    assert {SUCCEEDED} == {swap.state for swaps in known for swap in swaps}


async def test_what_began_before_is_not_expected(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        await air.say(swap_event("start", 0, request_id="req-before"), swap_event("start", 0, request_id=None))
        async with tracker.expect(instance=INSTANCE) as expected:
            await air.say(swap_event("end", 1, request_id="req-before"), swap_event("end", 1, request_id=None))
            await air.say(swap_event("start", 2, request_id="req-after"), swap_event("error", 3, request_id="req-after"))
            swap = await expected.wait()

    assert ("req-after", FAILED) == (swap.request_id, swap.state)


async def test_of_several_the_first_is_expected(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker, tracker.expect(old=OLD) as expected:
        await air.say(swap_event("start", request_id="req-1"), swap_event("start", request_id="req-2"))
        await air.say(swap_event("end", request_id="req-2"))
        text, known = await timeout_of(air, expected.wait(timeout=1))
        await air.say(swap_event("end", request_id="req-1"))
        swap = await expected.wait()

    assert ("req-1", ()) == (swap.request_id, swap.others)
    assert ("the swap is running after 1 s of waiting", "req-1", RUNNING) == (text, known.request_id, known.state)


@pytest.mark.parametrize("request_id", ["req-1", None])
async def test_an_expected_swap_may_begin_with_its_end(air: Air, tracker: SwapTracker, request_id: str | None) -> None:
    async with air.opened(), tracker, tracker.expect(new=NEW) as expected:
        await air.say(swap_event("end", 2, request_id=request_id), swap_event("start", 1, request_id=request_id))
        swap = await expected.wait()

    assert timedelta(seconds=1) == swap.duration


@pytest.mark.parametrize(
    ("phases", "states"),
    [
        (("end", "error", None), (FAILED, SUCCEEDED, STUCK)),
        (("end", None, "end"), (STUCK, SUCCEEDED, SUCCEEDED)),
        (("end", "end", "end"), (SUCCEEDED,) * 3),
    ],
)
async def test_with_a_global_request_all_must_be_over_and_the_worst_is_told(
    air: Air, tracker: SwapTracker, phases: tuple[str | None, ...], states: tuple[SwapState, ...]
) -> None:
    def said(phase: str, number: int) -> Any:
        return swap_event(phase, instance=f"instance-{number}", request_id=f"req-{number}", global_request_id="req-global")

    async with air.opened(), tracker, tracker.expect(global_request_id="req-global") as expected:
        await air.say(*(said("start", number) for number in range(len(phases))), swap_event("start", request_id="other"))
        task = asyncio.create_task(expected.wait(or_stuck=True))
        for number, phase in enumerate(phases):
            assert not task.done()
            await air.say(*(said(phase, number) for phase in (phase,) if phase))
        await air.clock.advance(LIMIT)
        swap = await task

    assert states == (swap.state, *(other.state for other in swap.others))


async def test_an_expectation_that_was_left_says_so_but_still_knows_what_it_heard(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        async with tracker.expect(instance=INSTANCE) as answered, tracker.expect(instance="another") as unanswered:
            task = asyncio.create_task(unanswered.wait())
            await air.say(swap_event("end"))
        with pytest.raises(RuntimeError, match="this expectation was left"):
            await task
        swap = await answered.wait()

    assert SUCCEEDED is swap.state


# wait


async def test_who_waits_is_told_when_it_is_over(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        task = await waiting(air, tracker, request_id="req-1")
        await air.say(swap_event("start"))
        early = task.done()
        await air.say(swap_event("error"))
        swap = await task

    assert (False, FAILED) == (early, swap.state)
    with pytest.raises(SwapFailed, match="VolumeNotFound: no valid connector"):
        swap.raise_for_state()


@pytest.mark.parametrize(
    "criteria",
    [
        {"instance": INSTANCE},
        {"old": OLD},
        {"new": NEW},
        {"request_id": "req-1"},
        {"global_request_id": "req-global"},
        {"instance": INSTANCE, "old": OLD, "new": NEW, "request_id": "req-1", "global_request_id": "req-global"},
    ],
)
async def test_who_comes_late_is_answered_at_once(air: Air, tracker: SwapTracker, criteria: dict[str, str]) -> None:
    async with air.opened(), tracker:
        await air.say(*(swap_event(phase, global_request_id="req-global") for phase in ("start", "end")))
        swap = await tracker.wait(**criteria, timeout=0)  # type: ignore[arg-type]
        others = [{**criteria, name: "another"} for name in criteria]
        unseen = [await timeout_of(air, tracker.wait(**other, timeout=1)) for other in others]  # type: ignore[arg-type]

    assert SUCCEEDED is swap.state
    assert {None} == {known for _, known in unseen}


async def test_the_newest_is_the_answer_and_a_running_one_before_finished_ones(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        await air.say(swap_event("start", request_id="req-1"))
        for number in (2, 3):
            await air.say(*(swap_event(phase, request_id=f"req-{number}") for phase in ("start", "end")))
        task = await waiting(air, tracker, instance=INSTANCE)
        early = task.done()
        await air.say(swap_event("error", request_id="req-1"))
        swaps = [await task, await tracker.wait(instance=INSTANCE)]

    assert not early
    assert ["req-1", "req-3"] == [swap.request_id for swap in swaps]


async def test_a_newer_swap_is_followed_instead(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        await air.say(swap_event("start", request_id="req-forgotten"))
        task = await waiting(air, tracker, old=OLD)
        await air.clock.advance(1)
        await air.say(swap_event("start", request_id="req-again"), swap_event("end", request_id="req-again"))
        swap = await task

    assert "req-again" == swap.request_id


async def test_the_answer_is_not_taken_away_by_what_comes_next(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        task = await waiting(air, tracker, old=OLD)
        for request_id, phase in (("req-1", "start"), ("req-1", "end"), ("req-2", "start")):
            await air.publish(encode(swap_event(phase, request_id=request_id)))
        swap = await task

    assert ("req-1", SUCCEEDED) == (swap.request_id, swap.state)


async def test_a_running_swap_goes_before_a_stuck_one(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        await air.say(swap_event("start", request_id="req-old"))
        await air.clock.advance(LIMIT / 2)
        await air.say(swap_event("start", request_id="req-new"))
        await air.clock.advance(LIMIT / 2)
        late = await waiting(air, tracker, old=OLD)
        await air.clock.advance(LIMIT)
        await air.say(swap_event("progress", request_id="req-old"), swap_event("end", request_id="req-old"))
        early = late.done()
        await air.say(swap_event("end", request_id="req-new"))
        swap = await late

    assert not early
    assert ("req-new", SUCCEEDED, True) == (swap.request_id, swap.state, swap.late)


async def test_since_leaves_out_what_came_before(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        await air.say(swap_event("end", request_id="req-1"))
        await air.clock.advance(60)
        since = air.clock.utcnow()
        _, known = await timeout_of(air, tracker.wait(instance=INSTANCE, since=since, timeout=1))
        task = await waiting(air, tracker, instance=INSTANCE, since=since)
        await air.say(swap_event("error", request_id="req-1"), swap_event("error", request_id="req-2"))
        swap = await task

    assert (None, "req-2") == (known, swap.request_id)


async def test_with_a_global_request_each_volume_counts_with_its_newest_attempt(air: Air, tracker: SwapTracker) -> None:
    def said(phase: str, instance: str, new: str) -> Any:
        return swap_event(phase, instance=instance, new=new, request_id=f"req-{instance}-{new}", global_request_id="req-global")

    async with air.opened(), tracker:
        # Cinder tries again for one instance; the other one's swap still runs
        await air.say(*(said(phase, "a", "new-1") for phase in ("start", "error")))
        await air.say(*(said(phase, "a", "new-2") for phase in ("start", "end")), said("start", "b", "new-2"))
        task = await waiting(air, tracker, global_request_id="req-global")
        early = task.done()
        await air.say(said("end", "b", "new-2"))
        swap = await task

    assert not early
    assert [("a", "new-2"), ("b", "new-2")] == [(each.instance, each.new_volume_id) for each in (swap, *swap.others)]


@pytest.mark.parametrize("or_stuck", [True, False])
async def test_stuck_ends_the_wait_only_if_asked(air: Air, tracker: SwapTracker, or_stuck: bool) -> None:
    async with air.opened(), tracker:
        task = await waiting(air, tracker, instance=INSTANCE, or_stuck=or_stuck)
        await air.say(swap_event("start"))
        await air.clock.advance(LIMIT - 1)
        early = task.done()
        await air.clock.advance(1)
        then = task.done()
        await air.say(swap_event("end"))
        swap = await task

    assert (False, or_stuck) == (early, then)
    assert (STUCK, False) == (swap.state, swap.late) if or_stuck else (SUCCEEDED, True) == (swap.state, swap.late)


@pytest.mark.parametrize(
    "sign", [exception(1), instance_event("instance.delete.end", 1)], ids=["raised in the request", "instance deleted"]
)
async def test_an_inferred_failure_ends_the_wait_after_its_grace(air: Air, tracker: SwapTracker, sign: Any) -> None:
    async with air.opened(), tracker:
        task = await waiting(air, tracker, request_id="req-1")
        await air.say(swap_event("start"), sign)
        await air.clock.advance(4.9)
        early = task.done()
        await air.clock.advance(0.1)
        swap = await task

    assert (False, FAILED) == (early, swap.state)
    assert swap.inferred is not None
    assert swap.inferred.startswith(sign.event_type)


async def test_a_real_end_within_the_grace_outweighs_the_sign(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        task = await waiting(air, tracker, request_id="req-1")
        await air.say(swap_event("start"), exception(1))
        await air.clock.advance(4)
        await air.say(swap_event("error", 2))
        swap = await task
        await air.clock.advance(10)

    assert (FAILED, None) == (swap.state, swap.inferred)


async def test_a_timeout_tells_what_is_known(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        unseen = await timeout_of(air, tracker.wait(instance=INSTANCE, timeout=30), 30)
        await air.say(swap_event("start"))
        seen = await timeout_of(air, tracker.wait(instance=INSTANCE, timeout=30), 30)

    assert "no such swap was seen in 30 s: perhaps there is none (the volume is not attached, " == unseen[0][:82]
    assert (None, "the swap is running after 30 s of waiting", RUNNING) == (unseen[1], seen[0], seen[1].state)


async def test_a_timeout_with_a_global_request_tells_of_those_that_are_over_too(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        for instance, phase in (("a", "start"), ("b", "error")):
            await air.say(swap_event(phase, instance=instance, request_id=instance, global_request_id="req-global"))
        _, swap = await timeout_of(air, tracker.wait(global_request_id="req-global", timeout=1))

    assert [("a", RUNNING), ("b", FAILED)] == [(each.instance, each.state) for each in (swap, *swap.others)]


async def test_cancelling_a_wait_leaks_nothing(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        await air.clock.advance(0)
        before = asyncio.all_tasks()
        async with tracker.expect(instance=INSTANCE) as expected:
            tasks = [await waiting(air, tracker, instance=INSTANCE, timeout=9) for _ in range(100)]
            tasks += [asyncio.create_task(expected.wait(timeout=9)) for _ in range(100)]
            await air.clock.advance(0)
            inside = len(tracker._shared.watches)
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        left = len(tracker._shared.watches)

        assert before == asyncio.all_tasks()
    assert (101, 0) == (inside, left)
    assert [asyncio.CancelledError] * 200 == [type(end) for end in ends]


async def test_who_waits_for_anything_is_asked_what(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        with pytest.raises(TypeError, match="say which swap: give at least one of instance, old"):
            tracker.expect(instance=None)
        with pytest.raises(TypeError, match="say which swap"):
            await tracker.wait(since=air.clock.utcnow())
        with pytest.raises(ValueError, match="is naive: give an aware moment"):
            await tracker.wait(instance=INSTANCE, since=air.clock.utcnow().replace(tzinfo=None))


# what is known without waiting


async def test_what_runs_what_is_stuck_and_what_was_is_told_without_waiting(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        await air.say(swap_event("start", request_id="req-1"))
        await air.clock.advance(LIMIT)
        await air.say(swap_event("start", request_id="req-2"), swap_event("end", request_id="req-3"))
        await air.clock.advance(10)
        stuck, younger, running = tracker.stuck(), tracker.stuck(older_than=10), tracker.running()
        known = await tracker.history(instance=INSTANCE)
        newest = await tracker.history(limit=1)
        everything = await tracker.history(limit=None)
        with pytest.raises(ValueError, match="limit=0: give 1 or more"):
            await tracker.history(limit=0)

    assert [["req-1"], ["req-1", "req-2"], ["req-2"]] == [[s.request_id for s in each] for each in (stuck, younger, running)]
    assert ["req-1", "req-2", "req-3"] == [swap.request_id for swap in known] == [swap.request_id for swap in everything]
    assert known[-1:] == newest
    assert (known[0], None) == (tracker.get("req-1"), tracker.get("req-4"))


async def test_timings_are_by_host(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker:
        await air.say(*(swap_event(phase, 9.0 * (phase == "end")) for phase in ("start", "end")))
        await air.say(swap_event("error", request_id="req-2", publisher="nova-compute:host-2"))
        since = air.clock.utcnow()
        timings = await tracker.timings()
        later = await tracker.timings(since=since + timedelta(seconds=1))

    assert [("host-1", 1, 9.0, 0), ("host-2", 0, None, 1)] == [
        (each.host, each.count, each.p95, each.failed) for each in timings
    ]
    assert [] == later


async def test_who_looks_at_everything_gets_each_change(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker, tracker.changes() as changes:
        await air.say(swap_event("start"), swap_event("start"), swap_event("end", request_id="req-2"))
        first = [await anext(changes) for _ in range(3)]
        task = asyncio.create_task(anext(changes))
        await air.clock.advance(LIMIT)
        stuck = await task

    expected = [("req-1", RUNNING), ("req-1", RUNNING), ("req-2", SUCCEEDED), ("req-1", STUCK)]
    assert expected == [(swap.request_id, swap.state) for swap in (*first, stuck)]
    with pytest.raises(RuntimeError, match="these changes were left"):
        await anext(aiter(changes))


async def test_who_looks_too_slowly_misses_the_oldest_changes(air: Air, tracker: SwapTracker) -> None:
    async with air.opened(), tracker, tracker.changes() as changes:
        await air.say(swap_event("start", 0), swap_event("start", 1))
        swap = await anext(changes)
        for _ in range(10_001):
            changes.take(swap, born=False)
        missed = changes.missed
        newer = await anext(changes)

    assert (2, 1, 1) == (missed, len(swap.evidence), len(newer.evidence))


# on_stuck


async def test_each_stuck_swap_is_told_once(air: Air, tracker: SwapTracker) -> None:
    told: list[Swap] = []

    @tracker.on_stuck
    async def alert(swap: Swap) -> None:
        told.append(swap)

    async with air.opened(), tracker:
        await air.say(swap_event("start", 1, request_id="req-1"), swap_event("progress", 9, request_id=None))
        await air.say(swap_event("start", request_id="req-2"), swap_event("end", request_id="req-2"))
        await air.clock.advance(LIMIT - 1)
        early = list(told)
        await air.clock.advance(1)
        await air.say(swap_event("start", 2, request_id="req-1"), swap_event("start", 8, request_id=None))
        await air.clock.advance(2 * LIMIT)
        await air.say(swap_event("end", 3, request_id="req-1"))
        await air.clock.advance(LIMIT)

    assert [] == early
    assert [("req-1", STUCK), (None, STUCK)] == [(swap.request_id, swap.state) for swap in told]


async def test_a_function_that_fails_or_takes_too_long_is_logged_and_the_next_one_is_called(
    air: Air, tracker: SwapTracker, caplog: pytest.LogCaptureFixture
) -> None:
    called = []

    @tracker.on_stuck
    async def fail(swap: Swap) -> None:
        called.append("fail")
        raise OSError("the pager is away")

    @tracker.on_stuck
    async def hang(swap: Swap) -> None:
        called.append("hang")
        await asyncio.Event().wait()

    @tracker.on_stuck
    async def work(swap: Swap) -> None:
        called.append("work")

    async with air.opened(), tracker:
        await air.say(swap_event("start"))
        await air.clock.advance(LIMIT)
        early = list(called)
        await air.clock.advance(600)

    assert [["fail", "hang"], ["fail", "hang", "work"]] == [early, called]
    failures = [text for text in caplog.messages if text.startswith("an on_stuck function failed")]
    assert ["OSError", "TimeoutError"] == [text.splitlines()[-1].partition(":")[0] for text in failures]


async def test_of_many_stuck_swaps_eight_are_told_at_a_time(air: Air) -> None:
    tracker = SwapTracker(air.transport, stuck_after=LIMIT, keep=10, clock=air.clock)
    begun: list[str] = []
    gate = asyncio.Event()

    @tracker.on_stuck
    async def alert(swap: Swap) -> None:
        begun.append(swap.instance)
        await gate.wait()

    async with air.opened(), tracker:
        for number in range(20):
            await air.say(swap_event("start", instance=f"instance-{number}"))
            await air.clock.advance(LIMIT if number == 9 else 1)
        first = list(begun)
        gate.set()
        await air.clock.advance(LIMIT)

    assert [f"instance-{number}" for number in range(8)] == first
    assert [f"instance-{number}" for number in range(20)] == begun


async def test_only_a_coroutine_function_can_be_told(tracker: SwapTracker) -> None:
    with pytest.raises(TypeError, match="give an `async def` function"):
        tracker.on_stuck(print)  # type: ignore[type-var]


async def test_leaving_waits_for_calls_and_cuts_off_what_takes_too_long(
    air: Air, tracker: SwapTracker, caplog: pytest.LogCaptureFixture
) -> None:
    release, cut_off, stubborn = asyncio.Event(), [], asyncio.Event()

    @tracker.on_stuck
    async def alert(swap: Swap) -> None:
        if swap.instance == "stubborn":
            while not stubborn.is_set():
                try:
                    await stubborn.wait()
                except asyncio.CancelledError:
                    cut_off.append("stubborn")
        try:
            await release.wait()
        except asyncio.CancelledError:
            cut_off.append("plain")
            raise

    async with air.opened():
        await tracker.__aenter__()
        await air.say(swap_event("start", instance="stubborn", request_id="a"), swap_event("start", request_id="b"))
        await air.clock.advance(LIMIT)
        leaving = asyncio.create_task(tracker.__aexit__(None, None, None))
        await air.clock.advance(9)
        early = list(cut_off)
        await air.clock.advance(1)
        later = sorted(cut_off)
        await air.clock.advance(10)
        stubborn.set()
        release.set()
        await leaving

    assert [[], ["plain", "stubborn"]] == [early, later]
    assert ["2 calls", "1 calls"] == [record.getMessage()[:7] for record in caplog.records]
