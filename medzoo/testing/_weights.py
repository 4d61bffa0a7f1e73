"""Seeded weights for an untrained network, so that a family can be tested without a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from medzoo.families import get_family


def random_state(family: str, config: Mapping[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """A state dict of a family's network for a config, with weights of a size that keeps values near 1."""
    generator = object.__new__(get_family(family))  # weights are needed to make a whole one
    generator.config = generator.Config.model_validate(dict(config))
    torch.manual_seed(seed)
    state: dict[str, Tensor] = {}
    untrained = generator.build().state_dict()
    spectral = [key.removesuffix("_u") for key in untrained if key.endswith("_u")]
    for key, tensor in untrained.items():
        noise = torch.randn(tensor.shape)
        if not tensor.is_floating_point():
            state[key] = torch.zeros_like(tensor)
        elif key.endswith("running_var"):
            state[key] = 0.5 + noise.abs()
        elif key.endswith("_orig") and key.removesuffix("_orig") not in spectral:
            state[key] = noise  # equalised learning rate: the network scales it
        elif tensor.dim() > 1:
            state[key] = noise / (tensor[0].numel() ** 0.5)
        else:
            state[key] = 0.1 * noise + (key.endswith("weight") and tensor.numel() > 1)
    for name in spectral:
        _set_singular_vectors(state, name)
    return state


def _set_singular_vectors(state: dict[str, Tensor], name: str) -> None:
    """Spectral norm keeps the first singular vectors of its weight, over dimension 0 or (transposed) 1."""
    weight, u = state[f"{name}_orig"], state[f"{name}_u"]
    fits = weight.shape[0] == len(u) and weight[0].numel() == len(state[f"{name}_v"])
    matrix = (weight if fits else weight.transpose(0, 1)).flatten(1)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    state[f"{name}_u"], state[f"{name}_v"] = left[:, 0].contiguous(), right[0].contiguous()
