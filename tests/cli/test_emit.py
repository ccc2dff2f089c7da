"""`aioswap emit`: what it emits, and what it says of what became of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from aioswap import MemoryTransport, decode
from aioswap.cli.app import run
from aioswap.cli.emit import emit
from aioswap.cli.output import Style
from aioswap.errors import TransportError
from aioswap.testing import ManualClock
from aioswap.transports.base import Confirmation, Subscription
from aioswap.wire.instances import swap_payload
from aioswap.wire.notification import Notification
from tests.capture import capture
from tests.cli.bus import Bus
from tests.cli.running import in_pipe, in_terminal

_SAMPLES = Path(__file__).parents[2] / "docs" / "samples"


def _told(bus: Bus, queue: str) -> list[Notification[Any]]:
    return [decode(delivery.body or b"") for delivery in bus.take(queue)]


@pytest.mark.broker
@pytest.mark.parametrize("phase", ["start", "end", "error"])
def test_a_valid_notification_is_confirmed_and_0(phase: str, bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()
    bus.bind(bus.info, bus.error)

    code = run(
        ["emit", phase, *bus.where, "--instance", "i", "--old", "o", "--new", "n", "--host", "h", "--fault", "f", "--json"]
    )
    shown = json.loads(capsys.readouterr().out)
    (notification,) = _told(bus, bus.error if phase == "error" else bus.info)
    payload = notification.payload

    assert (0, "confirmed") == (code, shown["outcome"])
    assert (f"instance.volume_swap.{phase}", "nova-compute:h") == (notification.event_type, notification.publisher_id)
    assert ("i", "o", "n", "1.9") == (payload.uuid, payload.old_volume_id, payload.new_volume_id, payload.object_version)
    assert ("f" if phase == "error" else None) == (payload.fault and payload.fault.exception_message)
    assert shown["message_id"] == notification.message_id


@pytest.mark.broker
def test_start_and_end_of_the_same_ids_belong_together(bus: Bus) -> None:
    bus.declare()
    bus.bind(bus.info)
    ids = ["--instance", "i", "--old", "o", "--new", "n"]

    run(["emit", "start", *bus.where, *ids])
    run(["emit", "end", *bus.where, *ids])
    run(["emit", "end", *bus.where, "--request-id", "req-7", *ids])
    start, end, other = (notification.context["request_id"] for notification in _told(bus, bus.info))

    assert start == end
    assert "req-7" == other


@pytest.mark.broker
def test_an_older_version_can_be_pinned(bus: Bus) -> None:
    bus.declare()
    bus.bind(bus.info)

    assert 0 == run(["emit", "start", *bus.where, "--pin", "1.0"])
    assert ["1.0"] == [notification.payload.object_version for notification in _told(bus, bus.info)]


@pytest.mark.broker
def test_each_topic_gets_a_copy_of_its_own(bus: Bus) -> None:
    bus.declare()
    bus.queues.add("more.info")
    bus.bind(bus.info, "more.info")

    code = run(["emit", "start", *bus.where, "--topic", "more"])
    (first,), (second,) = _told(bus, bus.info), _told(bus, "more.info")

    assert (0, first.message_id) == (code, second.message_id)
    assert first.unique_id != second.unique_id


@pytest.mark.broker
def test_nobody_bound_is_returned_and_1(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()

    code = run(["emit", "start", *bus.where, "-f", "value", "-c", "outcome"])
    told = capsys.readouterr()

    assert (1, "returned\n") == (code, told.out)
    assert f"returned: 1 of routing key {bus.info}; no queue is bound" in told.err


@pytest.mark.broker
def test_a_full_queue_is_nacked_and_1(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()
    bus.bind(bus.info, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})

    codes = [run(["emit", "start", *bus.where, "-f", "value", "-c", "outcome"]) for _ in range(2)]

    assert ([0, 1], "confirmed\nnacked\n") == (codes, capsys.readouterr().out)


@pytest.mark.broker
def test_no_exchange_is_4_and_said(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["emit", "start", *bus.where, "--timeout", "5"])
    told = capsys.readouterr()

    assert (4, "") == (code, told.out)
    assert f"no exchange '{bus.exchange}'" in told.err


def test_nobody_there_is_4_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["emit", "start", "--url", "amqp://127.0.0.1:1/", "--yes"])
    told = capsys.readouterr()

    assert (4, "") == (code, told.out)
    assert "check that the broker runs" in told.err


@pytest.mark.broker
@pytest.mark.parametrize(
    "form", [("pipe", "outcome          confirmed\n"), ("terminal", "│ outcome         │ confirmed")], ids=lambda form: form[0]
)
def test_in_a_pipe_it_is_columns_and_in_a_terminal_a_frame(form: tuple[str, str], bus: Bus) -> None:
    bus.declare()
    bus.bind(bus.info)

    ended = (in_pipe if form[0] == "pipe" else in_terminal)("emit", "start", *bus.where, "--host", "\x1b[31m")

    assert (0, "") == (ended.code, ended.err)
    assert form[1] in ended.out
    assert "nova-compute:\\x1b[31m" in ended.out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["start"], "is Nova's own"),
        (["start", "--exchange", "x", "--pin", "2.0"], "--pin"),
        (["middle"], "middle"),
        (["start", "--exchange", "x", "--instance", ""], "uuid: is empty"),
        (["start", "--exchange", "x", "--from", "/no/such/file"], "does not exist"),
        (["start", "--exchange", "x", "--timeout", "0"], "--timeout"),
        (["start", "--exchange", "x", "--url", "amqp://b/"], "talks to one broker: 2 URLs"),
    ],
)
def test_misuse_is_2(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["emit", *arguments, "--url", "amqp://a/"])
    told = capsys.readouterr()

    assert (2, "") == (code, told.out)
    assert reason in told.err


@pytest.mark.broker
def test_a_notification_can_be_told_again(bus: Bus, tmp_path: Path) -> None:
    bus.declare()
    bus.bind(bus.error)
    found = capture("nova34-v2-full__instance.volume_swap.error")
    file = tmp_path / "body.json"
    file.write_bytes(found.body)

    code = run(["emit", "error", *bus.where, "--from", str(file), "--host", "h"])
    (told,), heard = _told(bus, bus.error), decode(found.body)

    assert (0, heard.payload) == (code, told.payload)
    assert heard.context["request_id"] == told.context["request_id"]
    assert heard.message_id != told.message_id
    assert None is told.context["auth_token"]


@pytest.mark.broker
def test_options_win_over_the_file(bus: Bus, tmp_path: Path) -> None:
    bus.declare()
    bus.bind(bus.info)
    file = tmp_path / "body.json"
    for content in (capture("nova34-v2-full__instance.volume_swap.error").body, b'{"uuid": "x", "hostname": "guest"}'):
        file.write_bytes(content)
        run(["emit", "end", *bus.where, "--from", str(file), "--instance", "i", "--old", "o", "--new", "n"])
    payloads = [notification.payload for notification in _told(bus, bus.info)]

    assert [("i", "o", "n", None)] * 2 == [
        (payload.uuid, payload.old_volume_id, payload.new_volume_id, payload.fault) for payload in payloads
    ]
    assert "guest" == payloads[1].host_name


@pytest.mark.broker
def test_a_documented_sample_can_be_told(bus: Bus) -> None:
    bus.declare()
    bus.bind(bus.info)

    assert 0 == run(["emit", "end", *bus.where, "--from", str(_SAMPLES / "instance-volume_swap-end.json")])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"torn", "it holds no JSON"),
        (b"[1]", "should be a JSON object"),
        (b'{"event_type": "a.b"}', "message_id: is missing"),
        (b'{"uuid": {}}', "instance.uuid: should be text"),
        (capture("nova34-others__compute.exception").body, "something else than a swap"),
    ],
)
def test_a_file_of_something_else_is_2_and_said(
    content: bytes, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "body.json"
    file.write_bytes(content)

    code = run(["emit", "start", "--url", "amqp://a/", "--exchange", "x", "--from", str(file)])
    told = capsys.readouterr()

    assert (2, "") == (code, told.out)
    assert reason in told.err


def test_a_file_that_cannot_be_read_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "body.json"
    file.symlink_to("/proc/self/mem")

    assert 2 == run(["emit", "start", "--url", "amqp://a/", "--exchange", "x", "--from", str(file)])
    assert "Input/output error" in capsys.readouterr().err


def _notification(clock: ManualClock) -> Notification[Any]:
    return Notification(
        message_id="m",
        publisher_id="nova-compute:h",
        event_type="instance.volume_swap.start",
        priority="INFO",
        timestamp=clock.utcnow(),
        payload=swap_payload({"uuid": "i"}, "o", "n"),
    )


async def test_a_broker_that_does_not_answer_is_unconfirmed_and_4(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock()
    transport = MemoryTransport(clock=clock)
    transport.hold_confirms()

    emitting = asyncio.create_task(emit(transport, _notification(clock), ("t",), 10.0, Style("json"), clock))
    await clock.advance(11.0)
    told = capsys.readouterr()

    assert (4, "unconfirmed") == (await emitting, json.loads(told.out)["outcome"])
    assert "no confirm within" in told.err


async def test_a_blocked_broker_is_waited_for_only_so_long() -> None:
    clock = ManualClock()
    transport = MemoryTransport(clock=clock)
    transport.block()

    emitting = asyncio.create_task(emit(transport, _notification(clock), ("t",), 10.0, Style("json"), clock))
    await clock.advance(11.0)

    with pytest.raises(TransportError):
        await emitting


async def test_a_refused_message_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock()
    transport = MemoryTransport(clock=clock)
    transport.refuse("t.info", Confirmation.NACKED)

    async with transport, transport.receiver(Subscription(topics=("t",)), lambda delivery: None, label="x"):
        pass
    emitting = asyncio.create_task(emit(transport, _notification(clock), ("t",), 10.0, Style("json"), clock))
    await clock.advance(1.0)

    assert (1, "nacked") == (await emitting, json.loads(capsys.readouterr().out)["outcome"])
