"""What is kept of a request context's text is what is written without it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aioswap.context import RequestContext
from aioswap.wire.envelope import decode, encode
from aioswap.wire.notification import Notification
from aioswap.wire.writing import PackedContext
from tests.capture import capture

NOW = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)
CONTEXT = RequestContext(
    request_id='req-"\\\n\u00e9\u20ac',
    user_id="u",
    project_name="2000-01-01T00:00:00.000000",
    roles=("reader", '_context_timestamp":"'),
)


def swap(now: datetime = NOW, context: RequestContext = CONTEXT) -> Notification[Any]:
    """Return a notification as an emitter makes it."""
    read = decode(capture("nova34-v2-full__instance.volume_swap.error").body)
    return replace(read, timestamp=now, context=PackedContext(context, now), extra={})


@pytest.mark.parametrize("now", [NOW, NOW.replace(microsecond=0)])
def test_a_packed_context_is_written_as_any_other(now: datetime) -> None:
    notification = swap(now)
    first, second = encode(notification), encode(swap(now + timedelta(days=1)))

    assert encode(replace(notification, context=CONTEXT.to_wire(now))) == first
    assert notification.to_wire() == json.loads(json.loads(first)["oslo.message"])
    assert list(notification.to_wire()) == list(json.loads(json.loads(first)["oslo.message"]))
    assert CONTEXT.to_wire(now + timedelta(days=1)) == decode(second).context


def test_a_packed_context_is_a_mapping() -> None:
    assert CONTEXT.to_wire(NOW) == swap().context
    assert "req-" == swap().context["request_id"][:4]


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamp": NOW + timedelta(seconds=1)},
        {"extra": {"more": 1}},
        {"context": PackedContext(replace(CONTEXT, user_name="\ud800"), NOW), "timestamp": NOW},
    ],
    ids=["another timestamp", "extra keys", "a lone surrogate"],
)
def test_what_is_unusual_is_written_whole(changes: dict[str, Any]) -> None:
    notification = replace(swap(), **changes)

    assert notification.to_wire() == json.loads(json.loads(encode(notification))["oslo.message"])


def test_a_context_that_is_made_of_another_has_a_text_of_its_own() -> None:
    encode(swap())
    other = replace(CONTEXT, user_id="other")

    assert "other" == decode(encode(swap(context=other))).context["user_id"]
    assert other != CONTEXT
    assert replace(CONTEXT) == CONTEXT
    assert "_written" not in repr(CONTEXT)
