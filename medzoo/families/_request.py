"""What is asked of a model: numbers, conditions, precision; checked before weights are fetched and before they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medzoo.entry import Condition, Entry
from medzoo.errors import ConditionError, GenerationError
from medzoo.families._condition import Conditions, count_inputs, resolve_condition
from medzoo.families._running import whole_number
from medzoo.randomness import INDICES, SEEDS
from medzoo.text import did_you_mean

if TYPE_CHECKING:
    from medzoo.families._base import Generator

DEFAULT_N = 10
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_MEANT = {
    "fp32": "float32", "float": "float32", "double": "float32", "float64": "float32", "fp16": "float16",
    "half": "float16", "bf16": "bfloat16",
}  # fmt: skip


def check(
    family: type[Generator],
    entry: Entry,
    n: int | None,
    condition: Any,
    *,
    seed: int = 0,
    start: int = 0,
    batch_size: int | None = None,
) -> int:
    """Check what the entry alone tells of a request, the first input image included; gives the number of samples.

    Raises GenerationError, ConditionError, ImageFileError.
    """
    n = number(entry, entry.condition, n, condition)
    numbers(n, seed, start, batch_size)
    resolved = conditions(family, entry, entry.condition, condition, range(start, start + n))
    read_first(resolved)
    return n


def number(entry: Entry, declared: Condition | None, n: int | None, condition: Any) -> int:
    """How many samples are asked for: ``n``, else one for each thing that a condition lists, else 10."""
    return n if n is not None else count_inputs(entry, declared, condition) or DEFAULT_N


def numbers(n: Any, seed: Any, start: Any, batch_size: Any) -> tuple[int, int, int]:
    """``n``, ``seed`` and ``start`` as whole numbers. Raises GenerationError."""
    n, start = whole_number("n", n, INDICES), whole_number("start", start, INDICES)
    whole_number("start + n", start + n, INDICES)
    if batch_size is not None:
        whole_number("batch_size", batch_size, INDICES, least=1)
    return n, whole_number("seed", seed, SEEDS), start


def conditions(
    family: type[Generator], entry: Entry, declared: Condition | None, condition: Any, indices: range
) -> Conditions:
    """The conditions of samples.

    Raises ConditionError: they do not fit, or a number is missing that the family does not draw.
    """
    found = resolve_condition(entry, declared, condition, indices)
    rows = found.attributes
    if rows is not None and not family.draws_attributes and np.isnan(rows).any():
        missing = [name for k, name in enumerate(found.names_of) if np.isnan(rows[:, k]).any()]
        raise ConditionError(f"{entry.model_id} needs a number for {', '.join(missing)}")
    return found


def read_first(conditions: Conditions) -> None:
    """Read the input image of the first sample, so that what is wrong with it is said before anything is done."""
    if conditions.inputs and conditions.indices:
        conditions.input(0).read()


def precision_type(precision: str | torch.dtype) -> torch.dtype:
    """What a precision by name, or a type of torch, means. Raises GenerationError."""
    name = str(precision).removeprefix("torch.")
    if name not in PRECISIONS:
        known = _MEANT.get(name.lower())
        meant = f"; did you mean '{known}'?" if known else did_you_mean(name, PRECISIONS)
        choose = f"{meant} Choose" if meant else "; choose"
        raise GenerationError(f"unknown precision '{precision}'{choose} from {', '.join(PRECISIONS)}")
    return PRECISIONS[name]
