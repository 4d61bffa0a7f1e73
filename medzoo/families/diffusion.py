"""Diffusion in pixels (Ho et al., "Denoising diffusion probabilistic models", NeurIPS 2020).

Two networks: diffusers' ``UNet2DModel`` (parts ``unet`` and ``unet/config``, or the entry's ``config.unet``), and the
U-Net of improved-diffusion. The schedule is that of the part ``scheduler/scheduler_config`` or of the entry's
``config.schedule``. Classes add to the time step; masks or images that a model is conditioned on are further channels
of its input; any other may begin with an image instead of noise (``sampling.strength``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from medzoo.diffusion import unet
from medzoo.diffusion.guidance import Conditioning, guided
from medzoo.diffusion.samplers import choose_sampler, sample
from medzoo.diffusion.schedule import Schedule, parse_scheduler_config
from medzoo.diffusion.unet import Shape, UNet
from medzoo.diffusion.unet_fused import fuse
from medzoo.entry import Condition, Entry, PositiveInt
from medzoo.errors import ConditionError, EntryError, GenerationError
from medzoo.families import _diffusers_config
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._condition import Given, by
from medzoo.randomness import Noise

# Names of attention layers in diffusers before 2023.
OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
CLASS = "UNet2DModel"
UNET, SCHEDULER = "unet/config", "scheduler/scheduler_config"


class Config(FamilyConfig):
    """What the network is, and how it was trained. Fields of the files of a repository may be left out.

    Attributes:
        unet: fields of diffusers' ``UNet2DModel``.
        improved: the U-Net of improved-diffusion, instead.
        schedule: see ``Schedule``; diffusers' names.
        size: (height, width) of the images, where ``unet.sample_size`` does not say.
        channels: of the image that is made, where it does not follow from those of input and output: with a learned
            variance the network gives twice as many.
        null_class: class that means none, for guidance; null for the last one if the entry names one class less than
            the network has.
    """

    unet: dict[str, Any] | None = None
    improved: Shape | None = None
    schedule: Schedule = Schedule()
    size: tuple[PositiveInt, PositiveInt] | None = None
    channels: PositiveInt | None = None
    null_class: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _size_of_the_unet(cls, data: Any) -> Any:
        unet = data.get("unet") if isinstance(data, dict) else None
        side = unet.get("sample_size") if isinstance(unet, dict) else None
        if side is None or data.get("size") is not None:
            return data
        return data | {"size": tuple(side) if isinstance(side, list | tuple) else (side, side)}

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if (self.unet is None) == (self.improved is None):
            raise ValueError(
                "states no network: 'improved', or 'unet' (fields of diffusers' UNet2DModel; the part unet/config, a "
                "config.json, states them)"
                if self.unet is None
                else "states two networks, 'unet' and 'improved'"
            )
        if self.unet is not None and self.unet.get("_class_name", CLASS) != CLASS:
            raise ValueError(f"unet: must be a {CLASS}, found {_diffusers_config.short(self.unet['_class_name'])}")
        if self.unet is not None:
            _diffusers_config.plausible("unet", self.unet)
        if self.size is None:
            raise ValueError("size: state (height, width) of the images, which does not follow from the weights")
        multiple = 2 ** (self.levels - 1)
        if self.size[0] % multiple or self.size[1] % multiple:
            raise ValueError(f"size: must be multiples of {multiple}, found {list(self.size)}")
        if self.made > self.inputs or self.outputs not in (self.made, 2 * self.made):
            raise ValueError(
                f"channels: a network from {self.inputs} to {self.outputs} channels cannot make images of {self.made}"
            )
        if self.null_class is not None and self.null_class >= (self.classes or 0):
            raise ValueError(f"null_class: the network has {self.classes or 'no'} classes, found {self.null_class}")
        return self

    def _number(self, name: str, default: int | None) -> Any:
        """A field that both networks have."""
        if self.improved is not None:
            return getattr(self.improved, name)
        assert self.unet is not None
        value = self.unet.get("num_class_embeds" if name == "num_classes" else name)
        return default if value is None else value

    @property
    def inputs(self) -> int:
        return int(self._number("in_channels", 3))

    @property
    def outputs(self) -> int:
        return int(self._number("out_channels", 3))

    @property
    def classes(self) -> int | None:
        classes: int | None = self._number("num_classes", None)
        return classes

    @property
    def levels(self) -> int:
        if self.improved is not None:
            return len(self.improved.channel_mult)
        assert self.unet is not None
        return len(self.unet.get("block_out_channels", range(4)))

    @property
    def made(self) -> int:
        """Channels of the image that is made."""
        if self.channels is not None:
            return self.channels
        learned = self.outputs > self.inputs or self.schedule.variance_type == "learned_range"
        return self.outputs // 2 if learned and self.outputs % 2 == 0 else self.outputs

    @property
    def joined(self) -> int:
        """Channels that the condition adds to the input."""
        return self.inputs - self.made


class FromDiffusers(nn.Module):
    """diffusers' network, called as ``UNet`` is."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor, numbers: Tensor, labels: Tensor | None = None) -> Tensor:
        out: Tensor = self.unet(x, numbers, class_labels=labels, return_dict=False)[0]
        return out


