from __future__ import annotations

from aioswap.wire.field_docs import field_docs
from aioswap.wire.objects import VersionedObject
from aioswap.wire.payloads import InstanceActionPayload, InstancePayload


def test_the_docstrings_of_fields_are_found() -> None:
    docs = field_docs(InstancePayload)

    assert "4 or 6." not in docs.values()
    assert "Nova's vm_state. Seen: active, building" in docs["state"]
    assert "shelved, shelved_offloaded." in docs["state"]
    assert "node" not in docs


def test_those_of_parents_are_among_them() -> None:
    docs = field_docs(InstanceActionPayload)

    assert field_docs(InstancePayload).items() <= docs.items()
    assert "Why the action failed; null but in `.error`." == docs["fault"]


def test_without_the_source_there_are_none() -> None:
    made: type[VersionedObject] = type("Made", (VersionedObject,), {"__module__": "nowhere"})

    assert {} == field_docs(made)
