"""The notifications that are sent and read: what real novas emitted, from `tests/samples`, with fresh ids."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from tests.capture import Capture, captures

__all__ = ["BODY", "CONTEXT", "EVENT_TYPE", "INNER", "PUBLISHER_ID", "foreign", "mixed", "swaps"]

_INSTANCES: Final = 100
_PREFIX: Final = "_context_"


def _captured(name: str) -> Capture:
    return next(capture for capture in captures("instance.volume_swap.start") if capture.name == name)


_SWAP: Final = _captured("nova34-v2-default__instance.volume_swap.start")
BODY: Final = _SWAP.body
"""A swap's `.start`, as nova 34 sent it."""

INNER: Final[dict[str, Any]] = _SWAP.message
"""The same, decoded."""

EVENT_TYPE: Final = _SWAP.event_type
PUBLISHER_ID: Final = str(INNER["publisher_id"])
CONTEXT: Final = {key.removeprefix(_PREFIX): value for key, value in INNER.items() if key.startswith(_PREFIX)}
_FOREIGN: Final = tuple(capture for capture in captures() if capture.name.startswith("nova34-others__"))


def swaps(count: int) -> Iterator[bytes]:
    """Make bodies of swap notifications: each has ids of its own, and the instances take turns."""
    for number in range(count):
        yield _swap(number)


def foreign(count: int) -> Iterator[bytes]:
    """Make bodies of other notifications, the kinds in turn; a swap stands before them and one behind."""
    yield _swap(0)
    for number in range(count):
        yield _foreign(number)
    yield _swap(1)


def mixed(count: int, share: float) -> Iterator[bytes]:
    """Make bodies of which a share is foreign, in an order that is always the same; the first and the last are swaps."""
    order = random.Random(count)
    yield _swap(0)
    for number in range(1, count - 1):
        yield _foreign(number) if order.random() < share else _swap(number)
    yield _swap(count - 1)


def _swap(number: int) -> bytes:
    instance = str(INNER["payload"]["nova_object.data"]["uuid"]).encode()
    body = _with_ids(BODY, INNER, number)
    return body.replace(instance, b"%08x" % (number % _INSTANCES) + instance[8:])


def _foreign(number: int) -> bytes:
    capture = _FOREIGN[number % len(_FOREIGN)]
    return _with_ids(capture.body, capture.message, number)


def _with_ids(body: bytes, inner: dict[str, Any], number: int) -> bytes:
    """Give a body ids that no other one of this run has: oslo.messaging's listener and aioswap both drop copies."""
    for key in ("message_id", "_unique_id"):
        old = str(inner[key]).encode()
        body = body.replace(old, b"%08x" % number + old[8:])
    return body
