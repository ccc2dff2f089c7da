"""Notifications whose fields, versions and event types are wrong or odd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from aioswap.wire.payloads import InstanceActionVolumeSwapPayload
from tests.consumer_kit import END, FLAVOR
from tests.faults.broken import (
    DATA,
    BadInput,
    around,
    changed,
    changed_data,
    changed_wrapper,
    foreign,
    inner_message,
    lacking,
    lacking_data,
    packed,
)

__all__ = ["FIELDS"]

_KEYS: Final = ("message_id", "publisher_id", "event_type", "priority", "timestamp", "payload")


def _envelopes() -> Iterator[BadInput]:
    for name, text in (
        ("null", b"null"),
        ("a list", b"[]"),
        ("a text", b'"a"'),
        ("a number", b"7"),
        ("true", b"true"),
        ("{}", b"{}"),
    ):
        yield BadInput(name=f"{name} as the envelope", make=partial(bytes, text))
        yield BadInput(name=f"{name} in the envelope", make=partial(packed, text.decode()))
    nothing: tuple[Any, ...] = (None, [], 7, {}, True)
    for value in nothing:
        name = json.dumps(value)
        yield BadInput(name=f"{name} as the message", make=partial(around, value))
    yield BadInput(name="an object as the message", make=lambda: around(inner_message()))
    versions: tuple[Any, ...] = ("1.0", "3.0", "2", "2.1", "x", "", " 2.0", "2.0\n", 2.0, None, [], "9" * 5000)
    for version in versions:
        name = str(version)[:9]
        yield BadInput(
            name=f"the envelope's version {name!r}",
            make=partial(packed, inner_message(), **{"oslo.version": version}),
        )
    yield BadInput(
        name="an envelope without a version", make=lambda: json.dumps({"oslo.message": json.dumps(inner_message())}).encode()
    )
    yield BadInput(name="an envelope without a message", make=lambda: b'{"oslo.version": "2.0"}')
    yield BadInput(name="an envelope with more keys", make=lambda: packed(inner_message(), more=1, b="os"), handled=True)
    yield BadInput(name="no envelope", make=lambda: json.dumps(inner_message()).encode(), handled=True)
    yield BadInput(name="an envelope in an envelope", make=lambda: packed(packed(inner_message()).decode()))
    yield BadInput(name="a message written as JSON twice", make=lambda: packed(json.dumps(json.dumps(inner_message()))))


def _fields() -> Iterator[BadInput]:
    for key in _KEYS:
        yield BadInput(name=f"no {key}", make=partial(lacking, key))
        wrong: tuple[Any, ...] = (None, 7, 1.5, True, [], {}, "")
        for value in wrong[: 7 if key in ("payload", "timestamp") else 6]:
            yield BadInput(
                name=f"{json.dumps(value)} as {key}",
                make=partial(changed, **{key: value}),
            )
    for key in ("message_id", "publisher_id", "event_type", "priority"):
        yield BadInput(name=f"an empty {key}", make=partial(changed, **{key: ""}), handled=True)
        yield BadInput(name=f"a long {key}", make=partial(changed, **{key: "x" * 100_000}), handled=True)
    yield BadInput(name="another key", make=lambda: changed(more={"a": [1]}), handled=True)
    yield BadInput(name="a context that is a list", make=lambda: changed(_context_roles=7, _context_=[]), handled=True)
    yield BadInput(name="a unique id that is none", make=lambda: changed(_unique_id=[7]), handled=True)
    for name, model_field in InstanceActionVolumeSwapPayload.model_fields.items():
        yield BadInput(
            name=f"no {name} in the payload",
            make=partial(lacking_data, name),
            handled=not model_field.is_required(),
        )
        odd: Any = "x" if name in ("metadata", "ip_addresses", "block_devices", "shares", "flavor", "fault") else {"a": 1}
        yield BadInput(name=f"a wrong {name} in the payload", make=partial(changed_data, name, odd))
    yield BadInput(name="another field in the payload", make=lambda: changed_data("more", {"a": [None]}), handled=True)
    yield BadInput(name="a field named as Python's own", make=lambda: changed_data("__class__", "os.system"), handled=True)
    yield BadInput(name="a field named as a method", make=lambda: changed_data("to_wire", 7), handled=True)
    yield BadInput(name="a field named as pydantic's own", make=lambda: changed_data("model_fields", 7), handled=True)
    yield BadInput(name="an empty name of a field", make=lambda: changed_data("", 7), handled=True)
    yield BadInput(name="an empty instance", make=lambda: changed_data("uuid", ""), handled=True)
    yield BadInput(name="a payload without data", make=lambda: changed(payload={"nova_object.name": "X"}))
    for version in ("2.0", "0.9", "x", "", "1", "1.x", "1.0.0.0", "-1.0", "1." + "9" * 5000):
        name = version[:9]
        yield BadInput(name=f"the payload's version {name!r}", make=partial(changed_wrapper, nova_object__version=version))
    for version in ("1.99", "1.0", "1.10.3"):
        yield BadInput(
            name=f"the payload's version {version}",
            make=partial(changed_wrapper, nova_object__version=version),
            handled=True,
        )
    for key in ("name", "namespace", "version", "data"):
        for value in wrong[:2]:
            yield BadInput(
                name=f"{json.dumps(value)} as the payload's {key}",
                make=partial(changed_wrapper, **{f"nova_object__{key}": value}),
            )
    yield BadInput(name="changes that are none", make=lambda: changed_wrapper(nova_object__changes=7), handled=True)
    yield BadInput(name="another name", make=lambda: changed_wrapper(nova_object__name="os.system"), handled=True)
    yield BadInput(name="another project", make=lambda: changed_wrapper(nova_object__namespace="cinder"), handled=True)
    second = {"a__name": "a", "a__namespace": "a", "a__version": "1.0", "a__data": {}}
    yield BadInput(name="two wrappers in one", make=partial(changed_wrapper, **second), handled=True)
    nested = {"nova_object.name": "X", "nova_object.namespace": "nova", "nova_object.version": "2.0", DATA: {}}
    yield BadInput(name="a nested object of another version", make=lambda: changed_data("flavor", nested))
    yield BadInput(name="a nested object of another version, in another event", make=lambda: foreign(nested), handled=True)


def _events() -> Iterator[BadInput]:
    for event_type in ("x", "instance.volume_swap.paused", "a.b.c.d.e.f", "..", "#", "*", "a b", "instance.volume_swap"):
        yield BadInput(name=f"the event type {event_type!r}", make=partial(changed, event_type=event_type), handled=True)
    yield BadInput(name="another event with a swap's payload", make=lambda: changed(event_type="flavor.create"), handled=True)
    yield BadInput(name="a swap with another event's payload", make=lambda: packed(inner_message(FLAVOR) | {"event_type": END}))
    yield BadInput(name="compute.exception with a swap's payload", make=lambda: changed(event_type="compute.exception"))
    for name, timestamp, handled in (
        ("in the future", "9999-12-31 23:59:59.999999", True),
        ("of the first year", "0001-01-01 00:00:00", True),
        ("before the first year", "0001-01-01T00:00:00+23:59", False),
        ("after the last year", "9999-12-31T23:59:59-23:59", False),
        ("with a zone", "2026-11-22T14:13:04+05:30", True),
        ("without a time", "2026-11-22", True),
        ("that is none", "yesterday", False),
        ("of February 30", "2026-02-30 00:00:00", False),
        ("with other digits", "２０２６-11-22 14:13:04", False),
        ("with a leap second", "2026-06-30 23:59:60", False),
    ):
        yield BadInput(name=f"a timestamp {name}", make=partial(changed, timestamp=timestamp), handled=handled)
        if name not in ("in the future", "of the first year"):
            yield BadInput(
                name=f"a moment {name}",
                make=partial(changed_data, "updated_at", timestamp),
                handled=handled,
            )


FIELDS: Final = (*_envelopes(), *_fields(), *_events())
