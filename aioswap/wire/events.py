"""Event types and patterns of them, each with the payload that belongs to it; and the peek that spares parsing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from aioswap.wire.notification import Priority
from aioswap.wire.objects import VersionedObject
from aioswap.wire.payloads import ExceptionPayload, InstanceActionVolumeSwapPayload

__all__ = ["EventPattern", "EventType", "event_pattern", "payload_type", "peek", "volume_swap"]

T = TypeVar("T")

_PLAIN: Final = re.compile(r"[\w.:-]+", re.ASCII)
_ASCII_ESCAPE: Final = re.compile(rb"\\u00[2-7]").search
"""Finds an escape that may stand for a letter of an event type, or for the backslash of another escape."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class EventPattern(Generic[T]):
    """A pattern of event types, and the class of their payloads.

    Args:
        pattern: words with dots between them; `*` stands for one word, `#` for any number of words, none included.
        payload: the payload's class.

    Raises:
        ValueError: the pattern is empty or has an empty word.
    """

    pattern: str
    payload: type[T]
    _words: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        words = tuple(self.pattern.split("."))
        if "" in words:
            raise ValueError(
                f"pattern {self.pattern!r}: give words with single dots between them, such as instance.volume_swap.*"
            )
        object.__setattr__(self, "_words", words)

    def matches(self, event_type: str) -> bool:
        """Say whether `event_type` is one of the pattern's, in time that is linear for patterns with a single `#`."""
        return event_type == self.pattern or _matches(self._words, event_type.split("."))


@dataclass(frozen=True, slots=True)
class EventType(EventPattern[T]):
    """One event type, and the class of its payload.

    Raises:
        ValueError: `pattern` has a wildcard, or is no pattern.
    """

    priority: Priority = field(init=False, repr=False, compare=False)
    """What Nova gives it: ERROR to errors, INFO to everything else."""

    def __post_init__(self) -> None:
        EventPattern.__post_init__(self)
        if "*" in self._words or "#" in self._words:
            raise ValueError(f"event type {self.pattern!r}: a pattern with wildcards is an EventPattern")
        object.__setattr__(self, "priority", Priority.ERROR if self.phase == "error" else Priority.INFO)

    @property
    def name(self) -> str:
        """The event type as text."""
        return self.pattern

    @property
    def phase(self) -> str:
        """The last word: `start`, `end`, `error`, or another."""
        return self._words[-1]


def _matches(pattern: tuple[str, ...], words: list[str]) -> bool:
    """Match as AMQP's topic exchanges do: on a mismatch only the last `#` takes one word more, so nothing explodes."""
    at = place = 0
    resume: tuple[int, int] | None = None
    while at < len(words):
        word = pattern[place] if place < len(pattern) else None
        if word == "#":
            place += 1
            resume = place, at
        elif word is not None and word in ("*", words[at]):
            place, at = place + 1, at + 1
        elif resume is not None:
            place, at = resume[0], resume[1] + 1
            resume = place, at
        else:
            return False
    return all(word == "#" for word in pattern[place:])


@dataclass(frozen=True, slots=True)
class _VolumeSwap:
    """The event types of a swap."""

    start: EventType[InstanceActionVolumeSwapPayload]
    end: EventType[InstanceActionVolumeSwapPayload]
    error: EventType[InstanceActionVolumeSwapPayload]
    any: EventPattern[InstanceActionVolumeSwapPayload]
    """All of them, phases of later novas included."""


volume_swap: Final = _VolumeSwap(
    start=EventType("instance.volume_swap.start", InstanceActionVolumeSwapPayload),
    end=EventType("instance.volume_swap.end", InstanceActionVolumeSwapPayload),
    error=EventType("instance.volume_swap.error", InstanceActionVolumeSwapPayload),
    any=EventPattern("instance.volume_swap.*", InstanceActionVolumeSwapPayload),
)


_PAYLOADS: Final[Mapping[str, type[VersionedObject]]] = {
    **dict.fromkeys((volume_swap.start.name, volume_swap.end.name, volume_swap.error.name), InstanceActionVolumeSwapPayload),
    "compute.exception": ExceptionPayload,
}


def event_pattern(text: str) -> EventPattern[Any]:
    """Return the pattern that `text` is, for payloads of any class.

    Raises:
        ValueError: it is empty or has an empty word.
    """
    return EventPattern(text, object)


def payload_type(event_type: str) -> type[VersionedObject] | None:
    """Return the class that `decode` gives to payloads of `event_type`; None: a plain `VersionedObject`."""
    known = _PAYLOADS.get(event_type)
    return InstanceActionVolumeSwapPayload if known is None and volume_swap.any.matches(event_type) else known


def _literal(words: tuple[str, ...]) -> str:
    """Return the longest text that every event type of a pattern holds."""
    literals, current = [""], ""
    for number, word in enumerate(words):
        dot = "." if number and "#" not in words[number - 1 : number + 1] else ""
        current += dot
        if word in ("*", "#"):
            literals.append(current)
            current = ""
        else:
            current += word
    return max(*literals, current, key=len)


def peek(patterns: Iterable[EventPattern[Any]]) -> Callable[[bytes], bool]:
    """Return a function that says whether a body may hold an event type of `patterns`.

    It only rules out: bodies in which no pattern's literal part occurs, which write no ASCII character as an escape, and
    which are UTF-8 without a byte order mark. What is left has to be decoded.
    """
    texts = {_literal(pattern._words) for pattern in patterns}
    # JSON may write other characters than these as escapes of other forms
    if not all(_PLAIN.fullmatch(text) for text in texts):
        return lambda body: True
    literals = [text.encode() for text in sorted(texts, key=len)]

    def wanted(body: bytes) -> bool:
        for literal in literals:
            if literal in body:
                return True
        if b"\\u00" in body and _ASCII_ESCAPE(body) is not None:
            return True
        return 0 in body[:4] or body.startswith(_BYTE_ORDER_MARK)

    return wanted
