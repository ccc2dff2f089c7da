"""What importing costs: `python -m benchmarks.peers.imports WHAT`, in CPU seconds over what this module itself needs."""

from __future__ import annotations

import sys
import time
from importlib import import_module

_WIRE = ("envelope", "events", "faults", "instances", "notification", "payloads")


def load(what: str) -> None:
    """Import modules, with `,` between them; of aioswap every public name, since it loads them late."""
    for name in what.split(","):
        module = import_module(name)
        if name == "aioswap":
            for public in module.__all__:
                getattr(module, public)
        elif name == "aioswap.wire":
            for part in _WIRE:
                import_module(f"{name}.{part}")


if __name__ == "__main__":
    wall, cpu = time.perf_counter(), time.process_time()
    load(sys.argv[1])
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f'{{"count": 1, "cpu": {cpu}, "wall": {wall}}}')
