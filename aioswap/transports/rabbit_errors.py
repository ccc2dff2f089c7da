"""The one place where the driver's exceptions end: each becomes a `TransportError` that says what to do.

aiormq hides causes: a vhost that is missing comes as `InvalidFrameError`, a lost connection as `CancelledError` although
nobody cancelled, everything after the first error as `ChannelInvalidStateError` (reliability: the first cause counts).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Final

from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelClosed,
    ChannelInvalidStateError,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    ConnectionChannelError,
    ConnectionClosed,
    ConnectionCommandInvalid,
    ConnectionFrameError,
    ConnectionInternalError,
    ConnectionNotAllowed,
    ConnectionNotImplemented,
    ConnectionResourceError,
    ConnectionSyntaxError,
    ConnectionUnexpectedFrame,
    InvalidFrameError,
    ProbableAuthenticationError,
    ProtocolSyntaxError,
)

from aioswap.clock import Clock
from aioswap.errors import TransportError

__all__ = ["LOGIN_REMEDY", "Answered", "Guard", "answered", "connection_closed", "translate"]

_CODES: Final = {
    ChannelAccessRefused: 403,
    ChannelNotFoundEntity: 404,
    ChannelLockedResource: 405,
    ChannelPreconditionFailed: 406,
}

_CONNECTION_CODES: Final = {
    ConnectionFrameError: 501,
    ConnectionSyntaxError: 502,
    ConnectionCommandInvalid: 503,
    ConnectionChannelError: 504,
    ConnectionUnexpectedFrame: 505,
    ConnectionResourceError: 506,
    ConnectionNotAllowed: 530,
    ConnectionNotImplemented: 540,
    ConnectionInternalError: 541,
}

_REMEDIES: Final = {
    320: "the broker was stopped, or an operator closed the connection: it is made again",
    403: "give the user the right, for topic exchanges also the topic permission (rabbitmqctl set_permissions, "
    "set_topic_permissions)",
    404: "declare it, or correct its name",
    405: "another connection has it for itself: end that one, or use another name",
    406: "it exists with other properties, or the message has some that the broker refuses: delete it or use another name",
    530: "correct the vhost in the URL, or add it and give the user its rights (rabbitmqctl add_vhost, set_permissions)",
}
LOGIN_REMEDY: Final = "correct the user and the password in the URL"
_REFUSALS: Final = frozenset((403, 406, 530))
_SHOWN: Final = 300


class Answered(TransportError):
    """The broker has answered, and the answer is no.

    Args:
        text: what the user reads.
        code: AMQP's reply code.
    """

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code

    @property
    def refused(self) -> bool:
        """Whether trying again cannot help until somebody changes something: login, vhost, right or kind."""
        return self.code in _REFUSALS


def answered(code: int, text: str, doing: str, remedy: str | None = None) -> Answered:
    """Return the error for the broker's answer `code` with its `text`, that came while `doing`."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:_SHOWN])
    advice = remedy or _REMEDIES.get(code, "see the broker's log")
    return Answered(f"{doing}: the broker says {code} {shown}; {advice}", code)


def translate(error: BaseException, doing: str) -> TransportError:
    """Return the `TransportError` that stands for `error`, which came while `doing` (for example "connecting to ...")."""
    if isinstance(error, TransportError):
        return error
    if isinstance(error, ProbableAuthenticationError):
        return answered(403, str(error), doing, LOGIN_REMEDY)
    if isinstance(error, ChannelClosed) and (code := _CODES.get(type(error))) is not None:
        return answered(code, str(error), doing)
    if isinstance(error, ConnectionClosed):
        return connection_closed(error, doing)
    if isinstance(error, InvalidFrameError) and "OpenOk" in (text := str(error)) and "Connection.Close" in text:
        # The driver drops the broker's words, but this is all that a broker can mean by closing at this point.
        return answered(530, "NOT_ALLOWED - the vhost is missing, or refused to this user", doing)
    return TransportError(f"{doing}: {_what_happened(error)}")


def connection_closed(error: BaseException, where: str) -> TransportError:
    """Return why the connection to `where` ended, from what the driver keeps of it."""
    if isinstance(error, ConnectionClosed):
        if (code := _CONNECTION_CODES.get(type(error))) is not None:
            return answered(code, str(error), where)
        code, text = (*error.args, None, None)[:2]
        if isinstance(code, int) and code:
            return answered(code, str(text), where, LOGIN_REMEDY if code == 403 else None)
    if isinstance(error, asyncio.CancelledError):
        what = "the connection was lost, or the broker was silent for three heartbeats"
    else:
        what = f"the connection was lost, {error}"
    return TransportError(f"{where}: {what}; look at the network and the broker's log")


def _what_happened(error: BaseException) -> str:
    if isinstance(error, AMQPError) and isinstance(error.__cause__, OSError):
        error = error.__cause__  # the driver's own says less
    if isinstance(error, TimeoutError):
        return "no answer in time; look for an overloaded broker, or a firewall that drops packets"
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = getattr(error, "verify_message", None) or "the certificate is not trusted"
        return f"{reason}; trust the broker's CA with ssl_ca_file, and name the host as its certificate does"
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or "no reason given"
        return f"TLS failed, {reason}; check that this port speaks TLS, version 1.2 or later"
    if isinstance(error, AuthenticationError):
        return "the broker offers no login with a password; enable its mechanism PLAIN"
    if isinstance(error, ProtocolSyntaxError):
        return "what answers there speaks no AMQP 0-9-1; check host and port"
    if isinstance(error, asyncio.CancelledError | ChannelInvalidStateError):
        return "the connection was lost meanwhile"
    if isinstance(error, OSError):
        return f"{error.strerror or str(error) or type(error).__name__}; check that the broker runs, and its host and port"
    if isinstance(error, AMQPError):
        return str(error) or type(error).__name__
    return f"{type(error).__name__}: {error}"


_DRIVER: Final = (AMQPError, ChannelInvalidStateError, OSError, asyncio.CancelledError)
"""What the driver raises; on a connection that is lost also a plain RuntimeError."""


class Guard:
    """Gives the body of an `async with` a deadline, and lets nothing but `TransportError` and a wanted cancellation out.

    Args:
        doing: what the body does, for the error's text.
        clock: measures `seconds`.
        seconds: then it is a `TransportError`.
        cause: returns what is known to have gone wrong first, if anything.
    """

    __slots__ = ("_asked", "_cause", "_doing", "_scope", "_task")

    def __init__(
        self, doing: str, clock: Clock, seconds: float, cause: Callable[[], TransportError | None] = lambda: None
    ) -> None:
        self._doing = doing
        self._scope = clock.timeout(seconds)
        self._cause = cause
        self._task: asyncio.Task[object] | None = None
        self._asked = 0

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._asked = self._cancellations()
        await self._scope.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._scope.__aexit__(kind, error, traceback)
        except TimeoutError as timeout:
            raise translate(timeout, self._doing) from None  # what has gone wrong since follows from it
        if isinstance(error, asyncio.CancelledError) and self._cancellations() > self._asked:
            return
        first = self._cause()
        if isinstance(error, _DRIVER) or (isinstance(error, RuntimeError) and first is not None):
            raise first or translate(error, self._doing) from None

    def _cancellations(self) -> int:
        return 0 if self._task is None else self._task.cancelling()
