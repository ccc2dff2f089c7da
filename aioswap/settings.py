"""What the environment says of where RabbitMQ is, and whom to serve. It needs the extra `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

__all__ = ["Settings", "read_urls"]


class Settings(BaseSettings):
    """Read from the environment when it is made; what is empty counts as not set.

    Of several variables for one thing the first one counts. Passwords and tokens are in no repr.
    """

    model_config = SettingsConfigDict(env_prefix="AIOSWAP_", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True)

    url: SecretStr | None = Field(default=None, validation_alias=AliasChoices("AIOSWAP_URL"))
    """`AIOSWAP_URL`: one URL, or several with spaces between them: one for each cell."""
    url_file: Path | None = None
    """`AIOSWAP_URL_FILE`: a file with such URLs, one a line."""
    other_url: SecretStr | None = Field(default=None, validation_alias=AliasChoices("RABBITMQ_URL", "AMQP_URL"))
    """`RABBITMQ_URL`, else `AMQP_URL`: what other programs may use too."""
    exchange: str | None = None
    """`AIOSWAP_EXCHANGE`: Nova's `control_exchange`."""
    topics: Annotated[tuple[str, ...], NoDecode] = Field(default=(), validation_alias=AliasChoices("AIOSWAP_TOPIC"))
    """`AIOSWAP_TOPIC`: Nova's `versioned_notifications_topics`, with commas between them."""
    management_url: SecretStr | None = None
    """`AIOSWAP_MANAGEMENT_URL`: where RabbitMQ's management plugin listens."""
    serve_token: SecretStr | None = None
    """`AIOSWAP_SERVE_TOKEN`: what `aioswap serve` asks its readers for."""

    @field_validator("topics", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    def urls(self) -> tuple[str, ...]:
        """Return the brokers' URLs, empty if none is named.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no text, or holds no URL.
        """
        if self.url is not None:
            return tuple(self.url.get_secret_value().split())
        if self.url_file is not None:
            return read_urls(self.url_file)
        return () if self.other_url is None else tuple(self.other_url.get_secret_value().split())


def read_urls(path: Path) -> tuple[str, ...]:
    """Return the URLs in a file: one a line; empty lines and those that begin with `#` are left out.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text, or holds no URL. The text never shows what it holds.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError("it is no text in UTF-8") from None
    urls = tuple(line.strip() for line in lines if line.strip() and not line.strip().startswith("#"))
    if not urls:
        raise ValueError("it holds no URL")
    return urls
