"""One AMQP connection from handshake to loss, and the link that makes it again and again.

The driver is used plainly: `aio_pika.Connection` without its own reconnecting, which hides causes, repeats declarations and
leaks a task when it is cancelled. A connection that is in trouble is dropped and made anew, never repaired.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from random import SystemRandom
from typing import Final

import aio_pika
from aiormq.abc import AbstractChannel, AbstractConnection
from yarl import URL

from aioswap.clock import Clock
from aioswap.errors import TransportError
from aioswap.transports.rabbit_errors import Guard
from aioswap.transports.rabbit_frames import ChannelFrames, Factory
from aioswap.transports.urls import Address, BrokerUrl

__all__ = ["ANSWER_SECONDS", "Broker", "Link", "Session", "connected", "ended"]

_logger = logging.getLogger(__name__)

_CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 10.0
"""Within this time the broker answers a request, or the connection is given up."""

_CLOSE_SECONDS: Final = 5.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where and how to connect.

    Args:
        urls: at least one; their hosts are tried in a random order.
        tls: used as it is; None: made from the URL's files at each attempt, so that renewed certificates are found.
        heartbeat: seconds, where the URL does not say.
        clock: measures deadlines and pauses.
    """

    urls: Sequence[BrokerUrl] = field(repr=False)
    tls: ssl.SSLContext | None = None
    heartbeat: int
    clock: Clock

    def shuffled(self) -> list[tuple[Address, BrokerUrl]]:
        """Return every host once, in a random order, with the URL that names it."""
        hosts = [(address, url) for url in self.urls for address in url.addresses]
        SystemRandom().shuffle(hosts)
        return hosts

    def tls_context(self, url: BrokerUrl) -> ssl.SSLContext:
        """Return what verifies the broker, by certificate and host name. Reads files.

        Raises:
            TransportError: a file is missing, unreadable, or not what it should be.
        """
        if self.tls is not None:
            return self.tls
        try:
            context = ssl.create_default_context(cafile=url.ca_file)
            if url.cert_file is not None:
                context.load_cert_chain(url.cert_file, url.key_file, password=_no_password)
        except OSError as error:
            reason = getattr(error, "reason", None) or error.strerror
            text = f"the URL's certificates cannot be used, {reason}; check ssl_ca_file, ssl_cert_file and ssl_key_file"
            raise TransportError(text) from None
        return context


def _no_password() -> str:
    """A key with a password cannot be used; without this OpenSSL would ask for it on the terminal."""
    return ""


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
        self.on_lost: Callable[[TransportError], None] = lambda _: None
        self._factory: Factory | None = None
        self._driver: AbstractConnection | None = None

    def lost(self, cause: TransportError) -> None:
        """Remember the first cause, and tell it at once."""
        if self.cause is None:
            self.cause = cause
            self.changed.set()
            self.on_lost(cause)

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
    connection = _Connection(_driver_url(address, heartbeat), factory, client)
    try:
        await session.connect(connection, factory)
        yield session
    except TransportError as error:
        session.lost(error)
        raise
    finally:
        await session.close(connection)


def _driver_url(address: Address, heartbeat: int) -> URL:
    """The driver's own URL: plain, because the streams are of our making; built from parts, so that nothing is guessed."""
    return URL.build(
        scheme="amqp",
        user=address.user,
        password=address.password,
        host=address.host,
        port=address.port,
        path="/" if address.vhost == "/" else f"/{address.vhost}",
        query={"heartbeat": str(heartbeat)},
    )


class Link:
    """Makes a connection, and makes it again whenever it is lost: every host in turn, then a pause.

    The pauses have full jitter: up to 1 second after a loss, then up to 1, 2, 4, ... 30 seconds after each round of hosts.

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
        self._well = False
        self._failures = 0
        self.degraded: str | None = None
        """The first cause of the trouble that goes on now."""

    def healed(self) -> None:
        """All is well: forget the trouble."""
        self._well, self._failures = True, 0
        if self.degraded is not None:
            self.degraded = None
            _logger.info("the connection %s is well again", self._label)

    def trouble(self, cause: TransportError) -> None:
        """Note what is wrong. Of several causes in a row the first counts, until the broker itself says another one."""
        text = str(cause)
        if self.degraded == text:
            return
        if self.degraded is None or getattr(cause, "code", None) is not None:
            self.degraded = text
        _logger.warning("the connection %s has trouble: %s", self._label, cause)

    async def run(self) -> None:
        """Keep the connection until cancelled, or until `failed` says that it is enough."""
        hosts = self._broker.shuffled()
        for address, url in itertools.cycle(hosts):
            cause = await self._once(address, url)
            self.trouble(cause)
            if self._failed(cause):
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
        if self._well:
            self._well = False
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
