"""Undoing kombu's compression, within a size limit.

Source: kombu `compression.py` (names), oslo `[oslo_messaging_rabbit] kombu_compression`, and what oslo's listener does.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

__all__ = ["decompress", "readable"]

_LZMA_MEMORY: Final = 128 << 20
"""Bytes that an lzma body may ask for: its highest preset needs 65 MiB."""


class _Stream(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _zlib_stream() -> _Stream:
    return zlib.decompressobj(zlib.MAX_WBITS | 32)  # zlib's format, as kombu writes it, and gzip's as its name says


def _lzma_stream() -> _Stream:
    return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)


_STREAMS: Final[Mapping[str, Callable[[], _Stream]]] = MappingProxyType(
    {
        "application/x-gzip": _zlib_stream,
        "gzip": _zlib_stream,
        "zlib": _zlib_stream,
        "application/x-bz2": bz2.BZ2Decompressor,
        "bzip2": bz2.BZ2Decompressor,
        "bzip": bz2.BZ2Decompressor,
        "application/x-lzma": _lzma_stream,
        "lzma": _lzma_stream,
        "xz": _lzma_stream,
    }
)

_NOT_HERE: Final = frozenset({"application/zstd", "zstd", "zstandard", "application/x-brotli", "brotli"})
"""What kombu can undo with packages that aioswap does not need."""


def decompress(body: bytes, headers: Mapping[str, Any], limit: int) -> bytes:
    """Return `body` without the compression that the header `compression` names.

    Without that header, or with a name that kombu does not know, the body is returned as it came: oslo delivers it too.

    Args:
        body: as it came.
        headers: AMQP headers.
        limit: bytes that a body may have, before and after. Nothing is ever inflated beyond it.

    Raises:
        ValueError: the body is too large, broken, or its compression cannot be undone here. Holds none of the content.
    """
    if len(body) > limit:
        raise ValueError(f"the body has {len(body)} bytes, more than {limit}")
    name = headers.get("compression")
    if not isinstance(name, str):
        return body
    if name in _NOT_HERE:
        raise ValueError(f"the body's compression, {name}, cannot be undone here")
    make = _STREAMS.get(name)
    return body if make is None else _inflate(make(), body, name, limit)


def _inflate(stream: _Stream, body: bytes, name: str, limit: int) -> bytes:
    try:
        inflated = stream.decompress(body, limit + 1)
    except (zlib.error, lzma.LZMAError, OSError) as error:
        raise ValueError(f"the body is not what its compression header says, {name}: {error}") from None
    if len(inflated) > limit:
        raise ValueError(f"the body has more than {limit} bytes when its compression, {name}, is undone")
    if not stream.eof:
        raise ValueError(f"the body ends in the middle of its compressed data, {name}")
    if stream.unused_data:
        raise ValueError(f"the body goes on after its compressed data, {name}")
    return inflated


def readable(original: bytes, headers: Mapping[str, Any], limit: int) -> tuple[bytes | None, str | None]:
    """Return a delivery's `body` and `unreadable`: one of the two is None. See `decompress`."""
    if "compression" not in headers and len(original) <= limit:
        return original, None
    try:
        return decompress(original, headers, limit), None
    except ValueError as error:
        return None, str(error)
