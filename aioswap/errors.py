"""Every exception of aioswap, as one tree: each class says whose fault it is.

Misuse is a builtin (`TypeError`, `ValueError`, `RuntimeError`); a caller's own timeout is `TimeoutError`.
"""

from __future__ import annotations

__all__ = [
    "AioswapError",
    "DecodeError",
    "OutboxError",
    "OutboxFull",
    "TransportError",
    "UnsupportedVersion",
]


class AioswapError(Exception):
    """What aioswap raises on its own account."""


class DecodeError(AioswapError, ValueError):
    """The peer's fault: these bytes are no notification that can be read.

    The text says where and why and never holds the bytes; they are kept in `body`, unchanged.
    """

    body: bytes
    """The bytes as they came. They may hold secrets: never log them."""

    def __init__(self, reason: str, *, body: bytes = b"") -> None:
        super().__init__(reason)
        self.body = body


class UnsupportedVersion(DecodeError):
    """The peer speaks another major version of the envelope or of the payload."""


class TransportError(AioswapError):
    """The network's or the broker's fault: away, refused, or too slow. The text says what to do."""


class OutboxError(AioswapError):
    """The disk's fault: what was accepted is kept in memory and relayed, but would not survive this process."""


class OutboxFull(OutboxError):
    """The outbox has no room for one more message: the broker has been away for longer than its bounds allow."""
