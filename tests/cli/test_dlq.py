"""`aioswap dlq`: the dead letters of a pool, on a real broker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from aioswap import Consumer, Emitter, Notification, RabbitTransport, Reject, SwapRequest
from aioswap.cli.app import run
from aioswap.transports.base import Confirmation, Message
from aioswap.transports.topology import dead_letter_queue, pool_exchange, pool_queue
from tests.cli.bus import Bus
from tests.cli.running import in_pipe, in_terminal

pytestmark = pytest.mark.broker


def _fail(bus: Bus, count: int) -> None:
    """Let a pool reject so many notifications."""

    async def main() -> None:
        transport = RabbitTransport(bus.url, exchange=bus.exchange)
        consumer = Consumer(transport, pool=bus.pool, topics=(bus.topic,))
        rejected = asyncio.Semaphore(0)

        @consumer.on("instance.volume_swap.end", name="page")
        async def page(notification: Notification[Any]) -> None:
            rejected.release()
            raise Reject("no \x1bpager, password=secret")

        async with transport, consumer.running(), Emitter(transport, host="h", topics=(bus.topic,)) as emitter:
            for number in range(count):
                async with emitter.swapping(SwapRequest({"uuid": str(number)}, "old", "new")):
                    pass
            for _ in range(count):
                await rejected.acquire()

    bus.declare()
    asyncio.run(main())


def _publish_dead(bus: Bus, body: bytes) -> None:
    """Put something else into the dead-letter queue."""

    async def main() -> Confirmation:
        async with RabbitTransport(bus.url, exchange=bus.exchange) as transport, transport.sender("test") as sender:
            await sender.ready()
            key = dead_letter_queue(bus.pool)
            return await sender.send(Message(exchange=pool_exchange(bus.pool), routing_key=key, body=body, message_id="odd"))

    asyncio.run(main())


def _ids(bus: Bus, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert 0 == run(["dlq", "list", bus.pool, "--url", bus.url, "-f", "value", "-c", "id"])
    return capsys.readouterr().out.split()


def test_the_list_names_what_and_why(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    _fail(bus, 2)

    code = run(["dlq", "list", bus.pool, "--url", bus.url, "--json"])
    letters = json.loads(capsys.readouterr().out)

    assert 0 == code
    assert [("instance.volume_swap.end", ["page"], 1, 0)] * 2 == [
        (letter["event_type"], letter["handlers"], letter["attempts"], letter["replays"]) for letter in letters
    ]
    assert "page: no \x1bpager, password=***" == letters[0]["reason"]
    assert 2 == len({letter["id"] for letter in letters})


def test_the_list_has_a_limit_and_takes_nothing(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    _fail(bus, 2)

    run(["dlq", "list", bus.pool, "--url", bus.url, "--limit", "1", "-f", "value", "-c", "id"])
    first = capsys.readouterr().out.split()

    assert first == _ids(bus, capsys)[:1]
    assert 2 == len(_ids(bus, capsys))


@pytest.mark.parametrize("form", ["pipe", "terminal"])
def test_nothing_of_a_dead_letter_steers_a_terminal(form: str, bus: Bus) -> None:
    _fail(bus, 1)

    ended = (in_pipe if form == "pipe" else in_terminal)("dlq", "list", bus.pool, "--url", bus.url, "-c", "reason")

    assert (0, "") == (ended.code, ended.err)
    assert "no \\x1bpager" in ended.out
    assert ("│" in ended.out) == (form == "terminal")


def test_one_is_shown_without_its_request_context(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    _fail(bus, 1)
    (letter,) = _ids(bus, capsys)

    code = run(["dlq", "show", bus.pool, letter, "--url", bus.url, "--json"])
    out = capsys.readouterr().out
    told = json.loads(out)

    assert (0, letter, bus.info) == (code, told["id"], told["routing_key"])
    assert "instance.volume_swap.end" == told["notification"]["event_type"]
    assert "_context_" not in out


def test_secrets_in_a_fault_are_masked(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    _fail(bus, 1)
    fault = {"exception_message": "password=secret", "traceback": "token: secret"}
    _publish_dead(bus, json.dumps({"payload": {"fault": fault, "list": [fault]}, "_context_auth_token": "secret"}).encode())

    code = run(["dlq", "show", bus.pool, "odd", "--url", bus.url, "-f", "value", "-c", "notification"])
    out = capsys.readouterr().out

    assert 0 == code
    assert "secret" not in out
    assert "password=***" in out


def test_what_cannot_be_read_is_shown_masked(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    _fail(bus, 1)
    _publish_dead(bus, b"torn \xff\x1b password=secret")

    code = run(["dlq", "show", bus.pool, "odd", "--url", bus.url])
    out = capsys.readouterr().out

    assert 0 == code
    assert "torn \\xff\\x1b password=***" in out


def test_one_that_is_not_there_is_1(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    _fail(bus, 1)

    code = run(["dlq", "show", bus.pool, "nothing", "--url", bus.url])
    told = capsys.readouterr()

    assert (1, "") == (code, told.out)
    assert "has no dead letter 'nothing'" in told.err


def test_chosen_ones_go_back_to_the_pool(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    _fail(bus, 2)
    first, second = _ids(bus, capsys)
    bus.take(pool_queue(bus.pool))

    code = run(["dlq", "replay", bus.pool, second, *bus.where])

    assert (0, "1 dead letters replayed\n") == (code, capsys.readouterr().err)
    assert [first] == _ids(bus, capsys)
    assert 1 == len(bus.take(pool_queue(bus.pool)))


def test_all_go_back_on_request(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    _fail(bus, 2)

    code = run(["dlq", "replay", bus.pool, "--all", *bus.where])

    assert (0, "2 dead letters replayed\n") == (code, capsys.readouterr().err)
    assert [] == _ids(bus, capsys)


def test_chosen_ones_are_dropped(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    _fail(bus, 2)
    first, second = _ids(bus, capsys)

    code = run(["dlq", "drop", bus.pool, first, "nothing", "--url", bus.url])

    assert (1, "1 dead letters dropped; 1 of the ids were not found\n") == (code, capsys.readouterr().err)
    assert [second] == _ids(bus, capsys)


def test_all_are_dropped_on_request(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    _fail(bus, 2)

    assert 0 == run(["dlq", "drop", bus.pool, "--all", "--url", bus.url])
    assert [] == _ids(bus, capsys)


@pytest.mark.parametrize(
    "words", [["list"], ["show", "id"], ["replay", "--all"], ["drop", "--all"]], ids=lambda words: words[0]
)
def test_a_pool_that_never_was_is_1(words: list[str], bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["dlq", words[0], bus.pool, *words[1:], "--url", bus.url])
    told = capsys.readouterr()

    assert (1, "") == (code, told.out)
    assert f"the pool {bus.pool} has no dead-letter queue" in told.err


def test_a_refused_login_is_4(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    assert 4 == run(["dlq", "list", bus.pool, "--url", bus.url.replace("guest@", "wrong@")])
    assert "correct the user and the password" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["list", "a/b"], "pool 'a/b'"),
        (["replay", "p"], "give the ids of dead letters, or --all"),
        (["drop", "p", "1", "--all"], "give the ids of dead letters, or --all"),
        (["list"], "POOL"),
        (["list", "p", "-c", "nothing", "--limit", "0"], "--limit"),
        (["nothing"], "nothing"),
        ([], "Usage"),
    ],
)
def test_misuse_is_2(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["dlq", *arguments, *(["--url", "amqp://127.0.0.1:1/"] if len(arguments) > 1 else [])])
    told = capsys.readouterr()

    assert (2, "") == (code, told.out)
    assert reason in told.err
