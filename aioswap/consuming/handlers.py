"""The handlers of a consumer: which there are, and which ones want a notification."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, get_origin

from aioswap.outcomes import Ack, Outcome
from aioswap.wire.events import EventPattern
from aioswap.wire.notification import Notification

__all__ = ["HANDLED", "Handler", "HandlerFunction", "Handlers", "misfit", "outcome_of"]

HandlerFunction: TypeAlias = Callable[[Notification[Any]], Coroutine[Any, Any, Outcome | None]]

HANDLED: Final = Ack()
"""What nearly every handler says, by returning nothing. It is shared, and never raised."""

_MAX_NAME: Final = 255
_MAX_TYPES: Final = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Handler:
    """A user's coroutine function, the notifications it wants, and the name that copies know it by."""

    name: str
    pattern: EventPattern[Any]
    function: HandlerFunction


class Handlers:
    """The handlers of one consumer, in the order in which they were added."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._matching: dict[str, tuple[Handler, ...]] = {}
        """By the event types that were asked for."""

    def __len__(self) -> int:
        return len(self._handlers)

    @property
    def patterns(self) -> tuple[EventPattern[Any], ...]:
        """What all of them want."""
        return tuple(handler.pattern for handler in self._handlers.values())

    def add(self, pattern: EventPattern[Any], function: HandlerFunction, name: str | None = None) -> None:
        """Add a handler.

        Args:
            pattern: the notifications it wants.
            function: a coroutine function of one notification.
            name: 1 to 255 characters; None: `module.qualname`. Keep it when code moves: copies on the broker know it.

        Raises:
            TypeError: `function` is no coroutine function.
            ValueError: the name is taken, missing or too long.
        """
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"a handler is a coroutine function (async def), and {function!r} is none")
        if name is None:
            name = _name_of(function)
        if not 1 <= len(name) <= _MAX_NAME:
            raise ValueError(f"the handler name {name!r} has {len(name)} characters: give 1 to {_MAX_NAME}")
        if name in self._handlers:
            raise ValueError(f"there is a handler {name!r} already: give one of the two another name=")
        self._handlers[name] = Handler(name, pattern, function)
        self._matching.clear()

    def matching(self, event_type: str) -> tuple[Handler, ...]:
        """Return those that want `event_type`."""
        found = self._matching.get(event_type)
        if found is None:
            found = tuple(handler for handler in self._handlers.values() if handler.pattern.matches(event_type))
            if len(self._matching) >= _MAX_TYPES:  # whoever sends may invent as many as he likes
                self._matching.clear()
            self._matching[event_type] = found
        return found


def misfit(pattern: EventPattern[Any], notification: Notification[Any]) -> str | None:
    """Return why `notification`, which matches `pattern`, has no payload of its class; None: it has."""
    payload = notification.payload
    if type(payload) is pattern.payload or pattern.payload is object:
        return None
    expected = get_origin(pattern.payload) or pattern.payload
    if isinstance(payload, expected):
        return None
    return f"the payload is a {type(payload).__name__}, and {pattern.pattern} means a {expected.__name__}"


def _name_of(function: HandlerFunction) -> str:
    qualname = getattr(function, "__qualname__", None)
    if qualname is None:
        raise ValueError(f"{function!r} has no name of its own: give name=")
    return f"{function.__module__}.{qualname}"


def outcome_of(returned: object) -> Outcome:
    """Return the outcome that a handler's return value means: its own, or `Ack` for anything else.

    Raises:
        TypeError: an outcome's class was returned where one of its instances is meant.
    """
    if returned is None:
        return HANDLED
    if isinstance(returned, Outcome):
        return returned
    if isinstance(returned, type) and issubclass(returned, Outcome):
        raise TypeError(f"the handler returned the class {returned.__name__}: return {returned.__name__}(...)")
    return HANDLED
