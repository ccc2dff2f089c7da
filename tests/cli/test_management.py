"""The questions over HTTP: bounded, and with nothing of a login in any text."""

from __future__ import annotations

import base64
import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aioswap.cli.findings import State
from aioswap.cli.management import Management, ManagementError
from aioswap.cli.visit import ask_plugin
from aioswap.clock import Clock
from aioswap.testing import ManualClock
from tests.broker import free_ports

_LOGIN = ("user", "secret")

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class _Plugin:
    """A server that answers as a test scripts it, and keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[tuple[str, str | None]] = []
        plugin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                plugin.asked.append((self.path, self.headers["Authorization"]))
                with contextlib.suppress(OSError):  # who asked may have left
                    answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> _Plugin:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _says(body: bytes, code: int = 200, **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@contextlib.contextmanager
def _refused(words: str) -> Iterator[None]:
    with pytest.raises(ManagementError, match=words) as refused:
        yield

    assert "secret" not in str(refused.value)


async def test_an_answer_is_plain_json() -> None:
    with _Plugin(_says(b'{"a": [1]}')) as plugin:
        answer = await Management(plugin.url, _LOGIN, Clock()).get("queues", "/", "a b/c")

    assert {"a": [1]} == answer
    assert [("/api/queues/%2F/a%20b%2Fc", f"Basic {base64.b64encode(b'user:secret').decode()}")] == plugin.asked


async def test_the_urls_own_login_and_path_count() -> None:
    with _Plugin(_says(b"[]")) as plugin:
        manager = Management(plugin.url.replace("//", "//other:p%40ss@") + "/rabbit/", _LOGIN, Clock())
        await manager.get("nodes")

    assert [("/rabbit/api/nodes", f"Basic {base64.b64encode(b'other:p@ss').decode()}")] == plugin.asked
    assert ("other", True) == (manager.user, manager.has_login)
    assert f"{plugin.url}/rabbit" == manager.where


async def test_what_is_not_there_is_none() -> None:
    with _Plugin(_says(b'{"error": "Object Not Found"}', 404)) as plugin:
        assert None is await Management(plugin.url, _LOGIN, Clock()).get("queues")


@pytest.mark.parametrize("code", [401, 403])
async def test_a_refused_login_is_said_with_what_to_run(code: int) -> None:
    with _Plugin(_says(b"", code)) as plugin, _refused("refuses the user user .*; correct the login, .*set_user_tags user"):
        await Management(plugin.url, _LOGIN, Clock()).get("whoami")


async def test_a_redirect_is_not_followed() -> None:
    with _Plugin(_says(b"[]")) as other:
        redirect = _says(b"", 302, Location=f"{other.url}/api/x")
        with _Plugin(redirect) as plugin, _refused("answers 302"):
            await Management(plugin.url, _LOGIN, Clock()).get("nodes")

    assert [] == other.asked


async def test_another_answer_is_said() -> None:
    with _Plugin(_says(b"", 500)) as plugin, _refused("answers 500; check the URL"):
        await Management(plugin.url, _LOGIN, Clock()).get("nodes")


@pytest.mark.parametrize("body", [b"<html>secret</html>", b"\xff", b"[" * 100_000, b""])
async def test_what_is_no_plugin_is_said(body: bytes) -> None:
    with _Plugin(_says(body)) as plugin, _refused("no management plugin"):
        await Management(plugin.url, _LOGIN, Clock()).get("nodes")


async def test_who_speaks_no_http_is_said() -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"AMQP\0\0\x09\x01")

    with _Plugin(answer) as plugin, _refused("no answer: BadStatusLine"):
        await Management(plugin.url, _LOGIN, Clock()).get("nodes")


async def test_an_answer_that_ends_too_early_is_said() -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"[")

    with _Plugin(answer) as plugin, _refused("no management plugin|IncompleteRead"):
        await Management(plugin.url, _LOGIN, Clock()).get("nodes")


async def test_nobody_there_is_said() -> None:
    (port,) = free_ports(1)

    with _refused("Connection refused; check host and port"):
        await Management(f"http://127.0.0.1:{port}", _LOGIN, Clock()).get("nodes")


async def test_an_answer_has_a_largest_size() -> None:
    with _Plugin(_says(b"[" + b" " * (33 << 20) + b"]")) as plugin, _refused("too large or too slow"):
        await Management(plugin.url, _LOGIN, Clock()).get("nodes")


async def test_an_answer_has_a_deadline() -> None:
    class Hasty(ManualClock):
        def monotonic(self) -> float:
            self.jumps = getattr(self, "jumps", 0.0) + 15.0
            return float(self.jumps)

    with _Plugin(_says(b"[" + b" " * 200_000 + b"]")) as plugin, _refused("too large or too slow"):
        await Management(plugin.url, _LOGIN, Hasty()).get("nodes")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://secret@host/",
        "http:///",
        "host:15672",
        "http://host:secret/",
        "http://host/?a=secret",
        "http://host/#secret",
        "http://[secret/",
    ],
)
def test_a_url_that_cannot_be_read_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="URL") as refused:
        Management(url, _LOGIN, Clock())

    assert "secret" not in str(refused.value)


def test_an_address_of_version_6_keeps_its_brackets() -> None:
    assert "https://[::1]:15671" == Management("https://u:p@[::1]:15671/", _LOGIN, Clock()).where


async def test_answers_of_another_shape_are_no_facts() -> None:
    with _Plugin(_says(b'["odd", 7]')) as plugin:
        rows, queues = await ask_plugin(Management(plugin.url, _LOGIN, Clock()), "/", "nova", ["t.info"], None)

    assert ({}, [State.FINE]) == (queues, [row.state for row in rows])


async def test_a_plugin_that_fails_half_way_leaves_the_rest_unseen() -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        whole = handler.path.endswith("/nova")
        _says(b'{"name": "nova", "type": "topic"}' if whole else b"", 200 if whole else 500)(handler)

    with _Plugin(answer) as plugin:
        rows, _ = await ask_plugin(Management(plugin.url, _LOGIN, Clock()), "/", "nova", ["t.info"], None)

    assert ["exchange flags", "management", "bindings", "policies"] == [row.check for row in rows]
