"""Inception v3 as FID was defined with it: 2048 features, the mean over positions of the last block's output ("pool3").

The network is that of the TensorFlow graph of 2015-12-05 (Szegedy et al., "Rethinking the Inception Architecture for
Computer Vision", CVPR 2016; Heusel et al., NeurIPS 2017, for its use), which differs from the Inception v3 of today's
libraries: average pooling leaves padding out of its mean, the very last block pools by maximum, and there are 1008
classes. The weights are its port to PyTorch by the authors of pytorch-fid (Apache-2.0, as the graph's), one file at two
addresses, whose hash several public projects state alike. **Nobody has run this download here**: the architecture is
tested on random weights, the published file was not available.

``resize`` decides what the numbers can be compared with:

* ``bilinear, tensorflow 1`` (the default): the graph's own resizing, on values 0 to 255 that are then scaled to
  (255 x - 128) / 128. What the original FID and torch-fidelity take.
* ``bicubic, antialias``: close to clean-fid, which resizes by Pillow's bicubic filter first.

pytorch-fid itself takes torch's bilinear filter with half-pixel centres; its numbers lie close to the first kind. A
Frechet distance is FID only with these features; and a FID of few images is biased whatever the features.

``probabilities`` are those of the Inception score (Salimans et al., NeurIPS 2016), which leaves the bias of the last
layer out; torch-fidelity calls this "logits_unbiased".
"""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.errors import MedzooError
from medzoo.features._base import Extractor
from medzoo.features._files import File, at_url, fill, obtain
from medzoo.features._fold import fold_norms
from medzoo.features._resize import Resize

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
BYTES = 95_628_359
PORT = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
COPY = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
FILE = File((at_url(PORT, SHA256, BYTES), at_url(COPY, SHA256, BYTES)), "torch")
CLASSES = 1008

# A path of a block: (name, channels out, (height, width) of the kernel, stride), one after another. The last may be
# two side by side, whose outputs are joined.
Step = tuple[str, int, tuple[int, int], int]
Path = tuple[Step | tuple[Step, Step], ...]


class InceptionFID(Extractor):
    """Features float32 [n, 2048]; images are brought to 299 x 299 and scaled to (255 x - 128) / 128."""

    name = "inception_fid"
    dim = 2048
    size = 299
    resize: Resize = "bilinear, tensorflow 1"
    range = "(255 x - 128) / 128"
    license = "Apache-2.0"

    def __init__(self, network: nn.Module, *, resize: Resize, **options: Any) -> None:
        if resize not in get_args(Resize):
            raise MedzooError(
                f"features 'inception_fid': resize '{resize}'; choose from: {'; '.join(get_args(Resize))}"
            )
        self.resize = resize
        super().__init__(network, **options)


def create(resize: Resize = "bilinear, tensorflow 1", **options: Any) -> InceptionFID:
    """The extractor with the published weights, batch norm folded.

    Raises:
        WeightsError: the weights are not available, or are not those that were meant.
    """
    state, sha256 = obtain(InceptionFID.name, FILE)
    return build(state, sha256, resize, **options)


def build(state: dict[str, Tensor], sha256: str | None, resize: Resize, **options: Any) -> InceptionFID:
    """The extractor with weights under their published names."""
    network = Network()
    fill(network, state, InceptionFID.name)
    classifier = (network.fc.weight, None)
    fold_norms(network.eval(), [("conv", "bn")])
    return InceptionFID(network, resize=resize, weights_sha256=sha256, classifier=classifier, **options)


