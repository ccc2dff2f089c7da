"""The emitter: tells of swaps, as Nova would. A swap never fails, hangs or is cancelled because of it.

Everything goes through the outbox; a relay of the emitter's own publishes from there.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, ParamSpec, Protocol, Self, TypeVar, overload

from aioswap.clock import Clock
from aioswap.context import ContextSource, RequestContext, current_context
from aioswap.emitting.desk import Desk
from aioswap.emitting.observed import Observed
from aioswap.emitting.request import SwapRequest, describe_by_name, require_coroutine_function, require_describe
from aioswap.emitting.swapping import Swapping
from aioswap.errors import OutboxFull
from aioswap.health import EmitterHealth, LinkHealth
from aioswap.hooks import Hook, Hooks
from aioswap.opened import Opened
from aioswap.outbox import MemoryOutbox
from aioswap.relay import Relay
from aioswap.transports.base import Outbox, Sender, Transport
from aioswap.wire.events import EventType
from aioswap.wire.faults import masking, traceback_of
from aioswap.wire.notification import Notification
from aioswap.wire.payloads import InstancePayload

__all__ = ["Emitter"]

_logger = logging.getLogger(__name__)

_CLOSE_WAIT: Final = 10.0
_FLUSH_WAIT: Final = 10.0
_LONGEST_DELAY: Final = 30.0
_LOGGED_IDS: Final = 100

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class _Decorate(Protocol[P]):
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, Coroutine[Any, Any, R]]: ...


class Emitter:
    """Emits notifications on one transport, under one publisher id.

    Open it with `async with`. Leaving waits up to 10 s for swaps that still run, then flushes for up to 10 s, and logs what a
    memory outbox still holds as lost at exit.

    Args:
        transport: carries the messages. It may be closed only after the emitter.
        host: where the swaps happen: the second part of the publisher id.
        source: the first part of it.
        outbox: keeps messages until they are confirmed; a new `MemoryOutbox` by default.
        topics: one message of each notification goes to each.
        pin: the payload version to write, 1.0 to 1.9; nested objects follow it.
        on_failure: "log": a failure of telling is logged and counted; "raise": it is also raised. The body's exception wins.
        hooks: told of each swap, emit and publish.
        mask: takes secrets that only you know out of a fault's texts, after the built-in masking, and out of what is logged of
            errors. It must be quick. A text that it fails at is left out.
        clock: the time; tests give their own.

    Raises:
        ValueError: no topic, an empty host or source, or a version that is not known.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        host: str,
        source: str = "nova-compute",
        outbox: Outbox | None = None,
        topics: Sequence[str] = ("versioned_notifications",),
        pin: str = "1.9",
        on_failure: Literal["log", "raise"] = "log",
        hooks: Iterable[Hook] = (),
        mask: Callable[[str], str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not (host and source):
            raise ValueError("host and source are the two parts of the publisher id: neither may be empty")
        if isinstance(topics, str) or not topics:
            raise ValueError(f"topics={topics!r}: give a list with at least one name")
        if pin not in InstancePayload.known_versions:
            raise ValueError(f"pin={pin!r}: give one of {', '.join(InstancePayload.known_versions)}")
        if on_failure not in ("log", "raise"):
            raise ValueError(f"on_failure={on_failure!r}: give 'log' or 'raise'")
        self._transport = transport
        self._host = host
        self._outbox: Outbox = MemoryOutbox() if outbox is None else outbox
        self._clock = clock or Clock()
        self._hooks = Hooks(hooks)
        self._desk = Desk(
            self._outbox,
            publisher_id=f"{source}:{host}",
            topics=topics,
            pin=pin,
            reraise=on_failure == "raise",
            clock=self._clock,
            hooks=self._hooks,
            masked=masking(mask),
        )
        self._opened = Opened("this emitter")
        self._closing = False
        self._relay: Relay | None = None
        self._sender: Sender | None = None
        self._task: asyncio.Task[None] | None = None
        self._lost_at_exit = 0

    async def __aenter__(self) -> Self:
        """Open the outbox and begin to relay. It does not wait for the broker.

        Raises:
            RuntimeError: it is open already.
            OutboxError: the outbox can't be opened.
        """
        self._opened.open()
        try:
            await self._outbox.open(self._clock, destination=self._transport.destination)
        except BaseException:
            self._opened.close()
            raise
        self._closing = False
        self._desk.open()
        self._relay = Relay(self._outbox, clock=self._clock, hooks=self._hooks)
        self._task = self._start_relaying(self._relay)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Wait for swaps that run, flush, stop. Cancelling it leaves at once; what is unconfirmed is logged."""
        self._closing = True
        try:
            await self._within(_CLOSE_WAIT, self._swaps_over(), f"{self._desk.running} swaps still run")
            await self._within(_FLUSH_WAIT, self._drained(), "the flush is not done")
        finally:
            try:
                await self._stop_relaying()
                await self._outbox.close()
            finally:
                self._tell_what_is_lost()
                self._opened.close()

    async def emit(self, event_type: EventType[T], payload: T, *, context: ContextSource | None = None) -> Notification[T]:
        """Emit one notification and return it once it is safe in the outbox.

        A full outbox is waited for in turn for up to 250 ms; safety is waited for without limit. Cancelling withdraws nothing.

        Args:
            event_type: what happened.
            payload: what is told of it; an instance's payload is written as the pinned version.
            context: who asked; None: the innermost `request_context`, else a new one.

        Raises:
            RuntimeError: the emitter is not open, or not here.
            ValueError: the encoded notification is too large.
            OutboxFull: no room. Nothing was accepted.
            OutboxError: the disk refused. The notification is accepted all the same: do not emit it again.
        """
        self._opened.check()
        who = current_context() or RequestContext() if context is None else RequestContext.of(context)
        if isinstance(payload, InstancePayload):
            payload = payload.at_version(self._desk.pin)
        told = self._desk.write(event_type, payload, who)
        try:
            safe = self._desk.accept(told)
        except OutboxFull as full:
            safe = await self._desk.take_turn(told, full)
        await safe
        return told.notification

    def swapping(self, request: SwapRequest) -> AbstractAsyncContextManager[None]:
        """Return an `async with` around a swap: `.start` on entering, `.end` or `.error` on leaving.

        It never raises on its own account (but with `on_failure="raise"`) and waits at most 250 ms a phase. With an emitter
        that is not open, the swap runs untold: logged and counted. Cancelling the body is told as `.error`.
        """
        return self._swapping(lambda: request)

    @overload
    def swap(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def swap(self, function: None = None, /, *, describe: Callable[P, SwapRequest]) -> _Decorate[P]: ...
    def swap(self, function: Any = None, /, *, describe: Any = None) -> Any:
        """Decorate a coroutine function that performs a swap: each call is a `swapping`.

        Bare, it finds the parameters `instance`, `old_volume_id`, `new_volume_id` (and `context`) by their names. With
        `describe`, a plain function of the same parameters, any signature will do; it is called anew for each phase.

        Raises:
            TypeError: at decoration: not a coroutine function, a parameter is missing, or `describe` must be awaited.
        """
        if function is not None:
            by_name = describe_by_name(function)
            return self._decorated(function, by_name)
        if describe is None:
            raise TypeError("use @emitter.swap, or @emitter.swap(describe=...)")
        require_describe(describe)
        return lambda function: self._decorated(function, lambda args, kwargs: describe(*args, **kwargs))

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until everything accepted is confirmed or parked.

        Args:
            timeout: seconds; None: no limit.

        Raises:
            RuntimeError: the emitter is not open, or not here.
            TimeoutError: the text says how many are left. They stay in the outbox.
        """
        self._opened.check()
        try:
            async with self._clock.timeout(timeout):
                await self._drained()
        except TimeoutError:
            raise TimeoutError(f"{self._outbox.counts().backlog} messages are not confirmed after {timeout} s") from None

    def health(self) -> EmitterHealth:
        """Return how it is now. Cheap; works closed, too."""
        counts = self._outbox.counts()
        oldest = counts.oldest_accepted_at
        link = self._sender.health if self._sender is not None else LinkHealth()
        return EmitterHealth(
            link=link,
            running=self._desk.running,
            accepted=counts.accepted,
            confirmed=counts.confirmed,
            backlog=counts.backlog,
            oldest_age=0.0 if oldest is None else max(self._clock.monotonic() - oldest, 0.0),
            parked=counts.parked,
            unsaved=counts.unsaved,
            foreign_files=counts.foreign_files,
            damaged_files=counts.damaged_files,
            trouble=counts.trouble,
            untold=self._desk.untold,
            lost_at_exit=self._lost_at_exit,
        )

    def _swapping(self, describe: Callable[[], SwapRequest]) -> Swapping | Observed:
        untold = "this emitter is closing" if self._closing else None
        try:
            self._opened.check()
        except RuntimeError as error:
            untold = str(error)
        swapping = Swapping(self._desk, describe, untold)
        return Observed(swapping, self._hooks) if self._hooks else swapping

    def _decorated(
        self,
        function: Callable[..., Coroutine[Any, Any, Any]],
        describe: Callable[[tuple[Any, ...], dict[str, Any]], SwapRequest],
    ) -> Callable[..., Coroutine[Any, Any, Any]]:
        require_coroutine_function(function)

        @functools.wraps(function)
        async def swap(*args: Any, **kwargs: Any) -> Any:
            async with self._swapping(functools.partial(describe, args, kwargs)):
                return await function(*args, **kwargs)

        return swap

    def _start_relaying(self, relay: Relay) -> asyncio.Task[None]:
        return asyncio.create_task(self._relaying(relay), name=f"aioswap emitter {self._host}")

    async def _relaying(self, relay: Relay) -> None:
        delay = 1.0
        while True:
            try:
                async with self._transport.sender(f"emitter {self._host}") as sender:
                    self._sender = sender
                    await relay.run(sender)
            except Exception as error:  # a supervisor: nothing may end the relay but its emitter
                _logger.error("relaying failed; it is tried again in %s s\n%s", delay, traceback_of(error, self._desk.masked))
            finally:
                self._sender = None
            await self._clock.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _swaps_over(self) -> None:
        while self._desk.running:
            await self._desk.idle.wait()

    async def _drained(self) -> None:
        """Wait for the relay to drain. Where it was cancelled with its loop, drain on a fresh connection."""
        assert self._relay is not None
        assert self._task is not None
        drained = asyncio.create_task(self._relay.drained())
        try:
            while not drained.done():
                if self._task.done():
                    self._task = self._start_relaying(self._relay)
                await asyncio.wait((drained, self._task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()

    async def _stop_relaying(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _within(self, seconds: float, waiting: Awaitable[None], otherwise: str) -> None:
        try:
            async with self._clock.timeout(seconds):
                await waiting
        except TimeoutError:
            _logger.warning("leaving the emitter of %s after %s s: %s", self._desk.publisher_id, seconds, otherwise)

    def _tell_what_is_lost(self) -> None:
        lost = self._outbox.at_risk()
        self._lost_at_exit += len(lost)
        if lost:
            ids = ", ".join(entry.message.message_id for entry in lost[:_LOGGED_IDS])
            _logger.error("%d messages were not confirmed and are lost at exit; their ids begin with: %s", len(lost), ids)
        parked = self._outbox.parked()
        if parked:
            _logger.warning("%d messages are parked: the broker refuses them", len(parked))
