"""The scenarios: who does what, with how many notifications, and by which settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["QUICK", "SCENARIOS", "Row", "Scenario"]

Filled = Literal["", "swaps", "foreign", "mixed"]

_CONSUMED: Final = 500
"""Prefetch of everybody who consumes."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One client in one scenario.

    Args:
        name: unique in its scenario.
        module: of `benchmarks.peers`; `librabbitmq` is the program in C.
        task: what it is asked to do.
        count: notifications (swaps, imports); chosen so that a run takes one to four seconds.
        window: in flight, unsettled, or at once.
        settings: how it is set, for the report.
    """

    name: str
    module: str
    task: str
    count: int
    window: int = 128
    settings: str = ""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Rows that are compared with each other; the first one is what the ratios are taken to.

    Args:
        title: what is done, for the report.
        filled: what the queue holds before each run.
        own_queue: aioswap's consumers have a queue of their own, the other clients share theirs.
        broker: whether it needs one.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    filled: Filled = ""
    own_queue: bool = False
    broker: bool = True


_AIOSWAP, _AIOPIKA, _FASTSTREAM, _OSLO = "aioswap_peer", "aiopika_peer", "faststream_peer", "oslo_peer"
_C, _AIORMQ, _CODEC, _IMPORTS = "librabbitmq", "aiormq_peer", "codec_peer", "imports"
_DECODER: Final = "decoder of its own, no casting, orjson, no logging"

_EMIT = Scenario(
    name="emit",
    title="emit with confirms, persistent; typed unless it says ready bytes",
    rows=(
        Row(name="aioswap", module=_AIOSWAP, task="emit", count=20_000, settings="memory outbox, 128 unconfirmed"),
        Row(
            name="aioswap, 100 tasks", module=_AIOSWAP, task="emit-by-tasks", count=10_000, window=100, settings="memory outbox"
        ),
        Row(name="aioswap, file, 100 tasks", module=_AIOSWAP, task="emit-to-file", count=10_000, window=100, settings="FULL"),
        Row(name="C librabbitmq", module=_C, task="emit", count=30_000, settings="ready bytes, 128 in flight"),
        Row(name="aiormq", module=_AIORMQ, task="emit", count=5_000, settings="ready bytes, 128 tasks"),
        Row(name="aio-pika", module=_AIOPIKA, task="emit", count=4_000, settings="pydantic core, 128 tasks"),
        Row(name="FastStream", module=_FASTSTREAM, task="emit", count=3_000, settings="publisher, bytes, 128 tasks"),
        Row(
            name="oslo.messaging", module=_OSLO, task="emit", count=2_000, window=16, settings="16 threads, no heartbeat thread"
        ),
    ),
)
_CONSUME = Scenario(
    name="consume",
    title="consume swaps: typed, async handler, acknowledged after handling, prefetch 500",
    filled="swaps",
    own_queue=True,
    rows=(
        Row(name="aioswap", module=_AIOSWAP, task="consume", count=20_000, window=_CONSUMED, settings="order per instance"),
        Row(name="C librabbitmq", module=_C, task="consume", count=30_000, window=_CONSUMED, settings="unread, one ack each"),
        Row(name="aiormq", module=_AIORMQ, task="consume", count=8_000, window=_CONSUMED, settings="unread"),
        Row(name="aio-pika", module=_AIOPIKA, task="consume", count=5_000, window=_CONSUMED, settings="pydantic, one pass"),
        Row(name="FastStream", module=_FASTSTREAM, task="consume", count=4_000, window=_CONSUMED, settings=_DECODER),
        Row(name="FastStream, annotated", module=_FASTSTREAM, task="consume-annotated", count=3_000, window=_CONSUMED),
        Row(name="oslo.messaging", module=_OSLO, task="consume", count=3_000, window=_CONSUMED, settings="threads; untyped"),
    ),
)
_SKIP = Scenario(
    name="skip",
    title="skip what is foreign: received, judged, acknowledged, prefetch 500",
    filled="foreign",
    own_queue=True,
    rows=(
        Row(name="aioswap", module=_AIOSWAP, task="consume", count=20_000, window=_CONSUMED),
        Row(name="aio-pika", module=_AIOPIKA, task="consume", count=5_000, window=_CONSUMED, settings="peek, never parsed"),
        Row(name="FastStream", module=_FASTSTREAM, task="consume", count=4_000, window=_CONSUMED, settings=f"peek; {_DECODER}"),
        Row(name="oslo.messaging", module=_OSLO, task="consume", count=3_000, window=_CONSUMED, settings="endpoint's filter"),
    ),
)
_MIX = Scenario(
    name="mix",
    title="consume a mix: 95 % foreign, the swaps as in consume",
    filled="mixed",
    own_queue=True,
    rows=_SKIP.rows,
)
_CODEC_ONLY = Scenario(
    name="codec",
    title="decode to the typed notification, encode from it; no broker",
    broker=False,
    rows=(
        Row(name="decode", module=_CODEC, task="decode", count=20_000),
        Row(name="json.loads twice", module=_CODEC, task="decode-json", count=20_000, settings="untyped"),
        Row(name="encode", module=_CODEC, task="encode", count=20_000),
        Row(name="json.dumps twice", module=_CODEC, task="encode-json", count=20_000, settings="untyped"),
    ),
)
_DECORATOR = Scenario(
    name="decorator",
    title="decorated swaps, 100 at once: a start, a body that yields, an end",
    rows=(
        Row(name="aioswap", module=_AIOSWAP, task="swaps", count=4_000, window=100, settings="memory outbox"),
        Row(name="aioswap, file", module=_AIOSWAP, task="swaps-to-file", count=3_000, window=100, settings="FULL"),
        Row(name="aio-pika", module=_AIOPIKA, task="swaps", count=1_500, window=100, settings="awaits both confirms"),
    ),
)
_LATENCY = Scenario(
    name="latency",
    title="from the call to the handler at 200 a second, both in one process",
    own_queue=True,
    rows=(
        Row(name="aioswap", module=_AIOSWAP, task="latency", count=600, window=100),
        Row(name="aio-pika", module=_AIOPIKA, task="latency", count=600, window=100),
    ),
)
_SCALE = Scenario(
    name="scale",
    title="emit as above, with more and more in flight",
    rows=(
        Row(name="aioswap, 100", module=_AIOSWAP, task="emit", count=20_000, window=100),
        Row(name="aioswap, 1", module=_AIOSWAP, task="emit", count=1_000, window=1),
        Row(name="aioswap, 1000", module=_AIOSWAP, task="emit", count=20_000, window=1_000),
        Row(name="aioswap, 10000", module=_AIOSWAP, task="emit", count=30_000, window=10_000),
        Row(name="aio-pika, 100", module=_AIOPIKA, task="emit", count=4_000, window=100),
        Row(name="aio-pika, 10000", module=_AIOPIKA, task="emit", count=12_000, window=10_000),
    ),
)
_IMPORT = Scenario(
    name="import",
    title="import, in milliseconds of CPU",
    broker=False,
    rows=(
        Row(name="aioswap", module=_IMPORTS, task="aioswap", count=1, settings="every public name"),
        Row(name="aioswap.wire", module=_IMPORTS, task="aioswap.wire", count=1),
        Row(name="aio_pika + pydantic", module=_IMPORTS, task="aio_pika,pydantic.main", count=1, settings="BaseModel loaded"),
        Row(name="faststream.rabbit", module=_IMPORTS, task="faststream.rabbit", count=1),
        Row(name="oslo_messaging", module=_IMPORTS, task="oslo_messaging", count=1),
    ),
)

SCENARIOS: Final = {
    each.name: each for each in (_EMIT, _CONSUME, _SKIP, _MIX, _CODEC_ONLY, _DECORATOR, _LATENCY, _SCALE, _IMPORT)
}
QUICK: Final = ("emit", "consume", "codec")
