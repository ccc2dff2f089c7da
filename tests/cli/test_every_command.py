"""Every command with each of its exit codes, on a real RabbitMQ: in a pipe and in a terminal."""

from __future__ import annotations

import asyncio
import itertools
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from aioswap.cli.app import _COMMANDS
from aioswap.clock import Clock
from aioswap.transports.base import Delivery, Message, Subscription
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.envelope import encode
from tests.cli.bus import Bus, bus_at
from tests.cli.running import Ended, in_pipe, in_terminal
from tests.cli.started import in_a_terminal, started
from tests.swap_kit import swap_event

pytestmark = pytest.mark.broker

_SAMPLE: Final = Path(__file__).parents[2] / "docs" / "samples" / "instance-volume_swap-end.json"
_FORMS: Final[dict[str, Callable[..., Ended]]] = {"pipe": in_pipe, "terminal": in_terminal}
_PACE: Final = 0.05

# Swaps of the instances good, bad and endless go on all the time: they end, fail, and have no end.
_TABLE: Final = (
    (0, "wait {where} --instance good"),
    (1, "wait {where} --instance bad"),
    (2, "wait {where}"),
    (3, "wait {where} --instance endless --timeout 1"),
    (4, "wait {refused} --instance good -- true"),
    (5, "wait {where} --instance nobody --timeout 0.2"),
    (6, "wait {where} --instance good -- false"),
    (130, "wait {where} --instance nobody -- sh -c 'kill -INT $$'"),
    (0, "watch {where} --count 1"),
    (2, "watch {where} --state odd"),
    (3, "watch {where} --count 100000 --seconds 1"),
    (4, "watch {refused}"),
    (5, "watch {where} --instance nobody --count 1 --seconds 0.2"),
    (0, "collect {where} --history {folder}/{name}.db --seconds 0.2"),
    (1, "collect {where} --history {folder}/nowhere/swaps.db --seconds 0.2"),
    (2, "collect {where}"),
    (4, "collect {refused} --history {folder}/{name}.db"),
    (0, "serve {where} --listen 127.0.0.1:0 --seconds 0.2"),
    (1, "serve {where} --listen 127.0.0.1:0 --history {folder}/nowhere/swaps.db"),
    (2, "serve {where} --listen 0.0.0.0:0"),
    (4, "serve {refused} --listen 127.0.0.1:0"),
    (0, "status --history {history} good"),
    (1, "status --history {history} bad"),
    (2, "status good"),
    (3, "status --history {history} endless --stuck-after 0.01"),
    (5, "status --history {history} nobody"),
    (0, "stuck --history {history}"),
    (2, "stuck"),
    (3, "stuck --history {history} --older-than 0.01"),
    (0, "timings --history {history} --since 1h"),
    (2, "timings"),
    (0, "record {folder}/{name}.jsonl {where} --count 1"),
    (1, "record /dev/full {where} --append --count 1"),
    (2, "record {recording} {where}"),
    (3, "record {folder}/{name}.jsonl {where} --count 100000 --seconds 1"),
    (4, "record {folder}/{name}.jsonl {refused}"),
    (5, "record {folder}/{name}.jsonl {where} --pattern no.such --count 1 --seconds 0.2"),
    (0, "replay {recording} --to-url {url} --exchange {exchange}"),
    (1, "replay {recording} --to-url {url} --exchange amq.topic"),
    (2, "replay {recording}"),
    (4, "replay {recording} --to-url amqp://127.0.0.1:1/ --exchange {exchange} --timeout 1"),
    (0, "doctor {where} --seconds 1"),
    (1, "doctor {refused}"),
    (2, "doctor {where} --seconds -1"),
    (0, "emit start {where}"),
    (1, "emit start --url {url} --exchange {exchange} --topic nobody"),
    (2, "emit middle {where}"),
    (4, "emit start --url amqp://127.0.0.1:1/ --exchange {exchange} --timeout 1"),
    (0, "dlq list {pool} --url {url}"),
    (1, "dlq list nobody-{pool} --url {url}"),
    (2, "dlq list"),
    (4, "dlq list {pool} {refused}"),
    (0, "schema"),
    (2, "schema --version 7"),
    (0, "validate {sample}"),
    (1, "validate /dev/null"),
    (2, "validate"),
    (0, "demo --url {url}"),
    (1, "demo --replay {folder}/empty"),
    (2, "demo --url odd:"),
)
_RUNS: Final = [(code, line, form) for code, line in _TABLE for form in _FORMS if form == "pipe" or code != 2]
"""Misuse ends before anything is looked at: once is enough."""
_INTERRUPTED: Final = {
    "wait {where} --instance nobody": "listening",
    "watch {where}": "watching",
    "collect {where} --history {folder}/{name}.db": "collecting",
    "record {folder}/{name}.jsonl {where}": "recording",
    "doctor {where} --seconds 60": "listening for",
    "serve {where} --listen 127.0.0.1:0": "serving at",
}
"""What goes on until somebody ends it, and what it says when it does."""


