"""Who asked: contexts from what services have, and to the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from aioswap.context import RequestContext, current_context, request_context

NOW = datetime(2026, 11, 22, 15, 8, 21, 123, tzinfo=timezone(timedelta(hours=1)))

WIRE_ORDER = [
    "user",
    "project_id",
    "system_scope",
    "project",
    "domain",
    "user_domain",
    "project_domain",
    "is_admin",
    "read_only",
    "show_deleted",
    "auth_token",
    "request_id",
    "global_request_id",
    "resource_uuid",
    "roles",
    "user_identity",
    "is_admin_project",
    "user_id",
    "read_deleted",
    "remote_address",
    "timestamp",
    "quota_class",
    "user_name",
    "service_catalog",
    "project_name",
]
"""As nova 34 writes it."""


class _OsloContext:
    """What an oslo.context RequestContext looks like from outside."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def to_dict(self) -> Mapping[str, Any]:
        return self.values


def test_a_context_without_anything_has_a_request_id() -> None:
    context = RequestContext()

    assert context.request_id == f"req-{UUID(context.request_id[4:])}"
    assert context.request_id != RequestContext().request_id


def test_a_context_is_taken_as_it_is() -> None:
    context = RequestContext(user_id="u")

    assert context is RequestContext.of(context)


@pytest.mark.parametrize("wrap", [dict, lambda values: _OsloContext(**values)], ids=["mapping", "to_dict"])
def test_a_context_is_told_by_a_mapping_or_by_to_dict(wrap: Any) -> None:
    told = {
        "user": "u",
        "tenant": "p",
        "domain": "d",
        "user_domain": "ud",
        "project_domain_id": "pd",
        "request_id": UUID(int=1),
        "global_request_id": "req-2",
        "user_name": "un",
        "project_name": None,
        "roles": ["admin", 7],
        "is_admin": 0,
        "read_only": None,
        "show_deleted": True,
        "auth_token": "secret",
        "service_catalog": ["secret"],
        "unheard_of": 1,
    }

    assert RequestContext(
        user_id="u",
        project_id="p",
        domain_id="d",
        user_domain_id="ud",
        project_domain_id="pd",
        request_id=str(UUID(int=1)),
        global_request_id="req-2",
        user_name="un",
        roles=("admin", "7"),
        is_admin=False,
        show_deleted=True,
    ) == RequestContext.of(wrap(told))


def test_a_name_of_today_goes_before_one_of_the_past() -> None:
    context = RequestContext.of({"user": "old", "user_id": "new", "tenant": "older", "project": "old", "project_id": None})

    assert ("new", "old") == (context.user_id, context.project_id)


def test_a_single_role_is_one_role() -> None:
    assert ("admin",) == RequestContext.of({"roles": "admin"}).roles


@pytest.mark.parametrize("source", [None, "req-1", 7, _OsloContext, [("user", "u")]])
def test_what_is_no_context_is_a_type_error(source: Any) -> None:
    with pytest.raises(TypeError):
        RequestContext.of(source)


def test_an_object_that_tells_no_mapping_is_a_type_error() -> None:
    class Odd:
        def to_dict(self) -> Any:
            return "user"

    with pytest.raises(TypeError, match="Odd"):
        RequestContext.of(Odd())


def test_a_payload_shows_the_request_id_only_of_a_user_in_a_project() -> None:
    assert "req-1" == RequestContext(request_id="req-1", user_id="u", project_id="p").shown_request_id
    assert RequestContext(user_id="u").shown_request_id is None
    assert RequestContext(project_id="p").shown_request_id is None


def test_the_wire_form_has_novas_keys_in_novas_order() -> None:
    context = RequestContext(user_id="u", project_id="p", project_domain_id="pd", roles=("member", "admin"), request_id="req-1")
    wire = context.to_wire(NOW)

    assert WIRE_ORDER == list(wire)
    assert ("u", "u", "p", "p") == (wire["user"], wire["user_id"], wire["project"], wire["project_id"])
    assert "u p - - pd" == wire["user_identity"]
    assert ["member", "admin"] == wire["roles"]
    assert "2026-11-22T14:08:21.000123" == wire["timestamp"]
    assert "no" == wire["read_deleted"]
    assert wire == json.loads(json.dumps(wire))


def test_there_is_no_place_for_a_secret() -> None:
    wire = RequestContext.of({"auth_token": "secret", "service_catalog": ["secret"], "remote_address": "10.0.0.1"}).to_wire(NOW)

    assert (None, [], None) == (wire["auth_token"], wire["service_catalog"], wire["remote_address"])
    assert "secret" not in json.dumps(wire)


def test_what_is_read_from_the_wire_is_the_same_context() -> None:
    context = RequestContext(user_id="u", project_id="p", user_name="n", system_scope="all", roles=("r",), read_deleted="yes")

    assert context == RequestContext.of(context.to_wire(datetime.now(UTC)))


def test_the_innermost_context_counts_and_the_outer_one_comes_back() -> None:
    seen = [current_context()]
    with request_context({"user_id": "outer"}) as outer:
        seen.append(current_context())
        with pytest.raises(LookupError), request_context(RequestContext(user_id="inner")) as inner:
            seen.append(current_context())
            raise LookupError
        seen.append(current_context())
    seen.append(current_context())

    assert [None, outer, inner, outer, None] == seen


def test_what_is_no_context_changes_nothing() -> None:
    with pytest.raises(TypeError), request_context(7):  # type: ignore[arg-type]
        raise AssertionError

    assert current_context() is None


async def test_a_context_reaches_tasks_started_inside_and_no_others() -> None:
    async def ask() -> RequestContext | None:
        await asyncio.sleep(0)
        return current_context()

    with request_context({"user_id": "u"}) as context:
        inside = asyncio.create_task(ask())
    outside = asyncio.create_task(ask())

    assert (context, None) == (await inside, await outside)
