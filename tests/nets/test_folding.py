"""Upsampling and shuffling of pixels folded into the weights of one convolution: exact algebra."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from medzoo.nets.folding import fold_differences, fold_pixels, fold_upsampling, upsample_by_differences


def test_fold_upsampling_is_exact() -> None:
    x, weight = torch.randn(2, 3, 5, 7, dtype=torch.float64), torch.randn(4, 3, 3, 3, dtype=torch.float64)
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, padding=1)
    found = F.conv_transpose2d(x, fold_upsampling(weight), stride=2, padding=1)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


def test_upsampling_by_differences_is_exact() -> None:
    x, weight = torch.randn(2, 3, 5, 7, dtype=torch.float64), torch.randn(4, 3, 3, 3, dtype=torch.float64)
    bias = torch.randn(4, dtype=torch.float64)
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, bias, padding=1)
    found = upsample_by_differences(x, fold_differences(weight), bias)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


def test_fold_pixels_is_exact() -> None:
    x, weight = torch.randn(2, 3, 6, 8, dtype=torch.float64), torch.randn(4, 3, 3, 3, dtype=torch.float64)
    found = F.pixel_shuffle(F.conv2d(x, fold_pixels(weight), stride=2, padding=1), 2)
    torch.testing.assert_close(found, F.conv2d(x, weight, padding=1), atol=1e-12, rtol=1e-12)
