"""A network without code: its layers are a list in the entry, its numbers a file (see ``docs/layers.md``).

For generators that no other family spells: a latent, a class or numbers, images or a mask go in, and layers follow one
another, with residuals, named skips and branches. The list is checked, and its memory and operations are bounded,
before a tensor is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, Field, field_validator, model_validator
from torch import Tensor, nn

from medzoo.entry import PositiveInt
from medzoo.errors import EntryError
from medzoo.families._base import FamilyConfig, Generator
from medzoo.families._condition import Given
from medzoo.families._loading import check_state
from medzoo.nets.layers import Described, Misfit, Placed, Values, parse
from medzoo.nets.layers.fold import fold
from medzoo.randomness import Noise


def _pattern(text: str) -> str:
    """A regular expression that is fast on any name, for an entry and the names in a file are a stranger's."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"'{text}' is no regular expression: {error}") from None
    bare = re.sub(r"\\.|\[\^?\]?[^\]]*\]", "x", text)  # escaped characters and classes are one character each
    if len(re.findall(r"[*+?{]", bare)) > 1 or re.search(r"\)[*+?{]", bare):
        raise ValueError(f"'{text}': expected one repetition (* + ? {{}}) at most, and none of a group")
    return text


Pattern = Annotated[str, Field(max_length=200), AfterValidator(_pattern)]


class Config(FamilyConfig):
    """The network.

    Attributes:
        layers: in order; a layer is a mapping with its ``op`` and fields, or the name of one without fields.
        latent: shape of the latent, for example [100] or [100, 1, 1]; null where none is drawn.
        image: (channels, height, width) of the image or mask that goes in; null for none.
        attributes: names of the numbers that go in.
        classes: how many the network knows: the value ``label``, a whole number; 0 where it takes none.
        ignore: regular expressions of tensors of the file that the generator does not use, such as an encoder's; one
            repetition (``.*``) each, at most.
        tensors: names and shapes of the file's tensors: read from it, so never stated.

    The first layer gets the first that there is of latent, image, attributes and label.
    """

    layers: tuple[Any, ...]
    latent: tuple[PositiveInt, ...] | None = None
    image: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    attributes: tuple[str, ...] = ()
    classes: Annotated[int, Field(ge=0)] = 0
    ignore: Annotated[tuple[Pattern, ...], Field(max_length=32)] = ()
    tensors: dict[str, tuple[int, ...]] = {}

    @field_validator("tensors", mode="before")
    @classmethod
    def _shapes(cls, stated: Any) -> Any:
        if not isinstance(stated, Mapping):
            return stated
        return {name: tuple(shape) if isinstance(shape, list) else shape for name, shape in stated.items()}

    @model_validator(mode="after")
    def _readable(self) -> Config:
        self.placed  # noqa: B018  raises what is wrong with the list
        if not self.inputs:
            raise ValueError("nothing goes in: state 'latent', 'image', 'attributes' or 'classes'")
        return self

    @property
    def inputs(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shape and type of each value that goes in, without the batch; the one for the first layer first."""
        found: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
        if self.latent is not None:
            found["latent"] = self.latent, torch.float32
        if self.image is not None:
            found["image"] = self.image, torch.float32
        if self.attributes:
            found["attributes"] = (len(self.attributes),), torch.float32
        if self.classes:
            found["label"] = (), torch.int64
        return found

    @cached_property
    def placed(self) -> tuple[Placed, ...]:
        """The layers with their places, repetitions unrolled. Raises Misfit."""
        return parse(self.layers)

    @cached_property
    def described(self) -> Described:
        """The network without numbers. Raises Misfit."""
        with torch.device("meta"):
            return self.network()

    @cached_property
    def traced(self) -> tuple[tuple[int, ...], int]:
        """Shape of one sample, and the floating-point operations for it. Raises Misfit or EntryError."""
        return self.described.trace(self.inputs)

    def network(self) -> Described:
        """The network, untrained. Raises Misfit."""
        return Described(self.placed, self.tensors, next(iter(self.inputs)))


class Layers(Generator):
    """Named values -> what the last layer gives."""

    Config = Config
    kinds = ("class", "image", "mask", "attributes")

    @property
    def latent_shape(self) -> tuple[int, ...] | None:
        shape: tuple[int, ...] | None = self.config.latent
        return shape

    @classmethod
    def infer(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        if all(value.dim() < 2 for value in state.values()):
            return {}  # no layer has such weights
        return {"tensors": {name: tuple(value.shape) for name, value in state.items()}}

    @classmethod
    def output(cls, config: Any) -> tuple[int, tuple[int, ...]]:
        try:
            shape: tuple[int, ...] = config.traced[0]
        except Misfit as error:
            raise EntryError(f"config.{error}") from None
        if len(shape) not in (3, 4):
            raise EntryError(
                f"config.layers end in {list(shape)}; expected an image [channels, height, width] or a volume "
                "[channels, depth, height, width]: add a view"
            )
        return shape[0], shape[1:]

    @classmethod
    def takes(cls, config: Any) -> dict[str, Any] | None:
        if config.image is not None:
            channels, *size = config.image
            return {"kind": "image", "inputs": ("image",), "channels": channels, "size": tuple(size)}
        if config.attributes:
            numbers = tuple({"name": name, "low": None, "high": None, "unit": None} for name in config.attributes)
            return {"kind": "attributes", "attributes": numbers}
        if not config.classes:
            return None
        return {"kind": "class", "classes": tuple(map(str, range(config.classes))), "required": False}

    def begin(self, state: Mapping[str, Tensor]) -> None:
        output = self.entry.output
        channels, size = self.output(self.config)
        wanted = (output.channels + output.masks, output.size or size)
        if (channels, size) != wanted:
            raise EntryError(
                f"{self.entry.model_id}: config.layers end in {[channels, *size]}, and the entry states output "
                f"{[wanted[0], *wanted[1]]} (channels and masks, size); correct one of them"
            )
        used, stated = self.config.described.used, self.config.tensors
        check_state(
            self, {name: stated[name] for name in used}, state, (*self.tolerates, *self.config.ignore),
            fit="the layers",
            advice="Add layers for those that are unexpected, or list them in config.ignore",
        )  # fmt: skip

    def build(self) -> nn.Module:
        network: nn.Module = self.config.network()
        return network

    def adapt(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        adapted: Mapping[str, Tensor] = self.config.described.adapt(state)
        return adapted

    def prepare(self, network: nn.Module, fused: bool) -> nn.Module:
        return fold(network) if fused else network

    def sample_batch(self, noise: Noise, given: Given) -> Tensor:
        config, named = self.config, dict[str, Tensor]()
        if config.latent is not None:
            named["latent"] = self.latent(noise)
        if config.image is not None:
            assert given.images is not None
            named["image"] = given.images
        if config.attributes:
            assert given.attributes is not None
            named["attributes"] = given.attributes.to(noise.dtype)
        if config.classes:
            named["label"] = self._drawn(noise) if given.labels is None else given.labels
        made: Tensor = self.network(Values(named, noise))
        return made

    def _drawn(self, noise: Noise) -> Tensor:
        """A class for each sample, each equally likely."""
        return torch.from_numpy(noise.classes(self.config.classes)).to(self.device)
