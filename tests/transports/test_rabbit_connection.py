"""Connections to RabbitMQ: made, refused, lost, made again, and closed without a trace."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from aioswap.errors import TransportError
from aioswap.testing import ManualClock
from aioswap.transports.base import Confirmation, Message, Subscription
from aioswap.transports.rabbit import RabbitTransport
from aioswap.transports.rabbit_broker import Broker
from aioswap.transports.rabbit_connection import Link, Session
from aioswap.transports.urls import parse_url
from tests.broker import Node, Proxy, free_ports
from tests.transports.driver import DEADLINE, INFO, Inbox, put, until
from tests.transports.rabbit_driver import WAYS, Admin, HurriedClock, RabbitDriver, rabbit_driver

pytestmark = pytest.mark.broker

CONFIRMED = Confirmation.CONFIRMED
_users = count(1)


both_ways = pytest.mark.parametrize("fast", WAYS)


@pytest.fixture
async def driver(amqp_url: str) -> AsyncGenerator[RabbitDriver]:
    async with rabbit_driver(amqp_url) as driver:
        yield driver


def _replaced(url: str, **parts: object) -> str:
    """Return `url` with another user, password, host, port or vhost."""
    given = urlsplit(url)
    values = {"user": given.username, "password": given.password, "host": given.hostname, "port": given.port, **parts}
    vhost = parts.get("vhost", given.path.removeprefix("/"))
    return f"amqp://{values['user']}:{values['password']}@{values['host']}:{values['port']}/{quote(str(vhost), safe='')}"


def _open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


async def _start_error(transport: RabbitTransport, start_timeout: float = 30.0) -> str:
    async with transport, asyncio.timeout(DEADLINE):
        with pytest.raises(TransportError) as caught:
            async with transport.receiver(Subscription(), Inbox(), label="r", start_timeout=start_timeout):
                pass
    return str(caught.value)


@asynccontextmanager
async def _peer(answer: bytes) -> AsyncGenerator[tuple[int, list[asyncio.Event]]]:
    """A server that is no broker: it sends `answer` and reads on. Gives its port, and for each connection an event: its end."""
    ends: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = asyncio.Event()
        ends.append(end)
        writer.write(answer)
        try:
            while await reader.read(1 << 16):
                pass
        except OSError:
            pass
        finally:
            writer.close()
            end.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], ends
    finally:
        server.close()
        for end in ends:
            await end.wait()


# Refused


@both_ways
async def test_a_broker_that_is_away_is_named_with_a_remedy(fast: bool) -> None:
    (port,) = free_ports(1)
    transport = RabbitTransport(f"amqp://u:p@127.0.0.1:{port}/", clock=HurriedClock(), fast=fast)

    error = await _start_error(transport, start_timeout=0.05)

    assert error.startswith("not ready after 0.05 s: connecting to amqp://u@127.0.0.1")
    assert "check that the broker runs" in error


@both_ways
async def test_a_wrong_password_is_told_at_once(amqp_url: str, fast: bool) -> None:
    error = await _start_error(RabbitTransport(_replaced(amqp_url, password="wrong"), fast=fast))

    assert "403 ACCESS_REFUSED" in error
    assert "correct the user and the password in the URL" in error


async def test_a_vhost_that_is_missing_or_refused_is_told_the_plain_way_too(amqp_url: str) -> None:
    error = await _start_error(RabbitTransport(_replaced(amqp_url, vhost="no/such"), fast=False))

    assert "530 NOT_ALLOWED - the vhost is missing, or refused to this user" in error
    assert "correct the vhost" in error


async def test_a_missing_vhost_is_told_at_once(amqp_url: str) -> None:
    error = await _start_error(RabbitTransport(_replaced(amqp_url, vhost="no/such")))

    assert "530 NOT_ALLOWED - vhost no/such not found" in error
    assert "correct the vhost" in error


async def test_a_vhost_that_the_user_may_not_enter_is_told_at_once(node: Node) -> None:
    user = f"stranger{next(_users)}"
    await asyncio.to_thread(node.ctl, "add_user", user, "secret")

    error = await _start_error(RabbitTransport(_replaced(node.url, user=user, password="secret")))

    assert f"530 NOT_ALLOWED - access to vhost '/' refused for user '{user}'" in error


@both_ways
async def test_a_mute_peer_is_given_up_after_ten_seconds(fast: bool) -> None:
    clock = ManualClock()
    async with (
        _peer(b"") as (port, ends),
        RabbitTransport(f"amqp://u:p@127.0.0.1:{port}/", clock=clock, fast=fast) as transport,
        transport.sender("s") as sender,
    ):
        await until(lambda: ends)
        await clock.advance(9)
        waiting = sender.health.degraded
        await clock.advance(1)
        await until(lambda: sender.health.degraded)
        degraded = sender.health.degraded
        await until(ends[0].is_set)

    assert waiting is None
    assert "no answer in time" in (degraded or "")


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x01\x00\x00\xff\xff\xff\xff", b"AMQP\x00\x01\x00\x00"]
)
async def test_a_peer_that_speaks_no_amqp_is_told(answer: bytes) -> None:
    async with _peer(answer + b"\x00" * 8) as (port, _):
        error = await _start_error(RabbitTransport(f"amqp://u:p@127.0.0.1:{port}/", clock=HurriedClock()), start_timeout=0.2)

    assert "speaks no AMQP 0-9-1; check host and port" in error


async def test_a_peer_that_hangs_up_is_told() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    error = await _start_error(RabbitTransport(f"amqp://u:p@127.0.0.1:{port}/", clock=HurriedClock()), start_timeout=0.2)
    server.close()

    assert "closed the connection without a word" in error


# Made again


async def test_pauses_grow_to_four_seconds_then_after_a_minute_to_thirty_and_have_full_jitter() -> None:
    (port,) = free_ports(1)
    clock = HurriedClock()
    async with RabbitTransport(f"amqp://127.0.0.1:{port}/", clock=clock) as transport, transport.sender("s"):
        await until(lambda: len(clock.pauses) >= 100)
        early = list(clock.pauses)
        clock.elapsed += 60
        await until(lambda: len(clock.pauses) >= len(early) + 201)
    late = clock.pauses[len(early) + 1 :]

    assert all(pause <= min(4, 2**number) for number, pause in enumerate(early))
    assert min(early[3:]) < 1
    assert max(early) > 3
    assert max(late) <= 30
    assert min(late) < 5
    assert max(late) > 20


@pytest.mark.parametrize("life", [1.0, 0.9])
async def test_after_a_loss_the_pause_is_short_unless_the_connection_was(amqp_url: str, life: float) -> None:
    clock = HurriedClock()
    async with rabbit_driver(amqp_url, clock=clock) as driver, driver.transport as transport, transport.sender("s") as sender:
        for number in range(40):
            await sender.ready()
            clock.elapsed += life
            driver.proxy.reset()
            await until(lambda number=number: len(clock.pauses) > number)  # type: ignore[misc]

    assert (life < 1) == (max(clock.pauses) > 1)


async def test_every_host_is_tried_before_there_is_a_pause(driver: RabbitDriver) -> None:
    clock = HurriedClock()
    dead = [f"guest:guest@127.0.0.1:{port}" for port in free_ports(2)]
    urls = [f"amqp://{','.join(dead)},guest:guest@127.0.0.1:{driver.proxy.port}/"]
    for _ in range(6):  # the order is random
        async with (
            RabbitTransport(urls, exchange=driver.exchange, clock=clock) as transport,
            transport.receiver(Subscription(), Inbox(), label="r"),
        ):
            pass

    assert all(pause == 0 for pause in clock.pauses)


@both_ways
async def test_a_sender_goes_on_with_another_host(driver: RabbitDriver, amqp_url: str, fast: bool) -> None:
    async with Proxy(amqp_url) as other:
        proxies = [driver.proxy, other]
        transport = RabbitTransport([proxy.url for proxy in proxies], exchange=driver.exchange, clock=HurriedClock(), fast=fast)
        used = []
        async with transport, transport.sender("s") as sender:
            for _ in range(4):
                await sender.ready()
                (broken,) = [proxy for proxy in proxies if proxy.connections]
                used.append(proxies.index(broken))
                broken.cut()
                await until(lambda: not sender.health.connected)
                await sender.ready()
                broken.heal()

    assert used in ([0, 1, 0, 1], [1, 0, 1, 0])


@pytest.mark.parametrize(("fast", "times"), [(True, 200), (False, 50)], ids=["fast", "plain"])
async def test_reconnects_leave_nothing(amqp_url: str, fast: bool, times: int) -> None:
    async with (
        rabbit_driver(amqp_url, clock=HurriedClock(), fast=fast) as driver,
        driver.transport as transport,
        transport.receiver(Subscription(), Inbox(), label="r") as receiver,
        transport.sender("s") as sender,
    ):

        async def reconnect() -> None:
            driver.proxy.reset()
            await until(lambda: not receiver.health.connected and not sender.health.connected)
            await until(lambda: receiver.health.connected and sender.health.connected)

        await reconnect()
        await until(lambda: driver.proxy.connections == 2)
        tasks, files = len(asyncio.all_tasks()), _open_files()
        for _ in range(times):
            await reconnect()
        await until(lambda: driver.proxy.connections == 2)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        files_after = _open_files()

    assert files == files_after


async def test_a_cancellation_that_the_driver_replaced_still_ends_the_link(amqp_url: str) -> None:
    async def serve(session: Session) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise TransportError("the connection was lost in the same turn") from None

    link = Link(Broker(urls=[parse_url(amqp_url)], heartbeat=10, clock=HurriedClock()), "test", serve)
    await asyncio.wait_for(asyncio.create_task(link.run()), DEADLINE)

    assert "the connection was lost in the same turn" == link.degraded


async def test_an_unexpected_fault_is_logged_and_the_connection_made_again(
    amqp_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    served = asyncio.Event()

    async def serve(session: Session) -> None:
        if not caplog.records:
            raise ZeroDivisionError
        served.set()

    broker = Broker(urls=[parse_url(amqp_url)], heartbeat=10, clock=HurriedClock())
    link = Link(broker, "test", serve, lambda _: served.is_set())
    await asyncio.wait_for(link.run(), DEADLINE)

    assert "failed in an unexpected way" in caplog.text
    assert "an unexpected ZeroDivisionError, see the log" == link.degraded


@both_ways
async def test_what_goes_wrong_is_logged_once_and_so_is_its_end(
    amqp_url: str, caplog: pytest.LogCaptureFixture, fast: bool
) -> None:
    caplog.set_level(logging.INFO, "aioswap")
    async with (
        rabbit_driver(amqp_url, clock=HurriedClock(), fast=fast) as driver,
        driver.transport as transport,
        transport.sender("s") as sender,
    ):
        await sender.ready()
        accepted = driver.proxy.accepted
        driver.proxy.cut()
        await until(lambda: driver.proxy.accepted >= accepted + 5)
        degraded = sender.health.degraded
        driver.proxy.heal()
        await sender.ready()
        healed = sender.health.degraded
    told = [record.getMessage() for record in caplog.records if record.name.startswith("aioswap")]

    assert degraded
    assert degraded in told[0]
    assert "the connection s is well again" == told[-1]
    assert len(told) <= 4
    assert healed is None


async def test_a_connection_that_is_lost_already_tells_so() -> None:
    session = Session("here", "guest", HurriedClock())
    told: list[TransportError] = []
    session.tell_loss(told.append)
    first, second = TransportError("first"), TransportError("second")
    session.lost(first)
    session.lost(second)

    assert [first] == told
    with pytest.raises(TransportError, match="first"):
        session.tell_loss(told.append)


# Closed


@asynccontextmanager
async def _leaves_nothing() -> AsyncGenerator[None]:
    await asyncio.sleep(0)
    tasks, files = asyncio.all_tasks(), _open_files()
    yield
    await until(lambda: asyncio.all_tasks() <= tasks)
    await until(lambda: _open_files() <= files)


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 20])
@both_ways
async def test_a_cancelled_connect_leaves_nothing(turns: int, fast: bool) -> None:
    async def start(transport: RabbitTransport) -> None:
        async with transport.receiver(Subscription(), Inbox(), label="r"):
            pass

    async with _peer(b"") as (port, ends), _leaves_nothing():
        async with RabbitTransport(f"amqp://u:p@127.0.0.1:{port}/", fast=fast) as transport:
            task = asyncio.create_task(start(transport))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        for end in ends:
            await end.wait()


@both_ways
async def test_a_cancelled_handshake_leaves_nothing(amqp_url: str, fast: bool) -> None:
    async with Proxy(amqp_url) as proxy, _leaves_nothing():
        async with RabbitTransport(proxy.url, fast=fast) as transport:
            for turns in range(0, 60, 3):
                async with transport.sender("s"):
                    for _ in range(turns):
                        await asyncio.sleep(0)
        await until(lambda: proxy.connections == 0)


@both_ways
async def test_leaving_a_black_hole_ends(driver: RabbitDriver, fast: bool) -> None:
    clock = ManualClock()
    async with (
        RabbitTransport(driver.proxy.url, exchange=driver.exchange, clock=clock, fast=fast) as transport,
        _leaves_nothing(),
    ):

        async def stay() -> None:
            async with transport.sender("s") as sender:
                await sender.ready()
                driver.proxy.hold()
                sender.send(Message(routing_key=INFO, body=b"x" * 1_000_000, message_id="m")).cancel()

        task = asyncio.create_task(stay())
        await until(lambda: task.done() or _advanced(clock))
        await clock.advance(5)
        await asyncio.wait_for(task, DEADLINE)
        driver.proxy.heal()


def _advanced(clock: ManualClock) -> bool:
    """Whether the goodbye's deadline is set: then it is all that is waited for."""
    return any(timer.callback is not None and timer.when == 5 for _, _, timer in clock._timers)


