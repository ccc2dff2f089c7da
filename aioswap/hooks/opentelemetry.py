"""OpenTelemetry: a hook that makes spans, and carries their context in AMQP headers; a body stays as Nova would write it.

One swap, from the decorated coroutine to the handlers that hear of it, is one trace:

    swap (INTERNAL)
        create versioned_notifications.info (PRODUCER)       its context travels with the message
            send versioned_notifications.info (CLIENT)
            process versioned_notifications.info:aioswap.billing (CONSUMER)

"Process" spans have the message's creation context as their parent and as a link, "send" spans too: each is about a single
message, and neither runs within the work of anybody else. Only `opentelemetry-api` is needed; without an SDK nothing is made.
Source: semantic conventions for messaging and RabbitMQ spans (status: development), as of schema 1.44.0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import Token
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from aioswap.hooks import Operation, OperationKind
from aioswap.transports.topology import pool_queue

__all__ = ["OpenTelemetryHook"]

# What the conventions call things: the only place to change when they become stable.
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"
_SYSTEM: Final = "messaging.system"
_OPERATION_NAME: Final = "messaging.operation.name"
_OPERATION_TYPE: Final = "messaging.operation.type"
_DESTINATION: Final = "messaging.destination.name"
_ROUTING_KEY: Final = "messaging.rabbitmq.destination.routing_key"
_MESSAGE_ID: Final = "messaging.message.id"
_BODY_SIZE: Final = "messaging.message.body.size"
_ERROR_TYPE: Final = "error.type"
_OPERATIONS: Final = {
    OperationKind.EMIT: ("create", SpanKind.PRODUCER),
    OperationKind.PUBLISH: ("send", SpanKind.CLIENT),
    OperationKind.HANDLE: ("process", SpanKind.CONSUMER),
}

# What they have no name for.
_EVENT_TYPE: Final = "aioswap.event_type"
_HANDLER: Final = "aioswap.handler"
_ATTEMPT: Final = "aioswap.attempt"
_OUTCOME: Final = "aioswap.outcome"

_FAILURES: Final = frozenset(("failed", "untold", "returned", "nacked", "unconfirmed", "reject", ""))
_PROPAGATOR: Final = TraceContextTextMapPropagator()
"""W3C trace context. Never baggage: the bus belongs to Nova, and others read it."""
_TRACEPARENT: Final = "traceparent"
_CARRIED: Final = (_TRACEPARENT, "tracestate")


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """A span that is open, and where it is the current one."""

    span: Span
    token: Token[Context] | None
    task: asyncio.Task[Any] | None


class OpenTelemetryHook:
    """Makes spans of swaps, and of notifications that are emitted, published and handled.

    Within a swap and within a handler its span is the current one. A message whose headers have a `traceparent` already, by
    another hook, keeps it, and gets no "create" span. Of an error its type is told, not its text: it may hold a secret.

    Args:
        tracer_provider: makes the tracer; None: the global one, when this is constructed.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("aioswap", tracer_provider=tracer_provider, schema_url=_SCHEMA)

    def started(self, operation: Operation, /) -> None:
        """Begin a span; for an emit, write its context into the headers."""
        match operation.kind:
            case OperationKind.SWAP:
                span = self._tracer.start_span("swap")
                self._open(operation, span, trace.set_span_in_context(span))
            case OperationKind.EMIT if _TRACEPARENT not in operation.headers:
                span = self._begin(operation, None)
                self._open(operation, span)
                _PROPAGATOR.inject(operation.headers, trace.set_span_in_context(span))
            case OperationKind.PUBLISH:
                self._open(operation, self._begin(operation, _creation(operation.headers)))
            case OperationKind.HANDLE:
                creation = _creation(operation.headers)
                span = self._begin(operation, creation)
                self._open(operation, span, trace.set_span_in_context(span, creation))
            case _:
                pass

    def finished(self, operation: Operation, /) -> None:
        """End the span, with the outcome."""
        opened: _Opened | None = operation.notes.pop(self, None)
        if opened is None:
            return
        span = opened.span
        span.set_attribute(_OUTCOME, operation.outcome or "cut_off")
        span.set_attributes({f"aioswap.{name}": value for name, value in operation.ids.items()})
        if operation.error is not None or operation.outcome in _FAILURES:
            span.set_attribute(_ERROR_TYPE, _kind_of(operation))
            span.set_status(Status(StatusCode.ERROR))
        if opened.token is not None and opened.task is _task():
            detach(opened.token)  # another task has another context: there is nothing to undo
        span.end()

    def _open(self, operation: Operation, span: Span, current: Context | None = None) -> None:
        token = None if current is None else attach(current)
        operation.notes[self] = _Opened(span, token, _task())

    def _begin(self, operation: Operation, creation: Context | None) -> Span:
        """Begin the span of a message.

        Args:
            operation: about one message.
            creation: who made the message, empty if that is not known; None: the current span makes it.
        """
        name, kind = _OPERATIONS[operation.kind]
        destination = operation.routing_key or ""
        if operation.pool is not None:
            destination += f":{pool_queue(operation.pool)}"
        known = {
            _SYSTEM: "rabbitmq",
            _OPERATION_NAME: name,
            _OPERATION_TYPE: name,
            _DESTINATION: destination,
            _ROUTING_KEY: operation.routing_key,
            _MESSAGE_ID: operation.message_id,
            _BODY_SIZE: operation.size or None,
            _EVENT_TYPE: operation.event_type,
            _HANDLER: operation.handler,
            _ATTEMPT: operation.attempt if operation.kind is OperationKind.HANDLE else None,
        }
        maker = trace.get_current_span(creation).get_span_context()
        return self._tracer.start_span(
            f"{name} {destination}",
            context=creation,
            kind=kind,
            attributes={name: value for name, value in known.items() if value is not None},
            links=[Link(maker)] if creation is not None and maker.is_valid else None,
        )


def _creation(headers: Mapping[str, Any]) -> Context:
    """Return the context that `headers` tell; empty where they tell none that can be read: anybody may send headers."""
    carried = {name: headers[name] for name in _CARRIED if isinstance(headers.get(name), str)}
    return _PROPAGATOR.extract(carried, Context())


def _kind_of(operation: Operation) -> str:
    """Return the full name of what was raised, else the outcome."""
    if operation.error is None:
        return operation.outcome or "cut_off"
    kind = type(operation.error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _task() -> asyncio.Task[Any] | None:
    """Return the running task; None: none, as when a coroutine is thrown away."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
