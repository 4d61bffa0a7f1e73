"""How a model is to sample, as it is typed on the command line or named in Python -> fields of its entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medzoo.errors import EntryError


def overriding(
    override: Mapping[str, Any] | None = None,
    *,
    truncation: float | None = None,
    noise: str | None = None,
    steps: int | None = None,
    sampler: str | None = None,
    guidance: float | None = None,
    strength: float | None = None,
    window: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """The fields of an entry to replace: those of ``override``, with what else is stated over them.

    Args:
        truncation, noise, steps, sampler, guidance, strength: of ``sampling``; None as the entry says.
        window: of ``condition``; None as the entry says.

    Raises EntryError: ``override`` holds no fields by name.
    """
    if override is not None and not isinstance(override, Mapping):
        raise EntryError(f"override takes fields of an entry by name, found {override!r}")
    stated: dict[str, dict[str, Any]] = {
        "sampling": {
            "truncation": truncation, "noise": noise, "steps": steps, "sampler": sampler, "guidance": guidance,
            "strength": strength,
        },
        "condition": {"window": None if window is None else tuple(window)},
    }  # fmt: skip
    fields = dict(override or {})
    for name, values in stated.items():
        given = {key: _plain(value) for key, value in values.items() if value is not None}
        if given:
            below = fields.get(name)
            fields[name] = {**(below if isinstance(below, Mapping) else {}), **given}
    return fields


def _plain(value: Any) -> Any:
    """A number of NumPy or torch as one of Python, which entries hold."""
    return value.item() if hasattr(value, "item") else value
