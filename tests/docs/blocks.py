"""The code of the pages: fenced blocks, the comments above them that say how they are run, and what they print.

A comment `<!-- ... -->` right above a block says one of these; without one a Python block continues the page's program:

- `new program`: it begins another program.
- `new program, on RabbitMQ`: likewise; the URL in it stands for a broker's.
- `run by tests/...`: a test of its own runs it.
- `not run: ...`: nobody does, and why.

At the top of a page, `<!-- every LANGUAGE block is run by tests/... -->` says it of all its blocks of that language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["LANGUAGES", "PAGES", "ROOT", "Block", "Program", "blocks", "programs"]

ROOT: Final = Path(__file__).parents[2]
_DOCS: Final = ROOT / "docs"
PAGES: Final = [*sorted(path for path in _DOCS.rglob("*.md") if "_build" not in path.parts), ROOT / "README.md"]
LANGUAGES: Final = ("python", "console", "sh")
"""What can be run."""

_BLOCK: Final = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^(?P<fence>`{3,})(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)
_PROMISES: Final = {"This prints:\n\n": "stdout", "It logs:\n\n": "stderr"}
"""What stands before a block that says what a program writes, and where to. `...` is what is another thing each time."""
_RUN_BY: Final = re.compile(r"run by (tests/\S+\.py)")
_EVERY: Final = re.compile(r"^<!-- every (\w+) block is (run by tests/\S+\.py) -->$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        page: its path, from the root.
        line: where it begins.
        language: as its fence says.
        code: what is in it.
        mark: what the comment above it says; empty: nothing.
        promised: where the program before it writes this; empty: it does not.
    """

    page: str
    line: int
    language: str
    code: str
    mark: str
    promised: str

    @property
    def run_by(self) -> str | None:
        """The test file that runs it, None: it names none."""
        found = _RUN_BY.match(self.mark)
        return found[1] if found else None

    @property
    def not_run(self) -> str | None:
        """Why nobody runs it, None: somebody does."""
        return self.mark.removeprefix("not run:").strip() if self.mark.startswith("not run:") else None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass
class Program:
    """Blocks of a page that run one after the other, and what they write."""

    first: Block
    on_rabbitmq: bool
    code: list[str] = field(default_factory=list)
    blocks: int = 0
    promised: dict[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Its source; errors have the page's line numbers for the first block."""
        return "\n" * self.first.line + "\n".join(self.code)

    def writes(self, stream: str, text: str) -> bool:
        """Say whether the program may write `text` to a stream: what the page promises, and nothing where it is silent."""
        if stream not in self.promised:
            return stream == "stdout" or not text
        return re.fullmatch(re.escape(self.promised[stream]).replace(r"\.\.\.", ".*"), text) is not None


def blocks(page: Path) -> Iterator[Block]:
    """Give the blocks of a page, in order."""
    text = page.read_text()
    every = dict(_EVERY.findall(text))
    for found in _BLOCK.finditer(text):
        language = found["language"].strip()
        yield Block(
            page=str(page.relative_to(ROOT)),
            line=text.count("\n", 0, found.start("fence")) + 1,
            language=language,
            code=found["code"],
            mark=found["mark"] or every.get(language, ""),
            promised=next((where for says, where in _PROMISES.items() if text[: found.start()].endswith(says)), ""),
        )


def programs(page: Path) -> list[Program]:
    """Return the programs of a page."""
    made: list[Program] = []
    for block in blocks(page):
        if block.promised and made:
            made[-1].promised[block.promised] = made[-1].promised.get(block.promised, "") + block.code
        if block.language != "python" or block.run_by or block.not_run:
            continue
        if not made or block.mark.startswith("new program"):
            made.append(Program(block, block.mark.endswith("on RabbitMQ")))
        made[-1].code.append(block.code)
        made[-1].blocks += 1
    return made
