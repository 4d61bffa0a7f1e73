"""The networks of ``inpaint`` under their published state-dict names, the row they make, and their fused form.

Every convolution is followed by instance norm, the last one of a network included, so that biases have no effect.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.families._resnet import fold_block
from medzoo.nets import SpectralConv2d
from medzoo.nets.folding import fold_upsampling
from medzoo.nets.statistics import instance_norm_
from medzoo.nets.winograd import Winograd

DECODERS = ("F", "T1", "T1c", "T2")  # names of the published keys
# Grades: what the grade network's output becomes from which value on (edema, enhancing, necrotic core).
CUTS = ((0.36, 0.5), (0.63, 0.75), (0.85, 1.0))
INSIDE = 0.3  # of the shape network's output and of circles
DARK = 0.3 / 255  # pixels above belong to the brain


class Conv(nn.Module):
    """Convolution, instance norm, activation: the layer of all three networks.

    Args:
        slope: of the activation below 0: 0 for ReLU, 1 for none.
    """

    def __init__(
        self, inp: int, out: int, kernel: int = 3, stride: int = 1, *, slope: float, spectral: bool = False
    ) -> None:
        super().__init__()
        self.slope = slope
        layer = BiasedSpectralConv2d if spectral else nn.Conv2d
        self.conv = nn.Sequential(layer(inp, out, kernel, stride, kernel // 2))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(F.instance_norm(self.conv(x)), self.slope)


class BiasedSpectralConv2d(SpectralConv2d):
    """With a bias, which instance norm takes off again."""

    def __init__(self, inp: int, out: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(inp, out, kernel, stride, padding)
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor, grow: bool = False) -> Tensor:
        return super().forward(x, grow) + self.bias[:, None, None]


class Residual(nn.Module):
    """x plus two layers, the second without an activation."""

    def __init__(self, channels: int, slope: float, spectral: bool = False) -> None:
        super().__init__()
        first = Conv(channels, channels, slope=slope, spectral=spectral)
        self.conv_block = nn.Sequential(first, Conv(channels, channels, slope=1, spectral=spectral))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class Up(nn.ConvTranspose2d):
    """Transposed 3x3 convolution that doubles height and width; norm and activation follow in the published list."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__(inp, out, 3, stride=2, padding=1, output_padding=1)


