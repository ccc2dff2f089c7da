"""How a peer speaks with its test: JSON lines. Runs in a peer's process only, so it needs nothing but Python."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["commands", "complain", "tell"]

_lock = threading.Lock()


def tell(kind: str, told: object = None) -> None:
    """Write one line."""
    line = json.dumps({"kind": kind, "told": told}, default=str)
    with _lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def commands() -> Iterator[dict[str, Any]]:
    """Read the test's commands until it has no more."""
    for line in sys.stdin:
        yield json.loads(line)


class _Complaints(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        cause = "" if record.exc_info is None else f": {record.exc_info[1]!r}"
        tell("complaint", f"{record.levelname} {record.name}{cause}: {record.getMessage()}"[:2000])


def complain() -> None:
    """Tell of everything that the peer logs as a warning or worse."""
    logging.getLogger().addHandler(_Complaints(logging.WARNING))
