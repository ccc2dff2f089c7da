"""A swap as others are told of it: by commands, and over HTTP. No request context, and faults are masked."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from aioswap.swaps import Swap, SwapState
from aioswap.wire.faults import mask

__all__ = ["FIELDS", "OPEN", "fault_of", "fields_of"]

FIELDS: Final = (
    "started_at",
    "host",
    "instance",
    "old_volume_id",
    "new_volume_id",
    "state",
    "duration",
    "running_for",
    "fault",
    "inferred",
    "late",
    "finished_at",
    "effective_volume_id",
    "project_id",
    "request_id",
    "global_request_id",
    "source",
    "evidence",
    "deaf",
    "first_seen",
    "last_seen",
)
"""All that is told of a swap. `duration` and `running_for` are seconds; the latter is that of a swap without an end."""

OPEN: Final = (SwapState.RUNNING, SwapState.STUCK)
"""The states without an end."""

_MASKED: Final = 4096
_SHOWN: Final = 1024
"""Characters of a fault's message that are masked, and those that are shown."""


def fields_of(swap: Swap, now: datetime) -> dict[str, Any]:
    """Return the fields of a swap by their names; a fault is masked.

    Args:
        swap: it.
        now: the moment that it is looked at.
    """
    own = {
        "duration": None if swap.duration is None else round(swap.duration.total_seconds(), 3),
        "running_for": round((now - swap.first_seen).total_seconds(), 3) if swap.state in OPEN else None,
        "fault": fault_of(swap),
    }
    return {name: own[name] if name in own else getattr(swap, name) for name in FIELDS}


def fault_of(swap: Swap) -> str | None:
    """Return the fault of a swap as one masked text, None if there is none."""
    fault = swap.fault
    return None if fault is None else mask(f"{fault.exception}: {fault.exception_message}"[:_MASKED])[:_SHOWN]
