"""Results of a benchmark for people: verdicts, a web page, Markdown, CSV, figures, rows for the terminal, all with the
same numbers.

    page = html_page(results)    # one file that needs nothing else; pictures may be given
    text = markdown(results)
    header, rows = summary_table(results)

``results`` are dicts as the JSON files of one benchmark hold them. Needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medzoo.lazy import exports

if TYPE_CHECKING:
    from medzoo.report.export import COLUMNS as COLUMNS
    from medzoo.report.export import as_csv as as_csv
    from medzoo.report.export import csv_text as csv_text
    from medzoo.report.export import dataframe as dataframe
    from medzoo.report.export import write as write
    from medzoo.report.figures import check_figures as check_figures
    from medzoo.report.figures import write_figures as write_figures
    from medzoo.report.page import html_index as html_index
    from medzoo.report.page import html_page as html_page
    from medzoo.report.pictures import Pair as Pair
    from medzoo.report.pictures import Pictures as Pictures
    from medzoo.report.pictures import Strip as Strip
    from medzoo.report.remarks import HONEST as HONEST
    from medzoo.report.sizes import size_notes as size_notes
    from medzoo.report.text import legend as legend
    from medzoo.report.text import markdown as markdown
    from medzoo.report.text import summary_table as summary_table
    from medzoo.report.verdict import verdicts as verdicts

_HOMES = {
    "export": ("COLUMNS", "as_csv", "csv_text", "dataframe", "write"),
    "figures": ("check_figures", "write_figures"),
    "page": ("html_index", "html_page"),
    "pictures": ("Pair", "Pictures", "Strip"),
    "remarks": ("HONEST",),
    "sizes": ("size_notes",),
    "text": ("legend", "markdown", "summary_table"),
    "verdict": ("verdicts",),
}
__getattr__, __dir__ = exports(
    __name__, {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}
)
