"""VAE: its encoder, its losses by hand, and its training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributions import Normal, kl_divergence

import medzoo
from medzoo.errors import EntryError, GenerationError
from medzoo.families import vae
from medzoo.testing import FamilyCase
from medzoo.training import recipes
from medzoo.training.config import parse
from medzoo.training.recipes import Facts
from medzoo.training.recipes._reconstruction import of_masks, of_picture
from medzoo.training.recipes.vae import divergence
from medzoo.training.tables import read_table
from tests.tools.family_cases import MASS, VAE
from tests.tools.training import Killed, assert_same, export_slopes, kill_at, load, quiet, slopes, small_trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def make_config(**changes: Any) -> Any:
    fields = {
        "family": "vae", "dataset": "tiny", "size": 28, "masks": False, "config": {"width": 4, "latent": 5},
        "steps": 3, "batch": 4, "snapshot": 2,
    }  # fmt: skip
    return parse(fields | changes)


# --- the family ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [28, 32, 64, 128])
def test_every_size(size: int) -> None:
    config = vae.Config(latent=3, width=4, channels=2, image_size=size, classes=2)
    with torch.device("meta"):  # shapes without arithmetic
        network = vae.Network(config)
        images = network(torch.empty(2, 3), torch.zeros(2, dtype=torch.int64))
        assert images.shape == (2, 2, size, size)
        assert [part.shape for part in network.encode(images)] == [(2, 3), (2, 3)]


def test_sizes_that_cannot_be_are_refused() -> None:
    for size in (24, 60, 8 * 7 + 1):
        with pytest.raises(ValueError, match="4 or 7 times a power of two"):
            vae.Config(latent=3, width=4, channels=1, image_size=size)


def test_images_are_encoded_alone_and_in_their_order() -> None:
    generator = FamilyCase("vae", VAE, (16, 16), 3, 1).load(fused=False)
    images = torch.rand(3, 4, 16, 16) * 2 - 1
    means = generator.encode(images)
    assert means.shape == (3, 6) and means.dtype == torch.float32
    torch.testing.assert_close(generator.encode(images[1:2]), means[1:2])
    assert not torch.allclose(means[0], means[1], atol=1e-3)
    assert generator.decode(means).shape == images.shape
    with pytest.raises(GenerationError, match=r"tensor \[n, 4, 16, 16\] .* found \[1, 3, 16, 16\]"):
        generator.encode(images[:1, :3])


def test_weights_without_an_encoder_only_sample() -> None:
    case = FamilyCase("vae", VAE, (16, 16), 3, 1)
    state = case.state()
    generator = case.load({name: value for name, value in state.items() if not name.startswith("encoder.")})
    assert (generator.generate(2).images == case.load(state).generate(2).images).all()
    with pytest.raises(GenerationError, match="its weights hold no encoder"):
        generator.encode(torch.zeros(1, 4, 16, 16))


def test_classes_differ_and_are_drawn_where_nobody_says() -> None:
    classes = FamilyCase("vae", VAE | {"channels": 1, "classes": 2}, (16, 16), condition=MASS)
    one, other = (classes.load().generate(2, name).images for name in MASS["classes"])
    assert abs(one - other).max() > 1e-3
    drawn = classes.load().generate(20)
    for i, label in enumerate(drawn.labels):
        told = classes.load().generate(1, int(label), start=i).images[0]
        assert abs(drawn.images[i] - told).max() < 1e-5


def test_an_entry_must_declare_what_the_weights_take() -> None:
    with pytest.raises(EntryError, match="the network takes no condition"):
        FamilyCase("vae", VAE, (16, 16), 3, 1, condition=MASS).load()
    three = {"kind": "class", "classes": ["a", "b", "c"]}
    with pytest.raises(EntryError, match="names 3 classes, the network has 2"):
        FamilyCase("vae", VAE | {"classes": 2}, (16, 16), 3, 1, condition=three).load()


# --- losses ----------------------------------------------------------------------------------------------------------


def test_divergence_of_known_gaussians() -> None:
    mean, deviation = torch.tensor([[0.0, 1.0], [-2.0, 0.5]]), torch.tensor([[1.0, 1.0], [3.0, 0.1]])
    expected = kl_divergence(Normal(mean, deviation), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(divergence(mean, 2 * deviation.log()), expected)
    assert expected[0] == 0.5  # one of two means is off by one


def test_reconstruction_by_hand() -> None:
    """An edge of height 2 between two columns, of which nothing was made."""
    images = torch.tensor([[[[-1.0, 1.0], [-1.0, 1.0]]]])
    made = torch.full_like(images, -1.0)
    assert of_picture(made, images, 0.0) == 1.0  # (0 + 2 + 0 + 2) / 4
    assert of_picture(made, images, 0.5) == 1.0 + 0.5 * 2.0  # both slopes across are off by 2, none down
    masks = torch.tensor([[[[-1.0, 1.0]]]])
    logits = torch.tensor([[[[0.0, 2.0]]]])
    assert of_masks(logits, masks).item() == pytest.approx((math.log(2) + math.log1p(math.exp(-2.0))) / 2)
    assert of_masks(logits[:, :0], masks[:, :0]) == 0


def test_the_loss_is_the_sum_of_its_parts() -> None:
    """KL weight 2.5e-4 at 64 px, 0.25 of that many times as many pixels at 128."""
    recipe = recipes.recipe(make_config(size=128, masks=True, kl_weight=0.8), Facts(1, 1, ("a", "b")))
    torch.manual_seed(0)
    network, images = recipe.generator(), torch.rand(2, 2, 128, 128) * 2 - 1
    found = recipe.loss(network, images, torch.tensor([0, 1]), 0, torch.Generator().manual_seed(0))
    assert set(found.parts) == {"reconstruction", "masks", "kl"}
    expected = found.parts["reconstruction"].log() + found.parts["masks"] + 0.2 * found.parts["kl"]
    torch.testing.assert_close(found.total, expected)
    found.total.backward()
    assert all(one.grad is not None and one.grad.abs().max() > 0 for one in network.parameters())


# --- runs ------------------------------------------------------------------------------------------------------------


def test_a_killed_run_follows_the_path_of_one_that_was_not(tmp_path: Path) -> None:
    config, images = make_config(classes=True, masks=True), slopes()
    assert small_trainer(config, images, tmp_path / "whole").run(quiet)
    with pytest.raises(Killed):
        small_trainer(config, images, tmp_path / "cut").run(kill_at(3))
    assert small_trainer(config, images, tmp_path / "cut").run(quiet)
    assert_same(load(tmp_path / "cut" / "latest.pt"), load(tmp_path / "whole" / "latest.pt"))
    assert {"step", "reconstruction", "masks", "kl"} < set(read_table(tmp_path / "cut" / "log.csv")[0])


def test_it_learns_and_the_zoo_shows_what_it_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, images = make_config(classes=True, steps=40, batch=8, lr=5e-3, ema=0.5, snapshot=40), slopes()
    run = small_trainer(config, images, tmp_path / "run")
    run.run(quiet)
    losses = [row["reconstruction"] for row in read_table(tmp_path / "run" / "log.csv")]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    model = export_slopes(tmp_path, config, monkeypatch)
    samples, (sampled, _) = medzoo.generate(model, 8, device="cpu"), run.sample(8)
    assert abs(samples.images * 255 - sampled).max() <= 0.5 + 1e-3
    assert samples.labels is not None and set(samples.labels) == {0, 1}
