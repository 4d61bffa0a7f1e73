"""What a MONAI bundle's configuration states of its networks, and whether an entry goes with it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from medzoo.diffusion.schedule import Schedule
from medzoo.entry import Entry, PositiveFloat
from medzoo.errors import EntryError
from medzoo.families._base import FamilyConfig
from medzoo.families._clip_text import END
from medzoo.families.monai_ldm.networks import Autoencoder, Control, Diffusion, Width
from medzoo.families.monai_ldm.orientation import Turn, turn


class Config(FamilyConfig):
    """What a bundle's configuration states.

    Attributes:
        dims: 2 for images, 3 for volumes.
        latent_size: height and width, or the three sides, of the latent; the network's own order of axes.
        scale_factor: what latents were multiplied by in training.
        orientation: where each axis of the network's output leads (``RAS``, ``LA``; see ``orientation.py``), so that it
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
    latent_size: tuple[Width, ...]
    diffusion: Diffusion
    schedule: Schedule
    autoencoder: Autoencoder | None = None
    controlnet: Control | None = None
    text_encoder: dict[str, Any] | None = None
    pad_token: str = END
    scale_factor: PositiveFloat = 1.0
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


def check_condition(entry: Entry, config: Config) -> None:
    """Raise EntryError where 'condition' or 'sampling' ask for what the networks do not take, or leave it out."""
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
