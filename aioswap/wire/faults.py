"""An `ExceptionPayload` from an exception: without the secrets it may quote, and never too large.

Nova masks nothing and bounds nothing; a fault goes to everybody who listens. Source: nova
`notifications/objects/exception.py`, `compute/utils.py` `_get_fault_and_priority_from_exception`.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from typing import Final

from aioswap.wire.masking import Mask, mask, masking
from aioswap.wire.payloads import ExceptionPayload

__all__ = ["FAULT_BYTES", "Mask", "fault_payload", "mask", "masking", "traceback_of"]

FAULT_BYTES: Final = 16 << 10
"""What a fault adds to an encoded body, at most."""

_NAME_BYTES: Final = 256
_MESSAGE_BYTES: Final = 4 << 10
_TRACEBACK_BYTES: Final = 10 << 10
_EXAMINED: Final = 16 << 10
"""Characters at each end of a text that are looked at: masking costs time."""


def traceback_of(error: BaseException, masked: Mask = mask) -> str:
    """Return the traceback of `error` for a log: masked, and cut in its middle where it is long."""
    return _clean(_told(lambda: "".join(traceback.format_exception(error))), _TRACEBACK_BYTES, masked).rstrip()


def fault_payload(error: BaseException, *, version: str = "1.1", masked: Mask = mask) -> ExceptionPayload:
    """Return what a notification tells of `error`: masked, and within `FAULT_BYTES` once it is encoded.

    Args:
        error: what was raised; the innermost frame of its traceback gives the module and the function.
        version: of the payload: 1.0 has no traceback.
        masked: takes the secrets out of its texts; see `masking`.

    Raises:
        ValueError: there is no such version.
    """
    module, function = _place(error)
    return ExceptionPayload(
        module_name=_clean(module, _NAME_BYTES, masked),
        function_name=_clean(function, _NAME_BYTES, masked),
        exception=_clean(type(error).__name__, _NAME_BYTES, masked),
        exception_message=_clean(_told(lambda: str(error)), _MESSAGE_BYTES, masked),
        # glued by commas, as newer novas do
        traceback=_clean(_told(lambda: ",".join(traceback.format_exception(error))), _TRACEBACK_BYTES, masked),
    ).at_version(version)


def _place(error: BaseException) -> tuple[str, str]:
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if innermost is None:
        return "unknown", "unknown"
    return str(innermost.tb_frame.f_globals.get("__name__", "unknown")), innermost.tb_frame.f_code.co_name


def _told(tell: Callable[[], str]) -> str:
    try:
        return tell()
    except Exception as failure:  # the error's own code runs here; a fault that cannot be told is told as such
        return f"(not available: {type(failure).__name__})"


def _clean(text: str, limit: int, masked: Mask) -> str:
    if len(text) <= 2 * _EXAMINED:
        text = masked(text)
        return _shortened(text, text, len(text), limit)
    # a secret that is cut in two could not be recognised: the words at the cut are left out
    head, tail = text[:_EXAMINED].rsplit(maxsplit=1), text[-_EXAMINED:].split(maxsplit=1)
    return _shortened(masked("".join(head[:-1])), masked("".join(tail[1:])), len(text), limit)


def _shortened(head: str, tail: str, length: int, limit: int) -> str:
    """Return the text whose begin and end are given, or, where it is too large, as much of both as `limit` allows."""
    if head is tail and _size(head) <= limit:
        return head
    note = f" [... shortened, {length} characters in all ...] "
    half = (limit - len(note)) // 2
    begin = _fitting(head[:half], half, lambda text, count: text[:count])
    return begin + note + _fitting(tail[-half:], half, lambda text, count: text[len(text) - count :])


def _fitting(text: str, limit: int, part: Callable[[str, int], str]) -> str:
    """Return the largest part of `text` that fits into `limit` bytes: by halving, since a longer part is never smaller."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(part(text, middle)) <= limit else (low, middle - 1)
    return part(text, low)


def _size(text: str) -> int:
    """Return the bytes that `text` has in a body: it is escaped twice, once for each layer of JSON."""
    return len(json.dumps(json.dumps(text))) - len(json.dumps(json.dumps("")))
