"""Where the broker is, and how data is printed: what the command line, files and the environment say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from aioswap.cli.options import Connection, connection_options, need_yes, output_options
from aioswap.cli.output import Style
from aioswap.nova_conf import NovaConf
from aioswap.transports.rabbit import RabbitTransport

_CONF = """
[DEFAULT]
transport_url = rabbit://nova:secret@conf/cell1
control_exchange = nova-west
[notifications]
versioned_notifications_topics = versioned_notifications,billing
[oslo_messaging_rabbit]
amqp_durable_queues = true
"""

Ask = Callable[..., Result]


@pytest.fixture
def ask() -> Ask:
    """Return a function that runs a command with the options, and prints what it got as JSON."""

    @click.command()
    @connection_options
    @output_options
    def command(connection: Connection, style: Style) -> int:
        told = {"urls": connection.urls, "exchange": connection.exchange, "topics": connection.topics}
        click.echo(json.dumps(told | {"durable": connection.nova and connection.nova.durable, "style": style.format}))
        return 0

    def ask(*arguments: str, **variables: str) -> Result:
        return CliRunner(env=variables).invoke(command, arguments)

    return ask


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "nova.conf"
    path.write_text(_CONF)
    return path


def _urls(result: Result) -> list[str]:
    found: list[str] = json.loads(result.stdout)["urls"]
    return found


def test_without_options_the_rest_is_novas_default(ask: Ask) -> None:
    result = ask("--url", "amqp://a/")

    assert 0 == result.exit_code
    assert {
        "urls": ["amqp://a/"],
        "exchange": "nova",
        "topics": ["versioned_notifications"],
        "durable": None,
        "style": "table",
    } == json.loads(result.stdout)
    assert "" == result.stderr


def test_no_url_at_all_is_2_and_says_what_to_give(ask: Ask) -> None:
    result = ask()

    assert (2, "") == (result.exit_code, result.stdout)
    assert "Give --url, --url-file or --nova-conf, or set AIOSWAP_URL" in result.stderr


def test_several_urls_are_several_brokers(ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "urls"
    file.write_text("amqp://c/\namqp://d/\n")
    file.chmod(0o600)
    result = ask("--url", "amqp://a/", "--url", "amqp://b/", "--url-file", str(file))

    assert ["amqp://a/", "amqp://b/", "amqp://c/", "amqp://d/"] == _urls(result)
    assert "" == result.stderr


def test_of_the_environment_the_own_variable_comes_first(ask: Ask) -> None:
    others = {"RABBITMQ_URL": "amqp://b/", "AMQP_URL": "amqp://c/"}

    assert ["amqp://a/"] == _urls(ask(AIOSWAP_URL="amqp://a/", **others))
    assert ["amqp://b/"] == _urls(ask(**others))
    assert ["amqp://c/"] == _urls(ask(AMQP_URL="amqp://c/"))


def test_a_file_that_the_environment_names_is_read(ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "urls"
    file.write_text("amqp://u:secret@a/\n")
    file.chmod(0o600)
    result = ask(AIOSWAP_URL_FILE=str(file), AMQP_URL="amqp://b/")

    assert (["amqp://u:secret@a/"], "") == (_urls(result), result.stderr)


def test_the_environment_names_exchange_and_topics_too(ask: Ask) -> None:
    result = ask(AIOSWAP_URL="amqp://a/", AIOSWAP_EXCHANGE="x", AIOSWAP_TOPIC="t,u")

    assert ("x", ["t", "u"]) == (json.loads(result.stdout)["exchange"], json.loads(result.stdout)["topics"])


def test_a_nova_conf_says_everything(ask: Ask, conf: Path) -> None:
    result = ask("--nova-conf", str(conf), AIOSWAP_URL="amqp://a/", AIOSWAP_EXCHANGE="x", AIOSWAP_TOPIC="t")

    assert (0, "") == (result.exit_code, result.stderr)
    assert {
        "urls": ["rabbit://nova:secret@conf/cell1"],
        "exchange": "nova-west",
        "topics": ["versioned_notifications", "billing"],
        "durable": True,
        "style": "table",
    } == json.loads(result.stdout)


def test_the_command_line_wins_over_nova_conf(ask: Ask, conf: Path) -> None:
    result = ask("--nova-conf", str(conf), "--url", "amqp://a/", "--exchange", "x", "--topic", "t", "--topic", "u")
    told = json.loads(result.stdout)

    assert (["amqp://a/"], "x", ["t", "u"]) == (told["urls"], told["exchange"], told["topics"])


def test_a_later_nova_conf_wins(ask: Ask, conf: Path, tmp_path: Path) -> None:
    later = tmp_path / "later.conf"
    later.write_text("[DEFAULT]\ncontrol_exchange = nova-east\n")
    told = json.loads(ask("--nova-conf", str(conf), "--nova-conf", str(later)).stdout)

    assert ("nova-east", ["rabbit://nova:secret@conf/cell1"]) == (told["exchange"], told["urls"])


def test_a_nova_conf_without_a_url_leaves_it_to_the_environment(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "nova.conf"
    path.write_text("[DEFAULT]\ncontrol_exchange = x\n")
    told = json.loads(ask("--nova-conf", str(path), AIOSWAP_URL="amqp://a/").stdout)

    assert (["amqp://a/"], "x") == (told["urls"], told["exchange"])


@pytest.mark.parametrize(
    ("arguments", "variables", "named"),
    [
        (["--url", "http://u:secret@a/"], {}, "--url"),
        ([], {"AIOSWAP_URL": "http://u:secret@a/"}, "AIOSWAP_URL, RABBITMQ_URL or AMQP_URL"),
        (["--url-file", "urls"], {}, "--url-file"),
        ([], {"AIOSWAP_URL_FILE": "urls"}, "AIOSWAP_URL_FILE"),
        (["--nova-conf", "conf"], {}, "--nova-conf"),
        (["--nova-conf", "odd"], {}, "--nova-conf: odd: [DEFAULT] transport_url holds a $"),
        (["--nova-conf", "binary"], {}, "--nova-conf: binary: it is no text in UTF-8"),
        (["--nova-conf", "mem"], {}, "--nova-conf: mem: Input/output error"),
        (["--url-file", "binary"], {}, "--url-file: binary: it is no text in UTF-8"),
        (["--url-file", "mem"], {}, "--url-file: mem: Input/output error"),
        (["--url-file", "/no/such/file"], {}, "--url-file"),
        ([], {"AIOSWAP_URL_FILE": "/no/such/file"}, "AIOSWAP_URL_FILE: /no/such/file: No such file or directory"),
    ],
)
def test_what_cannot_be_read_is_2_and_named_and_not_shown(
    arguments: list[str],
    variables: dict[str, str],
    named: str,
    ask: Ask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("urls").write_text("http://u:secret@a/\n")
    Path("conf").write_text("[DEFAULT]\ntransport_url = kafka://u:secret@a/\n")
    Path("odd").write_text("[DEFAULT]\ntransport_url = rabbit://u:$secret@a/\n")
    Path("binary").write_bytes(b"[DEFAULT]\xff")
    Path("mem").symlink_to("/proc/self/mem")
    result = ask(*arguments, **variables)
    said = " ".join(result.stderr.split())

    assert (2, "") == (result.exit_code, result.stdout)
    assert named in said
    assert "secret" not in said


@pytest.mark.parametrize("arguments", [["--topic", ""], ["--topic", "t" * 101], ["--exchange", "ü" * 51]])
def test_a_name_that_no_broker_takes_is_2(arguments: list[str], ask: Ask) -> None:
    result = ask("--url", "amqp://a/", *arguments)

    assert (2, True) == (result.exit_code, "1 to 100 bytes" in result.stderr)


def test_a_password_in_the_command_line_is_warned_of_and_not_shown(ask: Ask) -> None:
    result = ask("--url", "amqp://u:secret@a/")

    assert 0 == result.exit_code
    assert "others on this machine can see the password in --url" in result.stderr
    assert "secret" not in result.stderr


@pytest.mark.parametrize("url", ["amqp://guest:guest@a/", "amqp://u@a/", "amqp://a/"])
def test_what_is_no_secret_is_not_warned_of(url: str, ask: Ask) -> None:
    assert "" == ask("--url", url).stderr


def test_a_password_in_the_environment_is_fine(ask: Ask) -> None:
    assert "" == ask(AIOSWAP_URL="amqp://u:secret@a/").stderr


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_file_that_others_may_read_is_warned_of(mode: int, ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "urls"
    file.write_text("amqp://u:secret@a/\n")
    file.chmod(mode)
    result = ask("--url-file", str(file))

    assert 0 == result.exit_code
    assert f"aioswap: others may read {file}, which holds passwords: chmod 600 {file}\n" == result.stderr


def test_a_pipe_is_as_good_as_a_file(ask: Ask) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"amqp://u:secret@a/\n")
    os.close(writing)
    result = ask("--url-file", f"/dev/fd/{reading}")
    os.close(reading)

    assert (["amqp://u:secret@a/"], "") == (_urls(result), result.stderr)


@pytest.mark.parametrize(
    ("arguments", "style"), [(["-f", "csv"], "csv"), (["--json"], "json"), (["--json", "-f", "json"], "json")]
)
def test_the_format_is_chosen(arguments: list[str], style: str, ask: Ask) -> None:
    assert style == json.loads(ask("--url", "amqp://a/", *arguments).stdout)["style"]


@pytest.mark.parametrize("arguments", [["-f", "yaml"], ["--json", "-f", "csv"]])
def test_formats_that_are_not_there_or_do_not_fit_are_2(arguments: list[str], ask: Ask) -> None:
    result = ask("--url", "amqp://a/", *arguments)

    assert (2, "") == (result.exit_code, result.stdout)


def test_a_connection_gives_a_transport_for_each_url() -> None:
    connection = Connection(urls=("amqp://u:secret@a/", "amqp://b/"), exchange="x")
    transports = connection.transports()

    assert [True, True] == [isinstance(transport, RabbitTransport) for transport in transports]
    assert ["<RabbitTransport amqp://u@a:5672/%2F>", "<RabbitTransport amqp://guest@b:5672/%2F>"] == list(map(repr, transports))
    assert "secret" not in repr(connection)


def test_a_command_for_one_broker_takes_one_url() -> None:
    assert "a:5672" in repr(Connection(urls=("amqp://a/",)).transport())
    with pytest.raises(click.UsageError, match="2 URLs were given"):
        Connection(urls=("amqp://a/", "amqp://b/")).transport()


def test_nobody_publishes_to_novas_exchange_by_a_slip() -> None:
    for exchange, nova in (("nova", None), ("nova-west", NovaConf(exchange="nova-west"))):
        with pytest.raises(click.UsageError, match="Nova's own"):
            need_yes(exchange, nova, yes=False)
        need_yes(exchange, nova, yes=True)
    need_yes("mine", NovaConf(), yes=False)
