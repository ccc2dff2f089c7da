"""The sending half: one connection, one channel with confirms, no task per message.

The first message of a turn of the loop goes out at once, so that one alone need not wait; what follows it, in one write at
the turn's end. The broker numbers what it gets from 1 on, so that position is all that a confirm needs
(rabbitmq.com/confirms.html).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import takewhile
from typing import Final

from aioswap.clock import Timer
from aioswap.errors import TransportError
from aioswap.health import LinkHealth
from aioswap.opened import Opened
from aioswap.transports.answers import settling, tell
from aioswap.transports.base import Answer, Confirmation, Message
from aioswap.transports.limits import impossible
from aioswap.transports.rabbit_broker import Broker
from aioswap.transports.rabbit_connection import ANSWER_SECONDS, Link, Session
from aioswap.transports.rabbit_control import Control
from aioswap.transports.rabbit_refusals import Refusals
from aioswap.transports.rabbit_way import Publisher
from aioswap.transports.topology import QueueDeclaration

__all__ = ["RabbitSender"]

_CONFIRM_SECONDS: Final = 30.0
"""Within this time a broker that is alive confirms."""

_LOOK_AGAIN: Final = 1.0

_CLOSED: Final = "this sender is closed: use it inside its `async with`"


class RabbitSender:
    """Sends messages to RabbitMQ.

    Args:
        broker: where to connect.
        opened: the transport's guard.
        label: for the connection's name.
        exchange: the notification exchange.
        exchange_durable: how to create it when it is missing; None: never.
        default_queues: declare oslo's default queue of each routing key before its first message.
    """

    def __init__(
        self,
        broker: Broker,
        opened: Opened,
        label: str,
        exchange: str,
        *,
        exchange_durable: bool | None,
        default_queues: bool,
    ) -> None:
        self._opened = opened
        self._closed = False
        self._clock = broker.clock
        self._exchange = exchange
        self._exchange_durable = exchange_durable
        self._default_queues = default_queues
        self._link = Link(broker, label, self._serve)
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._session: Session | None = None
        self._cause = "not connected yet"
        self._publisher: Publisher | None = None
        self._sent = 0
        self._pending: dict[int, tuple[Callable[[Answer], None] | None, Message]] = {}
        """What is told of each answer; None: it was told, and the confirm is to come."""
        self._refusals = Refusals()
        self._progress = 0.0
        self._watchdog: Timer | None = None
        self._scheduled = False
        self._declared: set[str] = set()
        self._undeclared: list[str] = []

    @property
    def health(self) -> LinkHealth:
        """How the connection is now."""
        session = self._session
        if session is None or session.blocked is None:
            return LinkHealth(connected=session is not None, degraded=self._link.degraded)
        reason = f"{session.where}: the broker takes no messages, {session.blocked}; free its memory or disk"
        return LinkHealth(connected=True, blocked=True, degraded=reason)

    async def ready(self) -> None:
        """Wait, without limit, until messages can be sent: connected, the exchange there, not blocked.

        Raises:
            TransportError: the sender was closed meanwhile.
        """
        self._check()
        await self._ready.wait()
        if self._closed:
            raise TransportError("this sender was closed")

    async def run(self) -> None:
        """Keep the connection, until cancelled."""
        await self._link.run()

    def close(self) -> None:
        """Refuse what is asked from now on. Call it when `run` has ended."""
        self._closed = True
        self._ready.set()

    def send(self, message: Message) -> asyncio.Future[Confirmation]:
        """Send `message` now, in order; the future is what the broker says of it. See `Sender.send`.

        Raises:
            RuntimeError: the sender is closed, or belongs to another loop, thread or process.
        """
        self._check()
        future: asyncio.Future[Confirmation] = self._loop.create_future()
        self.submit(message, settling(future))
        return future

    def submit(self, message: Message, told: Callable[[Answer], None]) -> None:
        """Send `message` now, in order; `told` is called with what the broker says of it. See `Sender.submit`.

        Raises:
            RuntimeError: the sender is closed.
        """
        if self._closed:
            raise RuntimeError(_CLOSED)
        problem: Exception | None = impossible(message)
        if problem is None:
            if self._publisher is None:
                problem = TransportError(self._link.degraded or self._cause)
            else:
                problem = self._put(message, told, self._publisher)
        if problem is not None:
            self._loop.call_soon(told, problem)

    def _check(self) -> None:
        if self._closed:
            raise RuntimeError(_CLOSED)
        self._opened.check()

    def _put(self, message: Message, told: Callable[[Answer], None], publisher: Publisher) -> ValueError | None:
        """Number the message, and put it in line: the first of a turn of the loop goes out now, the others at its end."""
        try:
            publisher.add(self._sent + 1, message)
        except ValueError as error:
            return error
        if self._default_queues and message.exchange is None and message.routing_key not in self._declared:
            self._declare_first(message.routing_key)
        if not self._pending:
            self._progress = self._clock.monotonic()
            self._watch()
        self._sent += 1
        self._pending[self._sent] = (told, message)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._end_turn)
            self._flush()
        return None

    def _declare_first(self, routing_key: str) -> None:
        """Hold back what is sent until the default queue of `routing_key` is there."""
        self._declared.add(routing_key)
        self._undeclared.append(routing_key)
        if self._session is not None:
            self._session.changed.set()

    def _end_turn(self) -> None:
        self._scheduled = False
        self._flush()

    def _flush(self) -> None:
        if self._publisher is not None and not self._undeclared:  # `_declare_defaults` flushes when the queues are there
            self._publisher.write()

    async def _serve(self, session: Session) -> None:
        """Use one connection: check the exchange, open the channel, then declare default queues as they are needed."""
        control = Control(session)
        await control.ensure_exchange(self._exchange, self._exchange_durable)
        channel = await session.channel(confirms=True)
        session.tell_loss(self._lost)
        session.on_blocked = self._blocked
        self._publisher = session.way.publisher(channel, self, exchange=self._exchange, user=session.user)
        self._session, self._sent = session, 0
        self._link.healed()
        self._blocked()
        while session.cause is None:
            await session.changed.wait()
            session.changed.clear()
            if self._undeclared:
                await self._declare_defaults(control)

    async def _declare_defaults(self, control: Control) -> None:
        """Declare oslo's default queues as oslo does: named as the routing key, without arguments."""
        while self._undeclared:
            key = self._undeclared[0]
            await control.declare_queue(QueueDeclaration(name=key), durable=bool(self._exchange_durable))
            await control.bind(key, self._exchange, key)
            if self._undeclared:  # a loss empties it
                self._undeclared.pop(0)
        self._flush()

    def _blocked(self) -> None:
        """The broker takes messages or not: both begin a new time in which it must confirm."""
        self._progress = self._clock.monotonic()
        if self._session is None or self._session.blocked is not None:
            self._ready.clear()
        else:
            self._ready.set()

    def _lost(self, cause: TransportError) -> None:
        """The connection is gone: nothing that is pending will be answered."""
        self._session = self._publisher = None
        self._cause = str(cause)
        self._ready.clear()
        self._declared.clear()
        self._undeclared.clear()
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        pending, self._pending = self._pending, {}
        for told, _ in pending.values():
            if told is not None:
                tell(told, TransportError(str(cause)))

    def answered(self, number: int, confirmation: Confirmation, *, multiple: bool = False) -> None:
        """Take the broker's last answer for message `number`, or for all up to it."""
        silent_since, self._progress = self._progress, self._clock.monotonic()
        if not multiple:
            self._answer(number, confirmation, silent_since)
            return
        for pending in list(takewhile(number.__ge__, self._pending)):
            self._answer(pending, confirmation, silent_since)

    def _answer(self, number: int, confirmation: Confirmation, silent_since: float) -> None:
        entry = self._pending.get(number)
        if entry is None:
            return
        told, message = entry
        if confirmation is Confirmation.NACKED:
            session = self._session
            late = self._refusals.nacked(message.routing_key, self._progress, silent_since=silent_since)
            if late and session is not None:
                # The nack is not told: a message without an answer is tried at once on the next connection.
                session.drop(TransportError(f"{session.where}: nacks all of {message.routing_key}; it is connected again"))
                return
        elif self._refusals.since:
            self._refusals.over(message.routing_key)
        del self._pending[number]
        if told is not None:
            tell(told, confirmation)

    def returned(self, message_id: str | None, exchange: str, routing_key: str) -> None:
        """Take back a message, before its confirm (which says that nobody got it). Its place is found by what it was."""
        for number, (told, message) in self._pending.items():
            sent_to = self._exchange if message.exchange is None else message.exchange
            if (message.message_id, message.routing_key, sent_to) == (message_id, routing_key, exchange) and told is not None:
                self._pending[number] = (None, message)
                tell(told, Confirmation.RETURNED)
                return

    def _watch(self) -> None:
        """While something is pending, make sure that confirms come: see `_patience`."""
        if self._watchdog is None:
            left = self._progress + ANSWER_SECONDS - self._clock.monotonic()
            self._watchdog = self._clock.call_later(max(left, _LOOK_AGAIN), self._check_progress)

    def _patience(self, session: Session, now: float) -> float:
        """Return the seconds without a confirm after which `session` is dropped.

        A broker that is silent as well is gone. One that speaks waits for others itself: a quorum queue whose leader stands
        still is led by another node in about 10 seconds, and whoever connects anew meanwhile begins with the old leader.
        """
        speaks = session.heard_at is not None and now - session.heard_at < ANSWER_SECONDS
        return _CONFIRM_SECONDS if speaks else ANSWER_SECONDS

    def _check_progress(self) -> None:
        self._watchdog = None
        session = self._session
        if session is None or not self._pending:
            return
        if session.blocked is not None:
            self._progress = self._clock.monotonic()
        now = self._clock.monotonic()
        patience = self._patience(session, now)
        if now - self._progress < patience:
            self._watch()
            return
        session.drop(TransportError(f"{session.where}: no confirm for {patience:.0f} seconds; it is connected again"))
