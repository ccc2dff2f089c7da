from __future__ import annotations

import logging

import pytest

from aioswap.hooks import Operation, OperationKind
from aioswap.hooks.logging import DriverFilter, LoggingHook


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


class Frame:
    """A frame of the driver, whose repr shows all of it."""

    class Publish:
        def __repr__(self) -> str:
            return "Publish(b'a body', password='sesame')"


class FakeConnection:
    def __repr__(self) -> str:
        return "<FakeConnection: amqp://u:sesame@host/>"


def driver_record(
    text: str, *args: object, name: str = "aiormq.connection", error: Exception | None = None
) -> logging.LogRecord:
    failed = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord(name, logging.DEBUG, "file", 1, text, args, failed)


def filtered(record: logging.LogRecord) -> str:
    assert DriverFilter().filter(record)

    return logging.Formatter().format(record)


@pytest.mark.parametrize("name", ["aiormq.connection", "aio_pika", "pamqp.frame"])
def test_of_a_drivers_objects_the_kind_stays(name: str) -> None:
    record = driver_record("Sending %r to %s, %d bytes, %r", Frame.Publish(), FakeConnection(), 7, None, name=name)

    assert "Sending <Frame.Publish> to <FakeConnection: amqp://u:***@host/>, 7 bytes, None" == filtered(record)


def test_a_drivers_texts_and_errors_are_masked() -> None:
    record = driver_record("from %s: %r", "amqp://u:sesame@host", ValueError("password=sesame"))

    assert "from amqp://u:***@host ValueError: password=***" == filtered(record).replace("host:", "host")


def test_a_drivers_traceback_is_masked() -> None:
    told = filtered(driver_record("failed", error=ValueError("password=sesame")))

    assert "failed\nValueError: password=***" == told


@pytest.mark.parametrize(
    ("text", "args", "told"),
    [
        ("%(frame)r, token=sesame", ({"frame": Frame()},), "<Frame>, token=***"),
        ("%d of %s", (Frame(), 1), "%d of %s"),
        ("password=sesame 100%", (), "password=*** 100%"),
    ],
)
def test_a_drivers_odd_records_are_filtered_too(text: str, args: tuple[object, ...], told: str) -> None:
    assert told == filtered(driver_record(text, *args))


def test_records_of_others_stay() -> None:
    frame = Frame()
    record = driver_record("%s", frame, name="mine")

    assert DriverFilter().filter(record)
    assert (frame,) == record.args
