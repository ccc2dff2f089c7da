"""`aioswap doctor`: can anything be received, and if not, why?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from aioswap.cli.findings import QueueFacts, Row, State, about_nova_conf, about_queue
from aioswap.cli.management import Management
from aioswap.cli.options import EXISTING_FILE, Connection, connection_options, lines_of, output_options
from aioswap.cli.output import Style, say
from aioswap.cli.visit import Visit, ask_plugin
from aioswap.clock import Clock
from aioswap.transports.urls import parse_url

__all__ = ["command", "examine"]

_COLUMNS: Final = ("check", "state", "told", "remedy")


@click.command("doctor")
@connection_options
@click.option(
    "--seconds", type=click.FloatRange(min=0), default=10.0, help="Listen for so long; 0: not at all.", show_default=True
)
@click.option(
    "--management-url",
    metavar="URL",
    help="RabbitMQ's management plugin, to look at bindings, policies and flags too. Without a login in it: the broker's. "
    "Else AIOSWAP_MANAGEMENT_URL.",
)
@click.option("--management-url-file", type=EXISTING_FILE, help="A file with that URL: for passwords.")
@output_options
def command(
    connection: Connection, seconds: float, management_url: str | None, management_url_file: Path | None, style: Style
) -> int:
    """Say whether anything can be received, and if not, why: each finding with what to do.

    Nothing is published to Nova's exchange and nothing taken from its queues. It ends with 1 if there is any finding.
    """
    clock = Clock()
    management = _management(connection, management_url, management_url_file, clock)
    rows = asyncio.run(examine(connection, management, seconds, clock))
    style.rows(_COLUMNS, [(row.check, row.state.value, row.told, row.remedy) for row in rows])
    return 1 if any(row.state is State.FINDING for row in rows) else 0


def _management(connection: Connection, url: str | None, file: Path | None, clock: Clock) -> Management | None:
    from aioswap.settings import Settings

    if url is not None and file is not None:
        raise click.UsageError("give one of --management-url and --management-url-file")
    named, settings = "--management-url", Settings()
    if file is not None:
        named, (url, *_) = "--management-url-file", lines_of(file, "--management-url-file")
    elif url is None and settings.management_url is not None:
        named, url = "AIOSWAP_MANAGEMENT_URL", settings.management_url.get_secret_value()
    if url is None:
        return None
    address = parse_url(connection.one_url()).addresses[0]
    try:
        management = Management(url, (address.user, address.password), clock)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=named) from None
    if named == "--management-url" and management.has_login:
        say(f"aioswap: others on this machine can see the password in {named}: use {named}-file or the environment")
    return management


async def examine(connection: Connection, management: Management | None, seconds: float, clock: Clock) -> list[Row]:
    """Look at all there is, from outside in.

    Args:
        connection: where to look.
        management: the plugin of the only broker; None: there is none to ask.
        seconds: how long to listen.
        clock: measures.
    """
    rows = [] if connection.nova is None else list(about_nova_conf(connection.nova, connection.topics, connection.urls))
    for url, transport in zip(connection.urls, connection.transports(), strict=True):
        visit = Visit(parse_url(url), transport, connection.exchange, connection.topics, seconds, clock)
        found = await _examine_one(visit, connection, management, seconds)
        if len(connection.urls) > 1:
            found = [replace(row, check=f"{visit.url.addresses[0].host}: {row.check}") for row in found]
        rows += found
    return rows


async def _examine_one(visit: Visit, connection: Connection, management: Management | None, seconds: float) -> list[Row]:
    await visit.look()
    vhost = visit.url.addresses[0].vhost
    rows, details = await ask_plugin(management, vhost, connection.exchange, visit.keys, connection.nova)
    rows = [*visit.rows, *rows]
    for key in visit.keys:
        if key in visit.after or key in details:
            facts = _facts(key, visit, details.get(key))
            rows += about_queue(facts, connection.nova, vhost, seconds)
    return rows


def _facts(key: str, visit: Visit, details: Mapping[str, Any] | None) -> QueueFacts:
    """Put together what the broker says of a queue, now and before, or else what its plugin said a moment ago."""
    if key in visit.after:
        before, after = visit.before[key], visit.after[key]
        there = before is not None and after is not None
        return QueueFacts(
            name=key,
            before=before.messages if before is not None and there else None,
            after=after.messages if after is not None and there else None,
            consumers=after.consumers if after is not None else 0,
            details=details,
        )
    told = details or {}
    messages = told.get("messages")
    messages = messages if isinstance(messages, int) else None
    consumers = told.get("consumers")
    return QueueFacts(
        name=key, before=messages, after=messages, consumers=consumers if isinstance(consumers, int) else 0, details=details
    )
