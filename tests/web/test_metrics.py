"""What Prometheus reads is what the page shows."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from aioswap.tracker import SwapTracker
from tests.swap_kit import swap_event
from tests.tracker_kit import Air
from tests.web.kit import served
from tests.web.test_app import several


async def test_the_figures_are_those_of_the_list() -> None:
    air = Air()
    tracker = SwapTracker(air.transport, stuck_after=900, clock=air.clock)
    async with air.opened(), tracker, served(tracker, clock=air.clock) as site, site.events():
        await several(air)
        await air.say(swap_event("start", 905, request_id="another"))
        answer, counts = await site.ask("/metrics"), (await site.ask("/swaps")).told["counts"]
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    swaps = {sample.labels["state"]: sample.value for sample in families["aioswap_status_swaps"].samples}

    assert 200 == answer.status
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert {"running": 2, "succeeded": 1, "failed": 1, "stuck": 1} == counts == swaps
    assert (1, 1) == tuple(families[f"aioswap_status_{name}"].samples[0].value for name in ("ready", "streams"))
    assert (0, 0) == tuple(families[f"aioswap_status_{name}"].samples[0].value for name in ("unreadable", "history_lost"))
