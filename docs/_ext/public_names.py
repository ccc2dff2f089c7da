"""What is public, and on which page of the API reference it stands.

Public is what `aioswap` exports, every name of the modules in `MODULES`, and what these hand out (`HANDED_OUT`).
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Final

import aioswap

__all__ = ["HANDED_OUT", "MODULES", "PAGES", "names_of", "public_names"]

MODULES: Final = (
    "aioswap.clock",
    "aioswap.context",
    "aioswap.dead_letters",
    "aioswap.errors",
    "aioswap.health",
    "aioswap.hooks.*",
    "aioswap.outcomes",
    "aioswap.settings",
    "aioswap.swaps",
    "aioswap.testing",
    "aioswap.transports.base",
)
"""Patterns of modules that are public as a whole."""

HANDED_OUT: Final = (
    "aioswap.consuming.stream.Stream",
    "aioswap.hooks.OperationKind",
    "aioswap.outbox_adoption.Recover",
    "aioswap.tracking.changes.Changes",
    "aioswap.tracking.timings.HostTimings",
    "aioswap.tracking.waiting.Expected",
    "aioswap.transports.topology.Binding",
    "aioswap.transports.topology.QueueDeclaration",
    "aioswap.wire.instances.swap_payload",
    "aioswap.wire.notification.Priority",
    "aioswap.wire.payloads.BlockDevicePayload",
    "aioswap.wire.payloads.ExceptionPayload",
    "aioswap.wire.payloads.FlavorPayload",
    "aioswap.wire.payloads.InstanceActionPayload",
    "aioswap.wire.payloads.InstancePayload",
    "aioswap.wire.payloads.IpPayload",
    "aioswap.wire.payloads.SharePayload",
)
"""Names of other modules that users meet or need."""

PAGES: Final[Mapping[str, Sequence[str]]] = {
    "emitting": ("emitter", "emitting.*", "outbox", "outbox_file", "outbox_adoption", "context"),
    "consuming": ("consumer", "consuming.*", "outcomes", "dead_letters"),
    "tracking": ("tracker", "tracking.*", "swaps", "ledger"),
    "notifications": ("wire.*",),
    "transports": (
        "transports.memory",
        "transports.rabbit",
        "transports.base",
        "transports.topology",
    ),
    "observing": ("health", "hooks", "hooks.*"),
    "errors": ("errors", "settings", "__init__"),
    "testing": ("testing", "testing.*", "clock"),
}
"""Page -> patterns of the modules, after `aioswap.`, that its names live in."""


def public_names() -> dict[str, str]:
    """Return every public name -> the module that it lives in."""
    homes = {
        f"aioswap.{name}": f"aioswap.{aioswap._HOMES.get(name, '__init__')}"
        for name in aioswap.__all__
    }
    exported = {(home, name.removeprefix("aioswap.")) for name, home in homes.items()}
    for module in _modules():
        for name in import_module(module).__all__:
            if (module, name) not in exported:
                homes[f"{module}.{name}"] = module
    for name in HANDED_OUT:
        homes[name] = name.rpartition(".")[0]
    return homes


def names_of(page: str) -> list[str]:
    """Return the public names of a page, those first that the package exports."""
    found = [
        name for name, home in public_names().items() if _on(page, home.removeprefix("aioswap."))
    ]
    return sorted(found, key=lambda name: (name.count(".") > 1, name.casefold()))


def _on(page: str, module: str) -> bool:
    return any(fnmatchcase(module, pattern) for pattern in PAGES[page])


def _modules() -> list[str]:
    found = pkgutil.walk_packages(aioswap.__path__, "aioswap.")
    names = sorted(module.name for module in found if not module.name.startswith("aioswap.cli"))
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in MODULES)]
