"""``medzoo report``: pages, Markdown, CSV and figures from stored results, without measuring anything."""

from __future__ import annotations

from pathlib import Path

import click

from medzoo.text import printable

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("folders", nargs=-1, required=True, type=PATH, metavar="RESULTS...")
@click.option("--out", type=PATH, default=Path("report"), show_default=True, help="Folder to write into.")
@click.option("--benchmark", "wanted", multiple=True, metavar="NAME", help="Only this one. May be repeated.")
@click.option("--title", default="Benchmarks of generators", show_default=True, help="Heading of the first page.")
@click.option("--figures", is_flag=True, help="Also write figures as SVG and PNG.")
@click.option("--quiet", is_flag=True, help="Do not list the files that were written.")
def report(
    folders: tuple[Path, ...], out: Path, wanted: tuple[str, ...], title: str, figures: bool, quiet: bool
) -> None:
    """Write a report of stored RESULTS (folders that medzoo bench --out has filled), of one machine or several.

    Writes index.html, one page and one Markdown file for each benchmark, scores.csv with every score of all, and with
    --figures a folder of figures for each. Nothing is measured; rows that cannot be compared are left out, with a
    warning. Pages hold no pictures: those come with medzoo bench --report.
    """
    from medzoo import report as reports
    from medzoo import results

    for folder in folders:
        if not folder.is_dir():
            raise click.UsageError(f"{folder}: no such folder; give one that medzoo bench --out has filled")
    found = results.by_benchmark(folders)
    there = list(found)
    names = list(dict.fromkeys(wanted)) or there
    unknown = [name for name in names if name not in there]
    if unknown or not names:
        raise click.UsageError(
            f"no results of '{unknown[0]}' here; there are of: {', '.join(there) or 'none'}" if unknown
            else f"no results in {', '.join(map(str, folders))}; medzoo bench --out writes them"
        )  # fmt: skip
    if figures:
        reports.check_figures()
    boards = [(name, found[name]) for name in names]
    written: list[Path] = []
    pages = []
    for name, plain in boards:
        page = "index.html" if len(boards) == 1 else _page_of(name)
        pages.append((plain, page))
        written.append(reports.write(out / page, reports.html_page(plain), folders=True))
        written.append(reports.write(out / f"{name}.md", reports.markdown(plain)))
        if figures:
            written += reports.write_figures(plain, out / f"{name}-figures")
    if len(boards) > 1:
        written.insert(0, reports.write(out / "index.html", reports.html_index(title, pages)))
    written.append(reports.write(out / "scores.csv", reports.csv_text([one for _, plain in boards for one in plain])))
    for path in [] if quiet else written:
        click.echo(printable(f"written: {path}"), err=True)


def _page_of(benchmark: str) -> str:
    """File of its page; one that is called "index" must not take the place of the first."""
    return "_index.html" if benchmark.casefold() == "index" else f"{benchmark}.html"
