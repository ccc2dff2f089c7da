"""Whatever a notification holds, writing and reading it changes nothing."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aioswap.errors import DecodeError
from aioswap.wire.envelope import decode, encode
from aioswap.wire.events import event_pattern, payload_type, peek
from aioswap.wire.notification import Notification
from aioswap.wire.payloads import (
    BlockDevicePayload,
    ExceptionPayload,
    FlavorPayload,
    InstanceActionVolumeSwapPayload,
    IpPayload,
    SharePayload,
    VersionedObject,
)
from tests.capture import capture

relaxed = settings(deadline=None, max_examples=60)

EVENT_TYPES = [f"instance.volume_swap.{phase}" for phase in ("start", "end", "error")]
HOSTILE = [
    *EVENT_TYPES,
    *('"event_type": "instance.volume_swap.end"', '\\"event_type\\": \\"instance.create.start\\"', "nova_object.data"),
    *(
        "\ud800",
        "\udc00\ud800",
        "\x00",
        "\x1b]0;x\x07",
        "_context_",
        "_unique_id",
        "oslo.message",
        "😀",
        "é",
        "\u2028",
        '"',
        "\\",
    ),
]

# the strategy of Hypothesis leaves lone surrogates out unless they are asked for
texts = st.one_of(st.sampled_from(HOSTILE), st.text(alphabet=st.characters(exclude_categories=()), max_size=20))
maybe = st.none() | texts
integers = st.integers(-(2**70), 2**70)
numbers = integers | st.floats(allow_nan=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
maps = st.dictionaries(texts, texts, max_size=3)
moments = st.none() | st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda moment: moment.replace(microsecond=0)
)


def built(payload: type[VersionedObject], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(payload, **fields)


flavors = built(
    FlavorPayload, flavorid=maybe, memory_mb=st.none() | integers, vcpus=integers, root_gb=integers, ephemeral_gb=integers,
    name=texts, swap=integers, rxtx_factor=st.none() | numbers, vcpu_weight=integers, disabled=st.booleans(),
    is_public=st.booleans(), extra_specs=st.none() | maps, projects=st.none() | st.lists(texts, max_size=2), description=maybe,
)  # fmt: skip
faults = built(
    ExceptionPayload, module_name=texts, function_name=texts, exception=texts, exception_message=texts, traceback=texts
)
ips = built(IpPayload, label=texts, mac=texts, meta=maps, port_uuid=maybe, version=integers, address=texts, device_name=maybe)
disks = built(
    BlockDevicePayload,
    device_name=maybe,
    boot_index=st.none() | integers,
    delete_on_termination=st.booleans(),
    volume_id=texts,
    tag=maybe,
)
shares = built(SharePayload, share_mapping_uuid=texts, share_id=texts, status=texts, tag=texts)
_NULLABLE = [
    *(
        "request_id",
        "user_id",
        "tenant_id",
        "reservation_id",
        "display_name",
        "display_description",
        "host_name",
        "host",
        "node",
    ),
    *("os_type", "architecture", "availability_zone", "image_uuid", "key_name", "kernel_id", "ramdisk_id", "state"),
    *("power_state", "task_state", "action_initiator_user", "action_initiator_project", "locked_reason"),
]
_MOMENTS = ("created_at", "launched_at", "terminated_at", "deleted_at", "updated_at")
swaps = built(
    InstanceActionVolumeSwapPayload, uuid=texts, old_volume_id=texts, new_volume_id=texts, fault=st.none() | faults,
    flavor=flavors, progress=st.none() | integers, ip_addresses=st.lists(ips, max_size=2),
    block_devices=st.none() | st.lists(disks, max_size=2), metadata=maps, locked=st.booleans(), auto_disk_config=texts,
    shares=st.none() | st.lists(shares, max_size=2), **dict.fromkeys(_NULLABLE, maybe), **dict.fromkeys(_MOMENTS, moments),
)  # fmt: skip
contexts = st.dictionaries(texts, values, max_size=4)
_OWN = ("message_id", "publisher_id", "event_type", "priority", "payload", "timestamp", "_unique_id")
extras = st.dictionaries(texts.filter(lambda key: key not in _OWN and not key.startswith("_context_")), values, max_size=3)


@st.composite
def notifications(draw: st.DrawFn, payload: st.SearchStrategy[Any], event_type: st.SearchStrategy[str]) -> Notification[Any]:
    return Notification(
        message_id=draw(texts),
        publisher_id=draw(texts),
        event_type=draw(event_type),
        priority=draw(texts),
        timestamp=draw(st.datetimes(min_value=datetime(1, 1, 2), timezones=st.just(UTC))),  # noqa: DTZ001
        payload=draw(payload),
        context=draw(contexts),
        unique_id=draw(maybe),
        extra=draw(extras),
    )


@given(notifications(swaps, st.sampled_from(EVENT_TYPES)))
@relaxed
def test_a_swap_survives(notification: Notification[Any]) -> None:
    body = encode(notification)

    assert notification == decode(body)
    assert notification.to_wire() == json.loads(json.loads(body)["oslo.message"])
    assert notification == decode(json.dumps(notification.to_wire()))


@given(notifications(swaps, st.sampled_from(EVENT_TYPES)), st.integers(0, 9))
@relaxed
def test_every_version_survives(notification: Notification[Any], minor: int) -> None:
    payload = notification.payload.at_version(f"1.{minor}")
    wire = payload.to_wire()
    read = decode(json.dumps(notification.to_wire() | {"payload": wire}))

    assert f"1.{minor}" == read.payload.object_version
    assert wire == read.payload.to_wire()
    assert payload == read.payload
    assert read == decode(encode(read))


@given(notifications(swaps, st.sampled_from(EVENT_TYPES)), st.dictionaries(texts, values, max_size=3), st.data())
@relaxed
def test_unknown_fields_survive_at_each_level(
    notification: Notification[Any], more: dict[str, Any], data: st.DataObject
) -> None:
    wire = notification.to_wire()
    payload = wire["payload"]
    flavor = payload["nova_object.data"]["flavor"]
    for level in (payload, payload["nova_object.data"], flavor, flavor["nova_object.data"]):
        level.update({key: value for key, value in more.items() if key not in level})
    body = json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(wire)})

    assert wire == json.loads(json.loads(encode(decode(body)))["oslo.message"])
    assert decode(json.dumps(wire)) == decode(body)


@given(notifications(values, texts.filter(lambda text: payload_type(text) is None)))
@relaxed
def test_any_json_survives_as_a_payload(notification: Notification[Any]) -> None:
    assert notification == decode(encode(notification))


generics = st.dictionaries(texts.map("x{}".format), values, max_size=4).map(
    lambda fields: VersionedObject.model_construct(None, **fields)
)


@given(notifications(generics, st.just("some.event.start")))
@relaxed
def test_generic_objects_survive(notification: Notification[Any]) -> None:
    read = decode(encode(notification))

    assert notification.to_wire() == read.to_wire()
    assert read == decode(encode(read))


@given(texts, texts, st.sampled_from([*EVENT_TYPES, "instance.create.start", "compute.exception.x", ""]))
@relaxed
def test_names_never_change_what_is_read(name: str, display_name: str, event_type: str) -> None:
    wire = json.loads(json.dumps(capture("nova34-v2-full__instance.volume_swap.end").message))
    wire["payload"]["nova_object.data"] |= {"display_name": display_name, "host": name, "metadata": {name: display_name}}
    wire |= {"publisher_id": name, "event_type": event_type}
    body = json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(wire)}).encode()
    read = decode(body)

    assert display_name == read.payload.display_name
    assert (payload_type(event_type) or VersionedObject) is type(read.payload)
    assert peek([event_pattern(event_type or "#")])(body)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
@relaxed
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(body)

    assert body == caught.value.body


@given(st.data())
@relaxed
def test_a_field_of_any_value_is_read_equal_or_refused(data: st.DataObject) -> None:
    wire = json.loads(json.dumps(capture("nova34-v2-full__instance.volume_swap.error").message))
    objects = [wire, wire["payload"], wire["payload"]["nova_object.data"]]
    objects += [wire["payload"]["nova_object.data"][name] for name in ("flavor", "fault")]
    objects += [inside["nova_object.data"] for inside in objects[3:]]
    target = data.draw(st.sampled_from(objects))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(values | st.just(math.inf))
    bodies = json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(wire)}), json.dumps(wire)
    results = []
    for body in bodies:
        try:
            results.append(decode(body).to_wire())
        except DecodeError as error:
            results.append({"refused": str(error)})

    # the fast way and the slow way agree
    assert results[0] == results[1]
    assert "refused" in results[0] or wire == results[0]
