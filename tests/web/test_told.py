"""Swaps as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from aioswap.ledger import SwapLedger
from aioswap.swaps import Swap
from aioswap.tracking.fields import FIELDS
from aioswap.web.told import as_json, event, told
from tests.swap_kit import at, fault, swap_event


def swap(message: str = "no valid connector", instance: str = "i") -> Swap:
    error = swap_event("error", 2, instance=instance, message_id="m")
    error = replace(error, payload=error.payload.model_copy(update={"fault": fault(message)}))
    ledger = SwapLedger()
    ledger.deaf(at(0), at(1))
    (failed,) = ledger.observe(error, at(0))
    return failed


def test_every_field_is_told_and_nothing_else() -> None:
    assert FIELDS == tuple(told(swap(), at(3)))


def test_a_fault_is_masked() -> None:
    assert "VolumeNotFound: password=*** refused" == told(swap("password=sesame refused"), at(3))["fault"]


def test_names_are_cut_wherever_they_stand() -> None:
    long = replace(swap(instance="x" * 5000), evidence=("y" * 5000, "z"))
    fields = told(long, at(3))

    assert ("x" * 1024 + "…", ("y" * 1024 + "…", "z")) == (fields["instance"], fields["evidence"])


def test_json_is_one_line_of_ascii_whatever_names_hold() -> None:
    line = as_json(told(swap(instance="a\n\r\u2028é\ud800"), at(3)))

    assert line.isascii()
    assert b"\n" not in line
    assert "a\n\r\u2028é\ud800" == json.loads(line)["instance"]
    assert "2026-11-22T12:00:00+00:00" == json.loads(line)["first_seen"]


def test_an_event_has_a_name_and_one_line_of_data() -> None:
    assert b'event: beat\ndata: {"a":"\\n\\nevent: forged"}\n\n' == event("beat", {"a": "\n\nevent: forged"})
