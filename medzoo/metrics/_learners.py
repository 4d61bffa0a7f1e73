"""Two small networks with a fixed training each, which judge images by what can be learned from them.

Segmenter: a U-Net (Ronneberger et al., MICCAI 2015) whose first level has half the pixels a side, 0.26 M parameters.
Classifier: its encoder, the mean over positions, one linear layer.

Both: images averaged down to ``Schedule.side``, scaled to -1..1; AdamW (0.9, 0.999), weight decay 1e-4, rate rising
over the first tenth of the steps and falling to 0 along a cosine; batch norm with running statistics when judging.
Augmentation, the same for image and mask: mirrored left to right and, for the segmenter only, top to bottom, and
rows and columns exchanged where images are square; each for every other image.

A training is decided by (arrays, schedule, seed): noise comes from NumPy, one thread computes, and the settings of
the caller neither matter nor change. CUDA is used where there is one; its numbers differ a little from a CPU's.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from medzoo import device as devices
from medzoo.imagefiles.areas import area_weights
from medzoo.metrics._arms import Schedule

KEPT = 24  # networks of the training images, some 1 MB each: two metrics, a few seeds of three networks
CHUNK = 256  # images made smaller, or judged, at once

_kept: OrderedDict[tuple[Any, ...], nn.Module] = OrderedDict()
Network = TypeVar("Network", bound=nn.Module)


@contextmanager
def _settled() -> Iterator[None]:
    """What the caller has set (threads, gradients, lower precision) neither matters inside nor changes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums of several threads depend on how many they are
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast("cpu", enabled=False),
            devices.exact_convolutions(devices.find(None), deterministic=True),
        ):
            yield
    finally:
        torch.set_num_threads(threads)


