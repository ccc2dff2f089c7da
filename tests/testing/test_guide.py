"""docs/guides/testing.md tells the truth: its blocks are test files, and pass with every runner, in memory and on RabbitMQ."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aioswap.testing import Faults

pytest_plugins = ["pytester"]

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "guides" / "testing.md").read_text()
_LONGEST = 50
"""Lines of a block."""

_RUNNERS = {
    "auto": ("asyncio_mode = auto", "", ()),
    "strict": ("asyncio_mode = strict", "@pytest.mark.asyncio", ()),
    "anyio": ("", "@pytest.mark.anyio", ("-p", "no:asyncio")),
}
"""By the names of the page: the configuration, the line of the user, what else pytest is told."""

_TESTS = 20
"""Tests on the page."""
_MEMORY_ONLY = 1
"""Tests on the page that a real broker skips."""

each_runner = pytest.mark.parametrize("runner", sorted(_RUNNERS))


def blocks() -> list[str]:
    """Return the test files of the page."""
    return re.findall(r"^```python\n(.*?)^```$", _PAGE, re.DOTALL | re.MULTILINE)


def write(pytester: pytest.Pytester, runner: str) -> tuple[str, ...]:
    """Write the page's files for one runner, and return pytest's arguments."""
    mode, mark, arguments = _RUNNERS[runner]
    scope = "asyncio_default_fixture_loop_scope = function" if mode else ""
    pytester.makeini(f"[pytest]\nfilterwarnings = error\n{mode}\n{scope}\n")
    if runner == "anyio":
        pytester.makeconftest("import pytest\n\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")
    for number, block in enumerate(blocks()):
        pytester.makepyfile(**{f"test_block_{number}": _marked(block, mark)})
    return ("-p", "no:cacheprovider", *arguments)


def _marked(block: str, mark: str) -> str:
    return f"import pytest\n{re.sub('^(?=async def test_)', mark + chr(10), block, flags=re.MULTILINE)}" if mark else block


@each_runner
def test_the_page_passes_in_memory(runner: str, pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess(*write(pytester, runner))

    result.assert_outcomes(passed=_TESTS)


@pytest.mark.broker
@each_runner
def test_the_page_passes_on_rabbitmq(runner: str, pytester: pytest.Pytester, amqp_url: str) -> None:
    result = pytester.runpytest_subprocess(*write(pytester, runner), "-rs", "--aioswap-url", amqp_url)

    result.assert_outcomes(passed=_TESTS - _MEMORY_ONLY, skipped=_MEMORY_ONLY)
    result.stdout.fnmatch_lines(["SKIPPED * a test cannot take the broker away that is a real one: others use it"])


@pytest.mark.broker
@pytest.mark.parametrize("where", ["memory", "rabbit"])
def test_the_last_file_needs_no_async_plugin(where: str, pytester: pytest.Pytester, request: pytest.FixtureRequest) -> None:
    pytester.makepyfile(blocks()[-1])
    there = ("--aioswap-url", request.getfixturevalue("amqp_url")) if where == "rabbit" else ()
    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:asyncio", "-p", "no:anyio", *there)

    result.assert_outcomes(passed=1)


def test_every_block_is_a_test_file_and_short() -> None:
    tests = [re.findall(r"^(?:async )?def test_\w+", block, re.MULTILINE) for block in blocks()]
    lines = [block.count("\n") for block in blocks()]

    assert {"python"} == set(re.findall(r"^```(\w+)$", _PAGE, re.MULTILINE))
    assert all(tests)
    assert max(lines) <= _LONGEST


def test_the_page_names_every_fault_and_nothing_else() -> None:
    named = re.findall(r"^\| `(\w+)\(", _PAGE, re.MULTILINE)
    public = [name for name, value in vars(Faults).items() if not name.startswith("_") and callable(value)]

    assert sorted({*named, "pass_on"}) == sorted(public)


def test_the_page_names_every_fixture() -> None:
    named = set(re.findall(r"^\| `(aioswap_\w+)` ", _PAGE, re.MULTILINE))
    plugin = (_ROOT / "aioswap" / "testing" / "plugin.py").read_text()

    assert set(re.findall(r"^@pytest\.fixture\ndef (\w+)", plugin, re.MULTILINE)) == named
