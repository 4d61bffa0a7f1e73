"""``medzoo bench``: models and folders of images measured against real images, and the report of it."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medzoo.cli.table import table
from medzoo.files.streams import is_terminal

if TYPE_CHECKING:
    from medzoo.bench import Outcome
    from medzoo.bench.engine import Tell

DATA = "Folder that holds the datasets.  [default: $MEDZOO_DATA]"
LOG_EVERY = 30.0  # seconds
PATH = click.Path(path_type=Path)


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--benchmark", "name", metavar="NAME", help="Of registry/benchmarks, or a YAML file.")
@click.option("--fake", type=PATH, multiple=True, help="Folder or file of images to measure. May be repeated.")
@click.option("--fake-masks", type=PATH, help="Folder of the masks of --fake.")
@click.option("--real", type=PATH, help="Held-out real images: a folder, or a file (FILE.npz:test for a split).")
@click.option("--training", type=PATH, help="With --real: folder of the real images that a model was trained on.")
@click.option("--data", type=PATH, help=DATA)
@click.option("--out", type=PATH, default=Path("results"), show_default=True, help="Folder of the results.")
@click.option(
    "-n", "--number", "n", type=click.IntRange(min=2), help="Images per contender (default: the benchmark's)."
)
@click.option(
    "--size", type=click.IntRange(8, 8192), default=256, show_default=True, help="With --real: pixels a side."
)
@click.option(
    "--window", type=(float, float), metavar="LOW HIGH",
    help="With --real: numbers that become black and white, of images of more than 8 bits.",
)  # fmt: skip
@click.option(
    "--only", metavar="METRIC,...", help="Some of the benchmark's metrics; with --real also of installed packages."
)
@click.option("--features", metavar="NAME,...", help="Other extractors; package.module:name is one of your own.")
@click.option("--condition", help="Of the models: a class, a file or folder of input images.")
@click.option("--device", help="cpu, cuda, cuda:1.  [default: cuda if there is one, else cpu]")
@click.option("--report", type=PATH, help="Write a self-contained HTML page here.")
@click.option("--markdown", type=PATH, help="Write the leaderboard as Markdown here.")
@click.option("--no-real-pictures", is_flag=True, help="Leave pictures of patients out of the page, to publish it.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def bench(models: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Measure MODELs (and folders, --fake) against real images: fidelity, coverage, memorisation, spectrum, masks,
    usefulness, cost, each beside reference points made of real images in the same run.

    What is in --out already is not measured again; Ctrl-C loses at most the metric under way. One that fails does not
    stop the others.
    """
    from medzoo import report, results
    from medzoo.bench import benchmark

    files = {name: options.pop(name) for name in ("report", "markdown")}
    published, quiet = options.pop("no_real_pictures"), options.pop("quiet")
    for path in files.values():
        if path is not None and not path.resolve().parent.is_dir():
            raise click.UsageError(f"{path}: there is no folder {path.resolve().parent}")
    options |= {name: tuple(re.findall(r"[^\s,]+", options[name] or "")) for name in ("only", "features")}
    with _progress(quiet or as_json) as tell:
        outcome = benchmark(models=models, tell=tell, **options)
    plain = [results.as_json(result) for result in outcome.results]
    if files["report"] is not None:
        pictures = report.gather(outcome, real=not published)
        files["report"].write_text(report.html_page(plain, pictures, outcome.failed), encoding="utf-8")
    if files["markdown"] is not None:
        files["markdown"].write_text(report.markdown(plain, outcome.failed), encoding="utf-8")
    click.echo(json.dumps(plain, indent=1) if as_json else table(*report.summary_table(plain)))
    _end(outcome, files, quiet or as_json)


def _end(outcome: Outcome, files: dict[str, Path | None], quiet: bool) -> None:
    """Where everything is, and what failed."""
    for path in files.values():
        if path is not None and not quiet:
            click.echo(f"written: {path}", err=True)
    for result in outcome.results:
        for metric, why in result.failed.items():
            click.echo(f"medzoo: {result.contender.id}: {metric} was not measured: {why}", err=True)
    for label, why in outcome.failed.items():
        click.echo(f"medzoo: {label}: not measured: {why}", err=True)
    if outcome.failed:
        sys.exit(2)


@contextmanager
def _progress(quiet: bool) -> Iterator[Tell]:
    """One line that changes on a terminal; in a log file, a line when something else begins, and every half minute."""
    if quiet:
        yield lambda contender, what, done, total: None
        return
    if not is_terminal(sys.stderr):
        said: tuple[str, str, float] = ("", "", 0.0)

        def log(contender: str, what: str, done: int, total: int) -> None:
            nonlocal said
            now = time.monotonic()
            if said[:2] != (contender, what) or now - said[2] > LOG_EVERY:
                said = (contender, what, now)
                click.echo(f"{contender}: {what}" + (f" {done}/{total}" if done else ""), err=True)

        yield log
        return
    from tqdm import tqdm

    with tqdm(bar_format="{desc} {n_fmt}/{total_fmt} [{elapsed}]", dynamic_ncols=True, leave=False) as bar:

        def show(contender: str, what: str, done: int, total: int) -> None:
            bar.set_description_str(f"{contender}: {what}", refresh=False)
            bar.total, bar.n = total or 1, done
            bar.refresh()

        yield show
