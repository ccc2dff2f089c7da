"""Three private nodes that are one cluster."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.broker import Node

__all__ = ["TICK", "Cluster"]

TICK = 4
"""Seconds after which the other nodes give up one that stands still. With RabbitMQ's default of 60 they wait for it as long."""


class Cluster:
    """Three nodes on loopback. All methods block.

    Args:
        folder: an empty one.
        scripts: the folder of RabbitMQ's raw scripts.
        certificates: where `make_certificates` has been.
    """

    def __init__(self, folder: Path, scripts: Path, certificates: Path) -> None:
        self.nodes: list[Node] = []
        for number in range(3):
            own = folder / f"node{number}"
            own.mkdir()
            cookie = own / ".erlang.cookie"
            cookie.write_text("AIOSWAPTESTS")
            cookie.chmod(0o400)
            self.nodes.append(Node(own, scripts, certificates, peer=self.nodes[0] if self.nodes else None, tick=TICK))

    @property
    def url(self) -> str:
        """A URL with three hosts."""
        hosts = ",".join(f"guest:guest@127.0.0.1:{node.port}" for node in self.nodes)
        return f"amqp://{hosts}/"

    def start(self) -> None:
        """Start the first, and let the others join it."""
        self.nodes[0].start()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Node.start, self.nodes[1:]))

    def leader(self, queue: str) -> Node:
        """Return the node that leads a quorum queue, as the queue itself knows it.

        A node that has just started waits until it hears of it. The records that `list_queues` reads differ from node to node
        once a freeze has split them: it leaves out a queue that each node has on record as led by another one.
        """
        led = self.nodes[0].ctl("eval", f"element(3, ra:members({{'%2F_{queue}', node()}}, 30000)).")
        (node,) = [node for node in self.nodes if node.name in led]
        return node

    def close(self) -> None:
        """Stop all that run."""
        for node in reversed(self.nodes):
            node.close()
