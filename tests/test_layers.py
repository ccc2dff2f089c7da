"""The shape of the code: what may import what."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.layers import LAYERS, PURE, is_pure, layer_of, modules

_MODULES = modules()
_IMPURE = frozenset({"anyio", "aio_pika", "sqlite3", "socket", "time"})
_DRIVERS = frozenset({"aio_pika", "aiormq", "pamqp", "yarl"})
_LONGEST = 400

each_module = pytest.mark.parametrize("module", sorted(_MODULES))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def _imported(tree: ast.AST) -> Iterator[str]:
    """Give the full name of each module that is imported, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a module stands"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix("aioswap.") in _MODULES else node.module


def _own_imports(module: str) -> set[str]:
    """Return what `module` imports of aioswap, by names after `aioswap.`."""
    names = (name for name in _imported(_tree(_MODULES[module])) if name.partition(".")[0] == "aioswap")
    return {"__init__" if name == "aioswap" else name.removeprefix("aioswap.") for name in names}


def _foreign_imports(module: str) -> set[str]:
    return {name.partition(".")[0] for name in _imported(_tree(_MODULES[module]))} - {"aioswap"}


def _folder(module: str) -> Path:
    return _MODULES[module].parent


def _is_typing_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


@each_module
def test_imports_go_downwards(module: str) -> None:
    here = layer_of(module)
    wrong = {
        name
        for name in _own_imports(module)
        if layer_of(name) > here or (layer_of(name) == here and _folder(name) != _folder(module))
    }

    assert set() == wrong


def test_no_module_imports_itself_through_others() -> None:
    imports = {module: _own_imports(module) for module in _MODULES}
    while leaves := [module for module, names in imports.items() if not names & imports.keys()]:
        for leaf in leaves:
            del imports[leaf]

    assert {} == imports


@each_module
def test_a_pure_module_touches_nothing_of_the_world(module: str) -> None:
    touched = _foreign_imports(module) & _IMPURE

    assert set() == (touched if is_pure(module) else set())


@each_module
def test_only_the_rabbit_modules_know_the_driver(module: str) -> None:
    known = _foreign_imports(module) & _DRIVERS

    assert set() == (known if not module.startswith("transports.rabbit") else set())


@each_module
def test_types_alone_are_imported_for_lazy_packages_only(module: str) -> None:
    guards = [node for node in ast.walk(_tree(_MODULES[module])) if _is_typing_guard(node)]
    imports = [name for guard in guards for name in _imported(guard)]

    assert [] == (imports if module not in ("__init__", "testing") else [])


@each_module
def test_a_module_fits_a_reader(module: str) -> None:
    lines = _MODULES[module].read_text().count("\n")

    assert lines <= _LONGEST, f"{module} has {lines} lines: split it"


def test_the_table_of_layers_names_no_module_twice() -> None:
    names = [name for layer in LAYERS.values() for name in layer]

    assert sorted(set(names)) == sorted(names)
    assert set() == {name for name in PURE if name not in names}


def test_a_module_without_a_layer_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"aioswap\.nowhere has no layer"):
        layer_of("nowhere")
