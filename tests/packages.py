"""What a bare Debian gets for the tests: packages, where that is allowed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["apt_install", "succeeds"]

_POLICY: Final = Path("/usr/sbin/policy-rc.d")


def apt_install(*packages: str) -> bool:
    """Install packages with apt-get, as root or by a sudo that asks no password, without starting services.

    Returns:
        Whether it was possible.
    """
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    apt = shutil.which("apt-get")
    if apt is None or (as_root and not succeeds([*as_root, "true"])):
        return False
    with _no_services(as_root):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        lock = ["-o", "DPkg::Lock::Timeout=300"]
        succeeds([*as_root, apt, *lock, "update", "--quiet"], environment)
        return succeeds(
            [*as_root, apt, *lock, "install", "--yes", "--quiet", "--no-install-recommends", *packages], environment
        )


@contextlib.contextmanager
def _no_services(as_root: list[str]) -> Iterator[None]:
    """Debian's packages start their services at once, unless a policy says no: lend them one (invoke-rc.d(8))."""
    if _POLICY.exists():
        yield
        return
    with tempfile.NamedTemporaryFile("w", suffix="policy") as policy:
        policy.write("#!/bin/sh\nexit 101\n")
        policy.flush()
        succeeds([*as_root, "install", "-m", "755", policy.name, str(_POLICY)])
    try:
        yield
    finally:
        succeeds([*as_root, "rm", "-f", str(_POLICY)])


def succeeds(command: list[str], environment: dict[str, str] | None = None) -> bool:
    """Run a command for up to ten minutes, and say whether it ended with 0."""
    try:
        return subprocess.run(command, env=environment, capture_output=True, timeout=600, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
