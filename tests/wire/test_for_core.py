"""What is written by pydantic's core is what `to_wire` tells."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from aioswap.wire.envelope import decode, encode
from aioswap.wire.notification import Notification
from aioswap.wire.times import read_moment
from tests.capture import capture


def swap() -> Notification[Any]:
    return decode(capture("nova34-v2-full__instance.volume_swap.error").body)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fault": None, "block_devices": None, "shares": []},
        {"created_at": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)},
        {"created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))},
        {"created_at": datetime(2026, 1, 2, 3, 4, 5)},  # noqa: DTZ001
        {"created_at": read_moment("2026-01-02T03:04:05")},
        {"created_at": read_moment("2026-01-02T03:04:05"), "unknown": read_moment("2026-01-02T03:04:05")},
        {"unknown": [1, None, {"a": 1.5}]},
        # what no reader would let pass: `model_copy` does not look
        {"created_at": "soon", "flavor": None, "ip_addresses": None},
        {"flavor": {"vcpus": 1}, "ip_addresses": [{"address": "10.0.0.1"}]},
        {"uuid": 5, "locked": "yes", "metadata": None},
    ],
)
def test_what_is_encoded_is_what_is_told(changes: dict[str, Any]) -> None:
    notification = replace(swap(), payload=swap().payload.model_copy(update=changes))

    assert notification.to_wire() == json.loads(json.loads(encode(notification))["oslo.message"])


def test_unusual_objects_inside_are_written_too() -> None:
    message = json.loads(json.dumps(capture("nova34-v2-full__instance.volume_swap.error").message))
    data = message["payload"]["nova_object.data"]
    del data["flavor"]["nova_object.data"]["description"]
    data["fault"]["nova_object.data"]["added"] = [None]
    data["shares"] = json.loads(json.dumps(data["shares"]).replace("nova_object", "x_object"))
    data["ip_addresses"][0]["nova_object.changes"] = ["mac"]
    body = json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)})

    assert message == json.loads(json.loads(encode(decode(body)))["oslo.message"])
