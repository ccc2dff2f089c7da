"""RabbitMQ's management plugin: a few questions over HTTP, read only, bounded, and with nothing of a login in any text.

Source: rabbitmq.com/management.html, the HTTP API.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from aioswap.clock import Clock

__all__ = ["Management", "ManagementError"]

_TIMEOUT: Final = 5.0
"""Seconds without a byte."""
_DEADLINE: Final = 20.0
"""Seconds for a whole answer."""
_LARGEST: Final = 32 << 20
"""Bytes of an answer: the bindings of a large Nova are about 10 MB."""
_PART: Final = 1 << 16
_NO_LOGIN: Final = (401, 403)
_NOT_FOUND: Final = 404


class ManagementError(Exception):
    """It does not answer, or not what was asked. The text says what to do."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A login goes to the host that it was given for, and to no other."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow nothing: the redirect itself becomes an `HTTPError`."""


class Management:
    """Where the plugin listens, and how to log in there.

    Args:
        url: `http://` or `https://`, with a login or without.
        login: user and password where the URL has none.
        clock: measures the deadline of an answer.

    Raises:
        ValueError: `url` cannot be read. The text never shows it.
    """

    def __init__(self, url: str, login: tuple[str, str], clock: Clock) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("the URL cannot be read") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("give a URL such as https://host:15671, with nothing behind the host but a path")
        user, password = (unquote(parts.username), unquote(parts.password or "")) if parts.username else login
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.where = f"{parts.scheme}://{host}{f':{port}' if port is not None else ''}{parts.path.rstrip('/')}"
        """The URL without the login."""
        self.user = user
        self.has_login = parts.password is not None
        """The URL holds a password."""
        self._headers = {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
        self._clock = clock
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())

    async def get(self, *path: str) -> Any:
        """Return what stands at `path` below `/api`, plain JSON values; None: there is nothing.

        Raises:
            ManagementError: no answer, or another one than expected.
        """
        return await asyncio.to_thread(self._get, "/".join(quote(part, safe="") for part in path))

    def _get(self, path: str) -> Any:
        request = urllib.request.Request(f"{self.where}/api/{path}", headers=self._headers)  # noqa: S310 - http or https
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as answer:
                content = self._read(answer.read1)
            return json.loads(content)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == _NOT_FOUND:
                return None
            raise ManagementError(self._refused(error.code)) from None
        except urllib.error.URLError as error:
            raise ManagementError(
                f"{self.where}: {error.reason}; check host and port, and that the plugin is enabled"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise ManagementError(f"{self.where}: no answer: {type(error).__name__}; is it the management plugin?") from None
        except (ValueError, RecursionError):
            raise ManagementError(f"{self.where}: what answers there is no management plugin; check host and port") from None

    def _read(self, read: Callable[[int], bytes]) -> bytes:
        end, parts, size = self._clock.monotonic() + _DEADLINE, [], 0
        while part := read(_PART):
            parts.append(part)
            size += len(part)
            if size > _LARGEST or self._clock.monotonic() > end:
                raise ManagementError(f"{self.where}: the answer is too large or too slow")
        return b"".join(parts)

    def _refused(self, code: int) -> str:
        if code in _NO_LOGIN:
            return (
                f"{self.where} refuses the user {self.user} ({code}); correct the login, "
                f"or let the user in: rabbitmqctl set_user_tags {self.user} monitoring"
            )
        return f"{self.where} answers {code}; check the URL"
