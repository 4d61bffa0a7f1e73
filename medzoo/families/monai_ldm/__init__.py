"""MONAI's diffusion models for images and volumes: UNet, autoencoder, and a ControlNet where there is one.

Latent diffusion (Rombach et al., CVPR 2022; for brains Pinaya et al., "Brain imaging generation with latent diffusion
models", 2022) with the networks of MONAI 1.5 and later. Parts are the files of a bundle: ``diffusion``,
``autoencoder`` and ``controlnet``, each a state dict under the names of MONAI or of MONAI Generative Models before it;
``text_encoder`` and ``tokenizer`` for a text are those of transformers (CLIP).
The configuration of a bundle is a program; here its values are stated in the entry, and nothing of it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from medzoo.diffusion.guidance import Conditioning, guided, is_guided
from medzoo.diffusion.samplers import choose_sampler, sample
from medzoo.errors import ConditionError
from medzoo.families import _diffusers_config
from medzoo.families._base import Generator
from medzoo.families._clip_text import Prompts, pad_token, read_tokenizer
from medzoo.families._condition import Given, by
from medzoo.families.monai_ldm.config import Config as Config
from medzoo.families.monai_ldm.config import check_condition
from medzoo.families.monai_ldm.decoding import decode
from medzoo.families.monai_ldm.networks import Network, renamed, speed_up
from medzoo.randomness import Noise


class MonaiLdm(Generator):
    """Noise in the latent space -> denoised step by step -> decoded."""

    Config = Config
    options = ("steps", "sampler", "guidance")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.latent_channels, *self.config.latent_size)

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """The number of dimensions, and CLIP's fields; the rest (heads, groups) does not follow from shapes."""
        weight = state.get("diffusion.conv_in.conv.weight")
        config = {
            "dims": None if weight is None else weight.dim() - 2,
            "text_encoder": _diffusers_config.json_words(state, "text_encoder/config"),
            "pad_token": pad_token(state),
        }
        return {name: value for name, value in config.items() if value is not None}

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...]]:
        channels = config.diffusion.out_channels if config.autoencoder is None else config.autoencoder.out_channels
        return channels, config.size

    @classmethod
    def takes(cls, config: Any) -> dict[str, Any] | None:
        numbers = tuple({"name": f"number_{i}", "low": None, "high": None, "unit": None} for i in range(config.numbers))
        if config.text_encoder is not None:
            return {"kind": "text"}
        if config.image_channels:
            fields = {"kind": "mask", "inputs": ("mask",), "channels": config.image_channels, "range": (0.0, 1.0)}
            return fields | ({"attributes": numbers} if numbers else {})
        if numbers:
            return {"kind": "attributes", "attributes": numbers}
        classes = config.diffusion.num_class_embeds
        return classes and {"kind": "class", "classes": tuple(map(str, range(classes)))}

    def build(self) -> nn.Module:
        config = self.config
        return Network(config.dims, config.autoencoder, config.diffusion, config.controlnet, config.text_encoder)

    def begin(self, state: Mapping[str, Tensor]) -> None:
        config = self.config
        check_condition(self.entry, config)
        self.sampler, self.steps = choose_sampler(
            self.entry.model_id, self.entry.sampling, config.schedule, latents=True
        )
        self._tokenizer: Any = None
        if config.text_encoder is not None:
            vocab_size = int(config.text_encoder.get("vocab_size", 49408))
            self._tokenizer = read_tokenizer(state, config.pad_token, vocab_size)

    def adapt(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        config = self.config
        parts = {"autoencoder": config.autoencoder, "diffusion": config.diffusion, "controlnet": config.diffusion}
        return renamed(state, {part for part, fields in parts.items() if fields is not None and not fields.include_fc})

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        speed_up(network, self.dtype, fused=fused)
        self._prompts: Prompts | None = None
        if network.text_encoder is not None:
            self._prompts = Prompts(network.text_encoder, self._tokenizer)
        return network

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        config = self.config
        condition, without = self._conditionings(given, len(noise))
        exact = noise.on(self.device, torch.float32)  # only the networks run in half precision
        latents = sample(
            guided(self._predict, condition, without, self.entry.sampling.guidance),
            self.latent(exact),
            config.schedule,
            self.sampler,
            self.steps,
            lambda: exact.normal(self.latent_shape),
            tell=self.on_progress,
        )
        images = (latents / config.scale_factor).to(self.dtype)
        if config.autoencoder is not None:
            images = decode(self.network.autoencoder, images)
        shown: Tensor = config.turn.shown(images)
        return shown

    def _conditionings(self, given: Given, n: int) -> tuple[Conditioning, Conditioning]:
        """What n samples are conditioned on, and what guidance leads away from.

        That is the empty prompt, or ``config.unconditional`` in place of every number and pixel.
        """
        config = self.config
        numbers, image = self._numbers(given), self._image(given)
        context = None if numbers is None else numbers[:, None]
        null: float | Tensor | None = config.unconditional
        if self._prompts is not None:
            context = self._prompts.encode(given.texts or ("",) * n, self.device)
            null = self._prompts.encode(("",) * n, self.device) if is_guided(self.entry.sampling.guidance) else None
        joined = [] if numbers is None or not config.join_attributes else [_spread(numbers, config.latent_size)]
        if image is not None and config.controlnet is None:
            joined.append(nn.functional.interpolate(image, size=config.latent_size, mode="nearest"))
        condition = Conditioning(
            labels=given.labels,
            context=context,
            joined=torch.cat(joined, 1) if joined else None,
            control=None if config.controlnet is None else image,
        )
        return condition, condition.without(context=null, joined=config.unconditional)

    def _predict(self, x: Tensor, t: Tensor, condition: Conditioning) -> Tensor:
        """What the UNet makes of latents [B, C, ...] at a time step: [B, C or 2 C, ...]."""
        x = x.to(self.dtype)
        if condition.joined is not None:
            x = torch.cat([x, condition.joined], 1)
        inputs: dict[str, Any] = {"timesteps": t.reshape(1)}
        if condition.context is not None:
            inputs["context"] = condition.context
        if condition.labels is not None:
            inputs["class_labels"] = condition.labels
        if condition.control is not None:
            down, middle = self.network.controlnet(
                x, controlnet_cond=condition.control, conditioning_scale=self.config.controlnet.scale, **inputs
            )
            inputs |= {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        out: Tensor = self.network.diffusion(x, **inputs)
        return out

    def _numbers(self, given: Given) -> Tensor | None:
        """The numbers of a condition [B, A], those with both limits as 0 to 1."""
        if given.attributes is None or self.declared is None:
            return None
        columns = []
        for attribute, column in zip(self.declared.attributes or (), given.attributes.unbind(1), strict=True):
            low, high = attribute.low, attribute.high
            limited = low is not None and high is not None and high > low
            columns.append((column - low) / (high - low) if limited else column)
        return torch.stack(columns, 1).to(self.dtype)

    def _image(self, given: Given) -> Tensor | None:
        """The image of a condition [B, C, ...], axes as the network has them. Raises ConditionError (another size)."""
        if given.images is None:
            return None
        config, size = self.config, tuple(given.images.shape[2:])
        latent, control = config.turn.size(config.latent_size), config.controlnet
        if control is None:
            sizes = [config.size, latent]
        else:  # which halves it between its levels
            sizes = [tuple(side * 2 ** (len(control.conditioning_embedding_num_channels) - 1) for side in latent)]
        if size not in sizes:
            raise ConditionError(
                f"{self.entry.model_id} takes images of {' or '.join(map(by, sizes))} (height x width), found "
                f"{by(size)}; bring them to that size, or state condition.size in the entry"
            )
        return config.turn.stored(given.images)


def _spread(numbers: Tensor, size: tuple[int, ...]) -> Tensor:
    """[B, A] -> [B, A, *size], the same everywhere."""
    return numbers.view(*numbers.shape, *[1] * len(size)).expand(*numbers.shape, *size)
