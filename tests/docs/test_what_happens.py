"""docs/what-happens-when.md: each row names a test that is there and collected, and no promise of the README is without one."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Final

import pytest

from tests.docs.blocks import ROOT

_PAGE: Final = (ROOT / "docs" / "what-happens-when.md").read_text()
_ROWS: Final = [row for row in re.findall(r"^\| (.*) \|$", _PAGE, re.MULTILINE) if not row.startswith(("...", "---"))]
_LINK: Final = re.compile(r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)$")
_LINKS: Final = [_LINK.search(row) for row in _ROWS]


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """What pytest collects in the files that the page names, without parameters."""
    files = sorted({link[2] for link in _LINKS if link})
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return {line.partition("[")[0] for line in done.stdout.splitlines() if "::" in line}


def test_every_row_names_a_test() -> None:
    print(f"\n{len(_ROWS)} rows")

    assert len(_ROWS) > 50
    assert [] == [row for row, link in zip(_ROWS, _LINKS, strict=True) if link is None]


def test_every_test_that_is_named_is_collected(collected: set[str]) -> None:
    named = [f"{link[2]}::{link[1]}" for link in _LINKS if link]

    assert [] == [name for name in named if name not in collected]


def test_what_the_readme_promises_has_its_row() -> None:
    table = (ROOT / "README.md").read_text().partition("## What happens when ...")[2].partition("\n## ")[0]
    promised = [row.partition(" | ")[0] for row in re.findall(r"^\| (.*) \|$", table, re.MULTILINE)[2:]]
    cases = {row.partition(" | ")[0] for row in _ROWS}
    told = {"the swap raises, or is cancelled": {"the swap raises", "the swap is cancelled"}}
    told["the broker is away"] = {"the broker is away, mute, cut off or slow"}

    assert promised
    assert [] == [case for case in promised if not told.get(case, {case}) <= cases]
