"""What hooks are told of tracked swaps: each once, when it is over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aioswap.hooks import Operation, OperationKind
from aioswap.tracker import SwapTracker
from tests.swap_kit import INSTANCE, NEW, OLD, swap_event
from tests.tracker_kit import Air

LIMIT = 3600.0


class Watch:
    """A hook that remembers what it was told of swaps."""

    def __init__(self) -> None:
        self.over: list[Operation] = []

    def started(self, operation: Operation, /) -> None: ...

    def finished(self, operation: Operation, /) -> None:
        if operation.kind is OperationKind.TRACK:
            self.over.append(operation)

    @property
    def told(self) -> list[tuple[str, float | None]]:
        return [(operation.outcome, operation.seconds) for operation in self.over]


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def new(air: Air, watch: Watch, tmp_path: Path) -> Callable[[], SwapTracker]:
    """Make a tracker as a new process does: it knows nothing but the history."""
    path = tmp_path / "swaps.db"
    return lambda: SwapTracker(air.transport, stuck_after=LIMIT, history=path, clock=air.clock, hooks=[watch])


async def test_a_swap_that_is_over_is_told_once(air: Air, watch: Watch, new: Callable[[], SwapTracker]) -> None:
    async with air.opened(), new():
        await air.say(swap_event("start", 1))
        await air.clock.advance(LIMIT)
        early = list(watch.told)
        await air.say(swap_event("end", 3), swap_event("end", 4), swap_event("start", 2))

    assert [] == early
    assert [("succeeded", 2.0)] == watch.told
    assert {"instance": INSTANCE, "old_volume_id": OLD, "new_volume_id": NEW} == watch.over[0].ids


async def test_a_swap_without_a_start_has_no_duration(air: Air, watch: Watch, new: Callable[[], SwapTracker]) -> None:
    async with air.opened(), new():
        await air.say(swap_event("error", 3))

    assert [("failed", None)] == watch.told


async def test_each_attempt_without_a_request_id_is_told(air: Air, watch: Watch, new: Callable[[], SwapTracker]) -> None:
    async with air.opened(), new():
        for second in (1, 5):
            await air.say(swap_event("start", second, request_id=None), swap_event("end", second + 1, request_id=None))

    assert [("succeeded", 1.0), ("succeeded", 1.0)] == watch.told


async def test_what_another_process_has_told_is_not_told_again(air: Air, watch: Watch, new: Callable[[], SwapTracker]) -> None:
    async with air.opened():
        async with new():
            await air.say(swap_event("start", 1), swap_event("end", 2))
            await air.say(swap_event("start", 3, request_id="req-2"))
        async with new():
            await air.say(swap_event("end", 4))
            await air.say(swap_event("error", 9, request_id="req-2"))

    assert [("succeeded", 1.0), ("failed", 6.0)] == watch.told


async def test_without_hooks_nothing_is_remembered_for_them(air: Air) -> None:
    tracker = SwapTracker(air.transport, clock=air.clock)
    async with air.opened(), tracker:
        await air.say(swap_event("start", 1), swap_event("end", 2))

    assert {} == tracker._shared.ends._told._noted
