"""``medzoo compare``: the difference of two models, folders or stored results, score by score."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medzoo.cli.bench import end, measuring, several
from medzoo.cli.table import table

if TYPE_CHECKING:
    from medzoo.results.differences import Difference

_Plain = dict[str, Any]
_COLUMNS = (
    "score", "features", "title", "group", "better", "a", "b", "difference", "low", "high", "p_holm", "paired",
    "winner",
)  # fmt: skip


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@measuring
@click.option("--csv", type=click.Path(path_type=Path), help="Write the differences as CSV here.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def compare(a: str, b: str, csv: Path | None, quiet: bool, as_json: bool, **options: Any) -> None:
    """Compare A with B: models (ids), folders of images, or stored results (a .json of medzoo bench).

    For each score: both values, A - B with its 95 % interval, and p, corrected for the number of scores (Holm). Two
    that are measured here are compared in pairs: the same real images, the same random halves of both sets.

    \b
    medzoo compare 10001 10002 --benchmark polyp_128 --data DATA
    medzoo compare made_a/ made_b/ --real held_out/ --training trained_on/ --quick
    medzoo compare results/A/1234/folders-x.json results/B/5678/folders-x.json
    """
    from medzoo.report import as_csv, write
    from medzoo.results import differences

    if _is_result(a) or _is_result(b):
        one, other = _read(a), _read(b)
    else:
        one, other = _measured(a, b, quiet or as_json, options)
    found = differences.differences(one, other)
    if not found:
        raise click.UsageError(f"{_name(one)} and {_name(other)} have no score in common; measure both again")
    if csv is not None:
        write(csv, as_csv(_COLUMNS, _lines(found)))
    names = [_name(one), _name(other)]
    if names[0] == names[1]:
        names = [
            f"{name} ({result['contender']['revision'][:6]})" for name, result in zip(names, (one, other), strict=True)
        ]
    said = differences.in_words(found, *names)
    if as_json:
        rows = [asdict(d) | {"difference": d.value, "winner": d.winner} for d in found]
        click.echo(json.dumps({"a": names[0], "b": names[1], "verdict": said, "scores": rows}, indent=1))
        return
    for words in said:
        click.echo(click.wrap_text(words, 100), err=True)
    click.echo(f"\nA = {names[0]}, B = {names[1]}", err=True)
    lines = [_row(name, d) for name, d in zip(differences.titles(found), found, strict=True)]
    click.echo(table(["SCORE", "A", "B", "A - B", "95 % INTERVAL", "P (HOLM)", "VERDICT"], lines))


def _is_result(stated: str) -> bool:
    path = Path(stated)
    return path.suffix == ".json" and path.is_file()


def _read(stated: str) -> _Plain:
    from medzoo import results

    if not _is_result(stated):
        raise click.UsageError(f"'{stated}' is no stored result; give two of them, or none")
    result = results.read(Path(stated))
    assert result is not None
    return results.as_json(result)


def _measured(a: str, b: str, quiet: bool, options: dict[str, Any]) -> tuple[_Plain, _Plain]:
    """Both in one benchmark: a path is a folder or file of images, all else the id of a model."""
    from medzoo.bench import benchmark

    paths = [one for one in (a, b) if Path(one).exists()]
    models = [one for one in (a, b) if not Path(one).exists()]
    outcome = benchmark(models=models, fake=paths, paired=True, progress=not quiet, **several(options))
    end(outcome, [])
    made = dict(zip([*models, *paths], outcome.plain()[-2:], strict=True))  # reference points come first
    return made[a], made[b]


def _name(result: _Plain) -> str:
    return str(result["contender"]["id"])


def _row(name: str, d: Difference) -> list[str]:
    from medzoo.report.numbers import decimals, p_value, shown, signed, span

    places = decimals([d.a, d.b], d.percent)
    difference = signed(d.value, places, d.percent)
    p = "-" if d.p is None else p_value(d.p)
    if d.p is None:
        verdict = "not known how well"
    elif not d.certain:
        verdict = "no difference beyond chance"
    else:
        verdict = f"{d.winner} is better" if d.winner else "they differ"
    unpaired = "" if d.paired or d.p is None else " (unpaired)"
    values = [shown(value, places, d.percent) for value in (d.a, d.b)]
    return [name, *values, difference, span(d.low, d.high, places, d.percent) or "-", p, verdict + unpaired]


def _lines(found: Sequence[Difference]) -> Iterator[dict[str, Any]]:
    for d in found:
        yield {
            "score": d.name, "features": d.features, "title": d.title, "group": d.group, "better": d.better,
            "a": d.a, "b": d.b, "difference": d.value, "low": d.low, "high": d.high, "p_holm": d.p,
            "paired": d.paired, "winner": d.winner,
        }  # fmt: skip
