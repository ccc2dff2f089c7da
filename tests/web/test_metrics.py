"""What Prometheus reads is what the page shows."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from aioswap.hooks.prometheus import PrometheusHook
from aioswap.tracker import SwapTracker
from aioswap.web.metrics import exposition
from tests.swap_kit import swap_event
from tests.tracker_kit import Air
from tests.web.kit import Answer, served
from tests.web.test_app import several


def read(answer: Answer) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(answer.body.decode())}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """Return the sum of the samples of a family that have these labels."""
    samples = [sample for sample in families[name].samples if not sample.name.endswith("_created")]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


async def test_the_figures_are_those_of_the_list() -> None:
    air = Air()
    tracker = SwapTracker(air.transport, stuck_after=900, clock=air.clock)
    async with air.opened(), tracker, served(tracker, clock=air.clock) as site, site.events():
        await several(air)
        await air.say(swap_event("start", 905, request_id="another"))
        answer, counts = await site.ask("/metrics"), (await site.ask("/swaps")).told["counts"]
    families = read(answer)

    assert 200 == answer.status
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert {"running": 2, "succeeded": 1, "failed": 1, "stuck": 1} == counts
    assert counts == {state: value(families, "aioswap_status_swaps", state=state) for state in counts}
    assert (1, 1) == (value(families, "aioswap_status_ready"), value(families, "aioswap_status_streams"))
    assert (0, 0) == (value(families, "aioswap_status_unreadable"), value(families, "aioswap_status_history_lost"))


async def test_what_a_hook_counts_agrees_with_the_list() -> None:
    air, hook = Air(), PrometheusHook()
    tracker = SwapTracker(air.transport, stuck_after=900, clock=air.clock, hooks=[hook])
    async with air.opened(), tracker, served(tracker, metrics=exposition(hook), clock=air.clock) as site:
        await several(air)
        families, counts = read(await site.ask("/metrics")), (await site.ask("/swaps")).told["counts"]
        again = read(await site.ask("/metrics"))

    assert counts == {
        "running": value(families, "aioswap_tracked_swaps_running"),
        "stuck": value(families, "aioswap_tracked_swaps_stuck"),
        "succeeded": value(families, "aioswap_tracked_swaps", outcome="succeeded"),
        "failed": value(families, "aioswap_tracked_swaps", outcome="failed"),
    }
    assert 1 == value(again, "aioswap_tracked_swaps_running")


async def test_while_the_tracker_is_deaf_it_is_not_ready() -> None:
    air = Air()
    tracker = SwapTracker(air.transport, clock=air.clock)
    async with air.opened(), tracker, served(tracker, clock=air.clock) as site:
        air.transport.lose()
        await air.clock.advance(0)
        families = read(await site.ask("/metrics"))

    assert 0 == value(families, "aioswap_status_ready")
