"""One AMQP connection from handshake to loss, and the link that makes it again and again.

The driver is used plainly: `aio_pika.Connection` without its own reconnecting, which hides causes, repeats declarations and
leaks a task when it is cancelled. A connection that is in trouble is dropped and made anew, never repaired.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from random import SystemRandom
from typing import Final

import aio_pika
from aiormq.abc import AbstractChannel, AbstractConnection
from yarl import URL

from aioswap.clock import Clock
from aioswap.errors import TransportError
from aioswap.transports.rabbit_broker import Broker, driver_url
from aioswap.transports.rabbit_errors import Answered, Guard
from aioswap.transports.rabbit_frames import ChannelFrames, Factory
from aioswap.transports.urls import Address, BrokerUrl

__all__ = ["ANSWER_SECONDS", "Link", "Session", "connected", "ended"]

_logger = logging.getLogger(__name__)

_CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 10.0
"""Within this time the broker answers a request, or the connection is given up."""

_CLOSE_SECONDS: Final = 5.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_SHORT_LIFE: Final = 1.0


class _Connection(aio_pika.Connection):
    """aio-pika's connection, with streams of our own making (it passes this argument of aiormq's on by its `kwargs`)."""

    def __init__(self, url: URL, factory: Factory, client: dict[str, str]) -> None:
        super().__init__(url, client_properties=dict(client))
        self.kwargs["transport_factory"] = factory


class Session:
    """One connection, made by `Broker` and ended by its loss. What waits for it is told why it ended."""

    def __init__(self, where: str, user: str, clock: Clock) -> None:
        self.where = where
        self.user = user
        self.clock = clock
        self.cause: TransportError | None = None
        """Why it ended; None: it has not."""
        self.blocked: str | None = None
        """Why the broker takes no messages now; None: it takes them."""
        self.changed = asyncio.Event()
        """Set when it is lost; its user may set and clear it for other news."""
        self.on_blocked: Callable[[], None] = lambda: None
        self._on_lost: Callable[[TransportError], None] = lambda _: None
        self._factory: Factory | None = None
        self._driver: AbstractConnection | None = None

    def lost(self, cause: TransportError) -> None:
        """Remember the first cause, and tell it at once."""
        if self.cause is None:
            self.cause = cause
            self.changed.set()
            self._on_lost(cause)

    def tell_loss(self, listener: Callable[[TransportError], None]) -> None:
        """Call `listener` with the first cause, at once, when the connection is lost.

        Raises:
            TransportError: it is lost already.
        """
        if self.cause is not None:
            raise self.cause
        self._on_lost = listener

    def set_blocked(self, blocked: str | None) -> None:
        """Note that the broker stops taking messages, and why, or takes them again (None)."""
        self.blocked = blocked
        self.on_blocked()

    def drop(self, cause: TransportError) -> None:
        """End the connection at once, because of `cause`."""
        self.lost(cause)
        if self._factory is not None and self._factory.frames is not None:
            self._factory.frames.end(cause)

    def write(self, data: bytes) -> None:
        """Send whole frames now. Does nothing when the connection is lost."""
        if self.cause is None:
            assert self._factory is not None
            assert self._factory.frames is not None
            assert self._factory.frames.transport is not None
            self._factory.frames.transport.write(data)

    def guard(self, doing: str, seconds: float = ANSWER_SECONDS) -> Guard:
        """Give the body `seconds`; what goes wrong is a `TransportError` with the first cause."""
        return Guard(f"{self.where}: {doing}", self.clock, seconds, lambda: self.cause)

    async def channel(self, *, confirms: bool = False) -> AbstractChannel:
        """Open a channel of aiormq's."""
        assert self._driver is not None
        async with self.guard("opening a channel"):
            return await self._driver.channel(publisher_confirms=confirms)

    def watch(self, channel: AbstractChannel, frames: ChannelFrames) -> None:
        """Give the frames of `channel` to `frames` first."""
        assert self._factory is not None
        assert self._factory.frames is not None
        self._factory.frames.watch(channel.number, frames)

    async def connect(self, connection: _Connection, factory: Factory) -> None:
        """Log in.

        Raises:
            TransportError: with the first cause.
        """
        self._factory = factory
        async with Guard(f"connecting to {self.where}", self.clock, _CONNECT_SECONDS, lambda: self.cause):
            await connection.connect()
        assert connection.transport is not None
        self._driver = connection.transport.connection

    async def close(self, connection: _Connection) -> None:
        """Say goodbye, at most 5 seconds. Never raises but for a cancellation."""
        self.lost(TransportError(f"{self.where}: the connection was closed here"))
        frames = self._factory.frames if self._factory is not None else None
        transport = frames.transport if frames is not None else None
        if transport is None:
            await connection.close()
            return
        if self.blocked is not None:
            transport.abort()  # the broker reads nothing, not even a goodbye
        timer = self.clock.call_later(_CLOSE_SECONDS, transport.abort)
        try:
            with contextlib.suppress(TransportError):
                async with Guard(f"closing {self.where}", self.clock, 2 * _CLOSE_SECONDS):
                    await connection.close()
        finally:
            timer.cancel()
            transport.abort()


