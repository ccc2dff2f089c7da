"""Prometheus: a hook that counts operations, and asks emitters, consumers and trackers how they are at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aioswap.clock import Clock
from aioswap.health import ConsumerHealth, EmitterHealth, TrackerHealth
from aioswap.hooks import Operation, OperationKind
from aioswap.wire.events import volume_swap

__all__ = ["PrometheusHook", "Watched"]

Health: TypeAlias = EmitterHealth | ConsumerHealth | TrackerHealth

_KNOWN: Final = frozenset((volume_swap.start.name, volume_swap.end.name, volume_swap.error.name, "compute.exception"))
_OTHER: Final = "other"
_CUT_OFF: Final = "cut_off"
_HANDLER_SECONDS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 1, 5, 20, 60, 300, 600)
_SWAP_SECONDS: Final = (0.1, 1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_TRIES: Final = 5


class Watched(Protocol):
    """What a hook can watch: an `Emitter`, a `Consumer`, a `SwapTracker`."""

    def health(self) -> Health:
        """Return how it is now. Cheap."""
        ...


class PrometheusHook:
    """Counts operations in a registry; its gauges are read from what it watches, when somebody scrapes.

    Give it to the `hooks` of emitters, consumers and trackers, and `watch` them. Labels are few and bounded: event types that
    are not known count as `other`, and nothing else of the wire becomes a label. `docs/guides/telemetry.md` lists the metrics.

    A scrape may come from another thread, as that of `prometheus_client.start_http_server`: give that an `addr`, for it
    listens everywhere by default.

    Args:
        registry: where the metrics go; None: a new one. Two hooks can't share one.
        event_types: others to tell apart, beside those of swaps and `compute.exception`.
        clock: measures handlers and swaps; tests give their own.

    Raises:
        ValueError: the registry has metrics of these names already.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        event_types: Iterable[str] = (),
        clock: Clock | None = None,
    ) -> None:
        self.registry: CollectorRegistry = CollectorRegistry() if registry is None else registry
        """What `prometheus_client.generate_latest` writes."""
        self._event_types = _KNOWN | frozenset(event_types)
        self._now = (clock or Clock()).monotonic
        self._watched: list[Watched] = []

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"aioswap_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, label: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"aioswap_{name}_seconds", text, (label,), buckets=buckets, registry=self.registry)

        self._emitted = counter("emitted", "Notifications, by what became of telling them.", "event_type", "outcome")
        self._published = counter("published", "Answers of the broker to messages that were sent.", "outcome")
        self._received = counter("received", "Deliveries that were parsed.", "event_type", "outcome")
        self._handled = counter("handled", "Runs of handlers.", "event_type", "outcome")
        self._retried = counter("retried", "Deliveries that will come again.", "event_type")
        self._dead_letters = counter("dead_letters", "Deliveries that became dead letters.", "event_type")
        self._handlers = histogram("handler_duration", "Runs of handlers.", "handler", _HANDLER_SECONDS)
        self._swaps = histogram("swap_duration", "Swaps that this process performed.", "outcome", _SWAP_SECONDS)
        self._tracked = counter("tracked_swaps", "Swaps that a tracker saw end.", "outcome")
        self._tracked_seconds = histogram(
            "tracked_swap_duration", "Tracked swaps, by their publishers' clocks.", "outcome", _SWAP_SECONDS
        )
        self.registry.register(_Scrape(self._watched))

    def watch(self, *watched: Watched) -> None:
        """Read these at each scrape, as long as this hook lives. The same one twice counts once."""
        for each in watched:
            if each not in self._watched:
                self._watched.append(each)

    def started(self, operation: Operation, /) -> None:
        """Note the time, where it is measured."""
        if operation.kind in (OperationKind.HANDLE, OperationKind.SWAP):
            operation.notes[self] = self._now()

    def finished(self, operation: Operation, /) -> None:
        """Count."""
        event_type = operation.event_type if operation.event_type in self._event_types else _OTHER
        outcome = operation.outcome or _CUT_OFF
        match operation.kind:
            case OperationKind.EMIT:
                self._emitted.labels(event_type, outcome).inc()
            case OperationKind.PUBLISH:
                self._published.labels(outcome).inc()
            case OperationKind.RECEIVE:
                self._received.labels(event_type, outcome).inc()
            case OperationKind.HANDLE:
                self._handled.labels(event_type, outcome).inc()
                self._handlers.labels(operation.handler).observe(self._now() - operation.notes.pop(self))
            case OperationKind.SETTLE if outcome == "retry":
                self._retried.labels(event_type).inc()
            case OperationKind.SETTLE if outcome == "reject":
                self._dead_letters.labels(event_type).inc()
            case OperationKind.SWAP:
                self._swaps.labels(outcome).observe(self._now() - operation.notes.pop(self))
            case OperationKind.TRACK:
                self._tracked.labels(outcome).inc()
                if operation.seconds is not None:
                    self._tracked_seconds.labels(outcome).observe(operation.seconds)
            case _:
                pass


