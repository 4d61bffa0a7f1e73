"""Training of diffusion: target and weight by hand, what is refused, and that the zoo shows what was learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

import medzoo
from medzoo.training import recipes
from medzoo.training.config import parse
from medzoo.training.recipes import Facts
from medzoo.training.recipes.diffusion import SCHEDULE
from tests.tools.training import Killed, assert_same, export_slopes, kill_at, load, quiet, slopes, small_trainer

pytestmark = pytest.mark.usefixtures("one_thread")

GREY = Facts(1, 0, ("a", "b"))


def make_config(**changes: Any) -> Any:
    network = {"width": 8, "mult": [1, 1, 1], "blocks": 1, "attention": [4], "heads": 2}
    fields = {
        "family": "diffusion", "dataset": "tiny", "size": 28, "masks": False, "classes": True, "config": network,
        "steps": 3, "batch": 4, "snapshot": 2, "sampling_steps": 2,
    }  # fmt: skip
    return parse(fields | changes)


class Answer(nn.Module):
    """A network that always answers the same, and keeps what it was asked."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, times: Tensor, labels: Tensor | None) -> Tensor:
        self.asked = (x, times, labels)
        return self.answer


def test_the_target_and_its_weight_by_hand() -> None:
    recipe = recipes.recipe(make_config(batch=64, gamma=5.0), GREY)
    images, labels = torch.rand(64, 1, 28, 28) * 2 - 1, torch.zeros(64, dtype=torch.int64)
    nothing = Answer(torch.zeros_like(images))
    found = recipe.loss(nothing, images, labels, 0, torch.Generator().manual_seed(3))
    x_t, times, shown = nothing.asked
    alpha_bar_t = torch.from_numpy(SCHEDULE.alphas_cumprod).double()[times]
    alpha, sigma = alpha_bar_t.sqrt()[:, None, None, None], (1 - alpha_bar_t).sqrt()[:, None, None, None]
    eps = (x_t - alpha * images) / sigma
    assert abs(eps.mean()) < 0.02 and abs(eps.std() - 1) < 0.02
    v = alpha * eps - sigma * images
    snr = alpha_bar_t / (1 - alpha_bar_t)
    weight = snr.clamp(max=5) / (snr + 1)  # of v; Hang et al. 2023, section 3.3
    by_hand = (weight * v.square().flatten(1).mean(1)).mean()
    torch.testing.assert_close(found.total.double(), by_hand, rtol=1e-4, atol=1e-6)
    again = recipe.loss(Answer(v.float()), images, labels, 0, torch.Generator().manual_seed(3))
    assert again.total < 1e-8
    assert 0 < (shown == 2).sum() < 20 and set(shown.tolist()) == {0, 2}  # a tenth without a class: the null one


def test_every_weight_learns_once_the_first_step_has_been_made() -> None:
    recipe = recipes.recipe(make_config(), GREY)
    torch.manual_seed(0)
    network = recipe.generator()
    x, times = torch.randn(2, 1, 28, 28), torch.tensor([3, 900])
    assert network(x, times, torch.tensor([0, 1])).std() < 1e-6  # the last convolution begins at zero
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.02)
    labels = torch.tensor([0, 1, 0, 1] * 8)
    recipe.loss(network, torch.rand(32, 1, 28, 28), labels, 0, torch.Generator().manual_seed(0)).total.backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in network.parameters())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 30}, "multiple of 4"),
        ({"guidance": 2.0, "classes": False}, "guidance needs classes: true"),
        ({"guidance": 2.0, "without_class": 0.0}, "without_class above 0"),
        ({"critic": {}}, "critic"),
    ],
)
def test_what_does_not_fit(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        make_config(**changes)


def test_a_killed_run_follows_the_path_of_one_that_was_not(tmp_path: Path) -> None:
    config, images = make_config(masks=True), slopes()
    assert small_trainer(config, images, tmp_path / "whole").run(quiet)
    with pytest.raises(Killed):
        small_trainer(config, images, tmp_path / "cut").run(kill_at(3))
    assert small_trainer(config, images, tmp_path / "cut").run(quiet)
    assert_same(load(tmp_path / "cut" / "latest.pt"), load(tmp_path / "whole" / "latest.pt"))


@torch.no_grad()
def error_of(config: Any, network: nn.Module) -> float:
    """Of v, over 256 looks at the toy images."""
    toys = slopes(16)
    images = torch.from_numpy(toys.images).repeat(16, 1, 1, 1) / 127.5 - 1
    labels = torch.from_numpy(toys.labels).repeat(16)
    loss = recipes.recipe(config, GREY).loss(network, images, labels, 0, torch.Generator().manual_seed(0))
    return loss.parts["v_error"].item()


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_it_learns_and_the_zoo_shows_what_it_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guidance: float
) -> None:
    config = make_config(steps=40, batch=16, lr=5e-3, ema=0.5, snapshot=40, guidance=guidance)
    run = small_trainer(config, slopes(16), tmp_path / "run")
    run.run(quiet)
    assert error_of(config, run.learner.average) < 0.6 * error_of(config, recipes.recipe(config, GREY).generator())
    model = export_slopes(tmp_path, config, monkeypatch)
    samples, (sampled, _) = medzoo.generate(model, 4, device="cpu"), run.sample(4)
    assert abs(samples.images * 255 - sampled).max() <= 0.5 + 0.1
    assert medzoo.info(model).sampling.guidance == guidance
    fewer = medzoo.load(model, override={"sampling": {"steps": 1}}).generate(2)
    assert abs(fewer.images - samples.images[:2]).max() > 1e-3
