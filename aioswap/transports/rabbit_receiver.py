"""The receiving half: its queues, their bindings, and a channel that consumes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiormq.abc import AbstractChannel

from aioswap.errors import TransportError
from aioswap.health import LinkHealth
from aioswap.transports.base import MAX_BODY, Delivery, Settler, Subscription
from aioswap.transports.rabbit_broker import Broker
from aioswap.transports.rabbit_connection import Link, Session
from aioswap.transports.rabbit_control import Control
from aioswap.transports.rabbit_delivery import RabbitSettler
from aioswap.transports.rabbit_errors import Answered
from aioswap.transports.rabbit_way import Intake
from aioswap.transports.topology import Topology

__all__ = ["RabbitReceiver"]

_REBIND_SECONDS: Final = 60.0

_logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False, kw_only=True)
class _Consumption:
    """What belongs to one connection."""

    session: Session
    control: Control
    channel: AbstractChannel
    intake: Intake
    settler: RabbitSettler
    consumers: list[str] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    """Deliveries that came after `stop`."""
    kept_as_is: set[str] = field(default_factory=set)
    """Queues that exist with other properties."""


class RabbitReceiver:
    """Receives what a subscription wants from RabbitMQ.

    Args:
        broker: where to connect.
        label: for the connection's name.
        exchange: the notification exchange.
        exchange_durable: how to create it when it is missing; None: never.
        subscription: what is wanted.
        layout: its queues and bindings.
        deliver: gets each wanted delivery.
    """

    def __init__(
        self,
        broker: Broker,
        label: str,
        exchange: str,
        exchange_durable: bool | None,
        subscription: Subscription,
        layout: Topology,
        deliver: Callable[[Delivery], None],
    ) -> None:
        self._clock = broker.clock
        self._exchange = exchange
        self._exchange_durable = exchange_durable
        self._subscription = subscription
        self._layout = layout
        self._deliver = deliver
        self._link = Link(broker, label, self._serve, self._failed)
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._now: _Consumption | None = None
        self._connected = False
        self._stopped = False
        self._warned: set[str] = set()
        self._skipped = 0
        self._depth: int | None = None

    @property
    def health(self) -> LinkHealth:
        """How the connection is now."""
        return LinkHealth(connected=self._connected, degraded=self._link.degraded)

    @property
    def queue(self) -> str:
        """The queue's name (the first of several, if shared)."""
        return self._layout.consume[0]

    @property
    def skipped(self) -> int:
        """Foreign notifications that were acknowledged."""
        return self._skipped

    @property
    def depth(self) -> int | None:
        """Messages ready in the queues when last seen; None: not known."""
        return self._depth

    async def run(self) -> None:
        """Keep the connection, until cancelled."""
        await self._link.run()

    async def started(self, timeout: float) -> None:
        """Wait until the queue is bound and consumed for the first time.

        Raises:
            TransportError: refused, or not ready within `timeout` seconds.
        """
        try:
            async with self._clock.timeout(timeout):
                await self._started
        except TimeoutError:
            reason = self._link.degraded or "the broker has not answered yet"
            raise TransportError(f"not ready after {timeout:g} s: {reason}") from None

    def _failed(self, cause: TransportError) -> bool:
        """Before the start, a refusal ends all; afterwards nothing does, but that nothing is left to do."""
        if self._started.done():
            return self._stopped
        if isinstance(cause, Answered) and cause.refused:
            self._started.set_exception(TransportError(str(cause)))
            return True
        return False

    async def _serve(self, session: Session) -> None:
        control, channel = Control(session), await session.channel()
        intake = session.way.intake(channel, "receiving", self)
        now = _Consumption(
            session=session, control=control, channel=channel, intake=intake, settler=RabbitSettler(intake.teller)
        )
        await self._declare(now)
        session.tell_loss(self._lost)
        self._now = now
        await self._consume(now)
        self._connected = True
        self._link.healed()
        if not self._started.done():
            self._started.set_result(None)
        await self._keep_bound(now)

    async def _declare(self, now: _Consumption) -> None:
        """Declare and bind what the subscription needs, and look how much is in its queues."""
        layout, control = self._layout, now.control
        if any(binding.exchange is None for binding in layout.bindings):
            await control.ensure_exchange(self._exchange, self._exchange_durable)
        if layout.exchange is not None:
            await control.declare_pool_exchange(layout.exchange)
        for queue in layout.queues:
            if queue.name not in now.kept_as_is and (difference := await control.declare_queue(queue)) is not None:
                now.kept_as_is.add(queue.name)
                self._warn(queue.name, difference)
        await self._bind(control)
        self._depth = sum([await control.depth(queue) for queue in layout.consume])

    def _warn(self, queue: str, difference: str) -> None:
        if queue not in self._warned:
            self._warned.add(queue)
            _logger.warning("the queue %s is used as it is: %s", queue, difference)

    async def _bind(self, control: Control) -> None:
        for binding in self._layout.bindings:
            exchange = self._exchange if binding.exchange is None else binding.exchange
            await control.bind(binding.queue, exchange, binding.routing_key)

    async def _consume(self, now: _Consumption) -> None:
        async with now.session.guard("consuming"):
            # It counts for each consumer by itself: RabbitMQ 4 has none for a whole channel.
            prefetch = max(1, self._subscription.prefetch // len(self._layout.consume))
            await now.channel.basic_qos(prefetch_count=prefetch)
            for queue in self._layout.consume:
                if self._stopped:
                    return
                tag = f"aioswap.{len(now.consumers) + 1}"
                now.consumers.append(tag)
                await now.intake.consume(queue, tag)

    async def _keep_bound(self, now: _Consumption) -> None:
        """Bind again every 60 seconds: an exchange that was deleted and made again has lost its bindings, silently."""
        session = now.session
        while session.cause is None:
            timer = self._clock.call_later(_REBIND_SECONDS, session.changed.set)
            try:
                await session.changed.wait()
            finally:
                timer.cancel()
            session.changed.clear()
            if session.cause is None:
                await self._check(now)

    async def _check(self, now: _Consumption) -> None:
        try:
            await self._declare(now)
        except Answered as error:
            self._link.trouble(error)
        else:
            self._link.healed()

    def judge(self, tag: int, exchange: str, original: bytes, *, compressed: bool) -> Settler | None:
        """Acknowledge what is foreign at once, and want the rest. See `Arrivals`."""
        now = self._now
        if now is None:
            return None  # the connection is lost: it comes again
        settler = now.settler
        settler.delivered(tag)
        if self._stopped:
            now.late.append(tag)
            return None
        if compressed or len(original) > MAX_BODY:
            return settler  # `take` judges what is in it; what is too large is told
        if exchange == self._layout.exchange or self._subscription.wanted(original):
            return settler  # what a pool sends to itself is wanted
        self._skip(tag, settler)
        return None

    def take(self, delivery: Delivery, *, compressed: bool) -> None:
        """Hand over what is wanted."""
        if compressed and not self._is_wanted(delivery):
            self._skip(delivery.tag, delivery.settler)
            return
        self._deliver(delivery)

    def _is_wanted(self, delivery: Delivery) -> bool:
        body = delivery.body
        return body is None or delivery.exchange == self._layout.exchange or self._subscription.wanted(body)

    def _skip(self, tag: int, settler: Settler) -> None:
        self._skipped += 1
        settler.settle(tag, requeue=False)

    def _lost(self, cause: TransportError) -> None:
        self._now, self._connected, self._depth = None, False, None

    async def stop(self) -> None:
        """Take no more deliveries; those that were handed over can still be settled until the receiver is left."""
        self._stopped = True
        now = self._now
        if now is None:
            return
        consumers, now.consumers = now.consumers, []
        with contextlib.suppress(TransportError):
            async with now.session.guard("ending the consumer"):
                for consumer in consumers:
                    await now.channel.basic_cancel(consumer)
        for tag in now.late:
            now.settler.settle(tag, requeue=True)
        now.late.clear()

    async def leave(self) -> None:
        """Tell the broker what was settled, wait until it knows, and delete the queue if it has no pool."""
        await self.stop()
        now = self._now
        if now is None:
            return
        with contextlib.suppress(TransportError):
            await now.session.finish(now.settler, now.channel)
            if self._layout.deleted_on_exit:
                await now.control.delete_queue(self.queue)
