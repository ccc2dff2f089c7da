"""A service that swaps, in a process of its own: `python -m tests.faults.producer URL EXCHANGE FOLDER NAME RATE ON_FAILURE`.

It keeps its outbox in FOLDER/outbox, and notes in FOLDER what happens, by unbuffered writes: `NAME.accepted` each id in the
order in which the outbox took it, `NAME.safe` each id of which the caller was told that it is kept
(health counted nothing as unsaved), `NAME.begun` and
`NAME.ended` the instances. SIGTERM: start no more, leave in order. SIGUSR1: no descriptor is left. SIGUSR2: there are again.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import os
import random
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from aioswap.clock import Clock
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.hooks import Operation, OperationKind
from aioswap.outbox_file import FileOutbox
from tests.faults.journal import Journal
from tests.faults.ways import rabbit

__all__: list[str] = []

_LONGEST_BODY = 0.3
_ids: contextvars.ContextVar[list[str]] = contextvars.ContextVar("ids")


class _Ear:
    def __init__(self, accepted: Journal) -> None:
        self._accepted = accepted

    def started(self, operation: Operation) -> None:
        """Do nothing: it is not yet accepted."""

    def finished(self, operation: Operation) -> None:
        """Note what was accepted, in order."""
        if operation.kind is OperationKind.EMIT and operation.outcome == "accepted":
            assert operation.message_id is not None
            self._accepted.note(operation.message_id)
            _ids.get([]).append(operation.message_id)


class Producer:
    """Swaps at a rate, each lasting up to 0.3 s; every fifth raises."""

    def __init__(self, url: str, exchange: str, folder: Path, name: str, rate: float, on_failure: Any) -> None:
        self._name, self._rate = name, rate
        self._journals = {kind: Journal(folder / f"{name}.{kind}") for kind in ("accepted", "safe", "begun", "ended")}
        self._transport = rabbit(url, exchange=exchange)
        outbox = FileOutbox(folder / "outbox")
        self._emitter = Emitter(
            self._transport, host=name, outbox=outbox, hooks=[_Ear(self._journals["accepted"])], on_failure=on_failure
        )
        self._random = random.Random(os.urandom(8))
        self._stopped = asyncio.Event()

    async def swap(self, number: int) -> None:
        """Swap once, and note what the caller was told."""
        instance = f"{self._name}-{number}"
        told: list[str] = []
        _ids.set(told)
        raises = number % 5 == 0
        result = "end"
        try:
            async with self._emitter.swapping(SwapRequest({"uuid": instance}, f"old-{number}", f"new-{number}")):
                self._note_safe(told[0])
                self._journals["begun"].note(instance)
                await Clock().sleep(self._random.uniform(0, _LONGEST_BODY))
                if raises:
                    result = "error"
                    raise LookupError(instance)
        except LookupError:
            pass
        self._note_safe(told[1])
        self._journals["ended"].note(instance, result)

    def _note_safe(self, message_id: str) -> None:
        if not self._emitter.health().unsaved:
            self._journals["safe"].note(message_id)

    async def run(self) -> None:
        """Swap until SIGTERM."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopped.set)
        _, hard = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        loop.add_signal_handler(signal.SIGUSR1, resource.setrlimit, resource.RLIMIT_NOFILE, (3, hard))
        loop.add_signal_handler(signal.SIGUSR2, resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        async with self._transport, self._emitter:
            print("ready", flush=True)
            swaps: set[asyncio.Task[None]] = set()
            for number in itertools.count():
                if self._stopped.is_set():
                    break
                swap = asyncio.create_task(self.swap(number))
                swaps.add(swap)
                swap.add_done_callback(swaps.discard)
                await Clock().sleep(1 / self._rate)
            failures = [result for result in await asyncio.gather(*swaps, return_exceptions=True) if result is not None]
            await self._emitter.flush(60)
        print("left", len(failures), *failures, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(Producer(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4], float(sys.argv[5]), sys.argv[6]).run())
