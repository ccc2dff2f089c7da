"""Parts of a message that few ask for: they are read when somebody does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

__all__ = ["Unread"]

S = TypeVar("S")


class Unread(Mapping[str, Any]):
    """A mapping that is made by the first question to it. Its repr shows nothing of it.

    Args:
        read: makes it of `source`. It must give the same whenever it is called, and never fail.
        source: where it stands.
    """

    __slots__ = ("_read", "_source", "_values")

    def __init__(self, read: Callable[[S], Mapping[str, Any]], source: S) -> None:
        self._read: Callable[[Any], Mapping[str, Any]] = read
        self._source = source
        self._values: Mapping[str, Any] | None = None

    def made(self) -> Mapping[str, Any]:
        """Return the mapping itself: quicker to walk."""
        if self._values is None:
            self._values = self._read(self._source)
        return self._values

    def __getitem__(self, key: str) -> Any:
        return self.made()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.made())

    def __len__(self) -> int:
        return len(self.made())
