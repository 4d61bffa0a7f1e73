"""(seed, index) -> noise: the rule that sample i is decided by the seed and i, and by nothing else.

The k-th draw of sample i is the output of Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2,
3", SC 2011) under key (seed, stream), counting up from (0, k, i, 0). Stream 0 holds latents, stream 1 everything
that a network injects, stream 2 the class of a sample without a given one, later streams later uses, so that a latent
does not depend on how much noise follows it.
Only the raw 64-bit words of NumPy's Philox are used, whose values are part of the algorithm; NumPy does not promise
that its distributions stay the same. The two transforms are ours, and ``tests/test_randomness.py`` holds their
values:

    uniform: words cut into 32-bit halves, low half first; the upper 24 bits of a half, divided by 2^24.
    normal:  Box-Muller, one pair a word: radius sqrt(-2 ln((high + 1) / 2^32)), angle 2 pi low / 2^32. The cosines of
             all words come first, then the sines.

A draw of N numbers takes ceil(N / 2) words. Everything is drawn on the CPU, so that a GPU gets the same noise.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

Distribution = Literal["normal", "uniform"]

LATENT, INJECTED, CLASS = 0, 1, 2  # streams
SEEDS = 2**64
INDICES = 2**63
_CHUNK = 8192  # words transformed at once: what fits in a core's cache


class Noise:
    """The noise of one batch: every row depends on the seed and the row's own index alone.

    Args:
        seed: 0 to 2^64 - 1.
        indices: index of each sample, 0 to 2^63 - 1.
        device, dtype: where the tensors go and as what; numbers are always drawn as float32 on the CPU.

    >>> batch, alone = Noise(0, range(4)), Noise(0, [2])
    >>> batch.latent((3,))[2].equal(alone.latent((3,))[0])
    True
    """

    def __init__(
        self,
        seed: int,
        indices: Iterable[int],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.seed = seed
        self.indices = tuple(int(i) for i in indices)
        self.device, self.dtype = torch.device(device), dtype
        self._draws = 0
        self._latents: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def latent(self, shape: Sequence[int], distribution: Distribution = "normal") -> torch.Tensor:
        """The latents [B, *shape]: N(0, 1) or U[0, 1), or those given to ``given``. Every call gives the same."""
        if self._latents is not None:
            if tuple(self._latents.shape[1:]) != tuple(shape):
                raise ValueError(f"latents of shape {tuple(self._latents.shape[1:])} given, {tuple(shape)} needed")
            return self._latents
        return self._tensor(shape, distribution, LATENT, 0)

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        """The next injected draw of every sample, N(0, 1) [B, *shape]."""
        return self._injected(shape, "normal")

    def uniform(self, shape: Sequence[int]) -> torch.Tensor:
        """The next injected draw of every sample, U[0, 1) [B, *shape]."""
        return self._injected(shape, "uniform")

    def classes(self, count: int) -> NDArray[np.int64]:
        """A class for every sample, each of ``count`` equally likely: int64 [B]. Every call gives the same."""
        drawn = _draw(self.seed, self.indices, CLASS, 0, 1, "uniform")[:, 0]
        return np.minimum((drawn * count).astype(np.int64), count - 1)

    def given(self, latents: torch.Tensor) -> Self:
        """The same noise with explicit latents [B, ...], which keep their gradient."""
        if len(latents) != len(self):
            raise ValueError(f"{len(latents)} latents but noise for {len(self)} samples")
        noise = copy.copy(self)
        noise._latents = latents.to(self.device, self.dtype)
        return noise

    def on(self, device: torch.device, dtype: torch.dtype) -> Self:
        """The same noise for another device and type."""
        noise = copy.copy(self)
        noise.device, noise.dtype = device, dtype
        return noise

    def _injected(self, shape: Sequence[int], distribution: Distribution) -> torch.Tensor:
        self._draws += 1
        return self._tensor(shape, distribution, INJECTED, self._draws - 1)

    def _tensor(self, shape: Sequence[int], distribution: Distribution, stream: int, draw: int) -> torch.Tensor:
        rows = _draw(self.seed, self.indices, stream, draw, math.prod(shape), distribution)
        return torch.from_numpy(rows.reshape(len(self), *shape)).to(self.device, self.dtype)


class Replay(Noise):
    """Stored arrays instead of injected draws, handed out in the order of the calls; for comparisons with others.

    Args:
        draws: [B, ...] each, in call order.
        count: B.
    """

    def __init__(
        self,
        draws: Sequence[torch.Tensor],
        count: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(0, range(count), device, dtype)
        self.draws = list(draws)

    def _injected(self, shape: Sequence[int], distribution: Distribution) -> torch.Tensor:
        if self._draws == len(self.draws):
            raise ValueError(f"the network asks for draw {self._draws + 1}, only {len(self.draws)} are stored")
        stored = self.draws[self._draws]
        self._draws += 1
        if tuple(stored.shape[1:]) != tuple(shape):
            raise ValueError(
                f"draw {self._draws} is stored as {tuple(stored.shape)}, the network asks for {tuple(shape)}"
            )
        return stored.to(self.device, self.dtype)


def words(seed: int, index: int, stream: int, draw: int, count: int) -> NDArray[np.uint64]:
    """``count`` raw words of one draw of one sample."""
    key = np.array([seed, stream], dtype=np.uint64)
    counter = np.array([0, draw, index, 0], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def _draw(
    seed: int, indices: Sequence[int], stream: int, draw: int, count: int, distribution: Distribution
) -> NDArray[np.float32]:
    """One draw of every sample: float32 [B, count]."""
    need = (count + 1) // 2
    out = np.empty((len(indices), 2 * need), np.float32)
    transform = _normals if distribution == "normal" else _uniforms
    step = max(1, _CHUNK // max(1, need))
    for first in range(0, len(indices), step):
        part = indices[first : first + step]
        raw = np.stack([words(seed, i, stream, draw, need) for i in part]).astype("<u8", copy=False)
        transform(raw.view("<u4"), out[first : first + step])
    return np.ascontiguousarray(out[:, :count])


def _uniforms(halves: NDArray[np.uint32], out: NDArray[np.float32]) -> None:
    np.multiply(halves >> np.uint32(8), np.float32(2**-24), out=out, dtype=np.float32, casting="same_kind")


def _normals(halves: NDArray[np.uint32], out: NDArray[np.float32]) -> None:
    need = out.shape[1] // 2
    angle = halves[:, 0::2].astype(np.float32)
    angle *= np.float32(2 * math.pi / 2**32)
    radius = halves[:, 1::2].astype(np.float32)
    radius += np.float32(1)  # never 0
    radius *= np.float32(2**-32)
    np.log(radius, out=radius)
    radius *= np.float32(-2)
    np.sqrt(radius, out=radius)
    np.multiply(radius, np.cos(angle), out=out[:, :need])
    np.multiply(radius, np.sin(angle), out=out[:, need:])
