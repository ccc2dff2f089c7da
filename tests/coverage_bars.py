"""How much of each module the tests must reach: all of a pure one, 95 % of any other. Run after the tests, by `make test`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from coverage import Coverage

from tests.layers import FOLDER, is_pure, modules

__all__ = ["main"]

_PURE_BAR = 100.0
_BAR = 95.0


def _reached(data: Coverage) -> dict[str, float]:
    """Return per cent of lines and branches by file name."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "coverage.json"
        data.json_report(outfile=str(told))
        files = json.loads(told.read_text())["files"]
    return {name: values["summary"]["percent_covered"] for name, values in files.items()}


def main() -> int:
    """Show what is not reached, and say which modules miss their bar; 1 if there is one."""
    data = Coverage()
    data.load()
    reached = _reached(data)
    data.report()
    missed = []
    for module, path in modules().items():
        bar = _PURE_BAR if is_pure(module) else _BAR
        per_cent = reached.get(str(path.relative_to(FOLDER.parent)), 0.0)
        if per_cent < bar:
            missed.append(f"aioswap.{module}: {per_cent:.1f} % is reached, {bar:.0f} % is the bar")
    sys.stdout.write("\n".join([*missed, f"{len(modules()) - len(missed)} of {len(modules())} modules reach their bar", ""]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
