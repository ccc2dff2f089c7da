"""`aioswap wait`: how does the swap end that a command causes?"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import click

from aioswap.cli.durations import DURATION, stuck_after_option
from aioswap.cli.listening import INTERRUPTED, listen, opened
from aioswap.cli.options import Connection, connection_options, output_options
from aioswap.cli.output import Style, say
from aioswap.cli.swap_rows import print_swap
from aioswap.clock import Clock
from aioswap.swaps import Swap, SwapState
from aioswap.tracker import SwapTracker
from aioswap.tracking.waiting import UNSEEN, Expected
from aioswap.transports.base import Transport

__all__ = ["command", "start_seconds", "wait"]

_CODES: Final[Mapping[SwapState, int]] = {
    SwapState.SUCCEEDED: 0,
    SwapState.FAILED: 1,
    SwapState.STUCK: 3,
    SwapState.RUNNING: 3,
}
_UNREACHABLE: Final = 4
_NOT_SEEN: Final = 5
_COMMAND_FAILED: Final = 6

_ONE_ATTEMPT: Final = 10.0
_LONGEST_START: Final = 30.0
"""Seconds that one attempt to connect takes at most, and all of them."""
_HINT_AFTER: Final = 60.0
_STDERR: Final = 2
_OWN_ACCORD: Final = 0.5
_DEADLINE: Final = 5.0
"""Seconds for a COMMAND to end by itself (a terminal's Ctrl-C reaches it too), and after SIGTERM."""


@click.command("wait", context_settings={"allow_interspersed_args": False})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@connection_options
@click.option("--instance", metavar="UUID", help="The instance's uuid.")
@click.option("--old", metavar="ID", help="The old volume's id.")
@click.option("--new", metavar="ID", help="The new volume's id. In a migration only Cinder knows it.")
@click.option("--request-id", metavar="ID", help="Nova's request id.")
@click.option("--global-request-id", metavar="ID", help="The caller's request id. All its swaps must end; the worst counts.")
@click.option("--timeout", type=DURATION, help="Wait no longer after COMMAND: seconds, or 30m, 2h. Else there is no limit.")
@stuck_after_option
@output_options
def command(
    arguments: tuple[str, ...],
    connection: Connection,
    timeout: float | None,
    stuck_after: float,
    style: Style,
    **criteria: str | None,
) -> int:
    """Listen, then run COMMAND, then wait until the swap is over that has begun meanwhile, and print it.

    At least one option must say which swap. Without COMMAND it is one that begins, or ends, from now on. What COMMAND prints
    goes to stderr.

    It ends with 0: the swap succeeded; 1: it failed; 3: it is stuck, or still runs after --timeout; 4: the broker is
    unreachable; 5: no swap was seen; 6: COMMAND failed, and nothing was waited for; 130: interrupted, and COMMAND is ended.
    """
    if not any(value is not None for value in criteria.values()):
        raise click.UsageError("which swap? Give one of --instance, --old, --new, --request-id, --global-request-id")
    clock, transports = Clock(), connection.transports()
    tracker = SwapTracker(
        *transports,
        topics=connection.topics,
        stuck_after=stuck_after,
        start_timeout=start_seconds(timeout),
        clock=clock,
    )
    return listen(wait(transports, tracker, criteria, arguments, timeout, style, clock))


def start_seconds(timeout: float | None) -> float:
    """Return how long to try to reach the broker: `timeout`, but as long as one attempt takes, and 30 s at most."""
    return _LONGEST_START if timeout is None else min(max(timeout, _ONE_ATTEMPT), _LONGEST_START)


async def wait(
    transports: Sequence[Transport],
    tracker: SwapTracker,
    criteria: Mapping[str, str | None],
    arguments: Sequence[str],
    timeout: float | None,
    style: Style,
    clock: Clock,
) -> int:
    """Do what the command does, and return its exit code.

    Args:
        transports: not yet open.
        tracker: hears by them; not yet open.
        criteria: as `SwapTracker.expect` takes them.
        arguments: of the COMMAND; empty: there is none.
        timeout: seconds after COMMAND; None: no limit.
        style: how to print.
        clock: measures.

    Raises:
        TransportError: a broker is away or refuses.
    """
    async with opened(transports, tracker), tracker.expect(**criteria) as expected:
        if arguments:
            code = await _run(arguments, clock)
            if code:
                return code
        else:
            say("listening: waiting for the swap")
        try:
            swap = await _ended(expected, timeout)
        except TimeoutError as error:
            say(f"aioswap: timed out after {timeout:g} s")
            return _timed_out(getattr(error, "swap", None), tracker, style, clock)
    print_swap(swap, clock.utcnow(), style)
    if swap.state is SwapState.STUCK:
        say("aioswap: the swap is stuck: nothing more was heard of it for longer than --stuck-after")
    return _CODES[swap.state]


async def _ended(expected: Expected, timeout: float | None) -> Swap:
    """Wait for the swap; if nothing is seen of it for a minute, say why that may be, and wait on.

    Raises:
        TimeoutError: as `Expected.wait`.
    """
    if timeout is not None and timeout <= _HINT_AFTER:
        return await expected.wait(timeout, or_stuck=True)
    try:
        return await expected.wait(_HINT_AFTER, or_stuck=True)
    except TimeoutError as error:
        if getattr(error, "swap", None) is None:
            say(f"aioswap: no swap was seen yet: {UNSEEN}; waiting on")
    return await expected.wait(None if timeout is None else timeout - _HINT_AFTER, or_stuck=True)


def _timed_out(swap: Swap | None, tracker: SwapTracker, style: Style, clock: Clock) -> int:
    away = [link.degraded or "no connection to the broker" for link in tracker.health().links if not link.connected]
    for trouble in away:
        say(f"aioswap: {trouble}")
    if swap is not None:
        print_swap(swap, clock.utcnow(), style)
        say("aioswap: the swap is not over")
        return _CODES[swap.state]
    if away:
        return _UNREACHABLE
    say(f"aioswap: not seen: {UNSEEN}; aioswap doctor says whether anything can be heard")
    return _NOT_SEEN


async def _run(arguments: Sequence[str], clock: Clock) -> int:
    """Run COMMAND, and return the exit code if it fails, else 0. However this is left, COMMAND has ended."""
    try:
        process = await asyncio.create_subprocess_exec(*arguments, stdout=_STDERR)
    except OSError as error:
        say(f"aioswap: {arguments[0]} cannot be run: {error.strerror}")
        return _COMMAND_FAILED
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            await _end(process, clock)
    if code == -signal.SIGINT:
        return INTERRUPTED
    if code:
        how = f"it ended with {code}" if code > 0 else f"signal {-code} ended it"
        say(f"aioswap: {arguments[0]} failed: {how}; nothing was waited for")
        return _COMMAND_FAILED
    return 0


async def _end(process: asyncio.subprocess.Process, clock: Clock) -> None:
    for seconds, end in ((_OWN_ACCORD, process.terminate), (_DEADLINE, process.kill)):
        with suppress(TimeoutError):
            async with clock.timeout(seconds):
                await process.wait()
                return
        with suppress(ProcessLookupError):
            end()
    await process.wait()
