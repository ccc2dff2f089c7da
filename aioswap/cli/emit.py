"""`aioswap emit`: one valid notification of a swap, to try out who hears it."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid4, uuid5

import click

from aioswap.cli.options import EXISTING_FILE, Connection, connection_options, need_yes, output_options
from aioswap.cli.output import Style
from aioswap.cli.sending import Post, until_ready
from aioswap.clock import Clock
from aioswap.context import RequestContext
from aioswap.errors import DecodeError
from aioswap.transports.base import Message, Transport
from aioswap.wire.envelope import decode, encode
from aioswap.wire.events import volume_swap
from aioswap.wire.instances import swap_payload
from aioswap.wire.notification import InstanceActionVolumeSwapNotification, Notification
from aioswap.wire.payloads import ExceptionPayload, InstanceActionVolumeSwapPayload, InstancePayload

__all__ = ["command", "emit"]

_PHASES: Final = {event_type.phase: event_type for event_type in (volume_swap.start, volume_swap.end, volume_swap.error)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Swap:
    """What is to be told, and who is said to have asked."""

    instance: object
    old: str
    new: str
    fault: ExceptionPayload
    context: RequestContext


@click.command("emit")
@click.argument("phase", type=click.Choice(list(_PHASES)))
@connection_options
@click.option("--instance", metavar="UUID", help="The instance's uuid; else made up.")
@click.option("--old", metavar="ID", help="The old volume's id; else made up.")
@click.option("--new", metavar="ID", help="The new volume's id; else made up.")
@click.option("--host", help="The second part of the publisher id; else this machine's name.")
@click.option("--fault", metavar="TEXT", default="a test of aioswap emit", help="Why it failed, in an error.")
@click.option("--request-id", metavar="ID", help="The request's id; else made of the three ids: the same for start and end.")
@click.option("--pin", type=click.Choice(InstancePayload.known_versions), default="1.9", help="The payload's version.")
@click.option("--from", "source", type=EXISTING_FILE, help="Tell of what this file holds: a notification or an instance, JSON.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=10.0, help="Seconds in all.", show_default=True)
@click.option("--yes", is_flag=True, help="Publish even if the exchange is Nova's own.")
@output_options
def command(
    phase: str,
    connection: Connection,
    host: str | None,
    pin: str,
    source: Path | None,
    timeout: float,
    yes: bool,
    style: Style,
    **told: str | None,
) -> int:
    """Emit one notification of PHASE start, end or error, as Nova would, and say what the broker did with it.

    It ends with 0 only if the broker confirmed it and a queue got it; 1: no queue is bound; 4: it is not confirmed.
    """
    need_yes(connection.exchange, connection.nova, yes)
    clock = Clock()
    try:
        swap = _swap({} if source is None else _read(source), **told)
        notification = _notification(phase, swap, f"nova-compute:{host or socket.gethostname()}", pin, clock)
    except (TypeError, ValueError) as error:
        raise click.BadParameter(str(error), param_hint="--instance" if source is None else f"--from {source}") from None
    return asyncio.run(emit(connection.transport(), notification, connection.topics, timeout, style, clock))


def _read(source: Path) -> Notification[Any] | dict[str, Any]:
    """Return what a file holds: a notification, or an instance as JSON.

    Raises:
        ValueError: neither.
    """
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ValueError(error.strerror) from None
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it holds no JSON") from None
    if isinstance(told, dict) and told.keys().isdisjoint(("oslo.message", "event_type")):
        return told
    notification = decode(content)
    if not isinstance(notification.payload, InstancePayload):
        raise DecodeError("it holds a notification of something else than a swap")
    return notification


def _swap(
    told: Notification[Any] | dict[str, Any],
    *,
    instance: str | None,
    old: str | None,
    new: str | None,
    fault: str | None,
    request_id: str | None,
) -> _Swap:
    """Return the swap that a file and the options tell of; the options win."""
    what: Any = told.payload if isinstance(told, Notification) else {"uuid": str(uuid4()), **told}
    context = RequestContext.of(told.context) if isinstance(told, Notification) else None
    if instance is not None:
        what = what.model_copy(update={"uuid": instance}) if isinstance(what, InstancePayload) else {**what, "uuid": instance}
    heard = what if isinstance(what, InstanceActionVolumeSwapPayload) else None
    old = old or (heard.old_volume_id if heard is not None else str(uuid4()))
    new = new or (heard.new_volume_id if heard is not None else str(uuid4()))
    if context is None:
        context = RequestContext(request_id=f"req-{uuid5(NAMESPACE_OID, ' '.join((str(what['uuid']), old, new)))}")
    return _Swap(
        instance=what,
        old=old,
        new=new,
        fault=(heard.fault if heard is not None else None) or _fault(fault or ""),
        context=replace(context, request_id=request_id or context.request_id),
    )


def _fault(text: str) -> ExceptionPayload:
    return ExceptionPayload(
        module_name=__name__, function_name="command", exception="RuntimeError", exception_message=text, traceback=""
    )


def _notification(
    phase: str, swap: _Swap, publisher_id: str, pin: str, clock: Clock
) -> Notification[InstanceActionVolumeSwapPayload]:
    event_type, now = _PHASES[phase], clock.utcnow()
    fault = swap.fault if event_type is volume_swap.error else None
    return Notification(
        message_id=str(uuid4()),
        publisher_id=publisher_id,
        event_type=event_type.name,
        priority=event_type.priority,
        timestamp=now,
        payload=swap_payload(swap.instance, swap.old, swap.new, fault=fault, version=pin),
        context=swap.context.to_wire(now),
    )


async def emit(
    transport: Transport,
    notification: InstanceActionVolumeSwapNotification,
    topics: tuple[str, ...],
    timeout: float,
    style: Style,
    clock: Clock,
) -> int:
    """Send `notification` once for each of `topics`, print what it was and what became of it, and return the exit code.

    Raises:
        TransportError: the broker is away or refuses, or nothing could be sent within `timeout` seconds.
    """
    async with transport, transport.sender("emit") as sender:
        end = clock.monotonic() + timeout
        await until_ready(sender, clock, timeout)
        post = Post(sender, clock, max(end - clock.monotonic(), 0.0))
        for topic in topics:
            copy = replace(notification, unique_id=uuid4().hex)
            key = f"{topic}.{notification.priority.lower()}"
            await post.send(Message(routing_key=key, body=encode(copy), message_id=copy.unique_id or ""))
        await post.finish()
    _show(notification, post, style)
    return post.code


def _show(notification: InstanceActionVolumeSwapNotification, post: Post, style: Style) -> None:
    payload = notification.payload
    style.item(
        {
            "outcome": post.worst,
            "event_type": notification.event_type,
            "message_id": notification.message_id,
            "publisher_id": notification.publisher_id,
            "instance": payload.uuid,
            "old_volume_id": payload.old_volume_id,
            "new_volume_id": payload.new_volume_id,
            "payload_version": payload.object_version,
        }
    )
