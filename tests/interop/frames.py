"""Publishes in the bytes that went to a broker (AMQP 0-9-1 section 4.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["Published", "published"]

_FRAME: Final = struct.Struct(">BHI")
_METHOD, _HEADER, _BODY = 1, 2, 3
_PUBLISH: Final = b"\x00\x3c\x00\x28"
_GREETING: Final = 8


@dataclass(slots=True)
class Published:
    """One publish, as its three kinds of frames say it, without the channel's number."""

    method: bytes
    header: bytes = b""
    body: bytes = b""


def published(connections: Iterable[bytes | bytearray]) -> list[Published]:
    """Return every publish of the connections, in the order of each."""
    return [publish for sent in connections for publish in _published(bytes(sent))]


def _published(sent: bytes) -> list[Published]:
    found: list[Published] = []
    open_channels: dict[int, Published] = {}
    at = _GREETING
    while at < len(sent):
        kind, channel, size = _FRAME.unpack_from(sent, at)
        at += _FRAME.size
        payload = sent[at : at + size]
        at += size + 1
        if kind == _METHOD and payload.startswith(_PUBLISH):
            open_channels[channel] = Published(payload)
            found.append(open_channels[channel])
        elif kind == _HEADER:
            open_channels[channel].header = payload
        elif kind == _BODY:
            open_channels[channel].body += payload
    return found
