"""What nova.conf says of notifications: whether there are any, of which kind, and where they go.

Only text is read here; oslo.config is not needed. Sources: oslo.config `iniparser` (repeated options, quotes), oslo.messaging
`notify/notifier.py`, `transport.py` and `_drivers/impl_rabbit.py`, nova `conf/notifications.py`; wire.md sections 2.4 and 5.1.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlencode

__all__ = ["NovaConf", "read_nova_conf"]

_TRUE: Final = frozenset(("true", "1", "on", "yes", "t", "y"))
_FALSE: Final = frozenset(("false", "0", "off", "no", "f", "n"))
_NOTIFIER: Final = "oslo_messaging_notifications"
_RABBIT: Final = "oslo_messaging_rabbit"
_NEXT: Final = "\0"
"""Stands between the values of an option that is given several times."""

_Values: TypeAlias = Mapping[tuple[str, str], tuple[str, ...]]
"""Section and option, and each value that was given, the last one last."""


@dataclass(frozen=True, kw_only=True)
class NovaConf:
    """What nova.conf says, with Nova's defaults where it says nothing.

    Args:
        transport_url: for notifications: with the TLS options that stand beside it in its query; None: it names none.
        own_transport: notifications have a URL of their own, else it is that of Nova's RPC.
        exchange: `control_exchange`.
        topics: `versioned_notifications_topics`.
        notification_format: `unversioned`, `versioned` or `both`.
        drivers: what sends notifications; empty: nothing does.
        retry: how often Nova tries to send one again; -1: for ever.
        block_devices: `bdms_in_notifications`: payloads tell the instance's volumes.
        durable: Nova's exchange and queues are durable.
        quorum: its queues are quorum queues.
        compression: `kombu_compression`, None: none.
    """

    transport_url: str | None = field(default=None, repr=False)
    own_transport: bool = False
    exchange: str = "nova"
    topics: tuple[str, ...] = ("versioned_notifications",)
    notification_format: str = "unversioned"
    drivers: tuple[str, ...] = ()
    retry: int = -1
    block_devices: bool = False
    durable: bool = False
    quorum: bool = False
    compression: str | None = None


class _Repeated(dict[str, Any]):
    """A section in which an option that stands twice keeps both values: oslo's `driver` is a list of them.

    While it reads, configparser stores a new value as a list of lines, and joins them at the end.
    """

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, list) and key in self:
            before = self[key]
            value = [*(before if isinstance(before, list) else [before or ""]), _NEXT, *value]
        super().__setitem__(key, value)


def read_nova_conf(*texts: str) -> NovaConf:
    """Return what the files with these `texts` say together; as with oslo's `--config-file`, a later one wins.

    Raises:
        ValueError: it is no such file, or a value cannot be taken: the text names the option, and never shows the value.
    """
    values = _values(texts)
    own = _one(values, _NOTIFIER, "transport_url")
    url = own or _one(values, "DEFAULT", "transport_url")
    options = dict(parse_qsl(url.partition("?")[2], keep_blank_values=True))
    quorum = _rabbit_flag(values, options, "rabbit_quorum_queue")
    topics = _list(values, "notifications", "versioned_notifications_topics")
    told_format = _one(values, "notifications", "notification_format") or _one(values, "DEFAULT", "notification_format")
    return NovaConf(
        transport_url=_with_tls(url, options, values) if url else None,
        own_transport=bool(own),
        exchange=_one(values, "DEFAULT", "control_exchange") or NovaConf.exchange,
        topics=topics or NovaConf.topics,
        notification_format=told_format or NovaConf.notification_format,
        drivers=tuple(driver for driver in _all(values, _NOTIFIER, "driver") if driver),
        retry=_retry(_one(values, _NOTIFIER, "retry")),
        block_devices=_flag(values, "notifications", "bdms_in_notifications"),
        durable=quorum or _rabbit_flag(values, options, "amqp_durable_queues"),
        quorum=quorum,
        compression=options.get("kombu_compression") or _one(values, _RABBIT, "kombu_compression") or None,
    )


def _values(texts: tuple[str, ...]) -> _Values:
    # strict=False: options and sections may stand twice. default_section: [DEFAULT] must not leak into the others.
    parser = configparser.ConfigParser(
        dict_type=_Repeated, strict=False, interpolation=None, default_section="\0", allow_no_value=True
    )
    for text in texts:
        try:
            parser.read_string(text.removeprefix("\ufeff"), source="nova.conf")
        except configparser.MissingSectionHeaderError as error:
            raise ValueError(f"line {error.lineno} stands before the first [section]") from None
        except configparser.Error as error:
            lines = ", ".join(str(number) for number, _ in getattr(error, "errors", ()))
            raise ValueError(f"it is no configuration file{lines and f': see line {lines}'}") from None
    return {
        (section, name): tuple(_unquoted(given) for given in (value or "").split(_NEXT))
        for section in parser.sections()
        for name, value in parser.items(section)
    }


def _unquoted(value: str) -> str:
    value = value.strip()
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value


def _all(values: _Values, section: str, option: str) -> tuple[str, ...]:
    given = values.get((section, option), ())
    if any("$" in value for value in given):
        raise ValueError(f"[{section}] {option} holds a $: values that refer to others are not followed; write it out")
    return given


def _one(values: _Values, section: str, option: str) -> str:
    """Return the last value that was given, empty if there is none."""
    return (_all(values, section, option) or ("",))[-1]


def _list(values: _Values, section: str, option: str) -> tuple[str, ...]:
    return tuple(item for part in _one(values, section, option).split(",") if (item := part.strip()))


def _retry(text: str) -> int:
    try:
        return int(text or "-1")
    except ValueError:
        raise ValueError(f"[{_NOTIFIER}] retry is no whole number") from None


def _boolean(text: str, what: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE or not text:
        return False
    raise ValueError(f"{what} is neither true nor false")


def _flag(values: _Values, section: str, option: str) -> bool:
    return _boolean(_one(values, section, option), f"[{section}] {option}")


def _rabbit_flag(values: _Values, options: Mapping[str, str], option: str) -> bool:
    """Return a flag of the driver's section; the URL's own option wins."""
    if option in options:
        return _boolean(options[option], f"the option {option} of transport_url")
    return _flag(values, _RABBIT, option)


def _with_tls(url: str, options: Mapping[str, str], values: _Values) -> str:
    """Return `url` with the TLS options of the driver's section in its query, but for those that stand there."""
    if not _rabbit_flag(values, options, "ssl"):
        return url
    wanted = {"ssl": "1"}
    for name in ("ssl_ca_file", "ssl_cert_file", "ssl_key_file"):
        if given := _one(values, _RABBIT, name):
            wanted[name] = given
    added = urlencode({name: value for name, value in wanted.items() if name not in options})
    return f"{url}{'&' if '?' in url else '?'}{added}" if added else url
