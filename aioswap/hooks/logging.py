"""Logging: a hook that writes each operation to a `logging.Logger`, and a filter for what the AMQP driver logs."""

from __future__ import annotations

import logging
from typing import Final

from aioswap.hooks import Operation
from aioswap.wire.faults import mask, traceback_of

__all__ = ["DRIVERS", "DriverFilter", "LoggingHook"]

DRIVERS: Final = ("aio_pika", "aiormq", "pamqp")
"""The loggers of the AMQP driver: with DEBUG they write whole frames, with bodies, headers and logins."""

_OWN_REPR: Final = ("Connection", "Channel", "Exchange", "Queue")
"""How the names of the driver's classes end whose repr tells where, and no content."""

_FINE: Final = frozenset({"succeeded", "accepted", "confirmed", "wanted", "duplicate", "skipped", "ack"})


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


class DriverFilter:
    """Takes bodies, headers and secrets out of the AMQP driver's log records; give it to each handler that writes them.

        handler.addFilter(DriverFilter())

    Of a frame or a message its kind stays, such as `Basic.Publish`; texts are masked. Records of other loggers stay as they
    are. A record is changed in place: handlers that see it later see what this one left.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Take out what nobody should read. Always True: no record is dropped."""
        if record.name.partition(".")[0] not in DRIVERS:
            return True
        record.msg = _message(record)
        record.args = ()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            # what a formatter would make of it: formatters keep the text here, and use the one that they find
            record.exc_text = traceback_of(error)
        return True


def _message(record: logging.LogRecord) -> str:
    args = record.args
    try:
        if isinstance(args, tuple):
            record.args = tuple(_harmless(arg) for arg in args)
        elif args:
            record.args = {name: _harmless(value) for name, value in args.items()}
        return mask(record.getMessage())
    except (TypeError, ValueError):  # a format that does not fit what is left
        return str(record.msg)


def _harmless(value: object) -> object:
    """Return what may be written of a driver's object."""
    if value is None or isinstance(value, int | float | str):
        return value
    name = type(value).__qualname__
    if isinstance(value, BaseException):
        return _Shown(f"{name}: {mask(str(value))}")
    return _Shown(mask(repr(value)) if name.endswith(_OWN_REPR) else f"<{name}>")


class _Shown(str):
    """A text whose repr is itself, as the repr of an object is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
