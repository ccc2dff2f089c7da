"""How Sphinx builds these pages: `make docs`. Nothing is fetched, and no page asks for anything from elsewhere."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

project = "aioswap"
author = "the aioswap authors"
copyright = "the aioswap authors, Apache-2.0"
version = release = version_of("aioswap")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docs._ext.aioswap_docs"]
exclude_patterns = ["_build", "_ext", "samples"]
html_theme = "furo"
html_title = f"aioswap {version}"
html_static_path = ["_static"]
html_css_files = ["aioswap.css"]
html_copy_source = False
html_show_sphinx = False
highlight_language = "text"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

nitpicky = True
default_role = "name"
autodoc_default_options = {
    "member-order": "bysource",
    "exclude-members": "model_config, model_post_init",
}
autodoc_typehints_format = "short"
autodoc_use_type_comments = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
python_display_short_literal_types = True

# What has no page here: the standard library and dependencies, whose pages are elsewhere (nothing is fetched); type variables;
# what is private; two types that only the history hands about.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"_?(asyncio|collections|contextlib|datetime|enum|logging|pathlib|ssl|types|typing|anyio|pydantic\w*)(\..*)?",
    ),
    ("py:class", r"(aioswap\.[\w.]+\.)?(_\w+|[A-Z]|T_co)"),
    ("py:class", r"aioswap\.(evidence\.SwapKey|attempts\.Attempt)"),
    ("py:class", r"Path|SecretStr|NoDecode"),
    ("py:class", r"(opentelemetry|prometheus_client|starlette)\..*"),
]
