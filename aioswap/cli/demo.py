"""`aioswap demo`: a hypervisor that only pretends swaps several volumes at once, and what is heard of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from uuid import uuid4

import click

from aioswap.cli.captures import play_captures
from aioswap.cli.output import data, say, table
from aioswap.clock import Clock
from aioswap.consumer import Consumer
from aioswap.context import RequestContext, request_context
from aioswap.emitter import Emitter
from aioswap.transports.base import Transport
from aioswap.transports.memory import MemoryTransport
from aioswap.wire.events import EventType, volume_swap
from aioswap.wire.notification import InstanceActionVolumeSwapNotification
from aioswap.wire.payloads import InstanceActionVolumeSwapPayload

__all__ = ["command", "play"]

_EXCHANGE = "aioswap-demo"
"""On RabbitMQ; made durable if it is missing. Nova's is never touched."""

_PATIENCE = 10.0
"""Seconds to wait for a notification, more than a swap of the demo takes."""


@dataclass(slots=True, eq=False)
class _Plan:
    """A swap that pretends: how long it takes, how it ends, and what was heard of it."""

    seconds: float
    ending: Literal["succeeds", "fails", "is cancelled"] = "succeeds"
    instance: dict[str, str] = field(default_factory=lambda: {"uuid": str(uuid4()), "display_name": "demo"})
    old: str = field(default_factory=lambda: str(uuid4()))
    new: str = field(default_factory=lambda: str(uuid4()))
    heard: dict[str, InstanceActionVolumeSwapNotification] = field(default_factory=dict)
    """By phase."""

    @property
    def expected(self) -> tuple[EventType[InstanceActionVolumeSwapPayload], ...]:
        return volume_swap.start, volume_swap.end if self.ending == "succeeds" else volume_swap.error

    @property
    def complete(self) -> bool:
        return self.heard.keys() == {event_type.phase for event_type in self.expected}


@click.command("demo")
@click.option("--url", help="Use the RabbitMQ there (amqp, amqps, rabbit), not memory: in an exchange of the demo's own.")
@click.option(
    "--replay",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Play the captured messages of this directory: *.json with body or body_base64, headers, properties, delivery.",
)
def command(url: str | None, replay: Path | None) -> int:
    """Swap several volumes at once, or pretend to: one swap fails, one is cancelled, and all is told and heard.

    It ends with 0 only if every start, end and error was heard.
    """
    if replay is not None:
        if url is not None:
            raise click.UsageError("give one of --url and --replay: captured messages are played in memory only")
        return play_captures(replay)
    return asyncio.run(play(_transport(url), Clock()))


def _transport(url: str | None) -> Transport:
    if url is None:
        return MemoryTransport(exchange="nova")
    from aioswap.transports.rabbit import RabbitTransport

    try:
        return RabbitTransport(url, exchange=_EXCHANGE, exchange_durable=True)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--url") from error


async def play(transport: Transport, clock: Clock) -> int:
    """Run the swaps, print each notification as it arrives and a table at the end. 0: all that had to be heard was heard.

    Raises:
        TransportError: the broker is away or refuses.
    """
    plans = [_Plan(0.2), _Plan(0.4), _Plan(0.6), _Plan(0.3, "fails"), _Plan(0.5, "is cancelled")]
    host = f"demo-{uuid4().hex[:6]}"
    emitter = Emitter(transport, host=host, clock=clock)
    async with transport, Consumer(transport, clock=clock).stream(volume_swap.any, start_timeout=_PATIENCE) as heard, emitter:
        say(f"{len(plans)} swaps at once on {host}: one fails, one is cancelled")
        swaps = asyncio.create_task(_hypervisor(emitter, clock, plans))
        try:
            await _listen(heard, host, plans, clock)
        finally:
            swaps.cancel()
            await asyncio.wait((swaps,))
    _summarize(plans)
    missing = [
        f"{event_type.name} of {plan.instance['uuid']}"
        for plan in plans
        for event_type in plan.expected
        if event_type.phase not in plan.heard
    ]
    for name in missing:
        say(f"aioswap: not heard: {name}")
    return 1 if missing else 0


async def _hypervisor(emitter: Emitter, clock: Clock, plans: Sequence[_Plan]) -> None:
    """Perform the swaps, as a service does that performs them."""
    by_instance = {plan.instance["uuid"]: plan for plan in plans}

    @emitter.swap
    async def swap_volume(instance: dict[str, str], old_volume_id: str, new_volume_id: str) -> None:
        plan = by_instance[instance["uuid"]]
        await clock.sleep(plan.seconds)
        if plan.ending == "fails":
            raise OSError(28, f"No space left on device: volume {new_volume_id[:8]}")
        if plan.ending == "is cancelled":
            await asyncio.Event().wait()

    async def lose_patience(plan: _Plan, swap: asyncio.Task[None]) -> None:
        await clock.sleep(plan.seconds)
        swap.cancel()

    with request_context(RequestContext(user_id="demo", project_id="demo")):
        swaps = [asyncio.create_task(swap_volume(plan.instance, plan.old, plan.new)) for plan in plans]
    doomed = [(plan, swap) for plan, swap in zip(plans, swaps, strict=True) if plan.ending == "is cancelled"]
    await asyncio.gather(*swaps, *(lose_patience(plan, swap) for plan, swap in doomed), return_exceptions=True)


async def _listen(
    heard: AsyncIterator[InstanceActionVolumeSwapNotification], host: str, plans: Sequence[_Plan], clock: Clock
) -> None:
    by_instance = {plan.instance["uuid"]: plan for plan in plans}
    while not all(plan.complete for plan in plans):
        try:
            async with clock.timeout(_PATIENCE):
                notification = await anext(heard)
        except TimeoutError:
            return
        if notification.host == host:
            data(_line(notification))
            by_instance[notification.payload.uuid].heard[notification.event_type.rpartition(".")[2]] = notification


def _line(notification: InstanceActionVolumeSwapNotification) -> str:
    payload = notification.payload
    volumes = f"{payload.old_volume_id[:8]} -> {payload.new_volume_id[:8]}"
    told = f"{notification.event_type:26} {notification.host}  {payload.uuid[:8]}  {volumes}  {_fault(notification)}"
    return told.rstrip()


def _fault(notification: InstanceActionVolumeSwapNotification | None) -> str:
    fault = None if notification is None else notification.payload.fault
    return "" if fault is None else f"{fault.exception}: {fault.exception_message}".removesuffix(": ")


def _summarize(plans: Sequence[_Plan]) -> None:
    rows = []
    for plan in plans:
        start, end, error = (plan.heard.get(phase) for phase in ("start", "end", "error"))
        last = end or error
        state = "succeeded" if end else "failed" if error else "not known"
        took = f"{(last.timestamp - start.timestamp).total_seconds():.2f} s" if start and last else ""
        rows.append((plan.instance["uuid"][:8], plan.old[:8], plan.new[:8], state, took, _fault(error)))
    table(("instance", "old volume", "new volume", "state", "duration", "fault"), rows)
