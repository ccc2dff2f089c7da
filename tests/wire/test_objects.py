from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from aioswap.errors import DecodeError, UnsupportedVersion
from aioswap.wire.objects import VersionedObject, check_version
from aioswap.wire.payloads import FlavorPayload, SharePayload
from aioswap.wire.reading import read_generic, read_object

SHARE = {"share_mapping_uuid": "a", "share_id": "b", "status": "c", "tag": "d"}


def wrapped(
    data: Any,
    *,
    name: str = "SharePayload",
    version: str = "1.0",
    prefix: str = "nova_object",
    more: dict[str, Any] | None = None,
) -> dict[str, Any]:
    header = {f"{prefix}.name": name, f"{prefix}.namespace": "nova", f"{prefix}.version": version, f"{prefix}.data": data}
    return header | (more or {})


def test_an_object_made_here_has_novas_header() -> None:
    share = SharePayload(**SHARE)

    assert wrapped(SHARE) == share.to_wire()
    assert ("nova_object", "SharePayload", "nova", "1.0", None) == (
        share.object_prefix,
        share.object_name,
        share.object_namespace,
        share.object_version,
        share.object_changes,
    )


def test_an_object_made_here_is_written_whole_and_one_that_was_read_as_it_came() -> None:
    data = {"flavorid": "f", "memory_mb": 1, "vcpus": 1, "root_gb": 1, "ephemeral_gb": 1}

    assert 14 == len(FlavorPayload(**data).to_wire()["nova_object.data"])  # type: ignore[arg-type]
    assert wrapped(data, version="1.0") == read_object(FlavorPayload, wrapped(data)).to_wire()


def test_unknown_fields_are_attributes_and_written_back_after_the_known() -> None:
    wire = wrapped({"new": {"a": [1]}} | SHARE, version="1.7")
    share = read_object(SharePayload, wire)

    assert {"a": [1]} == share.new  # type: ignore[attr-defined]
    assert wire == share.to_wire()
    assert [*SHARE, "new"] == list(share.to_wire()["nova_object.data"])


def test_an_absent_field_beside_an_unknown_one_stays_absent() -> None:
    data = {
        "flavorid": "f",
        "memory_mb": 1,
        "vcpus": 1,
        "root_gb": 1,
        "ephemeral_gb": 1,
        "name": "n",
        "swap": 0,
        "rxtx_factor": None,
    }
    data |= {"vcpu_weight": 0, "disabled": False, "is_public": True, "extra_specs": {}, "projects": [], "later": None}

    assert wrapped(data) == read_object(FlavorPayload, wrapped(data)).to_wire()


def test_unknown_keys_of_the_wrapper_are_written_back() -> None:
    wire = wrapped(SHARE, more={"nova_object.changes": ["tag"], "nova_object.later": 1, "else": None})
    share = read_object(SharePayload, wire)

    assert wire == share.to_wire()
    assert ("tag",) == share.object_changes


def test_changes_that_are_no_list_are_kept_and_not_told() -> None:
    wire = wrapped(SHARE, more={"nova_object.changes": "tag"})
    share = read_object(SharePayload, wire)

    assert share.object_changes is None
    assert wire == share.to_wire()


def test_a_version_drops_what_is_unknown() -> None:
    wire = wrapped({"new": 1} | SHARE, version="1.7", more={"nova_object.changes": ["tag"]})

    assert wrapped(SHARE) == read_object(SharePayload, wire).at_version("1.0").to_wire()


def test_a_version_drops_an_unknown_field_alone() -> None:
    share = read_object(SharePayload, wrapped(SHARE | {"new": 1}))

    assert wrapped(SHARE) == share.at_version("1.0").to_wire()


def test_a_version_drops_changes_alone() -> None:
    share = read_object(SharePayload, wrapped(SHARE, more={"nova_object.changes": ["tag"]}))

    assert wrapped(SHARE) == share.at_version("1.0").to_wire()


def test_a_version_of_an_object_that_was_read_plainly_is_the_object() -> None:
    share = read_object(SharePayload, wrapped(SHARE))

    assert share is share.at_version("1.0")


def test_a_version_fills_in_what_is_absent() -> None:
    flavor = dict.fromkeys(("flavorid", "memory_mb", "vcpus", "root_gb", "ephemeral_gb"))
    read = read_object(FlavorPayload, wrapped(flavor, version="1.4", name="FlavorPayload"))

    told = read.at_version("1.4").to_wire()["nova_object.data"]

    assert list(FlavorPayload.model_fields) == list(told)
    assert "" == told["name"]


