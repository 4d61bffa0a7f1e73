"""Inception score: against torchmetrics and closed forms, its splits and its interval."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medzoo.metrics import Case, Score, View, inception_score
from medzoo.metrics.inception_score import METRIC, inception_scores


def test_uniform_and_sure() -> None:
    assert inception_scores(np.full((20, 5), 0.2), 1) == pytest.approx([1])
    assert inception_scores(np.eye(5)[np.arange(20) % 5], 2) == pytest.approx([5, 5])
    assert inception_scores(np.eye(5)[np.zeros(20, int)], 1) == pytest.approx([1])  # sure, but always of one class


def test_two_answers_by_hand() -> None:
    # Halves say (0.9, 0.1) and (0.1, 0.9): the mean is even, the divergence log 2 - H(0.9).
    rows = np.array([[0.9, 0.1], [0.1, 0.9]] * 6)
    entropy = -0.9 * np.log(0.9) - 0.1 * np.log(0.1)
    assert inception_scores(rows, 3) == pytest.approx([2 * np.exp(-entropy)] * 3)


@pytest.mark.filterwarnings("ignore:Metric .* will save all")
def test_same_as_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    inception = pytest.importorskip("torchmetrics.image.inception", reason="torchmetrics is not installed")
    torch = pytest.importorskip("torch")
    pictures = np.random.default_rng(0).normal(size=(120, 3, 2, 2)) * 2
    metric = inception.InceptionScore(torch.nn.Flatten(), splits=10)
    metric.update(torch.from_numpy(pictures))
    monkeypatch.setattr(torch, "randperm", torch.arange)  # it shuffles before it splits
    mean, deviation = metric.compute()
    powers = np.exp(pictures.reshape(120, -1))
    ours = inception_scores(powers / powers.sum(1, keepdims=True))
    assert ours.mean() == pytest.approx(float(mean), rel=1e-4)
    assert ours.std(ddof=1) == pytest.approx(float(deviation), rel=1e-4)


def test_surer_is_more_and_order_and_duplication_do_not_count() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(200, 6))
    values = [measured(softmax(logits * sure)).value for sure in (0, 0.5, 1, 2, 8)]
    assert values == sorted(values) and values[0] == pytest.approx(1)
    rows = softmax(logits)
    assert measured(rows[::-1]).value == pytest.approx(measured(rows).value, rel=1e-9)
    assert measured(np.repeat(rows, 2, axis=0)).value == pytest.approx(measured(rows).value, rel=1e-9)


def test_few_images_are_one_split() -> None:
    rows = softmax(np.random.default_rng(2).normal(size=(200, 6)))
    few = measured(rows)
    assert few.note == "one split of all 200 images: too low by few images" and few.error is None
    many = measured(rows, smallest_split=20)
    assert many.note is None and json.loads(json.dumps(many.detail)) == {"classes": 6, "splits": 10}
    assert many.error == pytest.approx(inception_scores(rows).std())
    assert many.value == pytest.approx(inception_scores(rows).mean())


def test_the_interval_is_as_wide_as_new_samples_scatter() -> None:
    rng = np.random.default_rng(3)
    draws = [measured(softmax(2 * rng.normal(size=(150, 4)))) for _ in range(200)]
    widths = [((one.high or 0) - (one.low or 0)) / (2 * 1.96) for one in draws[:40]]
    assert np.mean(widths) == pytest.approx(np.std([one.value for one in draws]), rel=0.2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.full((1, 5), 0.2), r"n at least 2, found \[1, 5\]"),
        (np.full((5,), 0.2), r"\[n, classes\]"),
        (np.full((4, 5), 0.3), "sum to 1"),
        (np.array([[1.5, -0.5], [0.5, 0.5]]), "not negative"),
        (np.full((4, 2), np.nan), "finite"),
    ],
)
def test_wrong_probabilities_are_refused(rows: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inception_scores(rows, 1)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers: np.ndarray = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def measured(probabilities: np.ndarray, **options: int) -> Score:
    images = np.zeros((len(probabilities), 1, 1, 1), np.uint8)
    scores = inception_score.measure(Case(View(images, probabilities=probabilities), View(images)), **options)
    assert set(scores) == {scale.name for scale in METRIC.scales} == {"is"}
    return scores["is"]
