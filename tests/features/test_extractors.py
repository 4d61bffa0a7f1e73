"""What all extractors share, and EfficientNet-Lite0 and pixels, which need no download."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medzoo import features
from medzoo.errors import DeviceError, IntegrityError, MedzooError, pip_install
from medzoo.features import Extractor
from medzoo.features import efficientnet_lite0 as lite0

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec(lite0.PACKAGE) is None, reason="the extra medzoo[metrics] is not installed"
)

# A fixed picture and what the package efficientnet-lite-pytorch 0.1.0 (another implementation) makes of it with the
# same weights: extract_features((255 x - 127) / 128).mean((2, 3)).
REFERENCE = [0.0, 0.01044, 0.13305, 0.0059, 0.0, 0.03581, 0.0, 0.62787]
REFERENCE_SUM = 185.38303


def reference_picture() -> np.ndarray:
    y, x = np.mgrid[0:224, 0:224] / 223.0
    return np.stack([x, y, 0.5 + 0.5 * np.sin(20 * x * y)])[None].astype(np.float32)


@pytest.fixture(scope="module")
def extractor() -> Any:
    return features.load("efficientnet_lite0")


@needs_weights
def test_features_are_those_of_the_reference_implementation(extractor: Any) -> None:
    found = extractor(reference_picture())
    assert found.shape == (1, 1280) and found.dtype == np.float32
    np.testing.assert_allclose(found[0, :8], REFERENCE, atol=1e-5)
    assert found.sum() == pytest.approx(REFERENCE_SUM, rel=1e-5)


@needs_weights
def test_equal_to_the_reference_package_on_noise(extractor: Any) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="the reference implementation is not installed")
    reference = package.EfficientNet.from_name("efficientnet-lite0").eval()
    reference.load_state_dict(torch.load(lite0.weights_path(), weights_only=True))
    images = np.random.default_rng(0).random((4, 3, 224, 224), np.float32)
    with torch.inference_mode():
        expected = reference.extract_features((torch.from_numpy(images) * 255 - 127) / 128).mean((2, 3)).numpy()
    np.testing.assert_allclose(extractor(images), expected, atol=1e-4)


@needs_weights
def test_bytes_and_floats_grey_and_colour_agree(extractor: Any) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (2, 1, 64, 64), np.uint8)
    expected = extractor(grey)
    np.testing.assert_allclose(extractor(grey.astype(np.float32) / 255), expected, atol=1e-4)
    np.testing.assert_allclose(extractor(np.repeat(grey, 3, 1)), expected, atol=1e-4)


@needs_weights
def test_a_callers_autocast_does_not_matter(extractor: Any) -> None:
    images = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)
    plain = extractor(images)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(extractor(images), plain)


@needs_weights
def test_batch_size_does_not_matter(extractor: Any) -> None:
    images = np.random.default_rng(2).integers(0, 256, (5, 3, 32, 32), np.uint8)
    alone = np.concatenate([extractor(images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(features.load("efficientnet_lite0", batch_size=3)(images), alone, atol=1e-4)
    assert extractor(images[:0]).shape == (0, 1280)


@needs_weights
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_device_does_not_matter(extractor: Any) -> None:
    images = np.random.default_rng(2).integers(0, 256, (5, 3, 32, 32), np.uint8)
    there = features.load("efficientnet_lite0", device="cuda")
    np.testing.assert_allclose(there(images), extractor(images), atol=1e-3)
    assert there.identity == extractor.identity


@needs_weights
def test_bfloat16_is_close_but_not_the_default(extractor: Any) -> None:
    image = reference_picture()
    exact, rough = extractor(image), features.load("efficientnet_lite0", precision="bfloat16")(image)
    error = np.linalg.norm(exact - rough) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.1


@needs_weights
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((3, 8, 8), np.uint8), r"\[n, 1 or 3, H, W\], found \[3, 8, 8\]"),
        (np.zeros((1, 2, 8, 8), np.uint8), r"\[n, 1 or 3, H, W\]"),
        (np.full((1, 3, 8, 8), 1.5, np.float32), r"in \[0, 1\], found 1\.5"),
        (np.full((1, 3, 8, 8), -1, np.float32), r"in \[0, 1\], found -1"),
        (np.full((1, 3, 8, 8), np.nan, np.float32), "found nan"),
    ],
)
def test_wrong_images_are_refused(extractor: Any, images: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extractor(images)


def test_folding_keeps_the_function() -> None:
    torch.manual_seed(0)
    network = lite0.Network().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn_like(module.running_mean)
            module.running_var = 0.5 + torch.rand_like(module.running_var)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
    image = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        plain = network(image)
        folded = lite0.fold(network)
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
        assert plain.std() > 0.01
        torch.testing.assert_close(folded(image), plain, atol=1e-4, rtol=1e-4)


def test_without_the_weights_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "find_spec", lambda name: None)
    with pytest.raises(MedzooError, match=re.escape(pip_install("medzoo[metrics]"))):
        features.load("efficientnet_lite0")


def test_other_weights_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not the weights")
    monkeypatch.setattr(lite0, "weights_path", lambda: path)
    monkeypatch.setattr(lite0.torch, "load", lambda *_, **__: pytest.fail("the file was read"))
    with pytest.raises(IntegrityError, match=rf"weights\.pth: sha256 [0-9a-f]{{64}}, expected {lite0.SHA256}"):
        features.load("efficientnet_lite0")


@needs_weights
def test_the_package_of_the_weights_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, lite0.PACKAGE, raising=False)
    lite0.load_weights()
    assert lite0.PACKAGE not in sys.modules


@needs_weights
def test_probabilities_are_those_of_the_reference_package(extractor: Any) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="the reference implementation is not installed")
    reference = package.EfficientNet.from_name("efficientnet-lite0").eval()
    reference.load_state_dict(torch.load(lite0.weights_path(), weights_only=True))
    image = reference_picture()
    with torch.inference_mode():
        expected = torch.softmax(reference((torch.from_numpy(image) * 255 - 127) / 128), 1).numpy()
    found = extractor.probabilities(extractor(image))
    assert found.shape == (1, 1000) and found.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@needs_weights
def test_identity_changes_with_what_decides_a_feature_and_with_nothing_else(extractor: Any) -> None:
    same = features.load("efficientnet_lite0", batch_size=2)
    other = features.load("efficientnet_lite0", precision="bfloat16")
    assert same.identity == extractor.identity != other.identity
    about = extractor.about
    assert json.loads(json.dumps(about)) == about
    assert (about["dim"], about["size"], about["weights_sha256"]) == (1280, 224, lite0.SHA256)
    assert (about["resize"], about["precision"], about["device"]) == ("bilinear, antialias", "float32", "cpu")


def test_pixels_are_means_of_areas_and_need_no_weights() -> None:
    extractor = features.load("pixels", precision="bfloat16", batch_size=3)
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 96, 64), np.uint8)
    expected = images.reshape(4, 3, 32, 3, 32, 2).mean((3, 5)) / 255
    np.testing.assert_allclose(extractor(images), expected.reshape(4, -1), atol=1e-6)
    grey = extractor(images[:, :1])
    assert grey.shape == (4, 3072) and abs(grey[:, :1024] - grey[:, 1024:2048]).max() < 1e-6
    assert extractor.probabilities(grey) is None
    assert extractor.about["precision"] == "float32" and extractor.about["weights_sha256"] is None


def test_images_may_lie_on_disk_and_are_not_written_to(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (5, 1, 40, 40), np.uint8))
    on_disk = np.load(tmp_path / "images.npy", mmap_mode="r")
    extractor = features.load("pixels", batch_size=2)
    np.testing.assert_array_equal(extractor(on_disk), extractor(np.array(on_disk)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"precision": "float16"}, MedzooError, "precision 'float16'; choose float32 or bfloat16"),
        ({"batch_size": 0}, MedzooError, "batch_size 0; at least 1"),
        ({"device": "abacus"}, DeviceError, "device 'abacus' cannot be used"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], error: type[Exception], message: str) -> None:
    class Plain(Extractor):
        name, dim, size = "plain", 12, 2

    with pytest.raises(error, match=message):
        Plain(torch.nn.Flatten(), **options)


def test_what_a_network_must_not_give_is_refused() -> None:
    class Plain(Extractor):
        name, dim, size = "plain", 12, 2

    images = np.zeros((3, 3, 2, 2), np.uint8)
    assert Plain(torch.nn.Flatten())(images).shape == (3, 12)
    with pytest.raises(MedzooError, match=r"must be \[3, 12\], found \[3, 3, 2, 2\]"):
        Plain(torch.nn.Identity())(images)
    with pytest.raises(MedzooError, match="images 2 to 3 are not finite"):
        Plain(NoReciprocal(), batch_size=2)(np.concatenate([images[1:] + 1, images[:1]]))
    with pytest.raises(ValueError, match=r"uint8 .* or float .*, found int64"):
        Plain(torch.nn.Flatten())(images.astype(np.int64))


class NoReciprocal(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (1 / x).flatten(1)


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    assert features.names() == [
        "clip", "dinov2", "efficientnet_lite0", "inception_fid", "pixels", "radimagenet_resnet50",
    ]  # fmt: skip
    with pytest.raises(
        MedzooError, match="'inception'; did you mean 'inception_fid'. There are clip, .*pixels.* module:attribute"
    ):
        features.load("inception")
    for name in ("dinov2", "clip"):
        with pytest.raises(MedzooError, match=f"features '{name}' have no variant 'huge'; choose .*base"):
            features.load(name, variant="huge")


def test_names_are_known_without_torch() -> None:
    code = "import sys; from medzoo import features; features.names(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
