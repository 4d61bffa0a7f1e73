"""What a benchmark gave: results, verdicts, and every form that they can be shown or written in."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medzoo import report as reports
from medzoo import results as records
from medzoo.bench.contenders import Contender
from medzoo.bench.gather import gather
from medzoo.bench.reals import Reals
from medzoo.bench.setting import Benchmark
from medzoo.results import Result

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class Outcome:
    """What a benchmark gave.

    Attributes:
        results: one for each contender that could be measured, reference points first.
        failed: contender -> why it could not be.
        setting: the benchmark as it was run.
        real: its real images (for pictures beside the numbers).
        contenders: those of ``results``, which can make their images again.
    """

    results: tuple[Result, ...]
    failed: dict[str, str]
    setting: Benchmark
    real: Reals = field(compare=False)
    contenders: tuple[Contender, ...] = field(compare=False)

    def plain(self) -> list[dict[str, Any]]:
        """The results as plain dicts, as their JSON files hold them."""
        return [records.as_json(result) for result in self.results]

    def verdicts(self) -> dict[str, list[str]]:
        """Id of each model or folder -> three sentences: what it is better than, what it is useful for, copies."""
        return reports.verdicts(self.plain())

    def table(self) -> str:
        """The first table of the report, and what its headings mean, as text."""
        header, rows = reports.summary_table(self.plain())
        lines = [header, *rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
        text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([*text, *reports.legend(self.plain())])

    def to_dataframe(self) -> pandas.DataFrame:
        """One row for each score of each contender (pandas, extra ``table``), with the columns of ``--csv``.

        Raises MedzooError: pandas is not installed.
        """
        return reports.dataframe(self.plain())

    def report(self, path: Path | str, *, real: bool = True) -> Path:
        """Write the page: one HTML file that needs nothing else; whole or not at all.

        Args:
            real: with pictures of real images, which may be of patients.

        Raises MedzooError: it cannot be written.
        """
        pictures = gather(self.contenders, self.results, self.real, real=real)
        return reports.write(Path(path), reports.html_page(self.plain(), pictures, self.failed))

    def __repr__(self) -> str:
        rows = [result.contender.id for result in self.results if result.contender.kind != "reference"]
        failed = f", failed: {', '.join(self.failed)}" if self.failed else ""
        return f"<Outcome of {self.setting.name}: {', '.join(rows) or 'reference points alone'}{failed}>"

    def __str__(self) -> str:
        said = [f"{name}: {' '.join(words)}" for name, words in self.verdicts().items()]
        return "\n".join([*said, "", self.table()])

    def _repr_html_(self) -> str:
        header, rows = reports.summary_table(self.plain())
        said = "".join(
            f"<p><b>{escape(name)}</b> {escape(' '.join(words))}</p>" for name, words in self.verdicts().items()
        )
        head = "".join(f"<th>{escape(words)}</th>" for words in header)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        return f"{said}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
