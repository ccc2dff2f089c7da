"""What the fast way assumes of aio-pika, aiormq and pamqp, in one place, and the choice between both ways.

The fast way goes beneath aio-pika: it needs more of these libraries than what they document. Each assumption is looked at
before the first connection, or on it. Where one does not hold, this is told once, and the plain way is used.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, NamedTuple

import aio_pika
import aiormq.channel
import aiormq.connection
import pamqp.frame
from pamqp import commands
from pamqp.heartbeat import Heartbeat

__all__ = [
    "ASSUMPTIONS",
    "FACTORY",
    "FRAME_MAX",
    "HEARTBEAT",
    "Assumption",
    "Choice",
    "Driver",
    "Unmet",
    "broken",
    "offer",
]

_logger = logging.getLogger(__name__)

HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"
"""The frame that tells nothing but that the peer is alive (AMQP 0-9-1 section 4.2.7)."""

_PUBLISH: Final = b"\x01\x01\x02\x00\x00\x00\x0b\x00\x3c\x00\x28\x00\x00\x01e\x01k\x01\xce"
_GET: Final = b"\x01\x01\x02\x00\x00\x00\x09\x00\x3c\x00\x46\x00\x00\x01q\x00\xce"
_CHANNEL: Final = 0x102


class Unmet(Exception):
    """An assumption does not hold. The text says which one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """The parts of the driver that the fast way needs more of than what is documented. Tests put others in their place."""

    connection: type[aio_pika.Connection] = aio_pika.Connection
    client: type[object] = aiormq.connection.Connection
    channel: type[object] = aiormq.channel.Channel
    marshal: Callable[[Any, int], bytes] = pamqp.frame.marshal
    unmarshal: Callable[[bytes], Any] = pamqp.frame.unmarshal


class Assumption(NamedTuple):
    """Something that must hold.

    Args:
        text: what, in words.
        holds: looks whether it does.
    """

    text: str
    holds: Callable[[Driver], bool]


def _takes(what: Callable[..., object], name: str) -> bool:
    return name in inspect.signature(what).parameters


def _publishes_as_written(driver: Driver) -> bool:
    publish = commands.Basic.Publish(exchange="e", routing_key="k", mandatory=True)
    return driver.marshal(publish, _CHANNEL) == _PUBLISH


def _gets_as_written(driver: Driver) -> bool:
    return driver.marshal(commands.Basic.Get(queue="q"), _CHANNEL) == _GET


def _reads_heartbeats(driver: Driver) -> bool:
    size, channel, frame = driver.unmarshal(HEARTBEAT)
    return (size, channel) == (len(HEARTBEAT), 0) and isinstance(frame, Heartbeat)


def offer(driver: Driver, connection: aio_pika.Connection, factory: object) -> bool:
    """Let `factory` make the streams of `connection`; False: it cannot be given to the driver. True is no promise yet.

    aio-pika does not name this argument of aiormq's among its own, but hands all its `kwargs` on.
    """
    if not _takes(driver.client, "transport_factory"):
        return False
    try:
        connection.kwargs["transport_factory"] = factory
    except (AttributeError, TypeError):
        return False
    return True


ASSUMPTIONS: Final = (
    Assumption("aiormq connects by the transport_factory that it is given", lambda d: _takes(d.client, "transport_factory")),
    Assumption("a channel of aiormq has a number", lambda d: _takes(d.channel, "number")),
    Assumption("pamqp writes Basic.Publish as AMQP 0-9-1 says", _publishes_as_written),
    Assumption("pamqp writes Basic.Get as AMQP 0-9-1 says", _gets_as_written),
    Assumption("aiormq reads a heartbeat as one", _reads_heartbeats),
)
"""What is looked at before the first connection."""

FACTORY: Final = "aio-pika's Connection.kwargs are handed to aiormq"
"""What is looked at on the first connection: aiormq asks the fast way for its streams."""

FRAME_MAX: Final = "aiormq's connection_tune.frame_max is what the broker takes"
"""What is looked at on each connection."""


def broken(driver: Driver) -> Iterator[str]:
    """Give the text of each assumption that does not hold before there is a connection."""
    for assumption in ASSUMPTIONS:
        try:
            held = assumption.holds(driver)
        except Exception:  # whatever a new version does instead: the plain way does not need it
            held = False
        if not held:
            yield assumption.text


class Choice:
    """Which way a transport goes: the fast one, until an assumption turns out not to hold.

    Args:
        fast: False: the plain way from the start.
        driver: what is looked at, and makes connections.
    """

    def __init__(self, *, fast: bool = True, driver: Driver | None = None) -> None:
        self.driver = Driver() if driver is None else driver
        self._fast = fast
        self._looked = False

    @property
    def fast(self) -> bool:
        """Whether the next connection goes the fast way. Looks at the driver, once."""
        if self._fast and not self._looked:
            self._looked = True
            for text in broken(self.driver):
                self.give_up(text)
        return self._fast

    def give_up(self, text: str) -> None:
        """Go the plain way from now on, and tell why: the assumption `text` does not hold."""
        if self._fast:
            self._fast = False
            told = ", ".join(f"{name} {version(name)}" for name in ("aio-pika", "aiormq", "pamqp"))
            _logger.warning("messages go the plain way, slower: with %s it does not hold that %s", told, text)
