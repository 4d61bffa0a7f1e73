"""Numbers that a model is conditioned on, alone or beside images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medzoo.errors import ConditionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medzoo.entry import Attribute, Condition


def described(declared: Condition) -> list[str]:
    """Each number with its bounds and unit, in words."""
    return [_described(attribute) for attribute in declared.attributes or ()]


def rows(model_id: str, declared: Condition, stated: Mapping[str, Any], count: int | None) -> NDArray[np.float32]:
    """Numbers by name -> float32 [1 or count, A]; as many rows as are stated where ``count`` is None.

    NaN where neither the caller nor the entry gives a number. Raises ConditionError.
    """
    import numpy as np

    attributes, columns = declared.attributes or (), []
    for attribute in attributes:
        value = stated.get(attribute.name, np.nan if attribute.default is None else attribute.default)
        column = np.atleast_1d(np.asarray(np.nan if value is None else value))
        lengths = {1, len(column) if count is None else count} - {0}
        if column.dtype.kind not in "uif" or column.ndim != 1 or len(column) not in lengths:
            many = "a list of them" if count is None else f"{count} of them (one for each sample or input image)"
            raise ConditionError(f"{model_id}: {attribute.name} must be a number, or {many}, found {value!r}")
        low = -np.inf if attribute.low is None else attribute.low
        high = np.inf if attribute.high is None else attribute.high
        wrong = column[~np.isnan(column) & ((column < low) | (column > high))]
        if len(wrong):
            raise ConditionError(f"{model_id}: {_described(attribute)}; found {wrong[0]:g}")
        columns.append(column.astype(np.float32))
    most = max(map(len, columns))
    if any(len(column) not in (1, most) for column in columns):
        counts = ", ".join(f"{a.name} {len(column)}" for a, column in zip(attributes, columns, strict=True))
        raise ConditionError(f"{model_id}: each number must be one or as many as the others, found {counts}")
    return np.stack([np.broadcast_to(column, most) for column in columns], axis=1)


def from_first(rows: NDArray[np.float32], indices: range) -> NDArray[np.float32]:
    """Rows in such an order that the first one belongs to the first sample, whatever its index."""
    import numpy as np

    return np.roll(rows, indices.start % len(rows), axis=0)


def parted(declared: Condition, stated: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A mapping -> its numbers, and what is left: its images."""
    names = [attribute.name for attribute in declared.attributes or ()]
    numbers = {name: stated[name] for name in names if name in stated}
    return numbers, {name: value for name, value in stated.items() if name not in numbers} or None


def needed(declared: Condition) -> list[Attribute]:
    """Those that the caller has to give."""
    return [attribute for attribute in declared.attributes or () if attribute.default is None]


def from_word(text: str) -> Any:
    """A number, several with commas between them, or the text itself: a file or a folder."""
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        return text
    return numbers if len(numbers) > 1 else numbers[0]


def middle(attribute: Attribute) -> float:
    """A number between the bounds to show a user: 1 where there are not two."""
    if attribute.low is None or attribute.high is None:
        return attribute.low if attribute.low is not None and attribute.low > 1 else 1
    return (attribute.low + attribute.high) / 2


def trials(declared: Condition) -> dict[str, Any]:
    """A number inside the bounds for each that is needed, by name."""
    return {attribute.name: _inside(attribute.low or 0.0, attribute.high) for attribute in needed(declared)}


def _inside(low: float, high: float | None) -> float:
    return low + 1.0 if high is None else (low + high) / 2


def _described(attribute: Attribute) -> str:
    least = "" if attribute.low is None else f"{attribute.low:g}"
    most = "" if attribute.high is None else f"{attribute.high:g}"
    between = f" from {least} to {most}" if least and most else f" from {least}" if least else f" to {most}"
    return f"{attribute.name}{between if least or most else ''}{f' ({attribute.unit})' if attribute.unit else ''}"
