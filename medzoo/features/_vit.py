"""Vision transformer (Dosovitskiy et al., ICLR 2021) as DINOv2 and CLIP use it: pixels -> the class token.

Weights come under the names of the ``transformers`` library and are renamed: the three projections of attention
become one, and the factors after each half of a layer (layer scale) are multiplied into the weights before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.errors import MedzooError
from medzoo.features._base import Extractor, normalised
from medzoo.features._files import File, fill

MLP = 4  # times the width


@dataclass(frozen=True)
class Shape:
    """What a vision transformer consists of.

    Attributes:
        width, depth, heads: of the layers.
        patch: edge of a patch, in pixels.
        size: height and width of the images, a multiple of ``patch``.
        eps: of layer norm.
        mean, std: images are normalised with, by channel.
        quick: x sigmoid(1.702 x) for GELU.
        norm_first: a layer norm before the first layer.
        patch_bias: whether the projection of patches has one.
        projected: length of the output behind a last linear map without bias; None for the class token itself.
    """

    width: int
    depth: int
    heads: int
    patch: int
    size: int
    eps: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    quick: bool = False
    norm_first: bool = False
    patch_bias: bool = True
    projected: int | None = None

    @property
    def dim(self) -> int:
        """Length of the output."""
        return self.projected or self.width


class VisionTransformer(nn.Module):
    """float [n, 3, size, size] in [0, 1] -> [n, dim]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token = nn.Parameter(torch.zeros(shape.width))
        self.position = nn.Parameter(torch.zeros((shape.size // shape.patch) ** 2 + 1, shape.width))
        self.patches = nn.Conv2d(3, shape.width, shape.patch, shape.patch, bias=shape.patch_bias)
        self.first = nn.LayerNorm(shape.width, shape.eps) if shape.norm_first else nn.Identity()
        self.layers = nn.Sequential(*(Layer(shape) for _ in range(shape.depth)))
        self.last = nn.LayerNorm(shape.width, shape.eps)
        self.project = nn.Linear(shape.width, shape.projected, bias=False) if shape.projected else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = normalised(x, self.shape.mean, self.shape.std).to(self.patches.weight.dtype)
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), 1, -1), x], 1) + self.position
        out: Tensor = self.project(self.last(self.layers(self.first(x))[:, 0]))
        return out


class TransformerExtractor(Extractor):
    """Base of the extractors whose network is a ``VisionTransformer`` in one of several published variants."""

    def __init__(self, network: VisionTransformer, **options: Any) -> None:
        self.dim, self.size = network.shape.dim, network.shape.size
        super().__init__(network, **options)

    @classmethod
    def filled(cls, shape: Shape, state: Mapping[str, Tensor], sha256: str | None, **options: Any) -> Self:
        """The extractor with weights under the names of ``VisionTransformer``. Raises CheckpointError."""
        with torch.device("meta"):
            network = VisionTransformer(shape)
        fill(network, state, cls.name)
        return cls(network, weights_sha256=sha256, **options)


def chosen(name: str, variants: Mapping[str, tuple[Shape, File]], variant: str) -> tuple[Shape, File]:
    """One of an extractor's variants. Raises MedzooError."""
    if variant not in variants:
        raise MedzooError(f"features '{name}' have no variant '{variant}'; choose {', '.join(variants)}")
    return variants[variant]


class Layer(nn.Module):
    """Attention among all tokens, then two linear maps for each of them; each half is added to its input."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.quick = shape.heads, shape.quick
        self.norm1 = nn.LayerNorm(shape.width, shape.eps)
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.norm2 = nn.LayerNorm(shape.width, shape.eps)
        self.fc1 = nn.Linear(shape.width, MLP * shape.width)
        self.fc2 = nn.Linear(MLP * shape.width, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(n, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value)
        x = x + self.out(seen.transpose(1, 2).reshape(n, tokens, width))
        wide = self.fc1(self.norm2(x))
        wide = wide * torch.sigmoid(1.702 * wide) if self.quick else F.gelu(wide)
        out: Tensor = x + self.fc2(wide)
        return out


def renamed(
    state: Mapping[str, Tensor], shape: Shape, names: Mapping[str, str], layers: str, of_layer: Mapping[str, str]
) -> dict[str, Tensor]:
    """Published weights under the names of ``VisionTransformer``.

    Args:
        names: our name -> theirs, of all but the layers.
        layers: how the keys of a layer begin, with ``{}`` for its number.
        of_layer: as ``layer_state`` takes them.

    Raises:
        KeyError: a key that ``state`` lacks.
    """
    ours = {our: state[their] for our, their in names.items()}
    ours["token"] = ours["token"].flatten()
    ours["position"] = ours["position"].reshape(-1, shape.width)
    for number in range(shape.depth):
        ours |= layer_state(state, number, layers.format(number), of_layer)
    return ours


def layer_state(state: Mapping[str, Tensor], number: int, prefix: str, names: Mapping[str, str]) -> dict[str, Tensor]:
    """The entries of one ``Layer``, with its prefix.

    Args:
        prefix: of the layer's keys in ``state``.
        names: our name -> theirs, for norm1, norm2, fc1, fc2, q, k, v and out; also scale1 and scale2 where there are.
    """
    layer: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        for ours in ("norm1", "norm2", "fc1", "fc2", "out"):
            value = state[f"{prefix}{names[ours]}.{kind}"].float()
            scale = {"out": names.get("scale1"), "fc2": names.get("scale2")}.get(ours)
            if scale is not None:
                factor = state[prefix + scale].float()
                value = value * (factor[:, None] if kind == "weight" else factor)
            layer[f"layers.{number}.{ours}.{kind}"] = value
        parts = [state[f"{prefix}{names[ours]}.{kind}"] for ours in "qkv"]
        layer[f"layers.{number}.qkv.{kind}"] = torch.cat(parts).float()
    return layer


def position_state(position: Tensor, shape: Shape) -> Tensor:
    """Embeddings of positions [1 + their grid, width] for the grid of ``shape``, resized (bicubic) where it differs."""
    patches = position[1:]
    theirs, ours = round(len(patches) ** 0.5), shape.size // shape.patch
    if theirs == ours:
        return position
    grid = patches.float().view(1, theirs, theirs, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (ours, ours), mode="bicubic", align_corners=False)
    return torch.cat([position[:1].float(), grid.permute(0, 2, 3, 1).reshape(ours * ours, -1)])
