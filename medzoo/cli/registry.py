"""``medzoo list | search | info | rank``: what is in the registry."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medzoo.catalog import RawEntry, absent, lookup
from medzoo.catalog.downloads import in_words
from medzoo.cli.table import table, width
from medzoo.results import ranking

if TYPE_CHECKING:
    from medzoo.entry import Entry
    from medzoo.results import Result

RESULTS = "Folder of your own results, in addition to the included ones.  [default: results]"
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


_FILTERS = (
    click.option("--modality", metavar="WORDS", help="How images are taken: mammography, endoscopy, x-ray, MRI, ..."),
    click.option("--organ", metavar="WORDS", help="What they show: breast, colon, lung, brain, ..."),
    click.option("--family", metavar="NAME", help="Architecture: fastgan, dcgan, cyclegan, diffusion, ..."),
    click.option("--condition", type=click.Choice(lookup.CONDITIONS), help="What the model takes beside noise."),
    click.option(
        "--masks/--no-masks", default=None, help="Only models that also generate masks, or only those that do not."
    ),
    click.option(
        "--size",
        metavar="SIZE",
        help="Pixels of its images: 256, '>=256', '<512' (every side), or 224x192 (height x width).",
    ),
    click.option("--license", metavar="WORDS", help="Licence of the weights: mit, bsd, gpl, ..., or none."),
    click.option("--offline", is_flag=True, help="Only models whose weights are on this machine."),
)


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which models are meant."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@click.command("list")
@filtered
@json_option
@click.argument("words", nargs=-1, metavar="")
def list_(words: tuple[str, ...], as_json: bool, **filters: Any) -> None:
    """List the models that match all filters.

    WEIGHTS says which run at once ("here"), and how much is downloaded before another does, where that is known.
    A terminal shows what fits its width; a pipe gets every column, separated by tabs.
    """
    if words:
        raise click.UsageError(f"list takes filters, not words; type: medzoo search {shlex.join(words)}")
    raw_entries = lookup.read()
    found = lookup.select(raw_entries, **filters)
    if not found and raw_entries:
        click.echo(f"medzoo: {absent.of_filters(raw_entries, filters)}", err=True)
    _show(found, as_json)


@click.command()
@click.argument("words", nargs=-1, required=True)
@json_option
def search(words: tuple[str, ...], as_json: bool) -> None:
    """Find the models in which all WORDS or their usual synonyms occur (mammo, CXR, endo, MR), best first."""
    text = " ".join(words)
    raw_entries = lookup.read()
    found = lookup.find(raw_entries, text)
    if not found:
        click.echo(f"medzoo: {absent.of_words(raw_entries, text)}", err=True)
    _show(found, as_json)


@click.command()
@click.argument("model_id", metavar="ID|PATH")
@click.option("--full", is_flag=True, help="Also every score and check in its own words, hashes, all sources.")
@click.option("--family", help="Of a file of weights: the family to look for in it.  [default: all are tried]")
@json_option
def info(model_id: str, full: bool, family: str | None, as_json: bool) -> None:
    """Show what is known about one model: what it makes, licences, data, scores beside those of real images.

    ID may be its number, a unique part of its id, or hf://organisation/repository. PATH may be an entry, a published
    folder, a training run (its steps, losses and scores), a file of weights or a folder of diffusers (what is in it,
    without running any of it, and which family fits).
    """
    from medzoo.catalog import paths

    at = paths.what_is(model_id)
    if at is not None and at.kind in ("run", "weights", "pipeline"):
        from medzoo.cli import filepage, runpage

        if at.kind == "run":
            click.echo(_json(runpage.facts(at.path)) if as_json else runpage.page(at.path))
        else:
            click.echo(_json(filepage.facts(at.path, family)) if as_json else filepage.page(at.path, family))
        return
    from medzoo.cli.page import page
    from medzoo.zoo import find

    located = find(model_id, family)
    typed = model_id if at is not None else located.address
    click.echo(_json(_stated(located.named)) if as_json else page(located, full=full, typed=typed))


@click.command()
@click.option(
    "--by",
    "--metric",
    "metric",
    metavar="METRIC",
    required=True,
    help="The score: FID, FID_RADIMAGENET, SEG_IOU, ...; with --benchmark kid, seg_dice, ...",
)
@click.option(
    "--benchmark", metavar="NAME", help="Order the scores that `medzoo bench` measured, with their reference points."
)
@click.option("--features", metavar="NAME", help="One of the benchmark's extractors, if it has several.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), help=RESULTS)
@filtered
@json_option
def rank(
    metric: str, benchmark: str | None, features: str | None, results: Path, as_json: bool, **filters: Any
) -> None:
    """Order models by a score, best first, and say which scores others reported and which were verified here.

    Scores of different protocols cannot be compared: read the protocol beside each, or use those of one --benchmark.
    """
    if benchmark is None:
        result = ranking.rank(_chosen(filters), metric)
        header = ["ID", "ORIGIN", "PROTOCOL"]
        rows = [
            [f"{row.value:g}", row.model_id, row.origin, row.protocol or "no protocol stated"] for row in result.rows
        ]
    else:
        result = ranking.rank_results(_results(benchmark, results), metric, features)
        header = ["95 % INTERVAL", "ID", "KIND", "NOTE"]
        rows = [
            [f"{row.value:.4g}", _interval(row.low, row.high), row.model_id, row.origin, row.protocol or ""]
            for row in result.rows
        ]
    if as_json:
        click.echo(_json(asdict(result)))
        return
    click.echo(table([result.metric, *header], rows))
    note = f"{result.metric}: {result.better} is better; {len(result.without)} models without it are not listed"
    click.echo(note, err=True)
    if benchmark is None and len({row.model_id for row in result.rows}) > 1:
        click.echo("Measured on different data by different protocols: the order compares no models", err=True)


def _chosen(filters: dict[str, Any]) -> list[RawEntry]:
    """The entries that match the filters of ``list``."""
    raw_entries = lookup.read()
    found = lookup.select(raw_entries, **filters)
    if not found:
        raise click.UsageError(absent.of_filters(raw_entries, filters))
    return found


def _results(benchmark: str, own: Path) -> list[Result]:
    from medzoo import catalog, results

    folders = results.folders(own, catalog.folders())
    found = results.read_all(folders, benchmark)
    if not found:
        there = ", ".join(results.benchmarks(folders)) or "none"
        raise click.UsageError(f"no results of '{benchmark}' in {own} or the registry; there are of: {there}")
    return found


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.4g} to {high:.4g}"


def _show(raw_entries: Sequence[RawEntry], as_json: bool) -> None:
    if as_json:
        click.echo(_json([_stated(entry) for entry in lookup.entries(raw_entries)]))
        return
    if not raw_entries:
        return
    to_load = [in_words(raw) for raw in raw_entries]
    columns = _columns(raw_entries, to_load)
    room = width()
    chosen = list(columns)
    if room is not None:
        columns["NO."] = _numbers(columns["ID"])
        chosen = ["NO.", "TITLE", *(name for least, name in _SHOWN if room >= least)]
    click.echo(table(chosen, list(zip(*(columns[name] for name in chosen), strict=True))))
    if room is not None:
        here = to_load.count("here")
        example = next(
            (raw.path.stem[:5] for raw, size in zip(raw_entries, to_load, strict=True) if size == "here"), "ID"
        )
        click.echo(
            f"{len(raw_entries)} models; {here} run here at once, the others are downloaded when they are first used\n"
            f"more about one: medzoo info {example}",
            err=True,
        )


# A terminal shows number and title, and from these widths on the columns that then fit.
_SHOWN = (
    (120, "MODALITY"), (160, "FAMILY"), (100, "SIZE"), (120, "CONDITION"), (180, "LICENCE"), (0, "WEIGHTS")
)  # fmt: skip


def _columns(raw_entries: Sequence[RawEntry], to_load: Sequence[str]) -> dict[str, list[str]]:
    """Every column by its name, in the order in which a pipe gets them."""
    rows = [raw.fields for raw in raw_entries]
    ids = [raw.path.stem for raw in raw_entries]
    return {
        "ID": ids,
        "SIZE": ["x".join(map(str, row["output"]["size"] or ["varies"])) for row in rows],
        "MASKS": [str(row["output"]["masks"] or "-") for row in rows],
        "CONDITION": [row["condition"]["kind"] if row["condition"] else "-" for row in rows],
        "MODALITY": [row["modality"] for row in rows],
        "ORGAN": [row["organ"] or "-" for row in rows],
        "FAMILY": [row["family"] for row in rows],
        "LICENCE": [row["license"]["weights"] or "not stated" for row in rows],
        "WEIGHTS": list(to_load),
        "TITLE": [row["title"] for row in rows],
    }


def _numbers(ids: Sequence[str]) -> list[str]:
    """The number of each id, which is enough to type; the whole id where two share a number."""
    count = Counter(one[:5] for one in ids)
    return [one[:5] if count[one[:5]] == 1 else one for one in ids]


def _stated(entry: Entry) -> dict[str, Any]:
    return {**entry.model_dump(mode="json"), "revision": entry.revision}


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)