@asynccontextmanager
async def connected(broker: Broker, address: Address, url: BrokerUrl, label: str) -> AsyncGenerator[Session]:
    """Connect to one host; leaving closes the connection.

    Raises:
        TransportError: the host is away, refuses, or is too slow.
    """
    session = Session(str(address), address.user, broker.clock)
    tls = await asyncio.to_thread(broker.tls_context, url) if address.tls else None
    factory = Factory(session.where, tls, session.lost, session.set_blocked)
    heartbeat = broker.heartbeat if url.heartbeat is None else url.heartbeat
    own_version = version("aioswap")
    client = {"product": "aioswap", "version": own_version, "connection_name": f"aioswap {own_version} {label}"}
    connection = _Connection(driver_url(address, heartbeat), factory, client)
    try:
        await session.connect(connection, factory)
        yield session
    except TransportError as error:
        session.lost(error)
        raise
    finally:
        await session.close(connection)


class Link:
    """Makes a connection, and makes it again whenever it is lost: every host in turn, then a pause.

    The pauses have full jitter: up to 1 second after a loss, then up to 1, 2, 4, ... 30 seconds after each round of hosts. A
    connection that lives for less than a second counts as one that failed: what kills it at once would kill the next one too.

    Args:
        broker: where to connect.
        label: what operators see in the connection's name, after `aioswap` and its version.
        serve: uses the connection, tells `healed` when all is well, and returns or raises when it is lost.
        failed: is told of each failure; True: give up.
    """

    def __init__(
        self,
        broker: Broker,
        label: str,
        serve: Callable[[Session], Awaitable[None]],
        failed: Callable[[TransportError], bool] = lambda _: False,
    ) -> None:
        self._broker = broker
        self._label = label
        self._serve = serve
        self._failed = failed
        self._random = SystemRandom()
        self._well_since: float | None = None
        self._failures = 0
        self._told: set[str] = set()
        self.degraded: str | None = None
        """The first cause of the trouble that goes on now."""

    def healed(self) -> None:
        """All is well: forget the trouble."""
        if self._well_since is None:
            self._well_since = self._broker.clock.monotonic()
        if self.degraded is not None:
            self.degraded = None
            self._told.clear()
            _logger.info("the connection %s is well again", self._label)

    def trouble(self, cause: TransportError) -> None:
        """Note what is wrong. Of several causes in a row the first counts, until the broker itself says another one."""
        text = str(cause)
        if self.degraded is None or isinstance(cause, Answered):
            self.degraded = text
        if text not in self._told:
            self._told.add(text)
            _logger.warning("the connection %s has trouble: %s", self._label, text)

    async def run(self) -> None:
        """Keep the connection until cancelled, or until `failed` says that it is enough."""
        hosts = self._broker.shuffled()
        task = asyncio.current_task()
        for address, url in itertools.cycle(hosts):
            cause = await self._once(address, url)
            self.trouble(cause)
            # The driver may put an error in the place of a cancellation that came in the same turn of the loop.
            if self._failed(cause) or (task is not None and task.cancelling()):
                return
            await self._broker.clock.sleep(self._random.uniform(0, self._longest_pause(len(hosts))))

    async def _once(self, address: Address, url: BrokerUrl) -> TransportError:
        """Serve one connection to its end, and return why it ended."""
        try:
            async with connected(self._broker, address, url, self._label) as session:
                await self._serve(session)
                return session.cause or TransportError(f"{session.where}: the connection was given up")
        except TransportError as error:
            return error
        except Exception as error:  # a supervisor: a fault of ours must not end the connection for good
            _logger.exception("the connection %s failed in an unexpected way; it is made again", self._label)
            return TransportError(f"an unexpected {type(error).__name__}, see the log")

    def _longest_pause(self, hosts: int) -> float:
        since, self._well_since = self._well_since, None
        if since is not None and self._broker.clock.monotonic() - since >= _SHORT_LIFE:
            self._failures = 0
            return _FIRST_PAUSE
        self._failures += 1
        if self._failures % hosts:
            return 0.0
        return float(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures // hosts - 1, 10)))


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel the task that this object owns, and wait for its end, even while being cancelled oneself."""
    task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
