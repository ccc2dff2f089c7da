"""What hooks are told, and what becomes of what they raise."""

from __future__ import annotations

import logging

import pytest

from aioswap.hooks import Hooks, Operation, OperationKind


class _Recorder:
    def __init__(self, name: str, told: list[str]) -> None:
        self.name = name
        self.told = told

    def started(self, operation: Operation, /) -> None:
        self.told.append(f"{self.name} started {operation.kind}")
        operation.headers["seen"] = self.name

    def finished(self, operation: Operation, /) -> None:
        self.told.append(f"{self.name} finished {operation.outcome}")


class _Broken:
    def started(self, operation: Operation, /) -> None:
        raise LookupError("started")

    def finished(self, operation: Operation, /) -> None:
        raise LookupError("finished")


def test_hooks_are_told_so_that_spans_nest() -> None:
    told: list[str] = []
    hooks = Hooks([_Recorder("outer", told), _Recorder("inner", told)])
    operation = Operation(kind=OperationKind.EMIT)
    hooks.started(operation)
    operation.outcome = "accepted"
    hooks.finished(operation)

    assert ["outer started emit", "inner started emit", "inner finished accepted", "outer finished accepted"] == told
    assert {"seen": "inner"} == operation.headers


def test_what_a_hook_raises_is_logged_and_hides_nothing_from_others(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    hooks = Hooks([_Recorder("a", told), _Broken(), _Recorder("b", told)])
    operation = Operation(kind=OperationKind.HANDLE, outcome="ack")
    with caplog.at_level(logging.ERROR):
        hooks.started(operation)
        hooks.finished(operation)

    assert ["a started handle", "b started handle", "b finished ack", "a finished ack"] == told
    assert ["LookupError: started", "LookupError: finished"] == [text.splitlines()[-1] for text in caplog.messages]
    assert all("failed when handle" in message for message in caplog.messages)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_is_no_fault_of_a_hook_goes_through(error: type[BaseException]) -> None:
    class Interrupted(_Broken):
        def started(self, operation: Operation, /) -> None:
            raise error

    with pytest.raises(error):
        Hooks([Interrupted()]).started(Operation(kind=OperationKind.EMIT))


def test_hooks_are_true_when_there_is_one() -> None:
    assert not Hooks()
    assert Hooks([_Broken()])


def test_operations_are_themselves_and_share_nothing() -> None:
    one, other = Operation(kind=OperationKind.EMIT), Operation(kind=OperationKind.EMIT)
    one.notes["hook"] = "span"
    one.headers["h"] = 1

    assert one != other
    assert ({}, {}) == (other.notes, other.headers)
    assert ["swap", "emit", "publish", "receive", "handle", "settle", "track"] == list(OperationKind)