@both_ways
async def test_a_sender_may_be_left_by_another_task(driver: RabbitDriver, fast: bool) -> None:
    async def enter(manager: object) -> object:
        return await manager.__aenter__()  # type: ignore[attr-defined]

    async with driver.transport_of(fast=fast) as transport, _leaves_nothing():
        for manager in (transport.sender("s"), transport.receiver(Subscription(), Inbox(), label="r")):
            await asyncio.create_task(enter(manager))
            await manager.__aexit__(None, None, None)


@both_ways
async def test_an_exit_that_is_cancelled_still_closes(driver: RabbitDriver, fast: bool) -> None:
    async with driver.transport_of(fast=fast) as transport, _leaves_nothing():
        manager = transport.sender("s")
        sender = await manager.__aenter__()
        await sender.ready()

        async def leave() -> None:
            await manager.__aexit__(None, None, None)

        task = asyncio.create_task(leave())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        connected = sender.health.connected
        with pytest.raises(RuntimeError, match="closed"):
            sender.send(Message(routing_key=INFO, body=b"", message_id="m"))

    assert not connected


@both_ways
async def test_a_fresh_sender_drains_while_the_loop_is_torn_down(driver: RabbitDriver, fast: bool) -> None:
    inbox = Inbox()

    async def drain(transport: RabbitTransport, opened: asyncio.Event) -> None:
        try:
            async with transport.sender("first") as sender:
                await sender.ready()
                opened.set()
                await asyncio.Event().wait()
        finally:
            async with transport.sender("last") as sender:
                await put(sender, b"drained")

    async def main(kept: list[object]) -> None:
        transport = RabbitTransport(driver.proxy.url, exchange=driver.exchange, fast=fast)
        await transport.__aenter__()
        opened = asyncio.Event()
        kept.append(asyncio.create_task(drain(transport, opened)))
        await opened.wait()

    async with driver.transport_of(fast=fast) as transport, transport.receiver(Subscription(), inbox, label="r"):
        kept: list[object] = []
        await asyncio.to_thread(asyncio.run, main(kept))
        drained = await inbox.bodies(1)

    assert [b"drained"] == drained


