"""Networks described as lists of layers give what their authors' torch code gives, and odd lists are refused early."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from medzoo.errors import EntryError
from medzoo.nets.layers import OPS, Described, Misfit, Values, parse
from medzoo.nets.layers.fold import fold
from medzoo.randomness import Noise


def lively(module: nn.Module, seed: int = 1) -> nn.Module:
    """Random weights and statistics, of a size that keeps values near 1."""
    torch.manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand_like(tensor) + 0.5)
        elif tensor.is_floating_point() and tensor.dim() < 2:
            tensor.copy_(torch.randn_like(tensor) * 0.3 + (0.8 if name.endswith("weight") else 0))
    return module.eval()


def described(state: dict[str, Tensor], layers: list[Any], fused: bool, **inputs: Tensor) -> Tensor:
    """What the layers give with the tensors of a file; traced first, as a family does."""
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    first = next(iter(inputs))
    with torch.device("meta"):
        network = Described(parse(layers), shapes, first)
    shape, _ = network.trace({name: (tuple(value.shape[1:]), value.dtype) for name, value in inputs.items()})
    assert {name for name in state if not name.endswith("num_batches_tracked")} <= network.used
    adapted = network.adapt(state)
    network = Described(parse(layers), shapes, first)
    network.load_state_dict(adapted, strict=False)
    network.eval().requires_grad_(False)
    made = (fold(network) if fused else network)(Values(dict(inputs), Noise(0, range(len(inputs[first])))))
    assert tuple(made.shape[1:]) == shape
    return made


def check(module: nn.Module, layers: list[Any], *shape: int, dtype: torch.dtype = torch.float32) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, *shape) if dtype.is_floating_point else torch.randint(0, 3, (2, *shape))
    with torch.no_grad():
        expected = module(x)
    assert expected.std() > 1e-3
    for fused in (False, True):
        made = described(dict(module.state_dict()), layers, fused, latent=x)
        torch.testing.assert_close(made, expected, atol=1e-5 if fused else 1e-6, rtol=1e-5 if fused else 1e-6)


def up(key: str, stride: int = 2, padding: int = 1, **more: Any) -> dict[str, Any]:
    return {"op": "conv_transpose", "key": key, "stride": stride, "padding": padding} | more


def conv(key: str, padding: Any = 1, **more: Any) -> dict[str, Any]:
    return {"op": "conv", "key": key, "padding": padding} | more


def layer(op: str, key: str, **more: Any) -> dict[str, Any]:
    return {"op": op, "key": key} | more


def leaky() -> nn.Module:
    return nn.LeakyReLU(0.2)


SLOPE = {"op": "leaky_relu", "slope": 0.2}
T3 = nn.ConvTranspose3d
T2, C2, BN, IN = nn.ConvTranspose2d, nn.Conv2d, nn.BatchNorm2d, nn.InstanceNorm2d
SEQUENTIAL: dict[str, tuple[Callable[[], nn.Module], list[Any], tuple[int, ...]]] = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 16), nn.Sigmoid(), nn.Unflatten(1, (1, 4, 4))),
        [layer("linear", "0"), "relu", layer("linear", "2"), "sigmoid", {"op": "view", "shape": [1, 4, 4]}], (5,),
    ),
    "mlp with batch norm": (
        lambda: nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8, 0.8), nn.LeakyReLU(0.2), nn.Linear(8, 9), nn.Tanh()),
        [layer("linear", "0"), layer("batch_norm", "1", eps=0.8), SLOPE, layer("linear", "3"), "tanh"], (5,),
    ),
    "dcgan": (
        lambda: nn.Sequential(T2(6, 8, 4, 1, 0, bias=False), BN(8), nn.ReLU(), T2(8, 3, 4, 2, 1), nn.Tanh()),
        [up("0", 1, 0), layer("batch_norm", "1"), "relu", up("3"), "tanh"], (6, 1, 1),
    ),
    "kernel 7 first": (
        lambda: nn.Sequential(T2(6, 8, 7), BN(8), nn.ReLU(), T2(8, 4, 4, 2, 1), BN(4), nn.ReLU(), T2(4, 1, 4, 2, 1)),
        [up("0", 1, 0), layer("batch_norm", "1"), "relu", up("3"), layer("batch_norm", "4"), "relu", up("6")],
        (6, 1, 1),
    ),
    "upsample and convolution": (
        lambda: nn.Sequential(nn.Upsample(scale_factor=2), C2(3, 6, 3, padding=1), BN(6), nn.ReLU(), C2(6, 2, 3, 1, 1)),
        [{"op": "upsample", "scale": 2}, conv("1"), layer("batch_norm", "2"), "relu", conv("4")], (3, 4, 4),
    ),
    "bilinear, corners aligned": (
        lambda: nn.Sequential(nn.Upsample(scale_factor=3, mode="bilinear", align_corners=True), C2(3, 2, 5, padding=2)),
        [{"op": "upsample", "scale": 3, "mode": "bilinear", "corners": True}, conv("1", 2)], (3, 4, 5),
    ),
    "wide 3 x 3": (
        lambda: nn.Sequential(C2(64, 64, 3, padding=1), nn.ReLU(), C2(64, 1, 1)),
        [conv("0"), "relu", conv("2", 0)], (64, 32, 32),
    ),
    "instance norm": (
        lambda: nn.Sequential(T2(3, 4, 4, 2, 1), IN(4), leaky(), C2(4, 4, 3, 1, 1), IN(4, affine=True), nn.ELU()),
        [up("0"), "instance_norm", SLOPE, conv("3"), layer("instance_norm", "4"), "elu"], (3, 4, 4),
    ),
    "group norm and silu": (
        lambda: nn.Sequential(C2(4, 8, 3, 1, 1), nn.GroupNorm(2, 8, 1e-6), nn.SiLU(), C2(8, 2, 3, 2, 1)),
        [conv("0"), layer("group_norm", "1", groups=2, eps=1e-6), "silu", conv("3", stride=2)], (4, 6, 6),
    ),
    "pixel shuffle": (
        lambda: nn.Sequential(C2(3, 8, 3, 1, 1), nn.PixelShuffle(2), nn.PReLU(2), C2(2, 1, 3, 1, 1)),
        [conv("0"), {"op": "pixel_shuffle", "factor": 2}, layer("prelu", "2"), conv("3")], (3, 4, 4),
    ),
    "reflect and replicate": (
        lambda: nn.Sequential(
            nn.ReflectionPad2d(3), C2(2, 4, 7), nn.ReLU(), C2(4, 2, 3, padding=1, padding_mode="replicate"),
            nn.ZeroPad2d((1, 0, 2, 0)), nn.Softplus(),
        ),
        [
            {"op": "pad", "by": 3, "mode": "reflect"}, conv("1", 0), "relu", conv("3", mode="replicate"),
            {"op": "pad", "by": [1, 0, 2, 0]}, "softplus",
        ],
        (2, 8, 8),
    ),
    "groups and dilation": (
        lambda: nn.Sequential(C2(4, 4, 3, 1, 2, 2, 4), nn.GELU(), C2(4, 2, 1), nn.Hardtanh(-0.5, 0.5)),
        [conv("0", 2, dilation=2, groups=4), "gelu", conv("2", 0), {"op": "clamp", "low": -0.5, "high": 0.5}],
        (4, 6, 6),
    ),
    "output padding": (
        lambda: nn.Sequential(T2(4, 4, 3, 2, 1, output_padding=1), BN(4), nn.ReLU6(), T2(4, 2, 3, 2, 1, 1, groups=2)),
        [up("0", output_padding=1), layer("batch_norm", "1"), "relu6", up("3", output_padding=1, groups=2)], (4, 3, 3),
    ),
    "volumes": (
        lambda: nn.Sequential(T3(3, 4, 4, 2, 1), nn.BatchNorm3d(4), nn.ReLU(), nn.Conv3d(4, 1, 3, 1, 1)),
        [up("0"), layer("batch_norm", "1"), "relu", conv("3")], (3, 2, 3, 2),
    ),
    "one dimension": (
        lambda: nn.Sequential(nn.ConvTranspose1d(3, 4, 4, 2, 1), nn.BatchNorm1d(4), nn.Mish(), nn.Conv1d(4, 1, 3)),
        [up("0"), layer("batch_norm", "1"), "mish", conv("3", 0)], (3, 8),
    ),
    "batch norm without gain": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, affine=False), nn.Tanh()),
        [layer("linear", "0"), layer("batch_norm", "1"), "tanh"], (4,),
    ),
    "spectral norm": (
        lambda: nn.Sequential(spectral_norm(C2(3, 4, 3, padding=1)), nn.ReLU(), spectral_norm(T2(4, 2, 4, 2, 1))),
        [conv("0"), "relu", up("2")], (3, 4, 4),
    ),
    "spectral norm, new form": (
        lambda: nn.Sequential(parametrizations.spectral_norm(C2(3, 4, 3, padding=1)), nn.Tanh(), C2(4, 1, 1)),
        [conv("0"), "tanh", conv("2", 0)], (3, 4, 4),
    ),
    "weight norm, new form": (
        lambda: nn.Sequential(parametrizations.weight_norm(C2(3, 4, 3, padding=1)), nn.Tanh(), C2(4, 1, 1)),
        [conv("0"), "tanh", conv("2", 0)], (3, 4, 4),
    ),
    "pooling": (
        lambda: nn.Sequential(
            C2(1, 4, 3, 1, 1), nn.MaxPool2d(2), nn.AvgPool2d(3, 1, 1), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        ),
        [
            conv("0"), {"op": "max_pool", "kernel": 2}, {"op": "avg_pool", "kernel": 3, "stride": 1, "padding": 1},
            {"op": "adaptive_avg_pool", "size": 2}, "flatten",
        ],
        (1, 8, 8),
    ),
    "layer norm over a map": (
        lambda: nn.Sequential(C2(1, 3, 3, 1, 1), nn.LayerNorm((3, 4, 4)), nn.GELU(approximate="tanh"), C2(3, 1, 1)),
        [conv("0"), layer("layer_norm", "1"), {"op": "gelu", "approximate": "tanh"}, conv("3", 0)], (1, 4, 4),
    ),
    "softmax": (
        lambda: nn.Sequential(C2(3, 5, 1), nn.Softmax(1)), [conv("0", 0), "softmax"], (3, 4, 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_a_sequence_of_torch_modules(name: str) -> None:
    make, layers, shape = SEQUENTIAL[name]
    torch.manual_seed(3)
    check(lively(make()), layers, *shape)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_weight_norm_in_the_old_form() -> None:
    for dim in (0, None):
        check(
            lively(nn.Sequential(weight_norm(nn.Linear(5, 6), dim=dim), nn.Tanh())), [layer("linear", "0"), "tanh"], 5
        )


class Residual(nn.Module):
    """Blocks of a ResNet generator, with a shortcut in the first."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(C2(4, 4, 3, 1, 1), BN(4), nn.ReLU(), C2(4, 4, 3, 1, 1)) for _ in range(3)
        )
        self.skip, self.gamma = C2(2, 4, 1), nn.Parameter(torch.tensor(0.3))
        self.head = C2(2, 4, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x) * 0.5 + self.skip(x)
        for block in self.blocks:
            x = x + self.gamma * block(x)
        return x


