"""The networks behind features, against other implementations on random weights and against published facts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from medzoo.errors import CheckpointError, MedzooError
from medzoo.features import clip, dinov2, inception_fid
from medzoo.features import radimagenet_resnet50 as radimagenet
from medzoo.features._files import fill
from medzoo.features._resize import resized
from medzoo.features._vit import Shape, VisionTransformer

TINY_CLIP = clip.shape_of(24, 2, 3, 8, 32, 16)
TINY_DINO = dinov2.shape_of(24, 2, 3, patch=14, size=42)


def random_state(network: nn.Module) -> dict[str, Tensor]:
    """Weights that keep values near 1 through many layers, statistics of batch norm that matter."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, value in network.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        if value.dim() > 1:
            state[key] = noise * math.sqrt(2 / value[0].numel())
        elif key.endswith("running_var"):
            state[key] = 0.8 + 0.4 * noise.abs()
        elif value.is_floating_point():
            state[key] = 0.1 * noise + key.endswith("weight")
        else:
            state[key] = value
    return state


def some_images(n: int, size: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (n, 3, size, size), np.uint8)


# ------------------------------------------------------------------------------------------- transformers


@pytest.fixture(scope="module")
def transformers() -> Any:
    return pytest.importorskip("transformers", reason="the reference implementation is not installed")


def randomised(model: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for value in model.parameters():
        nn.init.normal_(value, 0.3 if value.dim() < 2 else 0.0, 0.2)
    return model.eval()


def published(model: Any, folder: Path) -> dict[str, Tensor]:
    """The state dict as the library writes it to files, which has kept its names over the years."""
    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def test_clip_is_that_of_transformers(transformers: Any, tmp_path: Path) -> None:
    config = transformers.CLIPVisionConfig(
        hidden_size=24, intermediate_size=96, num_hidden_layers=2, num_attention_heads=3, image_size=32, patch_size=8,
        projection_dim=16, hidden_act="quick_gelu",
    )  # fmt: skip
    model: Any = randomised(transformers.CLIPVisionModelWithProjection(config))
    images = some_images(3, 32)
    extractor = clip.build(TINY_CLIP, published(model, tmp_path), None, batch_size=2)
    pixels = (torch.from_numpy(images) / 255 - torch.tensor(clip.MEAN)[:, None, None]) / torch.tensor(clip.STD)[
        :, None, None
    ]
    with torch.inference_mode():
        expected = model(pixels).image_embeds.numpy()
    assert extractor.dim == 16 and expected.std() > 0.1
    np.testing.assert_allclose(extractor(images), expected, atol=1e-5, rtol=1e-4)


def test_dinov2_is_that_of_transformers_with_positions_of_another_grid(transformers: Any, tmp_path: Path) -> None:
    config = transformers.Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, image_size=70, patch_size=14, layerscale_value=0.7
    )
    model: Any = randomised(transformers.Dinov2Model(config))
    images = some_images(3, 42)
    extractor = dinov2.build(TINY_DINO, published(model, tmp_path), None, batch_size=2)
    pixels = (torch.from_numpy(images) / 255 - torch.tensor(dinov2.MEAN)[:, None, None]) / torch.tensor(dinov2.STD)[
        :, None, None
    ]
    with torch.inference_mode():
        expected = model(pixels).last_hidden_state[:, 0].numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(extractor(images), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        # Parameters of the published networks; DINOv2 with 37 x 37 positions.
        (dinov2.shape_of(384, 12, 6, size=518), 22_056_576),
        (dinov2.shape_of(768, 12, 12, size=518), 86_580_480),
        (dinov2.shape_of(1024, 24, 16, size=518), 304_368_640),
        (clip.VARIANTS["base_32"][0], 87_456_000 + 768 * 512),
        (clip.VARIANTS["large_336"][0], 303_507_456 + 1024 * 768),
    ],
)
def test_published_shapes_have_as_many_parameters_as_published(shape: Shape, parameters: int) -> None:
    with torch.device("meta"):
        network = VisionTransformer(shape)
    # DINOv2: two factors a layer, multiplied into other weights here, and a token for masked patches, not read.
    others = 0 if shape.projected else (2 * shape.depth + 1) * shape.width
    assert sum(value.numel() for value in network.parameters()) + others == parameters


