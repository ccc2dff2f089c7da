"""What an emitter must know to tell of a swap, and how it is found in a call by the parameters' names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from aioswap.context import ContextSource

__all__ = ["SwapRequest", "describe_by_name", "require_coroutine_function", "require_describe"]

_NAMES: Final = ("instance", "old_volume_id", "new_volume_id")
"""The parameters of nova `ComputeManager.swap_volume` that tell of a swap; their order is free."""


@dataclass(frozen=True, slots=True, init=False)
class SwapRequest:
    """One attempt to swap a volume pair on an instance.

    Args:
        instance: an `InstancePayload`, a mapping or any object; read anew for each phase, so that `.end` shows its new state.
        old_volume_id: the volume that is attached.
        new_volume_id: the volume that takes its place.
        context: who asked; None: the innermost `request_context`, else a new one.
    """

    instance: Any
    old_volume_id: str
    new_volume_id: str
    context: ContextSource | None

    def __init__(self, instance: Any, old_volume_id: str, new_volume_id: str, context: ContextSource | None = None) -> None:
        # made before each swap: what dataclass writes for a frozen class takes twice as long
        _set_instance(self, instance)
        _set_old(self, old_volume_id)
        _set_new(self, new_volume_id)
        _set_context(self, context)


_set_instance: Final = SwapRequest.__dict__["instance"].__set__
_set_old: Final = SwapRequest.__dict__["old_volume_id"].__set__
_set_new: Final = SwapRequest.__dict__["new_volume_id"].__set__
_set_context: Final = SwapRequest.__dict__["context"].__set__


def require_coroutine_function(function: Callable[..., Any]) -> None:
    """Refuse what is no `async def` function.

    Raises:
        TypeError: it is a plain function or a generator.
    """
    if not inspect.iscoroutinefunction(function):
        kind = "an async generator" if inspect.isasyncgenfunction(function) else type(function).__name__
        raise TypeError(f"{_name(function)} is {kind}, not a coroutine function: a swap is `async def` and returns once")


def require_describe(describe: object) -> None:
    """Refuse what can't describe a swap.

    Raises:
        TypeError: it is not callable, or must be awaited.
    """
    if not callable(describe) or inspect.iscoroutinefunction(describe) or inspect.isasyncgenfunction(describe):
        raise TypeError(f"describe={_name(describe)}: give a plain function that returns a SwapRequest")


def describe_by_name(function: Callable[..., Any]) -> Callable[[tuple[Any, ...], Mapping[str, Any]], SwapRequest]:
    """Return what finds a SwapRequest in the arguments of a call of `function`.

    Raises:
        TypeError: a parameter is missing; the text lists those that were found.
    """
    parameters = inspect.signature(function).parameters
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positions = {name: index for index, name in enumerate(parameters) if parameters[name].kind in kinds}
    missing = [name for name in _NAMES if name not in parameters]
    if missing:
        raise TypeError(
            f"{_name(function)} has no parameter {', '.join(missing)}: found ({', '.join(parameters)}). Name them "
            "instance, old_volume_id, new_volume_id (and context), or give @emitter.swap(describe=...)"
        )

    sought = [(name, positions.get(name), parameters[name].default) for name in (*_NAMES, "context") if name in parameters]
    places = [position for _, position, _ in sought if position is not None]
    needed = max(places, default=0) + 1
    by_place = itemgetter(*places) if len(places) == len(sought) else None

    def describe(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> SwapRequest:
        if by_place is not None and len(args) >= needed:
            return SwapRequest(*by_place(args))
        found = []
        for name, position, default in sought:
            if position is not None and position < len(args):
                found.append(args[position])
            elif name in kwargs:
                found.append(kwargs[name])
            elif default is not inspect.Parameter.empty:
                found.append(default)
            else:
                raise TypeError(f"{_name(function)}() was called without {name}")
        return SwapRequest(*found)

    return describe


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", repr(function)))
