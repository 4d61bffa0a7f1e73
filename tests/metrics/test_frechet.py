"""Frechet distances: against closed forms, SciPy and torchmetrics, their intervals and their extrapolation."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medzoo.metrics import Case, Score, View, _gaussian
from medzoo.metrics._gaussian import frechet_distance, frechet_effects, frechet_from_statistics
from medzoo.metrics.frechet import METRIC


def exact(n: int, mean: np.ndarray, root: np.ndarray, seed: int) -> np.ndarray:
    """n samples whose sample mean is ``mean`` and sample covariance ``root @ root.T``, exactly."""
    d = len(mean)
    noise = np.random.default_rng(seed).normal(size=(n, d))
    noise -= noise.mean(0)
    white = np.linalg.qr(noise)[0] * np.sqrt(n - 1)
    return white @ root.T + mean


def random_root(d: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(d, d))


def test_commuting_gaussians() -> None:
    # |mu1 - mu2|^2 + sum (s1 - s2)^2: 3^2 + 4^2 + (1 - 2)^2 + (5 - 3)^2
    one = exact(50, np.array([0.0, 0.0]), np.diag([1.0, 5.0]), 0)
    two = exact(80, np.array([3.0, 4.0]), np.diag([2.0, 3.0]), 1)
    assert frechet_distance(one, two) == pytest.approx(30, rel=1e-10)


def test_two_dimensions_in_closed_form() -> None:
    # For 2 x 2 matrices tr A^(1/2) = (tr A + 2 det(A)^(1/2))^(1/2).
    roots = [random_root(2, seed) for seed in (3, 4)]
    first, second = (root @ root.T for root in roots)
    product = first @ second
    cross = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(first) + np.trace(second) - 2 * cross
    sets = [exact(30, np.zeros(2), root, seed) for seed, root in enumerate(roots)]
    assert frechet_distance(*sets) == pytest.approx(expected, rel=1e-9)
    assert frechet_from_statistics(np.zeros(2), first, np.zeros(2), second) == pytest.approx(expected, rel=1e-9)


def test_equal_to_the_root_of_scipy() -> None:
    linalg = pytest.importorskip("scipy.linalg", reason="scipy is not installed")
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(200, 40)) @ rng.normal(size=(40, 40)), rng.normal(1, 2, size=(150, 40))
    first, second = np.cov(one.T), np.cov(two.T)
    shift = np.sum((one.mean(0) - two.mean(0)) ** 2)
    expected = shift + np.trace(first) + np.trace(second) - 2 * np.trace(linalg.sqrtm(first @ second)).real
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(("n", "m", "d"), [(200, 150, 40), (30, 150, 40), (20, 25, 40), (2, 2, 40)])
def test_the_root_of_the_product_has_the_eigenvalues_roots(n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(n)
    one, two = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), rng.normal(1, 2, size=(m, d))
    first, second = np.cov(one.T), np.cov(two.T)
    roots = np.sqrt(np.clip(np.linalg.eigvals(first @ second).real, 0, None)).sum()
    expected = np.sum((one.mean(0) - two.mean(0)) ** 2) + np.trace(first) + np.trace(second) - 2 * roots
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-5)
    statistics = frechet_from_statistics(one.mean(0), first, two.mean(0), second)
    assert statistics == pytest.approx(expected, rel=1e-5)


def test_fewer_samples_than_dimensions_in_orthogonal_planes() -> None:
    # Covariances that share no direction: the cross term is 0.
    one, two = np.zeros((4, 100)), np.zeros((5, 100))
    one[:, :10] = np.random.default_rng(0).normal(size=(4, 10))
    two[:, 50:60] = np.random.default_rng(1).normal(size=(5, 10))
    expected = np.sum((one.mean(0) - two.mean(0)) ** 2) + one.var(0, ddof=1).sum() + two.var(0, ddof=1).sum()
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-10)


def test_constant_features() -> None:
    one, two = np.ones((5, 7)), np.full((6, 7), 3.0)
    assert frechet_distance(one, two) == pytest.approx(4 * 7)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(2, 12),
    m=st.integers(2, 12),
    d=st.integers(1, 8),
    seed=st.integers(0, 10**6),
    scale=st.floats(0.01, 100),
)
def test_symmetric_not_negative_and_scales_with_the_square(n: int, m: int, d: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=(n, d)), rng.normal(0.5, 2, size=(m, d))
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    value = frechet_distance(one, two)
    assert value >= 0
    assert frechet_distance(two, one) == pytest.approx(value, rel=1e-7, abs=1e-9)
    assert frechet_distance(one @ rotation + 3, two @ rotation + 3) == pytest.approx(value, rel=1e-6, abs=1e-9)
    assert frechet_distance(scale * one, scale * two) == pytest.approx(scale**2 * value, rel=1e-6, abs=1e-9)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_few_samples_bias_it_upward() -> None:
    rng = np.random.default_rng(0)
    pool = rng.normal(size=(4000, 20))
    few, many = (frechet_distance(pool[:n], pool[n : 2 * n]) for n in (50, 2000))
    assert few > 10 * many > 0


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (np.zeros((3, 4)), np.zeros((3, 5)), "real has 4 features, fake 5"),
        (np.zeros((1, 4)), np.zeros((3, 4)), r"real features must be \[n, d\] with n at least 2, found \[1, 4\]"),
        (np.zeros((3, 4)), np.zeros(4), r"fake features must be \[n, d\]"),
        (np.zeros((3, 4)), np.full((3, 4), np.inf), "fake features hold values that are not finite"),
        (np.full((3, 4), np.nan), np.zeros((3, 4)), "real features hold values that are not finite"),
    ],
)
def test_wrong_features_are_refused(real: np.ndarray, fake: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frechet_distance(real, fake)


def test_wrong_statistics_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sigma2 has shape \(3, 3\)"):
        frechet_from_statistics(np.zeros(2), np.eye(2), np.zeros(2), np.eye(3))
    with pytest.raises(ValueError, match="sigma1 is no covariance"):
        frechet_from_statistics(np.zeros(2), np.diag([1.0, -1.0]), np.zeros(2), np.eye(2))


@pytest.mark.parametrize(("n", "m", "d"), [(90, 70, 30), (90, 20, 30), (25, 20, 30)])
def test_large_features_take_another_way_to_the_same_number(
    n: int, m: int, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(n)
    one, two = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), rng.normal(1, 2, size=(m, d))
    value, effects = frechet_distance(one, two), frechet_effects(one, two)
    monkeypatch.setattr(_gaussian, "EXACT", 4)
    monkeypatch.setattr(_gaussian, "BLOCK", 16)
    assert frechet_distance(one, two) == pytest.approx(value, rel=1e-9)
    large = frechet_effects(one, two)
    assert large.value == pytest.approx(value, rel=1e-9) == effects.value
    np.testing.assert_allclose(large.real, effects.real, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(large.fake, effects.fake, rtol=1e-6, atol=1e-6)
    assert frechet_distance(one, one + 1e-6) == pytest.approx(d * 1e-12, abs=1e-9)  # all but nothing cancels


@pytest.mark.parametrize("exact", [4, 512])
def test_features_that_are_constant_or_repeat_each_other(exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gaussian, "EXACT", exact)
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(60, 10)), rng.normal(1, 2, size=(50, 10))
    value = frechet_distance(one, two)
    dead = np.zeros((60, 5)), np.zeros((50, 5))
    assert frechet_distance(np.hstack([one, dead[0]]), np.hstack([two, dead[1]])) == pytest.approx(value, rel=1e-9)
    twice = frechet_distance(np.hstack([one, one]), np.hstack([two, two]))
    assert twice == pytest.approx(2 * value, rel=1e-6)
    assert frechet_distance(np.hstack([one, one]), np.hstack([one, one])) == pytest.approx(0, abs=1e-6)


def test_known_gaussians_from_many_samples() -> None:
    rng = np.random.default_rng(1)
    deviations, shift = np.linspace(0.5, 2, 8), np.linspace(0, 1, 8)
    one = rng.normal(size=(20000, 8)) * deviations
    two = rng.normal(size=(20000, 8)) + shift
    truth = np.sum((deviations - 1) ** 2) + np.sum(shift**2)
    assert frechet_distance(one, two) == pytest.approx(truth, rel=0.03)
    fd = measured(one, two)["fd"]
    assert fd.low is not None and fd.high is not None and fd.low < truth < fd.high


def test_effects_are_the_derivative() -> None:
    rng = np.random.default_rng(2)
    one, two = rng.normal(size=(20, 30)), rng.normal(0.5, 2, size=(25, 30))
    found = frechet_effects(one, two)

    def weighted(i: int, more: float) -> float:
        weights = np.ones(20)
        weights[i] += more
        weights /= weights.sum()
        centred = one - weights @ one
        first, second = centred * np.sqrt(weights * 20 / 19)[:, None], (two - two.mean(0)) / np.sqrt(24)
        shift = float(np.sum((weights @ one - two.mean(0)) ** 2))
        return shift + np.sum(first**2) + np.sum(second**2) - 2 * np.linalg.svd(first @ second.T)[1].sum()

    for i in (0, 7):
        assert 20 * (weighted(i, 1e-4) - weighted(i, -1e-4)) / 2e-4 == pytest.approx(found.real[i], rel=1e-4)
    np.testing.assert_allclose(frechet_effects(two, one).fake, found.real, rtol=1e-8)


def test_same_as_torchmetrics() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid", reason="torchmetrics is not installed")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    one, two = (rng.uniform(size=(n, 3, 4, 4)).astype(np.float32) ** power for n, power in ((130, 1), (170, 2)))
    metric = fid.FrechetInceptionDistance(torch.nn.Flatten(), normalize=True, input_img_size=(3, 4, 4))
    metric.set_dtype(torch.float64)
    metric.update(torch.from_numpy(one).double(), real=True)
    metric.update(torch.from_numpy(two).double(), real=False)
    ours = frechet_distance(one.reshape(130, -1), two.reshape(170, -1))
    assert ours == pytest.approx(float(metric.compute()), rel=1e-4)


def test_farther_is_more_and_order_does_not_count() -> None:
    rng = np.random.default_rng(3)
    one, two = rng.normal(size=(60, 20)), rng.normal(size=(80, 20))
    values = [measured(one, two + shift) for shift in (0, 0.3, 0.6, 1.2)]
    for name in ("fd", "fd_infinity"):
        assert all(a[name].value < b[name].value for a, b in zip(values, values[1:], strict=False))
    assert frechet_distance(one[::-1], rng.permutation(two)) == pytest.approx(values[0]["fd"].value, rel=1e-9)
    few = np.repeat(two[:8], 10, axis=0)  # a generator that knows eight images
    assert measured(one, few)["fd"].value > 2 * values[0]["fd"].value


def test_the_interval_covers_the_scatter_of_new_samples() -> None:
    rng = np.random.default_rng(0)

    def sets() -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(size=(120, 3)), rng.normal(0.7, 1.5, size=(150, 3))

    draws = [measured(*sets()) for _ in range(100)]
    for name in ("fd", "fd_infinity"):
        scatter = np.std([one[name].value for one in draws])
        widths = [(one[name].high - one[name].low) / (2 * 1.96) for one in draws[:20]]
        assert np.mean(widths) == pytest.approx(scatter, rel=0.25)


def test_infinity_takes_the_bias_off() -> None:
    rng = np.random.default_rng(4)
    deviations = np.arange(1, 31) ** -0.5
    draws = [measured(*(rng.normal(size=(n, 30)) * deviations for n in (200, 300))) for _ in range(20)]
    bias, rest = (np.mean([one[name].value for one in draws]) for name in ("fd", "fd_infinity"))
    assert bias > 0.1 and abs(rest) < 0.1 * bias
    limits = [one["fd_infinity"] for one in draws]
    assert sum(one.low < 0 < one.high for one in limits) >= 18
    assert min(one.value for one in limits) < 0  # not cut off: its mean has no bias either


def test_the_line_is_told() -> None:
    rng = np.random.default_rng(4)
    one, two = rng.normal(size=(100, 8)), rng.normal(0.2, 1, size=(150, 8))
    found = measured(one, two)
    detail = json.loads(json.dumps(found["fd_infinity"].detail))
    assert detail["n_over_size"] == pytest.approx([1, 1.5, 2], rel=0.01)
    assert detail["fd"][0] == found["fd"].value and sorted(detail["fd"]) == detail["fd"]
    assert measured(one, two) == found
    assert found["fd_infinity"].note == "real and generated images subsampled together"


def test_few_images_are_said() -> None:
    rng = np.random.default_rng(5)
    many, few = rng.normal(size=(40, 20)), rng.normal(size=(10, 20))
    assert measured(many, many + 1)["fd"].note is None
    note = measured(few, many)["fd"].note
    assert note is not None and note.startswith("n of 10 real images is not above the 20 features: biased upward")
    both = measured(few, few)["fd_infinity"].note
    assert both is not None and "n of 10 real and 10 generated images" in both and "still too high" in both
    three = measured(few[:3], many)["fd_infinity"]
    assert np.isnan(three.value) and three.note == "4 or more images of each kind are needed"


def measured(real: np.ndarray, fake: np.ndarray) -> Mapping[str, Score]:
    """The scores of two sets of features."""
    real_view, fake_view = (View(np.zeros((len(one), 1, 1, 1), np.uint8), features=one) for one in (real, fake))
    scores = METRIC.measure(Case(fake_view, real_view))
    assert set(scores) == {scale.name for scale in METRIC.scales}
    return scores
