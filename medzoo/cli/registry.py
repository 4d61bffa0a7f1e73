"""``medzoo list | search | info | rank``: what there is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medzoo import lookup, ranking
from medzoo.catalog import Sheet
from medzoo.cli.table import table

if TYPE_CHECKING:
    from medzoo.entry import Entry
    from medzoo.inspection import Contents

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("list")
@click.option("--modality", metavar="WORDS", help="mammography, endoscopy, x-ray, MRI, ...")
@click.option("--organ", metavar="WORDS", help="breast, colon, lung, brain, ...")
@click.option("--family", metavar="NAME", help="fastgan, dcgan, cyclegan, ...")
@click.option("--condition", type=click.Choice(lookup.CONDITIONS), help="What the model needs beside noise.")
@click.option("--masks/--no-masks", default=None, help="Only models that make masks too, or only those that do not.")
@click.option("--size", metavar="SIZE", help="256, '>=256', '<512' (every side), or 224x192 (height x width).")
@click.option("--license", metavar="WORDS", help="Licence of the weights: mit, bsd, gpl, ..., or none.")
@click.option("--offline", is_flag=True, help="Only models whose weights are on this machine.")
@json_option
def list_(as_json: bool, **filters: Any) -> None:
    """List models, one a line; all filters given must fit."""
    sheets = lookup.read()
    found = lookup.select(sheets, **filters)
    if not found and sheets:
        click.echo(f"medzoo: no model fits{_choices(sheets, filters)}", err=True)
    _show(found, as_json)


@click.command()
@click.argument("words", nargs=-1, required=True)
@json_option
def search(words: tuple[str, ...], as_json: bool) -> None:
    """Find the models in which all WORDS occur, best first; usual synonyms count (mammo, CXR, endo, MR)."""
    text = " ".join(words)
    found = lookup.find(lookup.read(), text)
    if not found:
        click.echo(f"medzoo: no model has all of '{text}'; try fewer words, or medzoo list", err=True)
    _show(found, as_json)


@click.command()
@click.argument("model_id", metavar="ID|FILE")
@json_option
def info(model_id: str, as_json: bool) -> None:
    """All that is known of one model; ID may be its number, a unique part of it, or hf://organisation/repository.

    Of a FILE of weights (.pkl, .pth, .pt, .safetensors, ...): what is in it, without running any of it.
    """
    from medzoo import inspection

    if inspection.is_file(model_id):
        _show_file(inspection.look(Path(model_id).expanduser()), as_json)
        return
    from medzoo.cli.page import page
    from medzoo.zoo import find

    located = find(model_id)
    click.echo(_json(_stated(located.entry)) if as_json else page(located))


@click.command()
@click.option("--by", "metric", metavar="METRIC", required=True, help="FID, FID_RADIMAGENET, SEG_IOU, CLF_F1, ...")
@json_option
def rank(metric: str, as_json: bool) -> None:
    """Order models by a score, best first; what others reported and what was verified here are told apart.

    Scores of different protocols cannot be compared: read the protocol beside each.
    """
    result = ranking.rank(lookup.read(), metric)
    if as_json:
        click.echo(_json(asdict(result)))
        return
    rows = [[f"{row.value:g}", row.model_id, row.origin, row.protocol or "no protocol stated"] for row in result.rows]
    click.echo(table([result.metric, "ID", "ORIGIN", "PROTOCOL"], rows))
    note = f"{result.metric}: {result.better} is better; {len(result.without)} models without it are not listed"
    click.echo(note, err=True)


def _show_file(contents: Contents, as_json: bool) -> None:
    from medzoo.cli import filepage

    click.echo(_json(asdict(contents)) if as_json else filepage.page(contents))


def _show(sheets: Sequence[Sheet], as_json: bool) -> None:
    if as_json:
        click.echo(_json([_stated(entry) for entry in lookup.entries(sheets)]))
    elif sheets:
        click.echo(table(["ID", "SIZE", "MASKS", "CONDITION", "LICENCE", "TITLE"], [_row(sheet) for sheet in sheets]))
        if sys.stdout.isatty():
            click.echo(f"{len(sheets)} models; more of one: medzoo info ID", err=True)


def _row(sheet: Sheet) -> list[str]:
    fields = sheet.fields
    output, condition = fields["output"], fields["condition"]
    return [
        sheet.path.stem,
        "x".join(str(side) for side in output["size"] or ["varies"]),
        str(output["masks"] or "-"),
        condition["kind"] if condition else "-",
        fields["license"]["weights"] or "not stated",
        fields["title"],
    ]


def _choices(sheets: Sequence[Sheet], filters: dict[str, Any]) -> str:
    """For the first filter that nothing fits by itself: what there is instead."""
    stated: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
        "modality": lambda fields: fields["modality"],
        "organ": lambda fields: fields["organ"],
        "family": lambda fields: fields["family"],
        "license": lambda fields: fields["license"]["weights"],
    }
    for name, get in stated.items():
        if filters[name] is not None and not lookup.select(sheets, **{name: filters[name]}):
            there = sorted({get(sheet.fields) or "none" for sheet in sheets}, key=str.casefold)
            return f": --{name} '{filters[name]}'; there are: {', '.join(there)}"
    return " whose weights are on this machine; fetch some with medzoo cache warm ID" if filters["offline"] else ""


def _stated(entry: Entry) -> dict[str, Any]:
    return {**entry.model_dump(mode="json"), "revision": entry.revision}


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)
