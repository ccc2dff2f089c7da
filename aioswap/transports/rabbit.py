"""The RabbitMQ transport. The modules `rabbit_*` beside this one are its parts, and the only ones that know the driver."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Self
from uuid import uuid4

from aioswap.clock import Clock
from aioswap.opened import Opened
from aioswap.transports.base import Browser, Delivery, Receiver, Sender, Subscription
from aioswap.transports.rabbit_assumptions import Choice
from aioswap.transports.rabbit_broker import Broker
from aioswap.transports.rabbit_browser import browsing
from aioswap.transports.rabbit_connection import ended
from aioswap.transports.rabbit_receiver import RabbitReceiver
from aioswap.transports.rabbit_sender import RabbitSender
from aioswap.transports.topology import topology
from aioswap.transports.urls import parse_url

__all__ = ["RabbitTransport"]


class RabbitTransport:
    """A transport over RabbitMQ. Constructing and entering it do no I/O.

    Each sender, receiver and browser has a connection of its own, named `aioswap <version> <label>`, which is made again
    after every loss: up to 1 second later, then after up to 1, 2, 4, 4, ... seconds, up to 30 once it has lasted for a
    minute, each host in turn. What is wrong meanwhile stands in `health`.

    The notification exchange is Nova's: it is looked for and never declared, unless `exchange_durable` says how.

    Args:
        url: `amqp://`, `amqps://` or oslo's `rabbit://`, with one host or several, or a list of such URLs.
        exchange: the notification exchange.
        exchange_durable: create the exchange if it is missing, durable (True) or not (False), as Nova's
            `amqp_durable_queues` says. None: wait for whoever creates it.
        declare_default_queues: a sender declares oslo's default queue `<topic>.<priority>` before it first uses that key,
            as Nova does, with the durability that `exchange_durable` gives. They are classic queues: leave it off where Nova
            has `rabbit_quorum_queue`.
        ssl_context: verifies the broker, instead of one made from the URL's options. Only with TLS.
        heartbeat: seconds, where the URL does not say; a dead broker is noticed after about three.
        fast: messages go beneath aio-pika, several times cheaper. What that assumes of aio-pika's versions is looked at on
            connecting; where it does not hold, this is logged once, and `fast` is as good as False. False: aio-pika's own
            client carries each message. Every promise is the same; a broker's alarm shows up to 1 second later, and a
            message whose headers aio-pika can't read ends its connection until somebody takes it out of the queue.
        clock: measures deadlines and pauses.

    Raises:
        ValueError: a URL cannot be read (the text never shows it), a heartbeat outside 0 to 65535, or default queues without
            a durability: a wrong guess would stop Nova's own notifications (406).
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        exchange: str = "nova",
        exchange_durable: bool | None = None,
        declare_default_queues: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        heartbeat: int = 10,
        fast: bool = True,
        clock: Clock | None = None,
    ) -> None:
        if not 0 <= heartbeat <= 65_535:
            raise ValueError(f"heartbeat={heartbeat}: give seconds, 0 to 65535")
        if declare_default_queues and exchange_durable is None:
            raise ValueError("declare_default_queues needs exchange_durable: are Nova's queues durable, True or False?")
        urls = tuple(map(parse_url, [url] if isinstance(url, str) else url))
        if not urls:
            raise ValueError("give at least one URL")
        if ssl_context is not None and not any(address.tls for parsed in urls for address in parsed.addresses):
            raise ValueError("an ssl_context needs TLS: give amqps:// or ssl=1")
        clock = Clock() if clock is None else clock
        self._broker = Broker(urls=urls, tls=ssl_context, heartbeat=heartbeat, clock=clock, choice=Choice(fast=fast))
        self._exchange = exchange
        self._exchange_durable = exchange_durable
        self._default_queues = declare_default_queues
        self._opened = Opened("RabbitTransport")

    def __repr__(self) -> str:
        return f"<RabbitTransport {', '.join(map(str, self._broker.urls))}>"

    async def __aenter__(self) -> Self:
        self._opened.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._opened.check()
        self._opened.close()

    @property
    def destination(self) -> str:
        """Where notifications go, without users: `amqp host1:5672,host2:5672 vhost=/ exchange=nova`."""
        return f"{self._broker.place} exchange={self._exchange}"

    @asynccontextmanager
    async def sender(self, label: str) -> AsyncGenerator[Sender]:
        """Open a sending connection named `label`. Entering never waits for the broker; leaving closes it at once."""
        self._opened.check()
        sender = RabbitSender(
            self._broker,
            self._opened,
            label,
            self._exchange,
            exchange_durable=self._exchange_durable,
            default_queues=self._default_queues,
        )
        task = asyncio.create_task(sender.run(), name=f"aioswap sender {label}")
        try:
            yield sender
        finally:
            try:
                await ended(task)
            finally:
                sender.close()

    @asynccontextmanager
    async def receiver(
        self,
        subscription: Subscription,
        deliver: Callable[[Delivery], None],
        *,
        label: str,
        start_timeout: float = 30.0,
    ) -> AsyncGenerator[Receiver]:
        """Open a receiving connection. Entering returns when the queue is bound and consumed. See `Transport.receiver`.

        Raises:
            TransportError: login, vhost, right or exchange refused, or not ready within `start_timeout` seconds.
        """
        self._opened.check()
        layout = topology(subscription, uuid4().hex)
        receiver = RabbitReceiver(self._broker, label, self._exchange, self._exchange_durable, subscription, layout, deliver)
        task = asyncio.create_task(receiver.run(), name=f"aioswap receiver {label}")
        try:
            await receiver.started(start_timeout)
            yield receiver
        finally:
            try:
                await receiver.leave()
            finally:
                await ended(task)

    @asynccontextmanager
    async def browser(self, queue: str) -> AsyncGenerator[Browser]:
        """Open a connection that looks into `queue`.

        Raises:
            TransportError: there is no such queue, or the broker is away or refuses.
        """
        self._opened.check()
        async with browsing(self._broker, queue) as browser:
            yield browser
