"""Where RabbitMQ is: `amqp`, `amqps` and oslo's `rabbit` URLs, with several hosts.

    rabbit://user:password@host1:5672,user:password@host2:5672/vhost?ssl=1&ssl_ca_file=/etc/ssl/ca.pem

Nothing of a URL is ever shown in an error, but the name of an option: passwords stand in it.
Source: oslo.messaging `TransportURL.parse`, the AMQP URI specification.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

__all__ = ["Address", "BrokerUrl", "parse_url"]

_SCHEMES: Final = ("amqp", "amqps", "rabbit")
_PORT: Final = 5672
_TLS_PORT: Final = 5671
"""The default of `amqps` alone: with oslo's `ssl=1` it stays 5672."""

_HOST: Final = re.compile(r"[^\W_](?:[\w.-]*\w)?\.?")
_OPTION: Final = re.compile(r"[a-z_]{1,64}")
_FILES: Final = {
    "ssl_ca_file": "ca_file",
    "cafile": "ca_file",
    "ssl_cert_file": "cert_file",
    "certfile": "cert_file",
    "ssl_key_file": "key_file",
    "keyfile": "key_file",
}
_TRUE: Final = frozenset(("1", "t", "true", "on", "y", "yes"))
_FALSE: Final = frozenset(("0", "f", "false", "off", "n", "no"))
_HEARTBEATS: Final = ("heartbeat", "heartbeat_timeout_threshold")
_IGNORED: Final = frozenset(
    (
        "amqp_auto_delete",
        "amqp_durable_queues",
        "conn_pool_min_size",
        "conn_pool_ttl",
        "direct_mandatory_flag",
        "enable_cancel_on_failover",
        "heartbeat_in_pthread",
        "heartbeat_rate",
        "hostname",
        "kombu_compression",
        "kombu_failover_strategy",
        "kombu_missing_consumer_retry_timeout",
        "kombu_reconnect_delay",
        "kombu_reconnect_splay",
        "processname",
        "rabbit_ha_queues",
        "rabbit_interval_max",
        "rabbit_login_method",
        "rabbit_qos_prefetch_count",
        "rabbit_quorum_delivery_limit",
        "rabbit_quorum_max_memory_bytes",
        "rabbit_quorum_max_memory_length",
        "rabbit_quorum_queue",
        "rabbit_retry_backoff",
        "rabbit_retry_interval",
        "rabbit_stream_fanout",
        "rabbit_transient_queues_ttl",
        "rabbit_transient_quorum_queue",
        "rpc_conn_pool_size",
        "use_queue_manager",
    )
)
"""oslo's options that say how oslo declares, retries and pools: aioswap does that in its own way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One host of a RabbitMQ, and how to log in there. As text: a URL without the password."""

    host: str
    port: int = _PORT
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    vhost: str = "/"
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "amqps" if self.tls else "amqp"
        return f"{scheme}://{quote(self.user, safe='')}@{host}:{self.port}/{quote(self.vhost, safe='')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUrl:
    """What a URL says.

    Args:
        addresses: at least one, in the URL's order.
        heartbeat: seconds; 0: none; None: the URL does not say.
        ca_file: certificates to trust, instead of the system's.
        cert_file: the client's own certificate.
        key_file: its key, where `cert_file` does not hold it.
    """

    addresses: tuple[Address, ...]
    heartbeat: int | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def __str__(self) -> str:
        return ", ".join(str(address) for address in self.addresses)


