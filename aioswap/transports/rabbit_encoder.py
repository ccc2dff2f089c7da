"""The frames of a message that is sent: method, header, and the body in parts (AMQP 0-9-1 section 4.2.6).

What is the same for many messages is written once: the method of a route, the properties of a notification.
"""

from __future__ import annotations

import struct
from typing import Final

import pamqp.frame
from aiormq import spec

from aioswap.transports.base import NOTIFICATION_PROPERTIES, Message
from aioswap.transports.rabbit_properties import HEADER_FIXED, as_sent, check_header, encode_properties, frame_room

__all__ = ["Encoder"]

_HEADER_HEAD: Final = struct.Struct(">BHIHHQ")
_BODY_HEAD: Final = struct.Struct(">BHI")
_PLAIN_START: Final = b"%b%b%b%c%b\xce%b"
"""Method, header, properties that are the same for all, the message id, and the head of the body's frame."""
_MOST_ROUTES: Final = 1024


class Encoder:
    """Writes messages for one channel.

    Args:
        channel: its number.
        frame_max: the most bytes that the broker takes in one frame; 0: it sets no limit.
        exchange: the notification exchange.
        user: who is logged in.
    """

    def __init__(self, channel: int, frame_max: int, *, exchange: str, user: str) -> None:
        self._channel = channel
        self._frame_max = frame_max
        self._part = frame_room(frame_max)
        self._exchange = exchange
        self._user = user
        self._plain = encode_properties("", {}, NOTIFICATION_PROPERTIES)[:-1]
        """A notification's properties but for the message id, which comes last: with it they fit any broker's frames."""
        self._methods: dict[tuple[str, str], bytes] = {}

    def frames(self, message: Message) -> list[bytes]:
        """Return what is to be written, in pieces.

        Raises:
            ValueError: a part of it has no place in AMQP, or in this broker's frames.
        """
        body, channel = message.body, self._channel
        if message.properties is NOTIFICATION_PROPERTIES and not message.headers and 0 < len(body) <= self._part:
            plain, identity = self._plain, message.message_id.encode()
            header = _HEADER_HEAD.pack(2, channel, HEADER_FIXED + len(plain) + 1 + len(identity), 60, 0, len(body))
            start = _PLAIN_START % (
                self._method(message),
                header,
                plain,
                len(identity),
                identity,
                _BODY_HEAD.pack(3, channel, len(body)),
            )
            return [start, body, b"\xce"]
        return self._unusual(message, body)

    def _unusual(self, message: Message, body: bytes) -> list[bytes]:
        method, channel = self._method(message), self._channel
        properties = encode_properties(message.message_id, message.headers, as_sent(message.properties, self._user))
        check_header(properties, self._frame_max)
        header = _HEADER_HEAD.pack(2, channel, HEADER_FIXED + len(properties), 60, 0, len(body))
        pieces = [method, header, properties, b"\xce"]
        for start in range(0, len(body), self._part):
            piece = body[start : start + self._part]
            pieces += (_BODY_HEAD.pack(3, channel, len(piece)), piece, b"\xce")
        return pieces

    def _method(self, message: Message) -> bytes:
        route = (self._exchange if message.exchange is None else message.exchange, message.routing_key)
        method = self._methods.get(route)
        if method is None:
            if len(self._methods) >= _MOST_ROUTES:
                self._methods.clear()
            publish = spec.Basic.Publish(exchange=route[0], routing_key=route[1], mandatory=True)
            method = self._methods[route] = pamqp.frame.marshal(publish, self._channel)
        return method
