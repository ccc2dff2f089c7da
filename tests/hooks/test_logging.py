from __future__ import annotations

import logging

import pytest

from aioswap.hooks import Operation, OperationKind
from aioswap.hooks.logging import LoggingHook


def operation(outcome: str, **more: object) -> Operation:
    return Operation(kind=OperationKind.HANDLE, outcome=outcome, event_type="a.b.end", message_id="m1", **more)  # type: ignore[arg-type]


def test_what_went_well_is_logged_at_the_level_given(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hook = LoggingHook(level=logging.INFO)
    fine = operation("ack", pool="p", attempt=2)
    hook.started(fine)
    hook.finished(fine)
    (record,) = caplog.records

    assert ("aioswap.operations", logging.INFO) == (record.name, record.levelno)
    assert "handle ack event_type=a.b.end message_id=m1 pool=p attempt=2" == record.getMessage()
    assert fine is record.__dict__["operation"]


def test_what_did_not_is_a_warning_with_the_kind_of_the_error(caplog: pytest.LogCaptureFixture) -> None:
    LoggingHook(logging.getLogger("mine")).finished(operation("reject", error=ValueError("a secret")))
    (record,) = caplog.records

    assert ("mine", logging.WARNING) == (record.name, record.levelno)
    assert record.getMessage().endswith("error=ValueError")


def test_nothing_is_made_up_for_a_level_that_nobody_listens_to(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    LoggingHook().finished(operation("ack"))

    assert [] == caplog.records
