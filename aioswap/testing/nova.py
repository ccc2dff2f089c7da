"""A swap as Nova tells of it, for tests of those who listen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aioswap.context import RequestContext
from aioswap.testing.factory import Factory
from aioswap.wire.notification import InstanceActionVolumeSwapNotification, Notification
from aioswap.wire.payloads import ExceptionPayload

__all__ = ["NovaSwap"]


class NovaSwap:
    """One attempt of Nova to swap a volume: each method publishes one notification of it, and returns that.

    Ids and the request context stay the same, so that a tracker sees one swap. Nova's code has no part in it: notifications are
    made by a `Factory` and go over the bus as they are.

    Args:
        publish: puts a notification on the bus.
        factory: makes them.
        version: of the payloads, 1.0 to 1.9.
        host: where it happens.
        context: who asked; None: a new one.
        fields: of the payloads; see `Factory.payload`.
    """

    def __init__(
        self,
        publish: Callable[[Notification[Any]], Awaitable[None]],
        factory: Factory,
        *,
        version: str,
        host: str,
        context: RequestContext | None,
        fields: Mapping[str, Any],
    ) -> None:
        self._publish = publish
        self._factory = factory
        self._version = version
        self._host = host
        self._fields = dict(fields)
        ids = {name: self._fields.setdefault(name, factory.id()) for name in ("uuid", "old_volume_id", "new_volume_id")}
        self.instance: str = ids["uuid"]
        """The instance's id."""
        self.old_volume_id: str = ids["old_volume_id"]
        self.new_volume_id: str = ids["new_volume_id"]
        self.context = factory.context() if context is None else context
        """Who asked."""

    async def start(self, **fields: Any) -> InstanceActionVolumeSwapNotification:
        """Publish `.start`.

        Args:
            fields: of this payload alone; like those of the swap.

        Raises:
            TypeError: as `Factory.payload`.
            ValueError: as `Factory.payload`.
            TransportError: as `Bus.publish`.
        """
        return await self._tell("start", None, fields)

    async def end(self, **fields: Any) -> InstanceActionVolumeSwapNotification:
        """Publish `.end`: the swap has succeeded. See `start`."""
        return await self._tell("end", None, fields)

    async def error(
        self, fault: ExceptionPayload | BaseException | None = None, **fields: Any
    ) -> InstanceActionVolumeSwapNotification:
        """Publish `.error`: the swap has failed. See `start`.

        Args:
            fault: why; None: an OSError.
            fields: of this payload alone.
        """
        return await self._tell("error", fault, fields)

    async def run(self, fault: ExceptionPayload | BaseException | None = None) -> None:
        """Publish `.start`, then `.end`; with a fault `.error` instead. See `start`."""
        await self.start()
        if fault is None:
            await self.end()
        else:
            await self.error(fault)

    async def _tell(
        self, phase: str, fault: ExceptionPayload | BaseException | None, fields: Mapping[str, Any]
    ) -> InstanceActionVolumeSwapNotification:
        notification = self._factory.notification(
            phase,
            self._version,
            host=self._host,
            context=self.context,
            fault=fault,
            **{**self._fields, **fields},
        )
        await self._publish(notification)
        return notification
