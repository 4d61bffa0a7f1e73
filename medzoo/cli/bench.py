"""``medzoo bench``: models and folders of images measured against real images, and the report of it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medzoo.cli.table import table

if TYPE_CHECKING:
    from medzoo.bench import Outcome

DATA = "Folder that holds the datasets.  [default: $MEDZOO_DATA]"
PATH = click.Path(path_type=Path)
Command = Callable[..., Any]


def measuring(command: Command) -> Command:
    """The options that say what is measured against which images, and how."""
    options = (
        click.option("--benchmark", "name", metavar="NAME", help="Of registry/benchmarks, or a YAML file."),
        click.option(
            "--real", type=PATH, help="Held-out real images: a folder, or a file (FILE.npz:test for a split)."
        ),
        click.option("--training", type=PATH, help="With --real: folder of the real images that a model learned from."),
        click.option("--data", type=PATH, help=DATA),
        click.option("--out", type=PATH, default=Path("results"), show_default=True, help="Folder of the results."),
        click.option(
            "-n", "--number", "n", type=click.IntRange(min=2), help="Images per contender.  [default: the benchmark's]"
        ),
        click.option(
            "--size", type=click.IntRange(8, 8192),
            help="With --real: pixels a side.  [default: the shortest side of all pictures, so that none is enlarged]",
        ),
        click.option(
            "--window", type=(float, float), metavar="LOW HIGH",
            help="With --real: numbers that become black and white, of images of more than 8 bits.",
        ),
        click.option("--title", help="With --real: the heading of the report."),
        click.option("--name", "named", metavar="NAME", help="With --real: what the benchmark is called in --out."),
        click.option(
            "--only", metavar="METRIC,...", help="Some of the benchmark's metrics; with --real also of other packages."
        ),
        click.option(
            "--quick", is_flag=True,
            help="Leave out what trains networks (usefulness, mask agreement): minutes instead of tens of minutes.",
        ),
        click.option("--features", metavar="NAME,...", help="Other extractors; package.module:name is your own."),
        click.option("--condition", help="Of the models: a class, a file or folder of input images."),
        click.option("--device", help="cpu, cuda, cuda:1.  [default: cuda if there is one, else cpu]"),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def written(command: Command) -> Command:
    """The options that say which files of a report are written."""
    options = (
        click.option("--report", type=PATH, help="Write a self-contained HTML page here."),
        click.option("--markdown", type=PATH, help="Write the leaderboard as Markdown here."),
        click.option("--csv", type=PATH, help="Write every score, one a row, as CSV here."),
        click.option("--figures", type=PATH, metavar="DIR", help="Write figures as SVG and PNG into this folder."),
        click.option(
            "--no-real-pictures", is_flag=True, help="Leave pictures of patients out of the page, to publish it."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--fake", type=PATH, multiple=True, help="Folder or file of images to measure. May be repeated.")
@click.option("--fake-masks", type=PATH, help="Folder of the masks of --fake.")
@measuring
@written
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON, each with its verdict.")
def bench(models: tuple[str, ...], as_json: bool, quiet: bool, **options: Any) -> None:
    """Measure MODELs (and folders, --fake) against real images: fidelity, coverage, memorisation, spectrum, masks,
    usefulness, cost, each beside reference points made of real images in the same run.

    The verdict comes first: what it is better than, what it is useful for, copies or none. What is in --out already is
    not measured again; Ctrl-C loses at most the metric under way. One that fails does not stop the others.
    """
    from medzoo.bench import benchmark

    files = pop_files(options)
    outcome = benchmark(models=models, progress=not (quiet or as_json), **several(options))
    plain = outcome.plain()
    paths = write_files(outcome, plain, files)
    if as_json:
        said = outcome.verdicts()
        rows = [
            one | {"verdict": said[one["contender"]["id"]]} if one["contender"]["id"] in said else one for one in plain
        ]
        click.echo(json.dumps(rows, indent=1))
    else:
        show(outcome, plain)
    end(outcome, [] if quiet or as_json else paths)


def several(options: dict[str, Any]) -> dict[str, Any]:
    """The options with lists of names taken apart."""
    return options | {name: tuple(re.findall(r"[^\s,]+", options[name] or "")) for name in ("only", "features")}


def pop_files(options: dict[str, Any]) -> dict[str, Any]:
    """The options of ``written``, taken out; that they can be written is seen before anything slow."""
    files = {name: options.pop(name) for name in ("report", "markdown", "csv", "figures", "no_real_pictures")}
    for name in ("report", "markdown", "csv"):
        path = files[name]
        if path is not None and not path.resolve().parent.is_dir():
            raise click.UsageError(f"{path}: there is no folder {path.resolve().parent}")
        if path is not None and path.is_dir():
            raise click.UsageError(f"{path}: is a folder; give the name of a file")
    if files["figures"] is not None:
        from medzoo.report import check_figures

        check_figures()
    return files


def write_files(outcome: Outcome, plain: Sequence[dict[str, Any]], files: dict[str, Any]) -> list[Path]:
    """Write what was asked for, each file whole or not at all; what was written."""
    from medzoo import report

    paths = []
    if files["report"] is not None:
        paths.append(outcome.report(files["report"], real=not files["no_real_pictures"]))
    if files["markdown"] is not None:
        paths.append(report.write(files["markdown"], report.markdown(plain, outcome.failed)))
    if files["csv"] is not None:
        paths.append(report.write(files["csv"], report.csv_text(plain)))
    if files["figures"] is not None:
        paths += report.write_figures(plain, files["figures"])
    return paths


def show(outcome: Outcome, plain: Sequence[dict[str, Any]]) -> None:
    """Verdicts, table, legend; in a pipe the table alone goes to standard output."""
    from medzoo import report

    for name, sentences in outcome.verdicts().items():
        click.echo(f"{name}", err=True)
        for words in sentences:
            click.echo(click.wrap_text(words, 100, "  - ", "    "), err=True)
    click.echo("", err=True)
    click.echo(table(*report.summary_table(plain)))
    for words in [*report.legend(plain), *report.size_notes(plain)]:
        click.echo(words, err=True)


def end(outcome: Outcome, paths: Sequence[Path]) -> None:
    """Where everything is, and what failed."""
    for path in paths:
        click.echo(f"written: {path}", err=True)
    for result in outcome.results:
        for metric, why in result.failed.items():
            click.echo(f"medzoo: {result.contender.id}: {metric} was not measured: {why}", err=True)
    for label, why in outcome.failed.items():
        click.echo(f"medzoo: {label}: not measured: {why}", err=True)
    if outcome.failed:
        sys.exit(2)
