"""Results of a benchmark for people: a web page, Markdown, and rows for the terminal, all with the same numbers.

    page = html_page(results, gather(outcome))    # one file that needs nothing else; the pictures may be left out
    text = markdown(results)
    header, rows = summary_table(results)

``results`` are dicts as the JSON files of one benchmark hold them. Needs no torch.
"""

from __future__ import annotations

from medzoo.report.gather import gather
from medzoo.report.page import html_page
from medzoo.report.pictures import Pair, Pictures, Strip
from medzoo.report.text import markdown, summary_table

__all__ = ["Pair", "Pictures", "Strip", "gather", "html_page", "markdown", "summary_table"]
