"""Diversity within a set: feature distances, and multi-scale structural similarity."""

from __future__ import annotations

import numpy as np
import pytest

from medzoo.datasets import load_dataset
from medzoo.metrics import Case, View, diversity
from medzoo.metrics import ms_ssim as similarity
from medzoo.metrics.diversity import feature_distance, mean_distances
from medzoo.metrics.ms_ssim import WEIGHTS, ms_ssim, random_pairs, scales
from tests.tools.paths import SHARED

DATA = SHARED / "data"


def pictures(seed: int, n: int, size: int = 32, kinds: int | None = None, channels: int = 3) -> np.ndarray:
    """Coarse patches of ``kinds`` different layouts with fine noise."""
    rng = np.random.default_rng(seed)
    layouts = rng.integers(0, 200, (kinds or n, channels, size // 8, size // 8)).repeat(8, 2).repeat(8, 3)
    chosen = layouts[np.arange(n) % len(layouts)]
    return (chosen + rng.integers(0, 56, chosen.shape)).astype(np.uint8)


def features(seed: int, n: int = 80, d: int = 20, modes: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    middles = np.random.default_rng(100).normal(0, 3, (5, d))[:modes]
    return (middles[np.arange(n) % modes] + rng.normal(size=(n, d))).astype(np.float32)


def pixels(fake: np.ndarray, real: np.ndarray) -> dict[str, float]:
    return {name: score.value for name, score in similarity.measure(Case(View(fake), View(real))).items()}


# Feature distance


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_mean_distances_are_those_of_the_definition(block: int) -> None:
    x = features(0, 30) + 100  # a large common part
    between = np.linalg.norm(x[:, None].astype(float) - x[None], axis=2)
    np.testing.assert_allclose(mean_distances(x, block=block), between.sum(1) / 29, rtol=1e-5)


def test_a_set_is_as_diverse_as_itself_and_scale_counts() -> None:
    x = features(0)
    assert feature_distance(x, x) == 1
    assert feature_distance(x, x[::-1]) == pytest.approx(1, rel=1e-6)
    assert feature_distance(3 * x + 7, x) == pytest.approx(3, rel=1e-5)
    assert feature_distance(features(1), x) == pytest.approx(1, abs=0.05)


def test_feature_distance_falls_as_modes_drop_and_images_repeat() -> None:
    real = features(0)
    dropped = [feature_distance(features(1, modes=modes), real) for modes in (5, 3, 2, 1)]
    assert (np.diff(dropped) < -0.05).all()
    fake = features(1)
    repeated = [feature_distance(np.resize(fake[:kept], fake.shape), real) for kept in (80, 10, 3, 1)]
    assert (np.diff(repeated) < -0.02).all() and repeated[-1] == pytest.approx(0, abs=1e-4)


def test_the_interval_holds_the_ratio_of_other_images_as_often_as_it_says() -> None:
    truth = 2 / 3
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        fake, real = 2 * rng.standard_t(5, size=(40, 3)), 3 * rng.standard_t(5, size=(50, 3))
        views = (View(np.zeros((len(x), 1, 8, 8), np.uint8), features=x.astype(np.float32)) for x in (fake, real))
        score = diversity.measure(Case(*views))["feature_distance"]
        assert score.low < score.value < score.high
        hits += score.low <= truth <= score.high
    assert hits >= 50


def test_wrong_features_are_refused() -> None:
    x = features(0)
    with pytest.raises(ValueError, match=r"fake features must be \[n, d\] with n at least 2, found \[1, 20\]"):
        feature_distance(x[:1], x)
    with pytest.raises(ValueError, match="real has 19 features, fake 20"):
        feature_distance(x, x[:, 1:])
    with pytest.raises(ValueError, match="real features hold values that are not finite"):
        feature_distance(x, np.where(x > 5, np.nan, x))
    view = View(np.zeros((80, 1, 8, 8), np.uint8))
    with pytest.raises(ValueError, match="needs the features of both sets"):
        diversity.measure(Case(view, view))
    same = View(view.images, features=np.ones_like(x))
    score = diversity.measure(Case(View(view.images, features=x), same))["feature_distance"]
    assert np.isnan(score.value) and score.note == "all real images have the same features"


# Structural similarity


@pytest.mark.parametrize(
    ("size", "count"), [(6, 1), (21, 1), (22, 2), (32, 2), (64, 3), (87, 3), (88, 4), (128, 4), (176, 5), (512, 5)]
)
def test_scales_have_at_least_eleven_pixels(size: int, count: int) -> None:
    assert scales(size, size) == scales(size, 2 * size) == count


def similar(size: int, crop: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    x, other = (pictures(seed, 2, size, channels=channels)[..., crop:, :] for seed in (0, 1))
    return x, (0.8 * x + other * 0.2).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "expected"),  # by torchmetrics 1.9.0, in float64
    [
        ((16, 0, 1), (0.927457, 0.795751)),
        ((32, 0, 3), (0.912499, 0.911442)),
        ((104, 3, 1), (0.943508, 0.955094)),
        ((128, 0, 3), (0.945817, 0.946773)),
        ((184, 1, 1), (0.949049, 0.943948)),
    ],
)
def test_equals_what_torchmetrics_gave(shape: tuple[int, int, int], expected: tuple[float, float]) -> None:
    np.testing.assert_allclose(ms_ssim(*similar(*shape)), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(32, 0, 1), (104, 0, 3)])
def test_equals_torchmetrics(shape: tuple[int, int, int]) -> None:
    reference = pytest.importorskip("torchmetrics.functional.image", reason="torchmetrics is not installed")
    import torch

    x, y = similar(*shape)
    weights = WEIGHTS[: scales(*x.shape[2:])]
    betas = tuple(float(weight * sum(WEIGHTS) / sum(weights)) for weight in weights)
    for a, b, found in zip(x, y, ms_ssim(x, y), strict=True):
        one, other = torch.tensor(a[None] / 255), torch.tensor(b[None] / 255)
        expected = reference.multiscale_structural_similarity_index_measure(one, other, data_range=1.0, betas=betas)
        assert found == pytest.approx(float(expected), rel=1e-4)


def test_equal_images_are_alike_and_similarity_is_symmetric_for_any_block() -> None:
    x, y = pictures(0, 7), pictures(1, 7)
    np.testing.assert_allclose(ms_ssim(x, x), 1, rtol=1e-6)
    np.testing.assert_allclose(ms_ssim(x, y), ms_ssim(y, x), rtol=1e-6)
    np.testing.assert_allclose(ms_ssim(x, y, block=1), ms_ssim(x, y), rtol=1e-5)
    flat = np.full_like(x, 255)
    np.testing.assert_allclose(ms_ssim(flat, flat), 1, rtol=1e-6)
    assert (ms_ssim(x, 255 - x) == 0).all()  # opposite structure: cut at 0


@pytest.mark.parametrize("strengths", [(5, 15, 40, 80)])
def test_similarity_falls_with_noise(strengths: tuple[int, ...]) -> None:
    x = pictures(0, 6)
    noise = np.random.default_rng(1).normal(size=x.shape)
    found = [ms_ssim(x, (x + s * noise).clip(0, 255).astype(np.uint8)).mean() for s in strengths]
    assert (np.diff(found) < -0.02).all()


@pytest.mark.parametrize(("n", "count"), [(2, 5), (10, 45), (10, 44), (50, 100), (3000, 500)])
def test_pairs_are_different_and_drawn_once(n: int, count: int) -> None:
    first, second = random_pairs(n, count, 0)
    assert len(first) == min(count, n * (n - 1) // 2) == len({*zip(first.tolist(), second.tolist(), strict=True)})
    assert (second < first).all() and second.min() >= 0 and first.max() < n
    if count < n:
        assert len({*first.tolist(), *second.tolist()}) > 0.8 * min(n, 2 * count)


def test_every_pair_is_as_likely_as_any_other() -> None:
    drawn = np.zeros((6, 6))
    for seed in range(600):
        np.add.at(drawn, random_pairs(6, 5, seed), 1)
    found = drawn[np.tril_indices(6, -1)]
    np.testing.assert_allclose(found, 200, atol=60)  # five standard deviations


def test_dropped_modes_and_repeated_images_are_more_alike() -> None:
    real = pictures(0, 24)
    found = [pixels(pictures(1, 24, kinds=kinds), real) for kinds in (24, 6, 2, 1)]
    for name in ("ms_ssim", "ms_ssim_gap"):
        assert (np.diff([one[name] for one in found]) > 0.02).all(), name
    assert found[0]["ms_ssim_gap"] < 0.03
    one_image = np.repeat(pictures(1, 1), 24, 0)
    assert pixels(one_image, real)["ms_ssim"] == pytest.approx(1)


def test_noise_is_less_alike_but_not_nearer_to_real_images() -> None:
    real = pictures(0, 24, kinds=4)
    noise = np.random.default_rng(0).integers(0, 256, real.shape, np.uint8)
    found, other = pixels(noise, real), pixels(pictures(1, 24, kinds=4), real)
    assert found["ms_ssim"] < other["ms_ssim"] and found["ms_ssim_gap"] > 2 * other["ms_ssim_gap"]


def test_neither_a_set_beside_itself_nor_its_order_makes_a_gap() -> None:
    real = pictures(0, 20)  # 190 pairs: all are taken
    assert pixels(real, real)["ms_ssim_gap"] == 0
    assert pixels(real[::-1], real)["ms_ssim_gap"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("n", "pairs"), [(30, 500), (60, 60)])
def test_the_error_is_the_spread_over_other_images(n: int, pairs: int) -> None:

    def alike(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """By brightness alone: pairs that share an image go together."""
        return (x.astype(float) * y).mean((1, 2, 3))

    values, errors = [], []
    for seed in range(300):
        images = np.random.default_rng(seed).integers(20, 200, (n, 1, 1, 1), np.uint8)
        value, error = similarity._within(images, seed, pairs, alike)
        values.append(value)
        errors.append(error)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.15)


def test_the_scores_say_which_scales_and_what_real_images_have() -> None:
    found = similarity.measure(Case(View(pictures(1, 20)), View(pictures(0, 12))))
    assert set(found) == {scale.name for scale in similarity.METRIC.scales}
    score = found["ms_ssim"]
    assert score.low < score.value < score.high and score.note == "2 of 5 scales: the images are too small for more"
    assert score.detail["real_low"] < score.detail["real"] < score.detail["real_high"] and score.detail["scales"] == 2
    assert found["ms_ssim_gap"].value == pytest.approx(abs(score.value - score.detail["real"]))


def test_wrong_images_are_refused() -> None:
    x = pictures(0, 4)
    with pytest.raises(ValueError, match=r"n at least 2, found \[1, 3, 32, 32\]"):
        pixels(x[:1], x)
    with pytest.raises(ValueError, match=r"real images are \[3, 32, 32\] .*fake \[1, 32, 32\]"):
        pixels(x[:, :1], x)
    with pytest.raises(ValueError, match=r"x must be uint8 .* found float64"):
        ms_ssim(x / 255, x)
    with pytest.raises(ValueError, match=r"\[4, 3, 32, 32\] and \[3, 3, 32, 32\] cannot"):
        ms_ssim(x, x[:3])
    with pytest.raises(ValueError, match="5 x 32 pixels are too small: 6 are needed"):
        ms_ssim(x[:, :, :5], x[:, :, :5])


def test_real_polyps_are_less_alike_than_a_few_of_them_over_and_over() -> None:
    name = "polyp_hyperkvasir_seg"
    if not (DATA / name).is_dir():
        pytest.skip("the polyp images are not beside this checkout (../shared/data)")
    images = load_dataset(name, root=DATA, split="val", size=64).images
    half = len(images) // 2
    floor = pixels(images[:half], images[half:])
    few = pixels(np.resize(images[:4], images[:half].shape), images[half:])
    assert floor["ms_ssim_gap"] < 0.05 < few["ms_ssim_gap"]
