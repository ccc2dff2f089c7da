"""A recorded day of a busy cloud, replayed at full speed through a tracker: `make measure`.

The day is 10,000 swaps among 200,000 foreign notifications, made from a seed. It moves the tracker's clock, so that graces
and limits count in the day's own time. Who made the day knows how each swap went: afterwards the tracker is asked for every
one of them, and has to say the same, from memory or from its history. Each second of the day is heard at its beginning.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from aioswap.swaps import Swap, SwapState
from aioswap.testing import ManualClock
from aioswap.tracker import SwapTracker
from aioswap.transports.base import Message
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.envelope import encode
from aioswap.wire.notification import Notification
from tests.swap_kit import T0, at, captured

SWAPS, FOREIGN, DAY = 10_000, 200_000, 86_400.0
STUCK_AFTER, KEEP, LONGEST = 3600.0, 2_000, 3000.0
BAR_MB, AT_ONCE = 200.0, 5.0
INSTANCES, HOSTS = 4_000, 200
FATES = {"failed": 200, "failed silently": 100, "deleted": 50, "never ended": 50}
"""How many swaps go wrong, and how; the others succeed."""
FOREIGN_SHARES = {
    "service.update": 35,
    "instance.update": 30,
    "instance.exists": 15,
    "instance.volume_attach.end": 10,
    "instance.create.end": 5,
    "instance.delete.end": 3,
    "compute.exception": 2,
}
SAME = ("state", "inferred", "late", "started_at", "finished_at", "effective_volume_id", "evidence", "deaf", "host")
WORDS = ("start", "end", "error", "exception", "delete")


def ident(what: int, number: int) -> str:
    """Return a UUID: the same for the same numbers."""
    return str(UUID(int=(what << 96) | (number * 0x9E3779B97F4A7C15)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """How a swap goes: the truth. Seconds are those of the day."""

    number: int
    fate: str
    instance: str
    host: int
    migrated: bool
    shown: bool
    """Its notifications have block devices."""
    identified: bool
    """Nova's request id stands in them."""
    heard: bool
    """Its start comes through."""
    started: float
    ended: float | None
    sign: str | None
    signed: float

    @property
    def old(self) -> str:
        """The old volume."""
        return ident(2, self.number)

    @property
    def new(self) -> str:
        """The new volume."""
        return ident(3, self.number)

    @property
    def final(self) -> str:
        """The volume that the instance has after a success."""
        return self.old if self.migrated else self.new

    def moment(self, seconds: float) -> datetime:
        """Return what the host's clock shows; that of every tenth host is two hours off."""
        return at(seconds + (7200 if self.host % 10 == 0 else 0))

    def message_id(self, word: str) -> str:
        """Return the id of one of its notifications."""
        return ident(10 + WORDS.index(word), self.number)

    def words(self) -> Iterator[tuple[str, float]]:
        """Give what is told of it, and when, in order of time."""
        yield "start", self.started
        if self.sign is not None:
            yield self.sign, self.signed
        if self.ended is not None:
            yield "error" if self.fate == "failed" else "end", self.ended

    def verdict(self) -> dict[str, object]:
        """Return what has to be said of it in the end."""
        words = dict(self.words())
        last = next((word for word in ("end", "error", "exception", "delete") if word in words), None)
        state = {"end": SwapState.SUCCEEDED, None: SwapState.STUCK}.get(last, SwapState.FAILED)
        evidence = [word for word in ("start", last) if word is not None and (word != "start" or self.heard)]
        return {
            "state": state,
            "inferred": last in ("exception", "delete"),
            "late": False,
            "started_at": self.moment(self.started) if self.heard else None,
            "finished_at": None if last is None else self.moment(words[last]),
            "effective_volume_id": self.final if last == "end" and self.shown else None,
            "evidence": tuple(self.message_id(word) for word in evidence),
            "deaf": (),
            "host": f"compute-{self.host}",
        }


def scripted(rng: random.Random) -> list[Scripted]:
    """Make up the day's swaps."""
    fates = [fate for fate, count in FATES.items() for _ in range(count)]
    fates += ["succeeded"] * (SWAPS - len(fates))
    rng.shuffle(fates)
    return [one_scripted(rng, number, fate) for number, fate in enumerate(fates)]


