"""What is published: a wheel and an sdist, built here, and the demo run from the wheel by every Python that is found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final

import pytest

from tests.layers import FOLDER

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

ROOT: Final = FOLDER.parent
MINORS: Final = (11, 12, 13, 14, 15)
"""Of Python 3."""


def _run(*command: object, cwd: Path | None = None) -> str:
    """Run a command outside of this checkout and of its environment, and return what it writes."""
    hidden = ("PYTHON", "VIRTUAL_ENV", "COVERAGE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=500, check=False
    )

    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def _python(minor: int) -> str | None:
    """Return a Python 3.`minor` that runs: from PATH, or one that pyenv has installed."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python3.{minor}"), *map(str, sorted(root.glob(f"versions/3.{minor}.*/bin/python3")))]
    for each in filter(None, found):
        told = subprocess.run([each, "-c", "import venv, sys; print(sys.version_info[1])"], capture_output=True, check=False)
        if told.stdout.decode().strip() == str(minor):
            return each
    return None


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("packages")
    _run(sys.executable, "-m", "hatchling", "build", "--directory", folder, cwd=ROOT)
    return folder


def _only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


@pytest.mark.parametrize("minor", MINORS, ids=lambda minor: f"3.{minor}")
def test_the_wheel_runs_the_demo_in_an_empty_environment(minor: int, packages: Path, tmp_path: Path) -> None:
    python = _python(minor)
    if python is None:
        pytest.skip(f"no Python 3.{minor} is found here")
    wheel = _only(packages, "*.whl")
    _run(python, "-m", "venv", tmp_path / "empty")
    _run(tmp_path / "empty/bin/python", "-m", "pip", "install", "--quiet", f"{wheel}[cli]", "-c", ROOT / "constraints.txt")
    told = _run(tmp_path / "empty/bin/aioswap", "demo", cwd=tmp_path)

    assert "instance.volume_swap.error" in told, told


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(packages: Path) -> None:
    tracked = _run("git", "ls-files", "aioswap", cwd=ROOT).split()
    held = [name for name in zipfile.ZipFile(_only(packages, "*.whl")).namelist() if ".dist-info/" not in name]

    assert sorted(tracked) == sorted(held)


def test_the_sdist_makes_the_same_wheel(packages: Path, tmp_path: Path) -> None:
    with tarfile.open(_only(packages, "*.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    _run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path / "again", cwd=source)
    one, other = (zipfile.ZipFile(_only(folder, "*.whl")) for folder in (packages, tmp_path / "again"))

    assert {each.filename: each.CRC for each in one.infolist()} == {each.filename: each.CRC for each in other.infolist()}
