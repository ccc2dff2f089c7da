"""A swap that hooks are told of: an `async with` around the one that tells the bus. Without hooks it is not made."""

from __future__ import annotations

from types import TracebackType

from aioswap.emitting.swapping import Swapping
from aioswap.hooks import Hooks, Operation, OperationKind

__all__ = ["Observed"]


class Observed:
    """Tells hooks of a swap from before its `.start` until after its terminal notification, told or not.

    Args:
        swapping: tells the bus.
        hooks: who is told.
    """

    def __init__(self, swapping: Swapping, hooks: Hooks) -> None:
        self._swapping = swapping
        self._hooks = hooks
        self._operation = Operation(kind=OperationKind.SWAP)

    async def __aenter__(self) -> None:
        self._hooks.started(self._operation)
        try:
            await self._swapping.__aenter__()
        except BaseException as error:
            self._finished(error)
            raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._swapping.__aexit__(exc_type, error, traceback)
        finally:
            self._finished(error)

    def _finished(self, error: BaseException | None) -> None:
        operation = self._operation
        operation.ids = self._swapping.ids
        operation.outcome = "succeeded" if error is None else "failed"
        operation.error = error
        self._hooks.finished(operation)
