"""What tests of services that use aioswap need. Its fixtures come with pytest by themselves; `pytest --fixtures` lists them.

Everything here is loaded when it is first used: pytest imports this package at each start, of every project. Nothing in it
but `aioswap.testing.plugin` needs pytest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aioswap.testing.broker_clock import BrokerClock, MemoryOnly
    from aioswap.testing.bus import Bus
    from aioswap.testing.clock import ManualClock
    from aioswap.testing.factory import Factory
    from aioswap.testing.faults import Faults, Mishap
    from aioswap.testing.nova import NovaSwap

__all__ = ["BrokerClock", "Bus", "Factory", "Faults", "ManualClock", "MemoryOnly", "Mishap", "NovaSwap"]

_HOMES: Final = {
    "BrokerClock": "broker_clock",
    "Bus": "bus",
    "Factory": "factory",
    "Faults": "faults",
    "ManualClock": "clock",
    "MemoryOnly": "broker_clock",
    "Mishap": "faults",
    "NovaSwap": "nova",
}
"""Where each name lives, after `aioswap.testing.`."""

if not TYPE_CHECKING:  # pragma: no branch - a type checker would take any name for granted

    def __getattr__(name: str) -> object:
        """Load what is asked for, once (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module 'aioswap.testing' has no attribute {name!r}")
        value = getattr(import_module(f"aioswap.testing.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
