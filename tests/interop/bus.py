"""A virtual host of a test's own, and what an operator sees of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from tests.broker import Node
from tests.interop.peers import DEADLINE
from tests.rights import Rights, as_user, grant

__all__ = ["Bus", "Declarations"]

Declarations = dict[str, list[dict[str, Any]]]


class Bus:
    """A virtual host on the private node."""

    def __init__(self, node: Node, vhost: str) -> None:
        self._node, self._vhost = node, vhost
        self.url = f"{node.url}{vhost}"
        """As AMQP clients write it."""
        self.oslo_url = self.url.replace("amqp://", "rabbit://")

    async def limited(self, user: str, rights: Rights) -> str:
        """Return a URL of a new user who has these rights and no others."""
        name = f"{user}-{self._vhost}"
        await asyncio.to_thread(grant, self._node, self._vhost, {name: rights})
        return as_user(self.url, name)

    async def declarations(self) -> Declarations:
        """Return all exchanges, queues and bindings, as rabbitmqctl lists them."""
        exchanges, queues, bindings = await asyncio.gather(
            self._list("exchanges", "name", "type", "durable", "auto_delete", "internal", "arguments"),
            self._list("queues", "name", "durable", "auto_delete", "exclusive", "arguments", "type"),
            self._list("bindings", "source_name", "destination_name", "routing_key", "arguments"),
        )
        return {"exchanges": exchanges, "queues": queues, "bindings": bindings}

    async def depths(self) -> dict[str, int]:
        """Return how many messages each queue holds, unacknowledged ones among them."""
        return {row["name"]: row["messages"] for row in await self._list("queues", "name", "messages")}

    async def holding(self, number: int) -> int:
        """Wait until the queues hold so many messages in all (those of quorum queues are counted late), and return how many."""
        held = -1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE):
                while held != number:
                    held = sum((await self.depths()).values())
        return held

    async def drained(self, *queues: str) -> bool:
        """Wait until the queues hold nothing, not even unacknowledged messages; False: they still do at the deadline."""
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    depths = await self.depths()  # takes rabbitmqctl a second: no further pause is needed
                    if not any(depths[queue] for queue in queues):
                        return True
        except TimeoutError:
            return False

    async def _list(self, what: str, *columns: str) -> list[dict[str, Any]]:
        table = await asyncio.to_thread(self._node.ctl, f"list_{what}", "-p", self._vhost, "--formatter", "json", *columns)
        rows: list[dict[str, Any]] = json.loads(table)
        return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
