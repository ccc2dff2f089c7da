"""Notifications as people may see them: without the request context, and without what looks like a secret in a fault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aioswap.recording import inner_message
from aioswap.wire.faults import mask
from aioswap.wire.notification import CONTEXT_PREFIX

__all__ = ["shown", "shown_body"]

_FAULTS: Final = ("exception_message", "traceback")
_MOST: Final = 4096
"""Letters of a body that cannot be read."""


def shown(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return an inner message, plain JSON values, without its request context; faults are masked."""
    return {key: _masked(value) for key, value in message.items() if not key.startswith(CONTEXT_PREFIX)}


def shown_body(body: bytes) -> dict[str, Any] | str:
    """Return what `shown` makes of the message in `body`; what is no notification is a text, masked and cut."""
    try:
        return shown(inner_message(body))
    except ValueError:
        text = body[: 4 * _MOST].decode(errors="backslashreplace")
        return mask(text)[:_MOST]


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: mask(item) if key in _FAULTS and isinstance(item, str) else _masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    return value
