"""Copies: what a consumer publishes before it acknowledges a delivery that is not done, for a retry or as a dead letter.

A copy has the original bytes and properties, and the original headers plus some of ours that begin with `aioswap-`: its trail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from aioswap.outcomes import Ack, Outcome, Reject, Retry
from aioswap.transports.base import MAX_BODY, NOTIFICATION_PROPERTIES, Delivery, Message
from aioswap.transports.limits import MAX_COPY
from aioswap.transports.topology import dead_letter_queue, pool_exchange, pool_queue, retry_queue
from aioswap.wire.faults import Mask, mask

__all__ = ["FRESH", "MAX_TEXT", "Trail", "bounded", "combine", "dead_letter", "plainer", "replayed", "retried"]

MAX_TEXT: Final = 1024
"""Bytes of a text that we write into a header."""

_MAX_TEXTS: Final = 16 * MAX_TEXT
_OURS: Final = "aioswap-"
_ATTEMPTS: Final = "aioswap-attempts"
_REPLAYS: Final = "aioswap-replays"
_OWED: Final = "aioswap-owed"
_HANDLERS: Final = "aioswap-handlers"
_REASONS: Final = "aioswap-reasons"
_FIRST: Final = "aioswap-first"
_LAST: Final = "aioswap-last"
_REASON: Final = "aioswap-reason"
_ROUTING_KEY: Final = "aioswap-routing-key"
_TRAIL: Final = frozenset((_ATTEMPTS, _REPLAYS, _OWED, _HANDLERS, _REASONS, _FIRST, _LAST, _REASON, _ROUTING_KEY))

_BROKERS_OWN: Final = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count", "CC", "BCC")
"""Headers that the broker writes for one way through its queues, or obeys: a copy takes a way of its own."""

_UNFIT: Final = frozenset(("expiration", "user_id", "delivery_mode"))
"""Properties that would end a copy early, have it refused under another login, or lose it when the broker restarts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """What a copy carries of the deliveries before it.

    Args:
        attempts: deliveries to handlers so far; the number of the next attempt, from 0.
        replays: how often it came back from the dead letters.
        owed: names of the handlers that are to run; None: all that match.
        rejected: handlers that rejected it, each with its reason, masked and bounded.
        first: when it was first delivered, ISO 8601; None: now is the first time.
        routing_key: the one that it was published with; None: the delivery's.
        reason: why it is a dead letter; None: it is none.
        last: when it became a dead letter, ISO 8601.
    """

    attempts: int = 0
    replays: int = 0
    owed: tuple[str, ...] | None = None
    rejected: tuple[tuple[str, str], ...] = ()
    first: str | None = None
    routing_key: str | None = None
    reason: str | None = None
    last: str | None = None

    @classmethod
    def read(cls, headers: Mapping[str, Any]) -> Trail:
        """Return the trail that `headers` tell. What is no value of ours counts as absent: anybody may send headers."""
        if _TRAIL.isdisjoint(headers):
            return FRESH
        names, reasons = _texts(headers.get(_HANDLERS)), _texts(headers.get(_REASONS))
        return cls(
            attempts=_count(headers.get(_ATTEMPTS)),
            replays=_count(headers.get(_REPLAYS)),
            owed=_texts(headers.get(_OWED)) or None,
            rejected=tuple(zip(names, reasons, strict=False)),
            first=_text(headers.get(_FIRST)),
            routing_key=_text(headers.get(_ROUTING_KEY)),
            reason=_text(headers.get(_REASON)),
            last=_text(headers.get(_LAST)),
        )

    def headers(self) -> dict[str, Any]:
        """Return the headers that tell this trail."""
        told: dict[str, Any] = {_ATTEMPTS: self.attempts, _REPLAYS: self.replays}
        if self.owed:
            told[_OWED] = list(self.owed)
        if self.rejected:
            told[_HANDLERS] = [name for name, _ in self.rejected]
            told[_REASONS] = [reason for _, reason in self.rejected]
        texts = {_FIRST: self.first, _ROUTING_KEY: self.routing_key, _REASON: self.reason, _LAST: self.last}
        return told | {name: text for name, text in texts.items() if text is not None}

    def again(self) -> Trail:
        """Return the trail of a replay: attempts start anew, and the handlers that did not acknowledge are owed."""
        owed = (*(self.owed or ()), *(name for name, _ in self.rejected))
        return Trail(replays=self.replays + 1, owed=owed or None, first=self.first, routing_key=self.routing_key)

    def start(self) -> Trail:
        """Return the trail to handle by: a dead letter that somebody moved back to its pool by hand is a replay."""
        return self if self.reason is None else self.again()


