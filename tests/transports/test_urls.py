"""Where RabbitMQ is, by URL."""

from __future__ import annotations

import re
import traceback

import pytest

from aioswap.transports.urls import Address, BrokerUrl, parse_url


def _only(url: str) -> Address:
    (address,) = parse_url(url).addresses
    return address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("amqp://h", Address(host="h")),
        ("AMQP://h/", Address(host="h")),
        ("amqps://h", Address(host="h", port=5671, tls=True)),
        ("amqps://h?ssl=1", Address(host="h", port=5671, tls=True)),
        ("rabbit://h", Address(host="h")),
        ("rabbit://h/?ssl=1", Address(host="h", port=5672, tls=True)),
        ("rabbit://h?ssl=False", Address(host="h")),
        ("amqp://h?ssl=true", Address(host="h", port=5672, tls=True)),
        ("amqp://h:1", Address(host="h", port=1)),
        ("amqp://h:", Address(host="h")),
        ("amqps://h:65535", Address(host="h", port=65535, tls=True)),
        ("amqp://rabbit-1.example.org.", Address(host="rabbit-1.example.org.")),
        ("amqp://10.0.0.1:5673", Address(host="10.0.0.1", port=5673)),
        ("amqp://[::1]", Address(host="::1")),
        ("amqp://u:p@[2001:DB8::1]:5673/v", Address(host="2001:db8::1", port=5673, user="u", password="p", vhost="v")),
        ("amqp://[fe80::1%25eth0]", Address(host="fe80::1%eth0")),
        ("amqp://u@h", Address(host="h", user="u", password="")),
        ("amqp://u:@h", Address(host="h", user="u", password="")),
        ("amqp://u:p:q@h", Address(host="h", user="u", password="p:q")),
        ("amqp://me@corp:p@h", Address(host="h", user="me@corp", password="p")),
        ("amqp://u%40:p%2F%3A%40%25%C3%A9@h", Address(host="h", user="u@", password="p/:@%é")),
    ],
)
def test_a_url_names_an_address(url: str, address: Address) -> None:
    assert address == _only(url)


@pytest.mark.parametrize(
    ("path", "vhost"),
    [("", "/"), ("/", "/"), ("//", "/"), ("/%2F", "/"), ("/%2f", "/"), ("/t1", "t1"), ("/a%2Fb", "a/b"), ("/a/b", "a/b")],
)
@pytest.mark.parametrize("scheme", ["amqp", "amqps", "rabbit"])
def test_the_path_is_the_vhost(scheme: str, path: str, vhost: str) -> None:
    assert vhost == _only(f"{scheme}://h{path}").vhost


def test_several_hosts_keep_their_order_and_share_vhost_and_options() -> None:
    url = parse_url("rabbit://u:p@h1,v:q@h2:5673,u:p@[::1]:5674/t1?ssl=1&heartbeat=7")

    assert (
        Address(host="h1", user="u", password="p", vhost="t1", tls=True),
        Address(host="h2", port=5673, user="v", password="q", vhost="t1", tls=True),
        Address(host="::1", port=5674, user="u", password="p", vhost="t1", tls=True),
    ) == url.addresses
    assert 7 == url.heartbeat


@pytest.mark.parametrize(
    ("query", "heartbeat"),
    [
        ("", None),
        ("heartbeat=0", 0),
        ("heartbeat=65535", 65535),
        ("heartbeat_timeout_threshold=60&heartbeat_rate=3", 60),
        ("amqp_durable_queues=true&rabbit_quorum_queue=1&kombu_compression=gzip", None),
    ],
)
def test_oslo_options_are_understood_or_ignored(query: str, heartbeat: int | None) -> None:
    assert heartbeat == parse_url(f"rabbit://h/?{query}").heartbeat


@pytest.mark.parametrize(
    "query",
    ["ssl_ca_file=/ca.pem&ssl_cert_file=/c.pem&ssl_key_file=/k%20.pem", "cafile=/ca.pem&certfile=/c.pem&keyfile=/k%20.pem"],
)
def test_certificates_are_named_in_both_ways(query: str) -> None:
    url = parse_url(f"amqps://h/?{query}")

    assert ("/ca.pem", "/c.pem", "/k .pem") == (url.ca_file, url.cert_file, url.key_file)


