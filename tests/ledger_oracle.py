"""A second reading of docs/swap-states.md, slow and plain, to judge the ledger by. It shares no code with it.

Everything is worked out anew from the whole history for each question; nothing is kept, nothing is clever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cmp_to_key
from typing import Any, TypeAlias

from aioswap.wire.notification import Notification

__all__ = ["History", "expected_swaps"]

History: TypeAlias = Sequence[tuple[Notification[Any], datetime]]
"""What was given to the ledger, in that order, with the moments of arrival."""


@dataclass(frozen=True)
class _Item:
    """One notification that was given, and which one it was."""

    notification: Notification[Any]
    when: datetime
    number: int

    @property
    def id(self) -> str:
        return self.notification.message_id

    @property
    def word(self) -> str:
        return self.notification.event_type.split(".")[-1]

    @property
    def publisher(self) -> str:
        return self.notification.publisher_id

    @property
    def stamp(self) -> datetime:
        return self.notification.timestamp

    @property
    def arrival(self) -> tuple[datetime, int]:
        return (self.when, self.number)


_Key: TypeAlias = tuple[str, str, str, str, str | None]


def expected_swaps(
    history: History, now: datetime, stuck_after: float, spans: Sequence[tuple[datetime, datetime]] = ()
) -> list[dict[str, Any]]:
    """Return the fields of each swap that the page says there is, the newest last."""
    items = [_Item(notification, when, number) for number, (notification, when) in enumerate(history)]
    keys: dict[_Key, list[_Item]] = {}
    ids = set()
    for item in items:
        key = _key(item)
        if key is not None and item.id not in ids:
            ids.add(item.id)
            keys.setdefault(key, []).append(item)
    swaps = []
    for key, own in keys.items():
        for attempt in _attempts(key, own):
            begin = (_counted_arrival(attempt[0], own), attempt[0].stamp, attempt[0].arrival)
            signs = _signs(key, own[0].when, items)
            swaps.append((begin, _swap(key, attempt, signs, now, timedelta(seconds=stuck_after), spans)))
    return [swap for _, swap in sorted(swaps, key=lambda pair: pair[0])]


def _key(item: _Item) -> _Key | None:
    words = item.notification.event_type.split(".")
    if words[:2] != ["instance", "volume_swap"] or len(words) != 3:
        return None
    payload = item.notification.payload
    request = item.notification.context.get("request_id") or None
    return (item.publisher.split(":")[0], payload.uuid, payload.old_volume_id, payload.new_volume_id, request)


# Order


def _counted_arrival(item: _Item, own: list[_Item]) -> tuple[datetime, int]:
    """Return its arrival, or that of a later one of its publisher which overtook it."""
    return min(
        other.arrival
        for other in own
        if other.publisher == item.publisher and (other.stamp, other.arrival) >= (item.stamp, item.arrival)
    )


def _in_order(own: list[_Item]) -> list[_Item]:
    def compare(one: _Item, other: _Item) -> int:
        if one.publisher == other.publisher:
            return -1 if (one.stamp, one.arrival) < (other.stamp, other.arrival) else 1
        return -1 if _counted_arrival(one, own) < _counted_arrival(other, own) else 1

    return sorted(own, key=cmp_to_key(compare))


def _attempts(key: _Key, own: list[_Item]) -> list[list[_Item]]:
    if key[4] is not None:
        return [_in_order(own)]
    attempts: list[list[_Item]] = []
    for item in _in_order(own):
        joins = bool(attempts) and item.word != "start"
        if joins and item.word in ("end", "error"):
            joins = not any(other.word in ("end", "error") for other in attempts[-1])
        if joins:
            attempts[-1].append(item)
        else:
            attempts.append([item])
    return attempts


# Signs


def _signs(key: _Key, first: datetime, items: list[_Item]) -> list[_Item]:
    """Return the signs about a key that are not forgotten when its first notification arrives, without duplicates."""
    found: dict[str, _Item] = {}
    for item in items:
        about_it = _is_about_request(key, item) or _is_about_instance(key, item)
        if about_it and item.when > first - timedelta(hours=1):
            found.setdefault(item.id, item)
    return list(found.values())


def _is_about_request(key: _Key, item: _Item) -> bool:
    notification = item.notification
    if notification.event_type != "compute.exception" or notification.priority != "ERROR" or key[4] is None:
        return False
    return notification.context.get("request_id") == key[4] and item.publisher.split(":")[0] == key[0]


def _is_about_instance(key: _Key, item: _Item) -> bool:
    event_type = item.notification.event_type
    relevant = (
        event_type in ("instance.delete.end", "instance.evacuate")
        or event_type.startswith("instance.evacuate.")
        or (event_type.startswith("instance.rebuild.") and event_type.count(".") == 2)
    )
    return relevant and getattr(item.notification.payload, "uuid", None) == key[1]


def _host(item: _Item) -> str | None:
    parts = item.publisher.split(":", 1)
    return parts[1] if len(parts) == 2 and parts[1] else None


def _counts(sign: _Item, starts: list[_Item]) -> bool:
    if sign.notification.event_type == "compute.exception":
        return all(start.publisher != sign.publisher or start.stamp <= sign.stamp for start in starts)
    for start in starts:
        if start.publisher == sign.publisher:
            follows = (sign.stamp, sign.arrival) > (start.stamp, start.arrival)
        else:
            follows = sign.arrival > start.arrival
        if not follows:
            return False
    if sign.notification.event_type == "instance.delete.end":
        return True
    there, here = _host(sign), _host(starts[-1])
    return there is not None and here is not None and there != here


# The verdict


def _swap(
    key: _Key,
    attempt: list[_Item],
    signs: list[_Item],
    now: datetime,
    stuck_after: timedelta,
    spans: Sequence[tuple[datetime, datetime]],
) -> dict[str, Any]:
    seen_starts = [item for item in attempt if item.word == "start"]
    starts = seen_starts or attempt[:1]
    telling = [item for item in attempt if item.word in ("start", "end", "error")]
    stuck_at = min(start.when for start in starts) + stuck_after
    decides: _Item | None = None
    sign: _Item | None = None
    state = "running"
    if telling and telling[-1].word != "start":
        decides = telling[-1]
        state = "succeeded" if decides.word == "end" else "failed"
    else:
        both_arrived = [(max([one.when, *(start.when for start in starts)]), one) for one in signs if _counts(one, starts)]
        over = [(when, one.arrival, one) for when, one in both_arrived if now - when >= timedelta(seconds=5)]
        if over:
            sign = min(over, key=lambda entry: entry[:2])[2]
            state = "failed"
        elif now >= stuck_at:
            state = "stuck"
    said = decides or sign
    evidence = [*attempt, sign] if sign else attempt
    begun = seen_starts[0] if seen_starts else None
    return {
        "source": key[0],
        "host": _host(starts[-1]),
        "instance": key[1],
        "old_volume_id": key[2],
        "new_volume_id": key[3],
        "request_id": key[4],
        "global_request_id": _first([item.notification.context.get("global_request_id") for item in attempt]),
        "project_id": _first([item.notification.payload.tenant_id for item in attempt]),
        "state": state,
        "started_at": begun.stamp if begun else None,
        "finished_at": said.stamp if said else None,
        "duration": said.stamp - begun.stamp if said and begun and said.publisher == begun.publisher else None,
        "fault": _fault(decides, sign),
        "inferred": bool(sign),
        "late": decides is not None and decides.when >= stuck_at,
        "evidence": tuple(item.id for item in evidence),
        "deaf": _deaf(attempt, begun, decides.when if decides else now, spans),
        "effective_volume_id": _effective(key, decides),
        "first_seen": min(item.when for item in attempt),
        "last_seen": max(item.when for item in evidence),
        "others": (),
    }


def _first(values: list[Any]) -> Any:
    return next((value for value in values if value), None)


def _fault(decides: _Item | None, sign: _Item | None) -> Any:
    if decides is not None:
        return decides.notification.payload.fault if decides.word == "error" else None
    is_exception = sign is not None and sign.notification.event_type == "compute.exception"
    return sign.notification.payload if sign is not None and is_exception else None


def _effective(key: _Key, decides: _Item | None) -> str | None:
    if decides is None or decides.word != "end":
        return None
    shown = [device.volume_id for device in decides.notification.payload.block_devices or []]
    if key[3] in shown:
        return key[3]
    return key[2] if key[2] in shown else None


def _deaf(
    attempt: list[_Item], begun: _Item | None, until: datetime, spans: Sequence[tuple[datetime, datetime]]
) -> tuple[tuple[datetime, datetime], ...]:
    first = min(item.when for item in attempt)
    return tuple((begin, end) for begin, end in spans if begin < until and (begun is None or end > first))
