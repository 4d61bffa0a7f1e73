"""Write the pages that the program itself knows best: cli.md, scores.md for the metrics, samplers.inc for diffusion.md,
models/*.md for the registry entries, and architectures/*.md for the families.

    python docs/generate.py [FOLDER]

Sphinx runs it before every build (conf.py); git ignores the files. What is committed is the JSON schema of an entry:

    python docs/generate.py --schema
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from pydantic.json_schema import GenerateJsonSchema

from medzoo import catalog, metrics, weights
from medzoo.bench import measures
from medzoo.cli import VERBS, main
from medzoo.cli.page import sections
from medzoo.cli.table import Grid
from medzoo.diffusion.samplers import BY_NAME
from medzoo.entry import SAMPLERS, Entry
from medzoo.families import builtin_families, get_family, known_families
from medzoo.text import as_markdown

SCHEMA = Path(__file__).parent.parent / "registry" / "entry.schema.json"
NOTICE = "*Synthetic images for research; not for clinical use.*"


def write(folder: Path) -> None:
    """Write every generated page into ``folder``, and remove pages of entries that no longer exist."""
    os.environ.pop(catalog.ENVIRONMENT, None)  # only what is shipped
    found, broken = catalog.scan()
    if broken:
        raise SystemExit("\n".join(map(str, broken)))
    located = {each.entry.model_id: each for each in found}
    pages = {
        folder / "cli.md": cli_page(),
        folder / "scores.md": scores_page(),
        folder / "samplers.inc": samplers_table(),
        folder / "models" / "index.md": index_page(folder, found),
    }
    for model_id, each in located.items():
        pages[folder / "models" / f"{model_id}.md"] = model_page(folder, each)
    pages[folder / "architectures" / "index.md"] = architectures_page()
    for family in builtin_families():
        entries = [each.entry for each in found if each.entry.family == family]
        pages[folder / "architectures" / f"{family}.md"] = architecture_page(family, entries)
    for made in ("models", "architectures"):
        (folder / made).mkdir(exist_ok=True)
        for old in set((folder / made).glob("*.md")) - set(pages):
            old.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # Sphinx reads again what is newer
            path.write_text(text, encoding="utf-8")


def cli_page() -> str:
    """Every command with its options, each with an anchor."""
    lines = ["# Command line", "", "What each exit code means: [stability](stability.md#exit-codes).", ""]
    lines += ["```{eval-rst}", ".. click:: medzoo.cli:main", "   :prog: medzoo", "   :nested: none", "```", ""]
    for verb in main.list_commands(click.Context(main)):
        module, attribute = VERBS[verb][0].split(":")
        lines += ["```{eval-rst}", f".. click:: {module}:{attribute}"]
        lines += [f"   :prog: medzoo {verb}", "   :nested: full", "```", ""]
    return "\n".join(lines)


def scores_page() -> str:
    """Every score of every metric, by group."""
    found = [measures.load(name) for name in measures.names()]
    lines = [
        "# Scores",
        "",
        "What `medzoo bench` measures ([how](benchmarks.md)). The name is that of JSON and of `medzoo rank`.",
    ]
    for group in metrics.GROUPS:
        rows = [(metric, scale) for metric in found if metric.group == group.name for scale in metric.scales]
        lines += [
            "",
            f"## {group.title}",
            "",
            *([group.question, ""] if group.question else []),
            "| name | better | metric | what it is |",
            "|---|---|---|---|",
        ]
        for metric, scale in rows:
            lines.append(
                f"| `{scale.name}` | {scale.better} | `{metric.name}` | {scale.about.replace('|', chr(92) + '|')} |"
            )
    return "\n".join([*lines, ""])


def samplers_table() -> str:
    """Every sampler of diffusion models, which docs/diffusion.md includes."""
    lines = ["| sampler | what it is | usual steps: pixels | latents | calls in 10 steps |", "|---|---|---|---|---|"]
    for name in SAMPLERS:
        sampler = BY_NAME[name]
        usual = f"{sampler.steps_of_pixels} | {sampler.steps_of_latents}"
        lines.append(f"| `{name}` | {sampler.about} | {usual} | {sampler.calls(10)} |")
    return "\n".join([*lines, ""])


def index_page(folder: Path, found: Sequence[catalog.Located]) -> str:
    """Cards of the models that run here, tables of the others."""
    here = [each for each in found if weights.is_available_offline(each.entry, each.registry, each.path)]
    pictured = [each for each in found if each not in here and _thumbnail(folder, each.entry)]
    others = [each for each in found if each not in here]
    lines = ["# Models", "", NOTICE, "", "## Run at once", "", "Their weights come along: no download.", ""]
    lines += _cards(folder, [each.entry for each in here])
    lines += ["## Need a download", ""]
    lines += [
        "Their weights are downloaded when a model is first used, then verified and kept. This project could not "
        "download them: their networks are compared with the authors' own, their images are not, but where a page says "
        "so. Each page states what was checked and which scores others reported.",
        "",
    ]
    lines += _cards(folder, [each.entry for each in pictured])
    for modality in sorted({each.entry.modality for each in others}, key=str.casefold):
        lines += [f"### {linked(modality[:1].upper() + modality[1:])}", ""]
        lines += [*_table(each.entry for each in others if each.entry.modality == modality), ""]
    return "\n".join(lines)


def _cards(folder: Path, entries: Iterable[Entry]) -> list[str]:
    lines = ["::::{grid} 1 1 2 2", ":gutter: 2", ""]
    for entry in entries:
        lines += [f":::{{grid-item-card}} {entry.number}", f":link: {entry.model_id}", ":link-type: doc"]
        if (picture := _thumbnail(folder, entry)) is not None:
            lines += [f":img-top: ../images/gallery/{picture.name}", f":img-alt: Synthetic, made by {entry.model_id}"]
        lines += ["", linked(entry.title), ":::"]
    return [*lines, "::::", ""]


def _thumbnail(folder: Path, entry: Entry) -> Path | None:
    path = folder / "images" / "gallery" / f"{entry.number}.jpg"
    return path if path.exists() else None


def _table(entries: Iterable[Entry]) -> list[str]:
    rows = ["| model | pixels | needs | licence of the weights | of the data |", "|---|---|---|---|---|"]
    for entry in entries:
        size = " x ".join(map(str, entry.output.size)) if entry.output.size else "varies"
        needs = entry.condition.kind if entry.condition else "noise"
        licences = (linked(entry.license.weights or "none stated"), linked(entry.license.data or "not known"))
        name = f"[{entry.number}]({entry.model_id}.md) {linked(entry.title)}"
        rows.append(f"| {name} | {size} | {needs} | {' | '.join(licences)} |")
    return rows


def model_page(folder: Path, located: catalog.Located) -> str:
    """The page of ``medzoo info``, with a picture where docs/images has one."""
    entry = located.entry
    # Some sixty numbers in the sidebar of every page would hide its chapters.
    lines = ["---", "orphan: true", "---", "", "[All models](index.md)", ""]
    lines += [f"# {entry.number}: {linked(entry.title)}", "", f"`{entry.model_id}`", "", NOTICE, ""]
    lines += _pictures(folder, entry)
    shown = dict(sections(entry, full=False))
    if entry.family in known_families():
        python, command = map(str, shown["Use"])
        lines += ["::::{tab-set}", ":::{tab-item} Python", "", "```python", "import medzoo", ""]
        lines += [f"samples = {python}", "```", ":::", ":::{tab-item} Shell", ""]
        lines += ["```console", f"$ {command}", "```", ":::", "::::", ""]
    for name, parts in shown.items():
        if parts and name not in ("Use", "Scores", "Reported", "Checked", "Weights"):
            lines += [name, *(f": {linked(str(part))}" for part in parts), ""]
    in_full = dict(sections(entry, full=True))
    for name in ("Scores", "Reported", "Checked", "Weights"):
        lines += [f"## {name}", "", *_parts(shown[name])] if shown[name] else []
    if differing := [name for name in ("Reported", "Checked", "Weights") if in_full[name] != shown[name]]:
        lines += [":::{dropdown} In full, with how it was measured, sources and hashes", ""]
        for name in differing:
            lines += [f"**{name}**", "", *(f"- {linked(str(part))}" for part in in_full[name]), ""]
        lines += [":::", ""]
    return "\n".join(lines)


def _parts(parts: Iterable[str | Grid]) -> list[str]:
    """Paragraphs, and tables of the terminal as tables of the page."""
    lines: list[str] = []
    for part in parts:
        if isinstance(part, str):
            lines += [linked(part), ""]
        else:
            lines += [_line(part.header), _line(["---"] * len(part.header)), *map(_line, part.rows), ""]
    return lines


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell if cell == '---' else linked(cell) for cell in cells)} |"


def architectures_page() -> str:
    lines = ["# Architectures", "", "The families that run, each one file or folder of `medzoo/families`.", ""]
    lines += [f"- [{family}]({family}.md): {linked(_about(family)[0])}" for family in builtin_families()]
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", *builtin_families(), "```", ""])


def architecture_page(family: str, entries: Sequence[Entry]) -> str:
    """The docstrings of a family, and its models."""
    generator = get_family(family)
    lines = [f"# {family}", "", *(line for text in _about(family) for line in (linked(text), ""))]
    lines += ["## Makes", "", linked(_unwrapped(inspect.getdoc(generator) or "")[0]), ""]
    config = generator.Config
    lines += ["## Configuration", "", "```{eval-rst}", f".. autopydantic_model:: {config.__module__}.{config.__name__}"]
    if not config.__module__.startswith(inspect.getmodule(generator).__name__):  # type: ignore[union-attr]
        lines += ["   :no-index:"]  # it has its place on the page of the family that owns it
    lines += ["   :inherited-members: BaseModel", "```", ""]
    lines += ["Fields that the weights determine may be null in an entry. A file alone can be loaded, too:", ""]
    lines += ["```python", f'medzoo.load(family="{family}", weights="weights.pt")', "```", ""]
    lines += ["## Models", "", *(f"- [{entry.model_id}](../models/{entry.model_id}.md)" for entry in entries)]
    return "\n".join([*lines, "" if entries else "None in the registry yet.", ""])


def about(model: type, field: str) -> str:
    """What the docstring of a model, or of a class that it extends, says of a field under ``Attributes:``."""
    for owner in model.__mro__:
        section = (owner.__doc__ or "").partition("Attributes:")[2]
        for names, text in re.findall(r"^ {8}([\w, ]+): (.*(?:\n {9,}.*)*)", section, re.MULTILINE):
            if field in names.split(", "):
                said = " ".join(text.split())
                return said[:1].upper() + said[1:]
    return ""


def _about(family: str) -> list[str]:
    """The paragraphs of the docstring of a family's module."""
    return _unwrapped(inspect.getdoc(inspect.getmodule(get_family(family))) or "")


def _unwrapped(text: str) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def _pictures(folder: Path, entry: Entry) -> list[str]:
    found = sorted((folder / "images").glob(f"{entry.number}_*.png"))
    return [line for path in found for line in (f"![Synthetic, made by {entry.model_id}](../images/{path.name})", "")]


def linked(text: str) -> str:
    return as_markdown(text, links=True)


def entry_schema() -> str:
    """The JSON schema of an entry, for editors; what docstrings say of fields is in it."""

    class WithWords(GenerateJsonSchema):
        def model_schema(self, schema: Any) -> Any:
            found = super().model_schema(schema)
            for field, known in found.get("properties", {}).items():
                if said := about(schema["cls"], field):
                    known["description"] = said.replace("`", "")
            return found

    schema = Entry.model_json_schema(schema_generator=WithWords)
    return json.dumps({"$schema": GenerateJsonSchema.schema_dialect, **schema}, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__" and sys.argv[1:] == ["--schema"]:
    SCHEMA.write_text(entry_schema(), encoding="utf-8")
elif __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