def test_layers_are_told_from_other_layers(transformers: Any) -> None:
    with pytest.raises(CheckpointError, match="lack 'embeddings.cls_token'; they are not those of a Dinov2Model"):
        dinov2.build(TINY_DINO, {"a": torch.zeros(1)}, None)
    with pytest.raises(CheckpointError, match="lack 'vision_model.embeddings.class_embedding'"):
        clip.build(TINY_CLIP, {"a": torch.zeros(1)}, None)


# ------------------------------------------------------------------------------------------- ResNet-50


def test_resnet50_is_that_of_monai_under_both_namings() -> None:
    nets = pytest.importorskip("monai.networks.nets", reason="the reference implementation is not installed")
    reference = nets.resnet50(
        spatial_dims=2, n_input_channels=3, conv1_t_stride=2, feed_forward=False, bias_downsample=False
    ).eval()
    state = random_state(reference)
    reference.load_state_dict(state)
    images = some_images(2, 64)
    scaled = torch.from_numpy(images) / 127.5 - 1
    with torch.inference_mode():
        expected = reference(scaled)
    assert expected.std() > 0.1
    assert set(radimagenet.as_torchvision(state)) == set(state)
    in_a_row = {ours: number for number, ours in radimagenet.IN_A_ROW.items()}
    renamed = {f"backbone.{in_a_row[key.split('.')[0]]}.{key.split('.', 1)[1]}": v for key, v in state.items()}
    assert "backbone.0.weight" in renamed and "backbone.4.0.downsample.1.running_var" in renamed
    extractor = radimagenet.build(renamed | {"fc.weight": torch.zeros(3, 2048)}, None)
    extractor.size = 64
    np.testing.assert_allclose(extractor(images), expected.numpy(), atol=1e-3, rtol=1e-3)


def test_resnet50_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = radimagenet.Network()
    assert sum(value.numel() for value in network.parameters()) == 25_557_032 - 1000 * 2049  # less torchvision's fc


# ------------------------------------------------------------------------------------------- Inception

