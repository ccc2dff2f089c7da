"""aioswap and other clients side by side on a private RabbitMQ: `make bench`, `make bench-quick`.

Each round runs every row of every scenario once, each in a fresh process, in an order that turns from round to round.
Rows are compared within a round, so that what else the machine does meets all of them. The main figure is the client's CPU
time for each notification; rates depend on the broker and the disk, too. All clients run on asyncio's own event loop.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from benchmarks.bars import BARS, Measured, Verdict
from benchmarks.bus import Bus, compiled, private_broker
from benchmarks.notifications import BODY, foreign, mixed, swaps
from benchmarks.plot import plot
from benchmarks.report import bar_table, scenario_table
from benchmarks.scenarios import QUICK, SCENARIOS, Row, Scenario

_ROOT: Final = Path(__file__).parents[1]
_RESULTS: Final = _ROOT / "benchmarks" / "results"
_PICTURE: Final = _ROOT / "docs" / "bench.svg"
_ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
_SECONDS: Final = 120.0
_FOREIGN: Final = 0.95
_PACKAGES: Final = ("aioswap", "aio-pika", "aiormq", "pydantic", "faststream", "orjson", "oslo.messaging", "kombu")


class Bench:
    """Runs rows, one at a time.

    Args:
        bus: the broker, None where no scenario needs one.
        scale: multiplies every row's count.
        folder: an empty one.
    """

    def __init__(self, bus: Bus | None, scale: float, folder: Path) -> None:
        self._bus = bus
        self._scale = scale
        self._folder = folder
        self._program = compiled(folder) if bus is not None else None
        self._body = folder / "body"
        self._body.write_bytes(BODY)

    def run(self, scenario: Scenario, row: Row) -> Measured | None:
        """Return what one run tells; None: it failed, and said why on standard error."""
        count = max(int(row.count * self._scale), min(row.window, row.count))
        if row.module == "librabbitmq" and self._program is None:
            return None
        pool = scenario.own_queue and row.module == "aioswap_peer"
        handled = self._prepare(scenario, count, pool)
        command = self._command(row, count, handled)
        if row.module == "imports":
            self._answer(command)  # what is compiled then is not compiled again
        measured = self._answer(command)
        if measured is not None and self._bus is not None and scenario.filled and (left := self._bus.depth(pool=pool)):
            print(f"{scenario.name}, {row.name}: {left} messages were not acknowledged", file=sys.stderr)
            return None
        return measured

    def _prepare(self, scenario: Scenario, count: int, pool: bool) -> int:
        """Fill the queue, and return how many of the notifications in it are swaps."""
        if self._bus is None or not scenario.broker:
            return 0
        self._bus.reset(pool=pool)
        if scenario.filled == "swaps":
            bodies: Iterable[bytes] = swaps(count)
        elif scenario.filled == "foreign":
            bodies = foreign(count)
        elif scenario.filled == "mixed":
            bodies = mixed(count, _FOREIGN)
        else:
            return 0
        kept = list(bodies)
        self._bus.fill(kept, pool=pool)
        return sum(b"instance.volume_swap." in body for body in kept)

    def _command(self, row: Row, count: int, handled: int) -> list[str]:
        url = "" if self._bus is None else self._bus.url
        if row.module == "librabbitmq":
            return [str(self._program), row.task, url, str(count), str(row.window), str(handled), str(self._body)]
        module = [sys.executable, "-m", f"benchmarks.peers.{row.module}", row.task]
        if row.module == "imports":
            return module
        folder = tempfile.mkdtemp(dir=self._folder)
        options = {"url": url, "count": count, "window": row.window, "handled": handled, "folder": folder}
        return module + [f"--{name}={value}" for name, value in options.items()]

    def _answer(self, command: Sequence[str]) -> Measured | None:
        try:
            done = subprocess.run(
                command, cwd=_ROOT, env=_ENVIRONMENT, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            print(f"{' '.join(command)}: no answer in {_SECONDS:.0f} s", file=sys.stderr)
            return None
        if done.returncode != 0:
            print(f"{' '.join(command)}: {done.stderr[-2000:]}", file=sys.stderr)
            return None
        answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return answer


def measure(bench: Bench, scenarios: Sequence[Scenario], rounds: int) -> dict[str, dict[str, list[Measured | None]]]:
    """Run all rounds."""
    results: dict[str, dict[str, list[Measured | None]]] = {
        scenario.name: {row.name: [] for row in scenario.rows} for scenario in scenarios
    }
    for number in range(rounds):
        begun = time.monotonic()
        for scenario in scenarios:
            turn = number % len(scenario.rows)
            for row in scenario.rows[turn:] + scenario.rows[:turn]:
                results[scenario.name][row.name].append(bench.run(scenario, row))
        load = os.getloadavg()[0]
        print(f"round {number + 1} of {rounds}: {time.monotonic() - begun:.0f} s, load {load:.1f}", file=sys.stderr)
    return results


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "missing"
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": versions,
    }


def write(folder: Path, told: dict[str, Any], prefix: str = "") -> Path:
    """Write the figures as JSON into `folder`, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{prefix}{told['before']['at'].replace(':', '')[:17]}.json"
    file.write_text(json.dumps(told, indent=1) + "\n")
    return file


def told_of(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Return the bars as plain values."""
    return [{**asdict(verdict), "met": verdict.met} for verdict in verdicts]


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}; 3 rounds of a third of the size")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="only this one; may be given again")
    parser.add_argument("--rounds", type=int, help="5 unless told; 3 with --quick")
    parser.add_argument("--scale", type=float, help="multiplies how much each run does")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="folder of the JSON file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; 0: every bar that decides and was measured is met."""
    asked = options(arguments)
    names = asked.scenario or (QUICK if asked.quick else tuple(SCENARIOS))
    scenarios = [SCENARIOS[name] for name in names]
    rounds = asked.rounds or (3 if asked.quick else 5)
    scale = asked.scale or (0.3 if asked.quick else 1.0)
    before = machine()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = any(scenario.broker for scenario in scenarios)
        bus = Bus(stack.enter_context(private_broker())) if broker else None
        results = measure(Bench(bus, scale, folder), scenarios, rounds)
    verdicts = [bar.judge(results) for bar in BARS if bar.this.scenario in names]
    for scenario in scenarios:
        print("\n".join(scenario_table(scenario, results)))
    print("\n".join(bar_table(verdicts)))
    told = {"before": before, "after": machine(), "rounds": rounds, "scale": scale, "results": results}
    file = write(asked.output, {**told, "bars": told_of(verdicts)})
    print(f"\nwritten: {file}")
    if set(names) == set(SCENARIOS) and scale == 1.0:
        _PICTURE.write_text(plot(results))
        print(f"written: {_PICTURE}")
    return 1 if any(verdict.met is False and verdict.bar.decides for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
