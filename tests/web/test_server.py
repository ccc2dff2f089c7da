"""The server: where it listens, what it bounds, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator

import pytest

from aioswap.tracker import SwapTracker
from aioswap.web.server import is_loopback, listen_at, parse_address, url_of
from tests.swap_kit import swap_event
from tests.tracker_kit import Air, until
from tests.web.kit import Site, hang_up, served


@pytest.fixture
async def air() -> AsyncIterator[Air]:
    air = Air()
    async with air.opened():
        yield air


@pytest.fixture
async def site(air: Air) -> AsyncIterator[Site]:
    tracker = SwapTracker(air.transport, clock=air.clock)
    async with tracker, served(tracker, clock=air.clock) as site:
        yield site


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:1", ("localhost", 1)),
        ("status.example:65535", ("status.example", 65_535)),
    ],
)
def test_an_address_has_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert address == parse_address(text)


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:80", "[::1]", "a b:1", "a:-1"]
)
def test_what_is_no_address_says_how_one_looks(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 127\.0\.0\.1:8080 or \[::1\]:8080"):
        parse_address(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.evil.example", False),
        ("::ffff:10.0.0.1", False),
    ],
)
def test_loopback_is_what_nobody_else_reaches(host: str, loopback: bool) -> None:
    assert loopback is is_loopback(host)


def test_a_socket_says_where_it_is() -> None:
    with listen_at("127.0.0.1", 0) as four, listen_at("::1", 0) as six:
        urls = url_of(four), url_of(six)
        ports = four.getsockname()[1], six.getsockname()[1]

    assert (f"http://127.0.0.1:{ports[0]}/", f"http://[::1]:{ports[1]}/") == urls


def test_an_address_in_use_is_named() -> None:
    with listen_at("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"can't listen at 127.0.0.1 port {port}: Address already in use"):
            listen_at("127.0.0.1", port)


async def test_it_ends_with_streams_open_and_takes_nobody_any_more(air: Air) -> None:
    tracker = SwapTracker(air.transport, clock=air.clock)
    async with tracker, served(tracker, clock=air.clock) as site:
        async with site.events() as events, site.events() as other:
            await events.until("snapshot")
            await other.until("snapshot")
            site.serving.cancel()
            ended = [await events.ended(), await other.ended()]
            await asyncio.wait({site.serving})
        with pytest.raises(ConnectionRefusedError):
            await site.ask("/live")

    assert [b"", b""] == ended
    assert site.serving.cancelled()


async def test_it_leaves_signals_to_the_program(air: Air) -> None:
    def handlers() -> list[object]:
        return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    before = handlers()
    async with served(SwapTracker(air.transport, clock=air.clock), clock=air.clock) as site:
        await site.ask("/live")
        meanwhile = handlers()

    assert before == meanwhile


async def test_a_reader_who_takes_nothing_is_cut_off_by_the_kernel(air: Air) -> None:
    tracker = SwapTracker(air.transport, clock=air.clock)
    async with tracker, served(tracker, clock=air.clock, stalled=0.5) as site:
        with socket.socket() as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            stalled.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(stalled, ("127.0.0.1", site.port))
            await loop.sock_sendall(stalled, f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
            await until(lambda: site.app.feed.streams)
            number = 0
            while site.app.feed.streams:  # it is given ever more, and reads nothing
                number += 1
                await air.say(swap_event("start", request_id=f"req-{number}", instance="x" * 900))
                await asyncio.to_thread(lambda: None)

    assert number > 100


async def test_a_connection_without_a_request_is_closed_and_a_stream_outlives_that(air: Air) -> None:
    tracker = SwapTracker(air.transport, clock=air.clock)
    async with tracker, served(tracker, clock=air.clock, request_wait=1) as site, site.events() as events:
        await events.until("snapshot")
        silent, talking, idle = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(3)]
        talking[1].write(b"GET /swaps HTTP/1.1\r\nX-Slow: ")
        idle[1].write(f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
        ended = await asyncio.gather(silent[0].read(), talking[0].read(), idle[0].read())
        for _, writer in (silent, talking, idle):
            await hang_up(writer)
        await air.say(swap_event("start"))
        told = await events.until("swap")

    assert (b"", b"") == (ended[0], ended[1])
    assert ended[2].endswith(b'{"live":true}')
    assert "running" == told["swap"]["state"]


async def test_a_head_has_a_bound(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /swaps HTTP/1.1\r\nX-Long: " + b"x" * 60_000)
    answer = await reader.read()
    await hang_up(writer)

    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_what_is_asked_is_not_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await site.ask("/swaps?host=secret", authorization="Bearer secret")
        await site.ask("/nowhere/secret")

    assert "secret" not in caplog.text
