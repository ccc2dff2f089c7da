from __future__ import annotations

from collections.abc import Mapping

from aioswap.wire.unread import Unread


def test_it_is_read_once_and_only_when_somebody_asks() -> None:
    reads: list[str] = []

    def read(text: str) -> Mapping[str, int]:
        reads.append(text)
        return {"a": 1, "b": 2}

    unread = Unread(read, "text")

    assert [] == reads
    assert 1 == unread["a"]
    assert ["a", "b"] == list(unread)
    assert 2 == len(unread)
    assert {"a": 1, "b": 2} == unread
    assert unread.made() is unread.made()
    assert ["text"] == reads


def test_its_repr_shows_nothing() -> None:
    assert "secret" not in repr(Unread(lambda text: {"auth_token": text}, "secret"))
