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

from aiormq.abc import AbstractChannel, AbstractConnection

from aioswap.clock import Clock
from aioswap.errors import TransportError
from aioswap.transports.rabbit_assumptions import Unmet
from aioswap.transports.rabbit_broker import Broker
from aioswap.transports.rabbit_delivery import RabbitSettler
from aioswap.transports.rabbit_errors import Answered, Guard
from aioswap.transports.rabbit_fast import FastWay
from aioswap.transports.rabbit_plain import PlainWay
from aioswap.transports.rabbit_way import Login, Way
from aioswap.transports.urls import Address, BrokerUrl
from aioswap.wire.faults import traceback_of

__all__ = ["ANSWER_SECONDS", "Link", "Session", "connected", "ended"]

_logger = logging.getLogger(__name__)

_CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 10.0
"""Within this time the broker answers a request, or the connection is given up."""

_CLOSE_SECONDS: Final = 5.0
_GOODBYE_TURNS: Final = 100
"""Turns of the loop in which the driver notices that its socket is closed."""

_FIRST_PAUSE: Final = 1.0
_SHORT_TROUBLE: Final = 60.0
_SHORT_TROUBLE_PAUSE: Final = 4.0
"""After a restart of the broker all is well again within seconds: only trouble that lasts is worth longer pauses."""

_LONGEST_PAUSE: Final = 30.0
_SHORT_LIFE: Final = 1.0


class Session:
    """One connection, made by `Broker` and ended by its loss. What waits for it is told why it ended."""

    def __init__(self, where: str, user: str, clock: Clock) -> None:
        self.where = where
        self.user = user
        self.clock = clock
        self.cause: TransportError | None = None
        """Why it ended; None: it has not."""
        self.heard_at: float | None = None
        """When the broker last said something, in monotonic seconds; None: the way does not see it."""
        self.changed = asyncio.Event()
        """Set when it is lost; its user may set and clear it for other news."""
        self.on_blocked: Callable[[], None] = lambda: None
        self._on_lost: Callable[[TransportError], None] = lambda _: None
        self._blocked: str | None = None
        self._way: Way | None = None
        self._driver: AbstractConnection | None = None

    @property
    def blocked(self) -> str | None:
        """Why the broker takes no messages now; None: it takes them."""
        if self._way is not None:
            self._way.look()
        return self._blocked

    def lost(self, cause: TransportError) -> None:
        """Remember the first cause, and tell it at once."""
        if self.cause is None:
            self.cause = cause
            self.changed.set()
            self._on_lost(cause)
            if self._way is not None:
                self._way.end()

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
        self._blocked = blocked
        self.on_blocked()

    def heard(self) -> None:
        """Note that the broker is there."""
        self.heard_at = self.clock.monotonic()

    def drop(self, cause: TransportError) -> None:
        """End the connection at once, because of `cause`."""
        self.lost(cause)
        if self._way is not None:
            self._way.abort(cause)

    def guard(self, doing: str, seconds: float = ANSWER_SECONDS) -> Guard:
        """Give the body `seconds`; what goes wrong is a `TransportError` with the first cause."""
        return Guard(f"{self.where}: {doing}", self.clock, seconds, lambda: self.cause)

    async def channel(self, *, confirms: bool = False) -> AbstractChannel:
        """Open a channel of aiormq's."""
        assert self._driver is not None
        async with self.guard("opening a channel"):
            return await self._driver.channel(publisher_confirms=confirms)

    async def finish(self, settler: RabbitSettler, channel: AbstractChannel) -> None:
        """Tell the rest of what was settled, and wait until the broker has read it: its answer on the same channel comes after.

        Raises:
            TransportError: it does not answer.
        """
        async with self.guard("acknowledging"):
            await settler.finish()
            await channel.basic_qos(prefetch_count=1)

    @property
    def way(self) -> Way:
        """How channels are used."""
        assert self._way is not None
        return self._way

    async def connect(self, way: Way) -> None:
        """Log in.

        Raises:
            TransportError: with the first cause.
            Unmet: the driver is not as `way` needs it.
        """
        self._way = way
        async with Guard(f"connecting to {self.where}", self.clock, _CONNECT_SECONDS, lambda: self.cause):
            self._driver = await way.connect()

    async def close(self) -> None:
        """Say goodbye, at most 5 seconds. Never raises but for a cancellation."""
        self.lost(TransportError(f"{self.where}: the connection was closed here"))
        if self._way is None:
            return
        if self._blocked is not None:
            self._abort()  # the broker reads nothing, not even a goodbye
        timer = self.clock.call_later(_CLOSE_SECONDS, self._abort)
        goodbye = asyncio.ensure_future(self._way.connection.close())
        try:
            with contextlib.suppress(TransportError):
                async with Guard(f"closing {self.where}", self.clock, 2 * _CLOSE_SECONDS):
                    await asyncio.shield(goodbye)
        finally:
            timer.cancel()
            self._abort()
            await _left(goodbye)
            await self._way.ended()

    def _abort(self) -> None:
        transport = self._way.transport if self._way is not None else None
        if transport is not None:
            transport.abort()


