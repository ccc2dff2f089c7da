"""`aioswap status`: what is known of a swap that was kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from aioswap.cli.durations import stuck_after_option
from aioswap.cli.kept import Kept, Source, kept_options
from aioswap.cli.options import output_options
from aioswap.cli.output import Style, say
from aioswap.cli.swap_rows import print_swaps
from aioswap.clock import Clock
from aioswap.swaps import Criteria, Swap, SwapState
from aioswap.tracking.answers import same_attempt
from aioswap.tracking.waiting import UNSEEN

__all__ = ["command"]

_CODES: Final[Mapping[SwapState, int]] = {
    SwapState.RUNNING: 0,
    SwapState.SUCCEEDED: 0,
    SwapState.FAILED: 1,
    SwapState.STUCK: 3,
}
_NOT_SEEN: Final = 5


@click.command("status")
@click.argument("id", required=False)
@kept_options
@click.option("--limit", type=click.IntRange(min=1), default=20, help="The newest so many.", show_default=True)
@stuck_after_option
@output_options
def command(id: str | None, source: Source, limit: int, stuck_after: float, style: Style) -> int:
    """Show the swaps of ID, the newest last: an instance's uuid, a volume's id, a request id or the caller's. Else all.

    With ID it ends as the newest of them did: 0: it succeeded, or runs; 1: it failed; 3: it is stuck; 5: none was seen.
    """
    with source.opened(stuck_after, Clock()) as kept:
        if id is None:
            print_swaps(kept.find(limit=limit), kept.now, style)
            return 0
        swaps = _swaps_of(id, kept, limit)
        if not swaps:
            say(f"aioswap: not seen: {id}: {UNSEEN}")
            return _NOT_SEEN
        print_swaps(swaps, kept.now, style)
        return _CODES[swaps[-1].state]


def _swaps_of(id: str, kept: Kept, limit: int) -> list[Swap]:
    """Return the newest swaps that have an id as one of theirs, each once."""
    found: list[Swap] = []
    for criteria in (
        Criteria(instance=id),
        Criteria(old=id),
        Criteria(new=id),
        Criteria(request_id=id),
        Criteria(global_request_id=id),
    ):
        for swap in kept.find(criteria, limit=limit):
            if not any(same_attempt(swap, known) for known in found):
                found.append(swap)
    return sorted(found, key=lambda swap: swap.first_seen)[-limit:]
