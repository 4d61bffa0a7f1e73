"""MONAI's diffusion models for images and volumes: UNet, autoencoder, and a ControlNet where there is one.

Latent diffusion (Rombach et al., CVPR 2022; for brains Pinaya et al., "Brain imaging generation with latent diffusion
models", 2022) with the networks of MONAI 1.5 and later. Parts are the files of a bundle: ``diffusion``,
``autoencoder`` and ``controlnet``, each a state dict under the names of MONAI or of MONAI Generative Models before it;
``text_encoder`` and ``tokenizer`` for a text are those of transformers (CLIP).
The configuration of a bundle is a program; here its values are stated in the entry, and nothing of it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medzoo.diffusion import samplers
from medzoo.diffusion.schedule import Schedule
from medzoo.entry import Entry
from medzoo.errors import ConditionError, EntryError
from medzoo.families import _diffusers_config
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._clip_text import END, Prompts, pad_token, read_tokenizer
from medzoo.families._condition import Given, by
from medzoo.families.monai_ldm.decoding import decode
from medzoo.families.monai_ldm.networks import Autoencoder, Control, Diffusion, Network, Positive, renamed, speed_up
from medzoo.families.monai_ldm.orientation import Turn, turn
from medzoo.randomness import Noise


class Config(FamilyConfig):
    """What a bundle's configuration states.

    Attributes:
        dims: 2 for images, 3 for volumes.
        latent_size: height and width, or the three sides, of the latent; the network's own order of axes.
        scale_factor: what latents were multiplied by in training.
        orientation: where each axis of the network's output leads (``RAS``, ``LA``; see ``_orientation``), so that it
            can be turned upright; null for as it is.
        join_attributes: whether the numbers of a sample are also joined to the latent, as channels of one value.
        unconditional: what takes the place of the condition in classifier-free guidance; null for a model without.
        autoencoder: null for diffusion of the pixels themselves.
        controlnet: null where an image that conditions the model is joined to the latent instead.
        text_encoder: ``config.json`` of CLIP's text encoder, for a UNet that attends to a text; parts as in
            ``latent_diffusion``.
        pad_token: what prompts are filled up with.
        schedule: fields of ``Schedule``.
    """

    dims: Literal[2, 3]
    latent_size: tuple[Positive, ...]
    diffusion: Diffusion
    schedule: Schedule
    autoencoder: Autoencoder | None = None
    controlnet: Control | None = None
    text_encoder: dict[str, Any] | None = None
    pad_token: str = END
    scale_factor: Annotated[float, Field(gt=0)] = 1.0
    orientation: str | None = None
    join_attributes: bool = False
    unconditional: float | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if len(self.latent_size) != self.dims:
            raise ValueError(f"latent_size needs {self.dims} numbers (dims), found {list(self.latent_size)}")
        times = len(self.diffusion.channels) - 1
        if any(side % 2**times for side in self.latent_size):
            raise ValueError(
                f"latent_size: the UNet halves each side {times} times, so it must be a multiple of {2**times}"
            )
        try:
            turn(self.orientation, self.dims)
        except ValueError as error:
            raise ValueError(f"orientation {error}") from None
        latent = self.latent_channels
        if self.autoencoder is not None and self.diffusion.out_channels != latent:
            raise ValueError(f"diffusion.out_channels must be autoencoder.latent_channels, {latent}")
        hidden = (self.text_encoder or {}).get("hidden_size", 0)
        if self.text_encoder is not None and hidden != self.diffusion.cross_attention_dim:
            raise ValueError(f"diffusion.cross_attention_dim must be text_encoder.hidden_size, {hidden}")
        if self.join_attributes and not self.numbers:
            raise ValueError("join_attributes needs diffusion.cross_attention_dim")
        if self.image_channels < 0:
            raise ValueError(f"diffusion.in_channels must be at least {latent + self.joined_numbers}")
        if self.controlnet is not None and self.diffusion.in_channels != latent + self.joined_numbers:
            raise ValueError(f"diffusion.in_channels must be {latent + self.joined_numbers} with a controlnet")
        return self

    @property
    def latent_channels(self) -> int:
        return self.diffusion.out_channels if self.autoencoder is None else self.autoencoder.latent_channels

    @property
    def numbers(self) -> int:
        """How many numbers condition a sample."""
        return 0 if self.text_encoder is not None else self.diffusion.cross_attention_dim or 0

    @property
    def joined_numbers(self) -> int:
        return self.numbers if self.join_attributes else 0

    @property
    def image_channels(self) -> int:
        """Channels of the image that conditions a sample."""
        if self.controlnet is not None:
            return self.controlnet.conditioning_embedding_in_channels
        return self.diffusion.in_channels - self.latent_channels - self.joined_numbers

    @property
    def turn(self) -> Turn:
        """How the output is turned."""
        return turn(self.orientation, self.dims)

    @property
    def size(self) -> tuple[int, ...]:
        """Of the output, turned."""
        factor = 1 if self.autoencoder is None else 2 ** (len(self.autoencoder.channels) - 1)
        return self.turn.size([factor * side for side in self.latent_size])


class MonaiLdm(Generator):
    """Noise in the latent space -> denoised step by step -> decoded."""

    Config = Config
    options = ("steps", "sampler", "guidance")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.latent_channels, *self.config.latent_size)

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """The number of dimensions, and CLIP's fields; what else networks need no shape tells (heads, groups)."""
        weight = state.get("diffusion.conv_in.conv.weight")
        told = {
            "dims": None if weight is None else weight.dim() - 2,
            "text_encoder": _diffusers_config.json_words(state, "text_encoder/config"),
            "pad_token": pad_token(state),
        }
        return {name: value for name, value in told.items() if value is not None}

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

    def adapt(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        config = self.config
        self._tokenizer: Any = None
        if config.text_encoder is not None:
            vocab_size = int(config.text_encoder.get("vocab_size", 49408))
            self._tokenizer = read_tokenizer(state, config.pad_token, vocab_size)
        parts = {"autoencoder": config.autoencoder, "diffusion": config.diffusion, "controlnet": config.diffusion}
        return renamed(state, {part for part, fields in parts.items() if fields is not None and not fields.include_fc})

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        _check_condition(self.entry, self.config)
        self.sampler, self.steps = samplers.chosen(
            self.entry.model_id, self.entry.sampling, self.config.schedule, samplers.OF_LATENTS
        )
        speed_up(network, self.dtype, fused=fused)
        self._prompts: Prompts | None = None
        if network.text_encoder is not None:
            self._prompts = Prompts(network.text_encoder, self._tokenizer)
        return network

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        config, sampling = self.config, self.entry.sampling
        predict, guidance = self._predictor(given, len(noise)), sampling.guidance
        exact = noise.on(self.device, torch.float32)  # only the networks run in half precision
        latents = samplers.sample(
            samplers.guided(predict, guidance),
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

    def _predictor(self, given: Given, n: int) -> samplers.Predict:
        """The UNet with its condition for n images; of twice as many the first half has none."""
        texts = without = None
        if self._prompts is not None:
            texts, without = (self._prompts.encode(one or ("",) * n, self.device) for one in (given.texts, None))
        numbers, image = self._numbers(given), self._image(given)
        joined = (
            [] if numbers is None or not self.config.join_attributes else [_spread(numbers, self.config.latent_size)]
        )
        if image is not None and self.config.controlnet is None:
            joined.append(nn.functional.interpolate(image, size=self.config.latent_size, mode="nearest"))

        def predict(x: Tensor, t: Tensor) -> Tensor:
            guided = len(x) > n

            def both(value: Tensor) -> Tensor:
                return torch.cat([torch.full_like(value, self.config.unconditional), value]) if guided else value

            x = torch.cat([x.to(self.dtype), *map(both, joined)], 1)
            told: dict[str, Any] = {"timesteps": t.reshape(1)}
            if numbers is not None:
                told["context"] = both(numbers)[:, None]
            if texts is not None and without is not None:
                told["context"] = torch.cat([without, texts]) if guided else texts
            if given.labels is not None:
                told["class_labels"] = torch.cat([given.labels, given.labels]) if guided else given.labels
            if self.config.controlnet is not None and image is not None:
                shown = torch.cat([image, image]) if guided else image
                down, middle = self.network.controlnet(
                    x, controlnet_cond=shown, conditioning_scale=self.config.controlnet.scale, **told
                )
                told |= {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
            return self.network.diffusion(x, **told)

        return predict

    def _numbers(self, given: Given) -> Tensor | None:
        """The numbers of a condition [B, A], those with both limits as 0 to 1."""
        if given.attributes is None or self.declared is None:
            return None
        columns = []
        for one, column in zip(self.declared.attributes or (), given.attributes.unbind(1), strict=True):
            limited = one.low is not None and one.high is not None and one.high > one.low
            columns.append((column - one.low) / (one.high - one.low) if limited else column)
        return torch.stack(columns, 1).to(self.dtype)

    def _image(self, given: Given) -> Tensor | None:
        """The image of a condition as the network's axes run. Raises ConditionError for one of another size."""
        if given.images is None:
            return None
        config, found = self.config, tuple(given.images.shape[2:])
        latent, control = config.turn.size(config.latent_size), config.controlnet
        if control is None:
            sizes = [config.size, latent]
        else:  # which halves it between its levels
            sizes = [tuple(side * 2 ** (len(control.conditioning_embedding_num_channels) - 1) for side in latent)]
        if found not in sizes:
            raise ConditionError(
                f"{self.entry.model_id} takes images of {' or '.join(map(by, sizes))} (height x width), found "
                f"{by(found)}; bring them to that size, or state condition.size in the entry"
            )
        return config.turn.stored(given.images)


def _spread(numbers: Tensor, size: tuple[int, ...]) -> Tensor:
    """[B, A] -> [B, A, *size], the same everywhere."""
    return numbers.view(*numbers.shape, *[1] * len(size)).expand(*numbers.shape, *size)


def _check_condition(entry: Entry, config: Config) -> None:
    """Raises EntryError where 'condition' or 'sampling' ask for what the networks do not take, or leave it out."""
    declared = entry.condition
    kind = None if declared is None else declared.kind
    images = numbers = classes = 0
    if declared is not None:
        numbers, classes = len(declared.attributes or ()), len(declared.classes or ())
        if kind in ("mask", "image", "images"):
            known = declared.channels and declared.channels * len(declared.inputs or ())
            images = known or config.image_channels or 1
    needed = (
        (numbers, "attributes", config.numbers, "diffusion.cross_attention_dim"),
        (classes, "classes", config.diffusion.num_class_embeds or 0, "diffusion.num_class_embeds"),
        (images, "image channels", config.image_channels, "diffusion.in_channels, controlnet"),
    )
    wrong = [
        f"'condition' has {has} {what}, the networks take {takes} ({where})"
        for has, what, takes, where in needed
        if has != takes
    ]
    if images and declared is not None and not declared.required:
        wrong.append("'condition.required' must be true: the networks always see an image")
    if (kind == "text") != (config.text_encoder is not None):
        wrong.append("a condition of kind 'text' goes with the part text_encoder, and neither is without the other")
    replaced = config.unconditional is not None and (
        config.numbers or (config.image_channels and not config.controlnet)
    )
    if entry.sampling.guidance not in (None, 1) and not (replaced or config.text_encoder):
        wrong.append(
            "'sampling.guidance' is for models trained without their condition, too: state config.unconditional"
        )
    if wrong:
        raise EntryError(f"{entry.model_id}: {'; '.join(wrong)}")
