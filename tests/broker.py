"""A RabbitMQ of the tests' own on loopback, and a TCP proxy that makes trouble on the way to it.

The node needs no root, no service and no container: it has its own folder, ports, cookie and epmd, and ends with the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from enum import Enum
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

from tests.packages import apt_install, succeeds

__all__ = ["NO_BROKER", "Direction", "Node", "Proxy", "free_ports", "install", "make_certificates", "server_folder"]

NO_BROKER: Final = (
    "these tests need a RabbitMQ. Three ways to give them one: "
    "set AIOSWAP_TEST_AMQP_URL to a broker that may be written to; "
    "or install the package rabbitmq-server, and a private node of it is started; "
    "or run the tests as root (or with a sudo that asks no password) where apt-get can install it"
)
_START_SECONDS: Final = 120.0
_TURNS: Final = 200


def server_folder() -> Path | None:
    """Return the folder of RabbitMQ's raw scripts: those that neither change the user nor use the machine's own node."""
    for folder in (Path("/usr/lib/rabbitmq/bin"), *sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))):
        if (folder / "rabbitmq-server").exists():
            return folder
    found = shutil.which("rabbitmq-server")
    return Path(found).resolve().parent if found is not None else None


def install() -> Path | None:
    """Install RabbitMQ, without starting its service, and return the folder of its scripts; None: impossible."""
    return server_folder() if apt_install("rabbitmq-server") else None


def make_certificates(folder: Path) -> None:
    """Write into `folder`: `ca.pem`; a certificate for 127.0.0.1 and one for a client (`server` and `client`, `.pem`, `.key`);
    and the client's key with a password (`locked.key`)."""
    _openssl(folder, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=aioswap-tests -keyout ca.key -out ca.pem")
    for name, extension in (("server", "subjectAltName=IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")):
        (folder / f"{name}.ext").write_text(f"{extension}\n")
        _openssl(folder, f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr")
        signing = (
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.pem"
        )
        _openssl(folder, signing)
    _openssl(folder, "rsa -in client.key -aes256 -passout pass:secret -out locked.key")


def _openssl(folder: Path, arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], cwd=folder, capture_output=True, timeout=60, check=True)


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody uses now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


class Node:
    """A private RabbitMQ node. All methods block: call them from a thread in an asynchronous test.

    Args:
        folder: an empty one, for everything that the node writes.
        scripts: the folder of RabbitMQ's raw scripts.
        certificates: where `make_certificates` has been. The node speaks TLS on a second port, `tls_port`, and asks clients
            for a certificate without insisting.
        peer: a node with the same cookie, whose cluster this one joins when it starts for the first time.
        tick: seconds after which a node of the same cluster that stands still counts as down; RabbitMQ's own default is 60.
    """

    def __init__(
        self, folder: Path, scripts: Path, certificates: Path, *, peer: Node | None = None, tick: int | None = None
    ) -> None:
        self.port, self.tls_port, distribution, epmd = free_ports(4)
        self._epmd: int = epmd if peer is None else peer._epmd
        self.name = f"aioswap{self.port}@localhost"
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self._folder, self._scripts = folder, scripts
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        lines = [
            f"listeners.tcp.1 = 127.0.0.1:{self.port}",
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}",
            f"ssl_options.cacertfile = {certificates / 'ca.pem'}",
            f"ssl_options.certfile = {certificates / 'server.pem'}",
            f"ssl_options.keyfile = {certificates / 'server.key'}",
            "ssl_options.verify = verify_peer",
            "ssl_options.fail_if_no_peer_cert = false",
        ]
        if peer is not None:
            lines += [
                "cluster_formation.peer_discovery_backend = classic_config",
                f"cluster_formation.classic_config.nodes.1 = {peer.name}",
            ]
        network = "-kernel inet_dist_use_interface {127,0,0,1}"
        if tick is not None:
            lines += ["cluster_partition_handling = pause_minority"]
            network += f" net_ticktime {tick}"
        (folder / "rabbitmq.conf").write_text("".join(f"{line}\n" for line in lines))
        (folder / "enabled_plugins").write_text("[].\n")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))},
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": network,
            "RABBITMQ_CTL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    @property
    def pid(self) -> int:
        """The process of its Erlang machine, once it has started."""
        return int((self._folder / "pid").read_text())

    def start(self) -> None:
        """Start the node and wait until it speaks AMQP."""
        self._output = (self._folder / "output").open("wb")
        self._process = subprocess.Popen(
            [str(self._scripts / "rabbitmq-server")],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_SECONDS
        while not _speaks_amqp(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"RabbitMQ did not start: {(self._folder / 'output').read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the node in order, as an operator does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the node as a power cut does."""
        os.kill(self.pid, signal.SIGKILL)
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Let the node stand still: its sockets stay open and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused node go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop the node if it runs, and its epmd."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.resume()
            self.stop()
        succeeds(["epmd", "-port", str(self._epmd), "-kill"], self._environment)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl, about 2 seconds, and return what it writes."""
        command = [str(self._scripts / "rabbitmqctl"), "--quiet", "-n", self._environment["RABBITMQ_NODENAME"], *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"rabbitmqctl {arguments[0]} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None
        if self._output is not None:
            self._output.close()


def _speaks_amqp(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.settimeout(2)
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


class Direction(Enum):
    """Which way bytes go."""

    UP = "to the broker"
    DOWN = "from the broker"


class Proxy:
    """Forwards TCP connections to a broker, and makes trouble on request. Open it by `async with`.

    Args:
        url: the broker's; `url` of the proxy is the same but for host and port.
        record: keep what clients write, in `sent`.
    """

    def __init__(self, url: str, *, record: bool = True) -> None:
        self._target = urlsplit(url)
        self._diverted: int | None = None
        self._recording = record
        self._server: asyncio.Server | None = None
        self._refusing = False
        self._flow = {direction: asyncio.Event() for direction in Direction}
        self._links: set[_Link] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.dropping: set[Direction] = set()
        self.delay = 0.0
        """Seconds that each piece waits, in both directions."""
        self.rate: float | None = None
        """Bytes per second to the broker, for each connection; None: as fast as it goes."""
        self.accepted = 0
        self.sent: list[bytearray] = []
        """What each connection wrote to the broker."""
        self.heard = 0
        """Bytes that brokers wrote."""
        self.port = 0

    @property
    def url(self) -> str:
        """The broker's URL, through the proxy."""
        login, _, _ = self._target.netloc.rpartition("@")
        return self._target._replace(netloc=f"{login}@127.0.0.1:{self.port}").geturl()

    async def __aenter__(self) -> Proxy:
        self.heal()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
        await self._server.wait_closed()
        await self.settled()

    def heal(self) -> None:
        """Forward everything again."""
        self._refusing = False
        self.dropping.clear()
        self.delay, self.rate = 0.0, None
        self._diverted = None
        for flow in self._flow.values():
            flow.set()

    def refuse(self) -> None:
        """Close each new connection at once, as nobody listening does. Old ones go on."""
        self._refusing = True

    def divert(self, port: int) -> None:
        """Lead new connections to another port of loopback, until `heal`."""
        self._diverted = port

    def reset(self) -> None:
        """Reset all connections (RST)."""
        for link in list(self._links):
            link.abort()

    def cut(self) -> None:
        """Reset all connections and refuse new ones, until `heal`."""
        self.refuse()
        self.reset()

    async def settled(self) -> None:
        """Let what has been written already go through: loopback delivers within a few turns of the loop."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    def hold(self, *directions: Direction) -> None:
        """Keep what comes, forward nothing, until `heal`: a black hole (both ways unless told which)."""
        for direction in directions or Direction:
            self._flow[direction].clear()

    def drop(self, direction: Direction) -> None:
        """Lose what goes in this direction, for good, until `heal`."""
        self.dropping.add(direction)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            if not self._refusing:
                await self._forward(reader, writer)
        finally:
            self._serving.discard(task)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._target.hostname is not None
        try:
            port = self._target.port if self._diverted is None else self._diverted
            broker_reader, broker_writer = await asyncio.open_connection(self._target.hostname, port)
        except OSError:
            return
        record = bytearray()
        if self._recording:
            self.sent.append(record)
        link = _Link(client=writer.transport, broker=broker_writer.transport)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, broker_writer, Direction.UP, link, record))
                pumps.create_task(self._pump(broker_reader, writer, Direction.DOWN, link, bytearray()))
        finally:
            link.abort()
            self._links.discard(link)

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        direction: Direction,
        link: _Link,
        record: bytearray,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                if self._recording:
                    record += data
                if direction is Direction.DOWN:
                    self.heard += len(data)
                await link.until_open(self._flow[direction])
                if direction in self.dropping:
                    continue
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self.rate is not None and direction is Direction.UP:
                    await asyncio.sleep(len(data) / self.rate)
                sink.write(data)
                await sink.drain()
            if not link.gone.is_set() and sink.can_write_eof():
                sink.write_eof()


class _Link:
    """Both sides of one connection through the proxy."""

    def __init__(self, *, client: asyncio.WriteTransport, broker: asyncio.WriteTransport) -> None:
        self._client = client
        self._broker = broker
        self.gone = asyncio.Event()

    def abort(self) -> None:
        """Reset the client's side. The broker still reads what went its way before."""
        self.gone.set()
        sock = self._client.get_extra_info("socket")
        if sock is not None and not self._client.is_closing():
            # Linger 0: closing resets.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._client.abort()
        self._broker.close()

    async def until_open(self, flow: asyncio.Event) -> None:
        """Wait until `flow` is set, or the connection is gone."""
        if flow.is_set():
            return
        waits = {asyncio.ensure_future(flow.wait()), asyncio.ensure_future(self.gone.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)
