"""Bringing images to the size of a network. The filter changes Frechet distances, so each is named and stated.

* ``bilinear, antialias``: weights of a triangle, as wide as the pixels of the coarser grid (Pillow's BILINEAR).
* ``bicubic, antialias``: the same with the cubic of a = -0.5 (Pillow's BICUBIC, which clean-fid takes).
* ``bicubic``: the cubic of a = -0.75 at four neighbours, whatever is shrunk (``torch.nn.functional.interpolate``).
* ``bilinear, tensorflow 1``: pixel i of the output looks at i n / size of the input, no half-pixel shift, two
  neighbours (``tf.image.resize_bilinear`` before version 2, inside the graph that FID was defined with).
* ``area``: the mean over the part of the input that an output pixel covers, exactly, whatever the two sizes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medzoo.imagefiles.areas import area_weights

Resize = Literal["bilinear, antialias", "bicubic, antialias", "bicubic", "bilinear, tensorflow 1", "area"]


def resized(batch: Tensor, size: int, how: Resize) -> Tensor:
    """float [n, c, h, w] -> [n, c, size, size]. The bicubic ones may leave the range of their input a little."""
    if batch.shape[2:] == (size, size):
        return batch
    if how in ("area", "bilinear, tensorflow 1"):
        matrix = area_weights if how == "area" else _tensorflow
        rows, columns = (
            torch.from_numpy(matrix(length, size).astype(np.float32)).to(batch) for length in batch.shape[2:]
        )
        return rows @ batch @ columns.T
    mode, _, antialias = how.partition(", ")
    return F.interpolate(batch, (size, size), mode=mode, antialias=bool(antialias), align_corners=False)


@lru_cache(maxsize=16)
def _tensorflow(length: int, size: int) -> NDArray[np.float64]:
    """[size, length]: rows with the weights of the two neighbours of each output pixel."""
    at = np.arange(size) * length / size
    low = np.floor(at).astype(int)
    matrix = np.zeros((size, length))
    np.add.at(matrix, (np.arange(size), low), 1 - (at - low))
    np.add.at(matrix, (np.arange(size), np.minimum(low + 1, length - 1)), at - low)
    return matrix
