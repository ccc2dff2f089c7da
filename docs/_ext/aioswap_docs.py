"""The Sphinx extension of these pages: what is made from the code, and a check that every public name is documented."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Final

from docs._ext.payload_tables import payload_tables
from docs._ext.public_names import HANDED_OUT, names_of, public_names
from docs._ext.state_diagram import diagram
from docutils import nodes
from docutils.statemachine import StringList
from pydantic import BaseModel
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole
from typing_extensions import is_protocol

from aioswap.wire.objects import VersionedObject

__all__ = ["setup"]

_logger = logging.getLogger(__name__)

_PUBLIC: Final = {name.rpartition(".")[2]: name for name in reversed(public_names())}
"""The last part of each public name -> it; those that the package exports go before others."""

_COLON: Final = "\ue000"
"""Stands for a colon while napoleon looks: it takes what is before one, in an attribute's docstring, for a type."""


class PayloadTables(SphinxDirective):
    """The tables of all payloads."""

    def run(self) -> list[nodes.Node]:
        """Return them."""
        return self.parse_text_to_nodes(payload_tables(), allow_section_headings=True)


class SwapStates(SphinxDirective):
    """The diagram of a swap's states."""

    def run(self) -> list[nodes.Node]:
        """Return it."""
        return [nodes.raw("", f'<figure class="swap-states">{diagram()}</figure>', format="html")]


class Plot(SphinxDirective):
    """A picture that the benchmarks draw: nothing where they have not run. Its content says in words what it shows."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return it."""
        relative, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        if not Path(path).is_file():
            return []
        return self.parse_text_to_nodes(f"![{' '.join(self.content)}]({self.arguments[0]})")


class PublicNames(SphinxDirective):
    """What autodoc says of the public names of a page."""

    required_arguments = 1
    _DATA: ClassVar[dict[str, str]] = {
        "aioswap.InstanceActionVolumeSwapNotification": (
            "The notification of a swap: `Notification` of an `InstanceActionVolumeSwapPayload`."
        ),
        "aioswap.volume_swap": (
            "The event types of a swap: `volume_swap.start`, `volume_swap.end` and `volume_swap.error`"
            " are each an `EventType`; `volume_swap.any` is an `EventPattern` of all of them, phases of"
            " later novas included."
        ),
        "aioswap.__version__": "The version of the distribution, as text.",
        "aioswap.context.ContextSource": (
            "What a request context is taken from: a `RequestContext`, a mapping, or an object with `to_dict()`."
        ),
        "aioswap.outbox_adoption.Recover": (
            "Says what became of a swap whose process has died: takes its start, returns `end`, `error` or `leave`."
        ),
        "aioswap.outcomes.Outcome": "An `Ack`, a `Retry` or a `Reject`.",
    }
    """Names whose values say nothing of themselves."""

    def run(self) -> list[nodes.Node]:
        """Return it."""
        names = names_of(self.arguments[0])
        lines = StringList()
        for name in names:
            for line in [*self._asked(name), ""]:
                lines.append(line, name)
        # what autodoc writes is reStructuredText, whatever the page is written in
        text = "\n".join(lines)
        block = f"```{{eval-rst}}\n{text}\n```"
        return self.parse_text_to_nodes(block)

    def _asked(self, name: str) -> list[str]:
        if name in self._DATA:
            return [f".. py:data:: {name}", "", f"   {self._DATA[name]}"]
        home, _, last = name.rpartition(".")
        value = getattr(import_module(home), last)
        if inspect.isclass(value):
            fields = issubclass(value, VersionedObject) and value is not VersionedObject
            # the fields of payloads are in the notification reference
            return [
                f".. autoclass:: {name}",
                *([] if fields else ["   :members:", "   :undoc-members:"]),
            ]
        if inspect.isroutine(value):
            return [f".. autofunction:: {name}"]
        return [f".. autodata:: {name}", "   :no-value:"]


class Name(SphinxRole):
    """What stands between single backticks in a docstring: code, and a link if it is a public name."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return it."""
        literal = nodes.literal(self.rawtext, self.text, classes=["code"])
        reference = pending_xref(
            "", literal, refdomain="py", reftype="obj", reftarget=self.text, soft=True
        )
        reference["py:class"] = self.env.ref_context.get("py:class")
        reference["py:module"] = self.env.ref_context.get("py:module")
        self.set_source_info(reference)
        return [reference], []


def _resolve_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Node | None:
    """Link a name of the package, or of the class at hand; leave the rest as code."""
    if not node.get("soft"):
        return None
    domain = env.domains.python_domain
    target, here = node["reftarget"], node.get("py:class") or ""
    for name in (f"{here}.{target}", f"aioswap.{here}.{target}", _PUBLIC.get(target, target)):
        entry = domain.objects.get(name)
        if entry is not None:
            uri = app.builder.get_relative_uri(node.get("refdoc", env.docname), entry.docname)
            return nodes.reference(
                "", "", content, internal=True, refuri=f"{uri}#{entry.node_id}", reftitle=name
            )
    return content


def _hide_colons(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    if what in ("attribute", "data", "property"):
        lines[:] = [line.replace(":", _COLON) for line in lines]


def _show_colons(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _plainer_signature(
    app: Sphinx,
    what: str,
    name: str,
    value: Any,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Leave out how an object is made that users are handed, the fields of pydantic's models, and what protocols take."""
    if what == "class" and (
        name in HANDED_OUT or issubclass(value, BaseModel) or is_protocol(value)
    ):
        return "", returns
    return signature and signature.replace("<factory>", "..."), returns


def _check_names(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of each public name that no page documents: the build fails then."""
    documented = env.domains.python_domain.objects
    missing = [name for name in public_names() if name not in documented]
    for name in missing:
        _logger.warning(
            "%s is public, and no page documents it: see docs/_ext/public_names.py", name
        )
    _logger.info(
        "public names documented: %d of %d", len(public_names()) - len(missing), len(public_names())
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of all this."""
    app.add_directive("payload-tables", PayloadTables)
    app.add_directive("swap-states", SwapStates)
    app.add_directive("plot", Plot)
    app.add_directive("public-names", PublicNames)
    app.add_role("name", Name())
    app.connect("missing-reference", _resolve_name)
    app.connect("autodoc-process-docstring", _hide_colons, priority=100)
    app.connect("autodoc-process-docstring", _show_colons, priority=900)
    app.connect("autodoc-process-signature", _plainer_signature)
    app.connect("env-check-consistency", _check_names)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
