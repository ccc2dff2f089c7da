"""What is answered to whom asks how."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from aioswap.tracker import SwapTracker
from aioswap.tracking.fields import FIELDS
from aioswap.web.access import Access
from aioswap.web.app import StatusApp
from aioswap.web.server import listen_at, serve
from tests.swap_kit import fault, swap_event
from tests.tracker_kit import Air, until
from tests.web.kit import Site, served


@pytest.fixture
async def air() -> AsyncIterator[Air]:
    air = Air()
    async with air.opened():
        yield air


@pytest.fixture
async def site(air: Air) -> AsyncIterator[Site]:
    tracker = SwapTracker(air.transport, stuck_after=900, clock=air.clock)
    async with tracker, served(tracker, clock=air.clock) as site:
        yield site


async def several(air: Air) -> None:
    """Let swaps run, succeed, fail and be stuck, on two hosts, of two projects."""
    await air.say(swap_event("start", request_id="req-stuck", publisher="nova-compute:one", instance="i"))
    await air.clock.advance(900)
    await air.say(
        swap_event("start", 900, request_id="req-running", publisher="nova-compute:two", instance="j"),
        swap_event("start", 900, request_id="req-good", publisher="nova-compute:one", instance="i"),
        swap_event("end", 903, request_id="req-good", publisher="nova-compute:one", instance="i"),
        swap_event("error", 904, request_id="req-bad", publisher="nova-compute:two", instance="j"),
    )


def ids(told: Any) -> set[str]:
    return {swap["request_id"] for swap in told["swaps"]}


async def test_swaps_are_told_with_every_field_the_newest_last(air: Air, site: Site) -> None:
    await several(air)
    answer = await site.ask("/swaps")
    swaps = answer.told["swaps"]

    assert (200, "application/json") == (answer.status, answer.headers["content-type"])
    assert ["stuck", "running", "succeeded", "failed"] == [swap["state"] for swap in swaps]
    assert all(FIELDS == tuple(swap) for swap in swaps)
    assert {"running": 1, "succeeded": 1, "failed": 1, "stuck": 1} == answer.told["counts"]
    assert "2026-01-01T00:15:00+00:00" == answer.told["now"]
    assert (900.0, 3.0, "VolumeNotFound: no valid connector") == (
        swaps[0]["running_for"],
        swaps[2]["duration"],
        swaps[3]["fault"],
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("host=one", {"req-stuck", "req-good"}),
        ("host=one&host=two&state=failed", {"req-bad"}),
        ("state=running&state=succeeded", {"req-running", "req-good"}),
        ("project=project%20of%20j", {"req-running", "req-bad"}),
        ("host=nowhere", set()),
        ("limit=1", {"req-running"}),
    ],
)
async def test_parameters_choose_what_is_told(query: str, found: set[str], air: Air, site: Site) -> None:
    await several(air)

    assert found == ids((await site.ask(f"/swaps?{query}")).told)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("limit=0", "limit is a number from 1 to 1000"),
        ("limit=1001", "limit is a number from 1 to 1000"),
        ("limit=99999999999999999999", "limit is a number from 1 to 1000"),
        ("limit=%C2%B2", "limit is a number from 1 to 1000"),
        ("limit=-1", "limit is a number from 1 to 1000"),
        ("state=odd", "a state is one of running, succeeded, failed, stuck"),
        ("hosts=one", "no parameter hosts: there are host, state, project, limit"),
    ],
)
async def test_what_cannot_be_asked_is_400(query: str, reason: str, site: Site) -> None:
    answer = await site.ask(f"/swaps?{query}")

    assert (400, {"error": reason}) == (answer.status, answer.told)


async def test_stuck_swaps_have_a_path(air: Air, site: Site) -> None:
    await several(air)

    assert {"req-stuck"} == ids((await site.ask("/swaps/stuck")).told)
    assert set() == ids((await site.ask("/swaps/stuck?host=two")).told)
    assert 400 == (await site.ask("/swaps/stuck?state=failed")).status


async def test_a_request_is_answered_with_its_newest_swap_and_the_others(air: Air, site: Site) -> None:
    await air.say(swap_event("start", instance="i"), swap_event("end", 1, instance="i"), swap_event("start", 2, instance="j"))
    told = (await site.ask("/swaps/req-1")).told

    assert ("j", "running", ["i"]) == (told["instance"], told["state"], [other["instance"] for other in told["others"]])


async def test_a_request_id_may_hold_anything(air: Air, site: Site) -> None:
    await air.say(swap_event("start", request_id="a/b?c é"))

    assert "a/b?c é" == (await site.ask("/swaps/a/b%3Fc%20%C3%A9")).told["request_id"]


@pytest.mark.parametrize("path", ["/swaps/req-none", "/nowhere", "/swaps/", "/page.css/x", "/../page.js", "/static/page.js"])
async def test_what_is_not_there_is_404(path: str, site: Site) -> None:
    answer = await site.ask(path)

    assert (404, ["error"]) == (answer.status, list(answer.told))


async def test_what_memory_has_forgotten_is_told_from_the_history(air: Air, tmp_path: Path) -> None:
    tracker = SwapTracker(air.transport, history=tmp_path / "swaps.db", keep=1, clock=air.clock)
    async with tracker, served(tracker, clock=air.clock) as site:
        await air.say(swap_event("end", request_id="req-1"), swap_event("end", request_id="req-2"))
        forgotten = tracker.get("req-1")
        answer = await site.ask("/swaps/req-1")

    assert (None, 200, "succeeded") == (forgotten, answer.status, answer.told["state"])


async def test_without_a_history_that_can_be_read_memory_answers(air: Air, tmp_path: Path) -> None:
    class Broken(SwapTracker):
        async def history(self, **criteria: Any) -> Any:
            raise OSError("the disk has gone")

    tracker = Broken(air.transport, clock=air.clock)
    async with tracker, served(tracker, clock=air.clock) as site:
        await air.say(swap_event("start"))
        answers = [(await site.ask(f"/swaps/{request_id}")).status for request_id in ("req-1", "req-2")]
        listed = ids((await site.ask("/swaps")).told)

    assert ([200, 404], {"req-1"}) == (answers, listed)


async def test_a_site_of_one_project_shows_nothing_of_others(air: Air) -> None:
    tracker = SwapTracker(air.transport, stuck_after=900, clock=air.clock)
    async with tracker, served(tracker, project="project of i", clock=air.clock) as site:
        async with site.events() as events:
            await events.until("snapshot")
            await several(air)
            heard = [(await events.until("swap"))["swap"]["request_id"] for _ in range(4)]
        listed, other = (await site.ask("/swaps")).told, await site.ask("/swaps/req-bad")
        asked = (await site.ask("/swaps?project=project%20of%20j")).told
        own, stuck = await site.ask("/swaps/req-good"), (await site.ask("/swaps/stuck")).told
        metrics = (await site.ask("/metrics")).body.decode()
        async with site.events() as events:
            snapshot = await events.until("snapshot")

    assert ["req-stuck", "req-stuck", "req-good", "req-good"] == heard
    assert {"req-stuck", "req-good"} == ids(listed) == ids(snapshot)
    assert (404, 200, set(), {"req-stuck"}) == (other.status, own.status, ids(asked), ids(stuck))
    assert 'aioswap_status_swaps{state="failed"} 0.0' in metrics
    assert {"running": 0, "succeeded": 1, "failed": 0, "stuck": 1} == listed["counts"] == snapshot["counts"]


async def test_secrets_in_faults_and_the_request_context_are_never_told(air: Air, site: Site) -> None:
    error = swap_event("error")
    payload = error.payload.model_copy(update={"fault": fault("it said password=sesame")})
    context = {**error.context, "auth_token": "sesame", "user_id": "sesame"}
    object.__setattr__(error, "payload", payload)
    object.__setattr__(error, "context", context)
    await air.say(error)
    async with site.events() as events:
        snapshot = str(await events.until("snapshot"))
    told = [(await site.ask(path)).body.decode() for path in ("/swaps", "/swaps/req-1", "/metrics")]

    assert "password=***" in snapshot
    assert not [text for text in (snapshot, *told) if "sesame" in text]


async def test_it_is_ready_while_the_tracker_hears_and_live_always(air: Air) -> None:
    tracker = SwapTracker(air.transport, clock=air.clock)
    told = []
    async with served(tracker, clock=air.clock) as site:
        told.append(await site.ask("/ready"))
        async with tracker:
            await air.clock.advance(1)
            told.append(await site.ask("/ready"))
            air.transport.lose()
            await air.clock.advance(0)
            told.append(await site.ask("/ready"))
            air.transport.restore()
            await air.clock.advance(60)
            told.append(await site.ask("/ready"))
        await until(lambda: site.app.feed.deaf())
        told.append(await site.ask("/ready"))
        live = await site.ask("/live")

    assert [503, 200, 503, 200, 503] == [answer.status for answer in told]
    assert ["the tracker is not open"] == told[0].told["reasons"] == told[4].told["reasons"]
    assert {"ready": True, "reasons": []} == told[1].told
    assert "connection 1 of 1 to RabbitMQ is away" in told[2].told["reasons"][0]
    assert 200 == live.status


async def test_the_page_brings_all_that_it_needs(site: Site) -> None:
    page = await site.ask("/")
    parts = {path: await site.ask(path) for path in ("/page.css", "/page.js", "/icon.svg")}

    assert (200, "text/html; charset=utf-8") == (page.status, page.headers["content-type"])
    assert [200, 200, 200] == [part.status for part in parts.values()]
    assert ["text/css; charset=utf-8", "text/javascript; charset=utf-8", "image/svg+xml"] == [
        part.headers["content-type"] for part in parts.values()
    ]
    assert {"page.css", "page.js", "icon.svg", "#swaps", "swaps"} == set(
        re.findall(r'(?:src|href)="([^"]*)"', page.body.decode())
    )
    assert b"url(" not in parts["/page.css"].body
    assert b"http" not in parts["/page.js"].body


async def test_the_page_puts_in_text_alone() -> None:
    code = (Path(__file__).parents[2] / "aioswap" / "web" / "static" / "page.js").read_text()

    assert [] == [
        way for way in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(") if way in code
    ]


async def test_without_its_extra_metrics_say_what_to_install(air: Air) -> None:
    tracker = SwapTracker(air.transport, clock=air.clock)
    async with tracker, served(tracker, metrics=None, clock=air.clock) as site:
        answer = await site.ask("/metrics")

    assert (501, b"metrics need the extra prometheus: pip install 'aioswap[prometheus]'\n") == (answer.status, answer.body)


async def test_opened_twice_is_misuse_and_closed_it_can_be_opened_again(air: Air) -> None:
    app = StatusApp(SwapTracker(air.transport, clock=air.clock), clock=air.clock)
    async with app:
        with pytest.raises(RuntimeError, match="this status app is open already"):
            await app.__aenter__()
    async with app:
        pass
    with pytest.raises(RuntimeError, match="this status app is not open"):
        await app.__aexit__()


async def test_it_can_be_mounted_in_another_application(air: Air) -> None:
    tracker = SwapTracker(air.transport, clock=air.clock)
    app = StatusApp(tracker, Access(token="sesame-sesame-sesame"), clock=air.clock)
    outer: Any = Starlette(routes=[Mount("/status", app)])
    with listen_at("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        async with tracker, app:
            outer.feed = app.feed
            site = Site(app, port, asyncio.create_task(serve(outer, listening)))
            paths = ("/status/", "/status/page.js", "/status/swaps", "/status/live", "/live", "/status")
            codes = [(await site.ask(path, authorization="Bearer sesame-sesame-sesame")).status for path in paths]
            probe, refused = await site.ask("/status/ready"), await site.ask("/status/swaps")
            site.serving.cancel()
            await asyncio.wait({site.serving})

    assert [200, 200, 200, 200, 404, 307] == codes
    assert (200, 401) == (probe.status, refused.status)


async def test_what_is_no_http_is_left_unanswered(air: Air) -> None:
    app = StatusApp(SwapTracker(air.transport, clock=air.clock), clock=air.clock)
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "websocket", "path": "/events", "headers": []}, receive, send)

    assert [] == sent
