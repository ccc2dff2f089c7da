"""How much memory a process took at most since it was asked to look (Linux: proc(5), clear_refs and VmHWM)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["Memory"]

_SELF: Final = Path("/proc/self")


class Memory:
    """Begins with what is resident now. Where /proc is missing, all is 0."""

    def __init__(self) -> None:
        with suppress(OSError):
            (_SELF / "clear_refs").write_text("5")  # the peak begins anew
        self._before = _status("VmRSS")

    def grown_kb(self) -> float:
        """Return by how many KB it was more at its peak."""
        return max(_status("VmHWM") - self._before, 0.0)


def _status(name: str) -> float:
    with suppress(OSError):
        for line in (_SELF / "status").read_text().splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return float(value.split()[0])
    return 0.0
