"""Recordings: byte by byte on request, without secrets otherwise, and the same back."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aioswap.recording import Recorded, event_type_of, inner_message, read_line, record, write_line
from aioswap.transports.base import Delivery
from aioswap.wire.envelope import decode
from tests.capture import Capture, captures

_NOW = datetime(2026, 11, 22, 14, 13, 4, 816647, UTC)
_SECRETS = {
    "_context_auth_token": "gAAAAsecret",
    "_context_service_catalog": [{"secret": "url"}],
    "_context_remote_address": "10.0.0.secret",
    "_context_new_secret_thing": "secret",
}


class _Nobody:
    def settle(self, tag: int, *, requeue: bool) -> None:
        """A recording settles nothing by itself."""


def _delivery(body: bytes, *, plain: bytes | None = None, **others: Any) -> Delivery:
    return Delivery(
        body=body if plain is None else plain,
        original=body,
        exchange="nova",
        routing_key="versioned_notifications.info",
        redelivered=False,
        tag=1,
        settler=_Nobody(),
        **others,
    )


def _captured(found: Capture) -> Delivery:
    return _delivery(found.raw, plain=found.body, headers=found.headers, properties=found.properties)


def _enveloped(message: dict[str, Any]) -> bytes:
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}).encode()


@pytest.mark.parametrize("found", captures(), ids=lambda found: found.name)
def test_a_raw_recording_comes_back_byte_by_byte(found: Capture) -> None:
    recorded = record(_captured(found), _NOW, raw=True)
    again = read_line(write_line(recorded))

    assert recorded == again
    assert (found.raw, found.headers, found.properties) == (again.body, again.headers, again.properties)
    assert found.body == again.plain_body


@pytest.mark.parametrize("found", captures("instance.volume_swap"), ids=lambda found: found.name)
def test_without_secrets_the_notification_is_still_the_same(found: Capture) -> None:
    recorded = read_line(write_line(record(_captured(found), _NOW)))
    expected, told = decode(found.body), decode(recorded.body)

    assert "compression" not in recorded.headers
    assert (expected.payload, expected.message_id, expected.unique_id) == (told.payload, told.message_id, told.unique_id)
    assert expected.context["request_id"] == told.context["request_id"]
    assert found.enveloped == ("oslo.message" in json.loads(recorded.body))


@pytest.mark.parametrize("enveloped", [True, False])
def test_secrets_of_the_context_are_left_out(enveloped: bool) -> None:
    message = {"event_type": "a.b", "_context_request_id": "req-1", "_context_tenant": "t", **_SECRETS}
    body = _enveloped(message) if enveloped else json.dumps(message).encode()

    recorded = record(_delivery(body), _NOW)

    assert b"secret" not in recorded.body
    assert {
        "event_type": "a.b",
        "_context_request_id": "req-1",
        "_context_tenant": "t",
        "_context_auth_token": None,
        "_context_service_catalog": [],
        "_context_remote_address": None,
    } == inner_message(recorded.body)


def test_what_stands_beside_the_message_is_left_out() -> None:
    body = json.dumps({"oslo.version": "2.0", "oslo.message": "{}", "_context_auth_token": "secret", "more": "secret"}).encode()

    assert {"oslo.version": "2.0", "oslo.message": "{}"} == json.loads(record(_delivery(body), _NOW).body)


@pytest.mark.parametrize(
    "body",
    [
        b"torn",
        b"\xff\xfe",
        b"[1]",
        b"7",
        b'{"oslo.version": "2.0"}',
        b'{"oslo.message": {"_context_auth_token": "secret"}}',
        b'{"oslo.version": "2.0", "oslo.message": "torn"}',
        b'{"oslo.version": "2.0", "oslo.message": "[]"}',
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_may_hold_secrets_and_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="the body is no notification"):
        record(_delivery(body), _NOW)

    assert body == record(_delivery(body), _NOW, raw=True).body
    assert None is event_type_of(body)


def test_a_body_that_cannot_be_inflated_is_refused() -> None:
    delivery = Delivery(
        body=None,
        original=b"x",
        unreadable="the body is not what its compression header says",
        exchange="nova",
        routing_key="k",
        redelivered=False,
        tag=1,
        settler=_Nobody(),
    )

    with pytest.raises(ValueError, match="compression header"):
        record(delivery, _NOW)
    delivery.unreadable = None
    with pytest.raises(ValueError, match="cannot be read"):
        record(delivery, _NOW)


def test_an_event_type_is_found_whatever_else_is_wrong() -> None:
    assert "a.b" == event_type_of(_enveloped({"event_type": "a.b"}))
    assert "a.b" == event_type_of(b'{"event_type": "a.b"}')
    assert None is event_type_of(b'{"event_type": 7}')


def test_the_compressed_bytes_are_kept_and_can_be_undone() -> None:
    packed = zlib.compress(b"{}")
    recorded = record(_delivery(packed, plain=b"{}", headers={"compression": "gzip"}), _NOW, raw=True)
    line = write_line(recorded)

    assert "body_base64" in line
    assert (packed, b"{}") == (read_line(line).body, read_line(line).plain_body)


def test_what_cannot_be_inflated_has_no_plain_body() -> None:
    recorded = record(_delivery(b"x", headers={"compression": "gzip"}), _NOW, raw=True)

    assert None is recorded.plain_body


def test_the_message_to_send_again_is_the_same() -> None:
    recorded = record(_delivery(b"{}", headers={"a": 1}, properties={"priority": 3}, message_id="7"), _NOW, raw=True)
    message = recorded.message("made up", exchange="x")

    assert ("7", "x", "versioned_notifications.info", b"{}") == (
        message.message_id,
        message.exchange,
        message.routing_key,
        message.body,
    )
    assert ({"a": 1}, {"priority": 3}) == (message.headers, message.properties)


def test_a_message_without_an_id_gets_one() -> None:
    assert "made up" == record(_delivery(b"{}"), _NOW, raw=True).message("made up").message_id


def test_a_line_is_one_line_of_plain_letters() -> None:
    line = write_line(record(_delivery("grün\n\x1b".encode()), _NOW, raw=True))

    assert line.isascii()
    assert line.isprintable()


def test_times_are_written_in_utc() -> None:
    moment = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    line = write_line(Recorded(received=moment, exchange="", routing_key="", body=b""))

    assert "2026-01-01T00:00:00+00:00" == json.loads(line)["received"]
    assert moment == read_line(line).received
    assert moment == read_line(line.replace("+00:00", "")).received


_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.datetimes(timezones=st.just(UTC))
)
_keys = st.sampled_from(("a", "$bytes", "$time", "$table", "$", "$float", "$decimal"))
_values = st.recursive(_scalars, lambda inner: st.lists(inner) | st.dictionaries(_keys, inner), max_leaves=10)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    headers=st.dictionaries(_keys | st.text(), _values),
    properties=st.dictionaries(st.just("type"), _scalars),
    message_id=st.none() | st.text(),
)
def test_whatever_stands_in_headers_comes_back(
    headers: dict[str, Any], properties: dict[str, Any], message_id: str | None
) -> None:
    recorded = Recorded(
        received=_NOW,
        exchange="e",
        routing_key="k",
        body=b"",
        message_id=message_id,
        headers=headers,
        properties=properties,
    )

    assert recorded == read_line(write_line(recorded))


def test_numbers_that_json_has_no_word_for_come_back() -> None:
    recorded = Recorded(
        received=_NOW,
        exchange="e",
        routing_key="k",
        body=b"",
        headers={"n": float("nan"), "i": float("-inf"), "d": Decimal("1.0")},
    )
    headers = read_line(write_line(recorded)).headers

    assert ("nan", float("-inf"), "1.0") == (str(headers["n"]), headers["i"], str(headers["d"]))
    assert "NaN" not in write_line(recorded)


_LINE = {"received": "2026-01-01T00:00:00Z", "delivery": {"exchange": "e", "routing_key": "k"}, "properties": {}, "headers": {}}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("torn", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ("[]", "it is no JSON object"),
        ({"received": 1}, "it has no text received"),
        ({"received": "secret"}, "a time in it is none"),
        ({"delivery": None}, "it has no object delivery"),
        ({"delivery": {"exchange": "e"}}, "it has no text routing_key"),
        ({"properties": []}, "it has no object properties"),
        ({"body": "", "headers": []}, "it has no object headers"),
        ({}, "it has no text body"),
        ({"body_base64": "secret?"}, "base64"),
        ({"body": "\ud800"}, "cannot be written in UTF-8"),
        ({"body": "", "headers": {"a": {"$bytes": "secret?"}}}, "base64"),
        (
            json.dumps(_LINE | {"body": ""})[:-1] + ', "headers": {"a": ' + "[" * 200 + "]" * 200 + "}}",
            "nested deeper than 100",
        ),
        ({"body": "", "headers": {"a": {"$time": "secret"}}}, "a time in it is none"),
        ({"body": "", "headers": {"a": {"$decimal": "secret"}}}, "a decimal number in it is none"),
        ({"body": "", "headers": {"a": {"$float": "secret"}}}, "a number in it is none"),
    ],
)
def test_what_is_wrong_with_a_line_is_said_and_not_shown(line: str | dict[str, Any], reason: str) -> None:
    text = line if isinstance(line, str) else json.dumps(_LINE | line)

    with pytest.raises(ValueError, match=reason) as refused:
        read_line(text)

    assert "secret" not in str(refused.value)


def test_a_message_id_that_is_no_text_is_none() -> None:
    assert None is read_line(json.dumps(_LINE | {"body": "", "properties": {"message_id": 7}})).message_id
