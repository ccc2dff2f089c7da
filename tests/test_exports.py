"""What is public: `__all__` of each module, and the names that the package offers."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module, metadata

import pytest

import aioswap
from tests.layers import modules

_MODULES = modules()


def _order(name: str) -> tuple[int, str]:
    """Sort as ruff does: constants, classes, the rest."""
    kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
    return kind, name


def _listed(module: str) -> list[str] | None:
    """Return the module's `__all__`; None where it has none."""
    for node in ast.parse(_MODULES[module].read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            listed: list[str] = ast.literal_eval(node.value)
            return listed
    return None


def _defines(module: str) -> bool:
    body = ast.parse(_MODULES[module].read_text()).body
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign) for node in body)


def _typed_names() -> dict[str, str]:
    """Return what the TYPE_CHECKING block of the package imports: names, and the modules they come from."""
    body = ast.parse(_MODULES["__init__"].read_text()).body
    block = next(node for node in body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    return {
        alias.name: node.module.removeprefix("aioswap.")
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if alias.asname is None
    }


@pytest.mark.parametrize("module", sorted(_MODULES))
def test_a_module_lists_what_is_public_in_order(module: str) -> None:
    listed = _listed(module)

    assert _defines(module) == (listed is not None)
    assert sorted(set(listed or ()), key=_order) == (listed or [])


@pytest.mark.parametrize("module", sorted(name for name in _MODULES if name != "__main__"))
def test_a_module_has_what_it_lists(module: str) -> None:
    loaded = import_module("aioswap" if module == "__init__" else f"aioswap.{module}")
    missing = [name for name in _listed(module) or () if not hasattr(loaded, name)]

    assert [] == missing


def test_the_package_loads_exactly_what_it_lists() -> None:
    assert set(aioswap.__all__) - {"__version__"} == aioswap._HOMES.keys()


def test_a_type_checker_sees_the_names_that_are_loaded() -> None:
    assert aioswap._HOMES == _typed_names()


@pytest.mark.parametrize("name", sorted(aioswap._HOMES))
def test_a_name_of_the_package_is_public_at_its_home(name: str) -> None:
    home = import_module(f"aioswap.{aioswap._HOMES[name]}")

    assert name in home.__all__
    assert getattr(aioswap, name) is getattr(home, name)


def test_the_version_is_that_of_the_distribution() -> None:
    assert metadata.version("aioswap") == aioswap.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", aioswap.__version__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        getattr(aioswap, "nonsense")  # noqa: B009 - mypy knows that it is not there


def test_the_package_shows_its_names_before_they_are_loaded() -> None:
    assert set(aioswap.__all__) <= set(dir(aioswap))


def test_importing_the_package_loads_no_dependency() -> None:
    code = "import sys, aioswap; print(sorted({'aio_pika', 'anyio', 'pydantic', 'asyncio', 'click'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]\n" == done.stdout
