"""FreezeD: the first layers of a trained discriminator stay as they are while the rest is fine-tuned (Mo et al., 2020).

What they see of images in general needs no relearning from few of them. For training that goes on from another run's
networks; from random ones it would keep random layers.
"""

from __future__ import annotations

from torch import nn

from medzoo.entry import PositiveInt
from medzoo.errors import TrainingError
from medzoo.training.techniques._base import Options, Technique


class FreezeDOptions(Options):
    """What a configuration may state.

    Attributes:
        layers: weight layers to freeze, from the image on, with everything between them. How many are best differs
            with the network; the default leaves every discriminator here some to train.
    """

    layers: PositiveInt = 3


class FreezeD(Technique[FreezeDOptions]):
    """The first ``layers`` layers of the discriminator are not trained."""

    Options = FreezeDOptions

    def networks(self, generator: nn.Module, discriminator: nn.Module) -> None:
        freeze(discriminator, self.options.layers)


def freeze(discriminator: nn.Module, layers: int) -> None:
    """What comes before layer ``layers + 1``, in the order in which the network defines it.

    Raises:
        TrainingError: the network has no more layers than that.
    """
    parameters = [(owner(name), parameter) for name, parameter in discriminator.named_parameters()]
    weighted = list(dict.fromkeys(layer for layer, parameter in parameters if parameter.dim() > 1))
    if layers >= len(weighted):
        raise TrainingError(f"freezed.layers: {layers} of the discriminator's {len(weighted)} layers; freeze fewer")
    for layer, parameter in parameters:
        if layer == weighted[layers]:
            break
        parameter.requires_grad_(False)


def owner(parameter: str) -> str:
    """Name of the layer that a parameter belongs to; spectral norm keeps weights a level deeper."""
    return (
        parameter.split(".parametrizations.")[0] if ".parametrizations." in parameter else parameter.rpartition(".")[0]
    )


TECHNIQUE = FreezeD
