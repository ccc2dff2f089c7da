"""What the broker sends, seen before the driver sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pamqp.base
import pamqp.frame
import pytest
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from aioswap.errors import TransportError
from aioswap.transports.rabbit_frames import ACK, DELIVER, ChannelFrames, Frames

_HEARTBEAT = Heartbeat().marshal()


class _Peer:
    """`Frames` under test, with what it passes on and tells."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        self.lost: list[TransportError] = []
        self.blocked: list[str | None] = []
        self.heard = 0
        self.frames = Frames(self.reader, "here", self.lost.append, self.blocked.append, self._heard)
        self.deliveries: list[tuple[bytes, bytes]] = []
        self.acks: list[bytes] = []
        self.frames.watch(1, ChannelFrames(contents={DELIVER: self._delivered}, methods={ACK: self._acked}))

    def _heard(self) -> None:
        self.heard += 1

    def _delivered(self, arguments: bytes, properties: bytes, body: bytes) -> None:
        self.deliveries.append((properties, body))

    def _acked(self, arguments: bytes) -> bool:
        self.acks.append(arguments)
        return True

    async def passed_on(self) -> bytes:
        self.reader.feed_eof()
        return await self.reader.read()


@pytest.fixture
async def peer() -> _Peer:
    return _Peer()


async def test_whatever_the_broker_says_is_heard(peer: _Peer) -> None:
    for data in (_HEARTBEAT, _delivery(b"x"), _HEARTBEAT[:4], _HEARTBEAT[4:]):
        peer.frames.data_received(data)

    assert 4 == peer.heard


def _deliver(channel: int = 1) -> bytes:
    return _method(commands.Basic.Deliver("c", delivery_tag=1, redelivered=False, exchange="e", routing_key="k"), channel)


def _delivery(*parts: bytes, channel: int = 1) -> bytes:
    header = ContentHeader(body_size=sum(map(len, parts)), properties=commands.Basic.Properties(message_id="m"))
    bodies = [pamqp.frame.marshal(ContentBody(part), channel) for part in parts]
    return _deliver(channel) + pamqp.frame.marshal(header, channel) + b"".join(bodies)


def _method(frame: pamqp.base.Frame, channel: int = 0) -> bytes:
    return pamqp.frame.marshal(frame, channel)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 100, 10_000])
async def test_content_is_put_together_however_it_is_cut(peer: _Peer, size: int) -> None:
    stream = _delivery(b"one", b"two") + _delivery() + _delivery(b"three")
    for start in range(0, len(stream), size):
        peer.frames.data_received(stream[start : start + size])

    assert [b"onetwo", b"", b"three"] == [body for _, body in peer.deliveries]
    assert {b"\x00\x80\x01m"} == {properties for properties, _ in peer.deliveries}


@pytest.mark.parametrize("left", range(1, 200, 7))
async def test_contents_that_follow_each_other_are_taken_though_the_last_is_cut(peer: _Peer, left: int) -> None:
    stream = b"".join(_delivery(body) for body in (b"one", b"two", b"x" * 100))
    peer.frames.data_received(stream[:-left])
    at_once = len(peer.deliveries)
    peer.frames.data_received(stream[-left:])

    assert (2 if left < len(_delivery(b"x" * 100)) else 1) == at_once
    assert [b"one", b"two", b"x" * 100] == [body for _, body in peer.deliveries]


async def test_contents_of_two_channels_take_turns(peer: _Peer) -> None:
    peer.frames.watch(2, ChannelFrames(contents={DELIVER: peer._delivered}, methods={}))
    peer.frames.data_received(b"".join(_delivery(b"%d" % number, channel=number % 2 + 1) for number in range(6)))

    assert [b"0", b"1", b"2", b"3", b"4", b"5"] == [body for _, body in peer.deliveries]
    assert _HEARTBEAT == await peer.passed_on()


async def test_a_header_or_body_of_another_channel_is_not_taken_for_this_one(peer: _Peer) -> None:
    method, header = _deliver(), pamqp.frame.marshal(ContentHeader(body_size=1, properties=commands.Basic.Properties()), 2)
    own = pamqp.frame.marshal(ContentHeader(body_size=1, properties=commands.Basic.Properties()), 1)
    body, other = (pamqp.frame.marshal(ContentBody(b"x"), channel) for channel in (1, 2))
    peer.frames.data_received(method + header + other + own + other + body)

    assert [b"x"] == [body for _, body in peer.deliveries]
    assert header + other + other == (await peer.passed_on()).replace(_HEARTBEAT, b"")