FRESH: Final = Trail()
"""That of a first delivery."""


def _count(value: object) -> int:
    return min(value, 1 << 31) if isinstance(value, int) and value > 0 else 0


def _text(value: object) -> str | None:
    return _cut(value, MAX_TEXT) if isinstance(value, str) else None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list | tuple) else ()


def _cut(text: str, limit: int) -> str:
    if len(text) * 4 <= limit and text.isascii():
        return text
    return text.encode(errors="replace")[:limit].decode(errors="ignore")


def bounded(text: str, limit: int = MAX_TEXT, masked: Mask = mask) -> str:
    """Return `text` without secrets, cut to `limit` bytes of UTF-8."""
    head = text[: 4 * limit]
    if len(head) < len(text):  # a secret that is cut in two would not be recognised: the word at the cut is left out
        begin, _, last = head.rpartition(" ")
        head = begin if len(last) <= limit else head
    return _cut(masked(head), limit)


def combine(trail: Trail, told: Iterable[tuple[str, Outcome]]) -> tuple[Trail, Outcome]:
    """Return the trail after one attempt, and what becomes of the delivery: Retry outweighs Reject outweighs Ack.

    Where all is done the trail does not matter, and is the one before. Nobody is called again earlier than asked: of several
    retries the longest counts.

    Args:
        trail: the one before the attempt.
        told: the outcome of each handler that ran, by its name.
    """
    failed = [(name, outcome) for name, outcome in told if not isinstance(outcome, Ack)]
    if not failed and not trail.rejected:
        return trail, Ack()
    retries = {name: outcome for name, outcome in failed if isinstance(outcome, Retry)}
    rejects = [(name, str(outcome)) for name, outcome in failed if isinstance(outcome, Reject)]
    limit = min(MAX_TEXT, _MAX_TEXTS // (len(trail.rejected) + len(rejects) or 1))
    rejected = (*trail.rejected, *((name, bounded(reason, limit)) for name, reason in rejects))
    after = replace(trail, attempts=trail.attempts + 1, owed=tuple(retries) or None, rejected=rejected)
    if retries:
        return after, max(retries.values(), key=lambda retry: retry.after)
    return after, Reject("; ".join(f"{name}: {reason}" for name, reason in rejected))


def retried(delivery: Delivery, trail: Trail, *, pool: str, seconds: int, message_id: str) -> Message:
    """Return the copy that comes back to `pool` after `seconds`, a step of the retry ladder."""
    return _copy(delivery, trail, pool, retry_queue(pool, seconds), message_id)


def dead_letter(delivery: Delivery, trail: Trail, *, pool: str, reason: str, now: datetime, message_id: str) -> Message:
    """Return the copy that waits in `pool`'s dead-letter queue. Of a body that no broker would take its beginning is kept."""
    whole = len(delivery.original)
    if whole > MAX_COPY:
        reason = f"{bounded(reason, MAX_TEXT // 2)}; of its {whole} bytes the first {MAX_BODY} are kept"
        delivery = replace(delivery, original=delivery.original[:MAX_BODY])
    told = replace(trail, reason=bounded(reason), last=now.isoformat())
    return _copy(delivery, told, pool, dead_letter_queue(pool), message_id)


def replayed(delivery: Delivery, *, pool: str, message_id: str) -> Message:
    """Return the copy of a dead letter that goes back to `pool`'s own queue."""
    return _copy(delivery, Trail.read(delivery.headers).again(), pool, pool_queue(pool), message_id)


def plainer(message: Message) -> Message:
    """Return a copy with nothing of the original but its bytes: for one whose headers or properties cannot be sent."""
    kept = {name: value for name, value in message.headers.items() if name.startswith(_OURS)}
    compression = message.headers.get("compression")
    if isinstance(compression, str) and len(compression) <= MAX_TEXT:
        kept["compression"] = compression
    return replace(message, headers=kept, properties=NOTIFICATION_PROPERTIES)


def _copy(delivery: Delivery, trail: Trail, pool: str, queue: str, message_id: str) -> Message:
    kept = {name: value for name, value in delivery.headers.items() if not name.startswith((_OURS, *_BROKERS_OWN))}
    properties = {name: value for name, value in delivery.properties.items() if name not in _UNFIT}
    return Message(
        exchange=pool_exchange(pool),
        routing_key=queue,
        body=delivery.original,
        message_id=message_id,
        headers=kept | trail.headers(),
        properties=properties | {"delivery_mode": 2},
    )