def parse_url(url: str) -> BrokerUrl:
    """Return what `url` says.

    No path, `/`, `//` and `/%2F` all mean the vhost `/`. Without a user: guest, guest. The hosts have users all or none.
    Options of oslo about declaring, retrying and pooling are ignored; every other one that is not known is refused.

    Raises:
        ValueError: `url` is none of the three kinds, is ambiguous, or has an option that is refused. Never shows its text.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        raise ValueError(f"give a URL that begins with one of {', '.join(name + '://' for name in _SCHEMES)}")
    scheme = scheme.lower()
    if "#" in rest:
        raise ValueError("the URL holds a #: write it as %23")
    rest, _, query = rest.partition("?")
    hosts, _, path = rest.partition("/")
    if "@" in path:
        raise ValueError("the URL holds an @ after its hosts: write / in a password as %2F, and @ in a vhost as %40")
    options = _options(query)
    tls = _tls(scheme, options)
    default_port = _TLS_PORT if scheme == "amqps" else _PORT
    vhost = _decoded(path) if path not in ("", "/") else "/"
    addresses = tuple(_address(part, default_port, vhost, tls) for part in hosts.split(","))
    if len({"@" in part for part in hosts.split(",")}) > 1:
        raise ValueError("the URL has users for some of its hosts: give one for each, or none (write , in a password as %2C)")
    return BrokerUrl(addresses=addresses, heartbeat=_heartbeat(options), **_files(options, tls))


def _address(part: str, default_port: int, vhost: str, tls: bool) -> Address:
    login, separator, place = part.rpartition("@")
    host, port = _host(place)
    number = default_port if port == "" else _port(port)
    if not separator:
        return Address(host=host, port=number, vhost=vhost, tls=tls)
    user, _, password = login.partition(":")
    return Address(host=host, port=number, user=_decoded(user), password=_decoded(password), vhost=vhost, tls=tls)


def _host(place: str) -> tuple[str, str]:
    if place.startswith("["):
        text, closed, port = place[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            raise ValueError("the brackets of an IPv6 address in the URL do not fit")
        try:
            return str(IPv6Address(_decoded(text))), port[1:]
        except ValueError:
            raise ValueError("what stands in brackets in the URL is no IPv6 address") from None
    host, _, port = place.partition(":")
    if ":" in port:
        raise ValueError("a host of the URL holds several colons: put an IPv6 address in brackets, write a : of a user as %3A")
    if not host:
        raise ValueError("the URL names no host, or holds a comma too many")
    if _HOST.fullmatch(host) is None:
        raise ValueError("a host of the URL is no host name")
    return host, port


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= 65_535):
        raise ValueError("a port of the URL is no number from 1 to 65535: is something in a password not percent-encoded?")
    return int(text)


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("something percent-encoded in the URL is no UTF-8") from None


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:
        raise ValueError("the options of the URL cannot be read") from None
    for name, value in pairs:
        if name in options:
            raise ValueError(f"the option {name} stands in the URL twice")
        if name == "no_verify_ssl":
            raise ValueError("no_verify_ssl is refused: certificates are always verified; name your own with ssl_ca_file")
        if name not in _IGNORED and name not in _FILES and name not in _HEARTBEATS and name != "ssl":
            shown = name if _OPTION.fullmatch(name) else "whose name is no word"
            raise ValueError(f"the URL has an option that is not known: {shown}")
        options[name] = value
    return options


def _tls(scheme: str, options: dict[str, str]) -> bool:
    if "ssl" not in options:
        return scheme == "amqps"
    said = options["ssl"].lower()
    if said not in _TRUE | _FALSE:
        raise ValueError("the option ssl of the URL is neither 1 nor 0")
    if scheme == "amqps" and said in _FALSE:
        raise ValueError("the URL says both amqps and ssl=0")
    return said in _TRUE


def _heartbeat(options: dict[str, str]) -> int | None:
    given = [options[name] for name in _HEARTBEATS if name in options]
    if not given:
        return None
    text = given[0]
    if len(given) > 1 or not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65_535):
        raise ValueError("give one heartbeat in the URL, in seconds, 0 to 65535")
    return int(text)


def _files(options: dict[str, str], tls: bool) -> dict[str, str]:
    files: dict[str, str] = {}
    for name, field_name in _FILES.items():
        if name not in options:
            continue
        if not tls:
            raise ValueError(f"the URL has {name} but no TLS: give amqps:// or ssl=1")
        if field_name in files or not options[name]:
            raise ValueError(f"the option {name} of the URL is empty, or says again what another one says")
        files[field_name] = options[name]
    if "key_file" in files and "cert_file" not in files:
        raise ValueError("the URL has a key file but no certificate file")
    return files
