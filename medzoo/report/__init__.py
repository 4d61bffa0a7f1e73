"""Results of a benchmark for people: verdicts, a web page, Markdown, CSV, figures, rows for the terminal, all with the
same numbers.

    page = html_page(results)    # one file that needs nothing else; pictures may be given
    text = markdown(results)
    header, rows = summary_table(results)

``results`` are dicts as the JSON files of one benchmark hold them. Needs no torch.
"""

from __future__ import annotations

from medzoo.report.export import COLUMNS, as_csv, csv_text, dataframe, write
from medzoo.report.figures import check_figures, write_figures
from medzoo.report.page import html_index, html_page
from medzoo.report.pictures import Pair, Pictures, Strip
from medzoo.report.remarks import HONEST
from medzoo.report.sizes import in_words as size_notes
from medzoo.report.text import legend, markdown, summary_table
from medzoo.report.verdict import verdicts

__all__ = [
    "COLUMNS",
    "HONEST",
    "Pair",
    "Pictures",
    "Strip",
    "as_csv",
    "check_figures",
    "csv_text",
    "dataframe",
    "html_index",
    "html_page",
    "legend",
    "markdown",
    "size_notes",
    "summary_table",
    "verdicts",
    "write",
    "write_figures",
]
