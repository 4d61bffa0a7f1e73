"""What the benchmark of some results is called, and what a reader has to know of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from medzoo import catalog
from medzoo.catalog import yamlfile
from medzoo.errors import MedzooError
from medzoo.report.board import Result


def title(results: Sequence[Result]) -> str:
    """The heading of a page."""
    setting: Mapping[str, Any] = results[0]["benchmark"] if results else {}
    return str(setting.get("title") or setting.get("name") or "Benchmark of generators")


def notes(results: Sequence[Result]) -> str:
    """What a reader has to know, "" if nothing: by the benchmark's file of today, where the registry has it.

    Results are records of what was measured, and keep what was said of the benchmark then.
    """
    stored: Mapping[str, Any] = results[0]["benchmark"] if results else {}
    path = catalog.named_files("benchmarks").get(str(stored.get("name")))
    if path is not None and stored.get("dataset") is not None:
        with suppress(MedzooError):
            stored = yamlfile.fields(catalog.text_of(path), str(path))
    return str(stored.get("notes") or "")
