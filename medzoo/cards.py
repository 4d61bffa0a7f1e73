"""What Python shows of an entry, a model, a list of models or samples: a few lines of text, or HTML in a notebook.

HTML is made by Jinja2, which escapes everything: entries are the text of strangers.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from medzoo.conditions import kind_of
from medzoo.text import one_line

if TYPE_CHECKING:
    from jinja2 import Environment

    from medzoo.entry import Entry, Output

Facts = list[tuple[str, str]]
# Given the id of a model, the PNG of one of its samples or None. What knows where they lie adds itself.
PICTURES: list[Callable[[str], bytes | None]] = []

_TEMPLATES = {
    "card": """\
<div style="display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start">
{%- if picture %}<img src="{{ picture }}" alt="{{ alt }}" style="width:128px;image-rendering:pixelated">{% endif -%}
<div style="flex:1 1 20em"><b>{{ title }}</b><table style="margin:0">
{%- for name, value in facts %}<tr><th style="text-align:left;vertical-align:top">{{ name }}</th>\
<td style="text-align:left;white-space:pre-line">{{ value }}</td></tr>{% endfor -%}
</table></div></div>""",
    "table": """\
<div style="overflow-x:auto"><table><tr>
{%- for name in heads %}<th style="text-align:left">{{ name }}</th>{% endfor %}</tr>
{%- for picture, cells in rows %}<tr>
{%- if pictures %}<td>{% if picture -%}
<img src="{{ picture }}" alt="synthetic" style="width:64px;image-rendering:pixelated">{% endif %}</td>{% endif -%}
{% for cell in cells %}<td style="text-align:left">{{ cell }}</td>{% endfor %}</tr>{% endfor -%}
</table></div><p>{{ note }}</p>""",
    "figure": """\
<p>{{ about }}{% for line in lines %}<br>{{ line }}{% endfor %}</p>
{%- if picture %}<img src="{{ picture }}" alt="{{ alt }}"
 style="width:{{ width }}px;max-width:100%;image-rendering:pixelated">{% endif %}""",
}


def made(output: Output) -> str:
    """What one sample is: ``RGB 128x128 + mask``, ``grey volume 40x48x40``."""
    size = "x".join(map(str, output.size)) if output.size else "of any size"
    colour = {0: "", 1: "grey", 3: "RGB"}.get(output.channels, f"{output.channels} channels")
    volume = "volume" if output.type.startswith("volume") else ""
    masks = {0: "", 1: "mask"}.get(output.masks, f"{output.masks} masks")
    if not output.channels:
        return f"{masks} {size}"
    return " ".join(filter(None, (colour, volume, size, f"+ {masks}" if masks else "")))


def facts(entry: Entry) -> Facts:
    """What decides whether a model is of use, each in a line or two."""
    data = entry.training_data
    images = f" ({data.images} images)" if data.images else ""
    trained = ", ".join(data.datasets) + images if data.datasets else "not stated"
    takes = kind_of(entry.condition).about(entry.condition)[0] if entry.condition else "nothing but noise"
    return [
        (name, one_line(value, most=120))
        for name, value in (
            ("shows", f"{entry.modality}{f', {entry.organ}' if entry.organ else ''}"),
            ("makes", made(entry.output)),
            ("takes", takes),
            ("family", entry.family),
            ("trained on", trained),
            ("licence", f"weights {entry.license.weights or 'not stated'}; data {entry.license.data or 'not stated'}"),
        )
    ]


def text(title: str, lines: Facts) -> str:
    """A title, and a line for each fact."""
    wide = max(len(name) for name, _ in lines)
    return "\n".join([title, *(f"  {name:<{wide}}  {value}" for name, value in lines)])


def card(title: str, lines: Facts, *, model_id: str | None = None) -> str:
    """HTML of a title and its facts, beside a sample of the model where one is there."""
    picture = None if model_id is None else _picture(model_id)
    return _render("card", title=title, facts=lines, picture=_source(picture), alt=f"synthetic sample of {model_id}")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], models: Sequence[str], note: str) -> str:
    """HTML of a table of models, each with a sample where one is there."""
    pictures = [_source(_picture(model_id)) for model_id in models]
    beside = any(pictures)
    return _render(
        "table", heads=["", *heads] if beside else heads, rows=list(zip(pictures, rows, strict=True)), pictures=beside,
        note=note,
    )  # fmt: skip


def figure(about: str, lines: Sequence[str], png: bytes | None, *, width: int, alt: str) -> str:
    """HTML of a picture ``width`` pixels wide under a sentence about it."""
    return _render("figure", about=about, lines=lines, picture=_source(png), width=width, alt=alt)


def _picture(model_id: str) -> bytes | None:
    return next((png for find in PICTURES if (png := find(model_id)) is not None), None)


def _source(png: bytes | None) -> str | None:
    return None if png is None else f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined

    return Environment(loader=DictLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
