from __future__ import annotations

import os
import re
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import RFC_4122, UUID

import pytest

from aioswap.context import RequestContext
from aioswap.wire.envelope import decode, encode
from aioswap.wire.notification import Notification, Priority, new_ids
from tests.capture import capture

NOW = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)


def made(**changes: Any) -> Notification[Any]:
    values = {
        "message_id": "m",
        "publisher_id": "nova-compute:host1",
        "event_type": "a.b",
        "priority": "INFO",
        "timestamp": NOW,
        "payload": 1,
    }
    return Notification(**{**values, **changes})


def test_it_is_written_in_novas_order() -> None:
    wire = made(unique_id="u", context={"user": "me", "own key": 1}, extra={"more": 2}).to_wire()

    assert {
        "message_id": "m",
        "publisher_id": "nova-compute:host1",
        "event_type": "a.b",
        "priority": "INFO",
        "payload": 1,
        "timestamp": "2026-01-02 03:04:05.000600",
        "_unique_id": "u",
        "_context_user": "me",
        "_context_own key": 1,
        "more": 2,
    } == wire
    assert ["message_id", "publisher_id", "event_type", "priority", "payload", "timestamp", "_unique_id"] == list(wire)[:7]


def test_new_ids_are_a_random_uuid_and_the_id_of_a_copy_and_never_the_same() -> None:
    many = [new_ids() for _ in range(500)]
    identities = {UUID(identity) for identity, _ in many}
    copies = {unique_id for _, unique_id in many}

    assert (500, 500) == (len(identities), len(copies))
    assert {(4, RFC_4122)} == {(identity.version, identity.variant) for identity in identities}
    assert [str(UUID(identity)) for identity, _ in many] == [identity for identity, _ in many]
    assert all(re.fullmatch("[0-9a-f]{32}", unique_id) for unique_id in copies)


def test_a_forked_child_makes_ids_of_its_own() -> None:
    new_ids()  # more are kept now
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, " ".join(new_ids()).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as told:
        theirs = told.read().split()
    ours = [new_ids() for _ in range(64)]

    assert 2 == len(theirs)
    assert not set(theirs) & {part for ids in ours for part in ids}


def test_what_it_does_not_have_is_not_written() -> None:
    assert ["message_id", "publisher_id", "event_type", "priority", "payload", "timestamp"] == list(made().to_wire())


def test_extra_keys_never_take_the_place_of_others() -> None:
    wire = made(context={"user": "me"}, extra={"message_id": "x", "_context_user": "y", "z": 1}).to_wire()

    assert ("m", "me", 1) == (wire["message_id"], wire["_context_user"], wire["z"])


@pytest.mark.parametrize(
    ("publisher_id", "source", "host"),
    [
        ("nova-compute:host1", "nova-compute", "host1"),
        ("a:b:c", "a", "b:c"),
        ("ironic.host", "ironic.host", None),
        ("a:", "a", None),
    ],
)
def test_the_parts_of_a_publisher_id(publisher_id: str, source: str, host: str | None) -> None:
    notification = made(publisher_id=publisher_id)

    assert (source, host) == (notification.source, notification.host)


def test_a_priority_is_text() -> None:
    assert made(priority="INFO").priority == Priority.INFO
    assert made(priority=Priority.ERROR).to_wire()["priority"] == "ERROR"
    assert "whatever" == made(priority="whatever").priority


def test_the_context_is_not_shown() -> None:
    read = decode(capture("nova25-v2-default__instance.volume_swap.end").body)

    assert read.context["auth_token"]
    assert read.context["auth_token"] not in repr(read)
    assert "secret" not in repr(made(context={"a": "secret"}, extra={"b": "secret"}))


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        made().payload = 2  # type: ignore[misc]


def test_another_timestamp_is_written_in_place_of_the_text_that_was_read() -> None:
    read = decode(encode(made()).replace(b"2026-01-02 03:04:05.000600", b"2026-01-02T03:04:05Z"))
    later = replace(read, timestamp=read.timestamp + timedelta(seconds=1))

    assert "2026-01-02T03:04:05Z" == read.to_wire()["timestamp"]
    assert "2026-01-02T03:04:05Z" == replace(read, payload=2).to_wire()["timestamp"]
    assert "2026-01-02 03:04:06" == later.to_wire()["timestamp"]


def test_a_request_context_travels() -> None:
    context = RequestContext(user_id="u", project_id="p").to_wire(NOW)

    assert context == decode(encode(made(context=context))).context
