from __future__ import annotations

import json
import math
import pickle
from typing import Any

import pytest

from aioswap.errors import DecodeError, UnsupportedVersion
from aioswap.wire.envelope import decode, encode
from aioswap.wire.payloads import InstanceActionVolumeSwapPayload, VersionedObject
from tests.capture import capture

SWAP = "nova34-v2-full__instance.volume_swap.error"
SECRET = "hunter2-secret"


def message(**changes: Any) -> dict[str, Any]:
    """Return the inner message of a swap's error, with other values; `...` takes a key away."""
    inner: dict[str, Any] = json.loads(json.dumps(capture(SWAP).message))
    inner.update(changes)
    return {key: value for key, value in inner.items() if value is not ...}


def packed(inner: object, version: object = "2.0") -> bytes:
    return json.dumps(
        {"oslo.version": version, "oslo.message": inner if isinstance(inner, str) else json.dumps(inner)}
    ).encode()


def with_data(**changes: Any) -> dict[str, Any]:
    inner = message()
    data = inner["payload"]["nova_object.data"]
    data.update(changes)
    inner["payload"]["nova_object.data"] = {key: value for key, value in data.items() if value is not ...}
    return inner


def with_header(**changes: Any) -> dict[str, Any]:
    inner = message()
    inner["payload"].update({f"nova_object.{key}": value for key, value in changes.items()})
    inner["payload"] = {key: value for key, value in inner["payload"].items() if value is not ...}
    return inner


def unpacked(body: bytes) -> Any:
    return json.loads(json.loads(body)["oslo.message"])


def refused(body: bytes | str) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(body)
    assert (body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")) == caught.value.body
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "body: character 0 is no JSON"),
        (b"not json", "body: character 0 is no JSON"),
        (b"{} x", "body: character 3 is no JSON"),
        (b'{"a": "\xff"}', "body: byte 7 is no UTF-8"),
        (b"\xef\xbb\xbf{}", "body: character 0 is no JSON"),
        ("{}".encode("utf-16"), "body: byte 0 is no UTF-8"),
        ("{}".encode("utf-16-le"), "body: character 1 is no JSON"),
        (b'{"a": "\x01"}', "body: character 7 is no JSON"),
        (b"[" * 4_000, "body: nested too deeply"),
        (b'{"a":' * 4_000, "body: nested too deeply"),
        (b'{"a": ' + b"1" * 4301 + b"}", "body: a number has too many digits"),
        (b"null", "message: should be a JSON object"),
        (b"[]", "message: should be a JSON object"),
        (b'"text"', "message: should be a JSON object"),
        (b"5", "message: should be a JSON object"),
        (b"{}", "message_id: is missing"),
        (b'{"oslo.version": "2.0"}', "message_id: is missing"),
        (b'{"oslo.message": "{}"}', "message_id: is missing"),
        (packed("not json"), "oslo.message: character 0 is no JSON"),
        (packed(""), "oslo.message: character 0 is no JSON"),
        (packed("[]"), "message: should be a JSON object"),
        (packed("[" * 4_000), "oslo.message: nested too deeply"),
        (packed('{"a": ' + "1" * 4301 + "}"), "oslo.message: a number has too many digits"),
        (b'{"oslo.version": "2.0", "oslo.message": {}}', "oslo.message: should be JSON in a text"),
        (b'{"oslo.version": "2.0", "oslo.message": null}', "oslo.message: should be JSON in a text"),
        (packed("{}", 2.0), "oslo.version: should be two or three numbers with dots between them, in a text"),
        (packed("{}", "x"), "oslo.version: should be two or three numbers with dots between them, in a text"),
        (packed("{}", None), "oslo.version: should be two or three numbers with dots between them, in a text"),
    ],
    ids=map(str, range(28)),
)
def test_what_is_no_message_is_refused(body: bytes, reason: str) -> None:
    assert reason == str(refused(body))


@pytest.mark.parametrize("version", ["1.0", "2.1", "2.0.1", "3.0", "20.0"])
def test_an_envelope_that_is_not_compatible_is_refused(version: str) -> None:
    assert isinstance(refused(packed(message(), version)), UnsupportedVersion)


@pytest.mark.parametrize("version", ["2.0", "2.0.0"])
def test_a_compatible_envelope_is_taken(version: str) -> None:
    assert decode(packed(message(), version)) == decode(capture(SWAP).body)


def test_the_bare_message_is_taken() -> None:
    assert decode(json.dumps(message())) == decode(capture(SWAP).body)


