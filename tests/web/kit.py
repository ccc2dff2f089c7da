"""What the tests of the status pages share: a real server on loopback, and a client without any library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from aioswap.clock import Clock
from aioswap.tracker import SwapTracker
from aioswap.web.access import Access
from aioswap.web.app import Metrics, StatusApp
from aioswap.web.metrics import exposition
from aioswap.web.server import listen_at, serve

__all__ = ["Answer", "Events", "Site", "served"]

_LINE = 1 << 22
_FIGURES = exposition()


class Answer(NamedTuple):
    """What was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


class Events:
    """An open stream of events."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def next(self) -> tuple[str, Any]:
        """Return the next event's name and data, and leave out what is none."""
        fields: dict[str, str] = {}
        while "event" not in fields:
            fields = {}
            while line := (await self._line()).rstrip("\n"):
                name, _, value = line.partition(": ")
                fields[name] = value
        return fields["event"], json.loads(fields["data"])

    async def until(self, name: str) -> Any:
        """Return the data of the next event of this name."""
        while True:
            got, told = await self.next()
            if got == name:
                return told

    async def ended(self) -> bytes:
        """Read until the stream ends, and return what still came."""
        return await self._reader.read()

    async def _line(self) -> str:
        line = await self._reader.readline()
        if not line:
            raise EOFError("the stream has ended")
        return line.decode()


@dataclass
class Site:
    """A server that runs."""

    app: StatusApp
    port: int
    serving: asyncio.Task[None]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/"

    async def ask(self, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        """Return the answer to one request; `_` in a header's name stands for `-`."""
        reader, writer = await self.connect(path, method, **headers)
        status, fields = await head_of(reader)
        body = await reader.read()
        await hang_up(writer)
        return Answer(status, fields, body)

    async def connect(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a request, and return the connection that its answer comes by."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=_LINE)
        fields = {"host": f"127.0.0.1:{self.port}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{method} {path} HTTP/1.0", *(f"{name}: {value}" for name, value in fields.items() if value), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1"))
        return reader, writer

    @asynccontextmanager
    async def events(self, **headers: str) -> AsyncGenerator[Events]:
        """Give the stream of events."""
        reader, writer = await self.connect("/events", **headers)
        status, fields = await head_of(reader)

        assert (200, "text/event-stream; charset=utf-8") == (status, fields["content-type"])
        try:
            yield Events(reader, writer)
        finally:
            await hang_up(writer)


async def head_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Return status and headers of an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    return int(first.split()[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def served(
    tracker: SwapTracker,
    access: Access | None = None,
    *,
    project: str | None = None,
    metrics: Metrics | None = _FIGURES,
    clock: Clock | None = None,
    port: int = 0,
    stalled: float = 30.0,
    request_wait: int = 10,
) -> AsyncGenerator[Site]:
    """Give a site that shows what `tracker` hears."""
    app = StatusApp(tracker, access, project=project, metrics=metrics, clock=clock)
    listening = listen_at("127.0.0.1", port, stalled=stalled)
    async with app:
        serving = asyncio.create_task(serve(app, listening, request_wait=request_wait))
        try:
            yield Site(app, listening.getsockname()[1], serving)
        finally:
            serving.cancel()
            await asyncio.wait({serving})
