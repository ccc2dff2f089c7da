"""Every exit of a swap: exactly one start and one right terminal notification; the result or exception untouched."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from aioswap.emitter import Emitter
from aioswap.outbox import MemoryOutbox
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.envelope import decode
from aioswap.wire.notification import Notification
from tests.bus import DEADLINE, declare, phases, run, told

SERVER = {"uuid": "6b5ae6ba-0f3a-4c0c-9b0f-0d5a6a4f1c11"}
OLD, NEW = "a0a0a0a0-0000-4000-8000-000000000001", "a0a0a0a0-0000-4000-8000-000000000002"


class Broken(Exception):
    pass


@asynccontextmanager
async def emitting(transport: MemoryTransport) -> AsyncIterator[Emitter]:
    async with transport:
        await declare(transport)
        async with Emitter(transport, host="compute-1") as emitter:
            yield emitter


async def heard(transport: MemoryTransport) -> list[Notification[Any]]:
    async with transport:
        return await told(transport)


def the_fault(notifications: list[Notification[Any]]) -> str:
    assert ["start", "error"] == phases(notifications)
    fault = notifications[1].payload.fault
    return str(fault.exception)


async def test_return_is_an_end_and_the_result_is_the_callers() -> None:
    transport, result = MemoryTransport(), object()
    async with emitting(transport) as emitter:

        @emitter.swap
        async def swap(instance: object, old_volume_id: str, new_volume_id: str) -> object:
            return result

        got = await swap(SERVER, OLD, NEW)

    notifications = await heard(transport)
    assert result is got
    assert ["start", "end"] == phases(notifications)
    assert [None, None] == [each.payload.fault for each in notifications]


async def test_an_exception_is_an_error_and_is_raised_as_it_was() -> None:
    transport, error = MemoryTransport(), Broken("no such volume")
    cause = KeyError("volume")
    async with emitting(transport) as emitter:

        @emitter.swap
        async def swap(instance: object, old_volume_id: str, new_volume_id: str) -> None:
            raise error from cause

        with pytest.raises(Broken) as raised:
            await swap(SERVER, OLD, NEW)

    assert raised.value is error
    assert error.__cause__ is cause
    assert "Broken" == the_fault(await heard(transport))


async def test_an_exception_in_a_nested_task_group_is_an_error_with_its_group() -> None:
    transport, error = MemoryTransport(), Broken("nested")
    async with emitting(transport) as emitter:

        async def child() -> None:
            raise error

        @emitter.swap
        async def swap(instance: object, old_volume_id: str, new_volume_id: str) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())

        with pytest.raises(ExceptionGroup) as raised:
            await swap(SERVER, OLD, NEW)

    assert (error,) == raised.value.exceptions
    assert "ExceptionGroup" == the_fault(await heard(transport))


@pytest.mark.parametrize("cancels", [1, 2])
async def test_a_cancelled_swap_is_an_error_and_stays_cancelled(cancels: int) -> None:
    transport, begun = MemoryTransport(), asyncio.Event()
    async with emitting(transport) as emitter:

        @emitter.swap
        async def swap(instance: object, old_volume_id: str, new_volume_id: str) -> None:
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(swap(SERVER, OLD, NEW))
        await begun.wait()
        for _ in range(cancels):
            task.cancel("operator")
        with pytest.raises(asyncio.CancelledError):
            await task

    assert task.cancelled()
    assert cancels == task.cancelling()
    assert "CancelledError" == the_fault(await heard(transport))


async def test_a_second_cancel_while_the_body_cleans_up_is_told_once() -> None:
    transport, begun, cleaning = MemoryTransport(), asyncio.Event(), asyncio.Event()
    async with emitting(transport) as emitter:

        @emitter.swap
        async def swap(instance: object, old_volume_id: str, new_volume_id: str) -> None:
            try:
                begun.set()
                await asyncio.Event().wait()
            finally:
                cleaning.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(swap(SERVER, OLD, NEW))
        await begun.wait()
        task.cancel()
        await cleaning.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert "CancelledError" == the_fault(await heard(transport))


async def test_a_timeout_around_the_swap_is_an_error_and_a_timeout() -> None:
    transport = MemoryTransport()
    async with emitting(transport) as emitter:

        @emitter.swap
        async def swap(instance: object, old_volume_id: str, new_volume_id: str) -> None:
            await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await swap(SERVER, OLD, NEW)

    assert "CancelledError" == the_fault(await heard(transport))


async def test_an_anyio_scope_that_is_cancelled_is_an_error_and_ends_where_it_should() -> None:
    transport = MemoryTransport()
    async with emitting(transport) as emitter:

        @emitter.swap
        async def swap(instance: object, old_volume_id: str, new_volume_id: str) -> None:
            scope.cancel()
            await anyio.sleep_forever()

        with anyio.CancelScope() as scope:
            await swap(SERVER, OLD, NEW)

    assert scope.cancelled_caught
    assert "CancelledError" == the_fault(await heard(transport))


async def test_an_anyio_task_group_whose_sibling_fails_cancels_the_swap_and_raises_its_own_error() -> None:
    transport, begun = MemoryTransport(), asyncio.Event()
    async with emitting(transport) as emitter:

        @emitter.swap
        async def swap(instance: object, old_volume_id: str, new_volume_id: str) -> None:
            begun.set()
            await anyio.sleep_forever()

        async def sibling() -> None:
            await begun.wait()
            raise Broken("sibling")

        with pytest.raises(ExceptionGroup) as raised:
            async with anyio.create_task_group() as group:
                group.start_soon(swap, SERVER, OLD, NEW)
                group.start_soon(sibling)

    assert ["sibling"] == [str(error) for error in raised.value.exceptions]
    assert "CancelledError" == the_fault(await heard(transport))


@pytest.mark.parametrize("exit_type", [SystemExit, KeyboardInterrupt])
def test_an_exit_raised_in_a_child_task_is_an_error_and_ends_the_program(exit_type: type[BaseException]) -> None:
    transport, error = MemoryTransport(), exit_type("stop")

    async def main() -> None:
        async with emitting(transport) as emitter:

            @emitter.swap
            async def swap(instance: object, old_volume_id: str, new_volume_id: str) -> None:
                raise error

            await asyncio.gather(asyncio.create_task(swap(SERVER, OLD, NEW)))

    with pytest.raises(exit_type) as raised:
        run(main())

    assert raised.value is error
    assert exit_type.__name__ == the_fault(run(heard(transport)))


@pytest.mark.parametrize("exit_type", [SystemExit, KeyboardInterrupt])
def test_an_exit_raised_beside_a_swap_cancels_it_and_it_is_told(exit_type: type[BaseException]) -> None:
    transport = MemoryTransport()

    async def main() -> None:
        begun = asyncio.Event()

        async def interrupt() -> None:
            await begun.wait()
            raise exit_type("stop")

        async with emitting(transport) as emitter:

            @emitter.swap
            async def swap(instance: object, old_volume_id: str, new_volume_id: str) -> None:
                begun.set()
                await asyncio.Event().wait()

            await asyncio.gather(asyncio.create_task(swap(SERVER, OLD, NEW)), asyncio.create_task(interrupt()))

    with pytest.raises(exit_type):
        run(main())

    assert "CancelledError" == the_fault(run(heard(transport)))


class Suspend:
    def __await__(self) -> Any:
        yield


def step(coroutine: Coroutine[Any, Any, Any]) -> None:
    coroutine.send(None)


async def test_a_coroutine_that_is_closed_is_an_error() -> None:
    transport = MemoryTransport()
    async with emitting(transport) as emitter:

        @emitter.swap
        async def swap(instance: object, old_volume_id: str, new_volume_id: str) -> None:
            await Suspend()

        coroutine = swap(SERVER, OLD, NEW)
        step(coroutine)
        coroutine.close()

    assert "GeneratorExit" == the_fault(await heard(transport))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_swap_whose_loop_is_torn_down_under_it_is_an_error_in_the_outbox() -> None:
    outbox = MemoryOutbox()

    async def main() -> None:
        begun = asyncio.Event()
        transport = MemoryTransport()
        emitter = Emitter(transport, host="compute-1", outbox=outbox)
        await transport.__aenter__()
        await emitter.__aenter__()

        @emitter.swap
        async def swap(instance: object, old_volume_id: str, new_volume_id: str) -> None:
            begun.set()
            await Suspend()
            await asyncio.get_running_loop().create_future()

        transport.lose()
        kept.append(asyncio.create_task(swap(SERVER, OLD, NEW)))
        await begun.wait()

    kept: list[asyncio.Task[None]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    kept.clear()
    gc.collect()

    bodies = [decode(entry.message.body) for entry in outbox.at_risk()]
    assert "GeneratorExit" == the_fault(bodies)


async def test_a_program_whose_tasks_are_all_cancelled_drains_on_a_fresh_connection() -> None:
    transport, begun = MemoryTransport(), asyncio.Event()

    async def program() -> None:
        async with emitting(transport) as emitter:

            @emitter.swap
            async def swap(instance: object, old_volume_id: str, new_volume_id: str) -> None:
                begun.set()
                await asyncio.Event().wait()

            await swap(SERVER, OLD, NEW)

    task = asyncio.create_task(program())
    await begun.wait()
    for each in asyncio.all_tasks() - {asyncio.current_task()}:
        each.cancel()
    await asyncio.wait([task], timeout=DEADLINE)

    # What was in flight when everything was cancelled may be sent twice, with its own ids.
    notifications = list({each.message_id: each for each in await heard(transport)}.values())
    assert task.cancelled()
    assert "CancelledError" == the_fault(notifications)


async def test_concurrent_swaps_are_told_apart() -> None:
    transport = MemoryTransport()
    async with emitting(transport) as emitter:

        @emitter.swap
        async def swap(instance: dict[str, str], old_volume_id: str, new_volume_id: str) -> None:
            await asyncio.sleep(0)
            if int(instance["uuid"]) % 3 == 0:
                raise Broken(instance["uuid"])

        servers = [{"uuid": str(number)} for number in range(30)]
        await asyncio.gather(*[swap(server, OLD, NEW) for server in servers], return_exceptions=True)

    by_server: dict[str, list[str]] = {}
    for each in await heard(transport):
        by_server.setdefault(each.payload.uuid, []).append(phases([each])[0])
    assert {str(n): ["start", "error" if n % 3 == 0 else "end"] for n in range(30)} == by_server
