"""`aioswap replay`: send again what `aioswap record` has kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

import click

from aioswap.cli.options import EXISTING_FILE, Connection, checked_urls, need_yes, output_options, urls_of_files
from aioswap.cli.output import Style, say
from aioswap.cli.sending import Post, until_ready
from aioswap.clock import Clock
from aioswap.recording import Recorded, read_line
from aioswap.transports.base import Confirmation, Transport

__all__ = ["command", "replay"]


@click.command("replay")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--to-url", "to_urls", multiple=True, metavar="URL", help="Where to: amqp, amqps, rabbit.")
@click.option("--to-url-file", "to_url_files", multiple=True, type=EXISTING_FILE, help="A file with that URL: for passwords.")
@click.option("--exchange", default="nova", help="Where to publish.", show_default=True)
@click.option("--yes", is_flag=True, help="Publish even if the exchange is Nova's own.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Keep the recorded pauses: 1 as they were, 2 twice as fast. Else there are none.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=10.0, help="Seconds for an answer.", show_default=True
)
@output_options
def command(
    file: str,
    to_urls: tuple[str, ...],
    to_url_files: tuple[Path, ...],
    exchange: str,
    yes: bool,
    speed: float | None,
    timeout: float,
    style: Style,
) -> int:
    """Send the messages of the recording FILE (- is stdin) again, in order, byte by byte as they were recorded.

    It ends with 0 if all were confirmed; 1: some were refused (no queue is bound) or could not be read; 4: not confirmed.
    """
    urls = (*checked_urls(to_urls, "--to-url", visible=True), *urls_of_files(to_url_files, "--to-url-file"))
    if not urls:
        raise click.UsageError("where to? Give --to-url or --to-url-file")
    need_yes(exchange, None, yes)
    transport = Connection(urls=urls, exchange=exchange).transport()
    with click.open_file(file, "rb") as lines:
        return asyncio.run(replay(transport, lines, speed, timeout, style, Clock()))


async def replay(
    transport: Transport, lines: Iterable[bytes], speed: float | None, timeout: float, style: Style, clock: Clock
) -> int:
    """Send what `lines` hold, print how many there were, and return the exit code.

    Args:
        transport: where to; its notification exchange is published to.
        lines: of a recording.
        speed: how much shorter the pauses are than recorded; None: there are none.
        timeout: seconds, to be ready and for each confirm.
        style: how to print.
        clock: measures.

    Raises:
        TransportError: nothing could be sent within `timeout` seconds.
    """
    async with transport, transport.sender("replay") as sender:
        await until_ready(sender, clock, timeout)
        post = Post(sender, clock, timeout)
        unreadable = await _send(lines, post, _Pacing(speed, clock))
        await post.finish()
    style.item(
        {
            "confirmed": post.confirmed,
            "returned": post.refusals(Confirmation.RETURNED),
            "nacked": post.refusals(Confirmation.NACKED),
            "impossible": post.impossible,
            "unconfirmed": post.unconfirmed,
            "unreadable": unreadable,
        }
    )
    return post.code or (1 if unreadable else 0)


async def _send(lines: Iterable[bytes], post: Post, pacing: _Pacing) -> int:
    """Send what `lines` hold until something is unconfirmed, and return how many could not be read."""
    unreadable = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            recorded = read_line(line)
        except ValueError as error:
            unreadable += 1
            say(f"aioswap: line {number}: {error}")
            continue
        await pacing.wait(recorded)
        if not await post.send(recorded.message(uuid4().hex)):
            say(f"aioswap: nothing was sent from line {number} on")
            break
    return unreadable


class _Pacing:
    """Keeps the pauses of a recording."""

    def __init__(self, speed: float | None, clock: Clock) -> None:
        self._speed = speed
        self._clock = clock
        self._first: tuple[float, float] | None = None
        """When the first message was recorded, and when it was sent again."""

    async def wait(self, recorded: Recorded) -> None:
        """Return when it is this message's turn."""
        if self._speed is None:
            return
        at, now = recorded.received.timestamp(), self._clock.monotonic()
        if self._first is None:
            self._first = at, now
        recorded_at, sent_at = self._first
        pause = sent_at + (at - recorded_at) / self._speed - now
        if pause > 0:
            await self._clock.sleep(pause)
