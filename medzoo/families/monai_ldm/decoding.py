"""Decoding of large latents in bounded memory: tile by tile, with the result of the whole.

What keeps a decoder from being run in parts is its group norm, which sees the whole map. So the last level, where
nearly all memory goes, runs once more for each of its norms: each pass gathers the mean and variance of the next norm
over all tiles, and the last pass, with all of them known, gives the output. Tiles overlap by as much as the
convolutions look around, and only what no tile border has reached is kept. So nothing needs blending, and the result
differs from the whole by rounding alone. It takes longer: the last level is computed several times.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medzoo import device

# Maps of the finest level's widest layer alive at once: measured, with some room.
MAPS = 4.5
SHARE = 0.5  # of the free memory that decoding may take
LEAST = 8  # voxels a side of the smallest tile, before the last up-sampling

Box = tuple[slice, ...]
Moments = tuple[Tensor, Tensor]  # mean and variance [B, groups]


def decode(autoencoder: nn.Module, latents: Tensor, budget: int | None = None) -> Tensor:
    """Latents [B, C, (D,) H, W] -> images [B, C, (D,) H, W] of MONAI's ``AutoencoderKL``.

    Sample by sample, and tile by tile, if all at once would take more than ``budget`` bytes (None: half of what is
    free). Neither changes the result by more than rounding.
    """
    if budget is None:
        budget = int(device.free_memory(latents.device) * SHARE)
    decoder = _Decoder.of(autoencoder)
    rows = max(1, min(len(latents), int(budget // max(1, decoder.bytes(latents[:1])))))
    parts = []
    for part in latents.split(rows):
        if decoder.bytes(part) <= budget or not decoder.can_tile:
            parts.append(decoder.whole(part))
        else:
            parts.append(decoder.tiled(part, budget))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


@dataclass(frozen=True)
class _Decoder:
    """An autoencoder's decoder, cut before its last up-sampling."""

    first: nn.Module
    head: Sequence[nn.Module]
    tail: Sequence[nn.Module]

    @staticmethod
    def of(autoencoder: nn.Module) -> _Decoder:
        first, blocks = autoencoder.post_quant_conv, list(autoencoder.decoder.blocks)  # type: ignore[union-attr,arg-type]
        cut = max((k for k, block in enumerate(blocks) if _is_up(block)), default=len(blocks))
        return _Decoder(first, blocks[:cut], blocks[cut:])  # type: ignore[arg-type]

    @property
    def can_tile(self) -> bool:
        """Whether the last level has nothing that sees the whole map but norms."""
        return bool(self.tail) and not any(hasattr(block, "attn") for block in self.tail)

    @property
    def widest(self) -> int:
        """Channels of the widest layer of the last level."""
        return max(weight.shape[0] for block in self.tail or self.head for weight in _kernels(block))

    @property
    def around(self) -> int:
        """How many voxels before the last up-sampling an output voxel looks at on each side."""
        reach = sum(weight.shape[-1] // 2 for block in self.tail for weight in _kernels(block) if not _is_skip(weight))
        return math.ceil(reach / 2)

    def bytes(self, latents: Tensor) -> float:
        """An estimate of the working memory that decoding takes."""
        ups = sum(_is_up(block) for block in (*self.head, *self.tail))
        voxels = math.prod(side * 2**ups for side in latents.shape[2:])
        return len(latents) * voxels * self.widest * latents.element_size() * MAPS

    def whole(self, latents: Tensor) -> Tensor:
        x = self.first(latents)
        for block in (*self.head, *self.tail):
            x = block(x)
        return x

    def tiled(self, latents: Tensor, budget: int) -> Tensor:
        x = self.first(latents)
        for block in self.head:
            x = block(x)
        size = tuple(x.shape[2:])
        each = len(x) * self.widest * x.element_size() * MAPS * 2 ** len(size)
        tiles = list(_tiles(size, self.around, budget / each))
        known: list[Moments] = []
        while (moments := self._gathered(x, tiles, known)) is not None:
            known.append(moments)
        out: Tensor | None = None
        for tile in tiles:
            part = _until(self.tail, x[(..., *tile.seen)], known)[0][(..., *tile.inner)]
            if out is None:
                out = part.new_empty((*part.shape[:2], *(2 * side for side in size)))
            out[(..., *tile.kept)] = part
        assert out is not None
        return out

    def _gathered(self, x: Tensor, tiles: list[_Tile], known: list[Moments]) -> Moments | None:
        """Moments of the norm after those known, over all tiles; None where there is no other."""
        count, mean, square = 0, torch.zeros(1), torch.zeros(1)
        for tile in tiles:
            seen, norm = _until(self.tail, x[(..., *tile.seen)], known)
            if norm is None:
                return None
            part = seen[(..., *tile.inner)]
            values = part.reshape(len(part), norm.num_groups, -1).float()
            n = values.shape[2]
            variance, middle = (moment.double() for moment in torch.var_mean(values, dim=2, correction=0))
            if not count:
                mean, square = torch.zeros_like(middle), torch.zeros_like(middle)
            # Chan, Golub and LeVeque (1983): moments of two sets joined.
            apart, both = middle - mean, count + n
            mean = mean + apart * (n / both)
            square = square + variance * n + apart**2 * (count * n / both)
            count = both
        return mean, square / count


@dataclass(frozen=True)
class _Tile:
    """A part of a map: what its computation sees of the input, and in the output what is kept, and where that lies."""

    seen: Box
    kept: Box
    inner: Box


def _tiles(size: tuple[int, ...], around: int, voxels: float) -> Iterator[_Tile]:
    """Tiles over a map of ``size`` that see up to about ``voxels`` of it; the output is twice as large."""
    side = list(size)
    while math.prod(min(s + 2 * around, whole) for s, whole in zip(side, size, strict=True)) > voxels:
        longest = max(range(len(side)), key=lambda axis: side[axis])
        if side[longest] <= LEAST:
            break
        side[longest] = max(LEAST, math.ceil(side[longest] / 2))
    for corner in itertools.product(*(range(0, whole, s) for whole, s in zip(size, side, strict=True))):
        seen, kept, inner = [], [], []
        for begin, s, whole in zip(corner, side, size, strict=True):
            end = min(begin + s, whole)
            left, right = max(0, begin - around), min(whole, end + around)
            seen.append(slice(left, right))
            kept.append(slice(2 * begin, 2 * end))
            inner.append(slice(2 * (begin - left), 2 * (end - left)))
        yield _Tile(tuple(seen), tuple(kept), tuple(inner))


def _until(blocks: Sequence[nn.Module], x: Tensor, known: list[Moments]) -> tuple[Tensor, nn.GroupNorm | None]:
    """Run blocks with the moments of their first norms given: what the next norm sees, and that norm; or the output."""
    walk = _walk(blocks, x)
    try:
        norm, x = next(walk)
        for moments in known:
            norm, x = walk.send(_normalised(norm, x, moments))
    except StopIteration as end:
        return end.value, None
    return x, norm


def _walk(blocks: Sequence[nn.Module], x: Tensor) -> Generator[tuple[nn.GroupNorm, Tensor], Tensor, Tensor]:
    """Run blocks, but leave every norm to the caller, who gets (norm, input) and sends the output."""
    silu = nn.functional.silu
    for block in blocks:
        if isinstance(block, nn.GroupNorm):
            x = yield block, x
        elif hasattr(block, "norm1"):  # a residual block
            h = block.conv1(silu((yield block.norm1, x)))  # type: ignore[operator,misc]
            h = block.conv2(silu((yield block.norm2, h)))  # type: ignore[operator,misc]
            x = block.nin_shortcut(x) + h  # type: ignore[operator]
        else:
            x = block(x)
    return x


def _normalised(norm: nn.GroupNorm, x: Tensor, moments: Moments) -> Tensor:
    mean, variance = moments
    gain = (variance + norm.eps).rsqrt().repeat_interleave(x.shape[1] // norm.num_groups, 1) * norm.weight
    shift = norm.bias - mean.repeat_interleave(x.shape[1] // norm.num_groups, 1) * gain
    shape = (*gain.shape, *[1] * (x.dim() - 2))
    return (x.float() * gain.float().view(shape)).add_(shift.float().view(shape)).to(x.dtype)


def _is_up(block: nn.Module) -> bool:
    return type(block).__name__ == "UpSample"


def _kernels(block: nn.Module) -> list[Tensor]:
    return [weight for weight in block.parameters() if weight.dim() > 2]


def _is_skip(weight: Tensor) -> bool:
    return weight.shape[-1] == 1
