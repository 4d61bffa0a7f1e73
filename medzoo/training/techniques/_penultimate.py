"""A second head for any discriminator: what enters its last layer, and a linear map of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.errors import TrainingError


class Head:
    """A linear layer on the features that a discriminator makes its logits from.

    The logit layer is the first one with a single output channel. What enters it, averaged over places, is the
    feature vector of an image. The head is a module of the discriminator, trained and saved with it.

    Args:
        discriminator: gets the module ``name``.
        outputs: of the head.

    Raises:
        TrainingError: no layer has a single output.
    """

    def __init__(self, discriminator: nn.Module, name: str, outputs: int) -> None:
        last = logit_layer(discriminator)
        if last is None:
            raise TrainingError(
                f"{name}: this discriminator has no layer with a single output to read features at; leave {name} out "
                "(with stylegan2, or take classes: false)"
            )
        layer, channels = last
        self.linear = nn.Linear(channels, outputs)
        discriminator.add_module(name, self.linear)
        self.recording, self.recorded = False, torch.empty(0)
        layer.register_forward_pre_hook(self.record)

    def __call__(self, discriminate: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Images [n, c, h, w] -> [n, outputs] float32; ``discriminate`` is the discriminator's own pass."""
        self.recording = True
        try:
            discriminate(images)
            features, self.recorded = self.recorded, torch.empty(0)
        finally:
            self.recording = False
        with torch.autocast(images.device.type, enabled=False):
            return self.linear(features.float().flatten(2).mean(2) if features.dim() > 2 else features.float())

    def record(self, layer: nn.Module, given: tuple[Any, ...]) -> None:
        """A forward hook: keeps what enters the logit layer."""
        if self.recording:
            self.recorded = given[0]


def logit_layer(discriminator: nn.Module) -> tuple[nn.Module, int] | None:
    """The first layer with one output channel, and how many it takes."""
    for module in discriminator.modules():
        for name, weight in module.named_parameters(recurse=False):
            if name.startswith("weight") and weight.dim() > 1 and weight.shape[0] == 1:
                return module, weight.shape[1]
        if "parametrizations" in module._modules:  # spectral norm keeps its weight elsewhere
            made = getattr(module, "weight", None)
            if isinstance(made, Tensor) and made.dim() > 1 and made.shape[0] == 1:
                return module, made.shape[1]
    return None