class Shape(nn.Module):
    """The shape and the grade network: [n, inp, h, w] -> [n, out, h, w], about 0 to 1, unbounded."""

    SLOPE = 0.01

    def __init__(self, inp: int, out: int, width: int) -> None:
        super().__init__()
        slope = self.SLOPE
        layers: list[nn.Module] = [Conv(inp, width, 5, slope=slope)]
        layers += [Conv(width * k, 2 * width * k, stride=2, slope=slope) for k in (1, 2, 4)]
        layers += [Residual(8 * width, slope, spectral=True) for _ in range(3)]
        for k in (8, 4, 2):
            layers += [Up(width * k, width * k // 2), nn.InstanceNorm2d(width * k // 2), nn.LeakyReLU(slope)]
        layers += [Conv(width, out, 5, slope=slope)]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def fuse(self) -> None:
        self.model = _fused(self.model)


class Inpainter(nn.Module):
    """Slices and, last, the grade mask [n, inp, h, w] -> slices [n, 4, h, w], never negative.

    One decoder a sequence.
    """

    def __init__(self, inp: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [Conv(inp, width, stride=2, slope=0), Conv(width, 4 * width, stride=2, slope=0)]
        self.model_initial = nn.Sequential(*layers, *(Residual(4 * width, 0) for _ in range(3)))
        eighth, half = width // 8, width // 2
        self.model_Mask = nn.Sequential(Conv(1, eighth, stride=2, slope=0), Conv(eighth, half, stride=2, slope=0))
        for name in DECODERS:
            self.add_module(f"model_{name}", nn.Sequential(*self.decoder(4 * width + half, width)))

    @staticmethod
    def decoder(inp: int, width: int) -> list[nn.Module]:
        layers: list[nn.Module] = [Conv(inp, 8 * width, slope=0), Residual(8 * width, 0)]
        for k in (8, 4):
            up = nn.Upsample(scale_factor=2, mode="nearest")
            layers += [up, Conv(k * width, k * width // 2, slope=0), Residual(k * width // 2, 0)]
        return [*layers, Conv(2 * width, 1, 7, slope=0)]

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.cat([self.model_initial(x), self.model_Mask(x[:, -1:])], dim=1)
        return torch.cat([self.get_submodule(f"model_{name}")(inner) for name in DECODERS], dim=1)

    def fuse(self) -> None:
        for name in ("initial", "Mask", *DECODERS):
            self.add_module(f"model_{name}", _fused(self.get_submodule(f"model_{name}")))


class Pipeline(nn.Module):
    """Slices [n, 4, h, w] in [0, 1] and graded circles [n, 1, h, w] -> slices with a tumour, and four masks."""

    def __init__(self, inp: int, width: int) -> None:
        super().__init__()
        self.shape, self.grade = Shape(2, 1, width), Shape(2, 1, width)
        self.inpaint = Inpainter(inp, width)

    def forward(self, slices: Tensor, circles: Tensor) -> Tensor:
        """``circles`` in float32, as are the two networks that make the masks."""
        # One by one: where a value lies at a cut, the last digits of a sum decide, and the batch must not.
        rows = [self.masks(slices[row : row + 1].float(), circles[row : row + 1]) for row in range(len(slices))]
        tumour, grades = (torch.cat(part).to(slices.dtype) for part in zip(*rows, strict=True))
        healthy = slices * (1 - tumour)
        inpainted = self.inpaint(torch.cat([healthy, grades], dim=1))
        reached = [(grades >= grade).to(slices.dtype) for _, grade in CUTS]
        return torch.cat([inpainted * tumour + healthy, tumour, *reached], dim=1)

    def masks(self, slices: Tensor, circles: Tensor) -> tuple[Tensor, Tensor]:
        """The tumour mask, 0 or 1, and the grade mask, 0, 0.5, 0.75 or 1."""
        brain = (slices[:, :1] > DARK).float()
        tumour = (self.shape(torch.cat([brain, (circles > INSIDE).float()], dim=1)) > INSIDE).float()
        graded = self.grade(torch.cat([tumour, circles], dim=1))
        grades = torch.zeros_like(graded)
        for cut, grade in CUTS:
            grades = torch.where(graded >= cut, grade, grades)
        return tumour, grades


class Fused(nn.Module):
    """Convolution, instance norm and activation for speed: no bias, folded weights, in place."""

    def __init__(self, conv: nn.Module, slope: float, upsampled: bool = False) -> None:
        super().__init__()
        weight = conv.weight() if isinstance(conv, SpectralConv2d) else conv.weight
        assert isinstance(weight, Tensor)
        self.slope = slope
        if upsampled:
            self.conv: nn.Module = Transposed(fold_upsampling(weight))
        elif isinstance(conv, nn.ConvTranspose2d):
            self.conv = Transposed(weight, extra=1)
        elif conv.stride not in (1, (1, 1)):
            self.conv = nn.Conv2d(1, 1, 1, 2, weight.shape[-1] // 2, bias=False)
            self.conv.weight = nn.Parameter(weight.detach(), requires_grad=False)
        elif weight.shape[0] == 1 and weight.shape[1] >= 16:  # oneDNN's 8x8 kernel for 8 channels is wrong in bfloat16
            self.conv = Pixels(weight)
        else:
            self.conv = Winograd(weight, padding=weight.shape[-1] // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = instance_norm_(self.conv(x))
        return x if self.slope == 1 else F.leaky_relu_(x, self.slope)


class Transposed(nn.Module):
    """Transposed convolution of stride 2 and padding 1."""

    def __init__(self, weight: Tensor, extra: int = 0) -> None:
        super().__init__()
        self.extra = extra
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight, None, 2, 1, self.extra)


class Pixels(nn.Module):
    """Convolution of odd kernel to one channel, in blocks of 4x4 pixels, which fill a core's vectors."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.padding = weight.shape[-1] // 2
        self.weight = nn.Parameter(fold_block(weight.detach(), 4), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(F.conv2d(x, self.weight, None, 4, self.padding), 4)


def _fused(layers: nn.Module) -> nn.Sequential:
    """The layers of a published list, each with what follows it."""
    assert isinstance(layers, nn.Sequential)
    found: list[nn.Module] = []
    upsampled = False
    for layer in layers:
        if isinstance(layer, Conv):
            found.append(Fused(layer.conv[0], layer.slope, upsampled))
        elif isinstance(layer, Residual):
            layer.conv_block = _fused(layer.conv_block)
            found.append(layer)
        elif isinstance(layer, Up):
            found.append(Fused(layer, Shape.SLOPE))
        upsampled = isinstance(layer, nn.Upsample)
    return nn.Sequential(*found)
