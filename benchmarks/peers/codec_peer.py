"""Decoding and encoding alone: aioswap's own functions, and the standard library's as oslo.messaging uses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aioswap.wire.envelope import decode, encode
from benchmarks.notifications import BODY
from benchmarks.peers.emitted import notification
from benchmarks.peers.task import Task, Watch, answer


def _timed(count: int, function: Callable[[], Any]) -> dict[str, float]:
    for _ in range(count // 20 + 1):
        function()
    watch = Watch()
    watch.start()
    for _ in range(count):
        function()
    watch.stop()
    return watch.figures(count)


def decode_typed(task: Task) -> dict[str, float]:
    """From a body to the typed notification."""
    return _timed(task.count, lambda: decode(BODY))


def decode_json(task: Task) -> dict[str, float]:
    """From a body to dictionaries."""
    return _timed(task.count, lambda: json.loads(json.loads(BODY)["oslo.message"]))


def encode_typed(task: Task) -> dict[str, float]:
    """From a typed notification, as an emitter makes it, to a body."""
    made = notification()
    return _timed(task.count, lambda: encode(made))


def encode_json(task: Task) -> dict[str, float]:
    """From the same notification's dictionaries to a body."""
    inner = notification().to_wire()
    return _timed(task.count, lambda: json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(inner)}).encode())


if __name__ == "__main__":
    answer({"decode": decode_typed, "decode-json": decode_json, "encode": encode_typed, "encode-json": encode_json})