async def test_other_frames_reach_the_driver_in_their_order(peer: _Peer) -> None:
    others = [
        _method(commands.Channel.OpenOk(), 1),
        _method(commands.Basic.ConsumeOk("c"), 1),
        _delivery(b"other channel", channel=2),
        _method(commands.Channel.CloseOk(), 1),
    ]
    stream = others[0] + others[1] + _delivery(b"x") + others[2] + _delivery(b"y") + others[3]
    peer.frames.data_received(stream[:90])
    peer.frames.data_received(stream[90:])

    assert b"".join(others) == (await peer.passed_on()).replace(_HEARTBEAT, b"")
    assert [b"x", b"y"] == [body for _, body in peer.deliveries]


async def test_what_is_taken_away_does_not_look_like_silence(peer: _Peer) -> None:
    for _ in range(3):
        peer.frames.data_received(_delivery(b"x"))

    assert _HEARTBEAT == await peer.passed_on()


async def test_content_that_nobody_asked_for_is_the_drivers(peer: _Peer) -> None:
    stream = _method(commands.Basic.GetOk(1, False, "e", "k", 0), 1) + _delivery(b"x")[len(_deliver()) :]
    peer.frames.data_received(stream)

    assert stream == await peer.passed_on()
    assert [] == peer.deliveries


async def test_confirms_are_taken(peer: _Peer) -> None:
    peer.frames.data_received(_method(commands.Basic.Ack(delivery_tag=3, multiple=True), 1))

    assert [b"\x00\x00\x00\x00\x00\x00\x00\x03\x01"] == peer.acks


async def test_a_blocked_broker_is_noticed(peer: _Peer) -> None:
    blocked, unblocked = _method(commands.Connection.Blocked("low on memory")), _method(commands.Connection.Unblocked())
    peer.frames.data_received(blocked + unblocked)

    assert ["low on memory", None] == peer.blocked
    assert blocked + unblocked == await peer.passed_on()


@pytest.mark.parametrize(
    ("code", "text", "remedy"),
    [(320, "CONNECTION_FORCED - shutdown", "made again"), (403, "ACCESS_REFUSED", "password"), (530, "NOT_ALLOWED", "vhost")],
)
async def test_the_brokers_reason_for_closing_is_kept(peer: _Peer, code: int, text: str, remedy: str) -> None:
    peer.frames.data_received(_method(commands.Connection.Close(code, text, 0, 0)))
    peer.frames.connection_lost(None)

    assert 1 == len(peer.lost)
    assert f"{code} {text}" in str(peer.lost[0])
    assert remedy in str(peer.lost[0])


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"AMQP\x00\x00\x09\x01",
        b"\x01\x00\x00\xff\xff\xff\xff\x00",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
async def test_what_is_no_amqp_ends_the_connection(peer: _Peer, data: bytes) -> None:
    peer.frames.data_received(data)

    assert ["here: what answers there speaks no AMQP 0-9-1; check host and port"] == list(map(str, peer.lost))


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda frames: frames.connection_lost(None), "silent for three heartbeats"),
        (lambda frames: frames.connection_lost(ConnectionResetError("reset by peer")), "reset by peer"),
        (lambda frames: frames.eof_received(), "without a word"),
    ],
)
async def test_a_lost_connection_says_how(peer: _Peer, end: Callable[[Frames], object], reason: str) -> None:
    end(peer.frames)
    end(peer.frames)

    assert 1 == len(peer.lost)
    assert reason in str(peer.lost[0])


async def test_frames_of_another_channel_may_stand_between(peer: _Peer) -> None:
    stream, other = _delivery(b"one"), _method(commands.Channel.CloseOk(), 2)
    method, rest = stream[: len(_deliver())], stream[len(_deliver()) :]
    header = rest[: -len(pamqp.frame.marshal(ContentBody(b"one"), 1))]
    peer.frames.data_received(method + other + rest + method + header + other + rest[len(header) :])

    assert [b"one", b"one"] == [body for _, body in peer.deliveries]
    assert other + other == (await peer.passed_on()).replace(_HEARTBEAT, b"")


@pytest.mark.parametrize("size", [20_000, 33_000, 70_000])
async def test_large_frames_and_small_ones_are_put_together_in_any_pieces(peer: _Peer, size: int) -> None:
    bodies = [b"%05d" % number * (10 if number % 3 else 20_000) for number in range(12)]
    other = _method(commands.Channel.CloseOk(), 2)
    stream = b"".join(_delivery(body) + other for body in bodies)
    for start in range(0, len(stream), size):
        peer.frames.data_received(stream[start : start + size])

    assert bodies == [body for _, body in peer.deliveries]
    assert other * 12 == (await peer.passed_on()).replace(_HEARTBEAT, b"")


async def test_what_is_no_amqp_behind_a_cut_frame_ends_the_connection(peer: _Peer) -> None:
    stream = _delivery(b"one")
    peer.frames.data_received(stream[:-1])
    peer.frames.data_received(stream[-1:] + b"HTTP/1.1 400 Bad Request" + _delivery(b"two"))

    assert [b"one"] == [body for _, body in peer.deliveries]
    assert 1 == len(peer.lost)
