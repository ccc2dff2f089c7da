"""The pages that are made from the code, or that repeat it, say what the code does."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime
from typing import Any, Final
from xml.etree import ElementTree

import pytest

import aioswap
from aioswap.attempts import STATES as PHASES
from aioswap.context import RequestContext
from aioswap.nova_conf import read_nova_conf
from aioswap.swaps import SwapState
from aioswap.wire import payloads
from aioswap.wire.notification import Notification
from aioswap.wire.objects import VersionedObject, field_since
from aioswap.wire.writing import CONTEXT_PREFIX
from benchmarks.bench import _PICTURE
from docs._ext.payload_tables import BASES, PAYLOADS, payload_tables
from docs._ext.public_names import PAGES, names_of, public_names
from docs._ext.state_diagram import EVENTS, STATES, diagram, transitions
from tests.docs.blocks import ROOT, blocks
from tests.rights import CONSUMER, EMITTER

_REFERENCE: Final = (ROOT / "docs" / "reference" / "notification.md").read_text()
_SWAP_STATES: Final = (ROOT / "docs" / "swap-states.md").read_text()
_RIGHTS: Final = ROOT / "docs" / "guides" / "operate.md"
_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
_CLASSES: Final = [
    kind
    for _, kind in inspect.getmembers(payloads, inspect.isclass)
    if issubclass(kind, VersionedObject) and kind is not VersionedObject and not kind.__name__.startswith("_")
]


def _table_of(kind: type[VersionedObject]) -> dict[str, list[str]]:
    """Return the rows of a payload's table by its fields."""
    part = payload_tables().partition(f"## {kind.__name__}\n")[2].partition("\n## ")[0]
    rows = [re.split(r"(?<!\\) \| ", row) for row in re.findall(r"^\| (`.*) \|$", part, re.MULTILINE)]
    return {row[0].strip("`"): row for row in rows}


def test_every_payload_has_its_place() -> None:
    assert set(_CLASSES) == {*PAYLOADS, *BASES}


@pytest.mark.parametrize("kind", PAYLOADS)
def test_every_field_is_in_the_table_with_its_version(kind: type[VersionedObject]) -> None:
    table = _table_of(kind)

    assert list(table) == list(kind.model_fields)
    assert {name: row[3] for name, row in table.items()} == {
        name: field_since(field) for name, field in kind.model_fields.items()
    }
    assert all(row[1] for row in table.values())


@pytest.mark.parametrize("kind", PAYLOADS)
def test_the_table_says_of_each_field_whether_it_may_be_null(kind: type[VersionedObject]) -> None:
    told = kind.model_json_schema()["properties"]
    nullable = {name: {"type": "null"} in schema.get("anyOf", []) for name, schema in told.items()}

    assert nullable == {name: row[2] == "yes" for name, row in _table_of(kind).items()}


@pytest.mark.parametrize("kind", BASES)
def test_a_base_is_said_to_lack_what_it_lacks(kind: type[VersionedObject]) -> None:
    part = payload_tables().partition(f"## {kind.__name__}\n")[2].partition("\n## ")[0]
    lacking = set(PAYLOADS[0].model_fields) - set(kind.model_fields)

    assert lacking == set(re.findall(r"`(\w+)`", part))


def test_every_key_of_a_message_is_in_the_reference() -> None:
    context = RequestContext()
    notification: Notification[Any] = Notification(
        message_id="",
        publisher_id="",
        event_type="",
        priority="INFO",
        timestamp=_NOW,
        payload={},
        unique_id="",
        context=context.to_wire(_NOW),
    )
    keys = notification.to_wire()

    assert [] == [key for key in keys if f"`{key}`" not in _REFERENCE]
    assert set(re.findall(rf"`({CONTEXT_PREFIX}[a-z_]+)`", _REFERENCE)) == {
        CONTEXT_PREFIX + key for key in context.to_wire(_NOW)
    }


