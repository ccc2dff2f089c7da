"""The rights that the documentation gives to an emitter and to a consumer, and how users get them."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import urlsplit

from tests.broker import Node

__all__ = ["CONSUMER", "EMITTER", "OWN", "PASSWORD", "Rights", "as_user", "grant"]

PASSWORD: Final = "secret"
OWN: Final = r"^aioswap\."
_TOPICS: Final = r"^versioned_notifications\.(info|error)$"


class Rights(NamedTuple):
    """Regular expressions, as `rabbitmqctl set_permissions` and `set_topic_permissions` for the exchange nova take them."""

    configure: str
    write: str
    read: str
    topic_write: str
    topic_read: str


EMITTER: Final = Rights("^$", "^nova$", "^$", _TOPICS, "^$")
CONSUMER: Final = Rights(OWN, OWN, r"^(aioswap\..*|nova)$", "^$", _TOPICS)


def grant(node: Node, vhost: str, users: dict[str, Rights]) -> None:
    """Make users with these rights in `vhost`: in one call, since rabbitmqctl is slow to start."""

    def binaries(*texts: str) -> str:
        return ", ".join(f'<<"{text}">>'.replace("\\", "\\\\") for text in texts)

    steps = []
    for user, rights in users.items():
        steps.append(f"rabbit_auth_backend_internal:add_user({binaries(user, PASSWORD, 'tests')})")
        own = binaries(user, vhost, rights.configure, rights.write, rights.read, "tests")
        steps.append(f"rabbit_auth_backend_internal:set_permissions({own})")
        topics = binaries(user, vhost, "nova", rights.topic_write, rights.topic_read, "tests")
        steps.append(f"rabbit_auth_backend_internal:set_topic_permissions({topics})")
    node.ctl("eval", ", ".join(steps) + ".")


def as_user(url: str, user: str) -> str:
    """Return `url` with the login of `user`."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}:{PASSWORD}@{parts.hostname}:{parts.port}").geturl()