def one_scripted(rng: random.Random, number: int, fate: str) -> Scripted:
    """Make up one swap. A third of the failures are told by an exception too, a third by a delete, up to 20 s before."""
    started = rng.uniform(60, DAY - LONGEST - 60)
    took = min(max(rng.lognormvariate(4.5, 1.2), 2.0), LONGEST)
    sign = {"failed silently": "exception", "deleted": "delete"}.get(fate)
    signed = started + took
    if fate == "failed":
        sign = rng.choice((None, "exception", "delete"))
        signed -= min(took / 2, rng.uniform(0, 20))
    migrated, ended = rng.random() < 0.9, fate in ("succeeded", "failed")
    return Scripted(
        number=number,
        fate=fate,
        instance=ident(1, INSTANCES + number if sign == "delete" else rng.randrange(INSTANCES)),
        host=rng.randrange(HOSTS),
        migrated=migrated,
        shown=rng.random() < 0.5,
        identified=sign == "exception" or rng.random() < 0.95,
        heard=not ended or rng.random() >= 0.01,
        started=started,
        ended=started + took if ended else None,
        sign=sign,
        signed=signed,
    )


def arrivals(rng: random.Random, swaps: list[Scripted], troubles: Counter[str]) -> list[tuple[float, int, str]]:
    """Return when which notification of which swap arrives: some late, some twice, some never."""
    arriving = []
    for swap in swaps:
        words = list(swap.words())
        for word, moment in words:
            arrival = moment + rng.uniform(0.01, 0.5)
            if word == "start" and not swap.heard:
                troubles["lost starts"] += 1
                continue
            if word == "start" and len(words) > 1 and rng.random() < 0.03:
                troubles["starts behind what follows"] += 1
                arrival = words[-1][1] + rng.uniform(1, 30)
            arriving.append((arrival, swap.number, word))
            if rng.random() < 0.03:
                troubles["duplicates"] += 1
                arriving.append((arrival + rng.uniform(0, 600), swap.number, word))
    return sorted(arriving)


def told(swap: Scripted, word: str) -> Notification[Any]:
    """Return a notification of a swap, made from a captured one."""
    if word == "exception":
        base = captured("nova34-others__compute.exception")
        payload = base.payload
    elif word == "delete":
        base = captured("nova34-others__instance.delete.end")
        payload = base.payload.model_copy(update={"uuid": swap.instance})
    else:
        base = captured(f"nova34-v2-{'full' if swap.shown else 'default'}__instance.volume_swap.{word}")
        volume = swap.final if word == "end" else swap.old
        devices = [device.model_copy(update={"volume_id": volume}) for device in base.payload.block_devices or ()]
        update = {"uuid": swap.instance, "old_volume_id": swap.old, "new_volume_id": swap.new}
        payload = base.payload.model_copy(update={**update, "block_devices": devices if swap.shown else None})
    request_id = f"req-{ident(4, swap.number)}" if swap.identified and word != "delete" else None
    return replace(
        base,
        message_id=swap.message_id(word),
        publisher_id=f"nova-compute:compute-{swap.host}",
        timestamp=swap.moment(dict(swap.words())[word]),
        payload=payload,
        context={**base.context, "request_id": request_id, "global_request_id": f"req-{ident(5, swap.number)}"},
    )


def foreign(number: int, seconds: float, event_type: str, host: int) -> Notification[Any]:
    """Return a notification of something else, made from a captured one."""
    base = captured(f"nova34-others__{event_type}")
    payload = base.payload.model_copy(update={"uuid": ident(6, number)} if hasattr(base.payload, "uuid") else {})
    return replace(
        base,
        message_id=ident(7, number),
        publisher_id=f"nova-compute:compute-{host}",
        timestamp=at(seconds),
        payload=payload,
        context={**base.context, "request_id": f"req-{ident(8, number)}"},
    )