class _Scrape(Collector):
    """What is read when somebody scrapes: sums over all that is watched. Of a kind that is not watched there is nothing."""

    def __init__(self, watched: list[Watched]) -> None:
        self._watched = watched

    def describe(self) -> Iterable[Metric]:
        """Return the families without a value: by their names a registry refuses a second hook."""
        return (
            *_outbox([EmitterHealth()]),
            *_queues([ConsumerHealth()]),
            *_tracked([TrackerHealth()]),
            *_skipped([ConsumerHealth()]),
        )

    def collect(self) -> Iterator[Metric]:
        """Ask everybody that is watched."""
        healths = [_asked(each.health) for each in tuple(self._watched)]
        yield from _outbox([health for health in healths if isinstance(health, EmitterHealth)])
        yield from _queues([health for health in healths if isinstance(health, ConsumerHealth)])
        yield from _tracked([health for health in healths if isinstance(health, TrackerHealth)])
        yield from _skipped([health for health in healths if not isinstance(health, EmitterHealth)])


def _asked(health: Callable[[], Health]) -> Health:
    """Ask, and ask again where the thread of the loop has changed a table in the middle of it."""
    for _ in range(_TRIES - 1):
        try:
            return health()
        except (RuntimeError, LookupError):  # RuntimeError: "changed size during iteration"
            continue
    return health()


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"aioswap_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"aioswap_{name}", text, value=value)


def _outbox(all_of: list[EmitterHealth]) -> Iterator[Metric]:
    if not all_of:
        return
    depth = sum(health.backlog for health in all_of)
    yield _gauge("outbox_messages", "Messages accepted, not yet confirmed and not parked.", depth)
    oldest = max(health.oldest_age for health in all_of)
    yield _gauge("outbox_oldest_age_seconds", "Age of the oldest message that is not confirmed.", oldest)
    parked = sum(health.parked for health in all_of)
    yield _gauge("outbox_parked_messages", "Messages that the broker refuses, kept aside.", parked)
    unsaved = sum(health.unsaved for health in all_of)
    yield _gauge("outbox_unsaved_messages", "Messages that would not survive this process, in an outbox of files.", unsaved)
    running = sum(health.running for health in all_of)
    yield _gauge("swaps_running", "Swaps of this process between their start and their end.", running)
    untold = sum(health.untold for health in all_of)
    yield _counter("untold_swaps", "Swaps that ran without any notification.", untold)
    lost = sum(health.lost_at_exit for health in all_of)
    yield _counter("lost_at_exit_messages", "Messages that an outbox of memory still held at its end.", lost)


def _queues(all_of: list[ConsumerHealth]) -> Iterator[Metric]:
    if not all_of:
        return
    in_flight = sum(health.in_flight for health in all_of)
    yield _gauge("deliveries_in_flight", "Deliveries not yet settled.", in_flight)
    depths = [health.queue_depth for health in all_of if health.queue_depth is not None]
    if depths:
        yield _gauge("queue_messages", "Messages ready in the consumers' queues when last seen.", sum(depths))


def _tracked(all_of: list[TrackerHealth]) -> Iterator[Metric]:
    if not all_of:
        return
    running = sum(health.running for health in all_of)
    yield _gauge("tracked_swaps_running", "Swaps that run, as trackers know. Stuck ones are not among them.", running)
    stuck = sum(health.stuck for health in all_of)
    yield _gauge("tracked_swaps_stuck", "Swaps that run for too long, as trackers know.", stuck)


def _skipped(all_of: list[ConsumerHealth | TrackerHealth]) -> Iterator[Metric]:
    if all_of:
        skipped = sum(health.skipped for health in all_of)
        yield _counter("skipped", "Foreign notifications, acknowledged.", skipped)
