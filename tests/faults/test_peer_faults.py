"""What answers in the broker's place: with a certificate that nobody trusts, or speaking no AMQP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.faults.certificates import forge, tls_server
from tests.faults.kit import Scene
from tests.faults.load import until
from tests.faults.ways import FAST
from tests.faults.workload import Workload

pytestmark = pytest.mark.broker

SLOW = (pytest.mark.faults, pytest.mark.timeout(300))

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


async def _refused(scene: Scene, workload: Workload, port: int, right: int, told: Callable[[], bool]) -> None:
    """Lead new connections to `port`, and to the right one again when the log has told why that is no good."""
    scene.proxy.divert(port)
    scene.proxy.reset()
    await until(told, 60, what="the log tells why")
    scene.proxy.divert(right)
    scene.proxy.reset()
    await workload.healed()


# F22


@pytest.fixture
async def forged(scene: Scene, certificates: Path, tmp_path: Path) -> Path:
    """Certificates that nobody should trust."""
    folder = tmp_path / "forged"
    folder.mkdir()
    await asyncio.to_thread(forge, folder, certificates)
    return folder


@pytest.mark.fault(22)
@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        ("expired", "certificate has expired"),
        pytest.param("stranger", "unable to get local issuer certificate", marks=SLOW),
        pytest.param("other", "IP address mismatch", marks=SLOW),
        pytest.param("old version", "ConnectionResetError; check that", marks=SLOW),
        pytest.param("plain port", "TLS failed", marks=SLOW),
    ],
)
async def test_a_peer_that_cannot_be_verified_hears_nothing(
    scene: Scene, certificates: Path, forged: Path, caplog: pytest.LogCaptureFixture, certificate: str, why: str
) -> None:
    def told() -> bool:
        return why in caplog.text

    scene.proxy.divert(scene.node.tls_port)
    secure = urlsplit(scene.proxy.url)._replace(scheme="amqps", query=f"ssl_ca_file={certificates / 'ca.pem'}").geturl()
    workload = Workload(scene.plan(emitting=secure, consuming=scene.node.url))
    async with workload.running():
        if certificate == "plain port":
            await _refused(scene, workload, scene.node.port, scene.node.tls_port, told)
            heard = bytearray()
        else:
            shown = certificates / "server" if certificate == "old version" else forged / certificate
            newest = ssl.TLSVersion.TLSv1_1 if certificate == "old version" else None
            async with tls_server(shown.with_suffix(".pem"), shown.with_suffix(".key"), newest=newest) as (port, heard):
                await _refused(scene, workload, port, scene.node.tls_port, told)
    scene.judge(workload, 22, f"a peer whose certificate is no good: {certificate}", faults=2)

    assert b"" == bytes(heard)


# F24


@asynccontextmanager
async def _server(answer: Answer) -> AsyncGenerator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
            while await reader.read(1 << 16):
                pass
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say nothing."""


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as a web server does."""
    await reader.readexactly(8)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


async def huge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Announce a frame of 4 GiB."""
    await reader.readexactly(8)
    writer.write(b"\x01\x00\x00\xff\xff\xff\xff" + bytes(1 << 16))


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (huge, "speaks no AMQP"),
        pytest.param(http, "speaks no AMQP", marks=SLOW),
        pytest.param(mute, "no answer in time", marks=SLOW),
    ],
    ids=["a frame of 4 GiB", "HTTP", "mute"],
)
async def test_a_peer_that_speaks_no_amqp_is_left(
    scene: Scene, caplog: pytest.LogCaptureFixture, answer: Answer, why: str
) -> None:
    def told() -> bool:
        return (why if FAST else "no answer in time") in caplog.text  # aiormq waits for the rest of whatever it is

    workload = Workload(scene.plan())
    async with workload.running(), _server(answer) as port:
        await _refused(scene, workload, port, scene.node.port, told)
        await workload.settle()
    scene.judge(workload, 24, f"a peer that is {answer.__name__}", faults=2)
