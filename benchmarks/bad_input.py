"""What a bad body costs: CPU time of `decode` for every named case of the tests within the limit of bodies.

Run it by `python -m benchmarks.bad_input`. The bar is 100 ms a body.
"""

from __future__ import annotations

import gc
import time
from contextlib import suppress
from typing import Final, NamedTuple

from aioswap.errors import DecodeError
from aioswap.transports.base import MAX_BODY
from aioswap.transports.compression import readable
from aioswap.wire.envelope import decode
from tests.capture import captures
from tests.faults.bad_input import CASES

__all__ = ["main"]

_BAR: Final = 0.1
_RUNS: Final = 5
_SHOWN: Final = 20


class _Cost(NamedTuple):
    seconds: float
    size: int
    name: str


def _decoding(body: bytes) -> float:
    """Return seconds of CPU time for reading `body` once: the median of some runs, each after a collection of garbage."""
    times = []
    for _ in range(_RUNS):
        gc.collect()
        began = time.process_time()
        with suppress(DecodeError):
            decode(body)
        times.append(time.process_time() - began)
    return sorted(times)[_RUNS // 2]


def _costs() -> list[_Cost]:
    costs = [_Cost(_decoding(found.body), len(found.body), found.name) for found in captures()]
    for case in CASES:
        body, _ = readable(case.make(), case.headers, MAX_BODY)
        if body is not None:
            costs.append(_Cost(_decoding(body), len(body), case.name))
    return sorted(costs, reverse=True)


def main() -> int:
    """Print the worst cases; 1 if one is above the bar."""
    costs = _costs()
    print(f"{'ms of CPU':>9}  {'bytes':>8}  case")
    for cost in costs[:_SHOWN]:
        print(f"{cost.seconds * 1000:9.1f}  {cost.size:8}  {cost.name}")
    above = sum(cost.seconds > _BAR for cost in costs)
    print(
        f"{len(costs)} bodies of at most {MAX_BODY} bytes; {above} above {_BAR * 1000:.0f} ms; {len(CASES)} named cases in all"
    )
    return 1 if above else 0


if __name__ == "__main__":
    raise SystemExit(main())