def test_both_keys_make_an_envelope() -> None:
    bare = message(**{"oslo.version": "9.0"})

    assert "9.0" == decode(json.dumps(bare)).extra["oslo.version"]


@pytest.mark.parametrize("key", ["message_id", "publisher_id", "event_type", "priority", "timestamp", "payload"])
def test_the_six_keys_are_required(key: str) -> None:
    assert f"{key}: is missing" == str(refused(packed(message(**{key: ...}))))


@pytest.mark.parametrize("key", ["message_id", "publisher_id", "event_type", "priority", "timestamp"])
@pytest.mark.parametrize("value", [None, 5, [], {}, True])
def test_five_of_them_are_text(key: str, value: object) -> None:
    assert f"{key}: should be a text" == str(refused(packed(message(**{key: value}))))


def test_a_timestamp_is_a_time() -> None:
    assert "timestamp: should be a date with a time in ISO 8601" == str(refused(packed(message(timestamp=SECRET))))
    assert "timestamp: should be a date with a time in ISO 8601" == str(refused(json.dumps(message(timestamp=SECRET))))


@pytest.mark.parametrize("value", [..., None, 5, [1], {"a": 1}, "text"])
def test_a_unique_id_may_be_anything(value: object) -> None:
    inner = message(_unique_id=value)
    notification = decode(packed(inner))

    assert (value if isinstance(value, str) else None) == notification.unique_id
    assert inner == unpacked(encode(notification))
    assert notification == decode(json.dumps(inner))


def test_a_message_without_context_is_fine() -> None:
    inner = {key: value for key, value in message(_unique_id=...).items() if not key.startswith("_context_")}
    notification = decode(packed(inner))

    assert {} == dict(notification.context)
    assert inner == unpacked(encode(notification))


def test_unknown_keys_of_the_message_are_kept() -> None:
    inner = message(**{"_context_": 1, "_context": 2, "_msg_id": None, "more": [{}], "": 3})
    notification = decode(packed(inner))

    assert 1 == notification.context[""]
    assert {"_context": 2, "_msg_id": None, "more": [{}], "": 3} == dict(notification.extra)
    assert inner == unpacked(encode(notification))
    assert notification == decode(json.dumps(inner))


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        (message(payload=None), "payload: should be a versioned object"),
        (message(payload=[SECRET]), "payload: should be a versioned object"),
        (message(payload={}), "payload: should be a versioned object"),
        (message(event_type="compute.exception", payload={"a": 1}), "payload: should be a versioned object"),
        (with_header(data=[]), "payload: should be a versioned object"),
        (with_header(name=5), "payload: should be a versioned object"),
        (with_header(namespace=...), "payload: should be a versioned object"),
        (with_header(version=1.9), "payload: should be a versioned object"),
        (with_header(version="x"), "payload: its version should be two or three numbers with dots between them"),
        (with_header(version="2.0"), "payload: version 2.0 is of another major version than 1"),
        (with_data(uuid=...), "payload.uuid: Field required"),
        (with_data(uuid=5), "payload.uuid: Input should be a valid string"),
        (with_data(uuid=None), "payload.uuid: Input should be a valid string"),
        (with_data(host=5), "payload.host: Input should be a valid string"),
        (with_data(progress="5"), "payload.progress: Input should be a valid integer"),
        (with_data(progress=5.0), "payload.progress: Input should be a valid integer"),
        (with_data(progress=True), "payload.progress: Input should be a valid integer"),
        (with_data(locked=1), "payload.locked: Input should be a valid boolean"),
        (with_data(locked=None), "payload.locked: Input should be a valid boolean"),
        (with_data(auto_disk_config=True), "payload.auto_disk_config: Input should be a valid string"),
        (with_data(created_at=5), "payload.created_at: should be a date with a time in ISO 8601"),
        (with_data(created_at=SECRET), "payload.created_at: should be a date with a time in ISO 8601"),
        (with_data(metadata={"a b": SECRET, "c": 1}), "payload.metadata.c: Input should be a valid string"),
        (with_data(metadata={SECRET + " ": 1}), "payload.metadata.?: Input should be a valid string"),
        (with_data(metadata={"x" * 65: 1}), "payload.metadata.?: Input should be a valid string"),
        (with_data(metadata=[SECRET]), "payload.metadata: Input should be a valid dictionary"),
        (with_data(metadata={str(n): n for n in range(1000)}), "payload: 1000 values are missing or of a wrong type"),
        (with_data(flavor=None), "payload.flavor: Input should be a valid dictionary or instance of FlavorPayload"),
        (with_data(flavor={}), "payload.flavor: should be a versioned object"),
        (with_data(flavor=SECRET), "payload.flavor: should be a versioned object"),
        (with_data(ip_addresses=None), "payload.ip_addresses: Input should be a valid list"),
        (with_data(ip_addresses={}), "payload.ip_addresses: should be a versioned object"),
        (with_data(ip_addresses=[5]), "payload.ip_addresses.0: should be a versioned object"),
        (with_data(block_devices=[None]), "payload.block_devices.0: should be a versioned object"),
        (with_data(fault=5), "payload.fault: should be a versioned object"),
    ],
)
def test_a_payload_of_wrong_types_is_refused(inner: dict[str, Any], reason: str) -> None:
    expected = UnsupportedVersion if "major" in reason else DecodeError

    assert reason == str(refused(packed(inner)))
    assert type(refused(packed(inner))) is expected
    assert reason == str(refused(json.dumps(inner)))


