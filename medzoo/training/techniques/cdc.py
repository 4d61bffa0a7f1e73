"""CDC: adapt a generator to a few images and keep what it knows of how images differ (Ojha et al., CVPR 2021).

For a few latents, how similar the adapted generator's features are to each other shall be as in the source generator
(equations 2 and 3). And since a few images say nothing about whole images other than themselves, whole images are
judged only near a few fixed latents, the anchors, and elsewhere patches (section 3.2).

For fine-tuning (``TrainConfig.start``): the generator that training starts from is the source. Patches are what the
family's discriminator judges, in every step; whole images are judged by one more linear layer on its features, in every
fourth step, where the published code alternates between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveInt
from medzoo.errors import TrainingError
from medzoo.training import parallel
from medzoo.training.techniques._base import Options, StepView, Technique
from medzoo.training.techniques._penultimate import Head


class CdcOptions(Options):
    """What a configuration may state.

    Attributes:
        weight: of the divergence, a mean over all pairs.
        images: of a batch, compared with each other.
        anchors: latents near which whole images are judged.
        sigma: standard deviation of the latents around an anchor.
        interval: steps from one judgement of whole images to the next.
    """

    weight: Annotated[float, Field(ge=0)] = 1000.0
    images: Annotated[int, Field(ge=3)] = 4
    anchors: PositiveInt = 10
    sigma: Annotated[float, Field(ge=0)] = 0.1
    interval: PositiveInt = 4


class Cdc(Technique[CdcOptions]):
    """The source generator's similarities are kept; it is saved with the run."""

    Options = CdcOptions
    head: Head
    features: Features
    source: dict[str, Tensor]

    def __init__(self, options: CdcOptions, batch: int) -> None:
        super().__init__(options, batch)
        if batch < options.images:
            raise TrainingError(f"cdc.images: {options.images} images are compared, the batch has {batch}; lower it")
        self.anchors: Tensor | None = None
        self.divergence = 0.0

    def networks(self, generator: nn.Module, discriminator: nn.Module) -> None:
        """``generator`` holds the weights of the source."""
        self.source = {name: value.detach().clone() for name, value in generator.state_dict().items()}
        self.features = Features(generator)
        self.head = Head(discriminator, "cdc", 1)

    def loss_d(self, view: StepView) -> Tensor | None:
        if view.step % self.options.interval:
            return None
        with torch.no_grad():
            fake = view.generate(self.near_anchors(view))
        real, generated = (self.head(view.discriminate, images) for images in (view.real, fake))
        return F.softplus(-real).mean() + F.softplus(generated).mean()

    def loss_g(self, view: StepView) -> Tensor:
        adapted = self.features(view.generate, view.latents)
        self.source = {name: value.to(view.latents.device) for name, value in self.source.items()}
        with torch.no_grad(), in_place_of(view.generator, self.source):
            source = self.features(view.generate, view.latents)
        count = min(self.options.images, len(view.latents))  # with several processes each has a part of the batch
        layers = torch.randint(len(source), (count,), generator=view.rng).tolist()
        loss = self.options.weight * divergence(source, adapted, layers)
        self.divergence = float(loss.detach())
        if view.step % self.options.interval == 0:
            fake = view.generate(self.near_anchors(view))
            loss = loss + F.softplus(-self.head(view.discriminate, fake)).mean()
        return loss

    def near_anchors(self, view: StepView) -> Tensor:
        """Latents [n, nz], as many as the batch has, each near one of the anchors."""
        shape = view.latents.shape
        if self.anchors is None:
            self.anchors = parallel.broadcast(torch.randn(self.options.anchors, *shape[1:], generator=view.rng))
        which = torch.randint(len(self.anchors), shape[:1], generator=view.rng)
        near = self.anchors[which] + self.options.sigma * torch.randn(shape, generator=view.rng)
        return near.to(view.latents)

    def after(self, view: StepView) -> Mapping[str, float]:
        return {"cdc": self.divergence}

    def state(self) -> dict[str, Any]:
        return {"source": self.source, "anchors": self.anchors}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.source = dict(state["source"])
        self.anchors = None if state["anchors"] is None else state["anchors"].cpu()


class Features:
    """What the convolutions of a generator give while it makes images: maps of 4 x 4 and more, images left out."""

    def __init__(self, generator: nn.Module) -> None:
        self.recorded: list[Tensor] | None = None
        for module in generator.modules():
            if any(weight.dim() == 4 for weight in module.parameters(recurse=False)):
                module.register_forward_hook(self.record)

    def __call__(self, generate: Callable[[Tensor], Tensor], latents: Tensor) -> list[Tensor]:
        """Maps [n, c, h, w] of every layer, in the order in which they are made."""
        recorded = self.recorded = []
        try:
            generate(latents)
        finally:
            self.recorded = None
        if not recorded:
            raise TrainingError("cdc: this generator has no convolutions to compare features of")
        return recorded

    def record(self, module: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        """A forward hook: keeps the output of a layer if it is a feature map."""
        if self.recorded is not None and made.dim() == 4 and made.shape[1] > 4 and min(made.shape[2:]) >= 4:
            self.recorded.append(made)


def divergence(source: Sequence[Tensor], adapted: Sequence[Tensor], layers: Sequence[int]) -> Tensor:
    """KL(source || adapted) of how similar each image is to the others.

    Args:
        source, adapted: features [n, ...] of each layer, of the same latents.
        layers: for image i of the first ``len(layers)``, the layer to compare at.

    Returns:
        The sum of p log(p / q) divided by the number of pairs, which is the published code's mean.
    """
    count = len(layers)
    p, q = (
        torch.stack([similarities(features[layer][:count], i) for i, layer in enumerate(layers)])
        for features in (source, adapted)
    )
    return F.kl_div(q.log_softmax(1), p.softmax(1), reduction="sum") / p.numel()


def similarities(features: Tensor, i: int) -> Tensor:
    """Cosines [n - 1] of the angles between row i and the other rows of [n, ...]."""
    rows = F.normalize(features.flatten(1).float(), dim=1)
    return torch.cat([rows[:i], rows[i + 1 :]]) @ rows[i]


@contextmanager
def in_place_of(network: nn.Module, state: Mapping[str, Tensor]) -> Iterator[None]:
    """Let a network run with the weights of ``state``; what it writes to its buffers meanwhile is dropped."""
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    for prefix, module in network.named_modules():
        for held in (module._parameters, module._buffers):
            for name, own in list(held.items()):
                other = state.get(f"{prefix}.{name}" if prefix else name)
                if own is not None and other is not None:
                    replaced.append((held, name, own))
                    held[name] = (
                        nn.Parameter(other, requires_grad=False) if isinstance(own, nn.Parameter) else other.clone()
                    )
    try:
        yield
    finally:
        for held, name, own in replaced:
            held[name] = own


TECHNIQUE = Cdc
