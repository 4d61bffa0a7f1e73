"""``medzoo list | search | info | rank``: what is in the registry."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medzoo.catalog import RawEntry, lookup
from medzoo.cli.table import table
from medzoo.files.streams import is_terminal
from medzoo.results import ranking

if TYPE_CHECKING:
    from medzoo.entry import Entry
    from medzoo.results import Result

RESULTS = "Folder of your own results, in addition to the included ones.  [default: results]"
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("list")
@click.option("--modality", metavar="WORDS", help="mammography, endoscopy, x-ray, MRI, ...")
@click.option("--organ", metavar="WORDS", help="breast, colon, lung, brain, ...")
@click.option("--family", metavar="NAME", help="fastgan, dcgan, cyclegan, ...")
@click.option("--condition", type=click.Choice(lookup.CONDITIONS), help="What the model takes beside noise.")
@click.option(
    "--masks/--no-masks", default=None, help="Only models that also generate masks, or only those that do not."
)
@click.option("--size", metavar="SIZE", help="256, '>=256', '<512' (every side), or 224x192 (height x width).")
@click.option("--license", metavar="WORDS", help="Licence of the weights: mit, bsd, gpl, ..., or none.")
@click.option("--offline", is_flag=True, help="Only models whose weights are on this machine.")
@json_option
def list_(as_json: bool, **filters: Any) -> None:
    """List the models that match all filters, one per line."""
    raw_entries = lookup.read()
    found = lookup.select(raw_entries, **filters)
    if not found and raw_entries:
        click.echo(f"medzoo: no model fits{_choices(raw_entries, filters)}", err=True)
    _show(found, as_json)


@click.command()
@click.argument("words", nargs=-1, required=True)
@json_option
def search(words: tuple[str, ...], as_json: bool) -> None:
    """Find the models in which all WORDS or their usual synonyms occur (mammo, CXR, endo, MR), best first."""
    text = " ".join(words)
    found = lookup.find(lookup.read(), text)
    if not found:
        click.echo(f"medzoo: no model has all of '{text}'; try fewer words, or medzoo list", err=True)
    _show(found, as_json)


@click.command()
@click.argument("model_id", metavar="ID|PATH")
@click.option("--family", help="Of a file of weights: the family to look for in it.  [default: all are tried]")
@json_option
def info(model_id: str, family: str | None, as_json: bool) -> None:
    """Show all that is known about one model.

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
    located = replace(located, entry=located.named)
    click.echo(_json(_stated(located.entry)) if as_json else page(located))


@click.command()
@click.option(
    "--by", "--metric", "metric", metavar="METRIC", required=True, help="FID, FID_RADIMAGENET, SEG_IOU, kid, ..."
)
@click.option(
    "--benchmark", metavar="NAME", help="Order the scores that `medzoo bench` measured, with their reference points."
)
@click.option("--features", metavar="NAME", help="One of the benchmark's extractors, if it has several.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), help=RESULTS)
@json_option
def rank(metric: str, benchmark: str | None, features: str | None, results: Path, as_json: bool) -> None:
    """Order models by a score, best first, and say which scores others reported and which were verified here.

    Scores of different protocols cannot be compared: read the protocol beside each, or use those of one --benchmark.
    """
    if benchmark is None:
        result = ranking.rank(lookup.read(), metric)
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
    elif raw_entries:
        click.echo(table(["ID", "SIZE", "MASKS", "CONDITION", "LICENCE", "TITLE"], [_row(raw) for raw in raw_entries]))
        if is_terminal(sys.stdout):
            click.echo(f"{len(raw_entries)} models; for more about one: medzoo info ID", err=True)


def _row(raw: RawEntry) -> list[str]:
    fields = raw.fields
    output, condition = fields["output"], fields["condition"]
    return [
        raw.path.stem,
        "x".join(str(side) for side in output["size"] or ["varies"]),
        str(output["masks"] or "-"),
        condition["kind"] if condition else "-",
        fields["license"]["weights"] or "not stated",
        fields["title"],
    ]


def _choices(raw_entries: Sequence[RawEntry], filters: dict[str, Any]) -> str:
    """For the first filter that matches nothing by itself: the values that do."""
    stated: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
        "modality": lambda fields: fields["modality"],
        "organ": lambda fields: fields["organ"],
        "family": lambda fields: fields["family"],
        "license": lambda fields: fields["license"]["weights"],
    }
    for name, get in stated.items():
        if filters[name] is not None and not lookup.select(raw_entries, **{name: filters[name]}):
            there = sorted({get(raw.fields) or "none" for raw in raw_entries}, key=str.casefold)
            return f": --{name} '{filters[name]}'; there are: {', '.join(there)}"
    return " whose weights are on this machine; download some with medzoo cache warm ID" if filters["offline"] else ""


def _stated(entry: Entry) -> dict[str, Any]:
    return {**entry.model_dump(mode="json"), "revision": entry.revision}


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)
