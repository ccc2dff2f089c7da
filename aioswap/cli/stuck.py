"""`aioswap stuck`: swaps that have no end and should."""

from __future__ import annotations

from typing import Final

import click

from aioswap.cli.durations import DURATION
from aioswap.cli.kept import Source, kept_options
from aioswap.cli.options import output_options
from aioswap.cli.output import Style, say
from aioswap.cli.swap_rows import print_swaps
from aioswap.clock import Clock
from aioswap.swaps import SwapState

__all__ = ["command"]

_STUCK: Final = 3


@click.command("stuck")
@kept_options
@click.option(
    "--older-than",
    type=DURATION,
    default="1d",
    help="A swap that runs for so long is stuck: seconds, or 30m, 24h, 7d.",
    show_default=True,
)
@output_options
def command(source: Source, older_than: float, style: Style) -> int:
    """List the swaps that began, of which no end was heard for --older-than, and no other reason why they do not run.

    It ends with 0 if there is none, with 3 if there are some.
    """
    with source.opened(older_than, Clock()) as kept:
        stuck = [swap for swap in kept.find() if swap.state is SwapState.STUCK]
        print_swaps(stuck, kept.now, style)
    if unheard := sum(bool(swap.deaf) for swap in stuck):
        say(f"aioswap: nobody listened all the time while {unheard} of them ran: their end may have been missed (see deaf)")
    return _STUCK if stuck else 0
