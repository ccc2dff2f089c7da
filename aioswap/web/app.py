"""The application: what is asked by which path, and what it is answered with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib.resources import files
from typing import Any, Final, Self

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from aioswap.clock import Clock
from aioswap.swaps import Swap, SwapState
from aioswap.tracker import SwapTracker
from aioswap.web.access import ALLOWED, Access, Guard
from aioswap.web.feed import Feed, Stream
from aioswap.web.shelf import Wanted
from aioswap.web.told import as_json, told

__all__ = ["Metrics", "StatusApp"]

Metrics = Callable[[Feed], tuple[bytes, str]]
"""Returns metrics and their media type."""

_LIMIT: Final = 100
_MOST: Final = 1_000
_ATTEMPTS: Final = 20
"""Swaps of a list, unless asked for more; at most; of one request."""
_SINGLE: Final = "limit"
_LISTS: Final = ("host", "state", "project")
_PAGE: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_NO_METRICS: Final = "metrics need the extra prometheus: pip install 'aioswap[prometheus]'"
_FULL: Final = "there are too many event streams, or the server is about to end: try again later"


class StatusApp:
    """An ASGI application that shows the swaps of a tracker. Open it with `async with`, before or after the tracker.

    `/swaps`, `/swaps/stuck` and `/swaps/{request_id}` are JSON, `/events` are server-sent events, `/` is a page, `/live` and
    `/ready` are for probes, `/metrics` for Prometheus; below another path if it is mounted there. It is read-only. The request
    context is never shown, faults are masked.

    Args:
        tracker: whose swaps are shown.
        access: who may read; the default: everybody who asks by a name of loopback. Probes need neither name nor token.
        project: only this project's swaps are ever shown; None: all.
        metrics: makes what `/metrics` answers; None: it answers 501.
        clock: the time; tests give their own.
    """

    def __init__(
        self,
        tracker: SwapTracker,
        access: Access | None = None,
        *,
        project: str | None = None,
        metrics: Metrics | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.feed = Feed(tracker, project=project, clock=clock)
        self._metrics = metrics
        self._page: dict[str, bytes] = {}
        routes = [
            Route("/swaps", self._swaps),
            Route("/swaps/stuck", self._stuck),
            Route("/swaps/{request_id:path}", self._swap),
            Route("/events", self._events),
            Route("/live", self._live),
            Route("/ready", self._ready),
            Route("/metrics", self._show_metrics),
            *(Route(path, partial(self._show_page, path)) for path in _PAGE),
        ]
        self._app = Guard(Starlette(routes=routes, exception_handlers={HTTPException: _failed}), access or Access())

    async def __aenter__(self) -> Self:
        """Begin to follow the tracker, whenever it is open.

        Raises:
            RuntimeError: it is open already.
        """
        folder = files("aioswap.web") / "static"
        self._page = {path: (folder / name).read_bytes() for path, (name, _) in _PAGE.items()}
        await self.feed.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End all event streams and follow no more."""
        await self.feed.__aexit__(*exc_info)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI says it."""
        await self._app(scope, receive, send)

    async def _swaps(self, request: Request) -> Response:
        wanted, limit = _asked(request, _LISTS)
        return self._list(wanted, limit)

    async def _stuck(self, request: Request) -> Response:
        wanted, limit = _asked(request, ("host", "project"))
        return self._list(Wanted(hosts=wanted.hosts, projects=wanted.projects, states=(SwapState.STUCK,)), limit)

    def _list(self, wanted: Wanted, limit: int) -> Response:
        now = self.feed.clock.utcnow()
        swaps = [told(swap, now) for _, swap in self.feed.swaps(wanted, limit)]
        return _json({"now": now, "counts": self.feed.counts(), "swaps": swaps})

    async def _swap(self, request: Request) -> Response:
        request_id = request.path_params["request_id"]
        swaps = [swap for swap in await self._attempts(request_id) if self.feed.shows(swap)]
        if not swaps:
            return _json({"error": "no swap of this request was seen"}, 404)
        now = self.feed.clock.utcnow()
        *others, newest = (told(swap, now) for swap in swaps)
        return _json({**newest, "others": others})

    async def _attempts(self, request_id: str) -> list[Swap]:
        """Return the attempts of a request, the newest last: from the history, too, if it can be read."""
        try:
            return await self.feed.tracker.history(request_id=request_id, limit=_ATTEMPTS)
        except (OSError, RuntimeError):
            found = self.feed.tracker.get(request_id)
            return [] if found is None else [found]

    async def _events(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        stream = self.feed.stream()
        if stream is None:
            return _json({"error": _FULL}, 503, {"retry-after": "10"})
        return _Events(stream, self.feed)

    async def _live(self, request: Request) -> Response:
        return _json({"live": True})

    async def _ready(self, request: Request) -> Response:
        reasons = self.feed.deaf()
        if not request.scope[ALLOWED]:  # the name of a host is not for everybody
            reasons = tuple(reason.partition(":")[0] for reason in reasons)
        return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def _show_metrics(self, request: Request) -> Response:
        if self._metrics is None:
            return Response(f"{_NO_METRICS}\n", 501, media_type="text/plain")
        body, media_type = self._metrics(self.feed)
        return Response(body, headers={"content-type": media_type})

    async def _show_page(self, path: str, request: Request) -> Response:
        return Response(self._page[path], headers={"content-type": _PAGE[path][1]})


class _Events(StreamingResponse):
    """Gives its stream back, whatever happens."""

    def __init__(self, stream: Stream, feed: Feed) -> None:
        super().__init__(_chunks(stream), headers={"x-accel-buffering": "no"}, media_type="text/event-stream")
        self._stream = stream
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._feed.close(self._stream)


async def _chunks(stream: Stream) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    async for chunk in stream:
        yield chunk


def _asked(request: Request, lists: tuple[str, ...]) -> tuple[Wanted, int]:
    """Return what a request asks for.

    Raises:
        HTTPException: it asks for something else.
    """
    query = request.query_params
    if unknown := query.keys() - {*lists, _SINGLE}:
        raise HTTPException(400, f"no parameter {', '.join(sorted(unknown))}: there are {', '.join((*lists, _SINGLE))}")
    states = query.getlist("state")
    if not set(states) <= set(SwapState):
        raise HTTPException(400, f"a state is one of {', '.join(SwapState)}")
    text = query.get(_SINGLE, str(_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= _MOST):
        raise HTTPException(400, f"limit is a number from 1 to {_MOST}")
    return Wanted(hosts=query.getlist("host"), states=states, projects=query.getlist("project")), int(text)


def _json(value: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(as_json(value), status, headers, media_type="application/json")


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _json({"error": error.detail}, error.status_code, dict(error.headers or {}))
