"""What hooks are told of swaps and of what tells them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from aioswap.emitter import Emitter
from aioswap.emitting.observed import Observed
from aioswap.emitting.request import SwapRequest
from aioswap.hooks import Operation, OperationKind
from aioswap.outbox import MemoryOutbox
from aioswap.transports.base import Message, Reservation
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.events import volume_swap
from aioswap.wire.instances import swap_payload
from tests.bus import DEADLINE, declare, phases, told

REQUEST = SwapRequest({"uuid": "server-1"}, "old", "new")
IDS = {"instance": "server-1", "old_volume_id": "old", "new_volume_id": "new"}


class Watch:
    """A hook that remembers what it was told, and does something when an emit starts."""

    def __init__(self, act: Callable[[Operation], object] = lambda operation: None) -> None:
        self.told: list[tuple[str, str]] = []
        self.over: list[Operation] = []
        self._act = act

    def started(self, operation: Operation, /) -> None:
        self.told.append((operation.kind, "started"))
        if operation.kind is OperationKind.EMIT:
            self._act(operation)

    def finished(self, operation: Operation, /) -> None:
        self.told.append((operation.kind, operation.outcome))
        self.over.append(operation)

    def swaps(self) -> list[tuple[str, Mapping[str, str], type[BaseException] | None]]:
        """Return what was told of swaps: outcome, ids and the kind of the error."""
        over = [each for each in self.over if each.kind is OperationKind.SWAP]
        return [(each.outcome, each.ids, None if each.error is None else type(each.error)) for each in over]


@asynccontextmanager
async def emitting(watch: Watch, **more: Any) -> AsyncIterator[tuple[Emitter, MemoryTransport]]:
    async with asyncio.timeout(DEADLINE), MemoryTransport() as transport:
        await declare(transport)
        async with Emitter(transport, host="c1", hooks=[watch], **more) as emitter:
            yield emitter, transport


async def test_a_swap_is_told_around_its_notifications() -> None:
    watch = Watch()
    async with emitting(watch) as (emitter, _):
        async with emitter.swapping(REQUEST):
            watch.told.append(("body", "runs"))
        await emitter.flush()

    assert [
        ("swap", "started"),
        ("emit", "started"),
        ("emit", "accepted"),
        ("body", "runs"),
        ("emit", "started"),
        ("emit", "accepted"),
        ("swap", "succeeded"),
    ] == [each for each in watch.told if each[0] != "publish"]
    assert [("succeeded", IDS, None)] == watch.swaps()


@pytest.mark.parametrize("error", [OSError, asyncio.CancelledError, KeyboardInterrupt, GeneratorExit])
async def test_every_exit_is_told(error: type[BaseException]) -> None:
    watch = Watch()
    async with emitting(watch) as (emitter, transport):
        with pytest.raises(error):
            async with emitter.swapping(REQUEST):
                raise error
        await emitter.flush()
        notifications = await told(transport)

    assert [("failed", IDS, error)] == watch.swaps()
    assert ["start", "error"] == phases(notifications)


async def test_a_cancel_before_the_body_is_told() -> None:
    watch = Watch()
    async with emitting(watch, outbox=_NeverSafe()) as (emitter, transport):
        swapping = asyncio.create_task(_swap(emitter))
        while not watch.over:  # noqa: ASYNC110  # until the start is accepted
            await asyncio.sleep(0)
        swapping.cancel()
        with suppress(asyncio.CancelledError):
            await swapping
        await emitter.flush()
        notifications = await told(transport)

    assert [("failed", IDS, asyncio.CancelledError)] == watch.swaps()
    assert ["start", "error"] == phases(notifications)


class _NeverSafe(MemoryOutbox):
    def accept(
        self, *messages: Message, opens: Reservation | None = None, closes: Reservation | None = None
    ) -> asyncio.Future[None]:
        super().accept(*messages, opens=opens, closes=closes)
        return asyncio.get_running_loop().create_future()


async def _swap(emitter: Emitter) -> None:
    async with emitter.swapping(REQUEST):
        pass


async def test_a_swap_that_stays_untold_is_told_to_hooks() -> None:
    watch = Watch()
    emitter = Emitter(MemoryTransport(), host="c1", hooks=[watch])
    async with emitter.swapping(REQUEST):
        pass

    assert [("succeeded", {}, None)] == watch.swaps()
    assert 1 == emitter.health().untold


async def test_a_body_that_is_skipped_is_told() -> None:
    watch = Watch()
    emitter = Emitter(MemoryTransport(), host="c1", hooks=[watch], on_failure="raise")
    with pytest.raises(RuntimeError):
        async with emitter.swapping(REQUEST):
            raise AssertionError("the body is skipped")

    assert [("failed", {}, RuntimeError)] == watch.swaps()


async def test_without_hooks_nothing_is_made_for_them() -> None:
    plain, watched = (Emitter(MemoryTransport(), host="c1", hooks=hooks).swapping(REQUEST) for hooks in ([], [Watch()]))

    assert (False, True) == (isinstance(plain, Observed), isinstance(watched, Observed))


async def test_headers_of_a_hook_travel_with_each_message() -> None:
    watch = Watch(lambda operation: operation.headers.update(traceparent="00-1"))
    async with emitting(watch, topics=["versioned_notifications", "elsewhere"]) as (emitter, transport):
        await declare(transport, topics=["elsewhere"])
        await emitter.emit(volume_swap.start, swap_payload({"uuid": "1"}, "old", "new"))
        await emitter.flush()
        published = [each for each in watch.over if each.kind is OperationKind.PUBLISH]

    assert {("elsewhere.info", "00-1"), ("versioned_notifications.info", "00-1")} == {
        (str(each.routing_key), each.headers["traceparent"]) for each in published
    }
    assert "versioned_notifications.info" == watch.over[0].routing_key


@pytest.mark.parametrize(
    "headers",
    [{"h": object()}, {"h": 1 << 64}, {"h" * 256: 1}, {7: 1}, {"h": "x" * 70_000}, None, 7],
    ids=["object", "number", "name", "no-name", "long", "none", "no-mapping"],
)
async def test_headers_that_cannot_be_sent_are_left_out(headers: Any, caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(lambda operation: setattr(operation, "headers", headers))
    with caplog.at_level(logging.ERROR):
        async with emitting(watch) as (emitter, transport):
            await _swap(emitter)
            await emitter.flush()
            notifications = await told(transport)

    assert ["start", "end"] == phases(notifications)
    assert (0, 2) == (emitter.health().parked, caplog.text.count("that hooks have added"))
    assert {()} == {tuple(each.headers) for each in watch.over if each.kind is OperationKind.PUBLISH}


async def test_what_an_outbox_raises_ends_the_emit_for_hooks() -> None:
    class Broken(MemoryOutbox):
        def accept(self, *messages: Message, **more: Any) -> asyncio.Future[None]:
            raise LookupError("a slip in an outbox")

    watch = Watch()
    async with emitting(watch, outbox=Broken()) as (emitter, _):
        with pytest.raises(LookupError):
            await emitter.emit(volume_swap.start, swap_payload({"uuid": "1"}, "old", "new"))
        await _swap(emitter)

    assert [("emit", "failed"), ("emit", "failed"), ("swap", "succeeded")] == [
        each for each in watch.told if each[1] != "started"
    ]


async def test_a_hook_that_fails_everywhere_touches_no_swap(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def started(self, operation: Operation, /) -> None:
            raise ValueError("hook")

        finished = started

    async with asyncio.timeout(DEADLINE), MemoryTransport() as transport:
        await declare(transport)
        async with Emitter(transport, host="c1", hooks=[Broken()]) as emitter:
            await _swap(emitter)
            await emitter.flush()
            notifications = await told(transport)

    assert ["start", "end"] == phases(notifications)
    # started and finished, of the swap, two emits and two publishes
    assert 10 == caplog.text.count("it is ignored")
