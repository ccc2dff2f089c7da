"""Options that commands share: where the broker is, and how data is printed."""

from __future__ import annotations

import functools
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from aioswap.cli.output import FORMATS, Style, say
from aioswap.nova_conf import NovaConf, read_nova_conf
from aioswap.transports.base import Transport
from aioswap.transports.urls import parse_url

__all__ = [
    "EXISTING_FILE",
    "Connection",
    "checked_urls",
    "connection_options",
    "lines_of",
    "need_yes",
    "output_options",
    "urls_of_files",
]

EXISTING_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)

_NOVAS_EXCHANGE: Final = "nova"
_TOPICS: Final = ("versioned_notifications",)
_LONGEST_NAME: Final = 100
"""Bytes; the driver takes 127, and priorities are put behind topics."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where the brokers are, and what of them is Nova's.

    Args:
        urls: at least one, all of them readable; each is a broker of its own, such as those of several cells.
        exchange: the notification exchange.
        topics: at least one.
        nova: what nova.conf says; None: none was given.
    """

    urls: tuple[str, ...] = field(repr=False)
    exchange: str = _NOVAS_EXCHANGE
    topics: tuple[str, ...] = _TOPICS
    nova: NovaConf | None = None

    def transports(self) -> tuple[Transport, ...]:
        """Return a transport for each URL."""
        from aioswap.transports.rabbit import RabbitTransport

        return tuple(RabbitTransport(url, exchange=self.exchange) for url in self.urls)

    def transport(self) -> Transport:
        """Return the transport of the only URL.

        Raises:
            click.UsageError: there are several URLs.
        """
        self.one_url()
        return self.transports()[0]

    def one_url(self) -> str:
        """Return the only URL.

        Raises:
            click.UsageError: there are several.
        """
        if len(self.urls) > 1:
            raise click.UsageError(f"this command talks to one broker: {len(self.urls)} URLs were given")
        return self.urls[0]


_CONNECTION: Final = (
    click.option(
        "--url",
        "urls",
        multiple=True,
        metavar="URL",
        help="Where RabbitMQ is: amqp, amqps, rabbit. Several times: several cells. "
        "Else AIOSWAP_URL, RABBITMQ_URL or AMQP_URL; others can see a password in a command line, but not there.",
    ),
    click.option(
        "--url-file",
        "url_files",
        multiple=True,
        type=EXISTING_FILE,
        help="A file with such URLs, one a line. Else AIOSWAP_URL_FILE.",
    ),
    click.option(
        "--nova-conf",
        "nova_confs",
        multiple=True,
        type=EXISTING_FILE,
        help="Take from a nova.conf what the other options do not say. Several times: a later one wins.",
    ),
    click.option("--exchange", help="Nova's control_exchange. Else AIOSWAP_EXCHANGE, else nova."),
    click.option(
        "--topic",
        "topics",
        multiple=True,
        help="One of Nova's versioned_notifications_topics. Else AIOSWAP_TOPIC, else versioned_notifications.",
    ),
)


