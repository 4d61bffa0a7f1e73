"""Memory that runs out: a batch is halved until its parts fit."""

from __future__ import annotations

import pytest
import torch

from medzoo import device

CPU = torch.device("cpu")


class Memory:
    """Holds so many rows at once, and notes what it was asked for."""

    def __init__(self, most: int, error: Exception | None = None) -> None:
        self.most, self.error, self.asked = most, error or torch.OutOfMemoryError("CUDA out of memory"), []  # type: ignore[var-annotated]

    def __call__(self, part: slice) -> list[int]:
        self.asked.append((part.start, part.stop))
        if part.stop - part.start > self.most:
            raise self.error
        return list(range(part.start, part.stop))


@pytest.mark.parametrize(("rows", "size"), [(0, 4), (1, 4), (7, 4), (8, 4), (3, 100), (9, 1)])
@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_every_row_comes_once_and_in_order(rows: int, size: int, most: int) -> None:
    parts = list(device.in_parts(Memory(most), rows, size, CPU))
    assert [row for part in parts for row in part] == list(range(rows))
    assert all(0 < len(part) <= min(size, most) for part in parts)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_part_that_does_not_fit_is_halved_and_no_larger_one_is_tried_again(error: Exception) -> None:
    memory = Memory(2, error)
    list(device.in_parts(memory, 10, 8, CPU))
    assert memory.asked == [(0, 8), (0, 4), (0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]


def test_a_single_row_that_does_not_fit() -> None:
    memory = Memory(0)
    with pytest.raises(torch.OutOfMemoryError, match="a single sample does not fit on 'cpu'") as caught:
        list(device.in_parts(memory, 3, 3, CPU))
    assert memory.asked == [(0, 3), (0, 1)] and device.is_out_of_memory(caught.value)
    assert caught.value.__context__ is None  # which would hold the tensors of the failed part


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        list(device.in_parts(Memory(0, RuntimeError("shapes cannot be multiplied")), 3, 3, CPU))
