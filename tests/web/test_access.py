"""Who may read, and what browsers are told to do with it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest

from aioswap.tracker import SwapTracker
from aioswap.web.access import LOOPBACK, Access
from tests.swap_kit import swap_event
from tests.tracker_kit import Air
from tests.web.kit import Site, served

TOKEN = "sesame-sesame-sesame"
PATHS = ("/", "/page.js", "/swaps", "/swaps/stuck", "/swaps/req-1", "/events", "/metrics", "/nowhere")


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.fixture
async def air() -> AsyncIterator[Air]:
    air = Air()
    async with air.opened():
        yield air


@pytest.fixture
async def locked(air: Air) -> AsyncIterator[Site]:
    tracker = SwapTracker(air.transport, clock=air.clock)
    async with tracker, served(tracker, Access(token=TOKEN), clock=air.clock) as site:
        await air.say(swap_event("start"))
        yield site


@pytest.fixture
async def site(air: Air) -> AsyncIterator[Site]:
    tracker = SwapTracker(air.transport, clock=air.clock)
    async with tracker, served(tracker, clock=air.clock) as site:
        yield site


WRONG = (
    "",
    TOKEN,
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN[:-1]}",
    "Bearer",
    "Bearer \xff",
    "Basic",
    "Basic %%%",
    basic("a", "b"),
    basic(TOKEN, ""),
)


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_told_without_the_token(path: str, locked: Site) -> None:
    answers = [await locked.ask(path, authorization=authorization) for authorization in WRONG]

    assert {(401, "the token is missing or wrong")} == {(answer.status, answer.told["error"]) for answer in answers}
    assert {'Basic realm="aioswap", charset="UTF-8"'} == {answer.headers["www-authenticate"] for answer in answers}


@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", f"bearer  {TOKEN} ", basic("", TOKEN), basic("anybody", TOKEN)])
async def test_the_token_opens_as_bearer_and_as_anybodys_password(authorization: str, locked: Site) -> None:
    answer = await locked.ask("/swaps", authorization=authorization)

    assert (200, 1) == (answer.status, len(answer.told["swaps"]))


async def test_probes_need_no_token_and_are_told_no_names(air: Air, locked: Site) -> None:
    air.transport.lose()
    await air.clock.advance(0)
    opened = await locked.ask("/ready", authorization=f"Bearer {TOKEN}")
    ready, live = await locked.ask("/ready", host="10.0.0.7"), await locked.ask("/live")

    assert (503, ["connection 1 of 1 to RabbitMQ is away"]) == (ready.status, ready.told["reasons"])
    assert opened.told["reasons"][0].startswith("connection 1 of 1 to RabbitMQ is away: ")
    assert (200, {"live": True}) == (live.status, live.told)


@pytest.mark.parametrize("path", ["/", "/swaps", "/live", "/ready", "/metrics"])
async def test_nothing_can_be_changed(path: str, site: Site) -> None:
    methods = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW")
    answers = [await site.ask(path, method) for method in methods]

    assert {(405, "GET, HEAD")} == {(answer.status, answer.headers["allow"]) for answer in answers}


@pytest.mark.parametrize("path", ["/", "/swaps", "/live", "/ready", "/metrics", "/events"])
async def test_head_has_the_headers_alone(path: str, site: Site) -> None:
    answer = await site.ask(path, "HEAD")

    assert (200, b"") == (answer.status, answer.body)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "127.0.0.1:x", "[::1", "a:b:c"]
)
async def test_a_page_of_another_name_that_leads_here_learns_nothing(host: str, site: Site) -> None:
    answer = await site.ask("/swaps", host=host)

    assert (403, {"error": "this is not served under that name: see --allow-host"}) == (answer.status, answer.told)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:8080", "localhost."])
async def test_the_names_of_loopback_are_known(host: str, site: Site) -> None:
    assert 200 == (await site.ask("/swaps", host=host)).status


async def test_another_sites_page_may_lead_here_but_not_read(site: Site) -> None:
    reading = await site.ask("/events", sec_fetch_site="cross-site", sec_fetch_mode="no-cors")
    leading = await site.ask("/", sec_fetch_site="cross-site", sec_fetch_mode="navigate")
    own = await site.ask("/swaps", sec_fetch_site="same-origin", sec_fetch_mode="cors")

    assert (403, 200, 200) == (reading.status, leading.status, own.status)


@pytest.mark.parametrize("path", [*PATHS[:5], "/metrics", "/nowhere", "/live"])
async def test_every_answer_is_safe_for_browsers(path: str, site: Site) -> None:
    headers = (await site.ask(path)).headers

    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert ("nosniff", "no-referrer", "no-store") == tuple(
        headers[name] for name in ("x-content-type-options", "referrer-policy", "cache-control")
    )
    assert not headers.keys() & {"server", "access-control-allow-origin", "set-cookie"}


@pytest.mark.parametrize("token", ["", "short", "with space in the middle", "ä" * 20, "x" * 513, "line\nline\nline\nline"])
def test_a_weak_or_odd_token_is_refused_and_never_shown(token: str) -> None:
    with pytest.raises(ValueError, match="a token has 16 to 512 printable ASCII characters") as refused:
        Access(token=token)

    assert token == "" or token not in str(refused.value)


def test_the_token_is_in_no_repr() -> None:
    assert "sesame" not in repr(Access(token=TOKEN))


def test_any_name_is_known_where_none_is_told() -> None:
    assert [True, False] == [Access(hosts=hosts).knows_host("any.example") for hosts in (None, LOOPBACK)]
