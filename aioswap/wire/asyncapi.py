"""An AsyncAPI 3.0.0 document of the notifications of swaps, made of the models and event types.

It describes what `Emitter` writes and what Nova writes: envelope 2.0, whose inner message is JSON in a text. Sources: AsyncAPI
3.0.0; its AMQP bindings 0.3.0; JSON Schema draft 2020-12 for `contentSchema`, which draft 7 lacks: tools that know draft 7
alone see a text.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from aioswap.wire.envelope import encode
from aioswap.wire.events import EventType, volume_swap
from aioswap.wire.faults import fault_payload
from aioswap.wire.instances import swap_payload
from aioswap.wire.notification import UNIQUE_ID, Notification
from aioswap.wire.payloads import InstanceActionVolumeSwapPayload
from aioswap.wire.schemas import payload_definitions
from aioswap.wire.writing import CONTEXT_PREFIX

__all__ = ["asyncapi"]

_SCHEMAS: Final = "#/components/schemas/"
_TEXT: Final = {"type": "string"}
_BINDING: Final = {"bindingVersion": "0.3.0"}
_EVENTS: Final = (volume_swap.start, volume_swap.end, volume_swap.error)
_SUMMARIES: Final = {
    "start": "A swap begins.",
    "end": "A swap has succeeded.",
    "error": "A swap has failed, or was cancelled; `fault` says why.",
}
_WHEN: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)


def asyncapi(
    version: str = "1.9", *, exchange: str = "nova", topic: str = "versioned_notifications", durable: bool = False
) -> dict[str, Any]:
    """Return the document, as plain JSON values.

    Args:
        version: of the payload, 1.0 to 1.9; the objects inside follow it.
        exchange: the topic exchange's name.
        topic: what routing keys begin with.
        durable: whether the exchange is: Nova's `amqp_durable_queues`.

    Raises:
        ValueError: the version is not known.
    """
    if version not in InstanceActionVolumeSwapPayload.known_versions:
        raise ValueError(f"version={version!r}: give one of {', '.join(InstanceActionVolumeSwapPayload.known_versions)}")
    by_priority: dict[str, list[EventType[Any]]] = {}
    for event_type in _EVENTS:
        by_priority.setdefault(event_type.priority.lower(), []).append(event_type)
    broker = {"name": exchange, "type": "topic", "durable": durable, "autoDelete": False, "vhost": "/"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Volume swaps of Nova",
            "version": version,
            "description": "Versioned notifications `instance.volume_swap.*` over RabbitMQ, in the envelope of oslo.messaging "
            "2.0. The document's version is the payload's.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            priority: {
                "address": f"{topic}.{priority}",
                "description": f"A routing key of the topic exchange `{exchange}`: bind a queue of your own to it.",
                "messages": {each.phase: {"$ref": f"#/components/messages/{each.phase}"} for each in events},
                "bindings": {"amqp": {"is": "routingKey", "exchange": broker, **_BINDING}},
            }
            for priority, events in by_priority.items()
        },
        "operations": {
            name: operation
            for priority, events in by_priority.items()
            for name, operation in (
                (f"emit_{priority}", _operation("send", priority, events)),
                (f"consume_{priority}", _operation("receive", priority, events)),
            )
        },
        "components": {
            "messages": {each.phase: _message(each, version) for each in _EVENTS},
            "schemas": {
                **payload_definitions(InstanceActionVolumeSwapPayload, version, _SCHEMAS),
                **{f"{each.phase}_notification": _notification(each) for each in _EVENTS},
            },
        },
    }


def _operation(action: str, priority: str, events: list[EventType[Any]]) -> dict[str, Any]:
    send = action == "send"
    binding = {"deliveryMode": 2, "mandatory": True} if send else {"ack": True}
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{priority}"},
        "summary": "Tell of a swap, as Nova does." if send else "Hear of swaps; acknowledge after handling.",
        "messages": [{"$ref": f"#/channels/{priority}/messages/{each.phase}"} for each in events],
        "bindings": {"amqp": {**binding, **_BINDING}},
    }


def _message(event_type: EventType[InstanceActionVolumeSwapPayload], version: str) -> dict[str, Any]:
    inner = {"contentMediaType": "application/json", "contentSchema": {"$ref": f"{_SCHEMAS}{event_type.phase}_notification"}}
    return {
        "name": event_type.name,
        "title": event_type.name,
        "summary": _SUMMARIES[event_type.phase],
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "description": "W3C trace context, where somebody traces. Nova sends none.",
            "properties": {"traceparent": _TEXT, "tracestate": _TEXT},
        },
        "payload": {
            "type": "object",
            "description": "The envelope of oslo.messaging.",
            "properties": {"oslo.version": {"const": "2.0"}, "oslo.message": {"type": "string", **inner}},
            "required": ["oslo.version", "oslo.message"],
        },
        "bindings": {"amqp": {"contentEncoding": "utf-8", **_BINDING}},
        "examples": [{"name": event_type.phase, "payload": json.loads(encode(_example(event_type, version)))}],
    }


def _notification(event_type: EventType[InstanceActionVolumeSwapPayload]) -> dict[str, Any]:
    """Return the schema of an inner message."""
    fields: dict[str, Any] = {
        "message_id": {**_TEXT, "description": "The notification's identity, the same in every copy."},
        "publisher_id": {**_TEXT, "description": "Who says it: `source:host`."},
        "event_type": {"const": event_type.name},
        "priority": {"const": event_type.priority.value},
        "payload": {"$ref": _SCHEMAS + InstanceActionVolumeSwapPayload.__name__},
        "timestamp": {**_TEXT, "description": "UTC, such as 2026-01-01 12:00:00.000000."},
    }
    return {
        "type": "object",
        "properties": {**fields, UNIQUE_ID: {**_TEXT, "description": "The copy's id."}},
        "patternProperties": {f"^{CONTEXT_PREFIX}": {"description": "Of who asked: the request context."}},
        "required": list(fields),
    }


def _example(
    event_type: EventType[InstanceActionVolumeSwapPayload], version: str
) -> Notification[InstanceActionVolumeSwapPayload]:
    fault = fault_payload(OSError("no space left on device")) if event_type is volume_swap.error else None
    instance = {"uuid": "5fafd989-4043-44b4-8acc-907e847f4b70", "display_name": "server-1", "host": "compute-1"}
    old, new = "a3a6b4e6-2ac1-4ad3-9d4a-1c1e8f0f3d11", "d2b0e3a4-6f0e-4d27-8a53-3c9f7f0f3d12"
    return Notification(
        message_id="2f6dbd6c-8d5f-4f5e-9f0e-6d0a5f8f3d13",
        publisher_id="nova-compute:compute-1",
        event_type=event_type.name,
        priority=event_type.priority,
        timestamp=_WHEN,
        payload=swap_payload(instance, old, new, fault=fault, version=version),
    )
