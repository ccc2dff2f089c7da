"""What a failed expectation says: what was expected, and what came instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

from aioswap.wire.events import EventPattern
from aioswap.wire.faults import mask
from aioswap.wire.notification import Notification
from aioswap.wire.payloads import ExceptionPayload, InstanceActionVolumeSwapPayload

__all__ = ["difference", "listed", "shown"]

_LONGEST: Final = 50
"""Lines."""
_WIDEST: Final = 200
"""Characters of a line."""


def shown(notification: Notification[Any]) -> str:
    """Return a line about a notification, without secrets."""
    payload, told = notification.payload, [notification.event_type, f"from {notification.publisher_id}"]
    if isinstance(payload, InstanceActionVolumeSwapPayload):
        told.append(f"{payload.uuid}: {payload.old_volume_id} -> {payload.new_volume_id}")
    fault = payload if isinstance(payload, ExceptionPayload) else getattr(payload, "fault", None)
    if isinstance(fault, ExceptionPayload):
        told.append(f"{fault.exception}: {mask(fault.exception_message)}")
    line = ascii("  ".join(told))[1:-1]
    return line if len(line) <= _WIDEST else f"{line[:_WIDEST]}..."


def listed(notifications: Sequence[Notification[Any]]) -> str:
    """Return a line about each, the first ones if there are many."""
    return _lines(f"  {shown(each)}" for each in notifications) or "  nothing at all"


def difference(expected: Sequence[EventPattern[Any]], came: Sequence[Notification[Any]]) -> str:
    """Return both in one list; empty if what came is what was expected, in order and number."""
    if len(expected) == len(came) and all(map(_fits, expected, came)):
        return ""
    wanted = [pattern.pattern for pattern in expected]
    heard = [next((each.pattern for each in expected if _fits(each, one)), one.event_type) for one in came]
    lines: list[str] = []
    for _, start, end, first, last in SequenceMatcher(None, wanted, heard, autojunk=False).get_opcodes():
        same = wanted[start:end] == heard[first:last]
        lines += [] if same else [f"- {pattern}" for pattern in wanted[start:end]]
        lines += [f"{' ' if same else '+'} {shown(one)}" for one in came[first:last]]
    return _lines(lines)


def _fits(pattern: EventPattern[Any], notification: Notification[Any]) -> bool:
    return pattern.matches(notification.event_type)


def _lines(lines: Iterable[str]) -> str:
    every = list(lines)
    more = len(every) - _LONGEST
    return "\n".join([*every[:_LONGEST], f"... and {more} more"] if more > 0 else every)
