"""Notifications at a steady rate under a fault every three seconds: `python -m tests.faults.soak --seconds 300`.

It ends with 1 if anything was lost, told twice to a handler, or out of order, or if tasks, descriptors or memory grew.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aioswap.outbox_file import FileOutbox
from tests.broker import NO_BROKER, Direction, Node, Proxy, install, make_certificates, server_folder
from tests.faults.accounting import Sum
from tests.faults.load import Load, passes
from tests.faults.workload import Footprint, Plan, Workload

__all__: list[str] = []

RATE: Final = 300
EVERY: Final = 3.0
MORE_MEMORY: Final = 10.0
_SHORTEST_WARM_UP: Final = 45.0


class Soak:
    """Injects faults in an order that a seed decides.

    Args:
        node: the broker.
        proxy: before it.
        choose: decides.
    """

    def __init__(self, node: Node, proxy: Proxy, choose: random.Random) -> None:
        self._node, self._proxy, self._choose = node, proxy, choose
        self.injected: Counter[str] = Counter()
        self._faults: dict[str, Callable[[], Awaitable[None]]] = {
            "RST": self._reset,
            "black hole": self._hold,
            "black hole, then RST": self._hold_and_reset,
            "one way held": self._hold_one_way,
            "200 ms later": self._delay,
            "refused": self._refuse,
            "closed by an operator": self._close,
        }

    async def inject(self) -> None:
        """Inject one fault, and heal it."""
        name = self._choose.choice(list(self._faults))
        self.injected[name] += 1
        await self._faults[name]()

    async def _reset(self) -> None:
        self._proxy.reset()

    async def _hold(self) -> None:
        self._proxy.hold()
        await self._last()

    async def _hold_and_reset(self) -> None:
        self._proxy.hold()
        await self._last()
        self._proxy.reset()

    async def _hold_one_way(self) -> None:
        self._proxy.hold(self._choose.choice(list(Direction)))
        await self._last()

    async def _delay(self) -> None:
        self._proxy.delay = 0.2
        await self._last()

    async def _refuse(self) -> None:
        self._proxy.cut()
        await self._last()

    async def _close(self) -> None:
        await asyncio.to_thread(self._node.ctl, "close_all_connections", "soak")

    async def _last(self) -> None:
        await passes(self._choose.uniform(1, 2))
        self._proxy.heal()

    async def run(self, seconds: float, load: Load) -> None:
        """Inject one every three seconds, for so long. What `load` holds across a fault ends after it."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (begun := loop.time()) < end:
            await self.inject()
            load.release()
            load.go_on()
            await passes(max(0.0, begun + EVERY - loop.time()))


async def soak(node: Node, folder: Path, seconds: float, seed: int) -> bool:
    """Run it, print what it has shown, and say whether that is right."""
    warm_up = min(_SHORTEST_WARM_UP, seconds / 3)
    async with Proxy(node.url, record=False) as proxy:
        faults = Soak(node, proxy, random.Random(seed))
        plan = Plan(url=node.url, emitting=proxy.url, folder=folder, outbox=FileOutbox, swaps=0, rate=RATE / 2)
        workload = Workload(plan)
        async with workload.running():
            await faults.run(warm_up, workload.load)
            before = await workload.quiet()
            print(f"after {warm_up:.0f} s: {before}", flush=True)
            await faults.run(seconds - warm_up, workload.load)
            after = await workload.quiet()
            print(f"after {seconds:.0f} s: {after}", flush=True)
    sum_ = workload.account(faults=faults.injected.total())
    return report(sum_, workload, faults, before, after)


def report(sum_: Sum, workload: Workload, faults: Soak, before: Footprint, after: Footprint) -> bool:
    """Print what was shown, and say whether it is right."""
    leaks = after.tasks > before.tasks or after.descriptors > before.descriptors or after.memory - before.memory > MORE_MEMORY
    wrong = workload.load.wrong
    print(f"{faults.injected.total()} faults: {', '.join(f'{name} {times}' for name, times in faults.injected.items())}")
    print(f"{sum_}; swaps {workload.load.started} {f'{len(wrong)} WRONG, {wrong[:3]}' if wrong else 'ok'}")
    print(f"memory {after.memory - before.memory:+.1f} MB, {'LEAKS' if leaks else 'nothing leaks'}")
    return sum_.exact and not wrong and not leaks


def main() -> int:
    """Find a broker, and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    scripts = server_folder() or install()
    if scripts is None:
        print(NO_BROKER)
        return 1
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("certificates", "node", "journals"):
            (folder / part).mkdir()
        make_certificates(folder / "certificates")
        node = Node(folder / "node", scripts, folder / "certificates")
        node.start()
        try:
            right = asyncio.run(soak(node, folder / "journals", arguments.seconds, arguments.seed))
        finally:
            node.close()
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
