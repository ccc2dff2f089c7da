"""The consumer: runs handlers for the notifications they want, and acknowledges what is done, never earlier.

What happens to a delivery is in `aioswap.consuming`; this is who may open it, and how it is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict, replace
from typing import Any, Final, Protocol, TypeVar, overload

import anyio
from anyio.abc import TaskStatus

from aioswap.clock import Clock
from aioswap.consuming.handlers import HandlerFunction, Handlers
from aioswap.consuming.intake import Intake, Rules
from aioswap.consuming.settling import BrokerCopies, MemoryCopies
from aioswap.consuming.stream import Stream, open_stream
from aioswap.health import ConsumerHealth, LinkHealth
from aioswap.hooks import Hook, Hooks
from aioswap.opened import Opened
from aioswap.outcomes import Outcome, RetryPolicy
from aioswap.transports.base import Receiver, Subscription, Transport
from aioswap.transports.topology import topology
from aioswap.wire.events import EventPattern, event_pattern, peek
from aioswap.wire.faults import masking
from aioswap.wire.notification import Notification

__all__ = ["Consumer"]

_logger = logging.getLogger(__name__)

_LEAVE_WAIT: Final = 10.0
_NEARLY: Final = 0.8
"""Of the queue's bound: from here on health warns."""

T = TypeVar("T")
R = TypeVar("R", bound=Outcome | None)
F = TypeVar("F", bound=Callable[[Notification[Any]], Coroutine[Any, Any, Outcome | None]])


class _Register(Protocol[T]):
    """What `on` returns for a pattern: it takes coroutine functions of the pattern's notifications."""

    def __call__(
        self, handler: Callable[[Notification[T]], Coroutine[Any, Any, R]], /
    ) -> Callable[[Notification[T]], Coroutine[Any, Any, R]]: ...


