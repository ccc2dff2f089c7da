"""The driver's exceptions end in one place."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from aiormq import exceptions as driver

from aioswap.clock import Clock
from aioswap.errors import TransportError
from aioswap.testing import ManualClock
from aioswap.transports.rabbit_errors import Answered, Guard, answered, translate


def _unverified() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError()
    error.verify_message = "Hostname mismatch"
    return error


def _tls_failure(reason: str) -> ssl.SSLError:
    error = ssl.SSLError()
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (driver.ChannelAccessRefused("ACCESS_REFUSED - x"), 403, "set_topic_permissions"),
        (driver.ChannelNotFoundEntity("NOT_FOUND - x"), 404, "declare it"),
        (driver.ChannelLockedResource("RESOURCE_LOCKED - x"), 405, "for itself"),
        (driver.ChannelPreconditionFailed("PRECONDITION_FAILED - x"), 406, "other properties"),
        (driver.ProbableAuthenticationError("ACCESS_REFUSED - login"), 403, "the user and the password"),
    ],
)
def test_an_answer_of_the_broker_keeps_its_code_and_names_a_remedy(error: Exception, code: int, part: str) -> None:
    translated = translate(error, "doing it")

    assert isinstance(translated, Answered)
    assert code == translated.code
    assert str(translated).startswith(f"doing it: the broker says {code} {error}")
    assert part in str(translated)


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (TimeoutError(), "no answer in time"),
        (_unverified(), "Hostname mismatch; trust the broker's CA"),
        (_tls_failure("WRONG_VERSION_NUMBER"), "TLS failed, WRONG_VERSION_NUMBER"),
        (ssl.SSLError(), "TLS failed, no reason given"),
        (driver.AuthenticationError(["EXTERNAL"], ["PLAIN"]), "enable its mechanism PLAIN"),
        (driver.InvalidFrameError("x"), "speaks no AMQP"),
        (asyncio.CancelledError(), "the connection was lost meanwhile"),
        (driver.ChannelInvalidStateError("closed"), "the connection was lost meanwhile"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused; check that the broker runs"),
        (driver.AMQPConnectionError(), "AMQPConnectionError; check that the broker runs"),
        (driver.ChannelClosed(541, "INTERNAL_ERROR"), "INTERNAL_ERROR"),
        (driver.AMQPError(), "AMQPError"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_other_errors_say_what_to_do(error: BaseException, part: str) -> None:
    translated = translate(error, "doing it")

    assert TransportError is type(translated)
    assert part in str(translated)


def test_a_transport_error_stays_what_it_is() -> None:
    error = TransportError("first")

    assert error is translate(error, "doing it")


def test_the_brokers_text_is_bounded_and_shows_no_control_characters() -> None:
    error = answered(541, "\x1b[31m" + "x" * 1000, "doing it")

    assert str(error).startswith("doing it: the broker says 541 ?[31mxxx")
    assert len(str(error)) < 400
    assert not error.refused


async def test_a_cancellation_that_nobody_asked_for_is_a_transport_error() -> None:
    with pytest.raises(TransportError, match="lost meanwhile"):
        async with Guard("doing it", Clock(), 10):
            raise asyncio.CancelledError


async def test_a_cancellation_that_somebody_asked_for_stays_one() -> None:
    async def wait() -> None:
        async with Guard("doing it", Clock(), 10):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_was_cancelled_before_still_gets_transport_errors() -> None:
    async def clean_up() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with pytest.raises(TransportError) as caught:
                async with Guard("cleaning up", Clock(), 10):
                    raise asyncio.CancelledError from None
        return str(caught.value)

    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()

    assert "cleaning up: the connection was lost meanwhile" == await task


async def test_the_deadline_is_the_clocks() -> None:
    clock = ManualClock()

    async def wait() -> None:
        async with Guard("doing it", clock, 10):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await clock.advance(9.9)
    early = task.done()
    await clock.advance(0.1)

    assert not early
    with pytest.raises(TransportError, match="doing it: no answer in time"):
        await task


async def test_the_first_cause_goes_before_what_follows_from_it() -> None:
    first = TransportError("first")
    for error in (driver.ChannelInvalidStateError("closed"), asyncio.CancelledError(), RuntimeError("connection closed")):
        with pytest.raises(TransportError, match="first"):
            async with Guard("doing it", Clock(), 10, lambda: first):
                raise error


@pytest.mark.parametrize("fault", [ZeroDivisionError, RuntimeError])
async def test_a_fault_of_ones_own_is_not_translated(fault: type[Exception]) -> None:
    with pytest.raises(fault):
        async with Guard("doing it", Clock(), 10):
            raise fault
