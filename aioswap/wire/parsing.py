"""JSON to plain values, as the standard library takes it, and within a bound of work.

Bytes alone bound nothing: in a mebibyte there is room for half a million empty lists, which take a second to make.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic_core import from_json

from aioswap.errors import DecodeError

__all__ = ["MAX_DEPTH", "MAX_KEYS", "MAX_PARTS", "check_size", "parse"]

MAX_PARTS: Final = 4096
"""Objects and lists in a message. A swap of an instance with 300 volumes and ports has 1,300."""

MAX_KEYS: Final = 20_000
"""Keys in all of these objects together. The same swap has 4,600."""

MAX_DEPTH: Final = 200
"""Objects and lists inside each other: pydantic's own limit. Nova has 8."""

_OPENING: Final = b"[{"
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def check_size(text: bytes | str, place: str) -> None:
    """Refuse JSON of more than `MAX_PARTS` objects and lists, or `MAX_KEYS` keys. What stands in its texts does not count.

    Raises:
        DecodeError: there are more; the error's text begins with `place`.
    """
    if len(text) <= 2 * MAX_PARTS:  # each has two brackets
        return
    raw = _bytes(text)
    if _crowded(raw) and _crowded(_without_texts(raw)):
        raise DecodeError(f"{place}: holds more than {MAX_PARTS} objects and lists, or {MAX_KEYS} keys")


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _crowded(raw: bytes) -> bool:
    return raw.count(b"{") + raw.count(b"[") > MAX_PARTS or raw.count(b":") > MAX_KEYS


def _without_texts(raw: bytes) -> bytes:
    """Return what stands outside of quotes. Escapes go first; in JSON they occur in texts only."""
    return b"".join(raw.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])


def _depth(text: bytes | str) -> int:
    """Return how many brackets are open at once, at most."""
    depth = deepest = 0
    for bracket in _without_texts(_bytes(text)).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in _OPENING else -1
        deepest = max(deepest, depth)
    return deepest


def parse(text: bytes | str, place: str) -> Any:
    """Return the plain values that `text` says, in JSON as the standard library takes it; of a key that stands twice the last.

    Raises:
        DecodeError: it is none, of too many parts, or deeper than `MAX_DEPTH`; the error's text begins with `place`.
    """
    check_size(text, place)
    try:
        return from_json(text)
    except (ValueError, TypeError):
        pass  # refused: by the standard library too?
    if _depth(text) > MAX_DEPTH:  # it would overflow the stack of whoever walks it
        raise DecodeError(f"{place}: nested too deeply")
    try:
        return json.loads(text.decode() if isinstance(text, bytes) else text)
    except UnicodeDecodeError as error:
        raise DecodeError(f"{place}: byte {error.start} is no UTF-8") from None
    except json.JSONDecodeError as error:
        raise DecodeError(f"{place}: character {error.pos} is no JSON") from None
    except ValueError:
        raise DecodeError(f"{place}: a number has too many digits") from None
