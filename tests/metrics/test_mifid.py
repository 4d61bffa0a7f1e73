"""MiFID: the threshold, what copies cost, and what does not change it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medzoo.metrics import Case, Score, View
from medzoo.metrics._gaussian import frechet_distance
from medzoo.metrics.mifid import METRIC, cosine_distances, mifid


def sets(seed: int = 0, d: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training images, held-out ones and new ones, all of one distribution, in features that all point one way."""
    rng = np.random.default_rng(seed)
    training, real, new = (np.abs(rng.normal(0.5, 1, size=(n, d))) for n in (80, 60, 70))
    return training, real, new


def test_cosine_distances_by_hand() -> None:
    training = np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 1.0]])
    fake = np.array([[2.0, 0.0], [-3.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
    assert cosine_distances(fake, training) == pytest.approx([0, 0, 1 - np.sqrt(0.5), 1])


def test_the_threshold() -> None:
    training, real, new = sets()
    fd = frechet_distance(real, new)
    mean = cosine_distances(new, training).mean()
    assert mean > 0.1 and mifid(real, new, training) == fd
    near = training[:70] + np.random.default_rng(1).normal(0, 0.1, (70, 12))
    mean = cosine_distances(near, training).mean()
    assert 0.001 < mean < 0.1
    assert mifid(real, near, training) == pytest.approx(frechet_distance(real, near) / mean, rel=1e-9)


@pytest.mark.parametrize("noise", [0.1, 2.0])
def test_same_as_torchmetrics_with_its_sets_exchanged(noise: float) -> None:
    other = pytest.importorskip("torchmetrics.image.mifid", reason="torchmetrics is not installed")
    torch = pytest.importorskip("torch")
    training, _, _ = sets()
    rng = np.random.default_rng(2)
    fake = training[:50] + rng.normal(0, noise, (50, 12))
    # Published: the mean over generated images. torchmetrics takes the mean over what it is told is real.
    metric = other.MemorizationInformedFrechetInceptionDistance(torch.nn.Flatten(), normalize=True)
    metric.update(torch.from_numpy(fake).reshape(50, 3, 2, 2), real=True)
    metric.update(torch.from_numpy(training).reshape(80, 3, 2, 2), real=False)
    assert mifid(training, fake, training) == pytest.approx(float(metric.compute()), rel=1e-4)


def test_copies_are_caught_where_the_frechet_distance_is_small() -> None:
    training, real, new = sets()
    rng = np.random.default_rng(3)
    copies = training[:70] * (1 + rng.normal(0, 0.02, (70, 12)))
    assert frechet_distance(real, copies) < 1.5 * frechet_distance(real, new)
    caught, free = measured(copies, real, training), measured(new, real, training)
    assert caught.value > 50 * free.value
    assert caught.low is not None and caught.high is not None and caught.low < caught.value < caught.high
    assert caught.note is not None and ", below 0.1;" in caught.note
    assert free.note is not None and ", not below 0.1;" in free.note
    detail = json.loads(json.dumps(caught.detail))
    assert detail["fd"] == pytest.approx(frechet_distance(real, copies), rel=1e-9)
    assert detail["cosine_distance"] < 0.01 < detail["cosine_distance_heldout"]
    values = [mifid(real, training[:70] * (1 + rng.normal(0, s, (70, 12))), training) for s in (0.01, 0.03, 0.1)]
    assert values == sorted(values, reverse=True)
    exact = measured(training, real, training)
    assert caught.value < exact.value < np.inf
    assert mifid(training, training, training) == 0


def test_order_duplication_and_tiles_do_not_count() -> None:
    training, real, _ = sets()
    near = training[:70] + np.random.default_rng(4).normal(0, 0.1, (70, 12))
    value = mifid(real, near, training)
    assert mifid(real[::-1], near[::-1], np.repeat(training, 2, axis=0)) == pytest.approx(value, rel=1e-9)
    assert mifid(real, near, training, block=16) == pytest.approx(value, rel=1e-9)


def test_the_interval_covers_the_scatter_of_new_samples() -> None:
    training, _, _ = sets()
    rng = np.random.default_rng(5)
    draws = []
    for _ in range(150):
        real = np.abs(rng.normal(0.5, 1, size=(60, 12)))
        fake = rng.normal(0.4, 1.5, size=(70, 12))  # far above the threshold, near far below
        near = training[rng.integers(80, size=70)] * (1 + rng.normal(0, 0.1, (70, 12)))
        draws.append([measured(one, real, training) for one in (fake, near)])
    for scores in zip(*draws, strict=True):
        widths = [((one.high or 0) - (one.low or 0)) / (2 * 1.96) for one in scores[:40]]
        scatter = np.std([one.value for one in scores])
        assert 0.85 * scatter < np.mean(widths) < 1.6 * scatter


def test_wrong_features_are_refused() -> None:
    training, real, new = sets()
    with pytest.raises(ValueError, match="fake has 12 features, training 11"):
        mifid(real, new, training[:, 1:])
    with pytest.raises(ValueError, match="training features must be .* found"):
        mifid(real, new, training[:1])
    with pytest.raises(ValueError, match="training features hold values that are not finite"):
        mifid(real, new, np.full((4, 12), np.nan))


def measured(fake: np.ndarray, real: np.ndarray, training: np.ndarray) -> Score:
    views = [View(np.zeros((len(one), 1, 1, 1), np.uint8), features=one) for one in (fake, real, training)]
    scores = METRIC.measure(Case(*views))
    assert set(scores) == {scale.name for scale in METRIC.scales} == {"mifid"}
    return scores["mifid"]
