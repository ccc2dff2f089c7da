"""The private broker of the benchmarks: its queues, filled and emptied, and the C client beside it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import aio_pika

from aioswap.consumer import Consumer
from aioswap.transports.base import Confirmation, Message
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification
from benchmarks.peers.task import EXCHANGE, INFO
from tests.broker import NO_BROKER, Node, install, make_certificates, server_folder
from tests.faults.cluster import Cluster

__all__ = ["POOL", "Bus", "compiled", "depth", "fill", "private_broker", "private_cluster", "private_node"]

POOL: Final = "bench"
"""The pool of aioswap's consumers; its queue is `aioswap.bench`."""

_UNCONFIRMED: Final = 512
_SOURCE: Final = Path(__file__).parent / "peers" / "librabbitmq_peer.c"


@contextmanager
def private_broker() -> Iterator[str]:
    """Start a RabbitMQ of our own, and give its URL.

    Raises:
        SystemExit: there is none, and it cannot be installed.
    """
    with private_node() as node:
        yield node.url


@contextmanager
def private_node() -> Iterator[Node]:
    """The same; give the node itself."""
    with _ground() as ground, closing(Node(*ground)) as node:
        node.start()
        yield node


@contextmanager
def private_cluster() -> Iterator[Cluster]:
    """The same with three nodes that are one cluster."""
    with _ground() as ground, closing(Cluster(*ground)) as cluster:
        cluster.start()
        yield cluster


@contextmanager
def _ground() -> Iterator[tuple[Path, Path, Path]]:
    """Give what a node needs: a folder of its own, RabbitMQ's scripts, certificates."""
    scripts = server_folder() or install()
    if scripts is None:
        raise SystemExit(NO_BROKER)
    with tempfile.TemporaryDirectory() as folder:
        certificates = Path(folder) / "certificates"
        certificates.mkdir()
        make_certificates(certificates)
        yield Path(folder), scripts, certificates


class Bus:
    """What the queues hold. Each method is a connection of its own, and blocks."""

    def __init__(self, url: str) -> None:
        self.url = url

    def reset(self, *, pool: bool) -> None:
        """Make the exchange and the queue of the other clients, empty; and the pool's queue, or none."""
        asyncio.run(self._reset(pool))

    def fill(self, bodies: Iterable[bytes], *, pool: bool) -> None:
        """Put bodies into the pool's queue, or into that of the other clients."""
        asyncio.run(fill(self.url, bodies, _queue(pool)))

    def depth(self, *, pool: bool) -> int:
        """Return how many messages wait in a queue."""
        return asyncio.run(depth(self.url, _queue(pool)))

    async def _reset(self, pool: bool) -> None:
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
            await channel.queue_delete(_queue(True))
            queue = await channel.declare_queue(INFO, durable=True)
            await queue.purge()
            if pool:  # what is emitted goes to one queue only
                await queue.unbind(exchange, INFO)
            else:
                await queue.bind(exchange, INFO)
        if pool:
            await self._declare_pool()

    async def _declare_pool(self) -> None:
        async with RabbitTransport(self.url) as transport:
            consumer = Consumer(transport, pool=POOL)

            @consumer.on(volume_swap.any)
            async def nothing(notification: Notification[object]) -> None:
                raise AssertionError("the queue should be empty")

            async with consumer.running():
                pass


async def fill(url: str, bodies: Iterable[bytes], queue: str) -> None:
    """Put bodies into a queue, all confirmed."""
    async with RabbitTransport(url) as transport, transport.sender("filling") as sender:
        await sender.ready()
        pending: deque[asyncio.Future[Confirmation]] = deque()
        for number, body in enumerate(bodies):
            if len(pending) >= _UNCONFIRMED:
                await _confirmed(pending.popleft())
            pending.append(sender.send(Message(routing_key=queue, body=body, message_id=f"{number}", exchange="")))
        while pending:
            await _confirmed(pending.popleft())


async def depth(url: str, queue: str) -> int:
    """Return how many messages wait in a queue."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0


async def _confirmed(confirmation: asyncio.Future[Confirmation]) -> None:
    if await confirmation is not Confirmation.CONFIRMED:
        raise RuntimeError(f"the broker has {confirmation.result()} a message")


def _queue(pool: bool) -> str:
    return f"aioswap.{POOL}" if pool else INFO


def compiled(folder: Path) -> Path | None:
    """Return the C client, compiled against librabbitmq, which is installed where the user may; None: impossible."""
    program = folder / "librabbitmq_peer"
    if not _compile(program) and not (_install_library() and _compile(program)):
        return None
    return program


def _compile(program: Path) -> bool:
    compiler = shutil.which("cc")
    return compiler is not None and _succeeds([compiler, "-O2", "-o", str(program), str(_SOURCE), "-lrabbitmq"])


def _install_library() -> bool:
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    apt = shutil.which("apt-get")
    if apt is None or (as_root and not _succeeds([*as_root, "true"])):
        return False
    _succeeds([*as_root, apt, "update", "--quiet"])
    return _succeeds(
        [*as_root, apt, "install", "--yes", "--quiet", "--no-install-recommends", "librabbitmq-dev", "gcc", "libc6-dev"]
    )


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=600, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
