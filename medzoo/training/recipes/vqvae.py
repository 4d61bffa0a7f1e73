"""VQ-VAE (van den Oord et al., NeurIPS 2017): first the autoencoder with its codebook, then the prior over codes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveFloat, PositiveInt, Record
from medzoo.families import vqvae
from medzoo.randomness import Noise
from medzoo.training import parallel
from medzoo.training.config import Decay, TrainConfig
from medzoo.training.losses import Copies, Loss
from medzoo.training.recipes._base import Direct, Inputs, class_condition
from medzoo.training.recipes._reconstruction import of_masks, of_picture

# A code that is nearest this many times less often than the mean is dead.
DEAD = 0.1
# Share of the autoencoder's steps in which it learns without codes. The codes of an encoder that knows nothing hold it
# where it is; so they begin as vectors of one that knows something (after Lancucki et al., "Robust training of vector
# quantized bottleneck models", IJCNN 2020, who begin them anew from data).
FREE = 0.1


class Config(Record):
    """The network; ``temperature`` and ``top_k`` of sampling go into the entry.

    Fields as in ``medzoo.families.vqvae.Config``; ``downs`` null makes a grid of 16 codes a side at most.
    """

    width: Annotated[int, Field(ge=4)] = 32
    blocks: Annotated[int, Field(ge=0)] = 1
    downs: PositiveInt | None = None
    codes: Annotated[int, Field(ge=2)] = 512
    code_dim: PositiveInt = 64
    prior_width: PositiveInt = 128
    prior_layers: PositiveInt = 4
    temperature: PositiveFloat = 1.0
    top_k: PositiveInt | None = None


class Settings(TrainConfig):
    """A configuration of this family.

    Attributes:
        autoencoder_steps: how many of ``steps`` the autoencoder learns, before the prior does in the rest of them; a
            quarter where it is not stated. Distances to held-out images mean nothing until then.
        commitment: weight of the encoder's distance to the code vectors.
        codebook_decay: of the averages that code vectors are.
        edges: weight of the slopes in the reconstruction loss.
        dropout: of the prior.
    """

    family: Literal["vqvae"]
    size: Literal[28, 32, 64, 128]
    config: Config = Config()
    autoencoder_steps: PositiveInt = 5000
    commitment: Annotated[float, Field(ge=0)] = 0.25
    codebook_decay: Decay = 0.99
    edges: Annotated[float, Field(ge=0)] = 1.0
    dropout: Decay = 0.1
    batch: Annotated[int, Field(ge=2)] = 64
    lr: PositiveFloat = 5e-4
    betas: tuple[Decay, Decay] = (0.9, 0.99)

    @model_validator(mode="before")
    @classmethod
    def _quarter(cls, fields: dict[str, Any]) -> dict[str, Any]:
        steps = fields.get("steps")
        return {"autoencoder_steps": max(1, steps // 4)} | fields if isinstance(steps, int) else fields

    @model_validator(mode="after")
    def _time_for_the_prior(self) -> Settings:
        first, held = self.autoencoder_steps, self.held
        if first >= self.steps:
            raise ValueError(
                f"steps: the autoencoder learns in the first {first}, and of {self.steps} none is left for the prior, "
                f"without which samples are noise; take more than {first}, or state a smaller autoencoder_steps"
            )
        if held.patience is not None and held.patience * held.every <= first:
            raise ValueError(
                f"held.patience: could end the run in the {first} autoencoder_steps, in which distances mean nothing; "
                f"take {first // held.every + 1} or more, or null"
            )
        return self


class VQVAE(Direct[Settings]):
    """L1 with slopes, cross-entropy for masks, commitment; from ``autoencoder_steps`` on the prior's cross-entropy."""

    configuration = Settings
    title = "VQ-VAE"
    # Of the step between ``loss`` and ``after_update``: vectors [m, code_dim], their codes [m], a vector for each code.
    _batch: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def zoo_config(self) -> vqvae.Config:
        stated, size = self.settings.config.model_dump(), self.settings.size
        stated["downs"] = stated["downs"] or (2 if size <= 64 else 3)
        classes = len(self.facts.classes or ())
        return vqvae.Config(**stated, channels=self.facts.channels, image_size=size, classes=classes)

    def generator(self) -> nn.Module:
        network = vqvae.Network(self.zoo_config)
        network.prior.dropout = self.settings.dropout
        return network

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None, step: int, rng: torch.Generator) -> Loss:
        assert isinstance(network, vqvae.Network)
        nothing = images.new_zeros(())
        if step >= self.settings.autoencoder_steps:
            prior = self.prior_loss(network, images, labels, rng)
            return Loss(prior, {"reconstruction": nothing, "commitment": nothing, "prior": prior})
        free = step < FREE * self.settings.autoencoder_steps
        reconstruction, commitment = self.autoencoder_losses(network, images, rng, free)
        total = reconstruction + self.settings.commitment * commitment
        return Loss(total, {"reconstruction": reconstruction, "commitment": commitment, "prior": nothing})

    def autoencoder_losses(
        self, network: vqvae.Network, images: Tensor, rng: torch.Generator, free: bool
    ) -> tuple[Tensor, Tensor]:
        """How far images are from those of their codes, and vectors from those of the codebook (mean square).

        ``free`` leaves the codes out.
        """
        vectors = network.encode(images).float()
        known = vectors
        if not free:
            codes = network.codebook.nearest(vectors.detach())
            known = network.codebook(codes)
            flat = vectors.detach().permute(0, 2, 3, 1).flatten(0, 2)
            others = torch.randint(len(flat), (len(network.codebook.counts),), generator=rng).to(flat.device)
            self._batch = flat, codes.flatten(), flat[others]
        # Forward the code's vector, backward as if it were the encoder's (section 3.2 of the paper).
        made = network.decode(vectors + (known - vectors).detach()).float()
        colours = self.facts.colours
        picture = of_picture(made[:, :colours], images[:, :colours], self.settings.edges)
        return picture + of_masks(made[:, colours:], images[:, colours:]), F.mse_loss(vectors, known)

    def prior_loss(self, network: vqvae.Network, images: Tensor, labels: Tensor | None, rng: torch.Generator) -> Tensor:
        """Nats a code; the autoencoder gets no gradient."""
        with torch.no_grad():
            codes = network.codebook.nearest(network.encode(images)).flatten(1)
        seed = int(torch.randint(2**62, (), generator=rng))
        with torch.random.fork_rng([images.device] if images.device.type == "cuda" else []):
            torch.manual_seed(seed)  # of dropout
            logits = network.prior(codes, labels).float()
        return F.cross_entropy(logits.flatten(0, 1), codes.flatten())

    def after_update(self, network: nn.Module) -> None:
        """The codebook follows the vectors of every process: a mean of two codebooks would hold nobody's vectors."""
        assert isinstance(network, vqvae.Network)
        if self._batch is not None:
            vectors, codes, others = map(parallel.gather, self._batch)
            others = others[:: parallel.world()]  # as many as there are codes, from every process
            follow(network.codebook, vectors, codes, others, self.settings.codebook_decay)
            self._batch = None

    def zoo_inputs(self, noise: Noise) -> Inputs:
        return Inputs(noise.latent((self.zoo_config.side**2,), "uniform"), labels=self.classes(noise))

    def images(self, generator: nn.Module, inputs: Inputs) -> Copies:
        assert isinstance(generator, vqvae.Network)
        prior = vqvae.exact(generator.prior, inputs.latents.device)
        return (vqvae.draw(generator, prior, inputs.latents, inputs.labels, self.zoo_config),)

    def entry(self) -> dict[str, Any]:
        return {
            "config": self.zoo_config.model_dump(),
            "condition": class_condition(self.facts.classes),
            "sampling": {"latent": "uniform", "norm_stats": None, "truncation": None, "steps": None},
        }


@torch.no_grad()
def follow(book: vqvae.Codebook, vectors: Tensor, codes: Tensor, others: Tensor, decay: float) -> None:
    """Move each code's vector to the running mean of the vectors it is nearest to (appendix A.1 of the paper).

    A dead code begins anew as a vector of the batch (Dhariwal et al., "Jukebox", 2020, section 3.1), and so do all
    codes in the first step that has any, whose counts are 0.

    Args:
        vectors: float [m, code_dim] of a batch.
        codes: int64 [m], the nearest of each.
        others: float [codes, code_dim], vectors of the batch in place of dead codes.
        decay: of the averages.
    """
    counts = torch.zeros_like(book.counts).index_add_(0, codes, torch.ones_like(vectors[:, 0]))
    sums = torch.zeros_like(book.vectors).index_add_(0, codes, vectors)
    kept = decay * book.counts
    total = kept + (1 - decay) * counts
    moved = (kept[:, None] * book.vectors + (1 - decay) * sums) / total.clamp_min(1e-12)[:, None]
    mean = len(codes) / len(counts)
    dead = total < DEAD * mean
    book.vectors.copy_(torch.where(dead[:, None], others, moved))
    book.counts.copy_(torch.where(dead, mean, total))


RECIPE = VQVAE
