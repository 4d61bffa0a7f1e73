"""Latent diffusion of volumes (Pinaya et al., "Brain imaging generation with latent diffusion models", 2022).

First MONAI's ``AutoencoderKL`` learns to repeat volumes, then its ``DiffusionModelUNet`` learns v of their latents,
with the schedule of ``_velocity``. Between the two the latents are brought to mean 0 and standard deviation
1 by scaling the 1x1x1 convolutions around them, so that ``scale_factor`` of the entry is 1.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.entry import PositiveFloat, PositiveInt, Record
from medzoo.families import monai_ldm
from medzoo.families.monai_ldm.decoding import decode
from medzoo.families.monai_ldm.networks import Network
from medzoo.randomness import Noise
from medzoo.training import parallel
from medzoo.training.config import Decay, VolumeConfig
from medzoo.training.losses import Copies, Loss
from medzoo.training.recipes._base import Direct, Facts, Inputs
from medzoo.training.recipes._velocity import SCHEDULE as OF_PIXELS
from medzoo.training.recipes._velocity import denoised, noised

GROUPS = 8  # of group norm
SCHEDULE = OF_PIXELS.model_copy(update={"clip_sample": False})  # latents have no limits
Widths = Annotated[tuple[Annotated[int, Field(ge=8, multiple_of=8)], ...], Field(min_length=1)]


class Config(Record):
    """The networks.

    Attributes:
        autoencoder: channels of its levels, each half the size of the one before; one residual block a level.
        latent: channels of the latent.
        unet: channels of the levels of the U-Net, which begins at the size of the latent and has attention at the last.
        blocks: residual blocks of a level of the U-Net.
        head: channels of one head of attention.
    """

    autoencoder: Widths = (16, 32, 32)
    latent: PositiveInt = 4
    unet: Widths = (48, 96)
    blocks: PositiveInt = 1
    head: PositiveInt = 32


class Settings(VolumeConfig):
    """A configuration of this family.

    Attributes:
        autoencoder_steps: how many of ``steps`` the autoencoder learns, before the U-Net does in the rest of them.
            Distances to held-out volumes mean nothing until then.
        kl_weight: of the KL divergence of the latent, a mean over its values.
        sampling_steps: of DPM-Solver++, for measurements, and in the entry.
    """

    family: Literal["monai_ldm"]
    config: Config = Config()
    autoencoder_steps: PositiveInt = 1000
    kl_weight: Annotated[float, Field(ge=0)] = 1e-3
    sampling_steps: Annotated[int, Field(ge=1, le=999)] = 10
    batch: Annotated[int, Field(ge=2)] = 4
    lr: PositiveFloat = 5e-4
    betas: tuple[Decay, Decay] = (0.9, 0.999)

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        times = len(self.config.autoencoder) + len(self.config.unet) - 2
        if any(side % 2**times for side in self.size):
            raise ValueError(f"size must be of multiples of {2**times}: the levels of config halve it {times} times")
        if self.config.unet[-1] % self.config.head:
            raise ValueError(f"config.unet must end with a multiple of config.head, {self.config.head}")
        return self


class LatentDiffusion(Direct[Settings]):
    """Absolute differences with the KL divergence; from ``autoencoder_steps`` on the mean squared error of v."""

    configuration = Settings
    title = "Latent diffusion"

    def __init__(self, settings: Settings, facts: Facts) -> None:
        super().__init__(settings, facts)
        self._last: Tensor | None = None  # latents of the autoencoder's last step, until ``after_update``

    @property
    def zoo_config(self) -> monai_ldm.Config:
        config, size = self.settings.config, self.settings.size
        levels, latent = len(config.autoencoder), config.latent
        factor = 2 ** (levels - 1)
        return monai_ldm.Config.model_validate(
            {
                "dims": 3,
                "latent_size": tuple(side // factor for side in size),
                "orientation": "SPL",
                "schedule": SCHEDULE.model_dump(exclude_unset=True),
                "autoencoder": {
                    "channels": config.autoencoder,
                    "attention_levels": (False,) * levels,
                    "num_res_blocks": 1,
                    "norm_num_groups": GROUPS,
                    "latent_channels": latent,
                    "out_channels": self.facts.channels,
                    "with_decoder_nonlocal_attn": False,
                },
                "diffusion": {
                    "channels": config.unet,
                    "attention_levels": (False,) * (len(config.unet) - 1) + (True,),
                    "num_res_blocks": config.blocks,
                    "norm_num_groups": GROUPS,
                    "num_head_channels": config.head,
                    "in_channels": latent,
                    "out_channels": latent,
                },
            }
        )

    def generator(self) -> nn.Module:
        config = self.zoo_config
        return Network(3, config.autoencoder, config.diffusion, None, None, encoder=True)

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None, step: int, rng: torch.Generator) -> Loss:
        nothing = images.new_zeros(())
        if step >= self.settings.autoencoder_steps:
            error = self.diffusion_loss(network, images, rng)
            return Loss(error, {"reconstruction": nothing, "kl": nothing, "v_error": error})
        autoencoder: Any = network.autoencoder
        mean, sigma = (moment.float() for moment in autoencoder.encode(images))
        if step == self.settings.autoencoder_steps - 1:
            self._last = mean.detach()
        made = autoencoder.decode(mean + sigma * torch.randn(mean.shape, generator=rng).to(mean.device)).float()
        reconstruction = F.l1_loss(made, images)
        kl = 0.5 * (mean.square() + sigma.square() - 2 * sigma.log() - 1).mean()
        total = reconstruction + self.settings.kl_weight * kl
        return Loss(total, {"reconstruction": reconstruction, "kl": kl, "v_error": nothing})

    def diffusion_loss(self, network: nn.Module, images: Tensor, rng: torch.Generator) -> Tensor:
        """Mean squared error of v at random time steps; the autoencoder gets no gradient."""
        unet: Any = network.diffusion
        autoencoder: Any = network.autoencoder
        with torch.no_grad():
            latents = autoencoder.encode(images)[0].float()
        batch = noised(latents, rng)
        return F.mse_loss(unet(batch.x_t, timesteps=batch.timesteps).float(), batch.v)

    def after_update(self, network: nn.Module) -> None:
        if self._last is not None:
            standardise(network.autoencoder, self._last)
            self._last = None

    def zoo_inputs(self, noise: Noise) -> Inputs:
        return Inputs(noise.latent((self.settings.config.latent, *self.zoo_config.latent_size)))

    def images(self, generator: nn.Module, inputs: Inputs) -> Copies:
        unet: Any = generator.diffusion
        autoencoder: Any = generator.autoencoder

        def predict(x: Tensor, t: Tensor) -> Tensor:
            v: Tensor = unet(x, timesteps=t.reshape(1))
            return v

        return (decode(autoencoder, denoised(predict, inputs.latents, self.settings.sampling_steps, SCHEDULE)),)

    def entry(self) -> dict[str, Any]:
        return {
            "config": self.zoo_config.model_dump(mode="json", exclude_unset=True),
            "condition": None,
            "sampling": {
                **{"latent": "normal", "norm_stats": None, "truncation": None},
                **{"steps": self.settings.sampling_steps, "sampler": "dpm++"},
            },
        }


@torch.no_grad()
def standardise(autoencoder: Any, latents: Tensor) -> None:
    """Scale and shift what gives and what takes latents, so that each channel of these has mean 0 and deviation 1.

    What the autoencoder makes of a volume stays the same.

    Args:
        autoencoder: MONAI's ``AutoencoderKL``.
        latents: float [n, channels, d, h, w]; with several processes, each has its own.
    """
    mean, square = latents.mean((0, 2, 3, 4)), latents.square().mean((0, 2, 3, 4))
    parallel.average([mean, square])
    deviation = (square - mean.square()).clamp_min(1e-8).sqrt()
    into, log_variance = autoencoder.quant_conv_mu.conv, autoencoder.quant_conv_log_sigma.conv
    out = autoencoder.post_quant_conv.conv
    out.bias.add_(out.weight.flatten(1) @ mean)
    out.weight.mul_(deviation.view(1, -1, 1, 1, 1))
    into.weight.div_(deviation.view(-1, 1, 1, 1, 1))
    into.bias.sub_(mean).div_(deviation)
    log_variance.bias.sub_(2 * deviation.log())  # what MONAI calls log sigma is exponentiated after halving


RECIPE = LatentDiffusion
