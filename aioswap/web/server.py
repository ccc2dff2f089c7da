"""A server for the application, in the caller's own loop: bounded, without signal handlers and without an access log."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
from collections.abc import Generator
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from aioswap.web.app import StatusApp

__all__ = ["is_loopback", "listen_at", "parse_address", "serve", "url_of"]

_ADDRESS: Final = re.compile(r"(?:\[([0-9a-f:.%]+)\]|([^:\[\]/\s]+)):([0-9]{1,5})", re.IGNORECASE)
_CONNECTIONS: Final = 200
_HEADERS: Final = 16 * 1024
_SEND_BUFFER: Final = 256 * 1024
"""Bytes that a request's head may have; bytes that the kernel keeps for a reader."""
_BACKLOG: Final = 128
_REQUEST_WAIT: Final = 10
_LEAVE_WAIT: Final = 3
_STALLED: Final = 30.0
"""Seconds for a request to come; for requests to end when the server does; until a reader that takes nothing is cut off."""


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[IPv6]:port`. Port 0: any that is free.

    Raises:
        ValueError: it is neither.
    """
    form = _ADDRESS.fullmatch(text)
    if form is None or int(form[3]) > 65_535:
        raise ValueError(f"{text!r}: give an address and a port, such as 127.0.0.1:8080 or [::1]:8080")
    return form[1] or form[2], int(form[3])


def is_loopback(host: str) -> bool:
    """Say whether nobody but this machine reaches `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen_at(host: str, port: int, *, stalled: float = _STALLED) -> socket.socket:
    """Return a socket that listens. Connections made to it wait until `serve` takes them.

    Args:
        host: an address, or a name that this machine resolves.
        port: 0: any that is free.
        stalled: seconds until the kernel ends the connection of a reader that takes nothing, where it can (Linux).

    Raises:
        OSError: the address is not this machine's, or is in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = (error.strerror or "").partition(" (while")[0]
        raise OSError(error.errno, f"can't listen at {host} port {port}: {reason}") from None
    # what is accepted inherits these
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stalled * 1000))
    return listening


def url_of(listening: socket.socket) -> str:
    """Return the URL of what is served there."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


async def serve(app: StatusApp, listening: socket.socket, *, request_wait: int = _REQUEST_WAIT) -> None:
    """Serve until cancelled. Then event streams end, other requests have 3 s to, and all is closed.

    Args:
        app: it, open.
        listening: where; it is closed in the end.
        request_wait: seconds after which a connection is closed on which no request comes; twice as many between two.
    """
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # a warning for each odd request would fill the log
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=request_wait,
        timeout_graceful_shutdown=_LEAVE_WAIT,
        h11_max_incomplete_event_size=_HEADERS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await asyncio.shield(task)
    finally:
        app.feed.end_streams()
        server.should_exit = True
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            listening.close()


class _Server(uvicorn.Server):
    """Leaves signals to the program that it is a part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class _Protocol(H11Protocol):
    """Ends connections on which no request comes: uvicorn's own limit counts from the end of a request only."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._looked_at: RequestResponseCycle | None = None
        self._look_timer = self.loop.call_later(self.timeout_keep_alive, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look_timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if cycle is self._looked_at and (cycle is None or cycle.response_complete):
            self.transport.close()
            return
        self._looked_at = cycle
        self._look_timer = self.loop.call_later(self.timeout_keep_alive, self._look)