def connection_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that say where the broker is; the function gets their `Connection` as `connection`.

    What the command line says wins, then the nova.conf that it names, then the environment.
    """

    @functools.wraps(function)
    def command(
        *args: Any,
        urls: tuple[str, ...],
        url_files: tuple[Path, ...],
        nova_confs: tuple[Path, ...],
        exchange: str | None,
        topics: tuple[str, ...],
        **kwargs: Any,
    ) -> int:
        connection = _connection(urls, url_files, nova_confs, exchange, topics)
        return function(*args, connection=connection, **kwargs)

    return _with(command, _CONNECTION)


def _connection(
    urls: tuple[str, ...],
    url_files: tuple[Path, ...],
    nova_confs: tuple[Path, ...],
    exchange: str | None,
    topics: tuple[str, ...],
) -> Connection:
    from aioswap.settings import Settings

    settings = Settings()
    nova = _nova_conf(nova_confs) if nova_confs else None
    found = (*checked_urls(urls, "--url", visible=True), *urls_of_files(url_files, "--url-file"))
    if not found and nova is not None and nova.transport_url is not None:
        found = checked_urls((nova.transport_url,), "--nova-conf")
    if not found and settings.url is None and settings.url_file is not None:
        found = urls_of_files((settings.url_file,), "AIOSWAP_URL_FILE")
    if not found:
        found = checked_urls(settings.urls(), "AIOSWAP_URL, RABBITMQ_URL or AMQP_URL")
    if not found:
        raise click.UsageError("where is RabbitMQ? Give --url, --url-file or --nova-conf, or set AIOSWAP_URL")
    exchange = exchange or (nova.exchange if nova is not None else settings.exchange) or _NOVAS_EXCHANGE
    topics = topics or (nova.topics if nova is not None else settings.topics) or _TOPICS
    for name in (exchange, *topics):
        if not 1 <= len(name.encode()) <= _LONGEST_NAME:
            raise click.UsageError(
                f"a name of an exchange or a topic has 1 to {_LONGEST_NAME} bytes: see --exchange and --topic"
            )
    return Connection(urls=found, exchange=exchange, topics=topics, nova=nova)


def checked_urls(urls: Sequence[str], named: str, *, visible: bool = False) -> tuple[str, ...]:
    """Return `urls`, all of them readable.

    Args:
        urls: any number.
        named: what gave them: an option or a variable.
        visible: they stand in the command line: passwords in them are warned of.

    Raises:
        click.BadParameter: one cannot be read. The text never shows it.
    """
    for url in urls:
        try:
            parsed = parse_url(url)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint=named) from None
        if visible and any(address.password not in ("", "guest") for address in parsed.addresses):
            say(f"aioswap: others on this machine can see the password in {named}: use {named}-file or the environment")
    return tuple(urls)


def urls_of_files(files: Sequence[Path], named: str) -> tuple[str, ...]:
    """Return the URLs in `files`, all of them readable.

    Raises:
        click.BadParameter: as `lines_of`; or a URL cannot be read. The text never shows it.
    """
    return tuple(url for file in files for url in checked_urls(lines_of(file, named), f"{named} {file}"))


def lines_of(file: Path, named: str) -> tuple[str, ...]:
    """Return the URLs in `file`, as they stand there: at least one. A file that others may read is warned of.

    Raises:
        click.BadParameter: the file cannot be read or holds no URL. The text never shows what it holds.
    """
    from aioswap.settings import read_urls

    try:
        mode = file.stat().st_mode
        found = read_urls(file)
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{file}: {_reason(error)}", param_hint=named) from None
    if stat.S_ISREG(mode) and mode & 0o077:
        say(f"aioswap: others may read {file}, which holds passwords: chmod 600 {file}")
    return found


def _nova_conf(files: Sequence[Path]) -> NovaConf:
    try:
        return read_nova_conf(*(file.read_text(encoding="utf-8") for file in files))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{', '.join(map(str, files))}: {_reason(error)}", param_hint="--nova-conf") from None


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


_OUTPUT: Final = (
    click.option(
        "-f",
        "--format",
        "output_format",
        type=click.Choice(FORMATS),
        help="How data is printed: table (the default), json (one object a line where it never ends), value or csv.",
    ),
    click.option("-c", "--column", "columns", multiple=True, metavar="COLUMN", help="Print this column; can be repeated."),
    click.option("--json", "as_json", is_flag=True, help="Short for -f json."),
)


def output_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that say how data is printed; the function gets their `Style` as `style`."""

    @functools.wraps(function)
    def command(*args: Any, output_format: str | None, columns: tuple[str, ...], as_json: bool, **kwargs: Any) -> int:
        if as_json and output_format not in (None, "json"):
            raise click.UsageError(f"--json is -f json: it does not go with -f {output_format}")
        style = Style("json" if as_json else output_format or "table", columns)
        return function(*args, style=style, **kwargs)

    return _with(command, _OUTPUT)


def _with(
    command: Callable[..., int], options: Sequence[Callable[[Callable[..., int]], Callable[..., int]]]
) -> Callable[..., int]:
    for option in reversed(options):
        command = option(command)
    return command


def need_yes(connection_exchange: str, nova: NovaConf | None, yes: bool) -> None:
    """Let nobody publish to Nova's own exchange by a slip.

    Raises:
        click.UsageError: it is Nova's, and there was no --yes.
    """
    if not yes and connection_exchange in (_NOVAS_EXCHANGE, nova.exchange if nova is not None else None):
        raise click.UsageError(
            f"the exchange {connection_exchange} is Nova's own: whoever listens will take this for real. "
            "Add --yes if that is meant, or name another one with --exchange"
        )
