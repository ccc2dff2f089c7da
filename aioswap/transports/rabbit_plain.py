"""The plain way: aio-pika's own client for everything, one task of it for each message that is published or received.

It needs nothing beneath the driver, and knows less for it: an alarm of the broker is asked for once a second; a vhost that is
refused and one that is missing look alike; a message whose headers the driver can't read ends its connection, again and again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from aiormq import spec
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from aiormq.exceptions import AMQPError, ChannelInvalidStateError, DeliveryError, PublishError

from aioswap.clock import Timer
from aioswap.errors import TransportError
from aioswap.transports.base import Confirmation, Message
from aioswap.transports.rabbit_assumptions import Driver, offer
from aioswap.transports.rabbit_broker import driver_url
from aioswap.transports.rabbit_delivery import Route, delivery_of
from aioswap.transports.rabbit_errors import connection_closed, translate
from aioswap.transports.rabbit_keeper import Keeper
from aioswap.transports.rabbit_properties import MAX_DEPTH, as_sent, check_header, encode_properties
from aioswap.transports.rabbit_way import Answers, Arrivals, Login, Owner, Settled

__all__ = ["PlainIntake", "PlainPublisher", "PlainTeller", "PlainWay"]

T = TypeVar("T")

_ALARM: Final = "low on memory or disk"
"""Which of them the driver keeps to itself."""

_LOOK_SECONDS: Final = 1.0
_DRIVER: Final = (AMQPError, ChannelInvalidStateError, OSError)


class PlainWay:
    """A connection of aio-pika's, used as it comes. See `Way`.

    Args:
        owner: is told of its end.
        login: where it goes.
        driver: makes it.
    """

    def __init__(self, owner: Owner, login: Login, driver: Driver) -> None:
        self._owner = owner
        self._keeper = Keeper(login.tls, owner.heard)
        self._client: AbstractConnection | None = None
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._alarm = False
        self._ended = False
        self._tick: Timer | None = None
        url = driver_url(login.address, login.heartbeat)
        self.connection = driver.connection(url, ssl_context=login.tls, client_properties=dict(login.client))
        offer(driver, self.connection, self._keeper)

    @property
    def over(self) -> bool:
        """Whether the connection is lost."""
        return self._ended

    @property
    def transport(self) -> asyncio.WriteTransport | None:
        """Its socket's; None also where the driver makes its streams alone."""
        return self._keeper.transport

    async def connect(self) -> AbstractConnection:
        """Log in. See `Way.connect`."""
        await self.connection.connect()
        assert self.connection.transport is not None
        self._client = client = self.connection.transport.connection
        client.closing.add_done_callback(self._closed)
        self._ask_again()
        return client

    def abort(self, cause: TransportError) -> None:
        """End the connection at once, where its socket is known; else closing it has to do."""
        if self._keeper.transport is not None:
            self._keeper.transport.abort()

    def look(self) -> None:
        """Ask the driver whether the broker is blocked. It tells only whoever asks, and wakes only whoever waits."""
        if self._client is None or self._alarm or self._ended or not _runs(self._loop) or _is_ready(self._client):
            return
        self._alarm = True
        self.spawn(self._until_ready(self._client), "waits for the end of an alarm")
        self._owner.set_blocked(_ALARM)

    async def _until_ready(self, client: AbstractConnection) -> None:
        await client.ready()
        self._alarm = False
        self._owner.set_blocked(None)

    def _ask_again(self) -> None:
        self.look()
        if not self._ended:
            self._tick = self._owner.clock.call_later(_LOOK_SECONDS, self._ask_again)

    def spawn(self, work: Coroutine[Any, Any, T], what: str) -> asyncio.Future[T]:
        """Let `work` run in a task, until the connection is lost."""
        if self._ended:
            work.close()
            future: asyncio.Future[T] = self._loop.create_future()
            future.cancel()
            return future
        task = self._loop.create_task(work, name=f"aioswap {what}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, _DRIVER):  # a fault of ours: it must not be silent
            self._owner.drop(translate(error, self._owner.where))

    def end(self) -> None:
        """Cancel what is under way."""
        self._ended = True
        if self._tick is not None:
            self._tick.cancel()
        for task in self._tasks:
            task.cancel()

    async def ended(self) -> None:
        """Wait until nothing is under way."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def publisher(self, channel: AbstractChannel, answers: Answers, *, exchange: str, user: str) -> PlainPublisher:
        """Return what publishes on `channel`. See `Way.publisher`."""
        self._watch(channel, "sending")
        return PlainPublisher(self, channel, answers, exchange, user)

    def intake(self, channel: AbstractChannel, doing: str, arrivals: Arrivals) -> PlainIntake:
        """Return what takes messages on `channel`. See `Way.intake`."""
        self._watch(channel, doing)
        channel.on_consumer_cancel_callbacks.add(self._cancelled)
        return PlainIntake(self, channel, arrivals)

    def _watch(self, channel: AbstractChannel, doing: str) -> None:
        def closed(closing: asyncio.Future[Any]) -> None:
            self._owner.drop(translate(_error(closing), f"{self._owner.where}: {doing}"))

        channel.closing.add_done_callback(closed)

    def _closed(self, closing: asyncio.Future[Any]) -> None:
        self._owner.lost(connection_closed(_error(closing), self._owner.where))

    def _cancelled(self, frame: object) -> None:
        # A queue was deleted, or has moved: everything is made again. What came before is in tasks of the driver's which have
        # not run yet, and which it cancels with the connection: they go first.
        cause = TransportError(f"{self._owner.where}: the broker ended the consumer (was its queue deleted?)")
        asyncio.get_running_loop().call_soon(self._owner.drop, cause)


def _error(closing: asyncio.Future[Any]) -> BaseException:
    """Return why something closed. The driver uses cancellations for that, too."""
    return asyncio.CancelledError() if closing.cancelled() else closing.exception() or asyncio.CancelledError()


def _runs(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `loop` is the one that runs here."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _is_ready(client: AbstractConnection) -> bool:
    """Whether `client.ready()` would return at once."""
    waiting = client.ready()
    try:
        waiting.send(None)
    except StopIteration:
        return True
    waiting.close()
    return False


class _Written(spec.Basic.Properties):
    """Properties that are encoded already: the driver would write floats with 24 bits, and no bytes."""

    def __init__(self, message_id: str, written: bytes) -> None:
        super().__init__(message_id=message_id)
        self._written = written

    def marshal(self) -> bytes:
        """Return them."""
        return self._written


class _Unsent(NamedTuple):
    """A message in line."""

    number: int
    exchange: str
    message: Message
    properties: _Written


class PlainPublisher:
    """Publishes by `basic_publish`, in a task for each message. See `Publisher`.

    The driver begins them in the order in which their tasks were made, for its lock is fair. It finds a returned message by its
    id: of two with the same id, the second waits for the first one's answer, and with it what comes after.
    """

    def __init__(self, way: PlainWay, channel: AbstractChannel, answers: Answers, exchange: str, user: str) -> None:
        self._way = way
        self._channel = channel
        self._answers = answers
        self._exchange = exchange
        self._user = user
        self._frame_max = channel.connection.connection_tune.frame_max
        self._added: list[_Unsent] = []
        self._line: deque[_Unsent] = deque()
        self._under_way: set[str] = set()

    def add(self, number: int, message: Message) -> None:
        """Put `message` in line. See `Publisher.add`."""
        exchange = self._exchange if message.exchange is None else message.exchange
        spec.Basic.Publish(exchange=exchange, routing_key=message.routing_key, mandatory=True)  # may refuse
        written = encode_properties(message.message_id, message.headers, as_sent(message.properties, self._user))
        check_header(written, self._frame_max)
        self._added.append(_Unsent(number, exchange, message, _Written(message.message_id, written)))

    def write(self) -> None:
        """Send what is in line."""
        self._line += self._added
        self._added.clear()
        self._go_on()

    def _go_on(self) -> None:
        while self._line and self._line[0].message.message_id not in self._under_way:
            unsent = self._line.popleft()
            self._under_way.add(unsent.message.message_id)
            self._way.spawn(self._publish(unsent), "publishes")

    async def _publish(self, unsent: _Unsent) -> None:
        """Publish one message. An error that is no answer comes with the end of the channel, which tells its cause."""
        message = unsent.message
        confirmation = Confirmation.NACKED
        try:
            frame = await self._channel.basic_publish(
                message.body,
                exchange=unsent.exchange,
                routing_key=message.routing_key,
                properties=unsent.properties,
                mandatory=True,
            )
            if isinstance(frame, spec.Basic.Ack):
                confirmation = Confirmation.CONFIRMED
        except PublishError:
            confirmation = Confirmation.RETURNED
        except DeliveryError:
            pass
        self._answers.answered(unsent.number, confirmation)
        self._under_way.discard(message.message_id)
        self._go_on()


class PlainTeller:
    """Acknowledges by `basic_ack` and `basic_nack`, in order, in one task. See `Teller`."""

    def __init__(self, way: PlainWay, channel: AbstractChannel) -> None:
        self._way = way
        self._channel = channel
        self._line: deque[Settled] = deque()
        self._telling: asyncio.Future[None] | None = None

    def tell(self, settled: Sequence[Settled]) -> None:
        """Put it in line."""
        self._line += settled
        if self._telling is None or self._telling.done():
            self._telling = self._way.spawn(self._tell(), "acknowledges")

    async def told(self) -> None:
        """Wait until the line is empty."""
        if self._telling is not None:
            await asyncio.wait({self._telling})

    async def _tell(self) -> None:
        while self._line:
            tag, requeue, multiple = self._line.popleft()
            if requeue:
                await self._channel.basic_nack(tag, requeue=True, wait=False)
            else:
                await self._channel.basic_ack(tag, multiple=multiple, wait=False)


class PlainIntake:
    """Consumes by `basic_consume`, gets by `basic_get`. See `Intake`."""

    def __init__(self, way: PlainWay, channel: AbstractChannel, arrivals: Arrivals) -> None:
        self._way = way
        self._channel = channel
        self._arrivals = arrivals
        self.teller = PlainTeller(way, channel)

    async def consume(self, queue: str, tag: str) -> None:
        """Begin to consume `queue`, with `tag` for the consumer's name."""
        await self._channel.basic_consume(queue, self._delivered, consumer_tag=tag)

    def get(self, queue: str) -> asyncio.Future[bool]:
        """Take one message. See `Intake.get`."""
        return self._way.spawn(self._get(queue), f"looks into {queue}")

    async def _get(self, queue: str) -> bool:
        await self.teller.told()
        message = await self._channel.basic_get(queue)
        if isinstance(message.delivery, spec.Basic.GetEmpty):
            return False
        self._take(message)
        return True

    async def _delivered(self, message: DeliveredMessage) -> None:
        # The driver makes a task of each, in order; none of them waits, so that the order stays.
        if not self._way.over:
            self._take(message)

    def _take(self, message: DeliveredMessage) -> None:
        tag, exchange = message.delivery_tag or 0, message.exchange or ""
        properties = message.header.properties
        compressed = "compression" in (properties.headers or {})
        settler = self._arrivals.judge(tag, exchange, message.body, compressed=compressed)
        if settler is None:
            return
        read: tuple[str | None, dict[str, Any], dict[str, Any]] | str
        try:
            read = _decoded(properties)
        except ValueError as error:
            read = str(error)
        route = Route(exchange, message.routing_key or "")
        made = delivery_of(route, tag, bool(message.redelivered), message.body, settler, read)
        self._arrivals.take(made, compressed=compressed)


def _decoded(properties: spec.Basic.Properties) -> tuple[str | None, dict[str, Any], dict[str, Any]]:
    """Return the message id, the headers and the other properties, as `decode_properties` does."""
    others: dict[str, Any] = {
        "type" if name == "message_type" else name: value for name, value in properties if value not in (None, "")
    }
    message_id = others.pop("message_id", None)
    headers = others.pop("headers", None) or {}
    return message_id, _own(headers, 0), others


def _own(value: Any, depth: int) -> Any:
    """Return a header's value with bytes where the driver has a bytearray.

    Raises:
        ValueError: it is nested too deeply.
    """
    if isinstance(value, bytearray):
        return bytes(value)
    if not isinstance(value, dict | list):
        return value
    if depth > MAX_DEPTH:
        raise ValueError(f"the properties cannot be read: tables are nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return {name: _own(inner, depth + 1) for name, inner in value.items()}
    return [_own(inner, depth + 1) for inner in value]
