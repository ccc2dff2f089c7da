"""Which handlers there are, and their names."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from aioswap.consuming.handlers import Handlers, misfit
from aioswap.wire.envelope import decode
from aioswap.wire.events import EventPattern
from aioswap.wire.notification import Notification

ANY = EventPattern("#", object)


async def handler(notification: Notification[Any]) -> None: ...


class Service:
    async def handle(self, notification: Notification[Any]) -> None: ...

    async def __call__(self, notification: Notification[Any]) -> None: ...


def plain(notification: Notification[Any]) -> None: ...


async def generator(notification: Notification[Any]) -> Any:
    yield notification


def names(handlers: Handlers) -> list[str]:
    return [each.name for each in handlers.matching("x")]


def test_a_handler_is_known_by_its_module_and_qualname() -> None:
    handlers = Handlers()
    handlers.add(ANY, handler)
    handlers.add(ANY, Service().handle)

    assert [f"{__name__}.handler", f"{__name__}.Service.handle"] == names(handlers)
    assert 2 == len(handlers)


def test_a_name_of_its_own_goes_before() -> None:
    handlers = Handlers()
    handlers.add(ANY, handler, "own")
    handlers.add(ANY, functools.partial(handler), "partial")

    assert ["own", "partial"] == names(handlers)


@pytest.mark.parametrize("function", [plain, generator, Service(), None, print], ids=str)
def test_only_a_coroutine_function_is_a_handler(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="coroutine function"):
        Handlers().add(ANY, function)


def test_a_name_is_taken_once() -> None:
    handlers = Handlers()
    handlers.add(ANY, handler)
    with pytest.raises(ValueError, match="already"):
        handlers.add(EventPattern("other", object), handler)


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_a_name_has_its_bounds(name: str) -> None:
    with pytest.raises(ValueError, match="give 1 to 255"):
        Handlers().add(ANY, handler, name)


def test_a_function_without_a_name_needs_one() -> None:
    with pytest.raises(ValueError, match="give name="):
        Handlers().add(ANY, functools.partial(handler))


def test_generic_payload_classes_are_checked_by_their_origin() -> None:
    notification = decode(
        b'{"message_id": "1", "publisher_id": "a:b", "event_type": "own.event", "priority": "INFO",'
        b' "timestamp": "2026-01-01 00:00:00", "payload": {"a": 1}}'
    )

    assert misfit(EventPattern("#", dict[str, int]), notification) is None
    assert "the payload is a dict, and # means a list" == misfit(EventPattern("#", list[int]), notification)


def test_a_handler_that_is_added_later_is_found_too() -> None:
    handlers = Handlers()
    handlers.add(ANY, handler, "one")
    before = names(handlers)
    handlers.add(ANY, handler, "two")

    assert [["one"], ["one", "two"]] == [before, names(handlers)]


def test_event_types_without_end_are_matched_all_the_same() -> None:
    handlers = Handlers()
    handlers.add(EventPattern("a.#", object), handler, "one")

    assert {1} == {len(handlers.matching(f"a.{number}")) for number in range(2500)}
    assert () == handlers.matching("b")
    assert len(handlers._matching) <= 1000
