"""ResNet-50 trained on RadImageNet: 2048 features, the mean over positions of the last stage's output.

RadImageNet (Mei et al., Radiology: Artificial Intelligence 2022, doi:10.1148/ryai.210315): 1.35 million CT, MR and
ultrasound images in 165 classes. The network is ResNet-50 (He et al., CVPR 2016) with the stride in the 3 x 3
convolution, under torchvision's names. The weights are the PyTorch ones of the authors as the Hub repository
Lab-Rasool/RadImageNet carries them (licence there, and of the authors' code: MIT), without classifier, so there are no
``probabilities``. Images are scaled to 2 x - 1 and resized bilinearly to 224 x 224, as the authors' PyTorch examples
do (they read grey images; the card of the Hub repository says ImageNet's mean and deviation instead).

**Unverified**: the file was not available here. Its layout is taken from public code that loads it (the layers of
torchvision's network in a row, ``backbone.0`` for ``conv1`` and so on; torchvision's own names are taken too), and no
hash is known: that of the first download is recorded. Numbers are **not comparable** with other RadImageNet distances,
which were measured with the authors' Keras networks (Inception v3 among them) or with a port of their Keras ResNet-50
that wants blue, green and red less ImageNet's means.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.features._base import Extractor
from medzoo.features._files import File, fill, obtain, on_the_hub
from medzoo.features._fold import fold_norms

FILE = File((on_the_hub("Lab-Rasool/RadImageNet", None, "ResNet50.pt", None),), "torch")
STAGES = (3, 4, 6, 3)  # blocks
IN_A_ROW = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


class RadImageNetResNet50(Extractor):
    """Features float32 [n, 2048]; images are resized to 224 x 224 and scaled to 2 x - 1."""

    name = "radimagenet_resnet50"
    dim = 2048
    size = 224
    range = "2 x - 1"
    license = "MIT"

    def __init__(self, network: Network, **options: Any) -> None:
        self.dim = network.dim
        super().__init__(network, **options)


def create(**options: Any) -> RadImageNetResNet50:
    """The extractor with the published weights, batch norm folded.

    Raises:
        WeightsError: the weights are not available, or are not those that were meant.
    """
    state, sha256 = obtain(RadImageNetResNet50.name, FILE)
    return build(state, sha256, **options)


def build(
    state: dict[str, Tensor], sha256: str | None, stages: tuple[int, ...] = STAGES, **options: Any
) -> RadImageNetResNet50:
    """The extractor with weights under their published names, or under torchvision's; ``stages``: blocks of each."""
    network = Network(stages)
    fill(network, as_torchvision(state), RadImageNetResNet50.name)
    fold_norms(network.eval(), [("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1")])
    return RadImageNetResNet50(network, weights_sha256=sha256, **options)


def as_torchvision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of the layers in a row -> torchvision's; without the classifier."""
    renamed = {}
    for key, value in state.items():
        head, _, rest = key.removeprefix("backbone.").partition(".")
        renamed[f"{IN_A_ROW.get(head, head)}.{rest}"] = value
    return {key: value for key, value in renamed.items() if not key.startswith("fc.")}


class Network(nn.Module):
    """float [n, 3, 224, 224] in [0, 1] -> [n, 2048]. Parameters are named as in torchvision."""

    def __init__(self, stages: tuple[int, ...] = STAGES) -> None:
        super().__init__()
        self.stages = len(stages)
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inp = 64
        for number, blocks in enumerate(stages):
            inner = 64 * 2**number
            row = [
                Bottleneck(inp if i == 0 else 4 * inner, inner, 2 if number and i == 0 else 1) for i in range(blocks)
            ]
            self.add_module(f"layer{number + 1}", nn.Sequential(*row))
            inp = 4 * inner
        self.dim = inp

    def forward(self, x: Tensor) -> Tensor:
        x = (2 * x - 1).to(self.conv1.weight.dtype)
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for number in range(self.stages):
            x = self.get_submodule(f"layer{number + 1}")(x)
        return torch.mean(x, (2, 3))


class Bottleneck(nn.Module):
    """1 x 1 down, 3 x 3 with the stride, 1 x 1 up to four times the width; added to the input, brought to shape."""

    def __init__(self, inp: int, inner: int, stride: int) -> None:
        super().__init__()
        out = 4 * inner
        self.conv1 = nn.Conv2d(inp, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or inp != out:
            self.downsample = nn.Sequential(nn.Conv2d(inp, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))
