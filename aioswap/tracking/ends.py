"""Telling hooks of swaps that are over, each once."""

from __future__ import annotations

from aioswap.hooks import Hooks, Operation, OperationKind
from aioswap.swaps import Swap
from aioswap.tracking.answers import Once, ended

__all__ = ["Ends"]


class Ends:
    """Tells hooks of each swap that is over, as its first verdict says. Without hooks it does nothing.

    Args:
        hooks: who is told.
        keep: of so many swaps it is known that they were told.
    """

    def __init__(self, hooks: Hooks, keep: int) -> None:
        self._hooks = hooks
        self._told = Once(keep)

    def note(self, swap: Swap) -> None:
        """Remember a swap that was over before this process heard of it."""
        if self._hooks and ended(swap):
            self._told.note(swap)

    def tell(self, swap: Swap) -> None:
        """Tell of a swap that has changed, if it is over and was not told before."""
        if not (self._hooks and ended(swap) and self._told.note(swap)):
            return
        operation = Operation(
            kind=OperationKind.TRACK,
            ids={"instance": swap.instance, "old_volume_id": swap.old_volume_id, "new_volume_id": swap.new_volume_id},
            seconds=None if swap.duration is None else swap.duration.total_seconds(),
        )
        self._hooks.started(operation)
        operation.outcome = swap.state.value
        self._hooks.finished(operation)
