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
version = release = medzoo.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
html_title = f"medzoo {release}"
html_theme = "alabaster"
html_theme_options = {
    "description": "Generators of medical images. Research only; not for clinical use.",
    "page_width": "1100px",
    "sidebar_width": "240px",
}


def setup(app: Any) -> None:
    app.connect("builder-inited", lambda app: generate.write(Path(app.srcdir)))
    app.connect("autodoc-process-docstring", _plain, priority=400)  # before napoleon


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
