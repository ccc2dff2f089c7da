"""A recorded day of a busy cloud, replayed at full speed through a tracker: `make measure`.

The day is 10,000 swaps among 200,000 foreign notifications, made from a seed. It moves the tracker's clock, so that graces
and limits count in the day's own time. Who made the day knows how each swap went: afterwards the tracker is asked for every
one of them, and has to say the same, from memory or from its history. What comes within two seconds arrives at once.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from aioswap.swaps import Swap
from aioswap.testing import ManualClock
from aioswap.tracker import SwapTracker
from aioswap.transports.base import Message
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.envelope import encode
from benchmarks.scripted_day import FOREIGN, SWAPS, Scripted, arrivals, foreign, foreign_arrivals, routing_key, scripted, told
from tests.swap_kit import T0

STUCK_AFTER, KEEP = 3600.0, 2_000
STEP, BAR_MB, AT_ONCE, PATIENCE = 2.0, 200.0, 1.0, 60.0
SAME = ("state", "inferred", "late", "started_at", "finished_at", "effective_volume_id", "evidence", "deaf", "host")


class Replay:
    """Plays the day, and counts. `making` is the CPU time that making and encoding notifications takes."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.troubles: Counter[str] = Counter()
        self.swaps = scripted(rng)
        self.messages = 0
        self.making = 0.0
        self._arrivals = heapq.merge(arrivals(rng, self.swaps, self.troubles), foreign_arrivals(rng))

    def message(self, arrival: float, number: int, word: str) -> Message:
        """Return what the broker gets."""
        begun = time.thread_time()
        if number < 0:
            key, body = foreign(-number, arrival, word)
        else:
            notification = told(self.swaps[number], word)
            key, body = routing_key(notification), encode(notification)
        self.messages += 1
        self.making += time.thread_time() - begun
        return Message(routing_key=key, body=body, message_id=f"{self.messages}")

    async def play(self, transport: MemoryTransport, tracker: SwapTracker, clock: ManualClock) -> None:
        """Let each step's messages arrive, and then the step pass; behind the day, what takes time to be stuck."""
        async with transport.sender("replay") as sender:
            for arrival, number, word in self._arrivals:
                while clock.monotonic() + STEP <= arrival:
                    await clock.advance(STEP)
                    await self._taken(tracker)
                sender.send(self.message(arrival, number, word))
            await clock.advance(STUCK_AFTER + STEP)
            await self._taken(tracker)

    async def _taken(self, tracker: SwapTracker) -> None:
        """Wait until the tracker has taken all: what memory has forgotten is looked up in a thread, where time goes on."""
        async with asyncio.timeout(PATIENCE):
            while (health := tracker.health()).received + health.skipped != self.messages:
                await asyncio.to_thread(lambda: None)


async def judged(tracker: SwapTracker, swap: Scripted) -> tuple[bool, float]:
    """Ask for a swap; say whether the verdict is right, and how many seconds the answer took."""
    begun = time.perf_counter()
    answer: Swap | None = None
    try:
        async with asyncio.timeout(AT_ONCE):
            answer = await tracker.wait(instance=swap.instance, old=swap.old, new=swap.new, or_stuck=True)
    except TimeoutError:
        pass  # no answer is a wrong one
    took = time.perf_counter() - begun
    truth = swap.verdict()
    said = {name: getattr(answer, name, None) for name in SAME} | {
        "inferred": answer is not None and answer.inferred is not None
    }
    wrong = {name: (truth[name], said[name]) for name in SAME if truth[name] != said[name]}
    if wrong:
        print(f"WRONG, as (true, said): {swap}: {wrong}")
    return not wrong, took


def size_mb(path: Path) -> float:
    """Return a file's size in MB."""
    return path.stat().st_size / 1e6


def peak_mb() -> float:
    """Return the most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


async def main(seed: int, folder: Path) -> bool:
    """Play the day, ask for every swap, print the figures; say whether the bar is met."""
    replay, clock, path = Replay(seed), ManualClock(T0), folder / "history.sqlite"
    before, wall, cpu = peak_mb(), time.perf_counter(), time.process_time()
    async with (
        MemoryTransport(clock=clock) as transport,
        SwapTracker(transport, stuck_after=STUCK_AFTER, history=path, keep=KEEP, clock=clock) as tracker,
    ):
        await replay.play(transport, tracker, clock)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu - replay.making
        await tracker.history(limit=1)  # writes what waits
        answers = [(swap.fate, *await judged(tracker, swap)) for swap in replay.swaps]
        health, peak = tracker.health(), peak_mb()
    right, total = Counter(fate for fate, fine, _ in answers if fine), Counter(swap.fate for swap in replay.swaps)
    times, count = sorted(1000 * took for _, _, took in answers), replay.messages
    p50, p99, worst = (times[min(int(len(times) * share), len(times) - 1)] for share in (0.5, 0.99, 1.0))
    met = right == total and peak < BAR_MB and health.lost == 0 and worst < AT_ONCE * 1000
    print(f"seed {seed}: {SWAPS} swaps, {FOREIGN} foreign notifications; {dict(replay.troubles)}")
    print(f"verdicts right {right.total()} of {SWAPS}: " + ", ".join(f"{fate} {right[fate]}/{total[fate]}" for fate in total))
    print(
        f"messages {count} in {wall:.1f} s, {count / wall:.0f}/s; CPU a message {1e6 * cpu / count:.0f} us for hearing and the"
    )
    print(f"  clock, {1e6 * replay.making / count:.0f} us for making it")
    print(
        f"memory {peak:.0f} MB at most, {peak - before:.0f} of them since the day began; {health.evicted} swaps evicted from it"
    )
    print(
        f"history {size_mb(path):.1f} MB; wait p50 {p50:.2f}  p99 {p99:.2f}  max {worst:.2f} ms; {'met' if met else 'MISSED'}"
    )
    return met


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=2026, help="of the day; 2026 unless told")
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(0 if asyncio.run(main(parser.parse_args().seed, Path(temporary))) else 1)
