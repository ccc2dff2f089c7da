"""`aioswap watch`: swaps as they are heard of, on a terminal as a table that changes. It takes nothing from anybody."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from math import inf
from typing import Final, Protocol

import click
from rich.console import Console
from rich.live import Live

from aioswap.cli.board import Board, Filters, picture
from aioswap.cli.durations import stuck_after_option
from aioswap.cli.listening import listen, opened
from aioswap.cli.options import Connection, connection_options, output_options
from aioswap.cli.output import Style, say
from aioswap.cli.swap_rows import header_of, row_of
from aioswap.clock import Clock
from aioswap.swaps import Swap, SwapState
from aioswap.tracker import SwapTracker
from aioswap.tracking.changes import Changes
from aioswap.transports.base import Transport

__all__ = ["command", "watch"]

_TIMED_OUT: Final = 3
_NOT_SEEN: Final = 5
_REDRAWN: Final = 0.25
_ERRORS: Final = (SwapState.FAILED, SwapState.STUCK)
_WIDTHS: Final = (20, 12, 36, 36, 36, 9, 8, 11)
"""Letters of each column of plain lines."""


@click.command("watch")
@connection_options
@click.option("--instance", "instances", multiple=True, metavar="UUID", help="Only of this instance. Can be repeated.")
@click.option("--host", "hosts", multiple=True, help="Only on this host. Can be repeated.")
@click.option("--project", "projects", multiple=True, metavar="ID", help="Only of this project. Can be repeated.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(list(map(str, SwapState))),
    help="Only in this state. Can be repeated.",
)
@click.option("--errors-only", is_flag=True, help="Only those that failed or are stuck.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="End after so many seconds.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many lines: a swap has one for each state.")
@stuck_after_option
@output_options
def command(
    connection: Connection,
    instances: tuple[str, ...],
    hosts: tuple[str, ...],
    projects: tuple[str, ...],
    states: tuple[str, ...],
    errors_only: bool,
    seconds: float | None,
    count: int | None,
    stuck_after: float,
    style: Style,
) -> int:
    """Show swaps from now on: on a terminal a table that changes, else a line for each swap that begins, ends or is stuck.

    With --count it ends with 0 once there are so many; 3: --seconds were over before; 5: there was none at all.
    """
    if errors_only and states:
        raise click.UsageError("give one of --errors-only and --state")
    filters = Filters(instances=instances, hosts=hosts, projects=projects, states=_ERRORS if errors_only else states)
    clock, transports = Clock(), connection.transports()
    tracker = SwapTracker(*transports, topics=connection.topics, stuck_after=stuck_after, clock=clock)
    return listen(watch(transports, tracker, filters, seconds, count, style, clock))


async def watch(
    transports: Sequence[Transport],
    tracker: SwapTracker,
    filters: Filters,
    seconds: float | None,
    count: int | None,
    style: Style,
    clock: Clock,
) -> int:
    """Do what the command does, and return its exit code.

    Args:
        transports: not yet open.
        tracker: hears by them; not yet open.
        filters: which swaps to show.
        seconds: None: for ever.
        count: lines; None: any number.
        style: how to print.
        clock: measures.

    Raises:
        TransportError: a broker is away or refuses.
        click.UsageError: `style` names a column that there is not.
    """
    board = Board(filters)
    async with opened(transports, tracker), tracker.changes() as changes:
        say(f"watching{'' if seconds is None else f' for {seconds:g} s'}: interrupt it to end")
        with ExitStack() as stack:
            live = _is_screen() and style == Style()
            view = stack.enter_context(_Screen(board, tracker, clock)) if live else _Lines(style, clock)
            shown = await _follow(
                changes, board, view, inf if seconds is None else seconds, inf if count is None else count, clock
            )
    if changes.missed:
        say(f"aioswap: {changes.missed} changes were not shown: whoever reads this is too slow")
    if count is None or shown >= count:
        return 0
    return _TIMED_OUT if shown else _NOT_SEEN


async def _follow(changes: Changes, board: Board, view: _View, seconds: float, count: float, clock: Clock) -> int:
    """Show what changes, and return how many lines that were."""
    shown, draw_at = 0, clock.monotonic()
    end = draw_at + seconds
    while shown < count and ((now := clock.monotonic()) < end or changes):  # what was heard in time is shown
        if now >= draw_at:
            view.draw()
            draw_at = now + view.every
        next_turn = max(min(end, draw_at), now)
        try:
            async with clock.timeout(None if next_turn == inf else next_turn - now):
                swap = await anext(changes)
        except TimeoutError:
            continue
        if board.take(swap):
            shown += 1
            await view.show(swap)
    view.draw()
    return shown


class _View(Protocol):
    """How swaps are shown."""

    @property
    def every(self) -> float:
        """Seconds between two calls of `draw`."""
        ...

    async def show(self, swap: Swap) -> None:
        """Show a swap that is in another state than before."""
        ...

    def draw(self) -> None:
        """Show all as it is now."""
        ...


class _Lines:
    """Lines for pipes and files, and for whoever asks for a format."""

    every = inf

    def __init__(self, style: Style, clock: Clock) -> None:
        self._style = style
        self._clock = clock
        self._line = style.stream(header_of(style), () if style.columns else _WIDTHS)

    async def show(self, swap: Swap) -> None:
        # in a thread: a reader that pauses must not keep the connection from answering
        await asyncio.to_thread(self._line, row_of(swap, self._clock.utcnow(), self._style))

    def draw(self) -> None:
        """Lines stay as they are."""


class _Screen:
    """A table on a terminal that changes. Use it by `with`; what is said meanwhile appears above it."""

    every = _REDRAWN

    def __init__(self, board: Board, tracker: SwapTracker, clock: Clock) -> None:
        self._board = board
        self._tracker = tracker
        self._clock = clock
        self._console = Console(file=sys.stdout)
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=sys.stderr.isatty())

    def __enter__(self) -> _Screen:
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    async def show(self, swap: Swap) -> None:
        """What is new appears when all is drawn again."""

    def draw(self) -> None:
        away = [link.degraded or "no connection" for link in self._tracker.health().links if not link.connected]
        width, height = self._console.size
        now = self._clock.utcnow()
        self._live.update(picture(self._board, now, width, height, "; ".join(away) or None), refresh=True)


def _is_screen() -> bool:
    return sys.stdout.isatty() and Console(file=sys.stdout).is_interactive