def foreign_arrivals(rng: random.Random) -> Iterator[tuple[float, int, str]]:
    """Give when what else arrives; its numbers are below zero."""
    names, shares = list(FOREIGN_SHARES), list(FOREIGN_SHARES.values())
    for number in range(FOREIGN):
        yield (number + rng.random()) * DAY / FOREIGN, -1 - number, rng.choices(names, shares)[0]


class Replay:
    """Plays the day, and counts. `making` is the CPU time that making and encoding notifications takes."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311  # a script, no secret
        self.troubles: Counter[str] = Counter()
        self.swaps = scripted(rng)
        self.messages = 0
        self.making = 0.0
        self._arrivals = heapq.merge(arrivals(rng, self.swaps, self.troubles), foreign_arrivals(rng))

    def message(self, arrival: float, number: int, word: str) -> Message:
        """Return what the broker gets."""
        begun = time.thread_time()
        notification = foreign(-number, arrival, word, -number % HOSTS) if number < 0 else told(self.swaps[number], word)
        self.messages += 1
        key = f"versioned_notifications.{notification.priority.lower()}"
        message = Message(routing_key=key, body=encode(notification), message_id=f"{self.messages}")
        self.making += time.thread_time() - begun
        return message

    async def play(self, transport: MemoryTransport, tracker: SwapTracker, clock: ManualClock) -> None:
        """Let each second's messages arrive, and then the second pass."""
        async with transport.sender("replay") as sender:
            for arrival, number, word in self._arrivals:
                while clock.monotonic() + 1 <= arrival:
                    await clock.advance(1)
                    health = tracker.health()
                    if health.received + health.skipped != self.messages:
                        raise RuntimeError(f"the tracker has not taken all of {self.messages} messages: {health}")
                sender.send(self.message(arrival, number, word))
        await clock.advance(STUCK_AFTER + 60)


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


def peak_mb() -> float:
    """Return the most memory that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


async def main(seed: int, folder: Path, say: Callable[[str], None] = print) -> bool:
    """Play the day, ask for every swap, print the figures; say whether the bar is met."""
    replay, clock, path = Replay(seed), ManualClock(T0), folder / "history.sqlite"
    before, wall, cpu = peak_mb(), time.perf_counter(), time.process_time()
    async with MemoryTransport(clock=clock) as transport:
        async with SwapTracker(transport, stuck_after=STUCK_AFTER, history=path, keep=KEEP, clock=clock) as tracker:
            await replay.play(transport, tracker, clock)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            async with asyncio.timeout(60):
                while tracker.health().unsaved:
                    await asyncio.sleep(0.01)
            answers = [(swap.fate, *await judged(tracker, swap)) for swap in replay.swaps]
            health, peak = tracker.health(), peak_mb()
    right, times = Counter(fate for fate, fine, _ in answers if fine), sorted(took for _, _, took in answers)
    total = Counter(swap.fate for swap in replay.swaps)
    met = right == total and peak < BAR_MB and health.lost == 0 and times[-1] < AT_ONCE
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    say(f"seed {seed}: {SWAPS} swaps, {FOREIGN} foreign notifications; {dict(replay.troubles)}")
    say(
        f"verdicts right {right.total():6} of {SWAPS}: " + ", ".join(f"{fate} {right[fate]} of {total[fate]}" for fate in total)
    )
    say(f"messages {replay.messages} in {wall:.1f} s, their making included: {replay.messages / wall:.0f}/s")
    say(
        f"CPU a message {1e6 * (cpu - replay.making) / replay.messages:.0f} us, {1e6 * replay.making / replay.messages:.0f} to make it"
    )
    say(f"memory {peak:.0f} MB at most, {before:.0f} before; {health.evicted} swaps evicted; history {size:.1f} MB")
    say(
        f"wait p50 {1000 * times[len(times) // 2]:.2f}  p99 {1000 * times[len(times) * 99 // 100]:.2f}  max {1000 * times[-1]:.2f} ms"
    )
    say("met" if met else "MISSED")
    return met


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=2026, help="of the day; 2026 unless told")
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(0 if asyncio.run(main(parser.parse_args().seed, Path(temporary))) else 1)
