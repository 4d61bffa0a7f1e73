"""ADA and APA: trajectories of the probability, distributions of the changes, and what is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from medzoo.errors import TrainingError
from medzoo.training.techniques import BeforeStep, Technique, create
from medzoo.training.techniques import ada as ada_module
from medzoo.training.techniques._heuristic import AdaptiveOptions, Heuristic
from medzoo.training.techniques.ada import Ada
from medzoo.training.techniques.apa import Apa
from tests.tools.technique_case import Patches, Tiny, make_view

SURE, LOST = torch.ones(8, 1), -torch.ones(8, 1)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ada(p: float, **options: object) -> Ada:
    made = create("ada", 8, **options)
    assert isinstance(made, Ada)
    made.heuristic.p = p
    return made


def after(heuristic: Heuristic, steps: int, logits: Tensor) -> float:
    for _ in range(steps):
        heuristic.see(logits)
    return heuristic.p


@pytest.mark.parametrize("steps", [0, 3, 4, 7, 8, 100])
def test_published_defaults_every_fourth_step_adds_four_batches_of_500_thousand(steps: int) -> None:
    heuristic = Heuristic(AdaptiveOptions(), 8)
    assert after(heuristic, steps, SURE) == pytest.approx(steps // 4 * 4 * 8 / 500_000, rel=1e-12)


def test_the_probability_rises_over_kimg_and_stays_below_one() -> None:
    """1000 images are 100 steps of 10, in which it rises from 0 to 1; then it falls as fast, and no further than 0."""
    heuristic = Heuristic(AdaptiveOptions(kimg=1), 10)
    assert after(heuristic, 96, SURE) == pytest.approx(0.96)
    assert after(heuristic, 400, SURE) == 0.99
    assert after(heuristic, 48, LOST) == pytest.approx(0.99 - 0.48)
    assert after(heuristic, 400, LOST) == 0.0


def test_what_counts_is_the_mean_sign_over_the_interval() -> None:
    """Logits of (3, 0.1, 5, 7) / (-0.1, ...) have signs, not sizes; 0.5 is below the target of 0.6, 0.75 above."""
    four = torch.tensor([[3.0, 0.1, 5.0, 7.0]])
    for last, mean, p in (((-9.0,) * 4, 0.5, 0.0), ((-1e-3, -9.0, 1e-3, 4.0), 0.75, 1.0)):
        heuristic = Heuristic(AdaptiveOptions(kimg=0.001), 1)  # rises at once
        for logits in (four, four, four, torch.tensor([last])):
            heuristic.see(logits)
        assert heuristic.r == mean and (heuristic.p > 0) == bool(p)


def test_at_the_target_nothing_moves() -> None:
    logits = torch.tensor([1.0, 1, 1, -1, 1, 1, 1, -1])  # mean sign 1/2
    heuristic = Heuristic(AdaptiveOptions(target=0.5, start=0.3), 8)
    assert after(heuristic, 40, logits) == 0.3


@pytest.mark.parametrize("name", ["ada", "apa"])
def test_state_goes_on_in_the_middle_of_an_interval(name: str) -> None:
    def run(one: Technique[Any], steps: int) -> None:
        for _ in range(steps):
            one.after(replace(make_view(Tiny(), Patches()), logits_real=SURE))

    straight, first, second = (create(name, 8, kimg=1) for _ in range(3))
    run(straight, 10)
    run(first, 6)
    second.load_state(first.state())
    run(second, 4)
    assert second.state() == straight.state()
    assert straight.state()["p"] == pytest.approx(2 * 0.032) and straight.state()["seen"] == 2


def test_numbers_for_the_table() -> None:
    seen = replace(make_view(Tiny(), Patches()), logits_real=SURE)
    assert dict(create("ada", 8).after(seen)) == {"ada_p": 0.0, "ada_r": 0.0}
    assert dict(create("apa", 1000, interval=1, kimg=10).after(seen)) == {"apa_p": 0.1, "apa_lambda_r": 1.0}


@pytest.mark.parametrize("options", [{"limit": 1.0}, {"target": 1.5}, {"interval": 0}, {"start": -0.1}, {"kimg": 0}])
def test_options_that_cannot_work_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(TrainingError, match=f"ada.{next(iter(options))}"):
        create("ada", 8, **options)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_at_probability_zero_images_are_the_very_same(channels: int) -> None:
    x = torch.rand(8, channels, 16, 16)
    assert ada(0.0).augment(x, 3 if channels > 2 else 1, rng()) is x


def test_geometry_moves_masks_along_and_colour_leaves_them() -> None:
    image = torch.rand(8, 1, 32, 32, generator=rng(1))
    found = ada(0.9).augment(image.repeat(1, 4, 1, 1), 3, rng(2))
    bare = ada(0.9, pipeline="bg").augment(image, 1, rng(2))
    torch.testing.assert_close(found[:, 3:], bare, atol=1e-5, rtol=0)
    assert not torch.allclose(found[:, 3:], image, atol=0.1) and not torch.allclose(found[:, :1], bare, atol=0.1)


def test_blits_only_make_no_new_values() -> None:
    x = torch.rand(16, 1, 8, 8, generator=rng(1))
    found = ada(0.9, pipeline="b").augment(x, 1, rng(2))
    assert all(set(found[i].flatten().tolist()) <= set(x[i].flatten().tolist()) for i in range(16))
    assert not torch.equal(found, x)


def test_how_many_numbers_are_drawn_depends_on_the_batch_alone() -> None:
    states = []
    for p, size in ((0.0, 8), (0.9, 8), (0.9, 16)):
        generator = rng()
        ada(p).augment(torch.rand(3, 1, size, size), 1, generator)
        states.append(generator.get_state())
    assert torch.equal(states[0], states[1]) and torch.equal(states[1], states[2])


def test_a_small_copy_is_augmented_as_the_large_image() -> None:
    """A blob and its half-size copy end up at the same place, to a rounded shift of each."""
    at = torch.arange(64) - 31.5
    x = torch.exp(-((at - 6) ** 2 + (at[:, None] + 3) ** 2) / 50).expand(16, 1, 64, 64)
    small = torch.nn.functional.avg_pool2d(x, 2)
    large, little = (ada(0.6, pipeline="bg").augment(image, 1, rng(4)) for image in (x, small))

    def centre(image: Tensor) -> Tensor:
        weight = image.clamp_min(0)[:, 0] / image.clamp_min(0).sum((1, 2, 3))[:, None, None]
        place = (torch.arange(image.shape[-1]) + 0.5) / image.shape[-1]
        return torch.stack([(weight.sum(1) * place).sum(1), (weight.sum(2) * place).sum(1)])

    assert centre(large).std() > 0.05
    assert (centre(large) - centre(little)).abs().max() < 1 / 32


N = 20_000
SIZE = (64, 128)


def test_distribution_of_the_blits() -> None:
    """At p = 1: half flipped, four turns, shifts uniform over +-1/8 of each side, in whole pixels."""
    maps = ada_module.blits(N, 1.0, SIZE, rng())
    assert (torch.linalg.det(maps) < 0).double().mean() == pytest.approx(0.5, abs=0.02)
    turned = maps[torch.linalg.det(maps) > 0][:, 0, :2]
    for way in ([1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]):
        assert (turned == torch.tensor(way)).all(1).double().mean() == pytest.approx(0.25, abs=0.02)
    for axis, side in ((0, 128), (1, 64)):
        moved = maps[:, axis, 2]
        assert torch.equal(moved, moved.round()) and moved.abs().max() == side / 8
        assert moved.std() == pytest.approx(side / 4 / 12**0.5, rel=0.03)


def test_distribution_of_the_geometry() -> None:
    """Scale: the determinant is its square. Fractional shift: the last step, so untouched by the others."""
    maps = ada_module.geometry(N, 1.0, SIZE, rng())
    log_scale = torch.log2(torch.linalg.det(maps)) / 2
    assert log_scale.mean() == pytest.approx(0, abs=0.01) and log_scale.std() == pytest.approx(0.2, rel=0.03)
    stretch = torch.log2(torch.linalg.svdvals(maps[:, :2, :2])[:, 0]) - log_scale
    assert stretch.square().mean().sqrt() == pytest.approx(0.2, rel=0.03)
    assert maps[:, 0, 2].std() == pytest.approx(16, rel=0.03) and maps[:, 1, 2].std() == pytest.approx(8, rel=0.03)
    angle = torch.atan2(maps[:, 0, 1], maps[:, 0, 0])
    assert angle.std() == pytest.approx(torch.pi / 3**0.5, rel=0.03)


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_each_change_has_probability_p_and_the_two_rotations_together_too(p: float) -> None:
    maps = ada_module.geometry(N, p, SIZE, rng(1))
    assert (maps[:, 0, 1] != 0).double().mean() == pytest.approx(p, abs=0.015)
    assert (maps[:, 0, 2] != 0).double().mean() == pytest.approx(p, abs=0.015)
    colour = ada_module.colour(N, p, rng(2))
    assert (colour[:, :, 3].abs().sum(1) != 0).double().mean() == pytest.approx(p, abs=0.015)


def test_distribution_of_the_colours() -> None:
    """Grey (1, 1, 1) keeps its direction: contrast times the luma flip. The rest shrinks by the saturation."""
    maps = ada_module.colour(N, 1.0, rng())
    grey = maps[:, :, :3].sum((1, 2)) / 3
    assert (grey < 0).double().mean() == pytest.approx(0.5, abs=0.02)
    assert torch.log2(grey.abs()).std() == pytest.approx(0.5, rel=0.03)
    offset = maps[:, 0, 3] / grey
    assert offset.std() == pytest.approx(0.2, rel=0.03)
    side = maps[:, :, :3] @ torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64) / 2**0.5
    assert torch.log2(side.norm(dim=1) / grey.abs()).std() == pytest.approx(1.0, rel=0.03)
    angle = torch.atan2(side @ torch.tensor([1.0, 1.0, -2.0], dtype=torch.float64) / 6**0.5,
                        side @ torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64) / 2**0.5)  # fmt: skip
    assert angle.std() == pytest.approx(torch.pi / 3**0.5, rel=0.03)


def test_the_whole_pipeline_is_differentiable_twice_at_fixed_draws() -> None:
    x = torch.rand(4, 4, 4, 4, dtype=torch.float64, generator=rng(3)).requires_grad_(True)
    one = ada(0.8)
    assert not torch.equal(one.augment(x, 3, rng(5)), x)
    assert torch.autograd.gradcheck(lambda image: one.augment(image, 3, rng(5)), x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda image: one.augment(image, 3, rng(5)) ** 3, x, fast_mode=True)


def test_r1_through_the_pipeline_has_gradients() -> None:
    """|grad of w . T(x)|^2 is |T' w|^2: its derivative for w is 2 T T' w, T the (linear) bg pipeline."""
    one, w = ada(0.8, pipeline="bg"), torch.randn(1, 1, 6, 6, dtype=torch.float64, requires_grad=True)

    def move(image: Tensor) -> Tensor:
        return one.augment(image, 1, rng(6))

    x = torch.rand(1, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad((w * move(x)).sum(), x, create_graph=True)
    (found,) = torch.autograd.grad(gradient.square().sum(), w)
    torch.testing.assert_close(found, 2 * move(gradient.detach()))


def before(fakes: Tensor, calls: list[int] | None = None) -> BeforeStep:
    def generate(_: torch.Generator) -> Tensor:
        if calls is not None:
            calls.append(1)
        return fakes

    return BeforeStep(step=0, colours=1, labels=None, generate=generate)


def test_apa_replaces_whole_images_with_probability_p() -> None:
    real, fake = torch.zeros(4000, 2, 2, 2), torch.ones(4000, 2, 2, 2, requires_grad=True)
    one = create("apa", 4000)
    assert isinstance(one, Apa)
    one.heuristic.p = 0.3
    found = one.reals(real, before(fake), rng())
    share = found.mean((1, 2, 3))
    assert set(share.tolist()) == {0.0, 1.0} and share.mean() == pytest.approx(0.3, abs=0.03)
    assert not found.requires_grad


def test_apa_at_probability_zero_neither_changes_nor_generates() -> None:
    real, calls = torch.zeros(8, 1, 2, 2), list[int]()
    assert create("apa", 8).reals(real, before(torch.ones(8, 1, 2, 2), calls), rng()) is real and not calls
