"""Deliveries as they come from the broker's frames."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

from aioswap.transports.base import Delivery
from aioswap.transports.rabbit_fast import FastIntake, _route
from aioswap.transports.rabbit_properties import encode_properties


class _Arrivals:
    """Wants everything but what is foreign."""

    def __init__(self) -> None:
        self.judged: list[tuple[int, str, bytes, bool]] = []
        self.deliveries: list[Delivery] = []

    def settle(self, tag: int, *, requeue: bool) -> None: ...

    def judge(self, tag: int, exchange: str, original: bytes, *, compressed: bool) -> Any:
        self.judged.append((tag, exchange, original, compressed))
        return None if original == b"foreign" else self

    def take(self, delivery: Delivery, *, compressed: bool) -> None:
        assert compressed is self.judged[-1][-1]
        self.deliveries.append(delivery)


def _intake() -> tuple[FastIntake, _Arrivals]:
    arrivals = _Arrivals()
    channel: Any = SimpleNamespace(number=1)
    return FastIntake(channel, lambda data: None, arrivals), arrivals


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes((len(data),)) + data


def _arguments(tag: int, key: str, exchange: str = "nova", *, redelivered: bool = False) -> bytes:
    return struct.pack(">QB", tag, redelivered) + _short(exchange) + _short(key)


def test_a_delivery_has_its_own_route_number_and_properties() -> None:
    intake, arrivals = _intake()
    for number in range(1, 201):
        properties = encode_properties(f"m{number}", {"n": number} if number % 3 == 0 else {}, {"priority": number % 2})
        route = _arguments(number, f"key{number % 100}", f"exchange{number % 2}", redelivered=number % 5 == 0)
        intake.delivered(_short("tag") + route, properties, b"body%d" % number)
    got = [
        (each.tag, each.exchange, each.routing_key, each.redelivered, each.body, each.message_id, each.headers, each.properties)
        for each in arrivals.deliveries
    ]
    expected = [
        (
            number,
            f"exchange{number % 2}",
            f"key{number % 100}",
            number % 5 == 0,
            b"body%d" % number,
            f"m{number}",
            {"n": number} if number % 3 == 0 else {},
            {"priority": number % 2},
        )
        for number in range(1, 201)
    ]

    assert expected == got
    assert _route.cache_info().currsize <= 64


def test_what_is_not_wanted_is_no_delivery() -> None:
    intake, arrivals = _intake()
    intake.delivered(_short("tag") + _arguments(1, "k"), encode_properties("m", {"compression": "gzip"}, {}), b"foreign")
    intake.delivered(_short("tag") + _arguments(2, "k"), encode_properties("m", {}, {}), b"x")

    assert [(1, "nova", b"foreign", True), (2, "nova", b"x", False)] == arrivals.judged
    assert [2] == [delivery.tag for delivery in arrivals.deliveries]


def test_properties_that_cannot_be_read_are_told_in_the_delivery() -> None:
    intake, arrivals = _intake()
    intake.delivered(_short("tag") + _arguments(1, "k", redelivered=True), b"\x80\x00\x09x", b"body")
    (delivery,) = arrivals.deliveries

    assert (None, b"body", {}, None) == (delivery.body, delivery.original, delivery.headers, delivery.message_id)
    assert "too early" in (delivery.unreadable or "")


def test_what_was_asked_for_has_its_route_too() -> None:
    intake, arrivals = _intake()
    intake.got(_arguments(1, "k") + struct.pack(">I", 5), encode_properties("m", {}, {}), b"x")
    (delivery,) = arrivals.deliveries

    assert ("nova", "k", 1) == (delivery.exchange, delivery.routing_key, delivery.tag)
