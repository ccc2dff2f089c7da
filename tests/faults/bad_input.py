"""Messages that a peer might send by mistake or on purpose, each with a name and what becomes of it."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final

from aioswap.transports.base import MAX_BODY, NOTIFICATION_PROPERTIES
from tests.consumer_kit import END, notification_body
from tests.faults.bad_fields import FIELDS
from tests.faults.broken import (
    BadInput,
    changed,
    changed_data,
    filled,
    foreign,
    in_context,
    inner_message,
    packed,
    polluted,
    twice,
    unknown,
    written,
)

__all__ = ["CASES"]


def _bytes() -> Iterator[BadInput]:
    good = notification_body(END, message_id="11111111-1111-4111-8111-111111111111")
    yield BadInput(name="nothing", make=lambda: b"")
    yield BadInput(name="a space", make=lambda: b" ")
    yield BadInput(name="no JSON", make=lambda: b"hello")
    yield BadInput(name="JSON that ends early", make=lambda: good[:-1])
    yield BadInput(name="JSON and more", make=lambda: good + good)
    yield BadInput(name="a wrong byte", make=lambda: good.replace(b"oslo.version", b"oslo.ver\xffion"))
    yield BadInput(name="a letter cut in two", make=lambda: good.replace(b"2.0", b"2.\xc3"))
    yield BadInput(name="a letter written too long", make=lambda: good.replace(b"2.0", b"2.\xc0\xb0"))
    for code in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-7"):
        yield BadInput(name=code, make=partial(good.decode().encode, code))
    yield BadInput(name="pickle", make=lambda: b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.")
    yield BadInput(name="msgpack", make=lambda: b"\x82\xacoslo.version\xa32.0\xacoslo.message\xa0")
    yield BadInput(name="XML", make=lambda: b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "b">]><a>&b;</a>')
    yield BadInput(name="zeros", make=lambda: bytes(4096))


def _compressed() -> Iterator[BadInput]:
    good = notification_body(END, message_id="22222222-2222-4222-8222-222222222222")
    yield BadInput(name="gzip without a header", make=lambda: gzip.compress(good, mtime=0))

    def case(name: str, header: Any, make: Callable[[], bytes], *, handled: bool = False) -> BadInput:
        return BadInput(name=name, make=make, handled=handled, headers={"compression": header})

    yield case("gzip", "application/x-gzip", lambda: gzip.compress(good, mtime=0), handled=True)
    yield case("zlib", "zlib", lambda: zlib.compress(good), handled=True)
    yield case("bz2", "application/x-bz2", lambda: bz2.compress(good), handled=True)
    yield case("lzma", "application/x-lzma", lambda: lzma.compress(good), handled=True)
    yield case("gzip that is none", "gzip", lambda: good)
    yield case("gzip that ends early", "gzip", lambda: gzip.compress(good, mtime=0)[:-9])
    yield case("gzip and more", "gzip", lambda: gzip.compress(good, mtime=0) + b"more")
    yield case("gzip in gzip", "gzip", lambda: gzip.compress(gzip.compress(good, mtime=0), mtime=0))
    yield case("a gzip bomb", "gzip", lambda: gzip.compress(bytes(64 << 20), mtime=0))
    yield case("a bz2 bomb", "bzip2", lambda: bz2.compress(bytes(64 << 20)))
    yield case("an lzma bomb", "xz", lambda: lzma.compress(bytes(16 << 20), preset=0))
    yield case("a compression that is not here", "zstd", lambda: b"\x28\xb5\x2f\xfd" + good)
    yield case("a compression that nobody knows", "rot13", lambda: good, handled=True)
    yield case("a compression that is no text", 7, lambda: good, handled=True)


def _json() -> Iterator[BadInput]:
    yield BadInput(name="100,000 lists in each other", make=lambda: b"[" * 100_000 + b"]" * 100_000)
    yield BadInput(name="100,000 objects in each other", make=lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    yield BadInput(name="100,000 lists in the message", make=lambda: packed("[" * 100_000 + "]" * 100_000))
    yield BadInput(name="4,000 lists in each other", make=lambda: b"[" * 4_000 + b"]" * 4_000)
    for depth, handled in ((150, True), (600, False), (4_000, False)):
        text = "[" * depth + "]" * depth
        for where, place in (("a swap", unknown), ("another event", foreign), ("a context", in_context)):
            yield BadInput(
                name=f"{depth} lists in {where}",
                make=partial(written, text, place),
                handled=handled,
            )
    for name, number, handled in (
        ("NaN", "NaN", True),
        ("Infinity", "Infinity", True),
        ("-Infinity", "-Infinity", True),
        ("1e400", "1e400", True),
        ("a fraction with 100,000 digits", "0." + "1" * 100_000, True),
        ("a number with 100 digits", "9" * 100, True),
        ("a number with 4301 digits", "9" * 4301, False),
        ("a number with a million digits", "9" * 1_000_000, False),
        ("-0", "-0", True),
        ("01", "01", False),
        ("0x1", "0x1", False),
    ):
        for where, place in (("a swap", unknown), ("another event", foreign)):
            yield BadInput(
                name=f"{name} in {where}",
                make=partial(written, number, place),
                handled=handled,
            )
    yield BadInput(name="NaN for a number", make=lambda: written("NaN", lambda value: changed_data("progress", value)))
    for where, place in (("a swap", unknown), ("another event", foreign), ("a context", in_context)):
        yield BadInput(name=f"a lone surrogate in {where}", make=partial(place, "\ud800"), handled=True)
    for key in ("message_id", "publisher_id", "event_type", "priority"):
        yield BadInput(name=f"a lone surrogate as {key}", make=partial(changed, **{key: "\udfff"}), handled=True)
    yield BadInput(name="surrogates the wrong way round", make=lambda: changed_data("host", "\udc00\ud800"), handled=True)
    yield BadInput(name="a lone surrogate as a key", make=lambda: changed_data("\ud800", 1), handled=True)
    yield BadInput(name="a lone surrogate as the timestamp", make=lambda: changed(timestamp="\ud800"))
    for name, characters in (
        ("NUL", "\0"),
        ("CR", "\r"),
        ("LF", "\n"),
        ("ESC", "\x1b[2J"),
        ("all of these", "\0\r\n\x1b]0;x\x07"),
    ):
        yield BadInput(name=f"{name} in every text", make=partial(polluted, characters), handled=True)
    yield BadInput(name="what turns text round in every text", make=lambda: polluted("\u202e\u2066"), handled=True)
    yield BadInput(name="a raw LF in a text", make=lambda: packed(json.dumps(inner_message()).replace("compute", "comp\nute")))
    yield BadInput(name="a comment", make=lambda: packed(json.dumps(inner_message()) + "// no"))


def _duplicates() -> Iterator[BadInput]:
    inner = json.dumps(inner_message())
    first = b'{"oslo.version": "9.0", "oslo.message": "[]", '
    yield BadInput(name="the envelope's keys twice", make=lambda: first + packed(inner)[1:], handled=True)
    yield BadInput(name="the version twice, the last one wrong", make=lambda: packed(inner)[:-1] + b', "oslo.version": "9.0"}')
    yield BadInput(
        name="the event type twice",
        make=lambda: twice(f'"event_type": "{END}"', '"event_type": "flavor.create"'),
        handled=True,
    )
    yield BadInput(name="the payload twice", make=lambda: packed(inner[:-1] + ', "payload": []}'))
    yield BadInput(name="the data twice", make=lambda: twice('"nova_object.version": "1.9"', '"nova_object.version": "2.0"'))
    yield BadInput(name="a field twice", make=lambda: twice('"progress": 0', '"progress": "x"'))
    yield BadInput(name="a field of a nested object twice", make=lambda: twice('"vcpus": 1', '"vcpus": 2'), handled=True)


def _large() -> Iterator[BadInput]:
    lists, keys = "[" + "[]," * 340_000 + "[]]", "{" + ",".join(f'"{n:x}":1' for n in range(75_000)) + "}"
    items, wrapper = "[" + "1," * 500_000 + "1]", '{"a.name":"","a.namespace":"","a.version":"","a.data":{}}'
    yield BadInput(name="1 MiB, to the byte", make=lambda: filled(MAX_BODY), handled=True)
    yield BadInput(name="1 MiB and a byte", make=lambda: filled(MAX_BODY + 1))
    yield BadInput(name="a text of 50 MB", make=lambda: unknown("x" * 50_000_000))
    yield BadInput(name="a million keys", make=lambda: b"{" + b",".join(b'"%d":1' % n for n in range(1_000_000)) + b"}")
    yield BadInput(name="1 MiB of empty lists", make=lambda: lists.encode())
    for where, place in (("a swap", unknown), ("another event", foreign), ("a context", in_context)):
        for what, text, handled in (
            ("of empty lists", lists, False),
            ("of keys", keys, False),
            ("of numbers", items, True),
            ("of wrappers", f"[{','.join([wrapper] * 15_000)}]", False),
            ("with 4,000 empty lists", "[" + "[]," * 4_000 + "1," * 400_000 + "1]", True),
            ("with 2,000 wrappers", f"[{','.join([wrapper] * 1_900)}" + ",1" * 400_000 + "]", True),
            ("with 40 deep lists", "[" + ("[" * 100 + "]" * 100 + ",") * 40 + "1," * 400_000 + "1]", True),
            ("with 19,000 keys", "{" + ",".join(f'"{n}":""' for n in range(18_000)) + "}", True),
            ("of texts with brackets", "[" + '"[",' * 150_000 + '"["]', True),
        ):
            yield BadInput(
                name=f"1 MiB {what} in {where}",
                make=partial(written, text, place),
                handled=handled,
            )
    yield BadInput(name="1 MiB of wrong values", make=lambda: changed_data("metadata", {str(n): n for n in range(18_000)}))
    yield BadInput(
        name="1 MiB of right values",
        make=lambda: changed_data("metadata", {str(n): "x" * 40 for n in range(15_000)}),
        handled=True,
    )
    yield BadInput(name="1 MiB of escapes", make=lambda: packed('"' + "\\u0041" * 100_000 + '"'))
    yield BadInput(name="1 MiB of dots", make=lambda: changed(event_type="." * 1_000_000), handled=True)


def _amqp() -> Iterator[BadInput]:
    def case(name: str, *, handled: bool = True, headers: Mapping[str, Any] | None = None, **properties: Any) -> BadInput:
        return BadInput(
            name=name,
            make=lambda: packed(inner_message()),
            handled=handled,
            headers=headers or {},
            properties={**NOTIFICATION_PROPERTIES, **properties},
        )

    yield case("the content type of a picture", content_type="image/png")
    yield case("the content encoding UTF-16", content_encoding="utf-16")
    yield case("the content encoding gzip", content_encoding="gzip")
    yield BadInput(name="no properties at all", make=lambda: packed(inner_message()), handled=True, properties={})
    yield BadInput(name="no message id", make=lambda: packed(inner_message()), handled=True, message_id="")
    yield case("a queue to reply to", reply_to="nova", correlation_id="1")
    yield case("another's user id", user_id="nova")
    yield case("a type and an app", type="os.system", app_id="x", cluster_id="y")
    yield case("priority 255", priority=255)
    yield case("a message that nobody keeps", delivery_mode=1)
    yield case("a time from 1970", timestamp=datetime(1970, 1, 1, tzinfo=UTC))
    odd = {"none": None, "flag": True, "bytes": b"\xff", "list": [1, [2]], "table": {"a": {"b": 1}}, "float": float("nan")}
    yield case("headers of all types", headers=odd | {"decimal": Decimal("1.5"), "time": datetime(2026, 1, 1, tzinfo=UTC)})
    yield case("64 KiB of headers", headers={f"h{n}": "x" * 6_000 for n in range(10)})
    yield case("headers that are nested", headers={"a": [[[[[[[[[["x"]]]]]]]]]]})
    yield case("an attempt of none", headers={"aioswap-attempts": -1, "aioswap-replays": "x"})
    yield case("an attempt of many", headers={"aioswap-attempts": 1 << 62, "aioswap-replays": 1 << 62})
    yield case("a handler that is not here", handled=False, headers={"aioswap-owed": ["os.system"]})
    yield case("owed to no names", headers={"aioswap-owed": [7, None], "aioswap-handlers": {"a": 1}})
    yield case("reasons without handlers", headers={"aioswap-reasons": ["x" * 9_000], "aioswap-handlers": []})
    yield case(
        "a reason", headers={"aioswap-reason": "x" * 9_000, "aioswap-routing-key": "\x1b" * 99, "aioswap-first": "never"}
    )
    yield case("a death that was none", headers={"x-death": [{"reason": 7}], "x-delivery-count": "many"})
    yield BadInput(name="delivered before", make=lambda: packed(inner_message()), handled=True, redelivered=True)
    yield BadInput(name="delivered before, and bad", make=lambda: b"hello", redelivered=True)


CASES: Final = (*_bytes(), *_compressed(), *_json(), *_duplicates(), *_large(), *_amqp(), *FIELDS)
