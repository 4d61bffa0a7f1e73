"""Sphinx: ``make docs``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import generate  # docs/generate.py

import medzoo

project = "medzoo"
author = "the medzoo maintainers"
project_copyright = "2026, the medzoo maintainers. Apache License 2.0. Research only; not for clinical use"
version = release = medzoo.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib.autodoc_pydantic",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
exclude_patterns = ["_build"]
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_pydantic_model_show_json = False
autodoc_pydantic_model_show_config_summary = False
autodoc_pydantic_model_show_field_summary = False
autodoc_pydantic_model_show_validator_summary = False
autodoc_pydantic_model_show_validator_members = False
autodoc_pydantic_model_hide_paramlist = True
autodoc_pydantic_model_undoc_members = True
autodoc_pydantic_field_list_validators = False
autodoc_pydantic_field_show_alias = False
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"
html_title = f"medzoo {release}"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["medzoo.css"]
html_show_sphinx = False


def setup(app: Any) -> None:
    app.connect("builder-inited", lambda app: generate.write(Path(app.srcdir)))
    app.connect("autodoc-process-docstring", _fields, priority=300)
    app.connect("autodoc-process-docstring", _plain, priority=400)  # before napoleon


def _fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """What the docstring of a pydantic model says of a field goes to the field, beside its type and default."""
    if what == "pydantic_model":
        begin = next((i for i, line in enumerate(lines) if line.strip() == "Attributes:"), None)
        if begin is not None:
            del lines[begin:]
    elif what == "pydantic_field":
        model, _, field = name.rpartition(".")
        module, _, owner = model.rpartition(".")
        lines[:] = [_about(getattr(sys.modules[module], owner, None), field)]


def _about(model: type | None, field: str) -> str:
    """The paragraph of a field under ``Attributes:`` of its model or of a class that this one extends."""
    for owner in getattr(model, "__mro__", ()):
        section = (owner.__doc__ or "").partition("Attributes:")[2]
        for names, text in re.findall(r"^ {8}([\w, ]+): (.*(?:\n {9,}.*)*)", section, re.MULTILINE):
            if field in names.split(", "):
                return " ".join(text.split())
    return ""


def _plain(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text: escape stars and bars, and show the indented blocks of a module's as listings."""
    if what == "module":
        for i in range(len(lines) - 2, 0, -1):
            if lines[i + 1].startswith("    ") and not lines[i] and lines[i - 1] and lines[i - 1][0] != " ":
                lines.insert(i + 1, "")
                lines.insert(i + 1, "::")
    listing = False
    for i, line in enumerate(lines):
        listing = line == "::" or (listing and line[:1] in ("", " "))
        if not listing:
            parts = re.split("(``.*?``)", line)
            lines[i] = "".join(part if k % 2 else re.sub(r"([*|])", r"\\\1", part) for k, part in enumerate(parts))
