"""``medzoo publish``: a model to the Hugging Face Hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from medzoo.publishing import Prepared, Published

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("model", metavar="ID|PATH")
@click.option("--repo", required=True, metavar="USER/NAME", help="Repository on the Hub; made where there is none.")
@click.option("--dry-run", is_flag=True, help="Write the folder and stop: nothing is sent, no token is needed.")
@click.option("--out", type=PATH, help="Folder to write.  [default: published/NAME]")
@click.option(
    "--results", type=PATH, default=Path("results"), show_default=True, help="Folder of results of `medzoo bench`."
)
@click.option("--allow-memorised", is_flag=True, help="Publish although it repeats training images; the card says so.")
@click.option("--update", is_flag=True, help="Add a commit to a repository that holds files already.")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option(
    "--registry-pr", type=PATH, metavar="DIR", help="Also write the entry into this checkout of the registry."
)
@click.option("--message", help="Message of the commit on the Hub.")
@click.option("--model-id", metavar="NNNNN_NAME", help="Of a run: id of its entry.  [default: made of family and NAME]")
@click.option("--half", is_flag=True, help="Of a run: store the weights as float16.")
@click.option("--data", type=PATH, help="Of a run: folder that holds the datasets.  [default: $MEDZOO_DATA]")
@click.option(
    "--device",
    help="Where the model runs for its golden samples: cpu, cuda, cuda:1.  [default: cuda if there is one, else cpu]",
)
@click.option("--yes", is_flag=True, help="Do not ask before uploading.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON (goes with --yes or --dry-run).")
def publish(model: str, repo: str, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Publish a model on the Hugging Face Hub, so that medzoo.generate("hf://USER/NAME", 4) runs it everywhere.

    PATH is a training run, an entry or a published folder. Of a file of weights, it says what to type first.

    Writes weights, entry, model card, sample grid and golden samples into a folder, shows what would be uploaded, asks,
    and uploads it in one commit. Refused are models without licence, statement of data or a check for copies of
    training images.
    """
    from medzoo import publishing

    yes, registry = options.pop("yes"), options.pop("registry_pr")
    if as_json and not (yes or dry_run):
        raise click.UsageError("--json goes with --yes or --dry-run")

    def confirm(prepared: Prepared) -> bool:
        if not as_json:
            _show(prepared, repo, dry_run)
        if not (dry_run or yes):
            click.confirm("Upload?", abort=True, err=True)
        return True

    done = publishing.publish(
        model,
        repo,
        dry_run=dry_run,
        registry=registry,
        confirm=confirm,
        report=lambda line: click.echo(line, err=True),
        **options,
    )
    _report(done, as_json)


def _show(prepared: Prepared, repo: str, dry_run: bool) -> None:
    staged, memorised = prepared.staged, prepared.memorised
    click.echo(f"{'Would be uploaded' if dry_run else 'To be uploaded'} to {repo}, in one commit:")
    for name, size in staged.sizes().items():
        click.echo(f"  {size:>12,} bytes  {name}")
    more = ", MORE THAN THE LIMIT: the card says so" if memorised.too_many else ""
    click.echo(
        f"near copies of training images: {memorised.share:.2%} of {memorised.samples} samples (limit "
        f"{memorised.allowed:.2%}){more}"
    )
    click.echo(f"Look at them in {staged.folder}, README.md first.")


def _report(done: Published, as_json: bool) -> None:
    staged, file = done.prepared.staged, done.registry_file
    if as_json:
        fields = {
            "repo": done.repo, "commit": done.commit, "model_id": staged.entry.model_id, "folder": str(staged.folder),
            "files": staged.sizes(), "near_copies": done.prepared.memorised.share,
            "registry": str(file) if file else None,
        }  # fmt: skip
        click.echo(json.dumps(fields))
        return
    if done.commit is None:
        click.echo("Nothing was uploaded (dry run).")
        return
    click.echo(f'Published: commit {done.commit}. Everybody can type: medzoo.generate("hf://{done.repo}", 4)')
    if file is not None:
        click.echo(f"{file}: written; commit this one file on a branch, and open a pull request with it")
