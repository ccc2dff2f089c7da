"""`aioswap serve`: status over HTTP, for people, programs and probes. Read-only; it takes nothing from anybody."""

from __future__ import annotations

import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from aioswap.cli.durations import stuck_after_option
from aioswap.cli.listening import listen, opened, unkept
from aioswap.cli.options import EXISTING_FILE, Connection, connection_options
from aioswap.cli.output import say
from aioswap.clock import Clock
from aioswap.hooks import Hook
from aioswap.tracker import SwapTracker
from aioswap.transports.base import Transport
from aioswap.web.access import LOOPBACK, Access
from aioswap.web.app import Metrics, StatusApp
from aioswap.web.server import is_loopback, listen_at, parse_address, serve, url_of

__all__ = ["command", "serve_swaps"]

_LONGEST: Final = 1e9
_TOKEN_BYTES: Final = 4096


@click.command("serve")
@connection_options
@click.option(
    "--listen",
    "address",
    default="127.0.0.1:8080",
    metavar="ADDRESS:PORT",
    help="Where to serve. Anywhere but on loopback a token is needed. Port 0: any that is free.",
    show_default=True,
)
@click.option(
    "--token-file",
    type=EXISTING_FILE,
    metavar="FILE",
    help="Whoever reads must have the token in FILE: as bearer, or as the password of any user. Else AIOSWAP_SERVE_TOKEN.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name that browsers may ask for, such as that of a reverse proxy. Can be repeated.",
)
@click.option("--project", metavar="ID", help="Show the swaps of this project only.")
@click.option(
    "--history",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep swaps in FILE for 30 days, as aioswap collect does, and show those that are in it.",
)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="End after so many seconds.")
@stuck_after_option
def command(
    connection: Connection,
    address: str,
    token_file: Path | None,
    hosts: tuple[str, ...],
    project: str | None,
    history: Path | None,
    seconds: float | None,
    stuck_after: float,
) -> int:
    """Show swaps over HTTP: / is a live page, /swaps JSON, /events a stream, /metrics for Prometheus, /live and /ready probes.

    Nothing can be changed over it. SIGTERM ends it in order, with 0; 1: the history's file could not take everything.
    """
    try:
        host, port = parse_address(address)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from None
    access = _access(host, _token(token_file), hosts)
    clock, transports = Clock(), connection.transports()
    hooks, metrics = _metrics(project, clock)
    tracker = SwapTracker(
        *transports, topics=connection.topics, stuck_after=stuck_after, history=history, clock=clock, hooks=hooks
    )
    app = StatusApp(tracker, access, project=project, metrics=metrics, clock=clock)
    with listen_at(host, port) as listening:
        return listen(serve_swaps(transports, tracker, app, listening, seconds, clock), lambda: unkept(tracker))


async def serve_swaps(
    transports: Sequence[Transport],
    tracker: SwapTracker,
    app: StatusApp,
    listening: socket.socket,
    seconds: float | None,
    clock: Clock,
) -> int:
    """Do what the command does, and return its exit code.

    Args:
        transports: not yet open.
        tracker: hears by them; not yet open.
        app: shows what it hears; not yet open.
        listening: where; it is closed in the end.
        seconds: None: for ever.
        clock: measures.

    Raises:
        TransportError: a broker is away or refuses.
        click.BadParameter: the history's file is none.
        OSError: the history can't be opened.
    """
    async with opened(transports, tracker), app:
        say(f"serving at {url_of(listening)}{'' if seconds is None else f' for {seconds:g} s'}")
        try:
            async with clock.timeout(_LONGEST if seconds is None else seconds):
                await serve(app, listening)
        except TimeoutError:
            pass
    return unkept(tracker)


def _access(host: str, token: str | None, hosts: tuple[str, ...]) -> Access:
    """Return who may read.

    Raises:
        click.UsageError: others could read without a token, or it is none.
    """
    loopback = is_loopback(host)
    if token is None and not loopback:
        raise click.UsageError(
            f"whoever reaches {host} could read this: give --token-file, or set AIOSWAP_SERVE_TOKEN; or --listen at 127.0.0.1"
        )
    names = {name.lower().rstrip(".") for name in hosts}
    own = LOOPBACK | {f"[{host}]" if ":" in host else host}
    try:
        return Access(token=token, hosts=own | names if loopback else names or None)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _token(file: Path | None) -> str | None:
    """Return the token, None if there is none.

    Raises:
        click.BadParameter: the file can't be read. The text never shows what it holds.
    """
    from aioswap.settings import Settings

    if file is None:
        token = Settings().serve_token
        return None if token is None else token.get_secret_value()
    try:
        mode = file.stat().st_mode
        with file.open("rb") as opened:
            text = opened.read(_TOKEN_BYTES).decode("ascii").strip()
    except OSError as error:
        raise click.BadParameter(f"{file}: {error.strerror}", param_hint="--token-file") from None
    except UnicodeDecodeError:
        raise click.BadParameter(f"{file}: it is no text in ASCII", param_hint="--token-file") from None
    if stat.S_ISREG(mode) and mode & 0o077:
        say(f"aioswap: others may read {file}, which holds a token: chmod 600 {file}")
    return text


def _metrics(project: str | None, clock: Clock) -> tuple[tuple[Hook, ...], Metrics | None]:
    """Return the tracker's hooks, and what makes metrics; None: the extra prometheus is not installed.

    A hook would count the swaps of other projects, too.
    """
    try:
        from aioswap.hooks.prometheus import PrometheusHook
        from aioswap.web.metrics import exposition
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        return (), None
    hooks = () if project is not None else (PrometheusHook(clock=clock),)
    return hooks, exposition(*hooks)
