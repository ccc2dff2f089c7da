"""Observation: what a hook is told. The hooks themselves are this package's modules.

Seven operations: swap (a coroutine that swaps runs, told or not), emit (a notification is accepted by the outbox), publish (one
of its messages is confirmed or refused), receive (a delivery is parsed), handle (one handler runs), settle (the delivery is
acknowledged, retried or dead-lettered), track (a tracked swap is over).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from aioswap.wire.faults import traceback_of

__all__ = ["Hook", "Hooks", "Operation", "OperationKind"]

_logger = logging.getLogger(__name__)


class OperationKind(StrEnum):
    """The seven operations."""

    SWAP = "swap"
    EMIT = "emit"
    PUBLISH = "publish"
    RECEIVE = "receive"
    HANDLE = "handle"
    SETTLE = "settle"
    TRACK = "track"


@dataclass(slots=True, eq=False, kw_only=True)
class Operation:
    """One operation, as a hook sees it: made before it starts, completed before `finished` is told."""

    kind: OperationKind
    """Which of them."""
    event_type: str | None = None
    """The notification's; None: it is not known (publish, an unreadable delivery)."""
    message_id: str | None = None
    """The notification's identity (for publish: the AMQP `message_id`)."""
    routing_key: str | None = None
    """The one that the message is published with, or was; for emit: that of its first topic."""
    pool: str | None = None
    """The consumer's; None: it has none, or this is no consumer's operation."""
    handler: str | None = None
    """The name of the handler that runs (handle only)."""
    attempt: int = 0
    """How often it came before: 0 is the first delivery."""
    size: int = 0
    """Bytes of the body."""
    headers: dict[str, Any] = field(default_factory=dict, repr=False)
    """AMQP headers. A hook may add to those of an emit in `started`: they travel with each of its messages, with copies for a
    retry and with dead letters. What can't be sent as a header is left out, all of it."""
    ids: Mapping[str, str] = field(default_factory=dict)
    """`instance`, `old_volume_id` and `new_volume_id` of a swap that was told, and of a tracked one. Set before `finished`."""
    seconds: float | None = None
    """Of a tracked swap: from start to finish by its publisher's clock. None: not known."""
    outcome: str = ""
    """swap and track: succeeded, failed; emit: accepted, untold, failed; publish: confirmed, returned, nacked, unconfirmed;
    receive: wanted, skipped, duplicate, unreadable; handle: ack, retry, reject; settle: ack, retry, or reject for a dead
    letter. Set before `finished`; empty: it was cut off."""
    error: BaseException | None = field(default=None, repr=False)
    """What was raised. Its text may hold a secret: it is not in the operation's repr."""
    notes: dict[Any, Any] = field(default_factory=dict, repr=False)
    """A hook's own, kept from `started` to `finished`: use the hook as the key."""


class Hook(Protocol):
    """What watches operations. Both calls are plain and must not block; what they raise is logged and ignored."""

    def started(self, operation: Operation, /) -> None:
        """Tell that the operation is about to start."""

    def finished(self, operation: Operation, /) -> None:
        """Tell that it is over, with `outcome` and `error`.

        It runs in the same task as `started`, but for publish, and for a swap whose `async with` another task leaves.
        """


class Hooks(tuple[Hook, ...]):
    """Tells several hooks. False when there is none: test it before an `Operation` is made."""

    __slots__ = ()

    def started(self, operation: Operation) -> None:
        """Tell every hook in the order given."""
        for hook in self:
            try:
                hook.started(operation)
            except Exception as error:  # an observer's fault must not touch what it observes
                _tell(hook, operation, "started", error)

    def finished(self, operation: Operation) -> None:
        """Tell every hook in reverse order, so that spans nest."""
        for hook in reversed(self):
            try:
                hook.finished(operation)
            except Exception as error:  # an observer's fault must not touch what it observes
                _tell(hook, operation, "finished", error)


def _tell(hook: Hook, operation: Operation, when: str, error: Exception) -> None:
    told = traceback_of(error)
    _logger.error("hook %s failed when %s %s; it is ignored\n%s", type(hook).__name__, operation.kind, when, told)
