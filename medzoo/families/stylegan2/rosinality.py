"""The rosinality layout of StyleGAN2 -> the names of StyleGAN2-ADA.

Both hold the same network. What differs beside the names: a leading axis of 1 on weights and maps; 3x3 weights are
divided by sqrt(fan in) when run, which demodulation takes out again but for its epsilon; filters are stored times 4.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor

# Tensors of a layer.
PARTS = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "conv.blur.kernel": "resample_filter",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
    "bias": "bias",
}
AVERAGED = ("g_ema.", "G_ema.")  # the averaged generator, in files that were read whole


def ada_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same state dict under the names of StyleGAN2-ADA; unknown keys and other layouts stay as they are."""
    for prefix in AVERAGED:
        if any(key.startswith(prefix) for key in state):
            inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            mean = {key: value for key, value in state.items() if key == "latent_avg"}
            return ada_names(inside | mean)
    if "input.input" not in state:
        return dict(state)
    return dict(_renamed(key, value) for key, value in state.items())


def _renamed(key: str, value: Tensor) -> tuple[str, Tensor]:
    if key == "input.input":
        return "synthesis.b4.const", _last(value, 3)
    if key == "latent_avg":
        return "mapping.w_avg", value.flatten()
    if match := re.fullmatch(r"style\.(\d+)\.(weight|bias)", key):
        return f"mapping.fc{int(match[1]) - 1}.{match[2]}", value  # style.0 is the normalisation
    if match := re.fullmatch(r"noises\.noise_(\d+)", key):
        return f"{_layer(int(match[1]))}.noise_const", _last(value, 2)
    if match := re.fullmatch(r"(conv1|convs\.(\d+))\.(.+)", key):
        name = _layer(0 if match[2] is None else int(match[2]) + 1)
        return (f"{name}.{PARTS[match[3]]}", _tensor(match[3], value)) if match[3] in PARTS else (key, value)
    if match := re.fullmatch(r"(to_rgb1|to_rgbs\.(\d+))\.(.+)", key):
        block = f"synthesis.b{4 if match[2] is None else 8 << int(match[2])}"
        if match[3] == "upsample.kernel":
            return f"{block}.resample_filter", value / 4
        if match[3] in PARTS:
            plain = _last(value, 4) if match[3] == "conv.weight" else _tensor(match[3], value)
            return f"{block}.torgb.{PARTS[match[3]]}", plain
    return key, value


def _layer(index: int) -> str:
    """Name of the layer with that number, counted from the smallest."""
    return f"synthesis.b{4 << (index + 1) // 2}.conv{(index + 1) % 2}"


def _tensor(part: str, value: Tensor) -> Tensor:
    if part == "conv.weight":
        return _last(value, 4) / math.sqrt(math.prod(value.shape[-3:]))
    if part == "conv.blur.kernel":
        return value / 4
    if part == "noise.weight":
        return _last(value, 0) if value.numel() == 1 else value
    return value.flatten() if part in ("activate.bias", "bias") else value


def _last(value: Tensor, dims: int) -> Tensor:
    """Without the axes of 1 before the last ``dims``."""
    while value.dim() > dims and value.shape[0] == 1:
        value = value[0]
    return value
