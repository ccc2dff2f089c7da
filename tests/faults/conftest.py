"""What tells at the end of the session which faults were shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aioswap.outbox_file import FileOutbox
from tests.broker import Node, Proxy
from tests.faults.book import Book
from tests.faults.kit import Scene

__all__: list[str] = []

_BOOK = pytest.StashKey[Book]()


def pytest_configure(config: pytest.Config) -> None:
    """Open the book."""
    config.stash[_BOOK] = Book()


@pytest.fixture
def book(request: pytest.FixtureRequest) -> Book:
    """What the session has shown until now."""
    return request.config.stash[_BOOK]


@pytest.fixture
async def scene(request: pytest.FixtureRequest, node: Node, tmp_path: Path, book: Book) -> AsyncIterator[Scene]:
    """A broker and a proxy before it. The quick selection has 100 swaps a fault, the whole suite 400."""
    quick = "not faults" in request.config.option.markexpr
    async with Proxy(node.url, record=False) as proxy:
        yield Scene(node, proxy, tmp_path, book, {"outbox": FileOutbox, "swaps": 100 if quick else 400})


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Note how the tests of each fault end."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    book = item.config.stash[_BOOK]
    for marker in item.iter_markers("fault"):
        number = int(marker.args[0])
        if report.failed:
            book.failed[number].append(f"{item.name}, {report.when}")
        elif report.skipped:
            book.impossible[number].append(str(call.excinfo.value) if call.excinfo is not None else "skipped")
        elif report.when == "call":
            book.passed[number] += 1


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tell what was shown, if any fault was asked for."""
    book = config.stash[_BOOK]
    if book.passed or book.failed or book.impossible:
        terminalreporter.section("faults")
        for line in book.lines():
            terminalreporter.write_line(line)
