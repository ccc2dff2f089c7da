"""What emitting costs a swap while the broker is in trouble: `make measure`.

Each scenario runs 1,000 swaps, 100 at a time, against a broker that is away, mute, blocked, or without the exchange, and
times each phase's call. Then the broker is mended, and every notification has to arrive, in order. Beside it stands the lag
of the event loop in the same seconds: how much later than asked a timer was called.

Then the outbox with files: 10,000 swaps that take a while, 100 at a time, with the broker in order and with one that a black
hole has swallowed, beside what a bare fdatasync on the same disk takes in the same seconds; and how many notifications a second
are confirmed, beside the outbox in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aioswap.consumer import Consumer
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.outbox import MemoryOutbox
from aioswap.outbox_file import FileOutbox
from aioswap.transports.base import Outbox, Subscription
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification
from tests.broker import NO_BROKER, Node, Proxy, install, make_certificates, server_folder

SWAPS, AT_ONCE, ARRIVAL_SECONDS = 1_000, 100, 90.0
BAR_MS = 25.0
FILED, FILED_SECONDS, SPEED_SWAPS = 10_000, (0.2, 0.6), 3_000
P50_BAR_MS, SYNC_TIMES, BUDGET_MS, SPEED_BAR = 2.0, 3.0, 250.0, 0.4


class Broken(Exception):
    """What every tenth swap raises: its own result."""


class Measured:
    """The figures of one scenario."""

    def __init__(self) -> None:
        self.phases: list[float] = []
        self.lags: list[float] = []
        self.results: list[int | BaseException] = []

    async def swap(self, emitter: Emitter, number: int, seconds: float = 0.0) -> int:
        """Swap, and note how long each phase's call took."""
        swapping = emitter.swapping(SwapRequest({"uuid": f"vm-{number}"}, f"old-{number}", f"new-{number}"))
        begun = time.perf_counter()
        await swapping.__aenter__()
        self.phases.append(time.perf_counter() - begun)
        await asyncio.sleep(seconds)
        error = Broken(str(number)) if number % 10 == 0 else None
        begun = time.perf_counter()
        await swapping.__aexit__(type(error) if error else None, error, None)
        self.phases.append(time.perf_counter() - begun)
        if error is not None:
            raise error
        return number

    async def watch_loop(self, step: float = 0.005) -> None:
        """Note how much later than asked the loop calls."""
        while True:
            asked = time.perf_counter() + step
            await asyncio.sleep(step)
            self.lags.append(time.perf_counter() - asked)

    def right_results(self) -> int:
        """Count the swaps that ended as they should."""
        return sum(
            isinstance(result, Broken) if number % 10 == 0 else result == number for number, result in enumerate(self.results)
        )


