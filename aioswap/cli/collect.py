"""`aioswap collect`: keep the history of swaps without anybody looking. It takes nothing from anybody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from aioswap.cli.durations import stuck_after_option
from aioswap.cli.listening import listen, opened, unkept
from aioswap.cli.options import Connection, connection_options
from aioswap.cli.output import say
from aioswap.clock import Clock
from aioswap.tracker import SwapTracker
from aioswap.transports.base import Transport

__all__ = ["collect", "command"]

_LONGEST = 1e9


@click.command("collect")
@connection_options
@click.option(
    "--history",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="An SQLite file; made if it is missing, for its owner alone.",
)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="End after so many seconds.")
@stuck_after_option
def command(connection: Connection, history: Path, seconds: float | None, stuck_after: float) -> int:
    """Hear of swaps, and keep them in FILE for 30 days: what status, stuck and timings read. SIGTERM ends it in order.

    It ends with 0; 1: the file could not take everything.
    """
    clock, transports = Clock(), connection.transports()
    tracker = SwapTracker(*transports, topics=connection.topics, stuck_after=stuck_after, history=history, clock=clock)
    return listen(collect(transports, tracker, history, seconds, clock), lambda: unkept(tracker))


async def collect(
    transports: Sequence[Transport], tracker: SwapTracker, history: Path, seconds: float | None, clock: Clock
) -> int:
    """Do what the command does, and return its exit code.

    Args:
        transports: not yet open.
        tracker: hears by them, and has the history; not yet open.
        history: its file.
        seconds: None: for ever.
        clock: measures.

    Raises:
        TransportError: a broker is away or refuses.
        click.BadParameter: the file is no history.
        OSError: it can't be opened.
    """
    async with opened(transports, tracker):
        say(f"collecting into {history}{'' if seconds is None else f' for {seconds:g} s'}")
        await clock.sleep(_LONGEST if seconds is None else seconds)
    return unkept(tracker)