class Network(nn.Module):
    """float [n, 3, 299, 299] in [0, 1] -> [n, 2048]. Parameters are named as in the published weights."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, (3, 3), stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, (3, 3), padded=False)
        self.Conv2d_2b_3x3 = Convolution(32, 64, (3, 3))
        self.Conv2d_3b_1x1 = Convolution(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = Convolution(80, 192, (3, 3), padded=False)
        self.Mixed_5b = Block(192, block_a(), 32)
        self.Mixed_5c = Block(256, block_a(), 64)
        self.Mixed_5d = Block(288, block_a(), 64)
        self.Mixed_6a = Block(288, BLOCK_B, 0)
        self.Mixed_6b = Block(768, block_c(128), 192)
        self.Mixed_6c = Block(768, block_c(160), 192)
        self.Mixed_6d = Block(768, block_c(160), 192)
        self.Mixed_6e = Block(768, block_c(192), 192)
        self.Mixed_7a = Block(768, BLOCK_D, 0)
        self.Mixed_7b = Block(1280, BLOCK_E, 192)
        self.Mixed_7c = Block(2048, BLOCK_E, 192, pools_by_maximum=True)
        self.fc = nn.Linear(2048, CLASSES)  # not used here: the classifier of the Inception score

    def forward(self, x: Tensor) -> Tensor:
        x = ((x * 255 - 128) / 128).to(self.fc.weight.dtype)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return torch.mean(x, (2, 3))


class Convolution(nn.Module):
    """Convolution, batch norm, ReLU; padded to the size of its input unless it strides or ``padded`` is false."""

    def __init__(self, inp: int, out: int, kernel: tuple[int, int], stride: int = 1, padded: bool = True) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if padded and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(inp, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """Paths side by side, and one that pools; their outputs joined along the channels, in this order.

    Args:
        pooled: channels of the pooling path (3 x 3, stride 1, then a 1 x 1 convolution); 0 for a block that halves
            the map, where it is a maximum pool (3 x 3, stride 2) alone.
        pools_by_maximum: instead of by the mean of the positions that are no padding.
    """

    def __init__(self, inp: int, paths: tuple[Path, ...], pooled: int, pools_by_maximum: bool = False) -> None:
        super().__init__()
        self.paths = paths
        self.pools_by_maximum = pools_by_maximum
        for path in paths:
            width = inp
            for step in path:
                for name, out, kernel, stride in sides(step):
                    self.add_module(name, Convolution(width, out, kernel, stride))
                width = sides(step)[0][1]
        self.branch_pool = Convolution(inp, pooled, (1, 1)) if pooled else None

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*(self.along(path, x) for path in self.paths), self.pool(x)], 1)

    def along(self, path: Path, x: Tensor) -> Tensor:
        for step in path:
            ends = [self.get_submodule(name)(x) for name, *_ in sides(step)]
            x = ends[0] if len(ends) == 1 else torch.cat(ends, 1)
        return x

    def pool(self, x: Tensor) -> Tensor:
        if self.branch_pool is None:
            return F.max_pool2d(x, 3, 2)
        x = F.max_pool2d(x, 3, 1, 1) if self.pools_by_maximum else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        out: Tensor = self.branch_pool(x)
        return out


def sides(step: Step | tuple[Step, Step]) -> tuple[Step, ...]:
    return (step,) if isinstance(step[0], str) else step


def step(name: str, out: int, height: int = 1, width: int = 1, stride: int = 1) -> Step:
    return f"branch{name}", out, (height, width), stride


def block_a() -> tuple[Path, ...]:
    return (
        (step("1x1", 64),),
        (step("5x5_1", 48), step("5x5_2", 64, 5, 5)),
        (step("3x3dbl_1", 64), step("3x3dbl_2", 96, 3, 3), step("3x3dbl_3", 96, 3, 3)),
    )


def block_c(inner: int) -> tuple[Path, ...]:
    return (
        (step("1x1", 192),),
        (step("7x7_1", inner), step("7x7_2", inner, 1, 7), step("7x7_3", 192, 7, 1)),
        (
            step("7x7dbl_1", inner),
            step("7x7dbl_2", inner, 7, 1),
            step("7x7dbl_3", inner, 1, 7),
            step("7x7dbl_4", inner, 7, 1),
            step("7x7dbl_5", 192, 1, 7),
        ),
    )


BLOCK_B: tuple[Path, ...] = (
    (step("3x3", 384, 3, 3, stride=2),),
    (step("3x3dbl_1", 64), step("3x3dbl_2", 96, 3, 3), step("3x3dbl_3", 96, 3, 3, stride=2)),
)
BLOCK_D: tuple[Path, ...] = (
    (step("3x3_1", 192), step("3x3_2", 320, 3, 3, stride=2)),
    (
        step("7x7x3_1", 192),
        step("7x7x3_2", 192, 1, 7),
        step("7x7x3_3", 192, 7, 1),
        step("7x7x3_4", 192, 3, 3, stride=2),
    ),
)
BLOCK_E: tuple[Path, ...] = (
    (step("1x1", 320),),
    (step("3x3_1", 384), (step("3x3_2a", 384, 1, 3), step("3x3_2b", 384, 3, 1))),
    (
        step("3x3dbl_1", 448),
        step("3x3dbl_2", 384, 3, 3),
        (step("3x3dbl_3a", 384, 1, 3), step("3x3dbl_3b", 384, 3, 1)),
    ),
)
