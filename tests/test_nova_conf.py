"""What is read of a nova.conf."""

from __future__ import annotations

import pytest

from aioswap.nova_conf import NovaConf, read_nova_conf
from aioswap.transports.urls import parse_url

_URL = "rabbit://nova:secret@mq1:5672,nova:secret@mq2:5672/cell1"


def test_an_empty_file_says_what_nova_does_by_default() -> None:
    told = read_nova_conf("")

    assert NovaConf() == told
    assert ("unversioned", (), -1, "nova", ("versioned_notifications",)) == (
        told.notification_format,
        told.drivers,
        told.retry,
        told.exchange,
        told.topics,
    )
    assert (None, False, False, False, None) == (
        told.transport_url,
        told.durable,
        told.quorum,
        told.block_devices,
        told.compression,
    )


def test_a_complete_file_is_read() -> None:
    told = read_nova_conf(f"""
[DEFAULT]
transport_url = {_URL}
control_exchange = nova-west

[notifications]
notification_format = both
versioned_notifications_topics = versioned_notifications , billing,
bdms_in_notifications = True

[oslo_messaging_notifications]
driver = messagingv2
retry = 3

[oslo_messaging_rabbit]
amqp_durable_queues = on
kombu_compression = gzip
""")
    expected = NovaConf(
        transport_url=_URL,
        exchange="nova-west",
        topics=("versioned_notifications", "billing"),
        notification_format="both",
        drivers=("messagingv2",),
        retry=3,
        block_devices=True,
        durable=True,
        compression="gzip",
    )

    assert expected == told


def test_the_url_for_notifications_comes_before_the_one_of_rpc() -> None:
    text = "[DEFAULT]\ntransport_url = rabbit://rpc/\n[oslo_messaging_notifications]\ntransport_url = rabbit://notify/\n"

    assert ("rabbit://notify/", True) == (read_nova_conf(text).transport_url, read_nova_conf(text).own_transport)


def test_the_url_is_not_in_the_repr() -> None:
    assert "secret" not in repr(read_nova_conf(f"[DEFAULT]\ntransport_url={_URL}\n"))


def test_the_default_section_does_not_leak_into_others() -> None:
    told = read_nova_conf("[DEFAULT]\nretry = 7\ndriver = noop\n[oslo_messaging_notifications]\n")

    assert (-1, ()) == (told.retry, told.drivers)


def test_the_format_may_stand_in_the_default_section_as_it_did_once() -> None:
    assert "versioned" == read_nova_conf("[DEFAULT]\nnotification_format = versioned\n").notification_format


def test_drivers_add_up_over_lines_sections_and_files() -> None:
    told = read_nova_conf(
        "[oslo_messaging_notifications]\ndriver = messagingv2\ndriver = log\n[DEFAULT]\n"
        "[oslo_messaging_notifications]\ndriver=test",
        "[oslo_messaging_notifications]\ndriver =\ndriver = routing\n",
        "[oslo_messaging_notifications]\ndriver =\n",
    )

    assert ("messagingv2", "log", "test", "routing") == told.drivers


def test_a_name_without_a_value_says_nothing() -> None:
    assert ("log",) == read_nova_conf("[oslo_messaging_notifications]\ndriver\ndriver = log\n").drivers


def test_of_other_options_the_last_value_counts() -> None:
    told = read_nova_conf("[DEFAULT]\ncontrol_exchange = a\ncontrol_exchange = b\n", "[DEFAULT]\ncontrol_exchange = c\n")

    assert "c" == told.exchange


def test_values_may_be_quoted() -> None:
    told = read_nova_conf("[DEFAULT]\ncontrol_exchange = 'a'\n[notifications]\nnotification_format = \"both\"\n")

    assert ("a", "both") == (told.exchange, told.notification_format)


def test_percent_signs_are_themselves() -> None:
    url = "rabbit://u:p%40ss@h/"

    assert url == read_nova_conf(f"[DEFAULT]\ntransport_url = {url}\n").transport_url


