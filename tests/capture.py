"""The captured messages of `samples/`: what real novas sent through a real broker."""

from __future__ import annotations

import base64
import functools
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Capture", "capture", "captures"]

_SAMPLES = Path(__file__).parent / "samples"


@dataclass(frozen=True, kw_only=True)
class Capture:
    """One captured message. `raw` is the body as it came, `body` the same without compression."""

    name: str
    raw: bytes = field(repr=False)
    body: bytes = field(repr=False)
    headers: dict[str, Any]
    properties: dict[str, Any]
    exchange: str
    routing_key: str
    message: dict[str, Any] = field(repr=False)
    """The decoded inner message."""

    @property
    def event_type(self) -> str:
        return str(self.message["event_type"])

    @property
    def enveloped(self) -> bool:
        return "oslo.message" in json.loads(self.body)


def _load(path: Path) -> Capture:
    told = json.loads(path.read_text())
    raw = base64.b64decode(told["body_base64"]) if "body_base64" in told else told["body"].encode()
    return Capture(
        name=path.stem,
        raw=raw,
        body=zlib.decompress(raw) if told["headers"].get("compression") == "application/x-gzip" else raw,
        headers=told["headers"],
        properties=told["properties"],
        exchange=told["delivery"]["exchange"],
        routing_key=told["delivery"]["routing_key"],
        message=told["message"],
    )


@functools.cache
def captures(event_type: str = "") -> tuple[Capture, ...]:
    """Return all captures whose event type begins with `event_type`, sorted by name."""
    loaded = (_load(path) for path in sorted(_SAMPLES.glob("*.json")))
    return tuple(found for found in loaded if found.event_type.startswith(event_type))


def capture(name: str) -> Capture:
    """Return one capture, such as `nova34-v2-full__instance.volume_swap.error`."""
    return next(found for found in captures() if found.name == name)