class Consumer:
    """Hears notifications, and hands each to every handler that wants it.

    With a pool, all consumers of that pool share one queue, which keeps what comes while none of them runs; what is to be
    retried, and dead letters, are kept on the broker. Without one it has a queue of its own that goes when it leaves: what is
    to be retried is kept in memory (at most 1,000), and dead letters are logged and counted.

    A delivery is acknowledged when all its handlers are done with it, or when a copy for those that are not is confirmed. So a
    handler may see a notification twice, after a loss of connection or process; of what this process has settled lately
    (10,000 deliveries) it sees none again. Notifications of one instance are handled in order, one at a time, as long as no
    retry comes in between.

    Args:
        transport: what it hears by. It may be closed only after the consumer.
        pool: who shares a queue; 1 to 64 of `[A-Za-z0-9_-]`. None: nobody.
        retry: judges what handlers raise.
        concurrency: instances whose notifications are handled at once; 1 or more.
        prefetch: deliveries unsettled at a time, 1 to 65,535.
        topics: at least one. Nova's copies for two topics are two notifications with one `message_id`: both are handled.
        priorities: lower case; at least one.
        quorum: a replicated queue: recommended on clusters.
        single_active: one consumer of the pool at a time, for order across processes.
        shared: read oslo's default queues, and so take from whoever else reads them. Where Nova has `amqp_auto_delete`, such
            a queue goes with the last one who leaves it.
        handler_timeout: seconds for one handler; then it is cancelled, and the policy judges a `TimeoutError`. None: no limit.
        hooks: told of each receive, handle and settle.
        mask: takes secrets that only you know out of the reasons of dead letters and of what is logged of handlers, after the
            built-in masking. It must be quick. A text that it fails at is left out.
        clock: the time; tests give their own.

    Raises:
        ValueError: one of the values is outside its range.
    """

    def __init__(
        self,
        transport: Transport,
        pool: str | None = None,
        *,
        retry: RetryPolicy | None = None,
        concurrency: int = 8,
        prefetch: int = 100,
        topics: Sequence[str] = ("versioned_notifications",),
        priorities: Sequence[str] = ("info", "error"),
        quorum: bool = False,
        single_active: bool = False,
        shared: bool = False,
        handler_timeout: float | None = 600.0,
        hooks: Iterable[Hook] = (),
        mask: Callable[[str], str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._transport = transport
        self._subscription = Subscription(
            pool=pool,
            topics=topics,
            priorities=priorities,
            prefetch=prefetch,
            quorum=quorum,
            single_active=single_active,
            shared=shared,
        )
        self._rules = Rules(
            pool=pool,
            retry=retry or RetryPolicy(),
            concurrency=concurrency,
            handler_timeout=handler_timeout,
            hooks=Hooks(hooks),
            clock=clock or Clock(),
            masked=masking(mask),
        )
        self._handlers = Handlers()
        self._opened = Opened("this consumer")
        self._session: _Session | None = None

    @overload
    def on(self, pattern: str, *, name: str | None = None) -> Callable[[F], F]: ...
    @overload
    def on(self, pattern: EventPattern[T], *, name: str | None = None) -> _Register[T]: ...
    def on(self, pattern: EventPattern[Any] | str, *, name: str | None = None) -> Any:
        """Decorate a handler: a coroutine function of one notification. It is returned unchanged.

        It returns or raises an outcome: `Ack` (the same as returning None), `Retry` or `Reject`. The `RetryPolicy` judges any
        other exception. All handlers that match a notification run, one after the other in the order of their registration.

        A task runs several notifications one after the other, each in the context that the consumer was opened in. So a
        handler that keeps its task and cancels it later hits another one.

        Args:
            pattern: an `EventType` or `EventPattern`, with which mypy checks the handler's argument; or a text in which `*`
                stands for one word and `#` for any number.
            name: what copies on the broker know the handler by; None: `module.qualname`. Give one before you move the code,
                for a copy that is owed to a name which is gone becomes a dead letter.

        Raises:
            RuntimeError: the consumer runs.
            TypeError: (when decorating) no coroutine function.
            ValueError: the pattern is none; (when decorating) the name is taken.
        """
        self._check_stopped()
        wanted = event_pattern(pattern) if isinstance(pattern, str) else pattern

        def register(handler: HandlerFunction) -> HandlerFunction:
            self._check_stopped()
            self._handlers.add(wanted, handler, name)
            return handler

        return register

    @asynccontextmanager
    async def running(self, *, start_timeout: float = 30.0) -> AsyncGenerator[None]:
        """Run the handlers during the `async with`. Entering returns when the queue is bound.

        Leaving takes no more deliveries, lets those that were taken be handled and settled for up to 10 s, and closes.
        What takes longer is cut off: its handlers are cancelled, and it is delivered again. Cancelling while it leaves cuts
        off at once. The body's exception goes on unchanged.

        Args:
            start_timeout: seconds for connecting and binding.

        Raises:
            RuntimeError: it runs already, has no handler, or is left in another loop than it was entered.
            TransportError: login, vhost, right or exchange refused, or not ready in time.
            BaseException: on leaving, what a handler raised that is no `Exception`, such as SystemExit.
        """
        if not self._handlers:
            raise RuntimeError("this consumer has no handler: it would acknowledge everything unseen; decorate some with on()")
        self._opened.open()
        session = _Session(self._transport, self._subscription, self._handlers, self._rules)
        self._session = session
        task = asyncio.create_task(session.run(start_timeout), name=f"aioswap consumer {self._rules.pool or '(no pool)'}")
        try:
            await asyncio.wait((task, session.bound), return_when=asyncio.FIRST_COMPLETED)
            if not session.bound.done():
                session.check(task)
            yield
        except BaseException:
            await self._leave(session, task)
            raise
        await self._leave(session, task)
        session.check(task)

    async def run(self, *, start_timeout: float = 30.0, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run the handlers until cancelled, then leave as `running` does.

        Args:
            start_timeout: seconds for connecting and binding.
            task_status: told when the queue is bound (`await task_group.start(consumer.run)`).

        Raises:
            RuntimeError: as `running`.
            TransportError: as `running`.
            BaseException: as `running`.
        """
        async with self.running(start_timeout=start_timeout):
            task_status.started()
            assert self._session is not None
            await self._session.ending.wait()

    @overload
    def stream(self, pattern: str, *, start_timeout: float = 30.0) -> AbstractAsyncContextManager[Stream[Any]]: ...
    @overload
    def stream(self, pattern: EventPattern[T], *, start_timeout: float = 30.0) -> AbstractAsyncContextManager[Stream[T]]: ...
    def stream(
        self, pattern: EventPattern[Any] | str, *, start_timeout: float = 30.0
    ) -> AbstractAsyncContextManager[Stream[Any]]:
        """Open an iterator of notifications, with a queue of its own: it needs no handlers and takes nothing from anybody.

        Entering returns when the queue is bound. A notification is acknowledged when the next one is asked for; at most
        `prefetch` are in memory. What cannot be read is logged and counted (`Stream.unreadable`).

        Raises:
            ValueError: the pattern is none.
            TransportError: (on entering) as `running`.
        """
        wanted = event_pattern(pattern) if isinstance(pattern, str) else pattern
        subscription = Subscription(
            topics=self._subscription.topics,
            priorities=self._subscription.priorities,
            prefetch=self._subscription.prefetch,
            quorum=self._subscription.quorum,
            wanted=peek((wanted,)),
        )
        return open_stream(self._transport, wanted, subscription, label="stream", start_timeout=start_timeout)

    def health(self) -> ConsumerHealth:
        """Return how it is now, or how it was when it was left. Cheap."""
        return ConsumerHealth() if self._session is None else self._session.health()

    def _check_stopped(self) -> None:
        if self._opened:
            raise RuntimeError("this consumer runs: register handlers before it is started")

    async def _leave(self, session: _Session, task: asyncio.Task[None]) -> None:
        self._opened.check()
        session.ending.set()
        if not session.bound.done():
            task.cancel()
        interrupted: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True):  # a cancelled scope around us has its 10 s, too
            while not task.done():
                try:
                    await asyncio.wait((task,))
                except asyncio.CancelledError as error:
                    interrupted = error
                    task.cancel()
        self._opened.close()
        if not task.cancelled() and (failure := task.exception()) is not None:
            _logger.debug("the consumer's task ended with %r", failure)
        if interrupted is not None:
            raise interrupted


class _Session:
    """A consumer from start to end: what its one task owns."""

    def __init__(self, transport: Transport, subscription: Subscription, handlers: Handlers, rules: Rules) -> None:
        self.bound: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ending = asyncio.Event()
        self.fault: BaseException | None = None
        self._transport = transport
        self._subscription = replace(subscription, wanted=peek(handlers.patterns))
        self._handlers = handlers
        self._rules = rules
        own = () if subscription.shared else topology(self._subscription, "").queues[:1]
        self._most = next((queue.arguments["x-max-length"] for queue in own), None)
        self._label = "consumer" if rules.pool is None else f"consumer {rules.pool}"
        self._intake: Intake | None = None
        self._receiver: Receiver | None = None

    async def run(self, start_timeout: float) -> None:
        try:
            await self._run(start_timeout)
        finally:
            self.ending.set()

    async def _run(self, start_timeout: float) -> None:
        intake = self._intake = Intake(self._handlers, self._rules, self._stopped)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(intake.close)
            if self._rules.pool is not None:
                sender = await stack.enter_async_context(self._transport.sender(self._label))
                intake.keep_with(BrokerCopies(sender, pool=self._rules.pool, clock=self._rules.clock))
            else:
                intake.keep_with(MemoryCopies(intake.again, clock=self._rules.clock))
            receiver = self._receiver = await stack.enter_async_context(
                self._transport.receiver(self._subscription, intake.deliver, label=self._label, start_timeout=start_timeout)
            )
            stack.push_async_callback(intake.close)  # before the receiver gives back what is unsettled
            self.bound.set_result(None)
            await self.ending.wait()
            await receiver.stop()
            await self._finish(intake)

    def check(self, task: asyncio.Task[None]) -> None:
        """Raise what has ended `task`, which runs this, before its time."""
        if task.cancelled():
            raise RuntimeError("the consumer's task was cancelled from outside: cancel who runs the consumer instead")
        task.result()
        if self.fault is not None:
            raise self.fault

    def health(self) -> ConsumerHealth:
        intake, receiver = self._intake, self._receiver
        if intake is None:
            return ConsumerHealth()
        counts = asdict(intake.counts)
        link, depth = LinkHealth(), None
        if receiver is not None:
            link, depth = receiver.health, receiver.depth
            counts["skipped"] += receiver.skipped
        trouble = link.degraded or intake.degraded or self._nearly_full(depth)
        return ConsumerHealth(link=replace(link, degraded=trouble), queue_depth=depth, **counts)

    def _nearly_full(self, depth: int | None) -> str | None:
        if depth is None or self._most is None or depth < _NEARLY * self._most:
            return None
        return f"the queue holds {depth} messages, and from {self._most} on it drops the oldest: add consumers"

    def _stopped(self, fault: BaseException) -> None:
        self.fault = self.fault or fault
        self.ending.set()

    async def _finish(self, intake: Intake) -> None:
        try:
            async with self._rules.clock.timeout(_LEAVE_WAIT):
                await intake.lanes.idle()
        except TimeoutError:
            left = intake.counts.in_flight
            _logger.warning("%s is left after %g s with %d deliveries cut off", self._label, _LEAVE_WAIT, left)
