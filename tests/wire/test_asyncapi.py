"""The AsyncAPI document: what real novas sent is what it describes. `tests/interop` gives it to the public parser."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from aioswap import InstanceActionVolumeSwapPayload
from aioswap.wire.asyncapi import asyncapi
from aioswap.wire.envelope import decode
from aioswap.wire.events import volume_swap
from tests.capture import Capture, capture, captures

_VERSIONS = InstanceActionVolumeSwapPayload.known_versions


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from [item] if key == "$ref" else _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _at(document: Any, reference: str) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document


def _faults(document: dict[str, Any], reference: str, value: Any) -> list[str]:
    """Return where `value` is not as the schema at `reference` says."""
    validator = Draft202012Validator({**document, "$ref": reference})
    return [".".join(map(str, error.absolute_path)) for error in validator.iter_errors(value)]


def _phase(found: Capture) -> str:
    return found.event_type.rpartition(".")[2]


@pytest.mark.parametrize("found", captures("instance.volume_swap"), ids=lambda found: found.name)
def test_what_a_real_nova_sent_is_what_it_describes(found: Capture) -> None:
    document = asyncapi(found.message["payload"]["nova_object.version"])
    message = document["components"]["messages"][_phase(found)]
    (channel,) = (each for each in document["channels"].values() if _phase(found) in each["messages"])

    assert [] == _faults(document, f"#/components/schemas/{_phase(found)}_notification", found.message)
    assert (found.event_type, found.routing_key) == (message["name"], channel["address"])
    assert (found.exchange, "topic") == tuple(channel["bindings"]["amqp"]["exchange"][name] for name in ("name", "type"))
    assert (found.properties["content_type"], found.properties["content_encoding"]) == (
        message["contentType"],
        message["bindings"]["amqp"]["contentEncoding"],
    )
    if found.enveloped:
        assert [] == _faults(document, f"#/components/messages/{_phase(found)}/payload", json.loads(found.body))


@pytest.mark.parametrize(
    ("key", "value"),
    [("event_type", "instance.volume_swap.end"), ("priority", "INFO"), ("message_id", None), ("_unique_id", 7)],
)
def test_another_message_is_not(key: str, value: object) -> None:
    message = copy.deepcopy(capture("nova34-v2-full__instance.volume_swap.error").message)
    message[key] = value

    assert [key] == _faults(asyncapi(), "#/components/schemas/error_notification", message)


@pytest.mark.parametrize("version", _VERSIONS)
def test_every_reference_leads_somewhere(version: str) -> None:
    document = asyncapi(version)
    references = set(_references(document))

    assert 10 < len(references)
    assert [] == [reference for reference in references if not _at(document, reference)]
    assert version == document["info"]["version"]


@pytest.mark.parametrize("version", _VERSIONS)
def test_its_examples_are_notifications_of_that_version(version: str) -> None:
    document = asyncapi(version)
    for event_type in (volume_swap.start, volume_swap.end, volume_swap.error):
        (example,) = document["components"]["messages"][event_type.phase]["examples"]
        notification = decode(json.dumps(example["payload"]))
        inner = json.loads(example["payload"]["oslo.message"])

        assert (event_type.name, event_type.priority) == (notification.event_type, notification.priority)
        assert (version, event_type is volume_swap.error) == (
            inner["payload"]["nova_object.version"],
            notification.payload.fault is not None,
        )
        assert [] == _faults(document, f"#/components/schemas/{event_type.phase}_notification", inner)


def test_each_message_is_sent_and_received() -> None:
    document = asyncapi()
    heard: dict[str, set[str]] = {}
    for operation in document["operations"].values():
        channel = _at(document, operation["channel"]["$ref"])
        for message in operation["messages"]:
            name = _at(document, _at(document, message["$ref"])["$ref"])["name"]
            heard.setdefault(f"{operation['action']} {channel['address']}", set()).add(name)

    info, error = {"instance.volume_swap.start", "instance.volume_swap.end"}, {"instance.volume_swap.error"}
    assert {
        "send versioned_notifications.info": info,
        "receive versioned_notifications.info": info,
        "send versioned_notifications.error": error,
        "receive versioned_notifications.error": error,
    } == heard


def test_names_of_the_deployment_are_taken() -> None:
    document = asyncapi(exchange="nova2", topic="notices", durable=True)

    assert ["notices.info", "notices.error"] == [each["address"] for each in document["channels"].values()]
    assert {("nova2", True)} == {
        (each["bindings"]["amqp"]["exchange"]["name"], each["bindings"]["amqp"]["exchange"]["durable"])
        for each in document["channels"].values()
    }


def test_it_is_the_same_each_time() -> None:
    assert json.dumps(asyncapi()) == json.dumps(asyncapi())


def test_a_version_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"version='2\.0': give one of 1\.0, "):
        asyncapi("2.0")
