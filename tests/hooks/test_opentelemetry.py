"""One swap is one trace, and nothing of it is in a body."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from aioswap.consumer import Consumer
from aioswap.dead_letters import DeadLetters
from aioswap.emitter import Emitter
from aioswap.emitting.request import SwapRequest
from aioswap.hooks import Operation, OperationKind
from aioswap.hooks.opentelemetry import OpenTelemetryHook
from aioswap.outbox_file import FileOutbox
from aioswap.outcomes import Reject, Retry
from aioswap.transports.base import Message
from aioswap.transports.memory import MemoryTransport
from aioswap.transports.rabbit import RabbitTransport
from aioswap.wire.events import volume_swap
from aioswap.wire.notification import Notification
from tests.consumer_kit import DEADLINE, END, START, Bus, OddTransport, Script, notification_body, until
from tests.transports.driver import until as eventually

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, MAKER = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
REQUEST = SwapRequest({"uuid": "server-1"}, "old", "new")


class Spans:
    """The spans that a hook has made."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.hook = OpenTelemetryHook(self.provider)

    def all(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def of(self, word: str, event_type: str | None = None) -> list[ReadableSpan]:
        """Return those whose name begins with this word, in the order in which they ended."""
        return [
            span
            for span in self.all()
            if span.name.split()[0] == word and event_type in (None, attributes(span).get("aioswap.event_type"))
        ]

    def one(self, word: str, event_type: str | None = None) -> ReadableSpan:
        (span,) = self.of(word, event_type)
        return span


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def number(span: ReadableSpan) -> int:
    return int(span.context.span_id)


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def bus() -> Bus:
    return Bus()


async def test_one_swap_from_the_decorated_coroutine_to_the_handlers_is_one_trace(bus: Bus, spans: Spans) -> None:
    emitter = Emitter(bus.transport, host="c1", hooks=[spans.hook], clock=bus.clock)
    consumer = Consumer(bus.transport, "billing", hooks=[spans.hook], clock=bus.clock)
    tracer = spans.provider.get_tracer("service")

    @consumer.on(volume_swap.any, name="audit")
    async def audit(notification: Notification[Any]) -> None:
        with tracer.start_as_current_span("handlers-own"):
            pass

    @emitter.swap
    async def swap_volume(instance: Any, old_volume_id: str, new_volume_id: str) -> None:
        with tracer.start_as_current_span("bodys-own"):
            pass

    async with bus.opened(), consumer.running(), emitter:
        with tracer.start_as_current_span("request"):
            await swap_volume({"uuid": "server-1"}, "old", "new")
        await until(lambda: consumer.health().handled == 2)

    request, swap = spans.one("request"), spans.one("swap")
    start, end = spans.one("create", START), spans.one("create", END)
    assert 1 == len({span.context.trace_id for span in spans.all()})
    assert 11 == len(spans.all())
    assert number(request) == parent(swap)
    assert {number(swap)} == {parent(span) for span in (start, end, spans.one("bodys-own"))}
    assert [number(start), number(end)] == [parent(span) for span in spans.of("send")]
    assert [number(start), number(end)] == [parent(spans.one("process", event)) for event in (START, END)]
    assert [number(span) for span in spans.of("process")] == [parent(span) for span in spans.of("handlers-own")]
    assert [[number(start)], [number(end)]] == [[link.context.span_id for link in span.links] for span in spans.of("process")]
    assert [[number(start)], [number(end)]] == [[link.context.span_id for link in span.links] for span in spans.of("send")]


async def test_spans_are_named_and_described_as_the_conventions_say(bus: Bus, spans: Spans) -> None:
    emitter = Emitter(bus.transport, host="c1", hooks=[spans.hook], clock=bus.clock)
    consumer = Consumer(bus.transport, "billing", hooks=[spans.hook], clock=bus.clock)
    consumer.on(volume_swap.end, name="page")(Script().handle)
    async with bus.opened(), consumer.running(), emitter:
        async with emitter.swapping(REQUEST):
            pass
        await until(lambda: consumer.health().handled)

    key, queue = "versioned_notifications.info", "aioswap.billing"
    create, process, send, swap = (
        spans.one("create", END),
        spans.one("process"),
        spans.of("send")[1],
        spans.one("swap"),
    )
    assert [
        ("swap", SpanKind.INTERNAL),
        (f"create {key}", SpanKind.PRODUCER),
        (f"send {key}", SpanKind.CLIENT),
        (f"process {key}:{queue}", SpanKind.CONSUMER),
    ] == [(span.name, span.kind) for span in (swap, create, send, process)]
    told = attributes(process)
    assert {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": f"{key}:{queue}",
        "messaging.rabbitmq.destination.routing_key": key,
        "messaging.message.id": attributes(create)["messaging.message.id"],
        "messaging.message.body.size": told["messaging.message.body.size"],
        "aioswap.event_type": END,
        "aioswap.handler": "page",
        "aioswap.attempt": 0,
        "aioswap.outcome": "ack",
    } == told
    assert 1000 < told["messaging.message.body.size"] == attributes(send)["messaging.message.body.size"]
    assert ("accepted", "confirmed") == tuple(attributes(span)["aioswap.outcome"] for span in (create, send))
    assert {
        "aioswap.outcome": "succeeded",
        "aioswap.instance": "server-1",
        "aioswap.old_volume_id": "old",
        "aioswap.new_volume_id": "new",
    } == attributes(swap)
    assert {StatusCode.UNSET} == {span.status.status_code for span in spans.all()}
    assert {("aioswap", "https://opentelemetry.io/schemas/1.44.0")} == {
        (span.instrumentation_scope.name, span.instrumentation_scope.schema_url)
        for span in spans.all()
        if span.instrumentation_scope is not None
    }


class _Heard(OddTransport):
    """Remembers what is sent, by the connection's order."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.sent: list[Message] = []

    def sending(self, message: Message) -> None:
        self.sent.append(message)


async def test_the_context_is_in_the_headers_and_never_in_the_body(spans: Spans) -> None:
    bus = Bus(_Heard)
    assert isinstance(bus.transport, _Heard)
    consumer = Consumer(bus.transport, "billing", clock=bus.clock)
    consumer.on("#")(Script().handle)
    messages = []
    async with bus.opened(), consumer.running():
        token = context.attach(baggage.set_baggage("secret", "sesame"))
        for hooks in ([], [spans.hook]):
            emitter = Emitter(bus.transport, host="c1", hooks=hooks, clock=bus.clock)
            async with emitter, emitter.swapping(REQUEST):
                pass
            messages.append(bus.transport.sent[-2:])
        context.detach(token)

    assert [{}, {}] == [message.headers for message in messages[0]]
    assert [["traceparent"], ["traceparent"]] == [list(message.headers) for message in messages[1]]
    assert [f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}" for span in spans.of("create")] == [
        message.headers["traceparent"][:-3] for message in messages[1]
    ]
    fields = [sorted(json.loads(json.loads(message.body)["oslo.message"])) for each in messages for message in each]
    assert fields[0] == fields[1] == fields[2] == fields[3]
    assert [] == [message for each in messages for message in each if b"trace" in message.body.lower()]


async def test_a_failed_swap_and_a_rejecting_handler_are_errors_without_their_texts(bus: Bus, spans: Spans) -> None:
    emitter = Emitter(bus.transport, host="c1", hooks=[spans.hook], clock=bus.clock)
    consumer = Consumer(bus.transport, "billing", hooks=[spans.hook], clock=bus.clock)
    consumer.on(volume_swap.start, name="slow")(Script(Retry(reason="sesame")).handle)
    consumer.on(volume_swap.error, name="never")(Script(Reject("sesame")).handle)
    consumer.on(volume_swap.error, name="broken")(Script(json.JSONDecodeError("sesame", "sesame", 0)).handle)
    async with bus.opened(), consumer.running(), emitter:
        with pytest.raises(OSError, match="sesame"):
            async with emitter.swapping(REQUEST):
                raise OSError("sesame")
        await until(lambda: consumer.health().retried == 2)

    def ended(span: ReadableSpan) -> tuple[StatusCode, str | None, str | None]:
        told = attributes(span)
        return span.status.status_code, told.get("error.type"), told["aioswap.outcome"]

    handled = {attributes(span)["aioswap.handler"]: ended(span) for span in spans.of("process")}
    assert (StatusCode.ERROR, "OSError", "failed") == ended(spans.one("swap"))
    assert {
        "slow": (StatusCode.UNSET, None, "retry"),
        "never": (StatusCode.ERROR, "reject", "reject"),
        "broken": (StatusCode.ERROR, "json.decoder.JSONDecodeError", "retry"),
    } == handled
    assert "sesame" not in "".join(span.to_json() for span in spans.all())


async def test_retries_dead_letters_and_replays_stay_in_the_trace(bus: Bus, spans: Spans) -> None:
    consumer = Consumer(bus.transport, "billing", hooks=[spans.hook], clock=bus.clock)
    consumer.on(volume_swap.end, name="page")(Script(Retry(), Reject("no")).handle)
    async with bus.opened(), consumer.running():
        await bus.publish(notification_body(), headers={"traceparent": TRACEPARENT, "tracestate": "vendor=1"})
        await until(lambda: consumer.health().retried)
        await bus.clock.advance(1)
        await until(lambda: consumer.health().dead_letters)
        await DeadLetters(bus.transport, "billing", clock=bus.clock).replay()
        await until(lambda: consumer.health().handled)

    handled = spans.of("process")
    assert [(0, "retry"), (1, "reject"), (0, "ack")] == [
        (attributes(span)["aioswap.attempt"], attributes(span)["aioswap.outcome"]) for span in handled
    ]
    assert {(TRACE, MAKER, "1")} == {
        (span.context.trace_id, parent(span), span.context.trace_state.get("vendor")) for span in handled
    }
    assert {"versioned_notifications.info:aioswap.billing"} == {
        attributes(span)["messaging.destination.name"] for span in handled
    }


async def test_the_context_survives_the_end_of_a_process_in_an_outbox_of_files(bus: Bus, spans: Spans, tmp_path: Path) -> None:
    consumer = Consumer(bus.transport, "billing", clock=bus.clock)
    script = Script()
    consumer.on(volume_swap.any)(script.handle)
    async with bus.opened(), consumer.running():
        bus.transport.lose()
        first = Emitter(bus.transport, host="c1", outbox=FileOutbox(tmp_path), hooks=[spans.hook], clock=bus.clock)
        await first.__aenter__()
        async with first.swapping(REQUEST):
            pass
        leaving = asyncio.create_task(first.__aexit__(None, None, None))
        await bus.clock.advance(10)
        await leaving
        bus.transport.restore()
        later = Spans()
        async with Emitter(bus.transport, host="c1", outbox=FileOutbox(tmp_path), hooks=[later.hook], clock=bus.clock):
            await eventually(lambda: consumer.health().handled == 2)

    assert [number(span) for span in spans.of("create")] == [parent(span) for span in later.of("send")]


@pytest.mark.parametrize(
    "headers",
    [{}, {"traceparent": "00-1"}, {"traceparent": 7}, {"traceparent": ["x"], "tracestate": b"\xff"}, {"tracestate": "a=1"}],
    ids=repr,
)
async def test_without_a_readable_context_a_handler_begins_a_trace(bus: Bus, spans: Spans, headers: dict[str, Any]) -> None:
    consumer = Consumer(bus.transport, hooks=[spans.hook], clock=bus.clock)
    consumer.on(volume_swap.end)(Script().handle)
    tracer = spans.provider.get_tracer("service")
    async with bus.opened():
        with tracer.start_as_current_span("request"):  # whoever starts a consumer is not who made the message
            running = consumer.running()
            await running.__aenter__()
        await bus.publish(notification_body(), headers=headers)
        await until(lambda: consumer.health().handled)
        await running.__aexit__(None, None, None)

    process = spans.one("process")
    assert "process versioned_notifications.info" == process.name
    assert (None, ()) == (process.parent, tuple(process.links))


async def test_a_context_that_is_there_already_is_kept(bus: Bus, spans: Spans) -> None:
    class Earlier:
        def started(self, operation: Operation, /) -> None:
            if operation.kind is OperationKind.EMIT:
                operation.headers["traceparent"] = TRACEPARENT

        def finished(self, operation: Operation, /) -> None: ...

    emitter = Emitter(bus.transport, host="c1", hooks=[Earlier(), spans.hook], clock=bus.clock)
    consumer = Consumer(bus.transport, "billing", hooks=[spans.hook], clock=bus.clock)
    consumer.on(volume_swap.end)(Script().handle)
    async with bus.opened(), consumer.running(), emitter:
        async with emitter.swapping(REQUEST):
            pass
        await until(lambda: consumer.health().handled)

    assert [] == spans.of("create")
    assert {(TRACE, MAKER)} == {(span.context.trace_id, parent(span)) for span in (*spans.of("send"), *spans.of("process"))}


async def test_messages_that_the_broker_refuses_are_errors(bus: Bus, spans: Spans) -> None:
    emitter = Emitter(bus.transport, host="c1", hooks=[spans.hook], clock=bus.clock)
    async with bus.opened(), emitter:
        async with emitter.swapping(REQUEST):
            pass
        await until(lambda: spans.of("send"))
        await bus.clock.advance(100)

    assert (StatusCode.ERROR, "returned") == (
        spans.of("send")[0].status.status_code,
        attributes(spans.of("send")[0])["error.type"],
    )


async def test_what_is_cut_off_is_an_error_and_leaves_no_span_current(bus: Bus, spans: Spans) -> None:
    consumer = Consumer(bus.transport, "billing", hooks=[spans.hook], clock=bus.clock)
    script = Script()
    script.gate.clear()
    consumer.on(volume_swap.end)(script.handle)
    async with bus.opened():
        running = consumer.running()
        await running.__aenter__()
        await bus.publish(notification_body())
        await until(lambda: script.heard)
        leaving = asyncio.create_task(running.__aexit__(None, None, None))
        await bus.clock.advance(10)
        await leaving

    assert ("cut_off", "asyncio.exceptions.CancelledError") == tuple(
        attributes(spans.one("process"))[name] for name in ("aioswap.outcome", "error.type")
    )
    assert not trace.get_current_span().get_span_context().is_valid


async def test_a_swap_that_another_task_leaves_ends_its_span(bus: Bus, spans: Spans, caplog: pytest.LogCaptureFixture) -> None:
    emitter = Emitter(bus.transport, host="c1", hooks=[spans.hook], clock=bus.clock)
    async with bus.opened(), emitter:
        swapping = emitter.swapping(REQUEST)
        await asyncio.create_task(_enter(swapping))
        await swapping.__aexit__(None, None, None)
        await bus.clock.advance(100)

    assert "succeeded" == attributes(spans.one("swap"))["aioswap.outcome"]
    assert "detach" not in caplog.text


async def _enter(swapping: Any) -> None:
    await swapping.__aenter__()


def test_a_coroutine_that_is_thrown_away_ends_its_span(spans: Spans, caplog: pytest.LogCaptureFixture) -> None:
    kept: list[Any] = []
    transport = MemoryTransport()

    async def main() -> None:
        async with transport, Emitter(transport, host="c1", hooks=[spans.hook]) as emitter:

            @emitter.swap
            async def swap_volume(instance: Any, old_volume_id: str, new_volume_id: str) -> None:
                await asyncio.get_running_loop().create_future()

            coroutine = swap_volume({"uuid": "1"}, "old", "new")
            kept.append(coroutine)
            coroutine.send(None)

    with caplog.at_level(logging.CRITICAL, "aioswap"):
        loop = asyncio.new_event_loop()
        running = loop.create_task(main())
        with suppress(BaseException):
            loop.run_until_complete(asyncio.wait_for(running, 0))
        loop.close()
    for coroutine in kept:
        coroutine.close()
    gc.collect()

    assert ["failed"] == [attributes(span)["aioswap.outcome"] for span in spans.of("swap")]


def test_without_an_sdk_nothing_is_made_and_nothing_is_sent() -> None:
    hook = OpenTelemetryHook()
    operation = Operation(kind=OperationKind.EMIT, event_type=END, message_id="1", routing_key="t.info")
    hook.started(operation)
    operation.outcome = "accepted"
    hook.finished(operation)

    assert ({}, {}) == (operation.headers, operation.notes)


def test_operations_without_a_span_are_left_alone(spans: Spans) -> None:
    for kind in (OperationKind.RECEIVE, OperationKind.SETTLE, OperationKind.TRACK):
        operation = Operation(kind=kind)
        spans.hook.started(operation)
        spans.hook.finished(operation)

    assert () == spans.all()


@pytest.mark.broker
@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
async def test_on_rabbitmq_one_swap_is_one_trace(amqp_url: str, spans: Spans, fast: bool) -> None:
    name = f"test-{uuid4().hex[:12]}"
    transport = RabbitTransport(amqp_url, exchange=name, exchange_durable=True, fast=fast)
    consumer = Consumer(transport, name, hooks=[spans.hook])
    emitter = Emitter(transport, host="c1", hooks=[spans.hook])
    consumer.on(volume_swap.end, name="late")(Script(Retry(after=1)).handle)
    consumer.on(volume_swap.start, name="early")(Script().handle)

    @emitter.swap
    async def swap_volume(instance: Any, old_volume_id: str, new_volume_id: str) -> None: ...

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(DEADLINE))
        await stack.enter_async_context(transport)
        await stack.enter_async_context(consumer.running())
        await stack.enter_async_context(emitter)
        await swap_volume({"uuid": "server-1"}, "old", "new")
        await eventually(lambda: consumer.health().handled == 2)

    assert 1 == len({span.context.trace_id for span in spans.all()})
    assert ["early", "late", "late"] == [attributes(span)["aioswap.handler"] for span in spans.of("process")]
    assert [number(spans.one("create", event)) for event in (START, END, END)] == [parent(span) for span in spans.of("process")]
    assert 2 == len(spans.of("send"))
    assert None is spans.one("swap").parent
