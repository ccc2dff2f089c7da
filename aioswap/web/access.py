"""Who may read: the guard before everything that is served. Nothing is ever changed by a request."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aioswap.web.told import as_json

__all__ = ["ALLOWED", "LOOPBACK", "Access", "Guard"]

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""What a browser on this machine calls it."""
ALLOWED: Final = "aioswap.allowed"
"""Where a request's scope says that it may see everything."""

_TOKEN: Final = re.compile(r"[\x21-\x7e]{16,512}")
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:\s]+)(?::[0-9]{1,5})?", re.IGNORECASE)
_PROBES: Final = frozenset({"/live", "/ready"})
_METHODS: Final = ("GET", "HEAD")
_SAFE: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_CHALLENGE: Final = 'Basic realm="aioswap", charset="UTF-8"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may read.

    Args:
        token: whoever reads must have it: as bearer, or as the password of any user. None: nobody needs one.
        hosts: the names by which this may be asked, with brackets around IPv6; a page of another name that leads here, by
            DNS rebinding, is refused. None: any.

    Raises:
        ValueError: the token is no 16 to 512 printable ASCII characters without spaces. The text never shows it.
    """

    token: str | None = field(default=None, repr=False)
    hosts: Collection[str] | None = LOOPBACK

    def __post_init__(self) -> None:
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise ValueError("a token has 16 to 512 printable ASCII characters, and no spaces")

    def knows_host(self, host: str | None) -> bool:
        """Say whether a request may name this host."""
        if self.hosts is None:
            return True
        form = _HOST.fullmatch(host or "")
        return form is not None and form[1].lower().rstrip(".") in self.hosts

    def knows_token(self, authorization: str | None) -> bool:
        """Say whether a request brings the token. It takes as long for each wrong one."""
        if self.token is None:
            return True
        brought = _token_in(authorization or "")
        return brought is not None and hmac.compare_digest(brought, self.token.encode())


def _token_in(authorization: str) -> bytes | None:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("utf-8", "surrogateescape")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return None


class Guard:
    """Lets through what may be read, and makes every response safe for browsers.

    Args:
        app: what is guarded.
        access: who may read.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. Anything but HTTP is left unanswered."""
        if scope["type"] != "http":
            return

        async def safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SAFE)
            await send(message)

        headers = Headers(scope=scope)
        refusal = _refusal(scope, headers, self._access)
        scope[ALLOWED] = refusal is None
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if refusal is None or (path in _PROBES and scope["method"] in _METHODS):
            await self._app(scope, receive, safely)
        else:
            await _refuse(*refusal, safely)


def _refusal(scope: Scope, headers: Headers, access: Access) -> tuple[int, str, dict[str, str]] | None:
    """Return status, reason and headers of the answer to who may not read this."""
    if scope["method"] not in _METHODS:
        return 405, "nothing can be changed here: GET and HEAD are all there is", {"allow": ", ".join(_METHODS)}
    if not access.knows_host(headers.get("host")):
        return 403, "this is not served under that name: see --allow-host", {}
    if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
        return 403, "another site's page may not read this", {}
    if not access.knows_token(headers.get("authorization")):
        return 401, "the token is missing or wrong", {"www-authenticate": _CHALLENGE}
    return None


async def _refuse(status: int, reason: str, headers: dict[str, str], send: Send) -> None:
    body = as_json({"error": reason})
    fields = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    raw = [(name.encode("ascii"), value.encode("ascii")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