@pytest.mark.parametrize(("field", "name"), [("flavor", "vcpus"), ("fault", "traceback")])
def test_objects_inside_are_checked_too(field: str, name: str) -> None:
    inner = message()
    inside = inner["payload"]["nova_object.data"][field]
    inside["nova_object.data"][name] = [SECRET]
    reason = str(refused(packed(inner)))
    inside["nova_object.data"][name] = 1 if name == "vcpus" else ""
    inside["nova_object.version"] = "2.0"

    assert reason.startswith(f"payload.{field}.{name}: Input should be")
    assert f"payload.{field}: version 2.0 is of another major version than 1" == str(refused(packed(inner)))


@pytest.mark.parametrize("version", ["1.10", "1.99", "1.100", "1.9.1"])
def test_a_newer_minor_version_is_taken_and_what_it_adds_is_kept(version: str) -> None:
    inner = with_data(added={"nova_object.name": "X", "deep": [None]}, another=1.5)
    inner["payload"]["nova_object.version"] = version
    inner["payload"]["nova_object.data"]["flavor"]["nova_object.data"]["added"] = "x"
    inner["payload"]["nova_object.data"]["flavor"]["nova_object.version"] = version
    payload = decode(packed(inner)).payload

    assert 1.5 == payload.another
    assert "x" == payload.flavor.added
    assert version == payload.object_version
    assert inner == unpacked(encode(decode(packed(inner))))


def test_unknown_values_of_enumerations_are_taken() -> None:
    inner = with_data(state="new", power_state="new", task_state="new", auto_disk_config="new", uuid="not a uuid")

    assert "new" == decode(packed(inner)).payload.state
    assert inner == unpacked(encode(decode(packed(inner))))


def test_the_name_of_the_class_is_a_hint() -> None:
    inner = with_header(name="Other", namespace="else")

    assert type(decode(packed(inner)).payload) is InstanceActionVolumeSwapPayload
    assert inner == unpacked(encode(decode(packed(inner))))


def test_another_projects_prefix_under_a_typed_event_is_read() -> None:
    inner = json.loads(json.dumps(message()).replace("nova_object.", "x_object."))

    assert "x_object" == decode(packed(inner)).payload.object_prefix
    assert decode(packed(inner)).payload.flavor.vcpus == 1
    assert inner == unpacked(encode(decode(packed(inner))))


@pytest.mark.parametrize(
    "text",
    ["2026-11-22T14:08:21", "2026-11-22T14:08:21.000001Z", "2026-11-22T14:08:21+00:00", "2026-11-22T16:08:21+02:00"],
)
def test_odd_times_are_written_back_as_they_came(text: str) -> None:
    inner = with_data(created_at=text) | {"timestamp": text}

    assert inner == unpacked(encode(decode(packed(inner))))
    assert inner == decode(packed(inner)).to_wire()
    assert inner == decode(json.dumps(inner)).to_wire()


@pytest.mark.parametrize("name", ["\ud800", "\udfff\ud800", "a\udc80b", "😀", "\x00\x1f\x7f\r\n\x1b[31m", '"\\/', "\u2028"])
def test_every_text_survives(name: str) -> None:
    inner = with_data(display_name=name, metadata={name: name}, **{f"x{name}": [name]}) | {
        f"_context_{name}": {name: name},
        name: 1,
    }
    inner["payload"]["nova_object.data"]["flavor"]["nova_object.data"]["name"] = name
    read = decode(packed(inner))

    assert name == read.payload.display_name
    assert name == read.payload.flavor.name
    assert name == read.context[name][name]
    assert inner == unpacked(encode(read))
    assert read == decode(encode(read))


