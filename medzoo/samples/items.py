"""Images as a torch dataset of dicts, real and synthetic alike, so that they may be joined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

Item = dict[str, torch.Tensor]
Transform = Callable[[Item], Any]


class Items(Dataset[Any]):
    """One dict a sample, or what ``transform`` makes of it.

    ``image``: float32 [C, (D,) H, W] in [0, 1]; ``mask``: uint8 [K, (D,) H, W], 0 and 1; ``label``: int64; ``index``:
    int64. What there is not for all samples has no key.

    Args:
        images: [n, C, (D,) H, W], float32 in [0, 1] or uint8, which is scaled when an item is asked for.
        transform: gets tensors of its own, which it may change.
    """

    def __init__(
        self,
        images: NDArray[np.float32] | NDArray[np.uint8],
        masks: NDArray[np.uint8] | None,
        labels: NDArray[np.int64] | None,
        indices: NDArray[np.int64],
        transform: Transform | None = None,
    ) -> None:
        columns = {"image": images, "mask": masks, "label": labels, "index": indices}
        self.columns = {name: column for name, column in columns.items() if column is not None}
        self.transform = transform

    def __len__(self) -> int:
        return len(self.columns["index"])

    def __getitem__(self, at: int) -> Any:
        item = {name: torch.from_numpy(np.array(column[at])) for name, column in self.columns.items()}
        if item["image"].dtype == torch.uint8:
            item["image"] = item["image"].float().div_(255)
        return item if self.transform is None else self.transform(item)