def test_a_certificate_may_hold_its_key() -> None:
    url = parse_url("rabbit://h/?ssl=yes&ssl_cert_file=/c.pem")

    assert (None, "/c.pem", None) == (url.ca_file, url.cert_file, url.key_file)


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "begins with one of amqp://, amqps://, rabbit://"),
        (f"u:{SECRET}@h", "begins with"),
        (f"http://u:{SECRET}@h", "begins with"),
        (f"amqp:u:{SECRET}@h", "begins with"),
        (f"kombu+memory://u:{SECRET}@h", "begins with"),
        (f"amqp://u:#{SECRET}@h", "%23"),
        (f"amqp://u:{SECRET}/x@h", "%2F"),
        (f"amqp://u:1/{SECRET}@h/v", "%2F"),
        (f"amqp://u:1?{SECRET}@h/v", "whose name is no word"),
        (f"amqp://u:{SECRET}?x@h/v", "whose name is no word"),
        (f"amqp://u:{SECRET}", "a port"),
        (f"amqp://u:1,{SECRET}@h", "give one for each, or none"),
        (f"amqp://u:{SECRET}@h1,h2", "give one for each, or none"),
        (f"amqp://u:{SECRET}@", "names no host"),
        ("amqp://", "names no host"),
        ("rabbit:///v", "names no host"),
        (f"rabbit://u:{SECRET}@h1,", "a comma too many"),
        (f"amqp://u:{SECRET}@h:0", "a port"),
        (f"amqp://u:{SECRET}@h:65536", "a port"),
        (f"amqp://u:{SECRET}@h:123456", "a port"),
        (f"amqp://u:{SECRET}@h:x", "a port"),
        (f"amqp://u:{SECRET}@h:\u0661", "a port"),
        (f"amqp://u:{SECRET}@::1", "brackets"),
        (f"amqp://u:{SECRET}@[::1", "brackets"),
        (f"amqp://u:{SECRET}@[::1]5672", "brackets"),
        (f"amqp://u:{SECRET}@[{SECRET}]", "no IPv6 address"),
        (f"amqp://u:{SECRET}@[%FF]", "no IPv6 address"),
        (f"amqp://u:{SECRET}@a b", "no host name"),
        (f"amqp://u:{SECRET}@h\n", "no host name"),
        (f"amqp://u:{SECRET}@-h", "no host name"),
        (f"amqp://u:{SECRET}%FF@h", "no UTF-8"),
        (f"amqp://{SECRET}%FF:@h", "no UTF-8"),
        (f"amqp://u:{SECRET}@h/%FF", "no UTF-8"),
        (f"amqp://u:{SECRET}@h?%FF=1", "cannot be read"),
        (f"amqp://u:{SECRET}@h?ssl_version=TLSv1", "not known: ssl_version"),
        (f"amqp://u:{SECRET}@h?password={SECRET}", "not known: password"),
        (f"amqps://u:{SECRET}@h?no_verify_ssl=0", "no_verify_ssl is refused"),
        (f"amqps://u:{SECRET}@h?no_verify_ssl", "no_verify_ssl is refused"),
        (f"amqps://u:{SECRET}@h?ssl=0", "both amqps and ssl=0"),
        (f"amqp://u:{SECRET}@h?ssl={SECRET}", "neither 1 nor 0"),
        (f"amqp://u:{SECRET}@h?ssl=", "neither 1 nor 0"),
        (f"amqp://u:{SECRET}@h?ssl=1&ssl=0", "ssl stands in the URL twice"),
        (f"amqp://u:{SECRET}@h?heartbeat=-1", "one heartbeat"),
        (f"amqp://u:{SECRET}@h?heartbeat=65536", "one heartbeat"),
        (f"amqp://u:{SECRET}@h?heartbeat=1&heartbeat_timeout_threshold=1", "one heartbeat"),
        (f"amqp://u:{SECRET}@h?ssl_ca_file=/ca", "ssl_ca_file but no TLS"),
        (f"amqps://u:{SECRET}@h?ssl_ca_file=", "ssl_ca_file of the URL is empty"),
        (f"amqps://u:{SECRET}@h?ssl_ca_file=/a&cafile=/a", "cafile of the URL is empty, or says again"),
        (f"amqps://u:{SECRET}@h?keyfile=/k", "no certificate file"),
    ],
)
def test_what_is_wrong_is_said_without_the_url(url: str, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        parse_url(url)

    assert SECRET not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_an_address_shows_no_password() -> None:
    address = Address(host="::1", user="me@corp", password=SECRET, vhost="/", tls=True)
    url = BrokerUrl(addresses=(address, Address(host="h2", password=SECRET, vhost="t1")))

    assert "amqps://me%40corp@[::1]:5672/%2F" == str(address)
    assert "amqps://me%40corp@[::1]:5672/%2F, amqp://guest@h2:5672/t1" == str(url)
    assert SECRET not in repr(url)


def test_an_address_as_text_is_a_url_of_the_same_place() -> None:
    address = _only("amqps://u@[2001:db8::1]:5673/a%2Fb")

    assert address == _only(str(address))
