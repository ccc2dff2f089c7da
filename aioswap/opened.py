"""The guard of everything that is opened by `async with`: once at a time, in one loop, one thread and one process."""

from __future__ import annotations

import asyncio
import os

__all__ = ["Opened"]


class Opened:
    """Remembers where an object was opened, and says clearly when it is used elsewhere.

    Args:
        name: what the object is called in errors.
    """

    __slots__ = ("_loop", "_name", "_pid")

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def __bool__(self) -> bool:
        return self._loop is not None

    def open(self) -> None:
        """Remember the running loop.

        Raises:
            RuntimeError: it is open already, or no loop runs here.
        """
        if self._loop is not None:
            raise RuntimeError(f"{self._name} is open already: close it before you open it again")
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()

    def close(self) -> None:
        """Forget it: the object can be opened again, anywhere."""
        self._loop = None

    def check(self) -> None:
        """Make sure that the object is open, here.

        Raises:
            RuntimeError: it is not open, or was opened in another loop, thread or process.
        """
        if self._loop is None:
            raise RuntimeError(f"{self._name} is not open: use it inside its `async with`")
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:  # after a fork, too
            here = None
        if here is not self._loop:
            if self._pid != os.getpid():  # pragma: no cover - its test runs it in a forked child, which is not measured
                raise RuntimeError(f"{self._name} was opened before a fork: open a new one in this process")
            raise RuntimeError(f"{self._name} was opened in another event loop or thread: use it there, or open a new one here")
