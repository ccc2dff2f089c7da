"""What the broker sends, seen before aiormq sees it.

aiormq makes the connection, the channels and the heartbeats. Between the socket and its reader stands `Frames`, by aiormq's
public `transport_factory`: it takes the frames of which there are many (deliveries, confirms, returns) away, so that none of
them costs a task, and notes what aiormq forgets: why a connection ended, and whether the broker is blocked.

Source: AMQP 0-9-1 sections 2.3.5 and 4.2; rabbitmq.com/connection-blocked.html.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from yarl import URL

from aioswap.errors import TransportError
from aioswap.transports.rabbit_assumptions import HEARTBEAT
from aioswap.transports.rabbit_errors import LOGIN_REMEDY, answered
from aioswap.transports.rabbit_properties import HEADER_FIXED, short_string

__all__ = [
    "ACK",
    "CANCEL",
    "CHANNEL_CLOSE",
    "DELIVER",
    "GET_EMPTY",
    "GET_OK",
    "NACK",
    "RETURN",
    "ChannelFrames",
    "Content",
    "Factory",
    "Frames",
    "Method",
    "closed_by",
]

Content = Callable[[bytes, bytes, bytes], None]
"""Takes a method's arguments, the properties and the body that followed."""

Method = Callable[[bytes], bool]
"""Takes a method's arguments; False: aiormq must see it too."""

ACK: Final = b"\x00\x3c\x00\x50"
NACK: Final = b"\x00\x3c\x00\x78"
RETURN: Final = b"\x00\x3c\x00\x32"
DELIVER: Final = b"\x00\x3c\x00\x3c"
GET_OK: Final = b"\x00\x3c\x00\x47"
GET_EMPTY: Final = b"\x00\x3c\x00\x48"
CANCEL: Final = b"\x00\x3c\x00\x1e"
CHANNEL_CLOSE: Final = b"\x00\x14\x00\x28"
_CONNECTION_CLOSE: Final = b"\x00\x0a\x00\x32"
_BLOCKED: Final = b"\x00\x0a\x00\x3c"
_UNBLOCKED: Final = b"\x00\x0a\x00\x3d"

_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_KINDS: Final = frozenset((_METHOD, _HEADER, _BODY, _HEARTBEAT))
_HEAD: Final = struct.Struct(">BHI")
_SIZE: Final = struct.Struct(">Q")
_BEGIN: Final = struct.Struct(">BHI4s")
"""A method's frame up to its name."""
_CONTENT: Final = struct.Struct(">BHI4xQ")
"""A header's frame up to the size of the body."""
_CODE: Final = struct.Struct(">H")
_LARGEST: Final = 16 << 20
"""Bytes of a frame that are waited for; RabbitMQ's own limit is 128 KiB unless an operator raises it."""

_JOINED: Final = 16 << 10
"""Bytes of new data that are joined to a frame which was cut."""

_SHUTDOWN_SECONDS: Final = 2.0


def closed_by(arguments: bytes, doing: str, *, login: bool = False) -> TransportError:
    """Return what the arguments of a `close` method say; `login`: it is a connection's, where 403 means the password."""
    (code,) = _CODE.unpack_from(arguments)
    text, _ = short_string(arguments, 2)
    return answered(code, text, doing, LOGIN_REMEDY if login and code == 403 else None)


