"""Write the pages that the program itself knows best: cli.md, scores.md for the metrics, samplers.inc for diffusion.md,
models/*.md for the registry entries, and architectures/*.md for the families.

    python docs/generate.py [FOLDER]

Sphinx runs it before every build (conf.py); git ignores the files.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from medzoo import catalog, metrics
from medzoo.bench import measures
from medzoo.cli import main
from medzoo.cli.page import sections
from medzoo.diffusion.samplers import BY_NAME
from medzoo.entry import SAMPLERS, Entry
from medzoo.families import builtin_families, get_family, known_families
from medzoo.text import as_markdown

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
    """Every command with its help text, as the terminal shows it."""
    codes = (
        "Exit codes: 0 success, 2 an error that you can fix, 1 an error of medzoo itself (`MEDZOO_TRACEBACK=1` shows "
        "where), 129, 130 and 143 stopped by a hang-up, Ctrl-C or SIGTERM."
    )
    lines = ["# Command line", "", codes, ""]
    for context in _commands(main, "medzoo", None):
        shown = context.command.get_help(context)
        lines += [f"## {context.command_path}", "", "```text", shown, "```", ""]
    return "\n".join(lines)


def _commands(command: click.Command, name: str, parent: click.Context | None) -> Iterator[click.Context]:
    settings = {**command.context_settings, "terminal_width": 100}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context
    if isinstance(command, click.Group):
        for verb in command.list_commands(context):
            found = command.get_command(context, verb)
            assert found is not None, verb
            yield from _commands(found, verb, context)


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
    """The table of all models, and their pictures."""
    running = [each.entry for each in found if each.entry.family in known_families()]
    others = [each.entry for each in found if each.entry.family not in known_families()]
    lines = ["# Models", "", NOTICE, ""]
    lines += [line for entry in running for line in _pictures(folder, entry)]
    lines += ["## Those that run", "", *_table(running), ""]
    if others:
        lines += ["## Those whose family is not built yet", "", "Described, with links and licences. They do not run."]
        lines += ["", *_table(others), ""]
    lines += ["```{toctree}", ":hidden:", ""]
    lines += [each.entry.model_id for each in found]
    return "\n".join([*lines, "```", ""])


def _table(entries: Iterable[Entry]) -> list[str]:
    rows = ["| id | makes | needs | licence of the weights | licence of the data |", "|---|---|---|---|---|"]
    for entry in entries:
        size = " x ".join(map(str, entry.output.size)) if entry.output.size else "varies"
        masks = " with masks" if entry.output.masks else ""
        needs = entry.condition.kind if entry.condition else "noise"
        makes = f"{linked(entry.title)}, {size}{masks}"
        weights, data = (
            linked(entry.license.weights or "none stated"),
            linked(entry.license.data or "not known"),
        )
        rows.append(f"| [{entry.model_id}]({entry.model_id}.md) | {makes} | {needs} | {weights} | {data} |")
    return rows


def model_page(folder: Path, located: catalog.Located) -> str:
    """The page of ``medzoo info``, with a picture where docs/images has one."""
    entry = located.entry
    lines = [f"# {entry.model_id}", "", f"{linked(entry.title)}. {NOTICE}", "", *_pictures(folder, entry)]
    for name, paragraphs in sections(entry):
        if name == "Use" or not paragraphs:
            continue
        lines += [f"**{name}**", "", *(f"- {linked(paragraph)}" for paragraph in paragraphs), ""]
    if entry.family in known_families():
        python, command = dict(sections(entry))["Use"]
        lines += ["**Use**", "", "```python", python, "```", "", "```console", f"$ {command}", "```", ""]
    return "\n".join(lines)


def architectures_page() -> str:
    lines = ["# Architectures", "", "The families that run, each one file or folder of `medzoo/families`.", ""]
    lines += [f"- [{family}]({family}.md): {linked(_about(family)[0])}" for family in builtin_families()]
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", *builtin_families(), "```", ""])


def architecture_page(family: str, entries: Sequence[Entry]) -> str:
    """The docstrings of a family, and its models."""
    generator = get_family(family)
    lines = [f"# {family}", "", *(line for text in _about(family) for line in (linked(text), ""))]
    lines += ["**Makes**", "", linked(_unwrapped(inspect.getdoc(generator) or "")[0]), ""]
    lines += ["**Configuration**", "", "```text", inspect.getdoc(generator.Config) or "", "```", ""]
    lines += ["Fields that the weights determine may be null in an entry. A file alone can be loaded, too:", ""]
    lines += ["```python", f'medzoo.load(family="{family}", weights="weights.pt")', "```", ""]
    lines += ["**Models**", "", *(f"- [{entry.model_id}](../models/{entry.model_id}.md)" for entry in entries)]
    return "\n".join([*lines, "" if entries else "None in the registry yet.", ""])


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


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
