"""A notification: one event that happened, with its metadata. Source: oslo.messaging `Notifier._notify`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Generic, TypeAlias, TypeVar

from aioswap.context import RequestContext
from aioswap.wire.objects import VersionedObject
from aioswap.wire.payloads import InstanceActionVolumeSwapPayload
from aioswap.wire.times import write_timestamp
from aioswap.wire.unread import Unread
from aioswap.wire.writing import CONTEXT_PREFIX

__all__ = [
    "CONTEXT_PREFIX",
    "UNIQUE_ID",
    "InstanceActionVolumeSwapNotification",
    "Notification",
    "Priority",
    "new_ids",
    "new_message_id",
]

T_co = TypeVar("T_co", covariant=True)

UNIQUE_ID: Final = "_unique_id"


class _Prefixed(dict[str, str]):
    """A context's keys with their prefix: looked up where they are known, since adding it is slow."""

    def __missing__(self, key: str) -> str:
        return CONTEXT_PREFIX + key


_PREFIXED: Final = _Prefixed({key: CONTEXT_PREFIX + key for key in RequestContext().to_wire(datetime(2026, 1, 1, tzinfo=UTC))})


class Priority(StrEnum):
    """The priorities of oslo.messaging, as in the envelope; routing keys have them in lower case."""

    AUDIT = "AUDIT"
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"
    SAMPLE = "SAMPLE"


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Notification(Generic[T_co]):
    """One event that happened, with its metadata.

    Args:
        message_id: its identity: the same in every copy.
        publisher_id: who says it, `source:host`.
        event_type: `object.action.phase`.
        priority: as it came; compare it with `Priority`.
        timestamp: when it was made, aware, in UTC. One that was read remembers its text, if that was an odd one.
        payload: what happened.
        context: who asked, without `_context_` before the keys. It may hold secrets: never log it.
        unique_id: the copy's id, None where the wire has none.
        extra: what else the message held.
    """

    message_id: str
    publisher_id: str
    event_type: str
    priority: str
    timestamp: datetime
    payload: T_co
    context: Mapping[str, Any] = field(repr=False)
    unique_id: str | None
    extra: Mapping[str, Any] = field(repr=False)

    def __init__(
        self,
        *,
        message_id: str,
        publisher_id: str,
        event_type: str,
        priority: str,
        timestamp: datetime,
        payload: T_co,
        context: Mapping[str, Any] | None = None,
        unique_id: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        # one for each message: what dataclass writes for a frozen class takes three times as long
        _set_message_id(self, message_id)
        _set_publisher_id(self, publisher_id)
        _set_event_type(self, event_type)
        _set_priority(self, priority)
        _set_timestamp(self, timestamp)
        _set_payload(self, payload)
        _set_context(self, {} if context is None else context)
        _set_unique_id(self, unique_id)
        _set_extra(self, {} if extra is None else extra)

    @property
    def source(self) -> str:
        """The part of the publisher id before the first colon: `nova-compute`."""
        return self.publisher_id.partition(":")[0]

    @property
    def host(self) -> str | None:
        """The part of the publisher id behind the first colon, None where there is none."""
        return self.publisher_id.partition(":")[2] or None

    def to_wire(self) -> dict[str, Any]:
        """Return the inner message as plain JSON values, in Nova's order of keys."""
        payload = self.payload
        wire = self._head(payload.to_wire() if isinstance(payload, VersionedObject) else payload)
        self._add_tail(wire)
        return wire

    def to_core(self) -> dict[str, Any]:
        """Return what `to_wire` does, for pydantic's core to write."""
        wire = self.to_core_head()
        self._add_tail(wire)
        return wire

    def to_core_head(self) -> dict[str, Any]:
        """Return the part of `to_core` that stands before the context."""
        payload: Any = self.payload
        return self._head(payload.to_core() if isinstance(payload, VersionedObject) else payload)

    def _head(self, payload: object) -> dict[str, Any]:
        wire: dict[str, Any] = {
            "message_id": self.message_id,
            "publisher_id": self.publisher_id,
            "event_type": self.event_type,
            "priority": str(self.priority),  # of an enumeration's member pydantic's core would ask Python
            "payload": payload,
            "timestamp": write_timestamp(self.timestamp),
        }
        if self.unique_id is not None:
            wire[UNIQUE_ID] = self.unique_id
        return wire

    def _add_tail(self, wire: dict[str, Any]) -> None:
        for key, value in _made(self.context).items():
            wire[_PREFIXED[key]] = value
        for key, value in _made(self.extra).items():
            wire.setdefault(key, value)


_set_message_id: Final = Notification.__dict__["message_id"].__set__
_set_publisher_id: Final = Notification.__dict__["publisher_id"].__set__
_set_event_type: Final = Notification.__dict__["event_type"].__set__
_set_priority: Final = Notification.__dict__["priority"].__set__
_set_timestamp: Final = Notification.__dict__["timestamp"].__set__
_set_payload: Final = Notification.__dict__["payload"].__set__
_set_context: Final = Notification.__dict__["context"].__set__
_set_unique_id: Final = Notification.__dict__["unique_id"].__set__
_set_extra: Final = Notification.__dict__["extra"].__set__


_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


_KEPT_IDS: Final = 64
_random: Final[list[str]] = []
"""Random digits for the next notifications: the system is asked for those of many at once."""
os.register_at_fork(after_in_child=_random.clear)


def new_ids() -> tuple[str, str]:
    """Return the identity of a new notification, a random UUID of version 4 with dashes, and the id of its first copy."""
    try:
        digits = _random.pop()  # by one thread only
    except IndexError:
        many = os.urandom(32 * _KEPT_IDS).hex()
        digits, *others = (many[at : at + 64] for at in range(0, len(many), 64))
        _random.extend(others)
    identity = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:32]}"
    return identity, digits[32:]


def new_message_id() -> str:
    """Return the identity of a new notification: a random UUID of version 4, written with dashes."""
    return new_ids()[0]


def _made(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping.made() if isinstance(mapping, Unread) else mapping


InstanceActionVolumeSwapNotification: TypeAlias = Notification[InstanceActionVolumeSwapPayload]
