"""Sizes that images came in, in sentences: what was enlarged, mixed or squeezed says how good a number can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medzoo.report.board import Result


def size_notes(results: Sequence[Result]) -> list[str]:
    """One sentence for each set of images that did not come as squares of one size, large enough."""
    sets: dict[str, Mapping[str, Any]] = {}
    size = 0
    for result in results:
        image = result["benchmark"].get("image") or {}
        size = image.get("size") or size
        for whose, words in (("real", "Held-out real images"), ("training", "Training images")):
            _put(sets, words, result["data"].get(whose))
        if result["contender"]["kind"] != "reference":
            _put(sets, str(result["contender"]["id"]), result["data"].get("fake"))
    return [f"{name}: {words}." for name, known in sets.items() if (words := _sentence(known, size))]


def _put(sets: dict[str, Mapping[str, Any]], name: str, about: Any) -> None:
    known = about.get("sizes") if isinstance(about, Mapping) else None
    if isinstance(known, Mapping) and known.get("n"):
        sets.setdefault(name, known)


def _sentence(known: Mapping[str, Any], size: int) -> str:
    n, parts = known["n"], []
    ends = [f"{one[0]} x {one[1]}" for one in (known["smallest"], known["largest"])]
    if known["different"] > 1:
        parts.append(f"{known['different']} sizes, {ends[0]} to {ends[1]} px")
    if known["squeezed"]:
        parts.append(f"{_all(known['squeezed'], n)} squeezed to a square of {size} px")
    if known["enlarged"]:
        parts.append(
            f"{_all(known['enlarged'], n)} ENLARGED to {size} px from {ends[0]} px: scores measure that too; "
            f"--size {min(known['smallest'])} or less avoids it"
        )
    return "; ".join(parts)


def _all(some: int, n: int) -> str:
    return f"all {n}" if some == n else f"{some} of {n}"
