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
    boards = [(name, found[name]) for name in names]
    written: list[Path] = []
    pages = []
    for name, plain in boards:
        page = "index.html" if len(boards) == 1 else f"{name}.html"
        pages.append((plain, page))
        written.append(_write(out / page, reports.html_page(plain)))
        written.append(_write(out / f"{name}.md", reports.markdown(plain)))
        if figures:
            written += reports.write_figures(plain, out / f"{name}-figures")
    if len(boards) > 1:
        written.insert(0, _write(out / "index.html", reports.html_index(title, pages)))
    written.append(_write(out / "scores.csv", reports.csv_text([one for _, plain in boards for one in plain])))
    for path in [] if quiet else written:
        click.echo(printable(f"written: {path}"), err=True)


def _write(path: Path, text: str) -> Path:
    from medzoo.errors import ResultError
    from medzoo.report import write

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultError(
            f"{path.parent}: cannot be made ({error.strerror}); choose another folder with --out"
        ) from None
    return write(path, text)
