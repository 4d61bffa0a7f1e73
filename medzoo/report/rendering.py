"""Templates (Jinja2): whatever is not marked as markup by this package is escaped."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Content security policy of a page: a text that slipped through unescaped could do nothing."""


def render(template: str, **values: Any) -> str:
    """The page of a file of ``templates/``."""
    from markupsafe import Markup

    environment = _environment()
    source, _, _ = environment.loader.get_source(environment, "page.css")  # type: ignore[union-attr]
    return environment.get_template(template).render(policy=POLICY, style=Markup(source), **values) + "\n"


def markup(text: str) -> Any:
    """Text of this package that is HTML or SVG already."""
    from markupsafe import Markup

    return Markup(text)


def minus(text: str) -> str:
    """Negative numbers as they are printed: with a minus sign as wide as a plus."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text)


def _breakable(words: object) -> Any:
    from markupsafe import Markup, escape

    return Markup(str(escape(words)).replace("_", "_<wbr>"))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("medzoo.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"breakable": _breakable, "minus": minus}
    return environment