def test_residuals_repetition_and_a_learned_scale() -> None:
    block = [conv("blocks.{i}.0"), layer("batch_norm", "blocks.{i}.1"), "relu", conv("blocks.{i}.3")]
    body = {"op": "residual", "layers": [*block, {"op": "scale", "key": "gamma"}]}
    first = {"op": "residual", "scale": 0.5, "layers": [conv("head")], "shortcut": [conv("skip", 0)]}
    torch.manual_seed(3)
    check(lively(Residual()), [first, {"op": "repeat", "times": 3, "layers": [body]}], 2, 5, 5)


class UNet(nn.Module):
    """One level down and up, joined; a learned map added."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.middle, self.up = C2(1, 4, 4, 2, 1), C2(4, 4, 3, 1, 1), T2(4, 3, 4, 2, 1)
        self.out, self.place = C2(4, 1, 3, 1, 1), nn.Parameter(torch.randn(1, 1, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.place
        inside = F.relu(self.down(x))
        inside = inside * torch.sigmoid(self.middle(inside))
        return torch.tanh(self.out(torch.cat([x, self.up(inside)], 1)))


def test_named_skips_branches_and_a_learned_map() -> None:
    gate = {"op": "multiply", "layers": [conv("middle"), "sigmoid"]}
    layers = [
        {"op": "shift", "key": "place"}, {"op": "save", "value": "input"}, conv("down", stride=2), "relu", gate,
        up("up"),
        {"op": "cat", "value": "input", "before": True}, conv("out"), "tanh",
    ]  # fmt: skip
    torch.manual_seed(3)
    check(lively(UNet()), layers, 1, 8, 8)


class Conditional(nn.Module):
    """A class by three ways: one-hot joined, an embedding multiplied, an embedding as a further channel."""

    def __init__(self) -> None:
        super().__init__()
        self.label, self.plane = nn.Embedding(3, 8), nn.Embedding(3, 16)
        self.first, self.out = nn.Linear(7, 8), T2(3, 1, 3, 1, 1)
        self.widen = nn.Linear(8, 32)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        x = F.relu(self.first(torch.cat([z, F.one_hot(y, 3).float()], 1))) * self.label(y)
        maps = torch.cat([self.widen(x).view(-1, 2, 4, 4), self.plane(y).view(-1, 1, 4, 4)], 1)
        return self.out(maps)


def test_classes() -> None:
    torch.manual_seed(3)
    network = lively(Conditional())
    label = {"op": "use", "value": "label"}
    plane = [label, layer("embedding", "plane"), {"op": "view", "shape": [1, 4, 4]}]
    layers = [
        {"op": "cat", "layers": [label, {"op": "one_hot", "classes": 3}]}, layer("linear", "first"), "relu",
        {"op": "multiply", "layers": [label, layer("embedding", "label")]}, layer("linear", "widen"),
        {"op": "view", "shape": [2, 4, 4]}, {"op": "cat", "layers": plane}, up("out", 1),
    ]  # fmt: skip
    z, y = torch.randn(4, 4), torch.tensor([2, 0, 1, 1])
    for fused in (False, True):
        made = described(dict(network.state_dict()), layers, fused, latent=z, label=y)
        torch.testing.assert_close(made, network(z, y).detach(), atol=1e-6, rtol=1e-6)


def test_no_class_has_a_row_of_its_own() -> None:
    table = nn.Embedding(3, 4)
    state = {"t.weight": table.weight.detach()}
    y = torch.tensor([-1, 1])
    made = described(state, [layer("embedding", "t", none=2)], True, label=y)
    torch.testing.assert_close(made, table(torch.tensor([2, 1])).detach())
    assert described({}, [{"op": "one_hot", "classes": 2}], True, label=y).tolist() == [[0, 0], [0, 1]]


def test_attention_packed_and_in_parts() -> None:
    torch.manual_seed(3)
    packed = nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True).eval()
    attend = {"op": "attention", "key": "self_attn", "heads": 2}
    layers = [
        {"op": "residual", "layers": [attend]}, layer("layer_norm", "norm1"),
        {"op": "residual", "layers": [layer("linear", "linear1"), "gelu", layer("linear", "linear2")]},
        layer("layer_norm", "norm2"),
    ]  # fmt: skip
    check(packed, layers, 5, 8)

    class OnMaps(nn.Module):
        """Self-attention of SAGAN."""

        def __init__(self) -> None:
            super().__init__()
            self.f, self.g, self.h, self.gamma = C2(8, 2, 1), C2(8, 2, 1), C2(8, 8, 1), nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            f, g, h = (part(x).flatten(2) for part in (self.f, self.g, self.h))
            weights = torch.softmax(f.transpose(1, 2) @ g, -1)
            return x + self.gamma * (h @ weights.transpose(1, 2)).view_as(x)

    parts = {"op": "attention", "query": "f", "attend": "g", "value": "h", "scaled": False}
    network = OnMaps()
    check(network, [{"op": "residual", "layers": [parts, {"op": "scale", "key": "gamma"}]}], 8, 3, 4)


def test_time() -> None:
    """As improved-diffusion and as "Attention is all you need" embed it."""
    t = torch.tensor([1.0, 250.0, 999.0])
    steps = torch.arange(4) * -math.log(10000)
    cosine_first = t[:, None] * torch.exp(steps / 4)
    made = described({}, [{"op": "sinusoidal", "width": 8, "first": "cos"}], True, time=t)
    torch.testing.assert_close(made, torch.cat([cosine_first.cos(), cosine_first.sin()], 1))
    sine_first = t[:, None] * torch.exp(steps / 3)
    made = described({}, [{"op": "sinusoidal", "width": 8, "ends": True}], True, time=t)
    torch.testing.assert_close(made, torch.cat([sine_first.sin(), sine_first.cos()], 1))


def test_injected_noise_is_each_samples_own() -> None:
    state = {"strength": torch.tensor([0.5, 2.0])}
    layers = [layer("noise", "strength", each=True), {"op": "dropout", "p": 0.25, "on": True}]
    x = torch.ones(3, 2, 4, 4)
    made = described(state, layers, True, latent=x)
    shapes = {"strength": (2,)}
    network = Described(parse(layers), shapes)
    network.load_state_dict(network.adapt(state))
    alone = network(Values({"latent": x[:1]}, Noise(0, [2]))).detach()
    torch.testing.assert_close(made[2:], alone)
    drawn = Noise(0, [2]).normal((2, 4, 4))
    kept = alone != 0
    assert 0.4 < kept.float().mean() < 0.98
    expected = (1 + drawn * state["strength"][:, None, None]) / 0.75
    torch.testing.assert_close(alone[kept], expected[kept])


def test_shapes() -> None:
    x = torch.arange(48.0).reshape(2, 2, 3, 4)
    cases: list[tuple[Any, Tensor]] = [
        ({"op": "permute", "order": [1, 2, 0]}, x.permute(0, 2, 3, 1)),
        ("tokens", x.flatten(2).transpose(1, 2)),
        ({"op": "slice", "dim": 2, "start": 1, "stop": 3}, x[..., 1:3]),
        ({"op": "slice", "stop": -1}, x[:, :-1]),
        ({"op": "crop", "size": [1, 2]}, x[..., 1:2, 1:3]),
        ("argmax", x.argmax(1, keepdim=True).float()),
        ("min_max", (x - x.amin((1, 2, 3), True)) / 23),
        ({"op": "tile", "times": 2}, torch.cat([x, x], -1)),
        ({"op": "shift", "by": -1.5}, x - 1.5),
        ({"op": "subtract", "layers": [{"op": "scale", "by": 2}]}, -x),
        ({"op": "upsample", "size": [6, 6], "mode": "linear"}, F.interpolate(x, (6, 6), mode="bilinear")),
        ("pixel_norm", x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()),
    ]
    for stated, expected in cases:
        torch.testing.assert_close(described({}, [stated], True, latent=x), expected)
    maps = described({}, ["tokens", {"op": "map", "size": [3, 4]}], True, latent=x)
    assert torch.equal(maps, x)
    spread = described({}, [{"op": "expand", "size": [2, 2]}], True, latent=x[:, :, 0, 0])
    assert spread.shape == (2, 2, 2, 2) and torch.equal(spread[..., 1, 1], x[:, :, 0, 0])


def test_a_denoiser_that_was_really_trained(shared: Any) -> None:
    """DDPM of MNIST: LayerNorm over whole maps, a learned embedding of time added at each pixel."""
    folder = shared / "checkpoints" / "ddpm_mnist_cnn"
    golden = np.load(folder / "golden.npz")
    state = torch.load(folder / "ddpm_mnist_starter.pth", map_location="cpu", weights_only=True)
    state = {name.removeprefix("gt."): value for name, value in state.items() if name.startswith("gt.")}
    wave = [
        {"op": "use", "value": "time"}, {"op": "view", "shape": [1]},
        {"op": "multiply", "layers": [layer("constant", "frequencies")]}, {"op": "save", "value": "angles"},
        "sin", {"op": "cat", "layers": [{"op": "use", "value": "angles"}, "cos", {"op": "shift", "by": -1}]},
        {"op": "repeat", "times": 3, "step": 2, "layers": [layer("linear", "time_embed.{i}"), "gelu"]},
        layer("linear", "time_embed.6"),
    ]  # fmt: skip
    block = [conv("blocks.{i}.net.0", 3), layer("layer_norm", "blocks.{i}.net.1"), "gelu"]
    first = {"op": "repeat", "times": 1, "layers": block}
    layers = [first, {"op": "add", "layers": wave}, {"op": "repeat", "times": 3, "first": 1, "layers": block}]
    layers.append(conv("blocks.4"))
    if "frequencies" in state:
        layers = eval(repr(layers).replace("frequencies", "frequencies"))
    x, t = torch.from_numpy(golden["x"]), torch.from_numpy(golden["t"]).float() / 1000
    for fused in (False, True):
        made = described(state, layers, fused, latent=x, time=t)
        torch.testing.assert_close(made, torch.from_numpy(golden["eps"]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (["rellu"], r"layers\[0\]: there is no layer 'rellu'; did you mean .*relu"),
        ([{"op": "linear", "kee": "a"}], r"layers\[0\] \(linear\): .*fields of linear: key"),
        ([7], r"layers\[0\]: expected a layer"),
        ([{"op": "linear", "key": "b"}], r"layers\[0\] \(linear 'b'\): .*no 'b.weight'; closest: a.weight"),
        ([layer("linear", "a"), layer("linear", "a")], r"layers\[1\] \(linear 'a'\), which gets \[3\]: "),
        (["relu", {"op": "residual", "layers": [layer("linear", "a")]}], r"layers\[1\] .*residual.*gives? \[3\]"),
        ([{"op": "residual", "layers": ["relu", layer("linear", "c")]}], r"layers\[0\].layers\[1\] \(linear 'c'\)"),
        ([{"op": "view", "shape": [5]}], r"layers\[0\] \(view\), which gets \[4\]"),
        ([{"op": "use", "value": "label"}], "there is no 'label' here; what has a name: latent"),
        ([layer("conv", "a")], "needs a weight of 3 to 5 dimensions, the file has"),
        ([{"op": "embedding", "key": "a"}], "takes whole numbers"),
        ([{"op": "repeat", "times": 1001, "layers": ["relu"]}], "less than or equal to 1000"),
        ([], "the list is empty"),
        ([{"op": "upsample"}], "needs one of 'scale' and 'size'"),
        ([{"op": "cat"}], "cat needs one of 'value'"),
        ([{"op": "permute", "order": [1]}], "order must hold"),
        ([{"op": "slice", "dim": 3}], "there is no dimension 3"),
    ],
)  # fmt: skip
def test_what_makes_no_network_is_named(layers: list[Any], words: str) -> None:
    state = {"a.weight": torch.zeros(3, 4)}
    with pytest.raises(Misfit, match=words):
        described(state, layers, True, latent=torch.zeros(1, 4))


@pytest.mark.parametrize(
    "layers",
    [
        [{"op": "view", "shape": [4, 1, 1]}, {"op": "upsample", "scale": 1e6}],
        [{"op": "view", "shape": [4, 1, 1]}, {"op": "pad", "by": 10**9}],
        [{"op": "tile", "times": 10**12}],
        [{"op": "one_hot", "classes": 10**10}],
        [{"op": "repeat", "times": 1000, "layers": [{"op": "repeat", "times": 1000, "layers": ["relu"]}]}],
        [{"op": "repeat", "times": 100, "layers": [{"op": "cat", "layers": ["relu"]}]}],
    ],
    ids=str,
)
def test_a_hostile_list_cannot_ask_for_a_terabyte(layers: list[Any]) -> None:
    latent = torch.zeros(1, 4)
    with pytest.raises((Misfit, EntryError)):
        described({}, layers, True, latent=latent if "one_hot" not in str(layers) else latent.long())


def test_what_goes_in_is_bounded_too() -> None:
    with torch.device("meta"):
        network = Described(parse([{"op": "slice", "stop": 4}]), {})
    with pytest.raises(EntryError, match="latent: .* numbers, at most"):
        network.trace({"latent": ((2**40,), torch.float32)})


def test_a_thousand_levels_are_refused() -> None:
    nested: Any = "relu"
    for _ in range(1000):
        nested = {"op": "residual", "layers": [nested]}
    with pytest.raises(Misfit, match="deep"):
        parse([nested])


def test_every_kind_of_layer_says_what_it_does() -> None:
    from medzoo.nets.layers._pointwise import PLAIN

    for name, kind in OPS.items():
        assert name == kind.op and (name in PLAIN or kind.__doc__)
