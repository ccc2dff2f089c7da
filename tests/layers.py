"""The layers of aioswap, as data: which module stands where, and which ones are pure.

Imports go downwards only. On one layer, modules of one folder may import each other.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

__all__ = ["FOLDER", "LAYERS", "PURE", "is_pure", "layer_of", "modules"]

FOLDER = Path(__file__).parents[1] / "aioswap"

LAYERS: dict[int, tuple[str, ...]] = {
    9: ("__main__",),
    8: ("cli", "cli.*", "__init__"),
    7: ("settings", "testing", "testing.*", "web", "web.*"),
    6: ("tracker",),
    5: ("emitter", "consumer", "dead_letters", "tracking", "tracking.*"),
    4: (
        "transports.memory*",
        "transports.rabbit*",
        "outbox*",
        "history*",
        "sqlite",
        "recording",
        "relay",
        "emitting",
        "emitting.*",
        "consuming",
        "consuming.*",
        "hooks.*",
    ),
    3: (
        "transports",
        "transports.base",
        "transports.answers",
        "transports.subscription",
        "transports.urls",
        "transports.topology",
        "transports.compression",
        "transports.limits",
        "nova_conf",
    ),
    2: ("swaps", "ledger", "accounts", "attempts", "evidence", "health", "hooks"),
    1: ("wire", "wire.*"),
    0: ("errors", "outcomes", "context", "clock", "opened"),
}
"""Patterns of module names after `aioswap.`; a package's name stands for its `__init__`."""

PURE: tuple[str, ...] = (
    "errors",
    "outcomes",
    "context",
    "health",
    "swaps",
    "ledger",
    "accounts",
    "attempts",
    "evidence",
    "wire",
    "wire.*",
    "hooks",
    "transports",
    "transports.base",
    "transports.answers",
    "transports.subscription",
    "transports.urls",
    "transports.topology",
    "transports.compression",
    "transports.limits",
    "nova_conf",
    "recording",
)
"""What needs no I/O and no clock."""


def modules() -> dict[str, Path]:
    """Return every module of aioswap by its name after `aioswap.`; the package itself is `__init__`."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        name = ".".join(path.relative_to(FOLDER).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def is_pure(module: str) -> bool:
    """Return whether `module`, a name after `aioswap.`, is pure."""
    return _listed(module, PURE)


def layer_of(module: str) -> int:
    """Return the layer of `module`, a name after `aioswap.`.

    Raises:
        LookupError: the table does not know it: every module has its place.
    """
    for layer, names in LAYERS.items():
        if _listed(module, names):
            return layer
    raise LookupError(f"aioswap.{module} has no layer: give it one in tests/layers.py")


def _listed(module: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(module, pattern) for pattern in patterns)