def test_a_lone_surrogate_in_the_envelope_survives() -> None:
    body = (
        '{"oslo.version": "2.0", "oslo.message": ' + json.dumps(json.dumps(with_data(host="\ud800"), ensure_ascii=False)) + "}"
    )

    assert "\ud800" == decode(body).payload.host
    assert "\ud800" == decode(json.dumps(with_data(host="\ud800"), ensure_ascii=False)).payload.host


@pytest.mark.parametrize("number", [0, -1, 2**63, 2**70, -(2**70), 10**4299, 1.5, 1e300, math.inf, -math.inf])
def test_every_number_survives(number: float) -> None:
    inner = with_data(extra=[number]) | {"_context_number": number}
    inner["payload"]["nova_object.data"]["flavor"]["nova_object.data"]["rxtx_factor"] = number
    read = decode(packed(inner))

    assert number == read.payload.flavor.rxtx_factor
    assert inner == unpacked(encode(read))


def test_what_is_not_a_number_survives() -> None:
    read = decode(packed(with_data(extra=math.nan) | {"_context_number": math.nan}))

    assert math.isnan(read.context["number"])
    assert math.isnan(decode(encode(read)).payload.extra)


def test_deep_nesting_survives() -> None:
    deep: Any = None
    for _ in range(190):
        deep = [deep]
    inner = message(_context_deep=deep)

    assert inner == unpacked(encode(decode(packed(inner))))


def test_of_a_key_that_stands_twice_the_last_counts() -> None:
    text = json.dumps(message())
    data = json.dumps(message()["payload"]["nova_object.data"])
    twice = text[:-1] + ', "event_type": "instance.create.start", "_context_user": "last"}'
    nested = text.replace(data, data[:-1] + ', "host": "last"}')

    assert "instance.create.start" == decode(packed(twice)).event_type
    assert type(decode(packed(twice)).payload) is VersionedObject
    assert "last" == decode(packed(twice)).context["user"]
    assert (
        type(decode(packed('{"event_type": "instance.create.start", ' + text[1:])).payload) is InstanceActionVolumeSwapPayload
    )
    assert "last" == decode(packed(nested)).payload.host
    assert (
        "INFO" == decode(b'{"oslo.message": "", ' + packed(text.replace('"ERROR"', '"ERROR", "priority": "INFO"'))[1:]).priority
    )


@pytest.mark.parametrize(
    "event_type", ["instance.create.start", "", "x instance.volume_swap.start", "instance.volume_swap", "a"]
)
def test_a_name_that_holds_an_event_type_never_changes_what_is_read(event_type: str) -> None:
    name = '"event_type": "instance.volume_swap.start"'
    other = with_data(display_name=name, host="instance.volume_swap.start") | {"event_type": event_type}
    swap = with_data(display_name='"event_type": "instance.create.start"')

    assert type(decode(packed(other)).payload) is VersionedObject
    assert event_type == decode(packed(other)).event_type
    assert other == unpacked(encode(decode(packed(other))))
    assert type(decode(packed(swap)).payload) is InstanceActionVolumeSwapPayload


def test_an_event_type_in_escapes_is_read() -> None:
    text = json.dumps(message()).replace("instance.volume_swap.error", "\\u0069nstance.volume_swap.error")

    assert type(decode(packed(text)).payload) is InstanceActionVolumeSwapPayload


@pytest.mark.parametrize("payload", [None, 5, "text", [1], {}, {"a": {"b": None}}, {"nova_object.data": {}}])
def test_payloads_that_are_no_objects_are_plain_json(payload: object) -> None:
    inner = message(event_type="some.legacy", payload=payload)

    assert payload == decode(packed(inner)).payload
    assert inner == unpacked(encode(decode(packed(inner))))


def test_a_notification_that_was_read_can_be_pickled() -> None:
    read = decode(capture(SWAP).body)

    assert read == pickle.loads(pickle.dumps(read))


def test_what_json_cannot_say_is_the_callers_fault() -> None:
    read = decode(capture(SWAP).body)
    unsayable = type(read)(**{**{name: getattr(read, name) for name in type(read).__slots__}, "context": {"a": object()}})

    with pytest.raises(TypeError, match="JSON"):
        encode(unsayable)


def test_a_body_is_utf_8() -> None:
    body = encode(decode(packed(with_data(display_name="é😀"))))

    assert "é😀" in body.decode()