# Lost


async def test_a_silent_broker_is_noticed_by_its_heartbeats(driver: RabbitDriver) -> None:
    transport = RabbitTransport(driver.proxy.url, exchange=driver.exchange, heartbeat=1)
    async with transport, transport.sender("s") as sender:
        await sender.ready()
        driver.proxy.hold()
        await until(lambda: not sender.health.connected)
        await until(lambda: sender.health.degraded)
        degraded = sender.health.degraded

    assert "silent for three heartbeats" in (degraded or "")


async def test_a_deleted_user_is_told_although_the_connection_was_good(node: Node) -> None:
    user = f"passing{next(_users)}"
    await asyncio.to_thread(node.ctl, "add_user", user, "secret")
    await asyncio.to_thread(node.ctl, "set_permissions", user, "", ".*", "")
    async with Admin(node.url) as admin, Proxy(_replaced(node.url, user=user, password="secret")) as proxy:
        await admin.exchange("passing")
        transport = RabbitTransport(proxy.url, exchange="passing", clock=HurriedClock())
        async with transport, transport.sender("s") as sender:
            await sender.ready()
            await asyncio.to_thread(node.ctl, "change_password", user, "other")
            proxy.reset()
            await until(lambda: "403" in (sender.health.degraded or ""))
            degraded = sender.health.degraded
            await asyncio.to_thread(node.ctl, "change_password", user, "secret")
            await sender.ready()
        await admin.delete_exchange("passing")

    assert "correct the user and the password" in (degraded or "")


