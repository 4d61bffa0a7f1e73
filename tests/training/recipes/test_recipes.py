"""Families in the one training loop: losses by hand, runs from a plain folder, and their models in the zoo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

import medzoo
from medzoo import catalog
from medzoo.datasets import Images
from medzoo.errors import TrainingError
from medzoo.training import heldout, recipes, techniques
from medzoo.training.losses import non_saturating
from medzoo.training.recipes import Facts
from medzoo.training.recipes.dcgan import Discriminator
from medzoo.training.tables import read_table
from medzoo.training.techniques import Options, StepView, Technique
from medzoo.training.techniques._slope import steepness
from tests.tools.training import (
    Killed,
    assert_same,
    install_plugin,
    kill_at,
    load,
    mean_features,
    medzoo_,
    quiet,
    small_config,
    small_trainer,
    two_classes,
    write_folder,
)

SIZES = (16, 28, 32, 56, 64, 112, 128, 224, 256)


@pytest.fixture(autouse=True)
def _without_weights(one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features that need no weights."""
    monkeypatch.setattr(heldout, "load", lambda name, device: mean_features)


# --- networks and losses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", ["dcgan", "wgan_gp"])
def test_every_size_that_a_family_states(family: str, size: int) -> None:
    config = small_config(family, size=size, masks=True)
    with torch.device("meta"):  # shapes without arithmetic
        recipe = recipes.recipe(config, Facts(3, 1, ("a", "b") if family == "dcgan" else None))
        generator, discriminator = recipe.generator(), recipe.discriminator()
        labels = torch.zeros(2, dtype=torch.int64) if family == "dcgan" else None
        (images,) = recipe.images(generator, recipes.Inputs(torch.empty(2, 5), labels=labels))
        assert images.shape == (2, 4, size, size)
        assert recipe.discriminate(discriminator, (images,)).shape == (2, 1)
        assert discriminator(images)[1].shape == (2, 2 if family == "dcgan" else 0)


def test_a_size_that_a_family_has_not() -> None:
    with pytest.raises(ValueError, match="16, 28, 32, 56, 64, 112, 128, 224 or 256"):
        small_config("dcgan", size=100)


def test_cross_entropy_by_hand() -> None:
    # log(1 + e^-1) + log(1 + e^2), the discriminator's on logits 1 and 2.
    found = non_saturating(torch.tensor([[1.0]]), torch.tensor([[2.0]])).item()
    assert found == pytest.approx(0.3132617 + 2.1269280, abs=1e-6)


