"""``medzoo new``: drafts of an entry or of a family."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from medzoo.publishing.drafts import Drafted

PATH = click.Path(path_type=Path)


@click.group()
def new() -> None:
    """Draft the files of a new model or family. Nothing is ever written over.

    What only you can know is marked TODO, and `medzoo check` fails while it is there.
    """


@new.command()
@click.option("--from", "nearest", metavar="ID", help="The nearest relative, whose way to run is taken.")
@click.option("--weights", metavar="PATH", help="A file of weights, or a folder that diffusers saved: what fits it.")
@click.option("--family", help="Of --weights: the family to look for in it.  [default: all are tried]")
@click.option("--key", help="Of --weights, where it holds several networks: the one under this key.")
@click.option("--strip-prefix", help="Of --weights: the one whose names begin with this.")
@click.option("--ema", metavar="KEY", help="Of --weights: averaged weights to take.  [default: those in the file]")
@click.option(
    "--config",
    metavar="JSON",
    help="""Of --weights: numbers of the network that the file does not tell,
such as '{"strides": [2, 2, 1]}'.""",
)
@click.option("--id", "model_id", metavar="[NNNNN_]NAME", help="Id; the next free number if it states none.")
@click.option("--own", is_flag=True, help="A number of this project's own models, from 10001.")
@click.option("--registry", type=PATH, help="Registry folder.  [default: registry; with --weights else this folder]")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def model(
    nearest: str | None, weights: str | None, registry: Path | None, as_json: bool, model_id: str | None, own: bool,
    **of_weights: str | None,
) -> None:  # fmt: skip
    """Draft the entry of a model of a family that exists: one YAML file, from a relative or from its weights."""
    from medzoo.publishing.drafts import model_of_weights, new_model

    stated = {name: value for name, value in of_weights.items() if value is not None}
    if (nearest is None) == (weights is None):
        raise click.UsageError("give --weights PATH (a file of yours), or --from ID (a relative in the registry)")
    if weights is None:
        if stated:
            raise click.UsageError(f"--{next(iter(stated)).replace('_', '-')} goes with --weights")
        assert nearest is not None
        _report(new_model(nearest, registry or Path("registry"), model_id=model_id, own=own), as_json)
        return
    family, config = stated.pop("family", None), _json_object(stated.pop("config", "{}"))
    drafted = model_of_weights(
        weights, registry, family=family, checkpoint=stated, config=config, model_id=model_id, own=own
    )
    _report(drafted, as_json)


def _json_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise click.BadParameter(
            f"expected JSON such as '{{\"strides\": [2, 2, 1]}}', found '{text}'", param_hint="--config"
        )
    return found


@new.command()
@click.argument("name")
@click.option(
    "--plugin", type=PATH, metavar="DIR", help="A package of your own in DIR, instead of files of a checkout."
)
@click.option("--own", is_flag=True, help="A number of this project's own models, from 10001.")
@click.option(
    "--families",
    type=PATH,
    default=Path("medzoo/families"),
    show_default=True,
    help="Folder that the family is written into.",
)
@click.option(
    "--registry",
    type=PATH,
    default=Path("registry"),
    show_default=True,
    help="Registry folder that the entry is written into.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def family(name: str, plugin: Path | None, own: bool, families: Path, registry: Path, as_json: bool) -> None:
    """Draft a family NAME: one Python file that runs, and an entry of it.

    With --plugin DIR: a package that medzoo finds once it is installed, with the contract tests.
    """
    from medzoo.publishing.drafts import new_family, new_plugin

    if plugin is not None:
        _report(new_plugin(name, plugin), as_json)
    else:
        _report(new_family(name, families, registry, own=own), as_json)


def _report(drafted: Drafted, as_json: bool) -> None:
    if as_json:
        fields = {"model_id": drafted.model_id, "files": list(map(str, drafted.files)), "case": drafted.case}
        click.echo(json.dumps(fields))
        return
    for path in drafted.files:
        click.echo(f"written: {path}")
    click.echo("Replace every TODO in " + ("it." if len(drafted.files) == 1 else "them."))
    if drafted.case is not None:
        click.echo(f"Add to CASES in tests/families/test_contract.py:\n    {drafted.case}")
    if drafted.package is not None:
        click.echo(f"Then: pip install -e {drafted.package}; python -m pytest {drafted.package}")
        click.echo(f"and: medzoo check {drafted.model_id}")
    else:
        click.echo(f"Then: medzoo check {shlex.quote(str(drafted.files[-1]))}")
