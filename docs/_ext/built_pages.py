"""What was built, looked at once more: `python -m docs._ext.built_pages docs/_build/html`.

Is every public name in the inventory, and does no page load anything from elsewhere?
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from docs._ext.public_names import public_names

__all__ = ["foreign", "inventory"]

_LOADED = re.compile(
    r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=\"((?:https?:)?//[^\"]+)\""
)


def inventory(path: Path) -> set[str]:
    """Return the names of Python objects in an objects.inv (version 2: four lines of text, the rest compressed)."""
    packed = path.read_bytes().split(b"\n", 4)[4]
    lines = zlib.decompress(packed).decode().splitlines()
    return {line.split()[0] for line in lines if line.split()[1].startswith("py:")}


def foreign(folder: Path) -> Iterator[tuple[str, str]]:
    """Give each page that loads something from another host, and what."""
    for page in sorted(folder.rglob("*.html")):
        for url in _LOADED.findall(page.read_text()):
            yield page.name, url


def main(folder: Path) -> int:
    """Say what was found; 1 if anything is missing or foreign."""
    wanted = public_names()
    missing = sorted(wanted.keys() - inventory(folder / "objects.inv"))
    loaded = sorted(set(foreign(folder)))
    pages = len(list(folder.rglob("*.html")))
    print(
        f"{pages} pages; {len(wanted) - len(missing)} of {len(wanted)} public names in the inventory",
        *missing,
        sep="\n  ",
    )
    print(f"{len(loaded)} resources from elsewhere", *loaded, sep="\n  ")
    return 1 if missing or loaded else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
