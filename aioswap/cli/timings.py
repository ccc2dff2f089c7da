"""`aioswap timings`: how long swaps take, host by host."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

import click

from aioswap.cli.durations import DURATION, stuck_after_option
from aioswap.cli.kept import Source, kept_options
from aioswap.cli.options import output_options
from aioswap.cli.output import Style
from aioswap.clock import Clock
from aioswap.swaps import Criteria
from aioswap.tracking.timings import HostTimings, timings_of

__all__ = ["command"]

_COLUMNS: Final = tuple(HostTimings.__slots__)


@click.command("timings")
@kept_options
@click.option("--since", type=DURATION, help="Only swaps that began so long ago or later: seconds, or 30m, 24h, 7d.")
@stuck_after_option
@output_options
def command(source: Source, since: float | None, stuck_after: float, style: Style) -> int:
    """Show the seconds that swaps took on each host: count, min, p50, p95, max of those that succeeded.

    Beside them stand how many failed, how many never ended (they are stuck), and of how many the start was never seen.
    """
    with source.opened(stuck_after, Clock()) as kept:
        begin = None if since is None else kept.now - timedelta(seconds=since)
        hosts = timings_of(kept.find(Criteria(since=begin)))
    style.rows(_COLUMNS, [_row(host) for host in hosts])
    return 0


def _row(host: HostTimings) -> list[Any]:
    return [round(value, 3) if isinstance(value, float) else value for value in asdict(host).values()]
