"""Names on a broker that others use: every one of a test's is its own, and the test sees none of that."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from aioswap import Delivery, Message, Subscription
from aioswap.testing import MemoryOnly
from aioswap.testing.names import Names
from aioswap.transports.topology import topology

ANONYMOUS = f"aioswap.anon.{'a1' * 16}.q"


@dataclass
class Settled:
    """Remembers what is settled."""

    tags: list[int] = field(default_factory=list)

    def settle(self, tag: int, *, requeue: bool) -> None:
        self.tags.append(tag)


def test_in_memory_every_name_stays() -> None:
    names = Names()
    wanted = Subscription(pool="billing", shared=True)
    message = Message(routing_key="aioswap.billing.retry.5", exchange="aioswap.billing", body=b"", message_id="1")

    assert "nova" == names.exchange
    assert wanted is names.subscription(wanted)
    assert message is names.message(message)
    assert "aioswap.billing" == names.there("aioswap.billing") == names.here("aioswap.billing")


def test_on_a_broker_a_pool_gets_a_prefix_wherever_it_is_named() -> None:
    names = Names("t1")
    there = names.subscription(Subscription(pool="billing"))
    copy = Message(routing_key="aioswap.billing.retry.5", exchange="aioswap.billing", body=b"", message_id="1")
    sent = names.message(copy)

    assert "t1-billing" == there.pool
    assert ("aioswap.t1-billing", "aioswap.t1-billing.retry.5") == (sent.exchange, sent.routing_key)
    assert sent.routing_key in [queue.name for queue in topology(there, "").queues]
    assert "aioswap.billing.dead" == names.here(names.there("aioswap.billing.dead"))


def test_what_is_nobody_elses_keeps_its_name() -> None:
    names = Names("t1")
    notification = Message(routing_key="versioned_notifications.info", body=b"", message_id="1")

    assert notification is names.message(notification)
    assert (ANONYMOUS, "oslo") == (names.there(ANONYMOUS), names.there("oslo"))
    assert ("aioswap.t1-anon.dead", "oslo") == (names.there("aioswap.anon.dead"), names.here("oslo"))
    assert None is names.subscription(Subscription()).pool


def test_a_delivery_is_seen_with_the_tests_names() -> None:
    settled = Settled()
    names = Names("t1")
    there = [
        Delivery(body=b"", original=b"", exchange=exchange, routing_key=key, redelivered=False, tag=7, settler=settled)
        for exchange, key in ((names.exchange, "versioned_notifications.info"), ("aioswap.t1-a", "aioswap.t1-a"))
    ]
    here = [names.delivery(delivery, settled, 1) for delivery in there]
    here[0].ack()

    assert [("nova", "versioned_notifications.info"), ("aioswap.a", "aioswap.a")] == [
        (delivery.exchange, delivery.routing_key) for delivery in here
    ]
    assert [1] == settled.tags


def test_what_is_to_be_deleted_is_what_was_made() -> None:
    names = Names("t1")
    names.subscription(Subscription(pool="a"))
    names.subscription(Subscription(pool="a"))
    names.subscription(Subscription())

    assert ["aioswap.testing.t1", "aioswap.t1-a"] == names.exchanges
    assert {"aioswap.t1-a", "aioswap.t1-a.dead", "aioswap.t1-a.retry.3600"} < set(names.queues)
    assert len(set(names.queues)) == len(names.queues)


def test_others_queues_are_never_read_on_a_real_broker() -> None:
    with pytest.raises(MemoryOnly, match="which are others' on a real broker"):
        Names("t1").subscription(Subscription(shared=True))
