"""Sphinx: ``make docs``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import generate  # docs/generate.py
from docutils import nodes  # type: ignore[import-untyped]
from sphinx import addnodes

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
autodoc_pydantic_model_member_order = "bysource"
autodoc_pydantic_field_list_validators = False
autodoc_pydantic_field_show_alias = False
autodoc_pydantic_field_show_constraints = False
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
    app.connect("sphinx-click-process-arguments", lambda app, context, lines: _shown_arguments(lines))
    app.connect("doctree-read", lambda app, doctree: _plain_types(doctree))
    app.connect("autodoc-process-docstring", _fields, priority=300)
    app.connect("autodoc-process-docstring", _plain, priority=400)  # before napoleon


def _shown_arguments(lines: list[str]) -> None:
    """Leave out an argument without a name, which a command only takes to say what to type instead."""
    kept, hidden = [], False
    for line in lines:
        if line.startswith(".. option::"):
            hidden = line == ".. option:: "
        if not hidden:
            kept.append(line)
    lines[:] = kept


def _plain_types(doctree: nodes.document) -> None:
    """Fields are of type ``int``, not ``Annotated[int, Gt(gt=0)]``: their bounds stand beneath."""
    for signature in doctree.findall(addnodes.desc_signature):
        for node in signature.findall(addnodes.desc_annotation):
            if "Annotated[" in node.astext():
                plain = _unannotated(node.astext())
                node.clear()
                node += nodes.Text(plain)


def _unannotated(text: str) -> str:
    """
    >>> _unannotated(": tuple[Annotated[int, Field(ge=0)], ...]")
    ': tuple[int, ...]'
    """
    while (begin := text.rfind("Annotated[")) >= 0:  # the innermost of the last ones first
        depth, comma, i = 0, None, begin + len("Annotated[")
        while depth >= 0:
            depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(text[i], 0)
            if text[i] == "," and depth == 0 and comma is None:
                comma = i
            i += 1
        text = text[:begin] + text[begin + len("Annotated[") : comma] + text[i:]
    return text


def _fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """What the docstring of a pydantic model says of a field goes to the field, beside its type and default."""
    if what == "pydantic_model":
        begin = next((i for i, line in enumerate(lines) if line.strip() == "Attributes:"), len(lines))
        del lines[begin:]
        for field, known in obj.model_fields.items():
            known.description = f"{generate.about(obj, field)} {_bounds(known)}".strip()


_WORDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "min_length": "entries, at least"}


def _bounds(field: Any) -> str:
    """What a field may be, in words."""
    said = [
        f"{words} {getattr(bound, name):,}"
        for bound in field.metadata
        for name, words in _WORDS.items()
        if getattr(bound, name, None) is not None
    ]
    return f"{', '.join(said).capitalize()}." if said else ""


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
