"""``medzoo check``: the one validator of entries and models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medzoo.cli.table import table
from medzoo.files.streams import is_terminal
from medzoo.text import one_line, printable

if TYPE_CHECKING:
    from medzoo.checking import Report, Status

_WORDS: dict[Status, str] = {"pass": "passed", "fail": "failed", "skipped": "skipped"}


@click.command()
@click.argument("models", nargs=-1, metavar="[ID|PATH|hf://ORG/REPO]...")
@click.option("--all", "every", is_flag=True, help="Every model of the registry.")
@click.option("--offline", is_flag=True, help="Never use the network; what was not looked at is said.")
@click.option("--write-goldens", is_flag=True, help="Keep the samples made now as the golden ones, if nothing failed.")
@click.option("--device", help="Where models run: cpu, cuda, cuda:1.  [default: cuda if there is one, else cpu]")
@click.option("--quiet", is_flag=True, help="Print what failed, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(
    models: tuple[str, ...], every: bool, offline: bool, write_goldens: bool, device: str | None,
    quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Check models as a reviewer would: schema, licences, hashes, loading, output, seeds, golden samples.

    PATH is an entry, a training run, a published folder, a folder of diffusers or a file of weights.

    Exit code 0 if nothing failed, 2 if something did. What could not be looked at is "skipped", with the reason, and
    does not count as a failure.
    """
    from medzoo import checking

    if every == bool(models):
        raise click.UsageError("name the models to check, or --all")
    chosen = checking.every_model() if every else list(models)
    shows_progress = is_terminal(sys.stderr) and not (quiet or as_json)
    reports: list[Report] = []
    for number, model in enumerate(chosen, 1):
        place = f"{number}/{len(chosen)} {Path(model).stem}"

        def tell(name: str, place: str = place) -> None:
            if shows_progress:
                click.echo(f"\r\033[K{place}: {name}", err=True, nl=False)

        try:
            report = checking.check(model, offline=offline, device=device, write_goldens=write_goldens, tell=tell)
        finally:
            if shows_progress:
                click.echo("\r\033[K", err=True, nl=False)
        reports.append(report)
        if report.written is not None:
            click.echo(f"written: {report.written}", err=True)
        elif write_goldens:
            click.echo(f"medzoo: {report.model}: no golden samples were written ({report.unfit})", err=True)
    _print(reports, quiet, as_json)
    if not all(report.passed for report in reports):
        sys.exit(2)


def _print(reports: list[Report], quiet: bool, as_json: bool) -> None:
    if as_json:
        plain = [
            {
                "model": report.model, "passed": report.passed,
                "checks": [{"name": it.name, "status": it.status, "reason": it.reason} for it in report.findings],
            }
            for report in reports
        ]  # fmt: skip
        click.echo(json.dumps(plain, indent=1))
        return
    shown = [(report, it) for report in reports for it in report.findings if not quiet or it.status == "fail"]
    if is_terminal(sys.stdout):  # a reason is for reading: never cut
        for report in reports:
            click.echo(f"{one_line(report.model)}: {_summary(report)}")
            for owner, finding in shown:
                if owner is report:
                    line = f"  {finding.status:8}{finding.name:18}{finding.reason}"
                    click.echo(printable(line).replace("\n", "\n" + " " * 28))
        return
    rows = [(report.model, it.name, it.status, it.reason.replace("\n", "; ")) for report, it in shown]
    if rows:
        click.echo(table(("ID", "CHECK", "STATUS", "REASON"), rows))


def _summary(report: Report) -> str:
    statuses = [finding.status for finding in report.findings]
    return ", ".join(f"{statuses.count(kind)} {words}" for kind, words in _WORDS.items())
