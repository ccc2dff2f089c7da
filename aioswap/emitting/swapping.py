"""One swap, told: `.start` before it, then exactly one of `.end` and `.error`, whatever way it ends.

Nothing here but the body may fail, hang or be cancelled: every failure of telling is logged and counted
(`on_failure="raise"` passes it on).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType

from aioswap.context import RequestContext, current_context
from aioswap.emitting.desk import BUDGET, Desk, Told
from aioswap.emitting.request import SwapRequest
from aioswap.errors import OutboxFull
from aioswap.transports.base import Reservation
from aioswap.wire.events import EventType, volume_swap
from aioswap.wire.faults import FAULT_BYTES, fault_payload, traceback_of
from aioswap.wire.instances import swap_payload
from aioswap.wire.payloads import InstanceActionVolumeSwapPayload

__all__ = ["Swapping"]

_logger = logging.getLogger(__name__)


class Swapping:
    """The `async with` around one swap.

    Args:
        desk: writes and keeps; None: nothing can be told now, for the reason given.
        describe: tells of the swap, anew for each phase.
    """

    __slots__ = ("_describe", "_desk", "_start", "_untold")

    def __init__(self, desk: Desk, describe: Callable[[], SwapRequest], untold: str | None = None) -> None:
        self._desk = desk
        self._describe = describe
        self._untold = untold
        self._start: Told | None = None

    @property
    def ids(self) -> dict[str, str]:
        """The ids of the swap, if its start was written: `instance`, `old_volume_id`, `new_volume_id`."""
        if self._start is None:
            return {}
        known = self._start.notification.payload
        return {"instance": known.uuid, "old_volume_id": known.old_volume_id, "new_volume_id": known.new_volume_id}

    async def __aenter__(self) -> None:
        """Tell `.start`. Cancelled after it was accepted, `.error` is told too before the cancellation goes on."""
        desk, left = self._desk, BUDGET
        if self._untold is not None:
            trouble = RuntimeError(self._untold)
            desk.leave_untold(trouble, closed=True)
            if desk.reraise:
                raise trouble
            return
        desk.began()
        try:
            start = self._start = self._write_start()
            try:
                safe = desk.accept(start)
            except OutboxFull as full:
                began = desk.clock.monotonic()
                safe = await desk.take_turn(start, full)
                left -= desk.clock.monotonic() - began
            if not safe.done():
                await self._wait_until_safe(safe, left)
        except BaseException as error:
            if not self._goes_on(error):
                desk.ended()
                if self._start is not None and self._start.taken:
                    self._tell_terminal(self._start, error)
                raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Tell `.end`, or `.error` with what was raised, which goes on untouched.

        What is no `Exception` (a cancellation, an exit) is told without a single await.
        """
        if self._untold is not None:
            return
        self._desk.ended()
        if self._start is None or not self._start.taken:
            return
        safe = self._tell_terminal(self._start, error)
        if safe is None or safe.done() or not (error is None or isinstance(error, Exception)):
            return
        try:
            await self._wait_until_safe(safe, BUDGET)
        except Exception as trouble:  # the swap is over: its own result stands
            self._desk.late("a terminal notification", trouble)
            if self._desk.reraise and error is None:
                raise

    def _goes_on(self, trouble: BaseException) -> bool:
        """Say whether the swap runs in spite of `trouble` with its start, and log it: it is sovereign, told or not."""
        if not isinstance(trouble, Exception):
            return False
        if self._start is None or not self._start.taken:
            self._desk.leave_untold(trouble, closed=False)
        else:
            self._desk.late("a start", trouble)
        return not self._desk.reraise

    def _write_start(self) -> Told:
        request = self._described()
        context = current_context() if request.context is None else RequestContext.of(request.context)
        context = context or RequestContext()
        payload = swap_payload(
            request.instance, request.old_volume_id, request.new_volume_id, context=context, version=self._desk.pin
        )
        told = self._desk.write(volume_swap.start, payload, context)
        size = len(told.messages[0].body) + FAULT_BYTES  # the others have as many
        told.room = Reservation(told.notification.message_id, len(told.messages), size)
        return told

    def _described(self) -> SwapRequest:
        request = self._describe()
        if not isinstance(request, SwapRequest):
            raise TypeError(f"describe returned {type(request).__name__}: return a SwapRequest")
        return request

    def _tell_terminal(self, start: Told, error: BaseException | None) -> asyncio.Future[None] | None:
        """Accept the terminal notification, at once: room for it was reserved."""
        event_type = volume_swap.end if error is None else volume_swap.error
        try:
            told = self._write_terminal(start, event_type, error)
            return self._desk.accept(told, closes=start.room)
        except Exception as trouble:  # nothing may reach the swap from here
            _logger.error("%s could not be told\n%s", event_type.name, traceback_of(trouble, self._desk.masked))
            return None

    def _write_terminal(
        self, start: Told, event_type: EventType[InstanceActionVolumeSwapPayload], error: BaseException | None
    ) -> Told:
        known: InstanceActionVolumeSwapPayload = start.notification.payload
        fault = None if error is None else fault_payload(error, masked=self._desk.masked)
        try:
            payload = swap_payload(
                self._described().instance,
                known.old_volume_id,
                known.new_volume_id,
                context=start.context,
                fault=fault,
                version=self._desk.pin,
            )
            if payload.uuid != known.uuid:
                payload = payload.model_copy(update={"uuid": known.uuid})
            return self._desk.write(event_type, payload, start.context)
        except Exception as trouble:  # the swap was told to start: it is told to end, with what was known then
            told = self._desk.masked(str(trouble))
            _logger.warning("%s is told with the state at the start: %s", event_type.name, told)
            payload = known.model_copy(update={"fault": fault}).at_version(self._desk.pin)
            return self._desk.write(event_type, payload, start.context)

    async def _wait_until_safe(self, safe: asyncio.Future[None], seconds: float) -> None:
        try:
            async with self._desk.clock.timeout(max(seconds, 0.0)):
                await asyncio.shield(safe)
        except TimeoutError:
            raise TimeoutError(f"the outbox has not written it within {BUDGET:g} s; it is kept all the same") from None