PATHS = {
    "a": ["branch1x1", "branch5x5_1 branch5x5_2", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3"],
    "b": ["branch3x3/2", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3/2"],
    "c": [
        "branch1x1",
        "branch7x7_1 branch7x7_2 branch7x7_3",
        "branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 branch7x7dbl_4 branch7x7dbl_5",
    ],
    "d": ["branch3x3_1 branch3x3_2/2", "branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4/2"],
    "e": [
        "branch1x1",
        "branch3x3_1 branch3x3_2a+branch3x3_2b",
        "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a+branch3x3dbl_3b",
    ],
}
BLOCKS = dict(zip(["5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"], "aaabccccdee", strict=True))


class ByNames:
    """The FID Inception written down a second time: plain functions of the published tensors, kernels read off them."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv(self, x: Tensor, name: str, *, padded: bool = True) -> Tensor:
        name, _, stride = name.partition("/")
        mean, var, gain, bias = (
            self.state[f"{name}.bn.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        weight = self.state[f"{name}.conv.weight"]
        if padded and not stride:
            high, wide = (size // 2 for size in weight.shape[2:])
            x = F.pad(x, (wide, wide, high, high))
        x = F.conv2d(x, weight, stride=int(stride or 1))
        return F.batch_norm(x, mean, var, gain, bias, eps=0.001).clamp_min(0)

    def block(self, x: Tensor, name: str) -> Tensor:
        kind, outputs = BLOCKS[name], []
        for path in PATHS[kind]:
            y = x
            for step in path.split():
                y = torch.cat([self.conv(y, f"Mixed_{name}.{one}") for one in step.split("+")], 1)
            outputs.append(y)
        if kind in "bd":
            return torch.cat([*outputs, F.max_pool2d(x, 3, stride=2)], 1)
        if name == "7c":
            pooled = F.pad(x, (1, 1, 1, 1), value=-math.inf).unfold(2, 3, 1).unfold(3, 3, 1).amax((4, 5))
        else:  # sums of three by three, divided by how many of the nine are no padding
            ones = torch.ones(x.shape[1], 1, 3, 3)
            count = F.conv2d(torch.ones_like(x[:1, :1]), ones[:1], padding=1)
            pooled = F.conv2d(x, ones, padding=1, groups=x.shape[1]) / count
        return torch.cat([*outputs, self.conv(pooled, f"Mixed_{name}.branch_pool")], 1)

    def __call__(self, x: Tensor) -> tuple[Tensor, list[list[int]]]:
        shapes = []
        x = self.conv(x, "Conv2d_1a_3x3/2")
        x = self.conv(self.conv(x, "Conv2d_2a_3x3", padded=False), "Conv2d_2b_3x3")
        shapes.append(list(x.shape[1:]))
        x = self.conv(F.max_pool2d(x, 3, 2), "Conv2d_3b_1x1")
        x = F.max_pool2d(self.conv(x, "Conv2d_4a_3x3", padded=False), 3, 2)
        for name in BLOCKS:
            shapes.append(list(x.shape[1:]))
            x = self.block(x, name)
        return x.mean((2, 3)), [*shapes, list(x.shape[1:])]


@pytest.fixture(scope="module")
def inception() -> tuple[dict[str, Tensor], Any]:
    with torch.device("meta"):
        names = inception_fid.Network()
    state = {key: value for key, value in random_state(names).items() if "num_batches" not in key}  # as old files are
    return state, inception_fid.build(state, "00ff", "bilinear, tensorflow 1", batch_size=2)


def test_inception_is_the_one_of_fid(inception: tuple[dict[str, Tensor], Any]) -> None:
    state, extractor = inception
    images = some_images(2, 299)
    with torch.inference_mode():
        expected, shapes = ByNames(state)((torch.from_numpy(images).float() - 128) / 128)
    # Channels and edges of the maps as published for 299 x 299.
    assert shapes[0] == [64, 147, 147] and shapes[1] == [192, 35, 35]
    assert shapes[2:5] == [[256, 35, 35], [288, 35, 35], [288, 35, 35]]
    assert shapes[5:10] == 5 * [[768, 17, 17]] and shapes[10:] == [[1280, 8, 8], [2048, 8, 8], [2048, 8, 8]]
    assert expected.std() > 0.05
    np.testing.assert_allclose(extractor(images), expected.numpy(), atol=1e-3, rtol=1e-3)


def test_inception_has_the_published_names_and_number_of_parameters() -> None:
    with torch.device("meta"):
        network = inception_fid.Network()
    # torchvision's without its auxiliary head, with 1008 classes for 1000.
    assert sum(value.numel() for value in network.parameters()) == 23_834_568 + 8 * 2049
    state = network.state_dict()
    assert sum(key.endswith(".conv.weight") for key in state) == 94
    numbers = sum(value.numel() for key, value in state.items() if not key.endswith("num_batches_tracked"))
    assert 0 < inception_fid.BYTES - 4 * numbers < 200_000  # the rest of the published file: names, shapes
    assert tuple(state["Mixed_6c.branch7x7dbl_4.conv.weight"].shape) == (160, 160, 7, 1)
    assert tuple(state["Mixed_7b.branch3x3dbl_3a.conv.weight"].shape) == (384, 384, 1, 3)
    assert inception_fid.SHA256.startswith("6726825d")  # as the name of the file says


def test_inception_scores_leave_the_bias_out(inception: tuple[dict[str, Tensor], Any]) -> None:
    state, extractor = inception
    features = np.random.default_rng(0).random((5, 2048), np.float32)
    expected = torch.softmax(torch.from_numpy(features) @ state["fc.weight"].T, 1).numpy()
    found = extractor.probabilities(features)
    assert found.shape == (5, 1008) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=1e-4)


def test_inception_says_which_resizing(inception: tuple[dict[str, Tensor], Any]) -> None:
    state, extractor = inception
    assert extractor.about["resize"] == "bilinear, tensorflow 1" and extractor.about["weights_sha256"] == "00ff"
    before = extractor.identity
    extractor.resize = "bicubic, antialias"
    assert extractor.identity != before
    with pytest.raises(MedzooError, match="resize 'nearest'; choose from: bilinear, antialias; "):
        inception_fid.build(state, None, "nearest")


def test_weights_of_another_network_are_told(inception: tuple[dict[str, Tensor], Any]) -> None:
    state, _ = inception
    with torch.device("meta"):
        network = inception_fid.Network()
    lacking = {key: value for key, value in state.items() if key != "fc.bias"}
    with pytest.raises(CheckpointError, match=r"another network: 'fc.bias' is missing, expected \(1008,\) \(1 diff"):
        fill(network, lacking, "inception_fid")
    wrong = state | {"fc.bias": torch.zeros(1000), "AuxLogits.fc.bias": torch.zeros(9)}
    with pytest.raises(CheckpointError, match=r"'AuxLogits.fc.bias' is \(9,\), expected nothing .* \(2 differences"):
        fill(network, wrong, "inception_fid")


# ------------------------------------------------------------------------------------------- resizing


def test_tensorflow_1_looks_at_pixels_without_a_half_pixel_shift() -> None:
    row = torch.tensor([0.0, 1.0, 4.0, 9.0]).expand(1, 1, 4, 4)
    found = resized(row, 8, "bilinear, tensorflow 1")
    # Output i lies at i / 2 of the input; beyond the last pixel it stays the last.
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([0, 0.5, 1, 2.5, 4, 6.5, 9, 9]))
    torch.testing.assert_close(resized(row, 2, "bilinear, tensorflow 1")[0, 0, 1], torch.tensor([0.0, 4.0]))
    column = resized(row.transpose(2, 3), 8, "bilinear, tensorflow 1")
    torch.testing.assert_close(column, found.transpose(2, 3))


@pytest.mark.parametrize("shape", [(64, 64), (50, 33), (8, 20)])
def test_area_keeps_the_mean_and_is_exact(shape: tuple[int, int]) -> None:
    images = torch.rand(1, 3, *shape, dtype=torch.float64)
    found = resized(images, 32, "area")
    torch.testing.assert_close(found.mean((2, 3)), images.mean((2, 3)))
    fine = images.repeat_interleave(32, 2).repeat_interleave(32, 3)  # each output pixel covers whole small ones
    torch.testing.assert_close(found, F.avg_pool2d(fine, shape), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("how", "theirs"), [("bilinear, antialias", "BILINEAR"), ("bicubic, antialias", "BICUBIC")])
@pytest.mark.parametrize("size", [20, 70])
def test_antialiased_filters_are_those_of_pillow(how: Any, theirs: str, size: int) -> None:
    from PIL import Image

    image = np.random.default_rng(0).random((48, 48), np.float32)
    expected = Image.fromarray(image).resize((size, size), Image.Resampling[theirs])
    found = resized(torch.from_numpy(image)[None, None], size, how)[0, 0].numpy()
    np.testing.assert_allclose(found, np.asarray(expected), atol=1e-5)


def test_bicubic_is_the_four_neighbours_of_torch() -> None:
    images = torch.rand(1, 3, 60, 60)
    expected = F.interpolate(images, (24, 24), mode="bicubic")
    torch.testing.assert_close(resized(images, 24, "bicubic"), expected)