class Scripted(nn.Module):
    """A discriminator that says what its image's first and second channel are: logit, and logits of two classes."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images[:, :1, 0, 0], images[:, 1:, 0, 0]


def test_acgan_losses_by_hand() -> None:
    """Logits 1 (real) and 2 (generated); both say the classes (0, 0): cross-entropy log 2 each."""
    recipe = recipes.recipe(small_config("dcgan", critic={"class_weight": 3.0}), Facts(1, 0, ("a", "b")))
    real, fake = torch.zeros(2, 3, 1, 1), torch.zeros(2, 3, 1, 1, requires_grad=True)
    with torch.no_grad():
        real[:, 0], fake[:, 0] = 1, 2
    labels = torch.tensor([0, 1]), torch.tensor([1, 1])
    seen = recipe.compare(Scripted(), (real,), (fake,), labels, 0, torch.Generator())
    log2 = np.log(2)
    assert seen.loss.item() == pytest.approx(0.3132617 + 2.1269280 + 3 * 2 * log2, abs=1e-5)
    assert not seen.loss.requires_grad  # the generator is not reached
    answer = seen.score_fakes()
    assert answer.loss.item() == pytest.approx(0.1269280 + 3 * log2, abs=1e-5)
    assert (seen.parts["class_d"].item(), answer.parts["class_g"].item()) == pytest.approx((2 * log2, log2), abs=1e-5)
    answer.loss.backward()
    assert (
        fake.grad is not None and fake.grad[:, 0].max() < 0 and fake.grad[:, 2].max() < 0
    )  # more real, more of class 1


def test_gradient_penalty_by_hand() -> None:
    """A linear critic has the same slope everywhere: the length of its weights."""

    class Linear(nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return 3 * images[:, :1, 0, 0] + 4 * images[:, :1, 1, 1], images

    recipe = recipes.recipe(small_config("wgan_gp"), Facts(1, 0, None))
    real, fake = torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    seen = recipe.compare(Linear(), (real,), (fake,), None, 0, torch.Generator())
    assert seen.parts["penalty"].item() == 16  # (5 - 1)^2
    assert seen.loss.item() == 0 - 7 + 10 * 16
    assert seen.score_fakes().loss.item() == 0


def test_the_slope_can_be_differentiated() -> None:
    torch.manual_seed(0)
    network = Discriminator(4, 1, 16, 0, norm=None).double()
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        for one in network.parameters():
            one.copy_(torch.randn_like(one) / 4)
    assert steepness(lambda images: network(images)[0], x).requires_grad
    weight = network.logit.weight

    def length(changed: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(network, {"logit.weight": changed}, (x,))[0]
        (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        return gradient.flatten(1).norm(dim=1).sum()

    assert torch.autograd.gradcheck(length, (weight.detach().requires_grad_(),))
    slopes = steepness(lambda images: network(images)[0], x).double().sqrt()
    torch.testing.assert_close(length(weight), slopes.sum(), rtol=1e-6, atol=0)


def test_one_gradient_penalty_is_enough() -> None:
    with pytest.raises(ValidationError, match="gradient penalty of its own"):
        small_config("wgan_gp", techniques=[{"name": "gradient_penalty"}])


def test_classes_are_learned_equally_often(tmp_path: Path) -> None:
    """Of the nine images three are of class a, and yet it is half of every batch on average."""
    run = small_trainer(small_config("dcgan", classes=True, batch=8), two_classes(), tmp_path)
    counts = np.zeros(2)
    seen = set()
    for seed in range(100):
        images, labels = run.learner.draw_reals(torch.Generator().manual_seed(seed))
        assert torch.equal(images.amax((1, 2, 3)) > 0, labels == 1)  # the bright ones: each label is of its image
        counts += np.bincount(labels, minlength=2)
        seen |= set(images.sum((1, 2, 3)).tolist())
    assert counts[0] / counts.sum() == pytest.approx(0.5, abs=0.06)  # 800 draws: 3.4 standard errors
    assert len(seen) == 9


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "changes"),
    [("dcgan", {"classes": True}), ("dcgan", {"masks": True, "precision": "bfloat16"}), ("wgan_gp", {})],
)
def test_a_killed_run_follows_the_path_of_one_that_was_not(
    tmp_path: Path, family: str, changes: dict[str, Any]
) -> None:
    config, images = small_config(family, **changes), two_classes()
    assert small_trainer(config, images, tmp_path / "whole").run(quiet)
    with pytest.raises(Killed):
        small_trainer(config, images, tmp_path / "cut").run(kill_at(3))
    assert small_trainer(config, images, tmp_path / "cut").run(quiet)
    assert_same(load(tmp_path / "cut" / "latest.pt"), load(tmp_path / "whole" / "latest.pt"))
    assert (tmp_path / "cut" / "log.csv").read_bytes() == (tmp_path / "whole" / "log.csv").read_bytes()
    columns = set(read_table(tmp_path / "cut" / "log.csv")[0])
    extra = {"class_d", "class_g"} if "classes" in changes else {"penalty"} if family == "wgan_gp" else set()
    assert columns == {"step", "loss_d", "loss_g", "d_real", "d_fake"} | extra


def test_the_critic_learns_five_times_as_often(tmp_path: Path) -> None:
    run = small_trainer(small_config("wgan_gp", steps=2), two_classes(), tmp_path)
    run.run(quiet)
    generator, critic = (next(iter(one.state.values()))["step"].item() for one in run.learner.optimizers.values())
    assert (generator, critic) == (2, 10)


class Freezing(Technique[Options]):
    """A technique of an installed package."""

    def networks(self, generator: nn.Module, discriminator: nn.Module) -> None:
        next(iter(discriminator.parameters())).requires_grad_(False)
        discriminator.add_module("head", nn.Linear(1, 1))

    def loss_d(self, view: StepView) -> torch.Tensor:
        head = view.discriminator.get_submodule("head")
        loss: torch.Tensor = head(view.discriminate(view.real).mean(1, keepdim=True)).square().mean()
        return loss


@pytest.mark.parametrize("family", ["dcgan", "fastgan", "wgan_gp"])
def test_frozen_parameters_stay_frozen(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a technique freezes is neither trained nor thawed by the generator's turn; a head it adds is trained."""
    install_plugin(tmp_path / "site", monkeypatch, "medzoo.training.techniques", "freezing", f"{__name__}:Freezing")
    size = 128 if family == "fastgan" else 16
    changes = {"size": size, "techniques": [{"name": "freezing"}], "steps": 2, "batch": 2}
    changes |= {"config": {"ngf": 8, "nz": 4}} if family == "fastgan" else {}
    images = two_classes()
    if family == "fastgan":
        images = Images(images.images.repeat(8, 2).repeat(8, 3), None, images.names)
    run = small_trainer(small_config(family, **changes), images, tmp_path)
    frozen = next(iter(run.learner.discriminator.parameters()))
    head = run.learner.discriminator.get_submodule("head").weight
    before = frozen.detach().clone(), head.detach().clone()
    run.run(quiet)
    assert torch.equal(frozen, before[0]) and not frozen.requires_grad
    assert not torch.equal(head, before[1])
    assert "head.weight" in load(tmp_path / "latest.pt")["discriminator"]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        (name, family)
        for name in techniques.names()
        for family in ("dcgan", "wgan_gp")
        if (name, family) != ("gradient_penalty", "wgan_gp")  # it has one already
    ],
)
def test_every_technique_goes_with_every_family_and_survives_a_kill(tmp_path: Path, family: str, name: str) -> None:
    """FastGAN has tests of its own; the same hooks are called."""
    changes = {"masks": True} if family == "wgan_gp" else {"classes": True}
    options = {"layers": 2} if name == "freezed" else {}  # of three
    config, images = small_config(family, **changes, techniques=[{"name": name} | options]), two_classes()
    small_trainer(config, images, tmp_path / "whole").run(quiet)
    with pytest.raises(Killed):
        small_trainer(config, images, tmp_path / "cut").run(kill_at(3))
    small_trainer(config, images, tmp_path / "cut").run(quiet)
    assert_same(load(tmp_path / "cut" / "latest.pt"), load(tmp_path / "whole" / "latest.pt"))