async def test_operators_see_who_is_connected(node: Node) -> None:
    async with Admin(node.url) as admin:
        await admin.exchange("named")
        async with RabbitTransport(node.url, exchange="named") as transport, transport.sender("emitter compute-1") as sender:
            await sender.ready()
            seen = await asyncio.to_thread(node.ctl, "list_connections", "client_properties")
        await admin.delete_exchange("named")

    assert "emitter compute-1" in seen
    assert '{"product","aioswap"}' in seen


# Secrets


@both_ways
async def test_the_password_is_nowhere(amqp_url: str, caplog: pytest.LogCaptureFixture, fast: bool) -> None:
    secret = "s3cr3t-c4n4ry"
    caplog.set_level(logging.DEBUG)
    (port,) = free_ports(1)
    told = []
    async with _peer(b"HTTP/1.1 400\r\n\r\n") as (http, _), _peer(b"") as (mute, _):
        for url in (
            _replaced(amqp_url, password=secret),
            _replaced(amqp_url, password=secret, port=port),
            _replaced(amqp_url, password=secret, port=http),
            _replaced(amqp_url, password=secret, port=mute),
            _replaced(amqp_url, password=secret).replace("amqp:", "amqps:"),
        ):
            transport = RabbitTransport(url, clock=HurriedClock(), fast=fast)
            async with transport, transport.sender("s") as sender:
                told += [repr(transport), repr(sender), await _start_error_inside(transport), repr(sender.health)]
    seen = "\n".join([*told, caplog.text, *(repr(vars(record)) for record in caplog.records)])

    assert secret not in seen
    assert "403" in seen


