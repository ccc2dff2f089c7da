"""The figures of the page as Prometheus reads them. Needs the extra `prometheus`."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from aioswap.hooks.prometheus import PrometheusHook
from aioswap.web.app import Metrics
from aioswap.web.feed import Feed

__all__ = ["FeedCollector", "exposition"]


class FeedCollector(Collector):
    """Collects what a feed shows when it is asked: there is nothing to count beside it.

    Args:
        feed: it.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def collect(self) -> Iterable[Metric]:
        """Return the swaps by state, as `/swaps` counts them, and how well the tracker hears."""
        swaps = GaugeMetricFamily("aioswap_status_swaps", "Swaps that /swaps shows.", labels=("state",))
        for state, count in self._feed.counts().items():
            swaps.add_metric((state,), count)
        health = self._feed.tracker.health()
        yield swaps
        yield GaugeMetricFamily("aioswap_status_ready", "1: every swap is heard.", value=not self._feed.deaf())
        yield GaugeMetricFamily("aioswap_status_streams", "Open event streams.", value=self._feed.streams)
        yield CounterMetricFamily("aioswap_status_unreadable", "Deliveries that could not be read.", value=health.unreadable)
        yield CounterMetricFamily("aioswap_status_history_lost", "Changes that the history never got.", value=health.lost)


def exposition(*hooks: PrometheusHook) -> Metrics:
    """Return what makes the answer of `/metrics`: what a feed shows, and what hooks have counted; they watch its tracker.

    A hook counts the swaps of all projects: give none where one project's are shown.
    """

    def exposed(feed: Feed) -> tuple[bytes, str]:
        own = CollectorRegistry()
        own.register(FeedCollector(feed))
        for hook in hooks:
            hook.watch(feed.tracker)  # again and again counts once
        return b"".join(map(generate_latest, (own, *(hook.registry for hook in hooks)))), CONTENT_TYPE_LATEST

    return exposed