@pytest.mark.parametrize(
    "text", ["\ufeff[DEFAULT]\ncontrol_exchange = a\n", "# first\n; second\n[DEFAULT]\ncontrol_exchange: a\n"]
)
def test_marks_and_comments_are_skipped(text: str) -> None:
    assert "a" == read_nova_conf(text).exchange


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("transport_url = x\n", "line 1 stands before the first"),
        ("[DEFAULT]\n = secret\n", "no configuration file: see line 2"),
        ("[DEFAULT]\ntransport_url = rabbit://u:$secret@h/\n", r"\[DEFAULT\] transport_url holds a \$"),
        ("[DEFAULT]\ncontrol_exchange = $secret\n", r"control_exchange holds a \$"),
        ("[oslo_messaging_notifications]\ndriver = $secret\n", r"driver holds a \$"),
        ("[oslo_messaging_notifications]\nretry = secret\n", "retry is no whole number"),
        ("[notifications]\nbdms_in_notifications = secret\n", "bdms_in_notifications is neither true nor false"),
        ("[DEFAULT]\ntransport_url = rabbit://h/?ssl=secret\n", "option ssl of transport_url is neither true nor false"),
    ],
)
def test_what_cannot_be_taken_is_named_and_not_shown(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        read_nova_conf(text)

    assert "secret" not in str(refused.value)


def test_what_is_not_needed_may_hold_anything() -> None:
    assert NovaConf() == read_nova_conf("[DEFAULT]\nmy_ip = $other\nstate_path = $pybasedir/x\n")


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ("", (False, False)),
        ("amqp_durable_queues = true", (True, False)),
        ("rabbit_quorum_queue = true", (True, True)),
        ("amqp_durable_queues = false\nrabbit_quorum_queue = no", (False, False)),
    ],
)
def test_quorum_queues_make_everything_durable(options: str, flags: tuple[bool, bool]) -> None:
    told = read_nova_conf(f"[oslo_messaging_rabbit]\n{options}\n")

    assert flags == (told.durable, told.quorum)


def test_the_urls_own_options_win() -> None:
    told = read_nova_conf(
        "[DEFAULT]\ntransport_url = rabbit://h/?amqp_durable_queues=true&kombu_compression=bzip2\n"
        "[oslo_messaging_rabbit]\namqp_durable_queues = false\nkombu_compression = gzip\n"
    )

    assert (True, "bzip2") == (told.durable, told.compression)


def test_tls_options_end_up_in_the_url() -> None:
    told = read_nova_conf(
        "[DEFAULT]\ntransport_url = rabbit://h/\n[oslo_messaging_rabbit]\nssl = true\n"
        "ssl_ca_file = /etc/my ca.pem\nssl_cert_file = /c.pem\nssl_key_file = /k.pem\n"
    )
    assert told.transport_url is not None
    parsed = parse_url(told.transport_url)

    assert (True, 5672) == (parsed.addresses[0].tls, parsed.addresses[0].port)
    assert ("/etc/my ca.pem", "/c.pem", "/k.pem") == (parsed.ca_file, parsed.cert_file, parsed.key_file)


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("rabbit://h/?ssl=1", "ssl = false\nssl_ca_file = /ca.pem", "rabbit://h/?ssl=1&ssl_ca_file=%2Fca.pem"),
        ("rabbit://h/?ssl=0", "ssl = true\nssl_ca_file = /ca.pem", "rabbit://h/?ssl=0"),
        ("rabbit://h/?ssl=1&ssl_ca_file=/own.pem", "ssl_ca_file = /ca.pem", "rabbit://h/?ssl=1&ssl_ca_file=/own.pem"),
        ("rabbit://h/", "ssl_ca_file = /ca.pem", "rabbit://h/"),
    ],
)
def test_what_the_url_says_of_tls_wins(url: str, options: str, expected: str) -> None:
    told = read_nova_conf(f"[DEFAULT]\ntransport_url = {url}\n[oslo_messaging_rabbit]\n{options}\n")

    assert expected == told.transport_url