async def _left(goodbye: asyncio.Future[None]) -> None:
    """Let the driver's goodbye end, now that its socket is closed, or cancel it: it waits again after a cancellation."""
    for _ in range(_GOODBYE_TURNS):
        if goodbye.done():
            break
        await asyncio.sleep(0)
    while not goodbye.done():
        goodbye.cancel()
        await asyncio.sleep(0)


async def _opened(broker: Broker, login: Login) -> Session:
    """Connect the way that is chosen; where the driver turns out not to be as the fast one needs it, the other way."""
    driver = broker.choice.driver
    while True:
        session = Session(str(login.address), login.address.user, broker.clock)
        try:
            await session.connect((FastWay if broker.choice.fast else PlainWay)(session, login, driver))
        except Unmet as unmet:
            await session.close()
            broker.choice.give_up(str(unmet))
        except TransportError as error:
            session.lost(error)
            await session.close()
            raise
        except BaseException:
            await session.close()
            raise
        else:
            return session


@asynccontextmanager
async def connected(broker: Broker, address: Address, url: BrokerUrl, label: str) -> AsyncGenerator[Session]:
    """Connect to one host; leaving closes the connection.

    Raises:
        TransportError: the host is away, refuses, or is too slow.
    """
    tls = await asyncio.to_thread(broker.tls_context, url) if address.tls else None
    heartbeat = broker.heartbeat if url.heartbeat is None else url.heartbeat
    own_version = version("aioswap")
    client = {"product": "aioswap", "version": own_version, "connection_name": f"aioswap {own_version} {label}"}
    session = await _opened(broker, Login(address=address, tls=tls, heartbeat=heartbeat, client=client))
    try:
        yield session
    except TransportError as error:
        session.lost(error)
        raise
    finally:
        await session.close()


class Link:
    """Makes a connection, and makes it again whenever it is lost: every host in turn, then a pause.

    The pauses have full jitter: up to 1 second after a loss, then up to 1, 2, 4, 4, ... seconds after each round of hosts, and
    up to 30 once the trouble has lasted for a minute. A connection that lives for less than a second counts as one that failed:
    what kills it at once would kill the next one too.

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
        self._troubled_since = 0.0
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
            told = traceback_of(error)
            _logger.error("the connection %s failed in an unexpected way; it is made again\n%s", self._label, told)
            return TransportError(f"an unexpected {type(error).__name__}, see the log")

    def _longest_pause(self, hosts: int) -> float:
        now = self._broker.clock.monotonic()
        since, self._well_since = self._well_since, None
        if since is not None and now - since >= _SHORT_LIFE:
            self._failures = 0
            return _FIRST_PAUSE
        if not self._failures:
            self._troubled_since = now
        self._failures += 1
        if self._failures % hosts:
            return 0.0
        longest = _SHORT_TROUBLE_PAUSE if now - self._troubled_since < _SHORT_TROUBLE else _LONGEST_PAUSE
        return float(min(longest, _FIRST_PAUSE * 2 ** min(self._failures // hosts - 1, 10)))


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
