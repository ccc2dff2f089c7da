"""What the source says of a payload's fields: read only where somebody asks, since it takes longer than all other imports."""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise

from aioswap.wire.objects import VersionedObject

__all__ = ["field_docs"]


def field_docs(kind: type[VersionedObject]) -> dict[str, str]:
    """Return the docstrings of the fields of `kind`, those of its parents included; without the source there are none."""
    docs: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        if not issubclass(parent, VersionedObject):
            continue
        try:
            source = inspect.getsource(parent)
        except (OSError, TypeError):  # TypeError: it is in no file
            continue
        (definition,) = ast.parse(textwrap.dedent(source)).body
        assert isinstance(definition, ast.ClassDef)
        for field, told in pairwise(definition.body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(told, ast.Expr):
                docs[field.target.id] = inspect.cleandoc(str(ast.literal_eval(told.value)))
    return {name: told for name, told in docs.items() if name in kind.model_fields}
