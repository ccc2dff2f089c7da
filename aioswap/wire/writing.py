"""JSON, written by pydantic's core; and what of it can be written once for all notifications of a request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import SchemaSerializer, core_schema

from aioswap.context import RequestContext
from aioswap.wire.unread import Unread

__all__ = ["CONTEXT_PREFIX", "PackedContext", "write_json"]

CONTEXT_PREFIX: Final = "_context_"
_WHEN: Final = "timestamp"
_ANY: Final = datetime(2000, 1, 1, tzinfo=UTC)

write_json: Final = SchemaSerializer(
    core_schema.any_schema(), config=core_schema.CoreConfig(ser_json_inf_nan="constants")
).to_json
"""Writes a value as JSON in UTF-8. It raises ValueError for what only the standard library can write, or nobody."""


class PackedContext(Unread):
    """A request context as a notification carries it. It is what `RequestContext.to_wire` gives, made when somebody asks.

    Args:
        context: who asked. Its text is written for its first notification, and kept with it.
        now: when it is packed, aware, in UTC.
    """

    __slots__ = ("_context", "now")

    def __init__(self, context: RequestContext, now: datetime) -> None:
        super().__init__(context.to_wire, now)
        self._context = context
        self.now = now

    def escaped(self, timestamp: str) -> bytes:
        """Return its keys and values as they stand in the text within an envelope.

        Args:
            timestamp: `now`, as a notification's timestamp is written.

        Raises:
            ValueError: only the standard library can write it.
        """
        before, after = self._context.written(_written)
        fraction = "" if "." in timestamp else ".000000"
        return b"%b%b%b%b" % (before, timestamp.replace(" ", "T").encode(), fraction.encode(), after)


def _written(context: RequestContext) -> tuple[bytes, bytes]:
    """Return the text of `context` that stands before the moment of packing, and the text behind it."""
    values = context.to_wire(_ANY)
    names = list(values)
    place = names.index(_WHEN)
    before, after = ({name: values[name] for name in part} for part in (names[:place], names[place + 1 :]))
    return b'%b,\\"%b\\":\\"' % (_escaped(before), f"{CONTEXT_PREFIX}{_WHEN}".encode()), b'\\",' + _escaped(after)


def _escaped(values: Mapping[str, Any]) -> bytes:
    """Return what stands between the braces."""
    return write_json(write_json({CONTEXT_PREFIX + name: value for name, value in values.items()}))[2:-2]
