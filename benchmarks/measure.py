"""What emitting costs a swap while the broker is in trouble: `make measure`.

Each scenario runs 1,000 swaps, 100 at a time, against a broker that is away, mute, blocked, or without the exchange, and
times each phase's call. Then the broker is mended, and every notification has to arrive, in order. Beside it stands the lag
of the event loop in the same seconds: how much later than asked a timer was called.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aioswap.consumer import Consumer
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification
from tests.broker import NO_BROKER, Node, Proxy, install, make_certificates, server_folder

SWAPS, AT_ONCE, ARRIVAL_SECONDS = 1_000, 100, 90.0
BAR_MS = 25.0


class Broken(Exception):
    """What every tenth swap raises: its own result."""


class Measured:
    """The figures of one scenario."""

    def __init__(self) -> None:
        self.phases: list[float] = []
        self.lags: list[float] = []
        self.results: list[int | BaseException] = []

    async def swap(self, emitter: Emitter, number: int) -> int:
        """Swap, and note how long each phase's call took."""
        swapping = emitter.swapping(SwapRequest({"uuid": f"vm-{number}"}, f"old-{number}", f"new-{number}"))
        begun = time.perf_counter()
        await swapping.__aenter__()
        self.phases.append(time.perf_counter() - begun)
        await asyncio.sleep(0)
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
    ]
    return all(results)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
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
