"""Undoing compression: what kombu writes, and what a hostile peer would."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from typing import TypeAlias

import pytest

from aioswap.transports.compression import decompress, readable

LIMIT = 1 << 16
Compress: TypeAlias = Callable[[bytes], bytes]
PLAIN = b'{"event_type": "instance.volume_swap.end"}'


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("application/x-gzip", zlib.compress(PLAIN)),
        ("gzip", zlib.compress(PLAIN)),
        ("zlib", zlib.compress(PLAIN)),
        ("gzip", gzip.compress(PLAIN)),
        ("application/x-bz2", bz2.compress(PLAIN)),
        ("bzip2", bz2.compress(PLAIN)),
        ("bzip", bz2.compress(PLAIN)),
        ("application/x-lzma", lzma.compress(PLAIN)),
        ("lzma", lzma.compress(PLAIN)),
        ("xz", lzma.compress(PLAIN)),
        ("xz", lzma.compress(PLAIN, format=lzma.FORMAT_ALONE)),
    ],
)
def test_what_kombu_compresses_is_undone(name: str, body: bytes) -> None:
    assert PLAIN == decompress(body, {"compression": name}, LIMIT)


@pytest.mark.parametrize(
    "headers", [{}, {"compression": "x"}, {"compression": "GZIP"}, {"compression": 1}, {"compression": []}]
)
def test_a_body_without_a_known_compression_stays_as_it_is(headers: dict[str, object]) -> None:
    assert PLAIN == decompress(PLAIN, headers, LIMIT)


@pytest.mark.parametrize("name", ["application/zstd", "zstd", "zstandard", "application/x-brotli", "brotli"])
def test_a_compression_that_needs_another_package_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        decompress(b"\x28\xb5\x2f\xfd", {"compression": name}, LIMIT)


@pytest.mark.parametrize(
    ("name", "compress"), [("gzip", zlib.compress), ("bzip2", bz2.compress), ("xz", lzma.compress)], ids=["gzip", "bzip2", "xz"]
)
class TestEachFormat:
    def test_the_limit_itself_is_allowed(self, name: str, compress: Compress) -> None:
        body = compress(b"x" * LIMIT)

        assert b"x" * LIMIT == decompress(body, {"compression": name}, LIMIT)

    def test_one_byte_more_is_not(self, name: str, compress: Compress) -> None:
        with pytest.raises(ValueError, match="more than 65536"):
            decompress(compress(b"x" * (LIMIT + 1)), {"compression": name}, LIMIT)

    def test_a_bomb_is_refused(self, name: str, compress: Compress) -> None:
        with pytest.raises(ValueError, match="more than 65536"):
            decompress(compress(b"\0" * (16 << 20)), {"compression": name}, LIMIT)

    def test_an_empty_body_compresses_and_comes_back(self, name: str, compress: Compress) -> None:
        assert b"" == decompress(compress(b""), {"compression": name}, LIMIT)

    @pytest.mark.parametrize("body", [PLAIN, b"\xff" * 100], ids=["plain", "not text"])
    def test_what_is_not_compressed_is_refused_without_being_shown(self, name: str, compress: Compress, body: bytes) -> None:
        with pytest.raises(ValueError, match="not what its compression header says") as caught:
            decompress(body, {"compression": name}, LIMIT)

        assert "volume_swap" not in str(caught.value)
        assert caught.value.__suppress_context__

    @pytest.mark.parametrize("cut", [0, 10, -1])
    def test_a_body_cut_short_is_refused(self, name: str, compress: Compress, cut: int) -> None:
        with pytest.raises(ValueError, match="ends in the middle"):
            decompress(compress(PLAIN)[:cut], {"compression": name}, LIMIT)

    def test_a_body_with_more_behind_it_is_refused(self, name: str, compress: Compress) -> None:
        with pytest.raises(ValueError, match="goes on after"):
            decompress(compress(PLAIN) + b"more", {"compression": name}, LIMIT)


def test_an_lzma_body_that_asks_for_too_much_memory_is_refused() -> None:
    greedy = lzma.compress(PLAIN, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 512 << 20}])

    with pytest.raises(ValueError, match="xz"):
        decompress(greedy, {"compression": "xz"}, LIMIT)


@pytest.mark.parametrize("headers", [{}, {"compression": "gzip"}])
def test_a_body_above_the_limit_is_refused_before_it_is_looked_at(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="65537 bytes, more than 65536"):
        decompress(b"x" * (LIMIT + 1), headers, LIMIT)


def test_a_readable_body_comes_without_a_reason() -> None:
    assert (PLAIN, None) == readable(PLAIN, {}, LIMIT)
    assert (PLAIN, None) == readable(zlib.compress(PLAIN), {"compression": "gzip"}, LIMIT)


def test_an_unreadable_body_comes_with_a_reason() -> None:
    body, reason = readable(PLAIN, {"compression": "gzip"}, LIMIT)
    large, too_large = readable(b"x" * (LIMIT + 1), {}, LIMIT)

    assert (None, None) == (body, large)
    assert reason
    assert too_large
