"""`aioswap doctor`, on real brokers: it names the cause."""

from __future__ import annotations

import asyncio
import json
import shlex
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from aioswap.cli.app import run
from aioswap.cli.doctor import examine
from aioswap.cli.findings import Row, State
from aioswap.cli.options import Connection
from aioswap.cli.visit import Visit
from aioswap.clock import Clock
from aioswap.transports.base import Message
from aioswap.transports.rabbit import RabbitTransport
from aioswap.transports.rabbit_probe import probing
from aioswap.transports.urls import parse_url
from tests.broker import Proxy
from tests.cli.bus import Bus, bus_at
from tests.cli.managed import ManagedNode
from tests.cli.running import in_pipe, in_terminal

pytestmark = pytest.mark.broker

_EMITTING = "[oslo_messaging_notifications]\ndriver = messagingv2\n[notifications]\nnotification_format = both\n"


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory, rabbitmq_scripts: Path, certificates: Path) -> Iterator[ManagedNode]:
    node = ManagedNode(tmp_path_factory.mktemp("managed"), rabbitmq_scripts, certificates)
    node.start()
    yield node
    node.close()


@pytest.fixture
def corner(managed: ManagedNode) -> Iterator[Bus]:
    """A corner of the broker that has the plugin."""
    with bus_at(managed.url) as bus:
        yield bus


Examine = Callable[..., tuple[int, dict[str, tuple[str, str, str]]]]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Examine:
    """Return a function that runs the command and gives its code and its rows by check: state, words, remedy."""

    def doctor(*arguments: str, seconds: float = 0.2) -> tuple[int, dict[str, tuple[str, str, str]]]:
        capsys.readouterr()
        code = run(["doctor", *arguments, "--seconds", str(seconds), "--json"])
        rows = json.loads(capsys.readouterr().out)
        return code, {row["check"]: (row["state"], row["told"], row["remedy"]) for row in rows}

    return doctor


def _findings(rows: dict[str, tuple[str, str, str]]) -> set[str]:
    return {check for check, (state, _, _) in rows.items() if state == "finding"}


class _Emitting:
    """Emits to a routing key from another thread, again and again, while the `with` lasts."""

    def __init__(self, bus: Bus, key: str, body: bytes = b'{"event_type": "instance.volume_swap.end"}') -> None:
        self._bus = bus
        self._message = Message(routing_key=key, body=body, message_id="1")
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._emit()))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    async def _emit(self) -> None:
        transport = RabbitTransport(self._bus.url, exchange=self._bus.exchange)
        async with transport, transport.sender("nova") as sender:
            await sender.ready()
            while not self._over.is_set():
                await sender.send(self._message)


def test_where_all_is_well_it_is_0(corner: Bus, managed: ManagedNode, doctor: Examine) -> None:
    corner.declare()
    corner.queues.add("aioswap.test")

    async def bind(admin: Any) -> None:
        await admin.queue("aioswap.test")
        for key in (corner.info, corner.error):
            await admin.bind("aioswap.test", corner.exchange, key)

    corner.ask(bind)
    with _Emitting(corner, corner.info):
        code, rows = doctor(*corner.where, "--management-url", managed.management_url, seconds=1)

    assert (0, set()) == (code, _findings(rows))
    assert "RabbitMQ 3." in rows["connection"][1]
    assert " of them of swaps" in rows["heard"][1]
    assert "goes to aioswap.test" == rows[f"bindings {corner.error}"][1]
    assert "a topic exchange, durable" == rows["exchange flags"][1]


@pytest.mark.parametrize(
    ("url", "cause", "remedy"), [("guest:wrong@{}/", "403", "password"), ("guest:guest@{}/none", "530", "vhost")]
)
def test_a_wrong_password_and_a_missing_vhost_are_named(url: str, cause: str, remedy: str, bus: Bus, doctor: Examine) -> None:
    host = f"127.0.0.1:{urlsplit(bus.url).port}"
    code, rows = doctor("--url", f"amqp://{url.format(host)}")

    assert (1, {"connection"}) == (code, _findings(rows))
    assert cause in rows["connection"][1]
    assert remedy in rows["connection"][2]
    assert "wrong" not in str(rows)