async def _start_error_inside(transport: RabbitTransport) -> str:
    try:
        async with transport.receiver(Subscription(), Inbox(), label="r", start_timeout=0.1):
            pass
    except TransportError as error:
        return f"{error!r} {error.__cause__!r} {error.__context__!r}"
    raise AssertionError


# TLS


async def _over_tls(
    node: Node, query: str, *, host: str = "127.0.0.1", ssl_context: ssl.SSLContext | None = None, fast: bool = True
) -> str:
    """Return `well`, or why a receiver cannot start over TLS."""
    url = f"amqps://guest:guest@{host}:{node.tls_port}/{query}"
    transport = RabbitTransport(url, exchange="amq.topic", ssl_context=ssl_context, clock=HurriedClock(), fast=fast)
    async with transport:
        try:
            async with transport.receiver(Subscription(), Inbox(), label="tls", start_timeout=1):
                return "well"
        except TransportError as error:
            return str(error)


@both_ways
async def test_a_broker_with_a_certificate_of_the_named_ca_is_trusted(node: Node, certificates: Path, fast: bool) -> None:
    assert "well" == await _over_tls(node, f"?ssl_ca_file={certificates / 'ca.pem'}", fast=fast)


@both_ways
async def test_a_broker_with_a_certificate_of_another_ca_is_not_trusted(node: Node, fast: bool) -> None:
    error = await _over_tls(node, "", fast=fast)

    assert "self-signed certificate in certificate chain" in error or "unable to get local issuer" in error
    assert "trust the broker's CA with ssl_ca_file" in error


