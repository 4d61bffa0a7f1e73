"""Seeing over-fitting: numbers by hand, which snapshot is kept, and when and why a run stops."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medzoo.datasets import Images
from medzoo.errors import TrainingError
from medzoo.training import heldout
from medzoo.training.heldout import HeldOut, of_discriminator, of_masks
from medzoo.training.runfolder import read_best
from medzoo.training.selection import best, exploded, reason_to_stop
from medzoo.training.tables import read_table
from medzoo.training.trainer import Trainer, spread
from tests.tools.training import Killed, kill_at, mean_features, quiet, small_config, small_trainer


@pytest.fixture(autouse=True)
def _small(one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldout, "load", lambda name, device: mean_features)


def make_images(n: int = 12, seed: int = 0) -> Images:
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, 1, 16, 16), np.uint8)
    masks[:, :, 4:12, 4:12] = 1
    return Images(rng.integers(0, 256, (n, 1, 16, 16), dtype=np.uint8), masks, tuple(f"i{i}" for i in range(n)))


def rows(kids: list[float], gaps: list[float] | None = None) -> list[dict[str, float]]:
    found = [{"step": 10.0 * (i + 1), "kid": kid} for i, kid in enumerate(kids)]
    return found if gaps is None else [one | {"mask_gap": gap} for one, gap in zip(found, gaps, strict=True)]


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_what_the_discriminator_knows_by_hand() -> None:
    train, held, fake = torch.tensor([2.0, 4.0, -1.0, 3.0]), torch.tensor([1.0, 0.0]), torch.tensor([-2.0])
    # Means 2, 0.5 and -2; signs + + - +.
    assert of_discriminator(train, held, fake) == {"r_t": 0.5, "r_v": 1.5 / 4, "d_gap": 1.5}
    assert of_discriminator(train, train, train)["r_v"] == 0


def test_mask_numbers() -> None:
    masks = make_images(4).masks
    assert masks is not None
    assert of_masks(masks, masks) == {"mask_gap": 0, "mask_border": 0, "mask_empty": 0}
    other = masks.copy()
    other[0] = 0
    other[1, :, :, 0] = 1  # a stripe along the border
    found = of_masks(masks, other)
    assert found["mask_border"] == pytest.approx(1 / 3) and found["mask_empty"] == 0.25 and found["mask_gap"] > 1
    empty = of_masks(masks, masks * 0)
    assert math.isnan(empty["mask_gap"]) and math.isnan(empty["mask_border"]) and empty["mask_empty"] == 1


def test_near_copies_and_spectrum_of_a_set() -> None:
    training, held = make_images(60), make_images(60, seed=1)
    measure = HeldOut(held, training=training)
    assert measure(held.images)["spectrum_gap"] == 0 and measure(held.images)["near_copies"] == 0
    assert measure(training.images)["near_copies"] == 1
    assert measure(np.concatenate([training.images[:15], held.images[:45]]))["near_copies"] == 0.25
    assert "near_copies" not in HeldOut(held)(held.images)
    dark = measure(held.images // 2)
    assert dark["spectrum_gap"] == pytest.approx(math.log10(4), abs=0.05)  # half the amplitude, a quarter of the power


def test_images_are_taken_from_all_over() -> None:
    assert spread(torch.arange(1025))[[0, 1, -1]].tolist() == [0, 4, 1024] and len(spread(torch.arange(1025))) == 256
    assert spread(torch.arange(3)).tolist() == [0, 1, 2]


def test_asking_the_discriminator_changes_nothing(tmp_path: Path) -> None:
    learner = small_trainer(small_config("dcgan"), make_images(), tmp_path).learner
    before = {name: value.clone() for name, value in learner.discriminator.state_dict().items()}
    found = learner.mean_logits(learner.data)
    assert found.shape == (12,) and learner.discriminator.training
    assert all(torch.equal(value, before[name]) for name, value in learner.discriminator.state_dict().items())
    torch.testing.assert_close(found[3:5], learner.mean_logits(learner.data[3:5]))  # each image by itself


def test_pseudo_images_leave_the_generator_alone(tmp_path: Path) -> None:
    learner = small_trainer(small_config("dcgan"), make_images(), tmp_path).learner
    before = {name: value.clone() for name, value in learner.generator.state_dict().items()}
    images = learner.generate_pseudo(torch.Generator().manual_seed(0), None)
    assert images.shape == (4, 1, 16, 16) and not images.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in learner.generator.state_dict().items())


# --- the best snapshot, and the end ----------------------------------------------------------------------------------


def test_the_smallest_kid_is_the_best() -> None:
    assert best([]) is None
    assert best(rows([0.3, 0.1, 0.2, 0.1])) == 1


def test_masks_that_explode_disqualify() -> None:
    """KID falls on while the mask gap goes from 0.3 to more than twice that."""
    found = rows([0.4, 0.3, 0.2, 0.1], [1.0, 0.3, 0.6, 0.61])
    assert [exploded(found[: i + 1]) for i in range(4)] == [False, False, False, True]
    assert best(found) == 2
    assert best(rows([0.1, 0.2], [math.nan, 0.5])) == 1  # all masks were empty
    assert best(rows([0.1], [math.nan])) is None


def test_a_first_look_chooses_nothing() -> None:
    """Noise may be nearer to real images, and its masks to real ones, than what begins to learn."""
    found = rows([0.1, 0.4, 0.3], [0.1, 0.5, 0.6])
    assert best(found) == 0 and best(found, early=10) == 2
    assert best(found[:1], early=10) == 0  # there is no other
    assert reason_to_stop(found, 2) is not None and reason_to_stop(found, 2, early=10) is None
    assert reason_to_stop(found[:1], 1, early=10) is None


def test_a_first_look_is_replaced_by_the_next_measurement(tmp_path: Path) -> None:
    class Rising:
        held = make_images(2)
        kid = 0.0

        def __call__(self, images: Any, masks: Any) -> dict[str, float]:
            self.kid += 1
            return {"fd": 1.0, "kid": self.kid}

    config = small_config("dcgan", steps=10, snapshot=20, held={"every": 10, "samples": 2})
    run = small_trainer(config, make_images(), tmp_path, Rising())
    seen: list[int | None] = []
    run.run(lambda step, losses: seen.append(None if run.best is None else run.best.step))
    assert seen == [None, *[1] * 9] and run.best is not None and run.best.step == 10


def test_why_a_run_stops() -> None:
    assert reason_to_stop(rows([0.3, 0.2, 0.25, 0.24]), None) is None
    assert reason_to_stop(rows([0.3, 0.2, 0.25, 0.24]), 3) is None
    assert reason_to_stop(rows([0.3, 0.2, 0.25, 0.24, 0.2]), 3) == (
        "step 50: no better snapshot in 3 measurements: the best, kid 0.2, was at step 20"
    )
    told = reason_to_stop(rows([0.3, 0.2, 0.1], [0.2, 0.5, 0.9]), 2)
    assert told is not None and "(2 of them with masks more than twice as far from real ones as before)" in told
    assert reason_to_stop(rows([0.3], [math.nan]), 1) == (
        "step 10: no better snapshot in 1 measurements (1 of them with masks more than twice as far from real ones as "
        "before): none could be kept"
    )


class Scripted:
    """Stands in for HeldOut: the numbers of one measurement after the other."""

    def __init__(self, *found: dict[str, float]) -> None:
        self.found = [{name: value for name, value in one.items() if name != "step"} for one in found]
        self.held = make_images(3)

    def __call__(self, images: Any, masks: Any) -> dict[str, float]:
        return self.found.pop(0)


def start(folder: Path, *found: dict[str, float], **held: Any) -> Trainer:
    config = small_config("dcgan", masks=True, steps=6, held={"every": 1, "samples": 2} | held)
    return small_trainer(config, make_images(), folder, Scripted(*found))  # type: ignore[arg-type]


def test_a_run_keeps_no_snapshot_whose_masks_exploded(tmp_path: Path) -> None:
    start(tmp_path, *rows([0.4, 0.3, 0.2, 0.1, 0.1, 0.1], [0.5, 0.2, 0.3, 0.5, 0.6, 0.7])).run(quiet)
    found = read_best(tmp_path / "best.safetensors")
    assert (found.step, found.scores["kid"], found.scores["mask_gap"]) == (3, 0.2, 0.3)
    assert {"r_t", "r_v", "d_gap"} <= found.scores.keys()
    table = read_table(tmp_path / "heldout.csv")
    assert len(table) == 6 and all(-1 <= row["r_t"] <= 1 for row in table)


def test_a_run_stops_and_says_why_and_says_it_again(tmp_path: Path) -> None:
    run = start(tmp_path, *rows([0.2, 0.1, 0.3, 0.3, 0.3]), patience=2)
    assert run.run(quiet)
    assert run.step == 4 and run.stopped is not None and "no better snapshot in 2 measurements" in run.stopped
    assert (tmp_path / "samples" / "000004.png").exists()
    again = start(tmp_path, patience=2)
    assert again.run(quiet)
    assert (again.step, again.stopped) == (4, run.stopped)


def test_a_killed_run_stops_where_one_that_was_not_does(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        start(tmp_path, *rows([0.2, 0.1, 0.3]), patience=3).run(kill_at(3))
    resumed = start(tmp_path, *rows([0.3, 0.3, 0.3]), patience=3)
    resumed.run(quiet)
    assert resumed.step == 5 and resumed.stopped is not None


def test_patience_needs_something_to_wait_for(tmp_path: Path) -> None:
    config = small_config("dcgan", held={"patience": 2})
    with pytest.raises(TrainingError, match=r"held\.patience needs held-out distances"):
        small_trainer(config, make_images(), tmp_path)
