"""Where RabbitMQ is and how to connect: addresses, TLS, and the driver's own URL."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import SystemRandom

from yarl import URL

from aioswap.clock import Clock
from aioswap.errors import TransportError
from aioswap.transports.rabbit_assumptions import Choice
from aioswap.transports.urls import Address, BrokerUrl

__all__ = ["Broker", "driver_url"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where and how to connect.

    Args:
        urls: at least one; their hosts are tried in a random order.
        tls: used as it is; None: made from the URL's files at each attempt, so that renewed certificates are found.
        heartbeat: seconds, where the URL does not say.
        clock: measures deadlines and pauses.
        choice: which way connections go.
    """

    urls: Sequence[BrokerUrl] = field(repr=False)
    tls: ssl.SSLContext | None = None
    heartbeat: int
    clock: Clock
    choice: Choice = field(default_factory=Choice, repr=False)

    @property
    def place(self) -> str:
        """Every host, sorted, and the vhost: what tells brokers apart, however they are reached."""
        addresses = [address for url in self.urls for address in url.addresses]
        hosts = sorted({f"{address.host}:{address.port}" for address in addresses})
        vhosts = sorted({address.vhost for address in addresses})
        return f"amqp {','.join(hosts)} vhost={','.join(vhosts)}"

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


def driver_url(address: Address, heartbeat: int) -> URL:
    """The driver's own URL, built from parts, so that nothing is guessed."""
    return URL.build(
        scheme="amqps" if address.tls else "amqp",
        user=address.user,
        password=address.password,
        host=address.host,
        port=address.port,
        path="/" if address.vhost == "/" else f"/{address.vhost}",
        query={"heartbeat": str(heartbeat)},
    )
