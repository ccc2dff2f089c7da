"""A hook that writes each operation to a `logging.Logger`."""

from __future__ import annotations

import logging
from typing import Final

from aioswap.hooks import Operation

__all__ = ["LoggingHook"]

_FINE: Final = frozenset({"accepted", "confirmed", "wanted", "duplicate", "skipped", "ack"})


class LoggingHook:
    """Logs operations when they are over: at `level` what went well, as a warning what did not. Never a body or a context.

    Each record has the operation as its attribute `operation`, for formatters that want its parts.

    Args:
        logger: where to; the logger `aioswap.operations` by default.
        level: for operations that went well.
    """

    def __init__(self, logger: logging.Logger | None = None, *, level: int = logging.DEBUG) -> None:
        self._logger = logger or logging.getLogger("aioswap.operations")
        self._level = level

    def started(self, operation: Operation) -> None:
        """Do nothing: an operation is logged once, when its outcome is known."""

    def finished(self, operation: Operation) -> None:
        """Write one line: kind, outcome, then what is known of the notification."""
        level = self._level if operation.outcome in _FINE else logging.WARNING
        if not self._logger.isEnabledFor(level):
            return
        known = {
            "event_type": operation.event_type,
            "message_id": operation.message_id,
            "routing_key": operation.routing_key,
            "pool": operation.pool,
            "handler": operation.handler,
            "attempt": operation.attempt or None,
            "error": type(operation.error).__name__ if operation.error is not None else None,
        }
        told = " ".join(f"{name}={value}" for name, value in known.items() if value is not None)
        self._logger.log(level, "%s %s %s", operation.kind.value, operation.outcome, told, extra={"operation": operation})
