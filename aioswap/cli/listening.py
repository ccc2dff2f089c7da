"""What commands share that listen by a tracker: opening it, and leaving in order when somebody says so."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import click

from aioswap.cli.output import say
from aioswap.tracker import SwapTracker
from aioswap.transports.base import Transport

__all__ = ["INTERRUPTED", "listen", "opened", "unkept"]

INTERRUPTED: Final = 130


def listen(main: Coroutine[Any, Any, int], terminated: Callable[[], int] = lambda: INTERRUPTED) -> int:
    """Run `main`, and return its exit code. SIGTERM cancels it, as Ctrl-C does: what is open is closed in order.

    Args:
        main: what the command does.
        terminated: called after SIGTERM, when all is closed; returns the exit code.

    Raises:
        KeyboardInterrupt: somebody pressed Ctrl-C.
    """

    async def guarded() -> int:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        told = asyncio.Event()

        def end() -> None:
            told.set()
            task.cancel()

        loop.add_signal_handler(signal.SIGTERM, end)
        try:
            return await main
        except asyncio.CancelledError:
            if not told.is_set():
                raise
            return terminated()
        finally:
            loop.remove_signal_handler(signal.SIGTERM)

    return asyncio.run(guarded())


@asynccontextmanager
async def opened(transports: Sequence[Transport], tracker: SwapTracker) -> AsyncGenerator[None]:
    """Open the transports and the tracker that hears by them, and close them in the end.

    Raises:
        TransportError: a broker is away or refuses.
        click.BadParameter: the history's file is none.
        OSError: the history can't be opened.
    """
    async with AsyncExitStack() as stack:
        for transport in transports:
            await stack.enter_async_context(transport)
        try:
            await stack.enter_async_context(tracker)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--history") from None
        yield


def unkept(tracker: SwapTracker) -> int:
    """Say how many changes the history never got, and return the exit code that says so: 1; else 0."""
    lost = tracker.health().lost
    if lost:
        say(f"aioswap: {lost} changes are not in the history")
    return 1 if lost else 0
