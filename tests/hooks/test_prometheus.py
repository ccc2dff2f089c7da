"""What a scrape shows is what happened."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from aioswap.consumer import Consumer
from aioswap.dead_letters import DeadLetters
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.health import ConsumerHealth, EmitterHealth, TrackerHealth
from aioswap.hooks import Operation, OperationKind
from aioswap.hooks.prometheus import PrometheusHook
from aioswap.outbox import MemoryOutbox
from aioswap.outcomes import Reject, Retry
from aioswap.testing import ManualClock
from aioswap.tracker import SwapTracker
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.events import volume_swap
from tests.consumer_kit import DEADLINE, END, ERROR, FLAVOR, START, Bus, Script, notification_body, until
from tests.transports.driver import until as eventually


def scraped(hook: PrometheusHook) -> dict[str, float]:
    """Return what a scrape shows: each sample by its name and labels; no buckets, no moments of creation."""
    text = generate_latest(hook.registry).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        " ".join([sample.name.removeprefix("aioswap_"), *sample.labels.values()]): sample.value
        for sample in samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


def of(samples: Mapping[str, float], *names: str) -> dict[str, float]:
    """Return the samples whose names begin so."""
    return {name: value for name, value in samples.items() if name.startswith(names)}


async def swap(emitter: Emitter, number: int, error: BaseException | None = None) -> None:
    """Perform a swap that ends so."""
    with suppress(OSError, asyncio.CancelledError):
        async with emitter.swapping(SwapRequest({"uuid": f"server-{number}"}, "old", f"new-{number}")):
            if error is not None:
                raise error


async def test_a_scrape_agrees_with_the_accounting_of_a_run() -> None:
    bus = Bus()
    hook = PrometheusHook(clock=bus.clock)
    outbox = MemoryOutbox()
    emitter = Emitter(
        bus.transport,
        host="c1",
        topics=("versioned_notifications", "nobody"),
        outbox=outbox,
        hooks=[hook],
        clock=bus.clock,
    )
    consumer = Consumer(bus.transport, "billing", hooks=[hook], clock=bus.clock)
    tracker = SwapTracker(bus.transport, hooks=[hook], clock=bus.clock)
    hook.watch(emitter, consumer, tracker)
    starts, ends, errors = Script(), Script(Retry(), KeyError("a slip"), None), Script(Reject("no"), None)
    for event_type, script in ((volume_swap.start, starts), (volume_swap.end, ends), (volume_swap.error, errors)):
        consumer.on(event_type, name=event_type.phase)(script.handle)

    async with bus.opened(), emitter, consumer.running(), tracker:
        for number, error in enumerate((None, None, None, None, OSError("full"), asyncio.CancelledError())):
            await swap(emitter, number, error)
        await until(lambda: consumer.health().dead_letters and consumer.health().retried == 2)
        late = notification_body(END, message_id="twice", instance="server-9")
        await bus.publish(late)
        await bus.publish(late)
        await bus.publish(notification_body(FLAVOR))
        await bus.publish(b"instance.volume_swap.end")
        await bus.clock.advance(70)
        await until(lambda: len(outbox.parked()) == 12)
        await until(lambda: not consumer.health().in_flight)
        seen = scraped(hook)
        dead = await DeadLetters(bus.transport, "billing").list()
        counts = outbox.counts()

    # who was told what, by those who were told
    assert (6, 7, 2) == (len(starts.heard), len(ends.heard), len(errors.heard))
    assert {f"handled_total {START} ack": 6, f"handled_total {END} ack": 5, f"handled_total {END} retry": 2} == of(
        seen, f"handled_total {START}", f"handled_total {END}"
    )
    assert {f"handled_total {ERROR} ack": 1, f"handled_total {ERROR} reject": 1} == of(seen, f"handled_total {ERROR}")
    assert {"start": 6, "end": 7, "error": 2} == {
        name: seen[f"handler_duration_seconds_count {name}"] for name in ("start", "end", "error")
    }
    # retries and dead letters, by the broker
    assert {f"retried_total {END}": 2} == of(seen, "retried")
    assert ["error: no"] == [letter.reason for letter in dead if letter.reason.startswith("error")]
    assert {f"dead_letters_total {ERROR}": 1, "dead_letters_total other": 1} == of(seen, "dead_letters")
    assert len(dead) == sum(of(seen, "dead_letters").values())
    # deliveries: six swaps twice, two retried copies, two of the late one; the tracker heard the first without the retries
    assert {
        f"received_total {START} wanted": 12,
        f"received_total {END} wanted": 12,
        f"received_total {END} duplicate": 1,
        f"received_total {END} skipped": 1,
        f"received_total {ERROR} wanted": 4,
        "received_total other unreadable": 2,
    } == of(seen, "received")
    assert {"skipped_total": consumer.health().skipped + tracker.health().skipped} == of(seen, "skipped")
    # the outbox: each notification to two topics, and nobody listens to the second
    assert {
        f"emitted_total {START} accepted": 6,
        f"emitted_total {END} accepted": 4,
        f"emitted_total {ERROR} accepted": 2,
    } == of(seen, "emitted")
    assert {"accepted": 24, "confirmed": 12, "parked": 12, "backlog": 0} == {
        name: getattr(counts, name) for name in ("accepted", "confirmed", "parked", "backlog")
    }
    assert (12, 12, 0, 0) == (
        seen["published_total confirmed"],
        seen["outbox_parked_messages"],
        seen["outbox_messages"],
        seen["outbox_oldest_age_seconds"],
    )
    assert seen["published_total returned"] >= 2
    # swaps, by the one who performed them and by the one who heard of them
    assert {"swap_duration_seconds_count succeeded": 4, "swap_duration_seconds_count failed": 2} == of(
        seen, "swap_duration_seconds_count"
    )
    assert {"tracked_swaps_total succeeded": 5, "tracked_swaps_total failed": 2} == of(seen, "tracked_swaps_total")
    assert {"tracked_swap_duration_seconds_count succeeded": 4, "tracked_swap_duration_seconds_count failed": 2} == of(
        seen, "tracked_swap_duration_seconds_count"
    )
    assert {"swaps_running": 0, "tracked_swaps_running": 0, "tracked_swaps_stuck": 0} == of(
        seen, "swaps_running", "tracked_swaps_running", "tracked_swaps_stuck"
    )


async def test_gauges_show_how_it_is_at_the_scrape() -> None:
    bus = Bus()
    hook = PrometheusHook(clock=bus.clock)
    emitter = Emitter(bus.transport, host="c1", hooks=[hook], clock=bus.clock)
    tracker = SwapTracker(bus.transport, stuck_after=100, clock=bus.clock)
    hook.watch(emitter, tracker, emitter)
    names = ("outbox_messages", "outbox_oldest_age_seconds", "swaps_running", "tracked_swaps_running", "tracked_swaps_stuck")

    def gauges() -> list[float]:
        seen = scraped(hook)
        return [seen[name] for name in names]

    async with bus.opened(), tracker, emitter:
        before = gauges()
        async with emitter.swapping(SwapRequest({"uuid": "1"}, "old", "new")):
            await until(lambda: tracker.health().running and not emitter.health().backlog)
            running = gauges()
            await bus.clock.advance(100)
            stuck = gauges()
            bus.transport.lose()
        await bus.clock.advance(7)
        kept = gauges()
        bus.transport.restore()
        await until(lambda: not emitter.health().backlog)
        await until(lambda: not tracker.health().stuck)
        after = gauges()

    assert [0, 0, 0, 0, 0] == before
    assert [0, 0, 1, 1, 0] == running
    assert [0, 0, 1, 0, 1] == stuck
    assert [1, 7, 0, 0, 1] == kept
    assert [0, 0, 0, 0, 0] == after


class _Says:
    """Something to watch that says what it is told to; first it fails a few times, as a table does that grows meanwhile."""

    def __init__(self, health: EmitterHealth | ConsumerHealth | TrackerHealth, *failures: Exception) -> None:
        self._health = health
        self._failures = list(failures)

    def health(self) -> EmitterHealth | ConsumerHealth | TrackerHealth:
        if self._failures:
            raise self._failures.pop()
        return self._health


def test_what_is_watched_is_summed_up_and_the_oldest_counts() -> None:
    hook = PrometheusHook()
    hook.watch(
        _Says(EmitterHealth(backlog=2, oldest_age=3.0, parked=1, unsaved=4, running=1, untold=5, lost_at_exit=6)),
        _Says(EmitterHealth(backlog=1, oldest_age=9.0, parked=1, unsaved=1, running=1, untold=1, lost_at_exit=1)),
        _Says(ConsumerHealth(skipped=7, in_flight=2, queue_depth=5)),
        _Says(ConsumerHealth(skipped=1, in_flight=1, queue_depth=None)),
        _Says(TrackerHealth(skipped=1, running=3, stuck=2)),
        _Says(TrackerHealth(running=1, stuck=1)),
    )
    assert {
        "outbox_messages": 3,
        "outbox_oldest_age_seconds": 9,
        "outbox_parked_messages": 2,
        "outbox_unsaved_messages": 5,
        "swaps_running": 2,
        "untold_swaps_total": 6,
        "lost_at_exit_messages_total": 7,
        "deliveries_in_flight": 3,
        "queue_messages": 5,
        "tracked_swaps_running": 4,
        "tracked_swaps_stuck": 3,
        "skipped_total": 9,
    } == scraped(hook)


def test_of_what_is_not_watched_and_not_known_nothing_is_shown() -> None:
    hook = PrometheusHook()
    nothing = scraped(hook)
    hook.watch(_Says(ConsumerHealth()))

    assert {} == nothing
    assert {"deliveries_in_flight": 0, "skipped_total": 0} == scraped(hook)


@pytest.mark.parametrize("error", [RuntimeError("dictionary changed size during iteration"), KeyError(7)])
def test_a_scrape_beside_the_loop_asks_again(error: Exception) -> None:
    patient, other = PrometheusHook(), PrometheusHook()
    patient.watch(_Says(TrackerHealth(stuck=1), *[error] * 4))
    other.watch(_Says(TrackerHealth(stuck=1), *[error] * 5))

    assert 1 == scraped(patient)["tracked_swaps_stuck"]
    with pytest.raises(type(error)):
        scraped(other)


async def test_a_scrape_may_come_from_another_thread() -> None:
    bus = Bus()
    hook = PrometheusHook(clock=bus.clock)
    tracker = SwapTracker(bus.transport, clock=bus.clock)
    emitter = Emitter(bus.transport, host="c1", hooks=[hook], clock=bus.clock)
    hook.watch(tracker, emitter)
    over = threading.Event()

    def scrape() -> int:
        scrapes = 0
        while not over.is_set() or not scrapes:
            scraped(hook)
            scrapes += 1
        return scrapes

    async with bus.opened(), tracker, emitter:
        scraping = asyncio.create_task(asyncio.to_thread(scrape))
        for number in range(100):
            await swap(emitter, number)
            await asyncio.sleep(0)
        over.set()
        scrapes = await scraping
        await until(lambda: scraped(hook).get("swap_duration_seconds_count succeeded") == 100)

    assert 0 < scrapes


def operation(kind: OperationKind, outcome: str = "", **known: Any) -> Operation:
    return Operation(kind=kind, outcome=outcome, **known)


def tell(hook: PrometheusHook, *operations: Operation) -> None:
    for each in operations:
        hook.started(each)
        hook.finished(each)


def test_event_types_that_nobody_asked_for_are_one_label() -> None:
    hook = PrometheusHook(event_types=["instance.delete.end"])
    names = (END, "compute.exception", "instance.delete.end", "instance.volume_swap.sideways", *(f"x.{n}" for n in range(999)))
    tell(hook, *(operation(OperationKind.RECEIVE, "wanted", event_type=name) for name in (*names, None)))

    assert {
        f"received_total {END} wanted": 1,
        "received_total compute.exception wanted": 1,
        "received_total instance.delete.end wanted": 1,
        "received_total other wanted": 1001,
    } == scraped(hook)


def test_what_is_cut_off_has_a_label_of_its_own() -> None:
    hook = PrometheusHook()
    tell(hook, operation(OperationKind.HANDLE, event_type=END, handler="page"), operation(OperationKind.SETTLE))

    assert {f"handled_total {END} cut_off": 1, "handler_duration_seconds_count page": 1} == {
        name: value for name, value in scraped(hook).items() if not name.startswith("handler_duration_seconds_sum")
    }


async def test_handlers_and_swaps_are_timed_by_the_clock() -> None:
    clock = ManualClock()
    hook = PrometheusHook(clock=clock)
    handling = operation(OperationKind.HANDLE, "ack", handler="page")
    swapping = operation(OperationKind.SWAP, "succeeded")
    hook.started(swapping)
    hook.started(handling)
    await clock.advance(30)
    hook.finished(handling)
    await clock.advance(70)
    hook.finished(swapping)
    tell(hook, operation(OperationKind.TRACK, "failed", seconds=5.5), operation(OperationKind.TRACK, "failed"))
    bucket = hook.registry.get_sample_value

    assert (30, 100, 5.5) == tuple(
        scraped(hook)[f"{name}_seconds_sum {label}"]
        for name, label in (
            ("handler_duration", "page"),
            ("swap_duration", "succeeded"),
            ("tracked_swap_duration", "failed"),
        )
    )
    assert 2 == scraped(hook)["tracked_swaps_total failed"]
    assert (0, 1) == tuple(
        bucket("aioswap_handler_duration_seconds_bucket", {"handler": "page", "le": le}) for le in ("20.0", "60.0")
    )


def test_a_registry_takes_one_hook() -> None:
    registry = CollectorRegistry()
    hook = PrometheusHook(registry)

    assert registry is hook.registry
    assert PrometheusHook().registry is not PrometheusHook().registry
    with pytest.raises(ValueError, match="aioswap_emitted"):
        PrometheusHook(registry)


def test_names_and_units_are_as_prometheus_wants_them() -> None:
    hook = PrometheusHook()
    hook.watch(_Says(EmitterHealth()), _Says(ConsumerHealth(queue_depth=0)), _Says(TrackerHealth()))
    families = list(hook.registry.collect())

    assert 22 == len(families)
    assert [] == [family.name for family in families if not (family.name.startswith("aioswap_") and family.documentation)]
    assert {"histogram"} == {family.type for family in families if "duration" in family.name}
    assert [] == [
        family.name
        for family in families
        if ("duration" in family.name or "age" in family.name.split("_")) and not family.name.endswith("_seconds")
    ]


def test_the_guide_lists_every_metric() -> None:
    hook = PrometheusHook()
    hook.watch(_Says(EmitterHealth()), _Says(ConsumerHealth(queue_depth=0)), _Says(TrackerHealth()))
    families = {family.name + "_total" * (family.type == "counter") for family in hook.registry.collect()}
    page = Path(__file__).parents[2] / "docs" / "guides" / "telemetry.md"

    assert families == set(re.findall(r"^\| `(aioswap_\w+)` \|", page.read_text(), re.MULTILINE))


async def test_what_a_watched_thing_raises_reaches_neither_emitting_nor_consuming() -> None:
    bus = Bus()
    hook = PrometheusHook(clock=bus.clock)
    hook.watch(_Says(EmitterHealth(), *[OSError("disk")] * 9))
    consumer = Consumer(bus.transport, "billing", hooks=[hook], clock=bus.clock)
    consumer.on(volume_swap.end)(Script().handle)
    async with bus.opened(), Emitter(bus.transport, host="c1", hooks=[hook]) as emitter, consumer.running():
        with pytest.raises(OSError, match="disk"):
            scraped(hook)
        await swap(emitter, 1)
        await until(lambda: consumer.health().handled)

    assert 1 == hook.registry.get_sample_value("aioswap_handled_total", {"event_type": END, "outcome": "ack"})


async def test_what_no_pool_keeps_is_counted_as_dead_letters_too(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus()
    hook = PrometheusHook(clock=bus.clock)
    consumer = Consumer(bus.transport, hooks=[hook], clock=bus.clock)
    consumer.on(volume_swap.end)(Script(Reject("no"), *[Retry()] * 2).handle)
    async with bus.opened(), consumer.running():
        for number in range(3):
            await bus.publish(notification_body(instance=str(number)))
        await until(lambda: consumer.health().dead_letters + consumer.health().retried == 3)

    assert (3, 2) == (consumer.health().dead_letters, consumer.health().retried)
    assert {f"dead_letters_total {END}": 3, f"retried_total {END}": 2} == of(scraped(hook), "dead_letters", "retried")
    assert 3 == caplog.text.count("dead letter that no pool keeps")


@pytest.mark.broker
async def test_on_rabbitmq_it_agrees_with_the_broker(amqp_url: str) -> None:
    hook = PrometheusHook()
    name = f"test-{uuid4().hex[:12]}"
    transport = RabbitTransport(amqp_url, exchange=name, exchange_durable=True)
    consumer = Consumer(transport, name, hooks=[hook])
    failing = Script(Reject("no"), Reject("neither"))
    consumer.on(volume_swap.error, name="error")(failing.handle)
    consumer.on(volume_swap.end, name="end")(Script(Retry(after=1)).handle)
    hook.watch(consumer)
    letters = DeadLetters(transport, name)

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(DEADLINE))
        await stack.enter_async_context(transport)
        await stack.enter_async_context(consumer.running())
        emitter = await stack.enter_async_context(Emitter(transport, host="c1", hooks=[hook]))
        hook.watch(emitter)
        for number, error in enumerate((None, OSError("full"), OSError("fuller"))):
            await swap(emitter, number, error)
        await emitter.flush()
        await eventually(lambda: consumer.health().handled == 1 and consumer.health().dead_letters == 2)
        seen = scraped(hook)
        dead = await letters.list()
        await letters.drop()

    assert 2 == len(dead) == seen[f"dead_letters_total {ERROR}"] == len(failing.heard)
    assert 6 == seen["published_total confirmed"] == emitter.health().confirmed
    assert {f"handled_total {END} ack": 1, f"handled_total {END} retry": 1, f"handled_total {ERROR} reject": 2} == of(
        seen, "handled_total"
    )
    # the pool's queue gets starts, too: nobody here wants them
    assert 3 == seen["skipped_total"]
