"""A canary in every place where secrets stand: nothing that aioswap shows, keeps beside the message, or emits holds it."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from aioswap.cli.app import run
from aioswap.cli.output import FORMATS
from aioswap.consumer import Consumer
from aioswap.dead_letters import DeadLetters
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.errors import DecodeError, TransportError
from aioswap.hooks import Operation
from aioswap.hooks.logging import DriverFilter, LoggingHook
from aioswap.outbox_file import FileOutbox
from aioswap.outcomes import Reject, RetryPolicy
from aioswap.recording import Recorded, write_line
from aioswap.settings import Settings
from aioswap.swaps import SwapFailed
from aioswap.testing import ManualClock
from aioswap.tracker import SwapTracker
from aioswap.transports.base import Confirmation
from aioswap.transports.memory import MemoryTransport
from aioswap.transports.rabbit import RabbitTransport
from aioswap.transports.topology import dead_letter_queue
from aioswap.wire.envelope import decode
from aioswap.wire.notification import Notification
from tests.broker import Node
from tests.bus import declare, told
from tests.capture import capture
from tests.consumer_kit import Bus, until
from tests.rights import Rights
from tests.swap_kit import INSTANCE, OLD
from tests.tracker_kit import Air

CANARY = "hush7f3Q9x"
FORMS = {
    "a URL": f"no route to amqp://nova:{CANARY}@h1:5672,nova:{CANARY}@h2/vhost",
    "an oslo URL": f"'rabbit://u:{CANARY}@h/?ssl=1'",
    "key=value": f"login(user='u', password={CANARY})",
    "JSON": json.dumps({"auth": {"password": CANARY}, "token": CANARY}),
    "JSON in JSON": json.dumps(json.dumps({"password": CANARY})),
    "a dict": repr({"admin_pass": CANARY, "x": 1}),
    "bytes": repr({b"password": CANARY.encode()}),
    "bytes of JSON": repr(json.dumps({"secret": CANARY}).encode()),
    "a command": f"mysql --user u --password {CANARY} failed",
    "a header": f"X-Auth-Token: {CANARY}",
    "a bearer": f"Authorization: Bearer {CANARY}",
}
CONTEXT: Mapping[str, Any] = {
    "user_id": "u",
    "project_id": "p",
    "auth_token": CANARY,
    "service_catalog": [{"adminURL": f"http://u:{CANARY}@h/"}],
    "trust_id": CANARY,
    "password": CANARY,
}

INSTANCE_OF_THE_SAMPLE = capture("nova34-v2-default__instance.volume_swap.error").message["payload"]["nova_object.data"]["uuid"]

forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@pytest.fixture(autouse=True)
def _at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def hits(*texts: object) -> list[str]:
    """Return where the canary is, with a little of what is around it."""
    found = []
    for text in texts:
        shown = text if isinstance(text, str) else text.decode("latin-1") if isinstance(text, bytes) else repr(text)
        place = shown.find(CANARY)
        if place >= 0:
            found.append(shown[max(place - 80, 0) : place + 20])
    return found


def contents(folder: Path) -> list[bytes]:
    """Return what the files in a folder hold."""
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def with_locals(error: BaseException) -> str:
    """Return the traceback of `error` as reporters show it that look at local variables, but for those of tests."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    last: traceback.TracebackException | None = shown
    while last is not None:
        last.stack[:] = [frame for frame in last.stack if "/tests/" not in frame.filename]
        last = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
    return "".join(shown.format())


async def fail(emitter: Emitter, error: BaseException) -> None:
    """Swap, and fail."""
    password = CANARY
    server = {"uuid": INSTANCE, "admin_pass": CANARY}
    with suppress(type(error)):
        async with emitter.swapping(SwapRequest(server, OLD, "new", CONTEXT)):
            raise error from ValueError(str(error) + password[:0])


