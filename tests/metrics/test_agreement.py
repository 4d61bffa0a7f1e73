"""Image-mask agreement on discs: masks where they belong, elsewhere, empty; networks shared with segmentation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from medzoo.metrics import Case, View, _learners, agreement, segmentation
from medzoo.metrics.agreement import METRIC, measure
from tests.tools.disc_case import HELD_OUT, ONCE, SYNTHETIC, TRAINING, shifted


@pytest.fixture(autouse=True, scope="module")
def _nothing_remembered() -> Iterator[None]:
    _learners._kept.clear()
    yield
    _learners._kept.clear()


def agreed(fake: View, seed: int = 0) -> float:
    scores = measure(Case(fake, HELD_OUT, TRAINING, seed=seed), ONCE)
    assert set(scores) == {scale.name for scale in METRIC.scales}
    return scores["mask_agreement"].value


def test_masks_agree_with_their_images_and_less_the_farther_they_are_moved() -> None:
    found = [agreed(shifted(SYNTHETIC, pixels)) for pixels in (0, 1, 3, 5, 12)]
    assert found[0] > 0.85 and found[4] < 0.1
    assert all(near > far + 0.04 for near, far in zip(found, found[1:], strict=False))


def test_masks_of_other_images_do_not_agree() -> None:
    order = np.random.default_rng(0).permutation(len(SYNTHETIC))
    assert agreed(View(SYNTHETIC.images, SYNTHETIC.masks[order])) < 0.4 < agreed(SYNTHETIC) - 0.4


def test_images_that_the_network_does_not_know_do_not_agree_either() -> None:
    assert agreed(View(255 - SYNTHETIC.images, SYNTHETIC.masks)) < agreed(SYNTHETIC) - 0.4


def test_empty_masks() -> None:
    images = np.full((20, 1, 24, 24), 60, np.uint8)
    images[10:] = SYNTHETIC.images[:10]
    fake = View(images, np.zeros_like(images))
    score = measure(Case(fake, HELD_OUT, TRAINING), ONCE)["mask_agreement"]
    assert score.detail["empty"] == 1
    assert score.value == score.detail["both_empty"] == 0.5  # nothing is seen in the first ten, something in the others


def test_trained_once_for_all_contenders_and_for_segmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    first = agreed(SYNTHETIC, seed=5)
    agreed(SYNTHETIC, seed=0)
    networks = list(_learners._kept.values())
    segmentation.measure(Case(TRAINING, HELD_OUT, TRAINING, repeats=5, seed=5), ONCE)
    assert agreed(SYNTHETIC, seed=5) == first != agreed(SYNTHETIC, seed=0)
    assert {id(network) for network in _learners._kept.values()} == {id(network) for network in networks}
    assert agreement.SCHEDULE == segmentation.SCHEDULE
    other = Case(SYNTHETIC, HELD_OUT, shifted(TRAINING, 1), seed=5)
    assert measure(other, ONCE)["mask_agreement"].value != first
    assert len(_learners._kept) == len(networks) + ONCE.seeds


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match="synthetic images have no masks"):
        agreed(View(SYNTHETIC.images))
    with pytest.raises(ValueError, match="training images have no masks"):
        measure(Case(SYNTHETIC, HELD_OUT, View(TRAINING.images)), ONCE)
    without = Case(SYNTHETIC, View(HELD_OUT.images), TRAINING)
    assert measure(without, ONCE)["mask_agreement"].value > 0.8  # those of held-out images are not asked for