class Segmenter(nn.Module):
    """Images [B, C, H, W] in -1..1 -> logits [B, K, H, W]; H and W are at least 8."""

    def __init__(self, channels: int, masks: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(channels, widths[0], stride=2), _twice(widths[0], widths[0]))
        self.down = nn.ModuleList(_twice(i, o) for i, o in itertools.pairwise(widths))
        self.up = nn.ModuleList(_conv(i + o, o) for i, o in itertools.pairwise(reversed(widths)))
        self.head = nn.ConvTranspose2d(widths[0], masks, 4, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        x, skips = self.stem(images), []
        for block in self.down:
            skips.append(x)
            x = block(F.max_pool2d(x, 2, ceil_mode=True))
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x = block(torch.cat([F.interpolate(x, skip.shape[2:], mode="nearest"), skip], 1))
        logits: Tensor = self.head(x)[:, :, : images.shape[2], : images.shape[3]]  # odd sizes come out one larger
        return logits


class Classifier(nn.Module):
    """Images [B, C, H, W] in -1..1 -> logits [B, classes]."""

    def __init__(self, channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = _conv(channels, widths[0], stride=2)
        self.down = nn.ModuleList(_twice(i, o) for i, o in itertools.pairwise(widths))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for block in self.down:
            x = block(F.max_pool2d(x, 2, ceil_mode=True))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


@_settled()
def segmenter(
    images: NDArray[np.uint8], masks: NDArray[np.uint8], schedule: Schedule, seed: tuple[int, ...], keep: bool = False
) -> Segmenter:
    """Trained on ``images`` [n, C, H, W] and ``masks`` [n, K, H, W] of 0 and 1: cross-entropy + 1 - soft Dice.

    Args:
        images, masks: the training set.
        schedule: of the training.
        seed: numbers that decide initial weights, order and augmentation.
        keep: remember the network, and give it again for the same arguments.
    """
    x, y = _pixels(images, schedule.side), torch.from_numpy(small_masks(masks, schedule.side)).to(torch.float32)

    def loss(logits: Tensor, wanted: Tensor) -> Tensor:
        shares = logits.sigmoid()
        dice = (2 * (shares * wanted).sum() + 1) / (shares.sum() + wanted.sum() + 1)
        return F.binary_cross_entropy_with_logits(logits, wanted) + 1 - dice

    def train() -> Segmenter:
        rng = np.random.default_rng(seed)
        network = _reset(lambda: Segmenter(x.shape[1], y.shape[1], schedule.widths), rng)
        order = _shuffled(np.arange(len(x)), schedule.steps * schedule.batch, rng)
        return _fit(network, x, y, order, loss, schedule, rng, flips=3 if x.shape[2] == x.shape[3] else 2)

    return _remembered(("segmenter", schedule, seed, _digest(x, y)), train) if keep else train()


@_settled()
def classifier(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    classes: int,
    schedule: Schedule,
    seed: tuple[int, ...],
    keep: bool = False,
) -> Classifier:
    """Trained on ``images`` [n, C, H, W] and ``labels`` [n], each of 0..classes - 1 at least once: cross-entropy.

    Every class is drawn equally often, so that the share of a class does not matter. Other arguments: ``segmenter``.
    """
    x, y = _pixels(images, schedule.side), torch.from_numpy(labels.astype(np.int64))

    def train() -> Classifier:
        rng = np.random.default_rng(seed)
        network = _reset(lambda: Classifier(x.shape[1], classes, schedule.widths), rng)
        each = -(-schedule.steps * schedule.batch // classes)
        columns = [_shuffled(np.flatnonzero(labels == c), each, rng) for c in range(classes)]
        order = rng.permuted(np.stack(columns, 1), axis=1).reshape(-1)
        return _fit(network, x, y, order, F.cross_entropy, schedule, rng, flips=1)

    return _remembered(("classifier", classes, schedule, seed, _digest(x, y)), train) if keep else train()


@_settled()
def predict(network: nn.Module, images: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Logits of images uint8 [n, C, H, W], made smaller as for the training."""
    device = next(network.parameters()).device
    parts = []
    for start in range(0, len(images), CHUNK):
        x = _pixels(images[start : start + CHUNK], side).to(device, memory_format=torch.channels_last)
        parts.append(network(x).detach().cpu().contiguous().numpy())
    return np.concatenate(parts)


def overlap(masks: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.float64]:
    """Dice [n, K] of masks [n, K, H, W] and ``wanted`` ones: 1 where both are empty, 0 where one is.

    >>> overlap(np.ones((1, 1, 2, 2)), np.eye(2)[None, None]).round(4)
    array([[0.6667]])
    """
    masks, wanted = masks != 0, wanted != 0
    total = (masks.sum((2, 3)) + wanted.sum((2, 3))).astype(np.float64)
    both = (masks & wanted).sum((2, 3)).astype(np.float64)
    dice: NDArray[np.float64] = np.divide(2 * both, total, out=np.ones_like(total), where=total > 0)
    return dice


def _pixels(images: NDArray[np.uint8], side: int) -> Tensor:
    """Images uint8 [n, C, H, W] as float32 in -1..1, averaged down to at most ``side`` pixels a side."""
    return _averaged(images, side) / 127.5 - 1


@_settled()
def small_masks(masks: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Masks uint8 [n, K, H, W] of 0 and 1 with at most ``side`` pixels a side, made smaller like images.

    Foreground is where half of the area is, or more.
    """
    small: NDArray[np.uint8] = (_averaged(masks, side) > 0.5 - 1e-5).to(torch.uint8).numpy()  # sums are rounded
    return small


def _averaged(arrays: NDArray[np.uint8], side: int) -> Tensor:
    """float32 [n, C, h, w] of uint8 [n, C, H, W]: each new pixel is the mean over the area that it covers."""
    areas = (area_weights(size, min(side, size)).astype(np.float32) for size in arrays.shape[2:])
    down, across = map(torch.from_numpy, areas)
    starts = range(0, len(arrays), CHUNK)
    chunks = (np.array(arrays[start : start + CHUNK]) for start in starts)  # copies: a memmap may not be written to
    return torch.cat([down @ torch.from_numpy(chunk).to(torch.float32) @ across.mT for chunk in chunks])


def _fit(
    network: Network,
    x: Tensor,
    y: Tensor,
    order: NDArray[np.int64],
    loss: Callable[[Tensor, Tensor], Tensor],
    schedule: Schedule,
    rng: np.random.Generator,
    flips: int,
) -> Network:
    """Train on rows of ``x`` and ``y`` in ``order``; with the first ``flips`` of left-right, top-bottom, transposed."""
    device = devices.find(None)
    flipped = torch.from_numpy(rng.integers(2, size=(schedule.steps, flips, schedule.batch), dtype=np.int64)).bool()
    rows = torch.from_numpy(order[: schedule.steps * schedule.batch].reshape(schedule.steps, schedule.batch))
    network.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]  # stubs lack it
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-4, fused=True)
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate * _ramp(step, schedule.steps)
        images, targets = x[rows[step]], y[rows[step]]
        images = _flip(images, flipped[step])
        if targets.ndim == 4:
            targets = _flip(targets, flipped[step])
        logits = network(images.to(device, memory_format=torch.channels_last))
        optimizer.zero_grad()
        torch.autograd.backward(loss(logits, targets.to(device)))
        optimizer.step()
    return network.eval().requires_grad_(False)


def _ramp(step: int, steps: int) -> float:
    """Share of the highest rate: up over the first tenth, then down to 0 along a cosine."""
    rise = max(1, steps // 10)
    return (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _flip(batch: Tensor, chosen: Tensor) -> Tensor:
    """Rows of [B, C, H, W] mirrored along W, along H, and with H and W exchanged, where ``chosen`` [1..3, B] says."""
    for way, which in enumerate(chosen):
        changed = batch.mT if way == 2 else batch.flip(3 - way)
        batch = torch.where(which.view(-1, 1, 1, 1), changed, batch)
    return batch


def _shuffled(rows: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``count`` of ``rows``: all of them in random order, then all again in another."""
    rounds = -(-count // len(rows))
    return rng.permuted(np.tile(rows, (rounds, 1)), axis=1).reshape(-1)[:count]


def _reset(make: Callable[[], Network], rng: np.random.Generator) -> Network:
    """A network in float32 on the CPU with weights N(0, 1 / (3 fan-in)) from ``rng``, biases 0."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # PyTorch draws weights of its own
        network = make().to(torch.float32)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            drawn = rng.standard_normal(tuple(module.weight.shape), dtype=np.float32)
            module.weight.data = torch.from_numpy(drawn * np.float32(math.sqrt(1 / (3 * _fan_in(module)))))
            if module.bias is not None:
                module.bias.data.zero_()
    return network


def _fan_in(module: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> int:
    if isinstance(module, nn.ConvTranspose2d):  # [in, out, 4, 4] with stride 2: a quarter of the taps meet
        return module.in_channels * 4
    return int(module.weight[0].numel())


def _remembered(key: tuple[Any, ...], train: Callable[[], Network]) -> Network:
    """Trained once for each key; the ``KEPT`` used last are kept."""
    if key not in _kept:
        _kept[key] = train()
    _kept.move_to_end(key)
    while len(_kept) > KEPT:
        _kept.popitem(last=False)
    return _kept[key]  # type: ignore[return-value]  # the key starts with the kind of network


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{list(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _twice(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(_conv(inputs, outputs), _conv(outputs, outputs))