class Keeping:
    """A hook that keeps what it is told, and fails."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.operations: list[Operation] = []

    def started(self, operation: Operation, /) -> None:
        raise ValueError(self.text)

    def finished(self, operation: Operation, /) -> None:
        self.operations.append(operation)


@forms
async def test_a_swap_that_fails_lets_nothing_out(form: str, caplog: pytest.LogCaptureFixture) -> None:
    hook = Keeping(form)
    transport = MemoryTransport()
    async with transport, Emitter(transport, host="h", hooks=(hook, LoggingHook())) as emitter:
        await declare(transport)
        await fail(emitter, RuntimeError(form))
        await emitter.flush()
        health = emitter.health()
        async with transport.browser("aioswap.witness") as browser:
            deliveries = [await browser.get(), await browser.get()]
        notifications = await told(transport)

    assert ["start", "error"] == [notification.event_type.rpartition(".")[2] for notification in notifications]
    assert "***" in notifications[1].payload.fault.exception_message
    assert "***" in notifications[1].payload.fault.traceback
    assert [] == hits(*(delivery.original for delivery in deliveries if delivery), *deliveries, *notifications)
    assert [] == hits(caplog.text, health, emitter, transport, *hook.operations)


@forms
async def test_what_a_service_does_wrong_lets_nothing_out(form: str, caplog: pytest.LogCaptureFixture) -> None:
    outcomes = iter((SwapRequest({"uuid": INSTANCE}, OLD, "new"), RuntimeError(form), RuntimeError(form)))

    def describe() -> SwapRequest:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    transport = MemoryTransport()
    async with transport, Emitter(transport, host="h") as emitter:
        await declare(transport)
        swap = emitter.swap(describe=describe)(lambda_swap)
        await swap()
        await swap()

    assert "told with the state at the start" in caplog.text
    assert "stays untold" in caplog.text
    assert [] == hits(caplog.text, emitter.health())


async def lambda_swap() -> None:
    """A swap that does nothing."""


async def test_a_users_mask_reaches_faults_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    def describe() -> SwapRequest:
        raise RuntimeError(f"the word is {CANARY}")

    transport = MemoryTransport()
    emitter = Emitter(transport, host="h", mask=lambda text: text.replace(CANARY, "***"))
    async with transport, emitter:
        await declare(transport)
        await fail(emitter, RuntimeError(f"the word is {CANARY}, and password=other"))
        await emitter.swap(describe=describe)(lambda_swap)()
        await emitter.flush()
        _, failed = await told(transport)

    assert "the word is ***, and password=***" == failed.payload.fault.exception_message
    assert [] == hits(failed.payload.fault.traceback, caplog.text)


async def test_a_mask_that_fails_lets_nothing_out() -> None:
    def mask(text: str) -> str:
        raise LookupError(text)

    transport = MemoryTransport()
    emitter = Emitter(transport, host="h", mask=mask)
    async with transport, emitter:
        await declare(transport)
        await fail(emitter, RuntimeError(f"the word is {CANARY}"))
        await emitter.flush()
        _, failed = await told(transport)

    assert "(not shown: the mask failed with LookupError)" == failed.payload.fault.exception_message
    assert [] == hits(failed)


def incoming(form: str) -> bytes:
    """Return a failed swap as Nova tells of it: with an unmasked fault, and all of its context."""
    fault = {"module_name": "m", "function_name": "f", "exception": "E", "exception_message": form, "traceback": form}
    wrapper = {"nova_object.name": "ExceptionPayload", "nova_object.namespace": "nova", "nova_object.version": "1.1"}
    message = deepcopy(capture("nova34-v2-default__instance.volume_swap.error").message)
    message["payload"]["nova_object.data"]["fault"] = {**wrapper, "nova_object.data": fault}
    message |= {f"_context_{key}": value for key, value in CONTEXT.items()}
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}).encode()


@asynccontextmanager
async def consuming(bus: Bus, *handlers: Callable[..., Any], **more: Any) -> AsyncIterator[Consumer]:
    """A consumer of a pool, with these handlers."""
    policy = RetryPolicy(attempts=1)
    consumer = Consumer(bus.transport, "p", retry=policy, clock=bus.clock, **more)
    for handler in handlers:
        consumer.on("#")(handler)
    async with bus.opened(), consumer.running():
        yield consumer


@forms
async def test_what_is_consumed_lets_nothing_out(form: str, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(notification: Notification[Any]) -> None:
        raise RuntimeError(f"{form} of {notification!r}")

    async def refuse(notification: Notification[Any]) -> None:
        raise Reject(form)

    bus, hook = Bus(), Keeping(form)
    async with consuming(bus, fail, refuse, hooks=(hook, LoggingHook())) as consumer:
        await bus.publish(incoming(form))
        await bus.publish(form.encode())
        await until(lambda: 2 == consumer.health().dead_letters)
        health = consumer.health()
        letters = await bus.look(dead_letter_queue("p"))
        shown = await DeadLetters(bus.transport, "p").list()

    assert [2, 2] == [len(letters), len(shown)]
    assert [] == hits(*(dict(letter.headers) for letter in letters), *letters, *shown, health, consumer)
    assert [] == hits(caplog.text, *hook.operations)
    assert [] == hits(decode(incoming(form)), decode(incoming(form)).payload, str(decode(incoming(form)).payload.fault))


async def test_a_users_mask_reaches_dead_letters_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(notification: Notification[Any]) -> None:
        raise RuntimeError(f"the word is {CANARY}")

    async def refuse(notification: Notification[Any]) -> None:
        raise Reject(f"the word is {CANARY}")

    bus = Bus()
    async with consuming(bus, fail, refuse, mask=lambda text: text.replace(CANARY, "***")) as consumer:
        await bus.publish(incoming("no secret"))
        await until(lambda: consumer.health().dead_letters)
        (letter,) = await bus.look(dead_letter_queue("p"))

    assert "the word is ***" in letter.headers["aioswap-reason"]
    assert [] == hits(dict(letter.headers), caplog.text)


@forms
async def test_what_is_tracked_and_kept_lets_nothing_out(form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    air = Air()
    body = incoming(form)
    async with (
        air.opened(),
        SwapTracker(air.transport, history=tmp_path / "history", clock=air.clock) as tracker,
        tracker.expect(instance=decode(body).payload.uuid) as expected,
    ):
        await air.publish(body, routing_key="versioned_notifications.error")
        swap = await expected.wait(timeout=None)
        health = tracker.health()
        kept = await tracker.history(instance=swap.instance)
    with pytest.raises(SwapFailed) as caught:
        swap.raise_for_state()

    assert 1 == len(kept)
    assert [] == hits(swap, caught.value, str(caught.value), health, *kept, caplog.text, with_locals(caught.value))
    assert [] == hits(*contents(tmp_path))


@forms
async def test_an_outbox_on_disk_holds_nothing(form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    transport = MemoryTransport(clock=clock)
    outbox = FileOutbox(tmp_path)
    async with transport, Emitter(transport, host="h", outbox=outbox, clock=clock, hooks=(Keeping(form),)) as emitter:
        for key in ("info", "error"):
            transport.refuse(f"versioned_notifications.{key}", Confirmation.RETURNED)
        await fail(emitter, RuntimeError(form))
        async with asyncio.timeout(20):
            while emitter.health().parked < 2:
                await clock.advance(10)
                await asyncio.to_thread(lambda: None)
        health, parked = emitter.health(), list(outbox.parked())
    kept = contents(tmp_path)

    assert 2 == len(parked)
    assert any(b"no queue is bound" in content for content in kept)
    assert [] == hits(*kept, health, *parked, *(one.reason for one in parked), caplog.text, outbox)


@pytest.mark.parametrize(
    "url",
    [
        f"amqp://nova:{CANARY}@127.0.0.1:1/v",
        f"rabbit://nova:{CANARY}@127.0.0.1:1,u:{CANARY}@127.0.0.1:2/v?ssl=1",
        f"https://nova:{CANARY}@h/",
        f"amqp://nova:{CANARY}@h/?no_verify_ssl=1",
        f"amqp://nova:{CANARY}/x@h/",
        f"amqp://nova:{CANARY}@h:port/",
        f"amqp://nova:{CANARY}@@h/",
        f"amqp://nova:%ff{CANARY}@h/",
        f"amqp://nova:x@h/?{CANARY}=1",
        f"amqp://nova:{CANARY}#@h/",
        CANARY,
    ],
)
async def test_a_url_is_never_shown(url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOSWAP_URL", url)
    settings = Settings()
    with pytest.raises((ValueError, TransportError)) as caught:
        async with RabbitTransport(url) as transport, Consumer(transport).stream("#", start_timeout=0.2):
            pass

    assert [] == hits(str(caught.value), caught.value, settings, str(settings.url), caplog.text)
    if isinstance(caught.value, TransportError):
        assert [] == hits(with_locals(caught.value), transport, vars(transport))


@pytest.mark.broker
async def test_the_driver_logs_neither_logins_nor_bodies(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    rights = Rights(".*", ".*", ".*", ".*", ".*")
    node.ctl("add_user", "canary", CANARY)
    node.ctl("set_permissions", "canary", *rights[:3])
    try:
        logging.getLogger("aiormq").addHandler(raw := Raw())
        logging.getLogger("aio_pika").addHandler(raw)
        caplog.handler.addFilter(driver := DriverFilter())
        try:
            url = node.url.replace("guest:guest", f"canary:{CANARY}")
            assert url != node.url
            healths = await _all_of_it(RabbitTransport(url, exchange="test.canary", exchange_durable=False))
            await _publish_by_the_driver_alone(url)
            with pytest.raises(TransportError) as caught:
                async with RabbitTransport(url.replace(CANARY, f"{CANARY}no")) as refused, Consumer(refused).stream("#"):
                    pass
        finally:
            caplog.handler.removeFilter(driver)
            logging.getLogger("aiormq").removeHandler(raw)
            logging.getLogger("aio_pika").removeHandler(raw)
    finally:
        node.ctl("delete_user", "canary")
    told_by_driver = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("aiormq"))

    assert [] == hits(caplog.text, *healths, str(caught.value), with_locals(caught.value))
    assert ["Queue.DeclareOk", "ProbableAuthenticationError"] == [
        word for word in ("Queue.DeclareOk", "ProbableAuthenticationError") if word in told_by_driver
    ]
    assert hits(*raw.told)


async def _publish_by_the_driver_alone(url: str) -> None:
    """Do what other parts of a service may do, which have the same log."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        message = aio_pika.Message(f"word {CANARY}".encode(), headers={"word": CANARY})
        await channel.default_exchange.publish(message, "nowhere", mandatory=False)