class ChannelFrames:
    """The frames of one channel: which methods are taken here, and by whom. Puts content together."""

    def __init__(self, *, contents: Mapping[bytes, Content], methods: Mapping[bytes, Method]) -> None:
        self._contents = contents
        self._methods = methods
        self._receiver: Content | None = None
        self._arguments = self._properties = b""
        self._parts: list[bytes] = []
        self._missing = 0

    def take_whole(self, number: int, data: bytes, at: int) -> int:
        """Take the contents of channel `number` that follow each other from `at` on, as long as each has all its frames there.

        Nearly all come like this: one frame of each kind, and nothing between. Return where the next frame begins: `at` if
        nothing was taken.
        """
        contents, total = self._contents, len(data)
        last = total - _CONTENT.size
        size: int
        length: int
        while at < last:
            kind, channel, size, name = _BEGIN.unpack_from(data, at)
            receiver = contents.get(name)
            end = at + size + 7
            if receiver is None or kind != _METHOD or channel != number or end >= last:
                break
            kind, channel, size, length = _CONTENT.unpack_from(data, end + 1)
            body = end + size + 16  # two ends of frames and two heads are between
            after = body + length
            if kind != _HEADER or channel != number or not length or after >= total:
                break
            if _HEAD.unpack_from(data, body - 7) != (_BODY, number, length):
                break
            receiver(data[at + 11 : end], data[end + 8 + HEADER_FIXED : body - 8], data[body:after])
            at = after + 1
        return at

    def take(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """Take the frame whose payload is `data[start:end]`; False: it is aiormq's."""
        if kind == _METHOD:
            name = data[start : start + 4]
            self._receiver = self._contents.get(name)
            if self._receiver is not None:
                self._arguments = data[start + 4 : end]
                return True
            method = self._methods.get(name)
            return method is not None and method(data[start + 4 : end])
        if self._receiver is None:
            return False
        if kind == _HEADER:
            (self._missing,) = _SIZE.unpack_from(data, start + 4)
            self._properties = data[start + 12 : end]
        else:
            self._parts.append(data[start:end])
            self._missing -= end - start
        if self._missing <= 0:
            receiver, self._receiver = self._receiver, None
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts = []
            receiver(self._arguments, self._properties, body)
        return True


class Frames(asyncio.StreamReaderProtocol):
    """Stands between the socket and aiormq's reader.

    Args:
        reader: aiormq's.
        where: the broker, without its password, for errors.
        lost: called once, with the first cause, when the connection ends.
        blocked: called with the broker's reason when it stops taking messages, with None when it takes them again.
        heard: called whenever the broker has said something.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        where: str,
        lost: Callable[[TransportError], None],
        blocked: Callable[[str | None], None],
        heard: Callable[[], None],
    ) -> None:
        super().__init__(reader)
        self._where = where
        self._lost = lost
        self._blocked = blocked
        self._heard = heard
        self._channels: dict[int, ChannelFrames] = {}
        self._rest = b""
        self._taken = False
        self._now = asyncio.get_running_loop().time
        self._last_heartbeat = 0.0
        self._ended = False
        self.transport: asyncio.Transport | None = None

    def watch(self, channel: int, frames: ChannelFrames) -> None:
        """Give the frames of `channel` to `frames` first."""
        self._channels[channel] = frames

    def end(self, cause: TransportError) -> None:
        """End the connection at once, because of `cause`."""
        self._tell(cause)
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, so that nothing can leave it open."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take what is for the channels that are watched, and give aiormq the rest, whole frames in their order."""
        self._heard()
        others: list[bytes] = []
        start = 0
        if self._rest:
            # Only the begin is joined to what was left: joining all would be a large copy each time.
            joined = self._rest + data[:_JOINED]
            read = self._read(joined, 0, others)
            start = read - len(self._rest)
            if start < 0:  # a frame that is larger
                data, start = self._rest[read:] + data, 0
            if self._ended:
                return
        self._rest = data[self._read(data, start, others) :]
        self._pass_on(others)

    def _read(self, data: bytes, start: int, others: list[bytes]) -> int:
        """Read whole frames from `start` on, put what is aiormq's into `others`, and return where the next frame begins."""
        at, end, untouched = start, len(data), start
        while end - at >= 8:
            kind, number, size = _HEAD.unpack_from(data, at)
            if kind not in _KINDS or size > _LARGEST:
                self.end(TransportError(f"{self._where}: what answers there speaks no AMQP 0-9-1; check host and port"))
                return end
            after = at + size + 8
            if after > end:
                break
            channel = self._channels.get(number)
            if channel is not None:
                whole = channel.take_whole(number, data, at) if kind == _METHOD else at
                if whole > at or channel.take(kind, data, at + 7, after - 1):
                    if untouched < at:
                        others.append(data[untouched:at])
                    untouched = after = max(whole, after)
                    self._taken = True
            elif number == 0 and kind == _METHOD:
                self._watch_connection(data[at + 7 : at + 11], data[at + 11 : after - 1])
            at = after
        if untouched < at:
            others.append(data[untouched:at])
        return at

    def _pass_on(self, others: list[bytes]) -> None:
        # aiormq ends a connection on which it sees nothing for three heartbeats, and RabbitMQ sends none while there is
        # other traffic: what is taken away here must not look like silence.
        taken, self._taken = self._taken, False
        if taken and (now := self._now()) - self._last_heartbeat >= 1:
            self._last_heartbeat = now
            others.append(HEARTBEAT)
        if others:
            super().data_received(b"".join(others))

    def _watch_connection(self, name: bytes, arguments: bytes) -> None:
        if name == _CONNECTION_CLOSE:
            self._tell(closed_by(arguments, self._where, login=True))
        elif name == _BLOCKED:
            self._blocked(short_string(arguments, 0)[0])
        elif name == _UNBLOCKED:
            self._blocked(None)

    def eof_received(self) -> bool:
        """The broker has closed its side without a word."""
        self._tell(TransportError(f"{self._where}: the broker closed the connection without a word; see its log"))
        super().eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone. Without an error of its own: aiormq has heard nothing for three heartbeats."""
        reason = f"the connection was lost, {exc}" if exc is not None else "the broker was silent for three heartbeats"
        self._tell(TransportError(f"{self._where}: {reason}; look at the network and the broker's log"))
        super().connection_lost(exc)

    def _tell(self, cause: TransportError) -> None:
        if not self._ended:
            self._ended = True
            self._lost(cause)


class Factory:
    """Makes aiormq's streams with `Frames` in front: a `transport_factory` of aiormq's."""

    def __init__(
        self,
        where: str,
        tls: ssl.SSLContext | None,
        lost: Callable[[TransportError], None],
        blocked: Callable[[str | None], None],
        heard: Callable[[], None],
    ) -> None:
        self._where, self._tls, self._lost, self._blocked, self._heard = where, tls, lost, blocked, heard
        self.frames: Frames | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect. aiormq's own arguments are not needed: the TLS context is known."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        self.frames = frames = Frames(reader, self._where, self._lost, self._blocked, self._heard)
        shutdown = _SHUTDOWN_SECONDS if self._tls is not None else None
        assert url.host is not None
        assert url.port is not None
        transport, _ = await loop.create_connection(
            lambda: frames, url.host, url.port, ssl=self._tls, ssl_shutdown_timeout=shutdown
        )
        return reader, asyncio.StreamWriter(transport, frames, reader, loop)