def test_fine_tuning_begins_with_the_weights_of_a_run(tmp_path: Path) -> None:
    first = small_trainer(small_config("dcgan"), two_classes(), tmp_path / "first")
    first.run(quiet)
    start = str(tmp_path / "first")
    second = small_trainer(
        small_config("dcgan", start=start, seed=5, steps=1), two_classes(), tmp_path / "second", None
    )
    for which in ("generator", "discriminator"):
        before = {name: v.clone() for name, v in getattr(first.learner, which).state_dict().items()}
        assert_same(dict(getattr(second.learner, which).state_dict()), before)
    assert_same(dict(second.learner.average.state_dict()), dict(first.learner.generator.state_dict()))
    assert second.run(quiet) and small_trainer(second.config, two_classes(), tmp_path / "second").run(quiet)
    message = r"the generator of .*first does not fit .* main\.0\.weight is \[5, 8, 4, 4\]"
    with pytest.raises(TrainingError, match=message):
        small_trainer(
            small_config("dcgan", start=start, config={"ngf": 8, "nz": 5}), two_classes(), tmp_path / "x", None
        )
    (tmp_path / "first" / "latest.pt").write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match=r"latest\.pt is not a state that this program wrote"):
        small_trainer(small_config("dcgan", start=start), two_classes(), tmp_path / "x")


def test_fine_tuning_begins_with_a_model_of_the_zoo(tmp_path: Path) -> None:
    from medzoo import zoo

    model, size = "10001_FASTGAN_POLYP_W_MASKS", 128
    images = Images(np.zeros((2, 3, size, size), np.uint8), np.zeros((2, 1, size, size), np.uint8), ("a", "b"))
    changes = {"size": size, "masks": True, "start": model, "batch": 2}
    run = small_trainer(small_config("fastgan", **changes, config={}), images, tmp_path)
    found = zoo.load(model, fused=False, device="cpu").network.state_dict()
    assert_same(dict(run.learner.generator.state_dict()), dict(found))
    with pytest.raises(TrainingError, match="10001_FASTGAN_POLYP_W_MASKS is of family fastgan, this run of dcgan"):
        small_trainer(small_config("dcgan", start=model), two_classes(), tmp_path)


# --- from a folder to the zoo ----------------------------------------------------------------------------------------


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "registry"
    (folder / "models").mkdir(parents=True)
    monkeypatch.setenv("MEDZOO_REGISTRY", str(folder))
    return folder


@pytest.mark.parametrize(
    ("family", "classes", "masks"), [("dcgan", True, False), ("dcgan", False, True), ("wgan_gp", False, False)]
)
def test_from_a_folder_to_the_zoo(tmp_path: Path, registry: Path, family: str, classes: bool, masks: bool) -> None:
    folder = write_folder(tmp_path / "mine", two_classes(30), classes=classes, masks=masks)
    run, model = tmp_path / "run", f"99002_{family.upper()}_MINE"
    options = ["--family", family, "--data", folder, "--size", 16, "--technique", "diffaugment:policy=[color,cutout]"]
    options += ["--classes"] if classes else []
    done = medzoo_("train", *options, "--batch", 4, "--steps", 2, "--out", run, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["best"]["step"] == 2
    done = medzoo_("export", run, "--model-id", model, "--registry", registry, "--json")
    assert done.exit_code == 0, done.output
    exported = json.loads(done.stdout)

    assert f"{tmp_path}" not in (registry / "training" / model / "config.yaml").read_text()  # nobody's folders
    entry = catalog.resolve(model).entry
    assert entry.family == family and entry.training_data.datasets == ("mine",) and entry.training_data.images == 27
    assert entry.license.data is None and entry.training_data.public is None
    assert (entry.condition.classes if entry.condition else None) == (("a", "b") if classes else None)
    samples = medzoo.generate(model, 256, seed=0)
    assert samples.images.shape == (256, 1, 16, 16) and (samples.masks is not None) == masks
    from medzoo.training import data
    from medzoo.training.config import load_config

    _, held = data.load(load_config(run / "config.yaml"))
    # What was measured is what is generated, classes included.
    measured = heldout.HeldOut(held)(np.rint(samples.images * 255).astype(np.uint8), samples.masks)
    assert measured["kid"] == pytest.approx(exported["scores"][exported["chosen"]]["kid"], abs=1e-4)
    if classes:
        assert set(samples.labels.tolist()) == {0, 1}
        one, other = (medzoo.generate(model, 2, seed=0, condition=name) for name in ("a", "b"))
        assert one.labels.tolist() == [0, 0] and not np.allclose(one.images, other.images)
