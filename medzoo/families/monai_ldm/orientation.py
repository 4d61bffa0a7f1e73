"""Axes of patients: turning what a network gives so that it shows upright.

An orientation is a letter for each axis, the direction in which it leads: R or L, A or P, I or S (of the patient), as
NIfTI tools write it. Shown are volumes with axes up, to the back and to the left, and slices with rows to the back (or
down) and columns to the left (or to the back): the patient's left lies at the right, as ``--format nifti`` writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

PAIRS = ("RL", "AP", "IS")
SHOWN = {3: ("SPL",), 2: ("PL", "IL", "IP")}


@dataclass(frozen=True)
class Turn:
    """``order``: the axis that each shown axis was; ``flips``: the shown axes that ran in the opposite direction."""

    order: tuple[int, ...]
    flips: tuple[int, ...]

    def shown(self, x: Tensor) -> Tensor:
        """[B, C, ...] as the network gives it -> upright."""
        return x.permute(0, 1, *(2 + axis for axis in self.order)).flip([2 + axis for axis in self.flips])

    def stored(self, x: Tensor) -> Tensor:
        """Inverse of ``shown``: upright [B, C, ...] -> as the network gives it."""
        back = (2 + self.order.index(axis) for axis in range(len(self.order)))
        return x.flip([2 + axis for axis in self.flips]).permute(0, 1, *back)

    def size(self, stored: Sequence[int]) -> tuple[int, ...]:
        """Sides as stored -> as shown."""
        return tuple(stored[axis] for axis in self.order)


def turn(orientation: str | None, dims: int) -> Turn:
    """How an array of this orientation is turned; not at all for None. Raises ValueError."""
    if orientation is None:
        return Turn(tuple(range(dims)), ())
    axes = [next((k for k, pair in enumerate(PAIRS) if letter in pair), -1) for letter in orientation]
    if len(axes) != dims or -1 in axes or len(set(axes)) != dims:
        raise ValueError(f"needs {dims} letters, at most one each of {', '.join(PAIRS)}, found '{orientation}'")
    found = {PAIRS[axis]: place for place, axis in enumerate(axes)}
    wanted = next(shown for shown in SHOWN[dims] if all(_pair(letter) in found for letter in shown))
    order = tuple(found[_pair(letter)] for letter in wanted)
    return Turn(order, tuple(k for k, place in enumerate(order) if orientation[place] != wanted[k]))


def _pair(letter: str) -> str:
    return next(pair for pair in PAIRS if letter in pair)
