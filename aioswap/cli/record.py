"""`aioswap record`: keep what is heard, to look at it later or to send it again. It takes nothing from anybody."""

from __future__ import annotations

import asyncio
import os
import stat
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from datetime import datetime
from pathlib import Path
from typing import Final

import click

from aioswap.cli.options import Connection, connection_options
from aioswap.cli.output import data, say
from aioswap.clock import Clock
from aioswap.recording import event_type_of, record, write_line
from aioswap.transports.base import Delivery, Subscription, Transport
from aioswap.wire.events import EventPattern, event_pattern, peek

__all__ = ["Recorder", "code_of", "command"]

_START_SECONDS: Final = 10.0


@click.command("record")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@connection_options
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    default=["#"],
    help="Event types to record: * is one word, # any number. Can be repeated; else everything is recorded.",
)
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="End after so many seconds.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many messages.")
@click.option("--append", is_flag=True, help="Add to FILE if it is there.")
@click.option("--raw", is_flag=True, help="Keep every byte: also tokens of the request context, and compression.")
def command(
    file: str,
    connection: Connection,
    patterns: tuple[str, ...],
    seconds: float | None,
    count: int | None,
    append: bool,
    raw: bool,
) -> int:
    """Write each message that is heard to FILE (- is stdout), a line of JSON each, until interrupted.

    With --count it ends with 0 once there are so many; 3: --seconds were over before; 5: nothing was heard at all.
    """
    try:
        wanted = [event_pattern(pattern) for pattern in patterns]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--pattern") from None
    if file != "-" and not append and Path(file).exists():
        raise click.UsageError(f"{file} is there already: add to it with --append, or name another one")
    recorder = Recorder(wanted, raw=raw, limit=count, clock=Clock())
    with ExitStack() as stack:

        def opened() -> Callable[[Sequence[str]], None]:
            return _to_stdout if file == "-" else stack.enter_context(_File(Path(file), append=append))

        asyncio.run(recorder.run(connection.transports(), connection.topics, seconds, opened))
    left_out = f"; {recorder.left_out} left out that cannot be read: --raw keeps them" if recorder.left_out else ""
    say(f"{recorder.count} messages recorded{left_out}")
    return code_of(recorder.count, count)


def code_of(recorded: int, wanted: int | None) -> int:
    """Return the exit code: 0 for all that was wanted, 3 for too few, 5 for nothing at all."""
    if wanted is None or recorded >= wanted:
        return 0
    return 3 if recorded else 5


class Recorder:
    """Hears messages and writes them down.

    Args:
        patterns: event types to record.
        raw: see `aioswap.recording.record`.
        limit: messages after which it ends; None: none.
        clock: tells when they came.
    """

    def __init__(self, patterns: Sequence[EventPattern[object]], *, raw: bool, limit: int | None, clock: Clock) -> None:
        self.count = 0
        self.left_out = 0
        """Messages that cannot be read, and so may hold secrets."""
        self._patterns = patterns
        self._everything = any(pattern.pattern == "#" for pattern in patterns)
        self._raw = raw
        self._limit = limit
        self._clock = clock
        self._waiting: deque[tuple[Delivery, datetime]] = deque()
        self._news = asyncio.Event()
        self._over = False

    async def run(
        self,
        transports: Sequence[Transport],
        topics: Sequence[str],
        seconds: float | None,
        opened: Callable[[], Callable[[Sequence[str]], None]],
    ) -> None:
        """Record until the limit is reached or the time is over, which begins when all queues are bound.

        Args:
            transports: one a broker.
            topics: what to listen to.
            seconds: None: for ever.
            opened: opens what takes the lines, and returns it; called when all queues are bound.

        Raises:
            TransportError: a broker is away or refuses.
            OSError: the lines cannot be written.
        """
        subscription = Subscription(topics=topics, wanted=peek(self._patterns))
        async with AsyncExitStack() as stack:
            for transport in transports:
                await stack.enter_async_context(transport)
                await stack.enter_async_context(
                    transport.receiver(subscription, self._deliver, label="record", start_timeout=_START_SECONDS)
                )
            write = opened()
            say(f"recording {', '.join(topics)}{'' if seconds is None else f' for {seconds:g} s'}")
            if seconds is not None:
                timer = self._clock.call_later(seconds, self._end)
                stack.callback(timer.cancel)
            while not self._over:
                await self._news.wait()
                self._news.clear()
                await self._write(write)

    def _deliver(self, delivery: Delivery) -> None:
        self._waiting.append((delivery, self._clock.utcnow()))
        self._news.set()

    def _end(self) -> None:
        self._over = True
        self._news.set()

    async def _write(self, write: Callable[[Sequence[str]], None]) -> None:
        """Write what has come, and acknowledge it when it is written."""
        done: list[Delivery] = []
        lines: list[str] = []
        while self._waiting and not (self._limit is not None and self.count + len(lines) >= self._limit):
            delivery, received = self._waiting.popleft()
            done.append(delivery)
            if (line := self._line(delivery, received)) is not None:
                lines.append(line)
        if lines:
            await asyncio.to_thread(write, lines)
        self.count += len(lines)
        for delivery in done:
            delivery.ack()
        if self._limit is not None and self.count >= self._limit:
            self._end()

    def _line(self, delivery: Delivery, received: datetime) -> str | None:
        event_type = None if delivery.body is None else event_type_of(delivery.body)
        if event_type is None and not self._everything:
            self.left_out += 1
            return None
        if event_type is not None and not any(pattern.matches(event_type) for pattern in self._patterns):
            return None
        try:
            return write_line(record(delivery, received, raw=self._raw))
        except ValueError:
            self.left_out += 1
            return None


def _to_stdout(lines: Sequence[str]) -> None:
    for line in lines:
        data(line)


class _File:
    """A recording on disk, for its owner alone: what is heard may be secret. Open it by `with`.

    Args:
        path: where.
        append: it may be there.
    """

    def __init__(self, path: Path, *, append: bool) -> None:
        self._path = path
        self._append = append
        self._descriptor = -1

    def __enter__(self) -> Callable[[Sequence[str]], None]:
        how = os.O_APPEND if self._append else os.O_EXCL
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | how, 0o600)
        told = os.fstat(self._descriptor)
        if stat.S_ISREG(told.st_mode) and told.st_mode & 0o077:
            say(f"aioswap: others may read {self._path}: chmod 600 {self._path}")
        if told.st_size and os.pread(self._descriptor, 1, told.st_size - 1) != b"\n":
            os.write(self._descriptor, b"\n")  # the last line is torn: it must not tear the next one too
        return self.write

    def __exit__(self, *exc_info: object) -> None:
        os.close(self._descriptor)

    def write(self, lines: Sequence[str]) -> None:
        """Write whole lines, and return when the system has them."""
        left = memoryview("".join(f"{line}\n" for line in lines).encode())
        while left:
            left = left[os.write(self._descriptor, left) :]