@both_ways
async def test_a_broker_of_another_name_is_not_trusted(node: Node, certificates: Path, fast: bool) -> None:
    error = await _over_tls(node, f"?ssl_ca_file={certificates / 'ca.pem'}", host="localhost", fast=fast)

    assert "Hostname mismatch" in error


async def test_an_own_context_is_used_as_it_is(node: Node, certificates: Path) -> None:
    context = ssl.create_default_context(cafile=certificates / "ca.pem")

    assert "well" == await _over_tls(node, "", ssl_context=context)


async def test_the_clients_certificate_is_shown_to_the_broker(node: Node, certificates: Path) -> None:
    files = {"ssl_ca_file": "ca.pem", "ssl_cert_file": "client.pem", "ssl_key_file": "client.key"}
    query = "?ssl=1" + "".join(f"&{option}={certificates / name}" for option, name in files.items())
    url = f"rabbit://guest:guest@127.0.0.1:{node.tls_port}/{query}"
    transport = RabbitTransport(url, exchange="amq.topic")
    async with transport, transport.receiver(Subscription(), Inbox(), label="tls"):
        subjects = await asyncio.to_thread(node.ctl, "list_connections", "peer_cert_subject")

    assert "CN=client" in subjects


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ("ssl_ca_file=/no/such/file", "No such file or directory"),
        ("ssl_ca_file={folder}/ca.key", "NO_CERTIFICATE_OR_CRL_FOUND"),
        ("ssl_cert_file={folder}/client.pem&ssl_key_file={folder}/server.key", "KEY_VALUES_MISMATCH"),
        ("ssl_cert_file={folder}/client.pem&ssl_key_file={folder}/locked.key", "PEM"),
    ],
)
async def test_certificate_files_that_cannot_be_used_are_told(node: Node, certificates: Path, files: str, reason: str) -> None:
    error = await _over_tls(node, f"?{files.format(folder=certificates)}")

    assert reason in error
    assert "check ssl_ca_file, ssl_cert_file and ssl_key_file" in error


async def test_tls_to_a_port_without_it_is_told(node: Node) -> None:
    transport = RabbitTransport(f"amqps://guest:guest@127.0.0.1:{node.port}/", clock=HurriedClock())
    error = await _start_error(transport, start_timeout=0.5)

    assert "check that this port speaks TLS" in error


async def test_no_tls_to_a_port_with_it_is_told(node: Node) -> None:
    transport = RabbitTransport(f"amqp://guest:guest@127.0.0.1:{node.tls_port}/", clock=HurriedClock())
    error = await _start_error(transport, start_timeout=0.5)

    assert "speaks no AMQP 0-9-1" in error or "closed the connection without a word" in error or "lost" in error


# Arguments


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: RabbitTransport([]), "at least one URL"),
        (lambda: RabbitTransport("http://x"), "begins with one of"),
        (lambda: RabbitTransport("amqp://x", heartbeat=-1), "heartbeat=-1"),
        (lambda: RabbitTransport("amqp://x", declare_default_queues=True), "needs exchange_durable"),
        (lambda: RabbitTransport("amqp://x", ssl_context=ssl.create_default_context()), "needs TLS"),
    ],
)
def test_arguments_that_cannot_be_meant_are_value_errors(make: Callable[[], object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make()


async def test_a_transport_shows_its_hosts() -> None:
    transport = RabbitTransport(["amqp://u:p@one/", "amqps://u:p@two/v"])

    assert "<RabbitTransport amqp://u@one:5672/%2F, amqps://u@two:5671/v>" == repr(transport)
