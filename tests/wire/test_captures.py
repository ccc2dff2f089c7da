from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from aioswap.wire.envelope import decode, encode
from aioswap.wire.events import payload_type
from aioswap.wire.notification import Notification
from aioswap.wire.payloads import ExceptionPayload, InstanceActionVolumeSwapPayload, VersionedObject
from tests.capture import Capture, capture, captures

every = pytest.mark.parametrize("sample", captures(), ids=lambda sample: sample.name)
every_swap = pytest.mark.parametrize("sample", captures("instance.volume_swap."), ids=lambda sample: sample.name)


def inner(body: bytes) -> dict[str, Any]:
    envelope = json.loads(body)
    assert list(envelope) == ["oslo.version", "oslo.message"]
    assert envelope["oslo.version"] == "2.0"
    message = json.loads(envelope["oslo.message"])
    assert isinstance(message, dict)
    return message


@every
def test_the_envelope_is_read(sample: Capture) -> None:
    notification = decode(sample.body)

    assert sample.message["message_id"] == notification.message_id
    assert sample.message["publisher_id"] == notification.publisher_id
    assert sample.message["event_type"] == notification.event_type
    assert sample.message["priority"] == notification.priority
    assert sample.message["_unique_id"] == notification.unique_id
    assert sample.message["timestamp"] == str(notification.timestamp.replace(tzinfo=None))
    assert {} == dict(notification.extra)
    context = {f"_context_{key}": value for key, value in notification.context.items()}
    assert {key: value for key, value in sample.message.items() if key.startswith("_context_")} == context


@every
def test_what_was_read_is_written_back_equal_and_in_order(sample: Capture) -> None:
    written = inner(encode(decode(sample.body)))

    assert sample.message == written
    assert list(sample.message) == list(written)
    wrapper = sample.message["payload"]
    assert list(wrapper) == list(written["payload"])
    assert list(wrapper["nova_object.data"]) == list(written["payload"]["nova_object.data"])


@every
def test_the_inner_message_is_plain_json(sample: Capture) -> None:
    assert sample.message == json.loads(json.dumps(decode(sample.body).to_wire()))


@every
def test_a_notification_rebuilt_from_its_public_fields_is_written_equal(sample: Capture) -> None:
    read = decode(sample.body)
    public = {field.name: getattr(read, field.name) for field in fields(Notification) if not field.name.startswith("_")}
    rebuilt: Notification[Any] = Notification(**public)

    assert read == rebuilt
    assert sample.message == inner(encode(rebuilt))


@every
def test_what_was_written_is_read_equal(sample: Capture) -> None:
    read = decode(sample.body)

    assert read == decode(encode(read))


@every
def test_text_is_read_as_bytes_are(sample: Capture) -> None:
    assert decode(sample.body) == decode(sample.body.decode())


@every_swap
def test_the_swap_payload_is_typed(sample: Capture) -> None:
    payload = decode(sample.body).payload
    data = sample.message["payload"]["nova_object.data"]

    assert type(payload) is InstanceActionVolumeSwapPayload
    assert data["uuid"] == payload.uuid
    assert data["flavor"]["nova_object.data"]["vcpus"] == payload.flavor.vcpus
    assert [ip["nova_object.data"]["address"] for ip in data["ip_addresses"]] == [ip.address for ip in payload.ip_addresses]
    assert sample.message["payload"]["nova_object.version"] == payload.object_version
    assert "InstanceActionVolumeSwapPayload" == payload.object_name
    assert "nova" == payload.object_namespace
    assert "nova_object" == payload.object_prefix


@every_swap
def test_one_field_changed_changes_that_field_alone(sample: Capture) -> None:
    read = decode(sample.body)
    flavor = read.payload.flavor.model_copy(update={"vcpus": 99})
    changed = replace(read, payload=read.payload.model_copy(update={"flavor": flavor, "host": "elsewhere"}))
    expected = json.loads(json.dumps(sample.message))
    expected["payload"]["nova_object.data"]["host"] = "elsewhere"
    expected["payload"]["nova_object.data"]["flavor"]["nova_object.data"]["vcpus"] = 99

    assert expected == inner(encode(changed))
    assert read != changed


@pytest.mark.parametrize(
    "sample", [found for found in captures() if payload_type(found.event_type) is None], ids=lambda s: s.name
)
def test_other_events_have_generic_payloads(sample: Capture) -> None:
    payload = decode(sample.body).payload

    assert type(payload) is VersionedObject
    assert sample.message["payload"]["nova_object.name"] == payload.object_name
    for name, value in sample.message["payload"]["nova_object.data"].items():
        if not isinstance(value, dict | list):
            assert value == getattr(payload, name)


def test_objects_inside_generic_payloads_are_generic_too() -> None:
    payload = decode(capture("nova34-others__instance.create.error").body).payload

    assert 1 == payload.flavor.vcpus
    assert "FlavorPayload" == payload.flavor.object_name
    assert "192.168.1.3" == payload.ip_addresses[0].address
    assert payload.fault.exception


def test_a_compute_exception_is_typed() -> None:
    sample = capture("nova34-others__compute.exception")
    read = decode(sample.body)

    assert isinstance(read.payload, ExceptionPayload)
    assert sample.message["payload"]["nova_object.data"]["exception_message"] == read.payload.exception_message


def test_the_fault_of_an_error_is_typed() -> None:
    read = decode(capture("nova34-v2-full__instance.volume_swap.error").body)

    assert "VolumeNotFound" == read.payload.fault.exception
    assert "/dev/sda" == read.payload.block_devices[0].device_name
    assert "fake-tag" == read.payload.shares[0].tag
    assert 2026 == read.payload.created_at.year
    assert 0 == read.payload.created_at.utcoffset().total_seconds()


def test_changes_are_kept_at_each_level() -> None:
    sample = capture("nova34-v2-changes__instance.volume_swap.end")
    payload = decode(sample.body).payload

    assert tuple(sample.message["payload"]["nova_object.changes"]) == payload.object_changes
    assert payload.flavor.object_changes
    assert decode(capture("nova34-v2-default__instance.volume_swap.end").body).payload.object_changes is None


def test_what_an_older_nova_does_not_send_is_absent_and_none() -> None:
    payload = decode(capture("nova18-v2-default__instance.volume_swap.end").body).payload

    assert payload.shares is None
    assert "shares" not in payload.to_wire()["nova_object.data"]
    assert "shares" not in payload.model_fields_set