class _Going:
    """Tells of swaps from another thread, again and again, while the `with` lasts."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._emit()))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    async def _emit(self) -> None:
        clock, transport = Clock(), RabbitTransport(self._bus.url, exchange=self._bus.exchange)
        async with transport, transport.sender("nova") as sender:
            await sender.ready()
            for number in itertools.takewhile(lambda _: not self._over.is_set(), itertools.count()):
                for instance, phase in (("good", "start"), ("good", "end"), ("bad", "error"), ("endless", "start")):
                    said = swap_event(phase, number, instance=instance, request_id=f"req-{instance}-{number}")
                    key = f"{self._bus.topic}.{said.priority.lower()}"
                    await sender.send(Message(routing_key=key, body=encode(said), message_id=said.message_id))
                await clock.sleep(_PACE)


class Stage:
    """Where the commands play: a corner of a broker with swaps, a recording and a history of them, and a pool."""

    def __init__(self, bus: Bus, folder: Path) -> None:
        self._numbers = itertools.count()
        (folder / "empty").mkdir()
        self._names = {
            "where": shlex.join(bus.where),
            "refused": shlex.join(["--url", bus.url.replace("guest@", "wrong@")]),
            "url": bus.url,
            "exchange": bus.exchange,
            "pool": bus.pool,
            "folder": str(folder),
            "history": str(folder / "swaps.db"),
            "recording": str(folder / "swaps.jsonl"),
            "sample": str(_SAMPLE),
        }

    def arguments(self, line: str) -> list[str]:
        """Return what a shell would give to the command."""
        return shlex.split(line.format(**self._names, name=f"new-{next(self._numbers)}"))

    def prepare(self) -> None:
        """Write the recording and the history."""
        for line in ("record {recording} {where} --count 40", "collect {where} --history {history} --seconds 1"):
            ended = in_pipe(*self.arguments(line))

            assert 0 == ended.code, ended.err


@pytest.fixture(scope="module")
def stage(amqp_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with bus_at(amqp_url) as bus:
        bus.declare()

        async def pool() -> None:
            transport = RabbitTransport(bus.url, exchange=bus.exchange)
            subscription = Subscription(pool=bus.pool, topics=(bus.topic,))
            async with transport, transport.receiver(subscription, Delivery.requeue, label="test"):
                pass

        asyncio.run(pool())
        stage = Stage(bus, tmp_path_factory.mktemp("stage"))
        with _Going(bus):
            stage.prepare()
            yield stage


Ends = dict[tuple[str, str], "Future[Ended]"]


@pytest.fixture(scope="module")
def ends(stage: Stage) -> Iterator[Ends]:
    """How each line of the table ends, in each form; some run at a time, since most of them wait."""
    with ThreadPoolExecutor(6) as pool:
        yield {(line, form): pool.submit(_FORMS[form], *stage.arguments(line)) for _, line, form in _RUNS}


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("code", "line", "form"), _RUNS, ids=[f"{line.split()[0]}-{code}-{form}" for code, line, form in _RUNS]
)
def test_each_command_ends_with_each_of_its_codes(code: int, line: str, form: str, ends: Ends) -> None:
    ended = ends[line, form].result()

    assert code == ended.code, ended
    assert "Traceback" not in ended.err
    assert (code == 2) == ("Usage: " in ended.err)


@pytest.mark.parametrize("line", _INTERRUPTED, ids=[line.split()[0] for line in _INTERRUPTED])
def test_an_interrupt_ends_what_goes_on_with_130(line: str, stage: Stage) -> None:
    said = _INTERRUPTED[line]
    with started(*stage.arguments(line)) as going:
        going.until_said(said)
        ended = going.ended(signal.SIGINT)
    with in_a_terminal(*stage.arguments(line)) as terminal:
        terminal.until(said)
        terminal.press(b"\x03")
        code = terminal.ended()

    assert (130, 130) == (ended.code, code)
    assert "Traceback" not in ended.err + terminal.text


def test_no_command_is_left_out() -> None:
    assert set(_COMMANDS) - {"outbox"} == {line.split()[0] for _, line in _TABLE}