class Diffusion(Generator):
    """Noise [B, channels, h, w], and classes or images -> images, about [-1, 1]."""

    Config = Config
    options = ("steps", "sampler", "guidance", "strength")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.made, *self.config.size)

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        config = _infer_config(state)
        return config | ({"improved": Shape(**config["improved"])} if "improved" in config else {})

    @classmethod
    def configure(cls, entry: Entry, state: Mapping[str, Tensor]) -> Any:
        """As every family, and single fields inside of ``unet``, ``improved`` and ``schedule`` can be stated, too."""
        config = dict(entry.config)
        for name, inferred in _infer_config(state).items():
            stated = config.get(name)
            config[name] = inferred | stated if isinstance(stated, dict) else inferred if stated is None else stated
        return super().configure(entry.model_copy(update={"config": config}), state)

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...] | None]:
        return config.made, config.size

    @classmethod
    def takes(cls, config: Any) -> dict[str, Any] | None:
        if config.joined:
            kind = "mask" if config.joined == 1 else "image"
            return {"kind": kind, "inputs": (kind,), "channels": config.joined, "size": config.size}
        if config.classes:
            last = config.classes - 1
            names = tuple(str(i) for i in range(config.classes) if not i == last == config.null_class)
            return {"kind": "class", "classes": names}
        return None

    def begin(self, state: Mapping[str, Tensor]) -> None:
        entry, sampling, declared = self.entry, self.entry.sampling, self.entry.condition
        self.sampler, self.steps = choose_sampler(entry.model_id, sampling, self.config.schedule, latents=False)
        self.null = self.config.null_class
        if self.null is None and declared is not None and len(declared.classes or ()) + 1 == self.config.classes:
            self.null = len(declared.classes or ())
        self.guidance = 1.0 if sampling.guidance is None else sampling.guidance
        if self.guidance != 1 and self.null is None:
            raise GenerationError(
                f"{entry.model_id}: no class means none ('null_class'), so that guidance has nothing to compare with; "
                "leave guidance out"
            )
        self._check_declared(declared)
        takes_image = declared is not None and declared.inputs and not self.config.joined
        if sampling.strength is not None and not takes_image:
            raise GenerationError(f"{entry.model_id} begins with noise, not with an image; leave strength out")
        if takes_image and sampling.strength is None:
            raise GenerationError(
                f"{entry.model_id} begins with an image: state how much noise it gets, sampling.strength in (0, 1]"
            )

    def build(self) -> nn.Module:
        if self.config.improved is not None:
            return UNet(self.config.improved)
        return _diffusers_config.network("unet", {"_class_name": CLASS} | self.config.unet)

    def adapt(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        def name(key: str) -> str:
            key = key.removeprefix("unet.")
            old = re.search(r"attentions\.\d+\.(query|key|value|proj_attn)\.", key)
            return key if old is None else key[: old.start(1)] + OLD_NAMES[old[1]] + key[old.end(1) :]

        return {name(key): tensor for key, tensor in state.items() if not key.endswith(".text")}

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        network = fuse(network) if fused else network
        return network if isinstance(network, UNet) else FromDiffusers(network)

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        exact = noise.on(self.device, torch.float32)  # images in the making are float32 in any precision
        condition = Conditioning(labels=self._labels(given, len(noise)), joined=self._joined(given))
        predict = guided(self._predict, condition, condition.without(labels=self.null), self.guidance)
        image = None if self.config.joined else given.images
        return sample(
            predict, self.latent(exact), self.config.schedule, self.sampler, self.steps,
            lambda: exact.normal(self.latent_shape), image=image, strength=self.entry.sampling.strength,
            tell=self.on_progress,
        )  # fmt: skip

    def _predict(self, x: Tensor, t: Tensor, condition: Conditioning) -> Tensor:
        """What the network makes of images [B, C, h, w] at a time step: [B, C or 2 C, h, w]."""
        x = x.to(self.dtype)
        if condition.joined is not None:
            x = torch.cat([x, condition.joined], 1)
        out: Tensor = self.network(x, t.expand(len(x)), condition.labels)
        return out

    def _labels(self, given: Given, count: int) -> Tensor | None:
        """Classes, int64 [count]; None for a network without. Raises ConditionError."""
        name, classes, labels = self.entry.model_id, self.config.classes, given.labels
        if labels is None:  # the base has asked for what the network needs
            return None
        if classes is None:
            raise ConditionError(f"{name}: the network knows no classes; correct 'condition' in its entry")
        if len(labels) not in (1, count):
            raise ConditionError(f"{name}: {count} samples need as many classes, found {len(labels)}")
        return labels.expand(count)

    def _check_declared(self, declared: Condition | None) -> None:
        """Whether the network takes what the entry declares. Raises EntryError."""
        name, classes = self.entry.model_id, self.config.classes
        if declared is not None and declared.kind in ("text", "attributes"):
            raise EntryError(
                f"{name}: condition: such networks take no {declared.kind}; correct 'condition' in its entry"
            )
        if declared is not None and declared.kind == "class" and len(declared.classes or ()) > (classes or 0):
            raise EntryError(
                f"{name}: condition.classes: the network knows {classes or 'no'} classes, "
                f"the entry names {len(declared.classes or ())}"
            )

    def _joined(self, given: Given) -> Tensor | None:
        """The images [B, joined, h, w] that are joined to the input; also checks one to begin with."""
        name, config = self.entry.model_id, self.config
        wanted = (config.joined or config.made, *config.size)
        if given.images is not None and tuple(given.images.shape[1:]) != wanted:
            raise ConditionError(
                f"{name}: the input must be {by(wanted)} (channels, height, width), "
                f"found {by(given.images.shape[1:])}; 'condition.size' in the entry scales it"
            )
        return given.images.to(self.dtype) if config.joined and given.images is not None else None


def _infer_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fields of network and schedule, from the files of a repository or the shapes of improved-diffusion."""
    config: dict[str, Any] = {}
    fields, scheduler = (_diffusers_config.json_words(state, part) for part in (UNET, SCHEDULER))
    if fields is not None:
        config["unet"] = fields
    elif shape := unet.infer_config({name.removeprefix("unet."): value for name, value in state.items()}):
        config["improved"] = shape
    if scheduler is not None:
        config["schedule"] = parse_scheduler_config(scheduler, f"{SCHEDULER}.json")
    return config
