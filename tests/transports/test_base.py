"""What travels: messages, deliveries, subscriptions."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from aioswap.transports.base import NOTIFICATION_PROPERTIES, Delivery, Message, Subscription


class _Settled:
    def __init__(self) -> None:
        self.told: list[tuple[int, bool]] = []

    def settle(self, tag: int, *, requeue: bool) -> None:
        self.told.append((tag, requeue))


def test_a_message_is_a_notification_unless_told_otherwise() -> None:
    message = Message(routing_key="k", body=b"12345", message_id="m")

    assert (None, {}, NOTIFICATION_PROPERTIES) == (message.exchange, message.headers, message.properties)
    assert {"content_type": "application/json", "content_encoding": "utf-8", "delivery_mode": 2, "priority": 0} == dict(
        NOTIFICATION_PROPERTIES
    )
    assert 517 == message.size


def test_a_message_never_changes_and_a_changed_copy_has_its_own_size() -> None:
    message = Message(routing_key="k", body=b"12345", message_id="m", exchange="e", headers={"h": 1}, properties={"type": "t"})
    longer = replace(message, body=b"1234567890")

    assert (517, 522) == (message.size, longer.size)
    assert message == replace(longer, body=b"12345")
    with pytest.raises(FrozenInstanceError):
        message.size = 0  # type: ignore[misc]


def test_what_a_message_or_delivery_holds_is_not_shown() -> None:
    secret = b"secret"
    message = Message(routing_key="k", body=secret, message_id="m", headers={"h": "secret"}, properties={"type": "secret"})
    delivery = Delivery(
        body=secret,
        original=secret,
        exchange="e",
        routing_key="k",
        redelivered=False,
        headers={"h": "secret"},
        tag=1,
        settler=_Settled(),
    )

    assert "secret" not in repr(message) + repr(delivery)


def test_a_delivery_is_settled_by_whoever_delivered_it() -> None:
    settled = _Settled()
    delivery = Delivery(body=b"", original=b"", exchange="e", routing_key="k", redelivered=False, tag=7, settler=settled)
    delivery.ack()
    delivery.requeue()

    assert [(7, False), (7, True)] == settled.told


def test_a_subscription_listens_to_everything_of_nova_by_default() -> None:
    subscription = Subscription()

    assert (None, ("versioned_notifications",), ("info", "error")) == (
        subscription.pool,
        subscription.topics,
        subscription.priorities,
    )
    assert subscription.wanted(b"anything")


@pytest.mark.parametrize(
    "values",
    [{"pool": "a"}, {"pool": "A-Z_0-9"}, {"pool": "x" * 64}, {"prefetch": 1}, {"prefetch": 65_535}, {"topics": ["t"]}],
)
def test_a_subscription_within_its_ranges(values: dict[str, Any]) -> None:
    subscription = Subscription(**values)

    assert values == {name: getattr(subscription, name) for name in values}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"pool": ""}, "pool"),
        ({"pool": "x" * 65}, "pool"),
        ({"pool": "a.b"}, "pool"),
        ({"pool": "é"}, "pool"),
        ({"pool": "a b"}, "pool"),
        ({"prefetch": 0}, "prefetch"),
        ({"prefetch": 65_536}, "prefetch"),
        ({"topics": ()}, "topics"),
        ({"topics": "versioned_notifications"}, "topics"),
        ({"priorities": []}, "priorities"),
        ({"priorities": "info"}, "priorities"),
    ],
)
def test_a_subscription_outside_its_ranges_is_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Subscription(**values)