def test_nobody_there_is_a_finding_too(doctor: Examine) -> None:
    code, rows = doctor("--url", "amqp://127.0.0.1:1/")

    assert (1, {"connection"}) == (code, _findings(rows))
    assert "check that the broker runs, and its host and port" == rows["connection"][2]


def test_one_host_of_several_that_is_away_is_named(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    bus.declare()
    url = bus.url.replace("@127", "@127.0.0.1:1,guest:guest@127")

    code = run(
        ["doctor", "--url", url, "--exchange", bus.exchange, "--seconds", "0", "-f", "value", "-c", "check", "-c", "state"]
    )
    told = capsys.readouterr().out.splitlines()

    assert (1, ["connection finding", "connection fine", "exchange fine"]) == (code, told[:3])


def test_a_missing_exchange_is_named(bus: Bus, doctor: Examine) -> None:
    code, rows = doctor(*bus.where)

    assert (1, {"exchange"}) == (code, _findings(rows))
    assert f"there is no exchange {bus.exchange} in the vhost /" in rows["exchange"][1]
    assert "control_exchange" in rows["exchange"][2]


def test_silence_is_named(bus: Bus, doctor: Examine) -> None:
    bus.declare()
    code, rows = doctor(*bus.where)

    assert (1, {"heard"}) == (code, _findings(rows))
    assert f"nothing was emitted to {bus.topic} within 0.2 s" == rows["heard"][1]
    assert "notification_format" in rows["heard"][2]


def test_who_does_not_listen_is_told(bus: Bus, doctor: Examine) -> None:
    bus.declare()
    code, rows = doctor(*bus.where, seconds=0)

    assert (0, "unseen") == (code, rows["heard"][0])


def test_what_only_the_plugin_tells_is_said_with_what_to_run(bus: Bus, doctor: Examine) -> None:
    bus.declare()
    _, rows = doctor(*bus.where, seconds=0)

    assert {
        "exchange flags": "rabbitmqctl list_exchanges -p / name type durable",
        "bindings": "rabbitmqctl list_bindings -p / source_name routing_key destination_name",
        "policies": "rabbitmqctl list_policies -p /",
    } == {check: rows[check][2] for check in ("exchange flags", "bindings", "policies") if rows[check][0] == "unseen"}


def test_errors_that_go_nowhere_are_named(corner: Bus, managed: ManagedNode, doctor: Examine) -> None:
    corner.declare()
    corner.bind(corner.info)
    code, rows = doctor(*corner.where, "--management-url", managed.management_url, seconds=0)

    assert (1, {f"bindings {corner.error}"}) == (code, _findings(rows))
    assert f"no queue is bound to {corner.error}" in rows[f"bindings {corner.error}"][1]
    assert f"goes to {corner.info}" == rows[f"bindings {corner.info}"][1]


@pytest.mark.parametrize("management", [True, False])
def test_a_default_queue_that_grows_is_named(management: bool, corner: Bus, managed: ManagedNode, doctor: Examine) -> None:
    corner.declare()
    corner.bind(corner.info, corner.error)
    options = ["--management-url", managed.management_url] if management else []
    with _Emitting(corner, corner.info):
        code, rows = doctor(*corner.where, *options, seconds=1)
    state, told, remedy = rows[f"queue {corner.info}"]

    assert (1, "finding", {f"queue {corner.info}"}) == (code, state, _findings(rows))
    assert "grows: " in told
    assert "nobody reads it" in told
    assert "rabbitmqctl set_policy -p / --apply-to queues" in remedy


def test_a_default_queue_with_a_bound_may_be_full(corner: Bus, managed: ManagedNode, doctor: Examine) -> None:
    corner.declare()
    corner.bind(corner.info, corner.error, arguments={"x-max-length": 3})
    with _Emitting(corner, corner.info):
        _, rows = doctor(*corner.where, "--management-url", managed.management_url, seconds=1)

    assert "fine" == rows[f"queue {corner.info}"][0]
    assert "bounded by max-length" in rows[f"queue {corner.info}"][1]


def test_the_remedy_for_a_growing_queue_works(corner: Bus, managed: ManagedNode, doctor: Examine) -> None:
    corner.declare()
    corner.bind(corner.info, corner.error)
    corner.publish(Message(routing_key=corner.info, body=b"{}", message_id="1"))
    plugin = ["--management-url", managed.management_url]

    _, before = doctor(*corner.where, *plugin, seconds=0)
    managed.ctl(*_arguments(before[f"queue {corner.info}"][2]))
    after = before
    while after[f"queue {corner.info}"][0] == "finding":  # the plugin learns of it within a second
        _, after = doctor(*corner.where, *plugin, seconds=0)
    managed.ctl("clear_policy", "-p", "/", f"bound-{corner.info}")

    assert ("finding", "fine") == (before[f"queue {corner.info}"][0], after[f"queue {corner.info}"][0])
    assert f"bounded by max-length (policy bound-{corner.info})" in after[f"queue {corner.info}"][1]


def _arguments(remedy: str) -> list[str]:
    """Return what a shell would give to rabbitmqctl."""
    words = shlex.split(remedy)
    return words[words.index("rabbitmqctl") + 1 :]


def test_a_blocked_broker_is_named(corner: Bus, managed: ManagedNode, doctor: Examine) -> None:
    corner.declare()
    managed.set_memory_limit(0.0000001)
    try:
        code, rows = doctor(*corner.where, seconds=0)
    finally:
        managed.set_memory_limit(0.4)

    assert (1, {"alarms"}) == (code, _findings(rows))
    assert "the broker is blocked, low on memory" in rows["alarms"][1]


@pytest.fixture
def restricted(managed: ManagedNode, corner: Bus) -> Iterator[str]:
    """The URL of a user without any right."""
    name = f"user{uuid4().hex[:6]}"
    managed.ctl("add_user", name, "secret")
    managed.ctl("set_permissions", "-p", "/", name, "^$", "^$", "^$")
    yield corner.url.replace("guest:guest", f"{name}:secret")
    managed.ctl("delete_user", name)


def test_rights_that_are_missing_are_named_until_the_remedies_were_followed(
    restricted: str, corner: Bus, managed: ManagedNode, doctor: Examine
) -> None:
    corner.declare()
    user = urlsplit(restricted).username
    where = ["--url", restricted, "--exchange", corner.exchange, "--topic", corner.topic]

    code, rows = doctor(*where, seconds=0)
    told = [rows["rights"][1]]
    managed.ctl("set_permissions", "-p", "/", str(user), r"^aioswap\.", r"^aioswap\.", r"^aioswap\.")
    _, partly = doctor(*where, seconds=0)
    told.append(partly["rights"][1])
    managed.ctl("set_topic_permissions", "-p", "/", str(user), corner.exchange, "^$", "^$")
    managed.ctl(*_arguments(partly["rights"][2]))
    _, nearly = doctor(*where, seconds=0)
    told.append(nearly["rights"][1])
    managed.ctl(*_arguments(nearly["rights"][2]))
    last, well = doctor(*where, seconds=0)

    assert (1, {"rights"}) == (code, _findings(rows))
    assert f"{user} has no right to declare its own queue" in told[0]
    assert f"{user} has no right to read the exchange {corner.exchange}" in told[1]
    assert f"{user} has no right to read these topics of the exchange {corner.exchange}" in told[2]
    assert (0, "fine") == (last, well["rights"][0])
    assert "secret" not in f"{rows}{partly}{nearly}{well}"


def test_a_user_of_the_broker_may_be_nobody_to_the_plugin(
    restricted: str, corner: Bus, managed: ManagedNode, doctor: Examine
) -> None:
    corner.declare()
    code, rows = doctor("--url", restricted, "--management-url", managed.management_url, seconds=0)

    assert (1, "finding") == (code, rows["management"][0])
    assert f"refuses the user {urlsplit(restricted).username} (401)" in rows["management"][1]
    assert "rabbitmqctl set_user_tags" in rows["management"][2]
    assert "unseen" == rows["bindings"][0]


@pytest.mark.parametrize(
    ("text", "check", "remedy"),
    [
        (
            "[notifications]\nnotification_format = unversioned\n",
            "nova.conf notification_format",
            "notification_format = versioned",
        ),
        ("", "nova.conf notification_format", "notification_format = versioned"),
        ("[oslo_messaging_notifications]\ndriver = noop\n", "nova.conf driver", "driver = messagingv2"),
        ("", "nova.conf driver", "driver = messagingv2"),
        ("[notifications]\nversioned_notifications_topics = x\n", "nova.conf versioned_notifications_topics", "--topic x"),
        ("[oslo_messaging_rabbit]\nkombu_compression = bz2\n", "nova.conf kombu_compression", "bzip2"),
        ("[oslo_messaging_rabbit]\namqp_durable_queues = false\n", "exchange flags", "amqp_durable_queues = true"),
    ],
)
def test_what_is_wrong_in_nova_conf_is_named(
    text: str, check: str, remedy: str, corner: Bus, managed: ManagedNode, tmp_path: Path, doctor: Examine
) -> None:
    corner.declare()
    path = tmp_path / "nova.conf"
    path.write_text(text)
    plugin = ["--management-url", managed.management_url]

    code, rows = doctor("--nova-conf", str(path), *corner.where, *plugin, seconds=0)

    assert 1 == code
    assert check in _findings(rows)
    assert remedy in rows[check][2]


def test_a_nova_conf_alone_is_enough(corner: Bus, managed: ManagedNode, tmp_path: Path, doctor: Examine) -> None:
    corner.declare()
    corner.bind(corner.info, corner.error)
    path = tmp_path / "nova.conf"
    path.write_text(
        f"{_EMITTING}versioned_notifications_topics = {corner.topic}\nbdms_in_notifications = true\n"
        f"[DEFAULT]\ncontrol_exchange = {corner.exchange}\ntransport_url = {corner.url.replace('amqp:', 'rabbit:')}\n"
        "[oslo_messaging_rabbit]\namqp_durable_queues = true\n"
    )

    code, rows = doctor("--nova-conf", str(path), "--management-url", managed.management_url, seconds=0)

    assert (0, set()) == (code, _findings(rows))
    assert {"nova.conf retry"} == {check for check, row in rows.items() if row[0] == "note"}


def test_several_brokers_are_told_apart(bus: Bus, doctor: Examine) -> None:
    bus.declare()
    code, rows = doctor(*bus.where, "--url", "amqp://localhost:1/", seconds=0)

    assert 1 == code
    assert ("fine", "finding") == (rows["127.0.0.1: connection"][0], rows["localhost: connection"][0])


def test_the_plugin_belongs_to_one_broker(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["doctor", "--url", "amqp://a/", "--url", "amqp://b/", "--management-url", "http://a:15672"])

    assert 2 == code
    assert "one broker: 2 URLs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--management-url", "ftp://u:secret@a/"], "--management-url"),
        (["--management-url", "http://u:secret@a:x/"], "--management-url"),
        (["--management-url", "http://a/", "--management-url-file", "/dev/null"], "give one of"),
        (["--management-url-file", "/dev/null"], "it holds no URL"),
        (["--seconds", "-1"], "--seconds"),
    ],
)
def test_misuse_is_2(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["doctor", "--url", "amqp://a/", *arguments])
    told = capsys.readouterr()

    assert (2, "") == (code, told.out)
    assert reason in told.err
    assert "secret" not in told.err


