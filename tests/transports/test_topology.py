"""Which queues a pool has, to the letter: another argument is another queue for RabbitMQ."""

from __future__ import annotations

from aioswap.outcomes import RETRY_LADDER
from aioswap.transports.base import Subscription
from aioswap.transports.topology import Binding, dead_letter_queue, pool_exchange, pool_queue, retry_queue, topology

WEEK = 7 * 86_400_000
BOUNDS = {"x-max-length": 1_000_000, "x-max-length-bytes": 1 << 30}


def test_a_pool_has_one_queue_for_all_its_keys() -> None:
    layout = topology(Subscription(pool="billing", topics=("a", "b")), "unused")
    own = [binding for binding in layout.bindings if binding.exchange is None]

    assert ("aioswap.billing",) == layout.consume
    assert not layout.deleted_on_exit
    assert {"aioswap.billing"} == {binding.queue for binding in own}
    assert ["a.info", "a.error", "b.info", "b.error"] == [binding.routing_key for binding in own]


def test_the_names_of_a_pool_are_all_its_own() -> None:
    assert ("aioswap.p", "aioswap.p") == (pool_queue("p"), pool_exchange("p"))
    assert ("aioswap.p.retry.30", "aioswap.p.dead") == (retry_queue("p", 30), dead_letter_queue("p"))


def test_the_queues_of_a_pool_have_these_arguments() -> None:
    layout = topology(Subscription(pool="p"), "unused")
    arguments = {queue.name: queue.arguments for queue in layout.queues}
    retries = {
        f"aioswap.p.retry.{seconds}": {
            "x-queue-type": "classic",
            "x-message-ttl": seconds * 1000,
            "x-dead-letter-exchange": "aioswap.p",
            "x-dead-letter-routing-key": "aioswap.p",
        }
        for seconds in RETRY_LADDER
    }

    assert {
        "aioswap.p": {"x-queue-type": "classic", "x-expires": WEEK, **BOUNDS},
        **retries,
        "aioswap.p.dead": {"x-queue-type": "classic", "x-max-length": 100_000, "x-overflow": "reject-publish"},
    } == arguments


def test_every_queue_of_a_pool_hangs_on_its_exchange_by_its_name() -> None:
    layout = topology(Subscription(pool="p"), "unused")
    bound = {binding for binding in layout.bindings if binding.exchange is not None}

    assert "aioswap.p" == layout.exchange
    assert {Binding(queue=q.name, exchange="aioswap.p", routing_key=q.name) for q in layout.queues} == bound


def test_a_replicated_pool_has_only_replicated_queues_and_one_active_consumer_of_its_own_one() -> None:
    layout = topology(Subscription(pool="p", quorum=True, single_active=True), "unused")
    own, *others = layout.queues

    assert {
        "x-queue-type": "quorum",
        "x-expires": WEEK,
        **BOUNDS,
        "x-delivery-limit": 1_000_000,
        "x-single-active-consumer": True,
    } == own.arguments
    assert {("quorum", 1_000_000)} == {(q.arguments["x-queue-type"], q.arguments["x-delivery-limit"]) for q in others}
    assert not any("x-single-active-consumer" in queue.arguments for queue in others)


def test_without_a_pool_there_is_one_queue_that_is_deleted() -> None:
    layout = topology(Subscription(priorities=("error",)), "abc")
    (queue,) = layout.queues

    assert ("aioswap.anon.abc.q",) == layout.consume
    assert {"x-queue-type": "classic", "x-expires": 300_000, **BOUNDS} == queue.arguments
    assert (Binding(queue=queue.name, exchange=None, routing_key="versioned_notifications.error"),) == layout.bindings
    assert (True, None) == (layout.deleted_on_exit, layout.exchange)


def test_shared_without_a_pool_declares_nothing() -> None:
    layout = topology(Subscription(shared=True), "abc")

    assert ("versioned_notifications.info", "versioned_notifications.error") == layout.consume
    assert ((), (), False) == (layout.queues, layout.bindings, layout.deleted_on_exit)


def test_shared_with_a_pool_reads_oslos_queues_and_its_own_for_retries() -> None:
    layout = topology(Subscription(pool="p", shared=True, priorities=("info",)), "abc")

    assert ("versioned_notifications.info", "aioswap.p") == layout.consume
    assert {"aioswap.p"} == {binding.exchange for binding in layout.bindings}
    assert topology(Subscription(pool="p"), "abc").queues == layout.queues
