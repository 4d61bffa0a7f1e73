"""What the networks of a latent diffusion model take, from their configuration; and whether an entry agrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from medzoo.entry import Entry
from medzoo.errors import EntryError
from medzoo.families._diffusers_config import plausible, settings, short

Role = Literal["control", "join", "start"]


@dataclass(frozen=True)
class Facts:
    """What goes in and what comes out.

    Attributes:
        latent: channels, height and width of a latent.
        channels, size: of the images.
        role: what an input image is for: a ControlNet, further channels of the latents, or where sampling begins.
        image_channels: of an input image.
        classes: embeddings of classes; 0 for none.
        null_class: number of the one that stands for none.
        text: whether prompts go in.
    """

    latent: tuple[int, int, int]
    channels: int
    size: tuple[int, int]
    role: Role
    image_channels: int
    classes: int
    null_class: int | None
    text: bool

    @property
    def needs_image(self) -> bool:
        return self.role != "start"

    def condition(self) -> dict[str, Any] | None:
        """Fields of a condition that fits."""
        image = {
            "inputs": ("mask",), "channels": self.image_channels, "size": self.size,
            "range": (0.0, 1.0) if self.role == "control" else (-1.0, 1.0),
        }  # fmt: skip
        if self.text:
            return {"kind": "text", "required": False} | (image if self.needs_image else {})
        if self.classes:
            names = tuple(str(i) for i in range(self.classes) if i != self.null_class)
            return {"kind": "class", "classes": names}
        return {"kind": "image"} | image if self.needs_image else None


def facts(config: Any) -> Facts:
    """The facts of a config. Raises ValueError, which names the field, or MedzooError (library not installed)."""
    unet, vae = settings("unet", config.unet), settings("vae", config.vae)
    if config.text_encoder is not None:
        plausible("text_encoder", config.text_encoder)
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    latent = int(vae.get("vq_embed_dim") or vae["latent_channels"])
    if unet["out_channels"] not in (latent, 2 * latent):
        raise ValueError(
            f"unet.out_channels must be the {latent} channels of the latents, or twice as many, "
            f"found {unet['out_channels']}"
        )
    height, width = _latent_size(config, unet["sample_size"], factor)
    more = unet["in_channels"] - latent
    if more < 0:
        raise ValueError(f"unet.in_channels must be at least {latent}, as the latents have, found {latent + more}")
    role: Role = "control" if config.controlnet is not None else "join" if more else "start"
    channels = int(vae["in_channels"])
    if role == "control":
        channels = int(settings("controlnet", config.controlnet)["conditioning_channels"])
    elif role == "join" and config.images == "resize":
        channels = more
    attends = "encoder_hid_dim" in unet and any("CrossAttn" in str(name) for name in unet["down_block_types"])
    if attends and config.text_encoder is None:
        raise ValueError("unet attends to a text: add the parts text_encoder/config, text_encoder and tokenizer/vocab")
    if config.text_encoder is not None and not attends:
        raise ValueError("text_encoder: this unet does not attend to a text; leave the text encoder out")
    classes = int(unet["num_class_embeds"] or 0)
    if config.null_class is not None and not 0 <= config.null_class < classes:
        raise ValueError(f"null_class must be one of the {classes} classes of the unet, found {config.null_class}")
    if config.tiled and config.vae["_class_name"] != "AutoencoderKL":
        raise ValueError("tiled: only AutoencoderKL decodes in tiles")
    return Facts(
        (latent, height, width),
        int(vae["out_channels"]),
        (height * factor, width * factor),
        role,
        channels,
        classes,
        config.null_class,
        config.text_encoder is not None,
    )


def check(entry: Entry, known: Facts) -> None:
    """Whether condition and sampling of an entry go with the networks. Raises EntryError."""
    problems = [*_of_condition(entry, known), *_of_sampling(entry, known)]
    if problems:
        raise EntryError(f"{entry.model_id}: " + "; ".join(problems))


def _of_condition(entry: Entry, known: Facts) -> list[str]:
    declared, found = entry.condition, []
    kind = "none" if declared is None else f"kind '{declared.kind}'"
    if declared is not None and declared.kind == "text" and not known.text:
        found.append("condition: a text needs the parts text_encoder and tokenizer")
    if known.classes and (declared is None or declared.kind != "class"):
        found.append(f"condition: the unet takes one of {known.classes} classes, kind 'class'; the entry states {kind}")
    if declared is not None and declared.kind == "class":
        count = len(declared.classes or ())
        if count not in {known.classes, known.classes - (known.null_class is not None)}:
            found.append(f"condition.classes: the unet has {known.classes} of them, the entry names {count}")
        elif count < known.classes and known.null_class != count:
            found.append(f"config.null_class must be the last class, {count}, where the entry leaves it out")
    inputs = () if declared is None else declared.inputs or ()
    if known.needs_image and not inputs:
        whose = "the ControlNet" if known.role == "control" else "the unet"
        found.append(f"condition: {whose} takes an image of {known.image_channels} channels, the entry states {kind}")
    if declared is not None and declared.kind == "attributes":
        found.append("condition: these networks take no numbers")
    return found


def _of_sampling(entry: Entry, known: Facts) -> list[str]:
    sampling, found = entry.sampling, []
    takes_start = entry.condition is not None and bool(entry.condition.inputs) and not known.needs_image
    if sampling.guidance not in (None, 1.0) and not known.text and known.null_class is None:
        found.append(
            "sampling.guidance weighs a condition against none, but the model takes no text, and config.null_class "
            "names no class for none; leave guidance out"
        )
    if sampling.strength is not None and not takes_start:
        found.append("sampling.strength goes with an image to begin with, but the model takes none; leave it out")
    if takes_start and sampling.strength is None:
        found.append("sampling.strength: say how much noise the input image gets, above 0 and not above 1")
    return found


def _latent_size(config: Any, sample_size: Any, factor: int) -> tuple[int, int]:
    if config.size is not None:
        if any(length < factor or length % factor for length in config.size):
            raise ValueError(f"size must be multiples of {factor} pixels, found {list(config.size)}")
        return config.size[0] // factor, config.size[1] // factor
    if sample_size is None:
        raise ValueError("unet.sample_size is null: state size, (height, width) of the images in pixels")
    sides = sample_size if isinstance(sample_size, list | tuple) else (sample_size, sample_size)
    if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
        raise ValueError(f"unet.sample_size must be a whole number of at least 1, or two, found {short(sample_size)}")
    return sides[0], sides[1]
