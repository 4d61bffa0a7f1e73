"""The script benchmarks/evaluate_embedded.py: its numbers are a pure function of images."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import medzoo
from medzoo import features
from medzoo.datasets import Images, load_dataset
from medzoo.errors import DatasetError
from medzoo.features.efficientnet_lite0 import PACKAGE
from medzoo.metrics.neighbours import small_pixels

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("evaluate_embedded", ROOT / "benchmarks" / "evaluate_embedded.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def discs(n: int, seed: int, size: int = 32) -> Images:
    """Bright discs on a dark ground, with their masks: a distribution that can be drawn from again and again."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    centre, radius = rng.uniform(0.3, 0.7, (2, n, 1, 1)), rng.uniform(0.1, 0.25, (n, 1, 1))
    masks = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2)[:, None]
    ground = rng.uniform(30, 80, (n, 3, 1, 1)) + rng.normal(0, 5, (n, 3, size, size))
    return Images(
        (ground + 150 * masks).clip(0, 255).astype(np.uint8), masks.astype(np.uint8), tuple(map(str, range(n)))
    )


def thumbnails(images: np.ndarray) -> np.ndarray:
    return small_pixels(images, 16)


def test_a_perfect_generator_measures_like_the_real_images(script: ModuleType) -> None:
    train, val, fake = discs(300, 0), discs(200, 1), discs(350, 2)
    report = script.evaluate(fake, train, val, thumbnails, repeats=20)
    frechet = report["frechet"]
    real, ours = frechet["train vs val"], frechet["fake (first 300) vs val"]
    assert real["low"] < ours["value"] < real["high"]
    assert ours["value"] < frechet["blur 4 px vs val"]["low"]
    assert abs(report["kernel"]["fake vs val"]["value"]) < 0.2 * report["kernel"]["blur 4 px vs val"]["value"]
    assert report["nearest_training"]["pixels"]["nearer_than_5"] < 0.15
    assert report["spectrum"]["fake vs val"][0] < 0.2 * report["spectrum"]["blur 2 px vs val"][0]
    masks = report["masks"]["fake"]
    assert masks["boundary_contrast"] > 2 * masks["boundary_contrast_shuffled"]
    assert masks["single"] == 1 and masks["empty"] == 0


def test_copies_and_mirrored_copies_are_seen(script: ModuleType) -> None:
    train, val = discs(60, 0), discs(40, 1)
    mirrored = Images(train.images[..., ::-1].copy(), None, train.names)
    for fake in (train, mirrored):
        report = script.evaluate(fake, train, val, thumbnails, repeats=2)
        assert ("masks" in report) == (fake.masks is not None)
        for kind in ("features", "pixels"):
            assert report["nearest_training"][kind]["nearer_than_1"] == 1


def test_blur_keeps_brightness_and_spreads_a_point_as_a_gaussian(script: ModuleType) -> None:
    image = np.zeros((1, 1, 41, 41), np.uint8)
    image[0, 0, 15:26, 15:26] = 255
    found = script.blur(image, 2.0).astype(float)
    assert found.sum() == pytest.approx(image.sum(), rel=0.01)
    x = np.arange(41) - 20

    def variance(one: np.ndarray) -> float:
        weights = one[0, 0].sum(0)
        return float((weights * x**2).sum() / weights.sum())

    # 4, less 3 % for the cut at 3 sigma
    assert variance(found) - variance(image.astype(float)) == pytest.approx(4, rel=0.06)
    flat = np.full((1, 3, 16, 16), 200, np.uint8)
    np.testing.assert_array_equal(script.blur(flat, 4.0), flat)


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["evaluate_embedded.py", *arguments])
    code: int = script.main()
    return code


def test_the_whole_script(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = discs(50, 2)
    masks = np.zeros_like(fake.masks)  # a generator without any mask: nan in the numbers, null in JSON

    def generate(model_id: str, n: int, *, seed: int) -> SimpleNamespace:
        assert (model_id, n, seed) == ("10001_X", 50, 0)
        return SimpleNamespace(
            images=fake.float(), masks=masks, indices=np.arange(n), model_id=model_id, revision="0123456789ab"
        )

    def extractor(name: str) -> object:
        return type("Thumbnails", (), {"name": name, "__call__": lambda self, images: thumbnails(images)})()

    monkeypatch.setattr(medzoo, "generate", generate, raising=False)
    monkeypatch.setattr(features, "load", extractor)
    monkeypatch.setattr(script, "load_dataset", lambda name, root, split, size: discs(40, int(split == "val"), size))
    out, pairs = tmp_path / "scores.json", tmp_path / "new" / "pairs.png"
    common = ("10001_X", "--data", str(tmp_path), "--n", "50", "--repeats", "2", "--out", str(out))
    assert run(script, monkeypatch, *common, "--pairs", str(pairs)) == 0
    shown = capsys.readouterr().out
    assert "10001_X (revision 0123456789ab): 50 samples" in shown and "biased upward" in shown
    from PIL import Image

    with Image.open(pairs) as picture:
        assert picture.size == (64, 8 * 32)
    assert run(script, monkeypatch, *common, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads(out.read_text())
    assert report["masks"]["fake"]["components_mean"] is None and report["masks"]["fake"]["empty"] == 1

    def nowhere(name: str, root: Path, split: str, size: int) -> Images:
        raise DatasetError(f"{root}: no data there")

    monkeypatch.setattr(script, "load_dataset", nowhere)
    assert run(script, monkeypatch, *common) == 2
    assert "no data there" in capsys.readouterr().err


def test_real_polyps_are_ordered_as_they_look(script: ModuleType) -> None:
    if not (SHARED / "polyp_hyperkvasir_seg").is_dir():
        pytest.skip("the polyp images are not beside this checkout (../shared/data)")
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip("the extra medzoo[metrics] is not installed")
    train, val = (
        load_dataset("polyp_hyperkvasir_seg", root=SHARED, split=split, size=64)[:40] for split in ("train", "val")
    )
    others = load_dataset("polyp_hyperkvasir_seg", root=SHARED, split="train", size=64)[100:140]
    report = script.evaluate(others, train, val, features.load("efficientnet_lite0"), repeats=5)
    values = {name: row["value"] for name, row in report["frechet"].items()}
    assert values["train vs val"] < values["blur 2 px vs val"] < values["blur 4 px vs val"]
    assert values["train vs val"] < values["noise 0.05 vs val"] < values["noise 0.2 vs val"]
    assert values["fake (first 40) vs val"] < 1.25 * values["train vs val"]
    masks = report["masks"]["val"]
    assert masks["boundary_contrast"] > 1.3 * masks["boundary_contrast_shuffled"]