def test_a_version_keeps_name_and_prefix() -> None:
    wire = wrapped({"new": 1} | SHARE, name="Other", prefix="x_object")

    assert wrapped(SHARE, name="Other", prefix="x_object") == read_object(SharePayload, wire).at_version("1.0").to_wire()


@pytest.mark.parametrize("prefix", ["nova_object", "watcher_object", "ironic_object", "versioned_object", "a.b", ""])
def test_every_projects_prefix_is_found(prefix: str) -> None:
    wire = wrapped({"a": 1, "inner": wrapped({"b": [wrapped({"c": 2}, prefix=prefix)]}, prefix=prefix)}, prefix=prefix)
    read: Any = read_generic(wire)

    assert "VersionedObject" == type(read).__name__
    assert prefix == read.object_prefix
    assert 2 == read.inner.b[0].c
    assert wire == read.to_wire()


def test_an_object_inside_plain_json_is_found() -> None:
    wire = wrapped({"a": {"b": [1, [wrapped({"c": 3})]]}})
    read = read_generic(wire)

    assert 3 == read.a["b"][1][0].c
    assert wire == read.to_wire()


@pytest.mark.parametrize(
    "payload",
    [
        None,
        5,
        "text",
        [],
        {},
        [wrapped({})],
        {"a": wrapped({})},
        wrapped([]),
        wrapped({}) | {"nova_object.version": 1.0},
        {"nova_object.data": {}},
        {"x.name": "", "x.namespace": "", "x.data": {}},
        wrapped({}, prefix="x") | wrapped({}, prefix="y"),
    ],
)
def test_what_is_no_versioned_object_stays_plain_json(payload: Any) -> None:
    assert payload is read_generic(payload)


def test_novas_prefix_goes_before_others() -> None:
    wire = wrapped({"a": 1}) | wrapped({"a": 2}, prefix="x")

    assert 1 == read_generic(wire).a
    assert wire == read_generic(wire).to_wire()


def test_a_generic_object_may_have_any_version() -> None:
    assert "x" == read_generic(wrapped({}, version="x")).object_version


def test_hostile_names_of_fields_do_not_hide_methods() -> None:
    wire = wrapped(
        dict.fromkeys(("to_wire", "at_version", "__class__", "__dict__", "model_fields", "object_name", "_wrapper"), 1)
    )
    read = read_generic(wire)

    assert wire == read.to_wire()
    assert "SharePayload" == read.object_name


@pytest.mark.parametrize("version", ["1.0", "1.99", "1.100", "1.9.1", "1.0.0"])
def test_minor_versions_are_taken(version: str) -> None:
    assert version == read_object(SharePayload, wrapped(SHARE, version=version)).object_version


@pytest.mark.parametrize("version", ["2.0", "0.9", "2.0.1", "10.1"])
def test_other_major_versions_are_refused(version: str) -> None:
    with pytest.raises(UnsupportedVersion, match=version):
        check_version(version, "payload")


@pytest.mark.parametrize("version", ["", "1", "1.", "x", "1.x", "1.0.0.0", "-1.0", "1.0 ", "1.0\n", "1." + "9" * 10, "١.٠"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(DecodeError, match="payload: its version should be"):
        check_version(version, "payload")


def test_objects_are_equal_if_they_are_written_alike() -> None:
    share = SharePayload(**SHARE)

    assert share == read_object(SharePayload, wrapped(SHARE))
    assert share == share
    assert share != read_object(SharePayload, wrapped(SHARE, version="1.1"))
    assert share != read_generic(wrapped(SHARE))
    assert share != SHARE


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy, pickled, SharePayload.model_copy])
def test_copies_keep_everything(made: Any) -> None:
    share = read_object(SharePayload, wrapped({"new": 1} | SHARE, version="1.7", more={"nova_object.changes": ["tag"]}))

    assert share == made(share)
    assert share.to_wire() == made(share).to_wire()


def test_tuples_and_objects_in_fields_of_ones_own_are_written() -> None:
    made = VersionedObject(things=(SharePayload(**SHARE),), more={"share": SharePayload(**SHARE)})  # type: ignore[call-arg]

    assert {"things": [wrapped(SHARE)], "more": {"share": wrapped(SHARE)}} == made.to_wire()["nova_object.data"]
    assert "1.0" == made.object_version
