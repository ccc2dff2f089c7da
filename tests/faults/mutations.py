"""Messages that are nearly right: captured ones with something changed in their bytes or in their JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from random import Random
from typing import Any, Final

__all__ = ["mutated"]

_TOKENS: Final = (
    *(b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"null", b"NaN"),
    *(b"\xff", b"\x00", b"\\ud800", b"\\\\u0000", b"1e999"),
)
_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1.5, 10**400, float("nan"), float("inf"), "", "x", "\0\r\n\x1b[2J", "\ud800", "é" * 50, [], {}),
    *(
        [None],
        [[[]]],
        {"": ""},
        "2026-11-22T14:13:04Z",
        "9999-99-99",
        "1.9",
        "2.0",
        "nova_object.data",
        {"nova_object.data": 7},
    ),
)
_KEYS: Final = ("", "uuid", "nova_object.version", "x.data", "__class__", "\ud800", "event_type", "_context_x", "_unique_id")


def mutated(random: Random, bodies: Sequence[bytes], count: int) -> Iterator[bytes]:
    """Return `count` different bodies; half of them are still JSON."""
    seen = set(bodies)
    while count:
        body = random.choice(bodies)
        change = _changed_json if random.random() < 0.5 else _changed_bytes
        body = change(random, body)
        if body not in seen:
            seen.add(body)
            count -= 1
            yield body


def _changed_bytes(random: Random, body: bytes) -> bytes:
    for _ in range(random.randint(1, 4)):
        start = random.randrange(len(body) + 1)
        end = min(start + random.randint(1, 8), len(body)) if random.random() < 0.8 else random.randint(start, len(body))
        before, middle, after = body[:start], body[start:end], body[end:]
        new = random.choice(_TOKENS) if random.random() < 0.7 else bytes([random.randrange(256)])
        body = before + random.choice((new + middle, new, b"", middle + middle, middle[::-1])) + after
    return body


def _changed_json(random: Random, body: bytes) -> bytes:
    outer = json.loads(body)
    inner = json.loads(outer["oslo.message"]) if "oslo.message" in outer else outer
    for _ in range(random.randint(1, 3)):
        _change(random, inner)
    if random.random() < 0.1:
        _change(random, outer)
    if outer is not inner and isinstance(outer.get("oslo.message"), str):
        outer["oslo.message"] = json.dumps(inner, ensure_ascii=random.random() < 0.8)
    return json.dumps(outer, ensure_ascii=True).encode()


def _change(random: Random, value: Any) -> None:
    """Change one thing somewhere inside of an object."""
    parts = list(_parts(value))
    part = random.choice(parts)
    keys = list(part) if isinstance(part, dict) else list(range(len(part)))
    if not keys:
        return
    key = random.choice(keys)
    act = random.randrange(4)
    if act == 0:
        del part[key]
    elif act == 1:
        part[key] = deepcopy(random.choice(_VALUES))
    elif act == 2:
        part[key] = [part[key]]
    elif isinstance(part, dict):
        part[random.choice(_KEYS)] = part.pop(key)
    else:
        part.append(deepcopy(random.choice(_VALUES)))


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _parts(item)
