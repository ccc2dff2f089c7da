"""What the factories make is what Nova would send, of every version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from aioswap import InstanceActionVolumeSwapPayload, RequestContext, SwapRequest, decode, encode
from aioswap.testing import Factory, ManualClock
from aioswap.wire.payloads import ExceptionPayload
from aioswap.wire.schemas import payload_schema
from tests.capture import captures

VERSIONS = InstanceActionVolumeSwapPayload.known_versions
PHASES = ("start", "end", "error")

each_version = pytest.mark.parametrize("version", VERSIONS)
each_phase = pytest.mark.parametrize("phase", PHASES)


@each_version
@each_phase
def test_a_body_is_valid_in_every_version(version: str, phase: str, aioswap_factory: Factory) -> None:
    notification = decode(aioswap_factory.body(phase, version))
    payload: InstanceActionVolumeSwapPayload = notification.payload
    schema = payload_schema(InstanceActionVolumeSwapPayload, version)

    assert [] == list(Draft202012Validator(schema).iter_errors(payload.to_wire()))
    assert (version, f"instance.volume_swap.{phase}") == (payload.object_version, notification.event_type)
    assert (phase == "error") == (payload.fault is not None)
    assert ("ERROR" if phase == "error" else "INFO") == notification.priority


def keys(value: Any) -> Any:
    """Return the fields of a versioned object and of those inside."""
    if not (isinstance(value, dict) and "nova_object.data" in value):
        return None
    return [*value, *((name, keys(field)) for name, field in value["nova_object.data"].items())]


@each_phase
def test_a_notification_has_what_a_captured_one_has(phase: str, aioswap_factory: Factory) -> None:
    captured = next(each for each in captures(f"instance.volume_swap.{phase}") if each.name.startswith("nova34-v2-default"))
    made = aioswap_factory.notification(phase).to_wire()

    assert list(captured.message) == list(made)
    assert keys(captured.message["payload"]) == keys(made["payload"])


def test_ids_count_up_and_are_whole_uuids(aioswap_factory: Factory) -> None:
    assert ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"] == [
        aioswap_factory.id(),
        aioswap_factory.id(),
    ]


def test_an_instance_is_what_a_service_has(aioswap_factory: Factory) -> None:
    instance = aioswap_factory.instance(project_id="mine", vm_state="paused", colour="red")
    payload = aioswap_factory.payload(**{name: value for name, value in instance.items() if name in ("uuid", "display_name")})

    assert ("red", "00000000-0000-4000-8000-000000000001", "server-1") == (
        instance["colour"],
        instance["uuid"],
        instance["display_name"],
    )
    assert ("server-1", instance["uuid"]) == (payload.display_name, payload.uuid)
    assert instance is SwapRequest(instance, "old", "new").instance


def test_what_is_given_stands_in_the_payload(aioswap_factory: Factory) -> None:
    who = RequestContext(user_id="u", project_id="p", request_id="req-1")
    payload = aioswap_factory.payload(
        context=who,
        fault=KeyError("flavor"),
        old_volume_id="a",
        new_volume_id="b",
        tenant_id="t",
        action_initiator_user="boss",
        flavor={"vcpus": 64},
    )

    assert ("a", "b", "t", "req-1", "boss", "p", 64) == (
        payload.old_volume_id,
        payload.new_volume_id,
        payload.tenant_id,
        payload.request_id,
        payload.action_initiator_user,
        payload.action_initiator_project,
        payload.flavor.vcpus,
    )
    assert payload.fault is not None
    assert ("KeyError", "'flavor'") == (payload.fault.exception, payload.fault.exception_message)


def test_a_notification_is_made_when_the_clock_says() -> None:
    clock = ManualClock(datetime(2030, 5, 1, tzinfo=UTC))
    factory = Factory(clock=clock)
    told = factory.notification("start", host="compute-7", context={"request_id": "req-2"}, message_id="id-1")

    assert ("nova-compute:compute-7", "compute-7", "req-2", "id-1", clock.utcnow()) == (
        told.publisher_id,
        told.payload.host,
        told.context["request_id"],
        told.message_id,
        told.timestamp,
    )
    assert told == decode(encode(told))
    assert datetime(2031, 1, 1, tzinfo=UTC) == factory.notification(timestamp=datetime(2031, 1, 1, tzinfo=UTC)).timestamp


def test_a_fault_is_of_either_version(aioswap_factory: Factory) -> None:
    old, new = aioswap_factory.fault(version="1.0"), aioswap_factory.fault(ValueError("no"), function_name="swap")

    assert ("1.0", {"traceback"}) == (old.object_version, ExceptionPayload.model_fields.keys() - old.model_fields_set)
    assert ("1.1", "ValueError", "no", "swap") == (
        new.object_version,
        new.exception,
        new.exception_message,
        new.function_name,
    )


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda factory: factory.payload(colour="red"), TypeError, "InstanceActionVolumeSwapPayload has no field 'colour'"),
        (
            lambda factory: factory.payload("1.0", locked_reason="why"),
            ValueError,
            "version 1.0 of .* not have 'locked_reason' yet",
        ),
        (lambda factory: factory.payload("1.10"), ValueError, "has the versions 1.0 to 1.9"),
        (lambda factory: factory.payload(progress=[]), TypeError, "instance.progress"),
        (lambda factory: factory.notification("begin"), ValueError, "phase 'begin': give one of start, end, error"),
        (lambda factory: factory.fault(colour="red"), TypeError, "ExceptionPayload has no field 'colour'"),
        (lambda factory: factory.fault(exception=1), ValueError, "exception"),
        (lambda factory: factory.fault(version="1.0", traceback="t"), ValueError, "does not have 'traceback' yet"),
        (lambda factory: factory.context(colour="red"), TypeError, "colour"),
    ],
)
def test_a_slip_is_an_error_that_names_it(make: Any, error: type[Exception], text: str, aioswap_factory: Factory) -> None:
    with pytest.raises(error, match=text):
        make(aioswap_factory)
