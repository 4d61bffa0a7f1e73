"""Spectral normalisation of the discriminator (Miyato et al., ICLR 2018)."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from medzoo.errors import TrainingError
from medzoo.training.techniques._base import Options, Technique


class SpectralNorm(Technique[Options]):
    """Every weight of the discriminator is divided by its largest singular value, by one power iteration a step."""

    def networks(self, generator: nn.Module, discriminator: nn.Module) -> None:
        layers = plain(discriminator)
        if not layers:
            raise TrainingError("spectral_norm: every layer of this discriminator has it already; leave it out")
        for layer in layers:
            spectral_norm(layer)


def plain(network: nn.Module) -> list[nn.Module]:
    """Layers with a ``weight`` of two dimensions or more that is not normalised yet."""
    return [
        module
        for module in network.modules()
        if not is_parametrized(module)
        and isinstance(weight := module._parameters.get("weight"), nn.Parameter)
        and weight.dim() > 1
    ]


TECHNIQUE = SpectralNorm
