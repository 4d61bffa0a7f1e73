"""What every feature extractor shares: checks, batches, precision and device. A new one writes ``network``."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

Precision = Literal["float32", "bfloat16"]
DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Extractor:
    """Turns images into feature vectors, a batch at a time.

    Attributes:
        name: of the file in ``medzoo/features``, stated beside every number made with it.
        dim: length of a feature vector.
        size: height and width in pixels that the network was trained on; other sizes are resized to it
            (bilinear, antialiased when shrinking, aspect ratio not kept).
    """

    name: str
    dim: int
    size: int

    def __init__(
        self, network: nn.Module, *, device: str = "cpu", precision: Precision = "float32", batch_size: int = 8
    ) -> None:
        """Args:
        network: float32 [n, 3, size, size] in [0, 1] -> [n, dim]; it casts its input to the type of its weights.
        device: a torch device name.
        precision: ``float32``, or ``bfloat16`` (two to three times the speed on CPUs that have it; features
            of EfficientNet-Lite0 move by 6 %, Frechet distances between polyp sets by less than 1 %).
        batch_size: images a forward pass; does not change the features beyond rounding.
        """
        self.device = torch.device(device)
        self.batch_size = batch_size
        network = network.eval().requires_grad_(False).to(self.device, DTYPES[precision])
        self.network: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Features float32 [n, dim] of uint8 images (0..255) or float images (0..1), [n, 1 or 3, H, W].

        Raises:
            ValueError: wrong shape, or float values outside [0, 1] or not finite.
        """
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"{self.name}: images must be [n, 1 or 3, H, W], found {list(images.shape)}")
        out = np.empty((len(images), self.dim), np.float32)
        with torch.inference_mode():
            for start in range(0, len(images), self.batch_size):
                part = slice(start, start + self.batch_size)
                out[part] = self.network(self.prepare(images[part])).float().cpu().numpy()
        return out

    def prepare(self, images: NDArray[Any]) -> Tensor:
        """One batch as float32 [n, 3, size, size] in [0, 1] on the device of the network."""
        batch = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
        batch = batch.float() / 255 if images.dtype == np.uint8 else batch.float()
        low, high = (float(value) for value in batch.aminmax())
        if not (low >= 0 and high <= 1):  # also false for NaN
            raise ValueError(f"{self.name}: float images must lie in [0, 1], found {low:g} to {high:g}")
        batch = batch.expand(-1, 3, -1, -1)
        if batch.shape[2:] != (self.size, self.size):
            batch = F.interpolate(batch, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        return batch.contiguous(memory_format=torch.channels_last)
