"""Where processes work together: a private broker with the pools of one run, and the processes themselves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from aioswap.consumer import Consumer
from aioswap.outcomes import RETRY_LADDER
from aioswap.transports.rabbit import RabbitTransport
from aioswap.transports.rabbit_removal import remove
from aioswap.transports.topology import dead_letter_queue, pool_exchange, pool_queue, retry_queue
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification
from benchmarks.bus import depth, fill
from benchmarks.peers.journal import Entry, entries, written
from benchmarks.tally import Failed
from tests.broker import Node

__all__ = ["Stage", "Worker", "busy_seconds", "cpu_seconds", "until"]

_ROOT: Final = Path(__file__).parents[1]
_ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
_STEP: Final = 0.02
_PATIENCE: Final = 60.0


def until(condition: Callable[[], bool], what: str, seconds: float = _PATIENCE) -> None:
    """Wait until it holds.

    Raises:
        Failed: it does not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(_STEP)


def cpu_seconds(stat: str) -> float:
    """Return the CPU time of a process with all its threads (proc(5), `stat`: utime and stime)."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy_seconds(stat: str) -> float:
    """Return the CPU time that this machine has spent on everything (proc(5), `/proc/stat`; what was stolen from it, too)."""
    user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, stat.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Worker:
    """One process of `benchmarks.peers.scale_peer`.

    Args:
        folder: an empty one.
        task: what it does.
        options: of its command line; a flag is True.
    """

    def __init__(self, folder: Path, task: str, **options: object) -> None:
        folder.mkdir()
        self._journal = folder / "journal"
        self._errors = folder / "errors"
        self._task = task
        command = [sys.executable, "-m", "benchmarks.peers.scale_peer", task, f"--journal={self._journal}"]
        for name, value in options.items():
            flag = f"--{name.replace('_', '-')}"
            command += [flag] if value is True else [] if value is False else [f"{flag}={value}"]
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command, cwd=_ROOT, env=_ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )

    @property
    def count(self) -> int:
        """How many notifications it has emitted or handled until now."""
        return written(self._journal)

    @property
    def entries(self) -> list[Entry]:
        """The notifications that it has emitted or handled."""
        return entries(self._journal)

    def ready(self) -> None:
        """Wait until it is ready.

        Raises:
            Failed: it ended before.
        """
        if (line := self._pipe(self._process.stdout).readline()) != "ready\n":
            raise self._failed(f"it should be ready, and says {line!r}")

    def go(self) -> None:
        """Let it begin; a consumer that has begun: let it end.

        Raises:
            Failed: it has ended before.
        """
        try:
            self._pipe(self._process.stdin).write("\n")
            self._pipe(self._process.stdin).flush()
        except OSError as error:
            raise self._failed("it ended too early") from error

    def answer(self) -> dict[str, float]:
        """Wait until it ends, and return its figures.

        Raises:
            Failed: it ended with an error.
        """
        lines = self._pipe(self._process.stdout).read().splitlines()
        if self._process.wait() != 0 or not lines:
            raise self._failed(f"it ended with {self._process.returncode}")
        told: dict[str, float] = json.loads(lines[-1])
        return told

    def signal(self, number: signal.Signals) -> float:
        """Send it a signal, and return when that was, by the clock of the journals."""
        now = time.monotonic()
        self._process.send_signal(number)
        return now

    def close(self) -> None:
        """End it if it runs, and leave nothing open."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                self._pipe(pipe).close()
            except OSError:
                continue  # what it was not told any more

    def _failed(self, what: str) -> Failed:
        self._process.kill()
        self._process.wait()
        return Failed(f"{self._task}: {what}: {self._errors.read_text()[-2000:]}")

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


class Stage:
    """A private broker. All methods block.

    Args:
        nodes: the broker's; clients and queues are at the first one.
        folder: an empty one.
    """

    def __init__(self, nodes: Sequence[Node], folder: Path) -> None:
        self._nodes = nodes
        self._folder = folder
        self._workers = 0

    @property
    def url(self) -> str:
        """The first node's."""
        return self._nodes[0].url

    @contextmanager
    def pools(self, *names: str, quorum: bool = False, single_active: bool = False) -> Iterator[None]:
        """Make the queues of pools; in the end they are deleted."""
        try:
            for name in names:
                asyncio.run(self._declare(name, quorum, single_active))
            yield
        finally:
            asyncio.run(self._remove(names))

    @contextmanager
    def workers(self, *parts: dict[str, object]) -> Iterator[list[Worker]]:
        """Start a process for each part, and wait until all are ready; in the end none is left."""
        started: list[Worker] = []
        try:
            for part in parts:
                self._workers += 1
                started.append(Worker(self._folder / f"worker{self._workers}", **{"url": self.url, **part}))  # type: ignore[arg-type]
            for worker in started:
                worker.ready()
            yield started
        finally:
            for worker in started:
                worker.close()

    def fill(self, pool: str, bodies: Iterable[bytes]) -> None:
        """Put bodies into the queue of a pool."""
        asyncio.run(fill(self.url, bodies, pool_queue(pool)))

    def holds(self, pool: str, count: int) -> None:
        """Check how many messages the queue of a pool holds; some kinds of queues know it a little later.

        Raises:
            Failed: it does not hold as many.
        """
        until(lambda: asyncio.run(depth(self.url, pool_queue(pool))) == count, f"{count} messages in the queue", 10)

    def cpu(self) -> float:
        """Return the CPU time in seconds that all nodes have taken until now."""
        return sum(cpu_seconds(Path(f"/proc/{node.pid}/stat").read_text()) for node in self._nodes)

    def others(self) -> float:
        """Return the CPU time in seconds that was taken until now, but not by the nodes, by us, or by those we have started."""
        return busy_seconds(Path("/proc/stat").read_text()) - self.cpu() - sum(os.times()[:4])

    async def _declare(self, pool: str, quorum: bool, single_active: bool) -> None:
        async with RabbitTransport(self.url, exchange_durable=True) as transport:
            consumer = Consumer(transport, pool=pool, quorum=quorum, single_active=single_active)

            @consumer.on(volume_swap.any)
            async def nothing(notification: Notification[object]) -> None:
                raise AssertionError("the queue should be empty")

            async with consumer.running():
                pass

    async def _remove(self, pools: Sequence[str]) -> None:
        queues = [queue for pool in pools for queue in (pool_queue(pool), dead_letter_queue(pool))]
        queues += [retry_queue(pool, seconds) for pool in pools for seconds in RETRY_LADDER]
        await remove(self.url, queues=queues, exchanges=[pool_exchange(pool) for pool in pools])