def _states_of_the_page() -> dict[tuple[str, str], str]:
    """Return the table of docs/swap-states.md: state and event -> what becomes of it."""
    table = re.findall(r"^\| (.*) \|$", _SWAP_STATES.partition("| From \\ what comes |")[2].partition("\n\n")[0], re.MULTILINE)
    cells = [row.split(" | ") for row in table if not row.startswith("---")]
    rows = {state: row[1:] for row in cells for state in _named(row[0])}
    return {(state, event): cell for state, row in rows.items() for event, cell in zip(EVENTS, row, strict=True)}


def _named(cell: str) -> list[str]:
    return ["succeeded", "failed"] if cell == "succeeded, failed" else [cell]


def test_the_table_of_states_is_what_the_code_does() -> None:
    told, done = _states_of_the_page(), transitions()
    # what depends on more than the state is told in words
    words = {
        ("failed, inferred", ".start"): "as the signs say that count for this start too",
        ("succeeded", ".start"): "running, or stuck if it began that long ago",
        ("failed", ".start"): "running, or stuck if it began that long ago",
    }

    assert told.keys() == done.keys()
    for (state, event), target in done.items():
        cell = told[state, event]

        assert words.get((state, event), target) == (state if cell == "the same" else cell)


def test_the_diagram_draws_each_change_once_and_says_it_in_words() -> None:
    drawing = ElementTree.fromstring(diagram())
    space = "{http://www.w3.org/2000/svg}"
    words = drawing.findtext(f"{space}desc") or ""
    said = {
        (source, event, target)
        for sources, events, target in re.findall(r"From (.*?) by (.*?) to (.*?)\.(?: |$)", words)
        for source in sources.split(" or ")
        for event in re.findall("|".join(map(re.escape, EVENTS)), events)
    }
    changes = {
        (state, event, target.removesuffix(", late"))
        for (state, event), target in transitions().items()
        if target.removesuffix(", late") != state
    }
    texts = {text.text for text in drawing.iter(f"{space}text")}

    assert said == changes
    assert set(STATES) <= texts
    assert drawing.get("role") == "img"


def test_the_diagram_knows_every_state_and_phase() -> None:
    assert {state.value for state in SwapState} <= set(STATES)
    assert {f".{phase}" for phase in PHASES} <= set(EVENTS)


def test_every_public_name_has_one_page() -> None:
    paged = [name for page in PAGES for name in names_of(page)]
    print(f"\n{len(public_names())} public names")

    assert sorted(paged) == sorted(public_names())
    assert {f"aioswap.{name}" for name in aioswap.__all__} <= set(paged)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_the_api_lists_its_names(page: str) -> None:
    text = (ROOT / "docs" / "reference" / "api" / f"{page}.md").read_text()

    assert f"```{{public-names}} {page}\n" in text
    assert f"api/{page}\n" in (ROOT / "docs" / "reference" / "api.md").read_text()


@pytest.mark.parametrize("name", sorted(public_names()))
def test_a_public_class_or_function_has_a_docstring_of_its_own(name: str) -> None:
    home, _, last = name.rpartition(".")
    value = getattr(aioswap if home == "aioswap" else __import__(home, fromlist=[last]), last)

    assert not (inspect.isclass(value) or inspect.isfunction(value)) or vars(value).get("__doc__") or value.__doc__


def test_what_nova_is_told_is_what_aioswap_understands() -> None:
    (block,) = [block for block in blocks(_RIGHTS) if block.language == "ini"]
    conf = read_nova_conf(block.code)

    assert ("versioned", ("messagingv2",), 3, True) == (
        conf.notification_format,
        conf.drivers,
        conf.retry,
        conf.block_devices,
    )


def test_the_picture_of_the_benchmarks_is_looked_for_where_they_draw_it() -> None:
    (shown,) = re.findall(r"^```\{plot\} (\S+)$", (ROOT / "docs" / "scaling.md").read_text(), re.MULTILINE)

    assert _PICTURE == ROOT / "docs" / shown


def test_the_rights_are_those_that_are_tested() -> None:
    (block,) = [block for block in blocks(_RIGHTS) if "set_permissions" in block.code]
    quoted = [re.findall(r"'([^']*)'", line) for line in block.code.splitlines() if "permissions" in line]

    assert [[*EMITTER[:3]], [*EMITTER[3:]], [*CONSUMER[:3]], [*CONSUMER[3:]]] == quoted
