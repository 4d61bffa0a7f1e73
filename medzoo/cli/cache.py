"""``medzoo cache list|verify|clear|warm``: the converted weights on this disk."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from medzoo.text import one_line, printable


@click.group()
def cache() -> None:
    """Manage the downloaded and converted weights."""


@cache.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of a table.")
def list_(as_json: bool) -> None:
    """List the weights in the cache: id, size, source, date."""
    from medzoo.files import cache as cachedir

    items = cachedir.stored()
    for record in cachedir.damaged():
        click.echo(
            f"medzoo: {printable(str(record))}: the record is not what was written; its weights are fetched again when "
            "they are needed",
            err=True,
        )
    if as_json:
        click.echo(json.dumps([asdict(item) | {"path": str(item.path)} for item in items], indent=1))
        return
    width = max((len(item.model_id) for item in items), default=0)
    for item in items:
        click.echo(f"{item.model_id:{width}}  {_size(item.size):>9}  {item.date[:10]}  {one_line(item.source)}")
    for path in cachedir.unfinished():
        try:
            size = _size(path.stat().st_size)
        except OSError:  # finished or cleared meanwhile
            continue
        click.echo(
            f"{one_line(path.parent.name):{width}}  {size:>9}  unfinished download, continued by the next attempt"
        )
    click.echo(f"{len(items)} models, {_size(sum(item.size for item in items))} in {cachedir.root()}", err=True)


@cache.command(short_help="Hash everything in the cache again, to notice damage.")
@click.pass_context
def verify(context: click.Context) -> None:
    """Hash everything in the cache again; exit code 2 if something changed."""
    from medzoo.files import cache as cachedir

    problems = cachedir.problems()
    for model_id, path, problem in problems:
        line = f"{path}: {problem}. Type `medzoo cache clear {model_id}`, then download it again."
        click.echo(printable(line), err=True)
    if problems:
        context.exit(2)
    click.echo(f"{len(cachedir.stored())} models verified, all unchanged.")


@cache.command(short_help="Delete the cached weights of one model, or of all.")
@click.argument("model_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Clear every model.")
@click.option("--yes", is_flag=True, help="With --all: do not ask.")
def clear(model_id: str | None, everything: bool, yes: bool) -> None:
    """Delete the cached weights of MODEL_ID, or of all models, and forget the hashes of first downloads."""
    from medzoo.files import cache as cachedir
    from medzoo.weights import lockfile

    if (model_id is None) != everything:
        raise click.UsageError("Give one MODEL_ID, or --all.")
    if model_id is not None:
        model_id = _known(model_id)
    what = f"the cached weights of {model_id}" if model_id else f"everything in {cachedir.root()}"
    if everything and not yes:
        click.confirm(f"Delete {what}?", abort=True)
    freed = cachedir.clear(model_id)
    lockfile.forget(model_id)
    click.echo(f"Deleted {what}: {_size(freed)} freed.")


@cache.command(short_help="Download and convert weights now, to run offline later.")
@click.argument("model_ids", nargs=-1, metavar="[MODEL_ID]...")
@click.option(
    "--features", multiple=True, metavar="NAME",
    help="Extractor of features: inception_fid, dinov2, ..., or of its networks another than medzoo bench takes: "
    "dinov2:small. May be repeated.",
)  # fmt: skip
def warm(model_ids: tuple[str, ...], features: tuple[str, ...]) -> None:
    """Download and convert the weights of each MODEL_ID, and of extractors of features, so that they run offline."""
    from medzoo.zoo import fetch_weights

    if not model_ids and not features:
        raise click.UsageError("Give a MODEL_ID, or --features NAME.")
    for name in features:
        _warm_features(name)
    for model_id in model_ids:
        for weights in fetch_weights(model_id):
            click.echo(f"{model_id}: {weights.path} (from {weights.source})")


def _warm_features(stated: str) -> None:
    """Load an extractor once, which fetches and converts its weights; NAME:VARIANT is one of several networks."""
    from medzoo import features

    name, _, variant = stated.partition(":")
    if not features.is_builtin(name):
        raise click.UsageError(f"No features are named '{name}'; there are {', '.join(features.names())}.")
    extractor = features.load(name, **({"variant": variant} if variant else {}))
    digest = extractor.weights_sha256
    click.echo(f"{stated}: " + ("needs no weights" if digest is None else f"ready (sha256 {digest[:12]}…)"))


def _known(stated: str) -> str:
    """The full id of a cached model, from its id or its number.

    The registry is not asked: a cached model may no longer be in it.
    """
    from medzoo.errors import UnknownModelError
    from medzoo.files import cache as cachedir
    from medzoo.weights import lockfile

    known = sorted(set(cachedir.models()) | set(lockfile.models()))
    matches = [model_id for model_id in known if stated in (model_id, model_id.split("_")[0])]
    if len(matches) == 1:
        return matches[0]
    problem = f"'{stated}' means several models" if matches else f"nothing is cached for '{stated}'"
    raise UnknownModelError(f"{problem}; cached: {', '.join(matches or known) or 'nothing'}", tuple(matches))


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