def test_where_the_plugin_is_may_come_from_a_file_or_the_environment(
    corner: Bus, managed: ManagedNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doctor: Examine
) -> None:
    corner.declare()
    file = tmp_path / "management"
    file.write_text(managed.management_url.replace("//", "//guest:guest@"))
    _, from_file = doctor(*corner.where, "--management-url-file", str(file), seconds=0)
    monkeypatch.setenv("AIOSWAP_MANAGEMENT_URL", managed.management_url)
    _, from_environment = doctor(*corner.where, seconds=0)

    assert ("fine", "fine") == (from_file["policies"][0], from_environment["policies"][0])


def test_a_password_in_the_command_line_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    url = "http://u:secret@127.0.0.1:1"

    run(["doctor", "--url", "amqp://127.0.0.1:1/", "--management-url", url, "--seconds", "0"])
    told = capsys.readouterr()

    assert "can see the password in --management-url: use --management-url-file" in told.err
    assert "secret" not in f"{told.out}{told.err}"


def test_the_plugin_tells_of_queues_where_the_broker_is_not_reached(corner: Bus, managed: ManagedNode, doctor: Examine) -> None:
    corner.declare()
    corner.bind(corner.info, corner.error)
    plugin = managed.management_url.replace("//", "//guest:guest@")
    options = ["--exchange", corner.exchange, "--topic", corner.topic, "--management-url", plugin]

    code, rows = doctor("--url", "amqp://127.0.0.1:1/", *options, seconds=0)

    assert (1, {"connection"}) == (code, _findings(rows))
    assert "fine" == rows[f"bindings {corner.error}"][0]
    assert f"queue {corner.info}" in rows


