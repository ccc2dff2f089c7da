"""The plain way's streams: made as the driver makes them, but nothing can leave the socket open, and the broker is heard."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final

from yarl import URL

__all__ = ["Keeper"]

_SHUTDOWN_SECONDS: Final = 2.0


class _Listener(asyncio.StreamReaderProtocol):
    """Tells whenever the broker says something: the driver takes heartbeats without a word."""

    def __init__(self, reader: asyncio.StreamReader, heard: Callable[[], None]) -> None:
        super().__init__(reader)
        self._heard = heard

    def data_received(self, data: bytes) -> None:
        """Hand it on."""
        self._heard()
        super().data_received(data)


class Keeper:
    """Makes the streams, and keeps the socket's transport. A `transport_factory` of aiormq's.

    Args:
        tls: verifies the broker; None: no TLS.
        heard: called whenever the broker has said something.
    """

    def __init__(self, tls: ssl.SSLContext | None, heard: Callable[[], None]) -> None:
        self._tls = tls
        self._heard = heard
        self.transport: asyncio.WriteTransport | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, as `asyncio.open_connection` does."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = _Listener(reader, self._heard)
        assert url.host is not None
        assert url.port is not None
        shutdown = _SHUTDOWN_SECONDS if self._tls is not None else None
        self.transport, _ = await loop.create_connection(
            lambda: protocol, url.host, url.port, ssl=self._tls, ssl_shutdown_timeout=shutdown
        )
        return reader, asyncio.StreamWriter(self.transport, protocol, reader, loop)
