"""Why nothing fits filters or words, and what there is instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medzoo.catalog import RawEntry, lookup
from medzoo.text import did_you_mean, nearest

_STATED: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "modality": lambda fields: fields["modality"],
    "organ": lambda fields: fields["organ"],
    "family": lambda fields: fields["family"],
    "license": lambda fields: fields["license"]["weights"],
}
_NAMED = ("title", "modality", "organ", "family", "tags")  # fields whose words a searcher may mean


def of_filters(raw_entries: Sequence[RawEntry], filters: Mapping[str, Any]) -> str:
    """A sentence; of the first filter that matches nothing by itself the values that do."""
    for name, get in _STATED.items():
        stated = filters.get(name)
        if stated is not None and not lookup.select(raw_entries, **{name: stated}):
            there = sorted({get(raw.fields) or "none" for raw in raw_entries}, key=str.casefold)
            meant = did_you_mean(str(stated), there)
            return f"no model fits {name} '{stated}'{f'{meant} There' if meant else '; there'} are: {', '.join(there)}"
    if filters.get("offline"):
        return "no model fits whose weights are on this machine; download some with medzoo cache warm ID"
    stated = ", ".join(f"{name} {value}" for name, value in filters.items() if value not in (None, False))
    return f"no model fits all of it at once: {stated}" if stated else "no models are there"


def of_words(raw_entries: Sequence[RawEntry], text: str) -> str:
    """A sentence; of words that occur in no entry the nearest that do."""
    known = sorted(
        {word for raw in raw_entries for name in _NAMED for word in re.findall(r"[a-z]{3,}", _text(raw.fields[name]))}
    )
    meant = {
        word: close[0]
        for word in re.findall(r"\w+", text.lower())
        if not lookup.find(raw_entries, word) and (close := nearest(word, known, cutoff=0.75))
    }
    hints = " ".join(f"Did you mean '{close}' by '{word}'?" for word, close in meant.items())
    return f"no model has all of '{text}'{f'. {hints}' if hints else '; try fewer words, or medzoo list'}"


def _text(value: Any) -> str:
    return " ".join(value).lower() if isinstance(value, list) else str(value or "").lower()
