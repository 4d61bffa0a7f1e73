"""``medzoo check``: the one validator of entries and models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medzoo.cli.table import table
from medzoo.errors import MedzooError

if TYPE_CHECKING:
    from medzoo.check import Report


@click.command()
@click.argument("models", nargs=-1, metavar="[ENTRY.yaml|ID|hf://ORG/REPO]...")
@click.option("--all", "every", is_flag=True, help="Every model of the registry.")
@click.option("--offline", is_flag=True, help="Never use the network; what was not looked at is said.")
@click.option("--write-goldens", is_flag=True, help="Keep the samples made now as the golden ones, if nothing failed.")
@click.option("--device", help="cpu, cuda, cuda:1.  [default: cuda if there is one, else cpu]")
@click.option("--quiet", is_flag=True, help="Print what failed, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(
    models: tuple[str, ...], every: bool, offline: bool, write_goldens: bool, device: str | None,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Check models as a reviewer would: schema, licences, hashes, loading, output, seeds, golden samples.

    Exit code 0 if nothing failed, 2 if something did. What could not be looked at is "skipped", with the reason, and
    fails nothing.
    """
    from medzoo import catalog
    from medzoo.check import check as look

    if every == bool(models):
        raise click.UsageError("name the models to check, or --all")
    if every:
        models = tuple(str(path) for path, _ in catalog.model_files().values())
    reports: list[Report] = []
    for number, model in enumerate(models, 1):
        place = f"{number}/{len(models)} {Path(model).stem}"

        def tell(name: str, place: str = place) -> None:
            if sys.stderr.isatty() and not (quiet or as_json):
                click.echo(f"\r\033[K{place}: {name}", err=True, nl=False)

        try:
            reports.append(look(model, offline=offline, device=device, tell=tell))
        finally:
            if sys.stderr.isatty() and not (quiet or as_json):
                click.echo("\r\033[K", err=True, nl=False)
        if write_goldens:
            _keep(model, reports[-1])
    _print(reports, quiet, as_json)
    if not all(report.passed for report in reports):
        sys.exit(2)


def _print(reports: list[Report], quiet: bool, as_json: bool) -> None:
    if as_json:
        plain = [
            {
                "model": report.model, "passed": report.passed,
                "checks": [{"name": one.name, "status": one.status, "reason": one.reason} for one in report.findings],
            }
            for report in reports
        ]  # fmt: skip
        click.echo(json.dumps(plain, indent=1))
        return
    shown = [(report, one) for report in reports for one in report.findings if not quiet or one.status == "fail"]
    if sys.stdout.isatty():  # a reason is for reading: never cut
        for report in reports:
            mine = [one for owner, one in shown if owner is report]
            click.echo(f"{report.model}: {_summary(report)}")
            for one in mine:
                click.echo(f"  {one.status:8}{one.name:18}{one.reason}".replace("\n", "\n" + " " * 28))
        return
    rows = [(owner.model, one.name, one.status, one.reason.replace("\n", "; ")) for owner, one in shown]
    if rows:
        click.echo(table(("ID", "CHECK", "STATUS", "REASON"), rows))


def _summary(report: Report) -> str:
    counts = {status: sum(one.status == status for one in report.findings) for status in ("pass", "fail", "skipped")}
    return f"{counts['pass']} passed, {counts['fail']} failed, {counts['skipped']} skipped"


def _keep(model: str, report: Report) -> None:
    from medzoo import zoo
    from medzoo.check import goldens
    from medzoo.files.whole import write_bytes

    others = [one for one in report.findings if one.status == "fail" and one.name != "goldens"]
    if others or report.samples is None or report.made_with is None:
        reason = others[0].name if others else "the model could not be run"
        click.echo(f"medzoo: {report.model}: no golden samples were written ({reason})", err=True)
        return
    registry = zoo.find(model).registry
    if registry is None:
        raise MedzooError(f"{model}: goldens of a Hub repository are written by `medzoo publish`")
    path = goldens.path_in(registry, report.model)
    path.parent.mkdir(exist_ok=True)
    write_bytes(path, goldens.pack(report.samples, report.made_with))
    click.echo(f"written: {path}", err=True)