def percentile(values: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return 1000 * sorted(values)[min(int(len(values) * share), len(values) - 1)]


async def scenario(name: str, node: Node, trouble: Callable[[Proxy], Any], mend: Callable[[Proxy], Any]) -> bool:
    """Run one scenario and print its line; say whether it met the bar."""
    measured, arrived, complete = Measured(), [], asyncio.Event()
    exchange = f"measure-{name.replace(' ', '-')}"
    async with Proxy(node.url) as proxy:
        witness = RabbitTransport(node.url, exchange=exchange, exchange_durable=None if name == "missing exchange" else True)
        transport = RabbitTransport(proxy.url, exchange=exchange)
        consumer = Consumer(witness, pool=exchange)

        @consumer.on(volume_swap.any)
        async def hear(notification: Notification[Any]) -> None:
            arrived.append((notification.payload.uuid, notification.event_type.rsplit(".", 1)[-1]))
            if len(arrived) == 2 * SWAPS:
                complete.set()

        if name != "missing exchange":
            async with declared(witness, consumer):
                pass
        await await_if(trouble(proxy))
        async with transport, Emitter(transport, host="compute-1") as emitter:
            lag = asyncio.create_task(measured.watch_loop())
            limit = asyncio.Semaphore(AT_ONCE)

            async def bounded(number: int) -> int:
                async with limit:
                    return await measured.swap(emitter, number)

            begun = time.perf_counter()
            measured.results = await asyncio.gather(*(bounded(number) for number in range(SWAPS)), return_exceptions=True)
            took = time.perf_counter() - begun
            lag.cancel()
            backlog = emitter.health().backlog
            await await_if(mend(proxy))
            mended = time.perf_counter()
            healed = RabbitTransport(node.url, exchange=exchange, exchange_durable=True)
            consumer_again = consumer if name != "missing exchange" else rebuilt(consumer, healed, exchange, hear)
            async with witness if name != "missing exchange" else healed, consumer_again.running():
                await asyncio.wait_for(complete.wait(), ARRIVAL_SECONDS)
            arrival = time.perf_counter() - mended
    return report(name, measured, arrived, took, backlog, arrival)


def rebuilt(consumer: Consumer, transport: RabbitTransport, pool: str, hear: Any) -> Consumer:
    """Return a consumer on a transport that may create the exchange."""
    again = Consumer(transport, pool=pool)
    again.on(volume_swap.any)(hear)
    return again


@asynccontextmanager
async def declared(transport: RabbitTransport, consumer: Consumer) -> AsyncIterator[None]:
    """Let the consumer's queue exist."""
    async with transport, consumer.running():
        yield


async def await_if(value: Any) -> None:
    """Wait for what has to be waited for."""
    if isinstance(value, Awaitable):
        await value


def report(name: str, measured: Measured, arrived: list[tuple[str, str]], took: float, backlog: int, arrival: float) -> bool:
    """Print one line of the table."""
    first: dict[str, list[str]] = {}
    for uuid, phase in arrived:
        first.setdefault(uuid, []).append(phase)
    ordered = sum(phases == ["start", "error" if int(uuid[3:]) % 10 == 0 else "end"] for uuid, phases in first.items())
    p50, p99, worst = (percentile(measured.phases, share) for share in (0.5, 0.99, 1.0))
    right = measured.right_results()
    met = right == SWAPS == ordered and p99 <= BAR_MS
    print(
        f"{name:18} {right:5}/{SWAPS} own results  p50 {p50:6.2f}  p99 {p99:6.2f}  max {worst:6.2f} ms  "
        f"loop lag p99 {percentile(measured.lags, 0.99):6.2f} ms  {SWAPS / took:6.0f} swaps/s  waiting {backlog:5}  "
        f"arrived {len(arrived):5} in {arrival:4.1f} s, {ordered:5} in order  {'met' if met else 'MISSED'}"
    )
    return met


async def declare(transport: RabbitTransport, pool: str) -> None:
    """Make a pool's queue, in which messages stay."""
    subscription = Subscription(pool=pool)
    async with transport, transport.receiver(subscription, lambda delivery: delivery.requeue(), label="measure"):
        pass


class BareSync:
    """Times a bare fdatasync of a page at the end of a file in `folder`, 20 times a second, in a thread. Use it by `with`."""

    def __init__(self, folder: Path) -> None:
        self.times: list[float] = []
        self._path = folder / "bare"
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> BareSync:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        while not self._end.wait(0.05):
            os.write(descriptor, b"x" * 4096)
            begun = time.perf_counter()
            os.fdatasync(descriptor)
            self.times.append(time.perf_counter() - begun)
        os.close(descriptor)


async def filed(name: str, node: Node, trouble: Callable[[Proxy], Any], mend: Callable[[Proxy], Any]) -> bool:
    """Swap with an outbox in files, print a line, and say whether it met the bars."""
    measured, limit = Measured(), asyncio.Semaphore(AT_ONCE)
    async with Proxy(node.url) as proxy:
        exchange = f"measure-{name.replace(' ', '-')}"
        witness = RabbitTransport(node.url, exchange=exchange, exchange_durable=True)
        await declare(witness, exchange)
        await await_if(trouble(proxy))
        with tempfile.TemporaryDirectory() as folder:
            transport, outbox = RabbitTransport(proxy.url, exchange=exchange), FileOutbox(Path(folder) / "outbox")
            async with transport, Emitter(transport, host="compute-1", outbox=outbox) as emitter:

                async def bounded(number: int) -> int:
                    async with limit:
                        return await measured.swap(emitter, number, random.uniform(*FILED_SECONDS))

                with BareSync(Path(folder)) as bare:
                    lag = asyncio.create_task(measured.watch_loop())
                    swaps = (bounded(number) for number in range(FILED))
                    measured.results = await asyncio.gather(*swaps, return_exceptions=True)
                    lag.cancel()
                health = emitter.health()
                await await_if(mend(proxy))
                await emitter.flush(ARRIVAL_SECONDS)
    p50, p99, worst = (percentile(measured.phases, share) for share in (0.5, 0.99, 1.0))
    sync99, late = percentile(bare.times, 0.99), percentile(measured.lags, 1.0)
    right = measured.right_results() == FILED and not health.unsaved and not health.untold
    met = right and p50 <= P50_BAR_MS and p99 <= SYNC_TIMES * sync99 and worst <= BUDGET_MS + late
    print(
        f"{name:24} p50 {p50:6.2f} p99 {p99:6.2f}  max {worst:6.2f} ms  fdatasync p50 {percentile(bare.times, 0.5):5.2f} p99 "
        f"{sync99:6.2f} ms  loop lag p99 {percentile(measured.lags, 0.99):6.2f} max {late:6.2f} ms  "
        f"waiting {health.backlog:5}  "
        f"{'met' if met else 'MISSED'}"
    )
    return met


async def confirmed_a_second(node: Node, outbox: Outbox, exchange: str) -> float:
    """Return how many notifications are confirmed a second, of swaps that take no time, 100 at a time."""
    limit, measured = asyncio.Semaphore(AT_ONCE), Measured()
    witness = RabbitTransport(node.url, exchange=exchange, exchange_durable=True)
    await declare(witness, exchange)
    transport = RabbitTransport(node.url, exchange=exchange)
    async with transport, Emitter(transport, host="compute-1", outbox=outbox) as emitter:

        async def bounded(number: int) -> int:
            async with limit:
                return await measured.swap(emitter, number)

        begun = time.perf_counter()
        await asyncio.gather(*(bounded(number) for number in range(SPEED_SWAPS)), return_exceptions=True)
        await emitter.flush(ARRIVAL_SECONDS)
        return 2 * SPEED_SWAPS / (time.perf_counter() - begun)


async def speed(node: Node) -> bool:
    """Compare the two outboxes, print a line, and say whether it met the bar."""
    memory = await confirmed_a_second(node, MemoryOutbox(), "measure-speed-memory")
    with tempfile.TemporaryDirectory() as folder:
        files = await confirmed_a_second(node, FileOutbox(Path(folder)), "measure-speed-files")
    met = files >= SPEED_BAR * memory
    share = f"{files / memory:4.2f}  {'met' if met else 'MISSED'}"
    print(f"confirmed a second: {memory:6.0f} in memory, {files:6.0f} with files: {share}")
    return met


async def main(node: Node) -> bool:
    """Run all scenarios."""
    thread = asyncio.to_thread
    results = [
        await scenario("no broker", node, lambda proxy: proxy.cut(), lambda proxy: proxy.heal()),
        await scenario("mute broker", node, lambda proxy: proxy.hold(), lambda proxy: proxy.heal()),
        await scenario(
            "blocked broker",
            node,
            lambda _: thread(node.ctl, "set_vm_memory_high_watermark", "0.0000001"),
            lambda _: thread(node.ctl, "set_vm_memory_high_watermark", "0.4"),
        ),
        await scenario("missing exchange", node, lambda _: None, lambda _: None),
        await scenario("broker in order", node, lambda _: None, lambda _: None),
        await filed("files and broker in order", node, lambda _: None, lambda _: None),
        await filed("files and black hole", node, lambda proxy: proxy.hold(), lambda proxy: proxy.heal()),
        await speed(node),
    ]
    return all(results)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    logging.getLogger("aioswap").setLevel(logging.ERROR)  # a line for each phase that is late would make others late
    scripts = server_folder() or install()
    if scripts is None:
        sys.exit(NO_BROKER)
    with tempfile.TemporaryDirectory() as folder:
        certificates = Path(folder) / "certificates"
        certificates.mkdir()
        make_certificates(certificates)
        private = Node(Path(folder), scripts, certificates)
        private.start()
        try:
            met = asyncio.run(main(private))
        finally:
            private.close()
    sys.exit(0 if met else 1)
