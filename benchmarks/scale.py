"""Several processes of aioswap on a private RabbitMQ, and one on a private cluster of three nodes: `make scale`.

Each round runs every row of every group once, in fresh processes, in an order that turns from round to round. The broker, all
its nodes and all clients share one machine: what more processes add there is less than what they add on cores of their own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from aio_pika.exceptions import AMQPError

from aioswap.errors import TransportError
from benchmarks.bench import machine, write
from benchmarks.bus import private_cluster, private_node
from benchmarks.crews import GROUPS, Crew, Figures, Group
from benchmarks.report import span
from benchmarks.stage import Stage
from benchmarks.tally import Failed

_RESULTS: Final = Path(__file__).parent / "results"
_COLUMNS: Final = {
    "rate": ("a second", ".0f"),
    "cpu": ("CPU us each", ".1f"),
    "broker": ("broker's CPU us", ".0f"),
    "cores": ("cores", ".2f"),
    "fewest": ("fewest, % of even", ".0f"),
    "most": ("most, % of even", ".0f"),
    "p50": ("p50 ms", ".2f"),
    "p99": ("p99 ms", ".1f"),
    "gap": ("seconds without", ".3f"),
    "again": ("handled again", ".0f"),
}
Results: TypeAlias = dict[str, dict[str, list[Figures | None]]]
"""Group -> row -> what each round measured; None: that run failed."""


def attempt(stage: Stage, group: Group, crew: Crew) -> Figures | None:
    """Return what one run tells, and how busy the machine was; None: it failed, and why is said on standard error.

    `load` is the average of the last minute, ourselves included; `others` is how many cores were busy with something else.
    """
    load, others, begun = os.getloadavg()[0], stage.others(), time.monotonic()
    try:
        figures = group.run(stage, crew)
        return figures | {"load": load, "others": (stage.others() - others) / (time.monotonic() - begun)}
    except (Failed, OSError, TransportError, AMQPError) as error:
        print(f"{group.name}, {crew.name}: {error}", file=sys.stderr)
        return None


def measure(stage: Stage, groups: Sequence[Group], rounds: int, scale: float) -> Results:
    """Run all rounds."""
    results: Results = {group.name: {crew.name: [] for crew in group.rows} for group in groups}
    for number in range(rounds):
        begun = time.monotonic()
        for group in groups:
            turn = number % len(group.rows)
            for crew in group.rows[turn:] + group.rows[:turn]:
                asked = replace(crew, count=max(int(crew.count * scale), 100))
                results[group.name][crew.name].append(attempt(stage, group, asked))
        load = os.getloadavg()[0]
        print(f"round {number + 1} of {rounds}: {time.monotonic() - begun:.0f} s, load {load:.1f}", file=sys.stderr)
    return results


def table(group: Group, results: Mapping[str, Mapping[str, Sequence[Figures | None]]]) -> Iterator[str]:
    """Yield the lines of one group: medians with range, and ratios of rates to the first row within each round."""
    measured = results[group.name]
    first = measured[group.rows[0].name]
    compared = "rate" in group.shown
    yield ""
    yield f"{group.name}: {group.title}"
    heads = [f"{_COLUMNS[name][0]:>22}" for name in group.shown]
    yield f"  {'':24}{''.join(heads)}{'rate x' if compared else '':>18}".rstrip()
    for crew in group.rows:
        rounds = measured[crew.name]
        good = [figures for figures in rounds if figures is not None]
        if len(good) < len(rounds) or not good:
            yield f"  {crew.name:24}failed in {len(rounds) - len(good)} of {len(rounds)} rounds, see above"
            continue
        cells = [f"{span([figures[name] for figures in good], _COLUMNS[name][1]):>22}" for name in group.shown]
        if compared:
            pairs = [(this, other) for this, other in zip(rounds, first, strict=True) if this is not None and other is not None]
            cells.append(f"{span([this['rate'] / other['rate'] for this, other in pairs], '.2f'):>18}")
        yield f"  {crew.name:24}{''.join(cells)}"


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--group", action="append", choices=GROUPS, help="only this one; may be given again")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies how much each run does")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="folder of the JSON file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; 0: no run failed."""
    asked = options(arguments)
    groups = [GROUPS[name] for name in asked.group or GROUPS]
    alone = [group for group in groups if not group.cluster]
    clustered = [group for group in groups if group.cluster]
    before = machine()
    results: Results = {}
    if alone:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            node = stack.enter_context(private_node())
            results |= measure(Stage([node], folder), alone, asked.rounds, asked.scale)
    if clustered:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            cluster = stack.enter_context(private_cluster())
            results |= measure(Stage(cluster.nodes, folder), clustered, asked.rounds, asked.scale)
    for group in groups:
        print("\n".join(table(group, results)))
    good = [figures for rows in results.values() for rounds in rows.values() for figures in rounds if figures]
    print(f"\nload before each run: {span([figures['load'] for figures in good], '.1f')}")
    print(f"cores that other processes kept busy: {span([figures['others'] for figures in good], '.2f')}")
    told = {"before": before, "after": machine(), "rounds": asked.rounds, "scale": asked.scale, "results": results}
    print(f"written: {write(asked.output, told, 'scale-')}")
    return 1 if any(None in rounds for rows in results.values() for rounds in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
