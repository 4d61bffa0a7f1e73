"""How the numbers were made: every setting, licences, versions, hardware, times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medzoo.report.board import Board, Result, Row
from medzoo.report.numbers import number, seconds
from medzoo.report.tables import name

UNKNOWN = "not stated"
_NAMES = {
    "name": "benchmark", "reference": "held-out split", "training": "training split", "n": "images of each contender",
    "license": "licence of the data", "attribution": "attribution of the data", "source": "source of the data",
    "image": "form of images", "features": "feature extractors", "bootstrap": "bootstrap resamplings",
    "revision": "revision of the settings",
}  # fmt: skip


def settings(results: Sequence[Result]) -> list[tuple[str, str]]:
    """(what, value) of all that the rows share: benchmark, data, extractors, versions of scores."""
    if not results:
        return []
    first = results[0]
    rows = [
        (_NAMES.get(key, key), said(value))
        for key, value in first["benchmark"].items()
        if value is not None and key != "notes"
    ]
    for key, value in first["data"].items():
        if key != "fake":
            rows.append((f"{key} images" if isinstance(value, Mapping) else _NAMES.get(key, key), said(value)))
    for extractor, about in _extractors(results).items():
        rows.append((f"features {extractor}", said(about)))
    versions = {score["name"]: score.get("version") for result in results for score in result["scores"]}
    first_versions = ", ".join(f"{name} {version}" for name, version in versions.items() if version != 1)
    rows.append(("versions of scores", f"{first_versions}; all others 1" if first_versions else "1"))
    same = _same(results)
    return rows + [(key, said(value)) for key, value in same.items()]


def contender(row: Row, results: Sequence[Result]) -> list[tuple[str, str]]:
    """(what, value) of one contender: who it is, its licences, how long it took, where if others were elsewhere."""
    if row.result is None:
        return []
    who, made = row.result["contender"], row.result["made"]
    rows = [(key, said(who.get(key))) for key in ("title", "kind", "family", "revision", "weights_sha256")]
    licence = who.get("license") or {}
    rows += [(f"licence of {what}", said(licence.get(what))) for what in ("weights", "data")]
    fake = row.result["data"].get("fake")
    rows += [("images", said(fake))] if fake else []
    shared = _same(results)
    rows += [
        (key, said(value))
        for key, value in made.items()
        if key not in shared and key != "seconds" and value is not None
    ]
    taken = made.get("seconds")
    if isinstance(taken, Mapping):
        total = sum(number(value) or 0 for value in taken.values())
        each = ", ".join(f"{what} {seconds(number(value))}" for what, value in taken.items())
        rows.append(("time", f"{seconds(total)} ({each})"))
    if who.get("note"):
        rows.append(("note", said(who["note"])))
    return [(what.replace("_", " "), value) for what, value in rows if value != UNKNOWN or what.startswith("licence")]


def said(value: Any) -> str:
    """A setting in words: lists with commas, dicts as "key value", hashes by their beginning."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{str(key).replace('_', ' ')} {said(one)}" for key, one in value.items() if one is not None)
    if isinstance(value, list | tuple):
        return ", ".join(map(said, value))
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 and set(text) <= set("0123456789abcdef") else text


def section(board: Board, results: Sequence[Result]) -> dict[str, Any]:
    """The tables of the page."""
    return {
        "shared": [(what.replace("_", " "), value) for what, value in settings(results)],
        "cards": [name(row) | {"facts": contender(row, results)} for row in board.contenders],
    }


def _same(results: Sequence[Result]) -> dict[str, Any]:
    """Versions and hardware that all rows share."""
    first = results[0]["made"] if results else {}
    return {
        key: value
        for key, value in first.items()
        if key not in ("seconds", "started")
        and value is not None
        and all(result["made"].get(key) == value for result in results)
    }


def _extractors(results: Sequence[Result]) -> dict[str, Any]:
    return {str(key): about for result in results for key, about in result["extractors"].items()}