@pytest.mark.parametrize("form", ["pipe", "terminal"])
def test_in_a_pipe_it_is_columns_and_in_a_terminal_a_frame(form: str, bus: Bus) -> None:
    bus.declare()

    ended = (in_pipe if form == "pipe" else in_terminal)("doctor", *bus.where, "--seconds", "0.1")

    assert (1, "listening for 0.1 s\n") == (ended.code, ended.err)
    assert ("│" in ended.out) == (form == "terminal")
    assert f"{bus.exchange} is there" in ended.out


def test_a_connection_that_is_lost_meanwhile_is_a_finding(bus: Bus) -> None:
    bus.declare()

    async def main() -> list[Row]:
        async with Proxy(bus.url) as proxy:
            connection = Connection(urls=(proxy.url,), exchange=bus.exchange, topics=(bus.topic,))
            return await examine(connection, None, 1.0, _CuttingClock(proxy))

    rows = asyncio.run(main())

    assert ["heard", "connection"] == [row.check for row in rows if row.state is State.FINDING]


def test_an_exchange_that_goes_meanwhile_is_a_finding(bus: Bus) -> None:
    async def main() -> Row:
        visit, url = _visit(bus, bus.url), parse_url(bus.url)
        async with probing(url, url.addresses[0], Clock()) as probe:
            assert not await visit._rights_suffice(probe, url.addresses[0])
        return visit.rows[0]

    row = asyncio.run(main())

    assert ("rights", State.FINDING, True) == (row.check, row.state, "404" in row.told)


def test_who_is_refused_meanwhile_is_told(bus: Bus) -> None:
    visit = _visit(bus, bus.url.replace("guest@", "wrong@"))

    asyncio.run(visit._listen())

    assert [("heard", State.FINDING)] == [(row.check, row.state) for row in visit.rows]


def _visit(bus: Bus, transport_url: str) -> Visit:
    transport = RabbitTransport(transport_url, exchange=bus.exchange)
    return Visit(parse_url(bus.url), transport, bus.exchange, [bus.topic], 1.0, Clock())


class _CuttingClock(Clock):
    """Cuts all connections when somebody listens."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    async def sleep(self, seconds: float) -> None:
        if seconds == 1.0:
            self._proxy.cut()