class Raw(logging.Handler):
    """Keeps what the driver logs, as it is without a filter."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


async def _all_of_it(transport: RabbitTransport) -> list[object]:
    """Emit and consume on a real broker, with the canary in the context, the fault and a body."""
    done = asyncio.Event()

    async def refuse(notification: Notification[Any]) -> None:
        if notification.event_type.endswith("error"):
            done.set()
        raise Reject(f"password={CANARY}")

    consumer = Consumer(transport, "canary")
    consumer.on("#")(refuse)
    async with transport, consumer.running(), Emitter(transport, host="h") as emitter:
        await fail(emitter, RuntimeError(f"password={CANARY}"))
        async with asyncio.timeout(20):
            await done.wait()
        letters = await DeadLetters(transport, "canary").list()
        await DeadLetters(transport, "canary").drop()
        return [emitter.health(), consumer.health(), transport, emitter, consumer, *letters]


@forms
def test_no_command_shows_what_a_notification_holds(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body, recording = tmp_path / "body", tmp_path / "recording"
    body.write_bytes(incoming(form))
    key, now = "versioned_notifications.error", datetime.now(UTC)
    recording.write_text(write_line(Recorded(received=now, exchange="nova", routing_key=key, body=incoming(form))) + "\n")
    for command in (["status"], ["timings"], ["stuck"]):
        for style in FORMATS:
            run([*command, "--recording", str(recording), "-f", style])
    run(["validate", str(body)])
    run(["validate", str(body), "--json"])
    shown = capsys.readouterr()

    assert INSTANCE_OF_THE_SAMPLE in shown.out
    assert [] == hits(shown.out, shown.err)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "127.0.0.1:1@", "h:port", "127.0.0.1:1/?no_verify_ssl=1"])
def test_no_command_shows_its_url(
    host: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"amqp://nova:{CANARY}@{host}"
    patient = () if host == "127.0.0.1:1" else (["watch"], ["wait", "--instance", "x"])  # they wait for a broker to come
    quick = (["emit", "error", "--timeout", "0.1", "--fault", f"password={CANARY}"], ["dlq", "list", "p"], ["doctor"])
    codes = [run([*command, "--url", url]) for command in (*patient, *quick)]
    monkeypatch.setenv("AIOSWAP_URL", url)
    codes.append(run(["dlq", "list", "p"]))
    shown = capsys.readouterr()

    assert not {0} & set(codes)
    assert [] == hits(shown.out, shown.err, caplog.text)


def test_unreadable_bytes_are_not_in_the_error() -> None:
    with pytest.raises(DecodeError) as caught:
        decode(f"password={CANARY}".encode())

    assert [] == hits(str(caught.value), caught.value)
