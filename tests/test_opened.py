from __future__ import annotations

import asyncio
import os
import threading

import pytest

from aioswap.opened import Opened


async def test_an_object_is_opened_once_at_a_time() -> None:
    opened = Opened("this thing")
    before = bool(opened)
    opened.open()
    opened.check()
    with pytest.raises(RuntimeError, match="this thing is open already"):
        opened.open()
    opened.close()
    opened.open()

    assert not before
    assert opened


async def test_an_object_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="this thing is not open"):
        Opened("this thing").check()


async def test_another_thread_is_told() -> None:
    opened = Opened("this thing")
    opened.open()
    errors: list[str] = []

    def elsewhere() -> None:
        try:
            opened.check()
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)

    assert "another event loop or thread" in errors[0]


def test_opening_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError):
        Opened("this thing").open()


def test_a_forked_child_is_told_to_open_its_own() -> None:
    async def main() -> bytes:
        opened = Opened("this thing")
        opened.open()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                opened.check()
            except RuntimeError as error:
                os.write(writing, str(error).encode())
            os._exit(0)
        os.close(writing)
        os.waitpid(child, 0)  # noqa: ASYNC222 - the child ends at once, and nothing else runs here
        with os.fdopen(reading, "rb") as told:
            return told.read()

    assert b"before a fork" in asyncio.run(main())
