"""Swaps of several hosts for the page to show: running, succeeded, failed and stuck ones."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

from aioswap.tracker import SwapTracker
from aioswap.wire.notification import Notification
from aioswap.wire.payloads import ExceptionPayload
from tests.interop.browser import browsing
from tests.swap_kit import T0, at, swap_event
from tests.tracker_kit import Air
from tests.web.kit import Site, served

__all__ = ["PICTURES", "Scene", "on_stage"]

PICTURES: Final = Path(__file__).parents[2] / "docs" / "images"
_STUCK_AFTER: Final = 1_800.0
_MINUTE: Final = 60.0
_PLAY: Final = (
    # host, begins, lasts, how it ends: minutes
    ("compute-01", -52.0, None, None),
    ("compute-01", -13.5, 2.2, None),
    ("compute-01", -9.0, 3.4, None),
    ("compute-01", -4.1, 1.3, "[Errno 28] No space left on device"),
    ("compute-01", -2.2, None, None),
    ("compute-02", -12.8, 1.1, None),
    ("compute-02", -11.0, 4.7, "volume 7be0 is in an unexpected state: password=hunter2 for the backend"),
    ("compute-02", -5.4, 2.9, None),
    ("compute-02", -3.6, None, None),
    ("compute-02", -0.8, None, None),
    ("compute-03", -10.2, 5.8, None),
    ("compute-03", -6.9, 0.9, None),
    ("compute-03", -1.5, None, None),
)


class Scene:
    """A bus, and a tracker that hears by it."""

    def __init__(self) -> None:
        self.air = Air()
        self.air.clock.jump((T0 - self.air.clock.utcnow()).total_seconds())
        self.tracker = SwapTracker(self.air.transport, stuck_after=_STUCK_AFTER, clock=self.air.clock)

    async def play(self) -> None:
        """Let an hour of swaps happen."""
        random = Random(7)
        told: list[tuple[float, Notification[Any]]] = []
        for host, begins, lasts, fault in _PLAY:
            names = {name: str(UUID(int=random.getrandbits(128), version=4)) for name in ("instance", "old", "new")}
            names["request_id"] = f"req-{UUID(int=random.getrandbits(128), version=4)}"
            start = (60 + begins) * _MINUTE
            publisher = f"nova-compute:{host}"
            told.append((start, swap_event("start", start, publisher=publisher, **names)))  # type: ignore[arg-type]
            if lasts is not None:
                end = start + lasts * _MINUTE
                said = swap_event("end" if fault is None else "error", end, publisher=publisher, **names)  # type: ignore[arg-type]
                told.append((end, said if fault is None else _failed(said, fault)))
        for moment, notification in sorted(told, key=lambda item: item[0]):
            await self._wait_until(moment)
            await self.air.say(notification)
        await self._wait_until(60 * _MINUTE)

    async def _wait_until(self, seconds: float) -> None:
        left = (at(seconds) - self.air.clock.utcnow()).total_seconds()
        await self.air.clock.advance(max(left, 0.0))

    async def say(self, phase: str, **names: Any) -> None:
        """Let a notification be heard now."""
        seconds = (self.air.clock.utcnow() - T0).total_seconds()
        await self.air.say(swap_event(phase, seconds, **names))


def _failed(notification: Notification[Any], message: str) -> Notification[Any]:
    fault = ExceptionPayload(
        module_name="nova.compute.manager",
        function_name="_swap_volume",
        exception="VolumeError",
        exception_message=message,
        traceback="",
    )
    return replace(notification, payload=notification.payload.model_copy(update={"fault": fault}))


@asynccontextmanager
async def on_stage(**options: Any) -> AsyncGenerator[tuple[Scene, Site]]:
    """Give a scene, and a site that shows it."""
    scene = Scene()
    async with scene.air.transport, scene.tracker, served(scene.tracker, clock=scene.air.clock, **options) as site:
        yield scene, site


async def paint(folder: Path) -> None:
    """Write the pictures of the documentation into a folder."""
    async with on_stage() as (scene, site), browsing() as browser:
        await scene.play()
        for scheme, name in (("light", "serve.png"), ("dark", "serve-dark.png")):
            await browser.look(1280, 860, prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
            await browser.open(site.url)
            await browser.until("document.querySelectorAll('tr[data-state]').length === 13")
            await browser.picture(folder / name)


if __name__ == "__main__":
    asyncio.run(paint(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES))
