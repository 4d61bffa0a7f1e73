"""Training of StyleGAN2: its regularisations on networks small enough for a pencil, runs, and its models in the zoo."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

import medzoo
from medzoo.datasets import Images
from medzoo.families.stylegan2.network import Network
from medzoo.randomness import Noise
from medzoo.training import recipes
from medzoo.training.config import parse
from medzoo.training.data import About
from medzoo.training.export import export, stored
from medzoo.training.recipes import Facts
from medzoo.training.recipes._stylegan2_discriminator import Block, Conv, Discriminator, filtered, with_deviation
from medzoo.training.recipes.stylegan2 import RECIPE, path_lengths
from tests.tools.training import Killed, assert_same, kill_at, load, quiet, small_trainer

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {"z_dim": 6, "layers": 2, "channel_base": 256, "channel_max": 12}
SIZE = 32


def make_config(**changes: Any) -> Any:
    fields = {
        "family": "stylegan2", "dataset": "tiny", "size": SIZE, "masks": False, "config": TINY,
        "critic": {"channel_base": 256, "channel_max": 12}, "steps": 3, "batch": 4, "snapshot": 2,
    }  # fmt: skip
    return parse(fields | changes)


def make_recipe(facts: Facts | None = None, **changes: Any) -> Any:
    return recipes.recipe(make_config(**changes), facts or Facts(1, 0, None))


def make_images(n: int = 8, channels: int = 1) -> Images:
    """Two classes, a dark (a) and a bright one (b)."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    pixels = rng.integers(0, 100, (n, channels, SIZE, SIZE)) + 150 * labels[:, None, None, None]
    masks = rng.integers(0, 2, (n, 1, SIZE, SIZE)).astype(np.uint8)
    return Images(pixels.astype(np.uint8), masks, tuple(f"i{i}" for i in range(n)), labels.astype(np.int64), ("a", "b"))


def of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_path_lengths_of_a_linear_generator() -> None:
    """For an image A w the Jacobian is A, and for y = sqrt(h w) e_k the length is that of row k of A."""
    rows = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
    ws = torch.zeros(3, 2, 2, requires_grad=True)
    images = (ws[:, 0] @ rows.t()).reshape(3, 1, 2, 2)  # of two places, one matters
    noise = torch.zeros(3, 1, 2, 2)
    noise[0, 0, 0, 0] = noise[1, 0, 0, 1] = noise[2, 0, 1, 0] = math.sqrt(4)
    expected = torch.tensor([5.0, 2.0, 1.0]) / math.sqrt(2)  # the mean of the squares over two places
    torch.testing.assert_close(path_lengths(images, ws, noise), expected)


class Linear(nn.Module):
    """Stands in for a generator: w is the latent, its images a x w, of 32 x 32 equal pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(2.0))


def test_path_regularisation_follows_its_mean_and_can_be_differentiated(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, network = make_recipe(), Network(make_recipe().zoo_config)
    critic, linear = recipe.discriminator(), Linear()
    ws = torch.randn(2, 1, 6).requires_grad_()
    monkeypatch.setattr(RECIPE, "ws", lambda self, generator, inputs, track: ws)
    monkeypatch.setattr(
        RECIPE, "synthesised", lambda self, g, ws, inputs: linear.a * ws[:, :, :1, None].expand(-1, -1, SIZE, SIZE)
    )
    critic.path.fill_(1.0)
    found = recipe.regularise(network, critic, 4, 0, of(0))
    # The image is a w_1 in every pixel: the length is a |sum y| / 32.
    drawn = of(0)
    recipe.draw(2, drawn, None)
    lengths = 2 * torch.randn(2, 1, SIZE, SIZE, generator=drawn).sum((1, 2, 3)).abs() / SIZE
    mean = 1 + 0.01 * (lengths.mean() - 1)
    assert critic.path.item() == pytest.approx(mean.item(), rel=1e-5)
    assert found.item() == pytest.approx(4 * 2 * (lengths - mean).square().mean().item(), rel=1e-4)
    (slope,) = torch.autograd.grad(found, linear.a)
    assert slope.item() == pytest.approx(4 * 2 * (2 * (lengths - mean) * lengths / 2).mean().item(), rel=1e-4)
    for step, due in ((1, False), (3, False), (4, True), (7, False), (8, True)):
        assert (recipe.regularise(network, critic, 4, step, of(0)) is not None) == due
    assert make_recipe(critic={"path": 0}).regularise(network, critic, 4, 0, of(0)) is None


class LinearCritic(Discriminator):
    """Logits 3 x one pixel + 4 x another, plus the class."""

    def __init__(self) -> None:
        super().__init__([4, 4], 1, 0)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        own = 0 if labels is None else labels[:, None]
        return 3 * images[:, :, 0, 0] + 4 * images[:, :, 1, 1] + own


def test_losses_and_r1_of_a_linear_critic() -> None:
    """Logits 0 (real, class 0) and 2 (generated, class 2); the slope is 5 everywhere."""
    recipe = make_recipe(Facts(1, 0, ("a", "b", "c")), classes=True, critic={"r1": 0.5})
    real, fake = torch.zeros(2, 1, SIZE, SIZE), torch.zeros(2, 1, SIZE, SIZE, requires_grad=True)
    labels = torch.tensor([0, 0]), torch.tensor([2, 2])
    critic, plain = LinearCritic(), math.log(2) + math.log(1 + math.e**2)
    for step in range(18):
        seen = recipe.compare(critic, (real,), (fake,), labels, step, of(0))
        due = step % 16 == 0
        assert seen.loss.item() == pytest.approx(plain + due * 16 * 0.5 / 2 * 25, abs=1e-4)
        assert seen.parts["r1"].item() == pytest.approx(0.5 / 2 * 25)  # the last one
    answer = seen.score_fakes()
    assert answer.loss.item() == pytest.approx(math.log(1 + math.e**-2), abs=1e-6)
    answer.loss.backward()
    assert fake.grad[:, 0, 0, 0].max() < 0
    assert make_recipe(size=64, batch=8).gamma == pytest.approx(0.0002 * 64 * 64 / 8)
    off = make_recipe(critic={"r1": 0.0}).compare(LinearCritic(), (real,), (fake,), None, 0, of(0))
    assert off.loss.item() == pytest.approx(2 * math.log(2))


def test_deviation_of_a_batch() -> None:
    """Eight images make two groups of four: every other one."""
    x = torch.zeros(8, 2, 3, 3)
    x[[0, 4]] = 1.0  # of the first group (0, 2, 4, 6): half 1, half 0
    x[1, 0] = 4.0  # of the second: one of four 4, in one of two channels
    found = with_deviation(x)
    assert found.shape == (8, 3, 3, 3) and torch.equal(found[:, :2], x)
    torch.testing.assert_close(found[:, 2, 0, 0], torch.tensor([0.5, math.sqrt(3) / 2] * 4), atol=1e-3, rtol=0)
    assert with_deviation(x[:6])[:, 2].unique().numel() == 2  # 6 = 3 x 2
    torch.testing.assert_close(with_deviation(x[:1])[:, 2], torch.full((1, 3, 3), 1e-4))


def test_the_filter_halves_without_moving() -> None:
    """[1, 3, 3, 1] / 8 both ways: a ramp becomes one twice as steep, centred in the pairs."""
    block = Block(2, 2)
    nn.init.constant_(block.skip.weight, 1.0)
    ramp = torch.arange(8.0).expand(1, 2, 8, 8)
    found = block.skip(filtered(ramp, block.fir, padding=1))
    assert found.shape == (1, 2, 4, 4)
    # The sum of two channels of weight 1 / sqrt(2), times the gain sqrt(1 / 2).
    torch.testing.assert_close(found[0, 0, 1, 1:3], torch.tensor([2.5, 4.5]))


def test_a_convolution_of_equalised_rate() -> None:
    conv = Conv(4, 1, 1)
    nn.init.constant_(conv.weight, 3.0)
    nn.init.constant_(conv.bias, 1.0)
    x = torch.full((1, 4, 1, 1), 0.5)
    assert conv(x).item() == pytest.approx((3 / 2 * 4 * 0.5 + 1) * math.sqrt(2))
    assert conv(-x).item() == pytest.approx(0.2 * (-3 / 2 * 4 * 0.5 + 1) * math.sqrt(2))


# --- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_every_size_with_masks_and_classes(size: int) -> None:
    recipe = make_recipe(Facts(3, 1, ("a", "b")), size=size, masks=True, classes=True)
    generator, critic, labels = recipe.generator(), recipe.discriminator(), torch.zeros(2, dtype=torch.int64)
    with torch.no_grad():
        (images,) = recipe.images(generator, recipe.draw(2, of(0), labels))
        assert images.shape == (2, 4, size, size)
        assert critic(images, labels).shape == recipe.discriminate(critic, (images,)).shape == (2, 1)


def test_a_model_of_64_px_is_small() -> None:
    with torch.device("meta"):
        network = make_recipe(size=64, config={}).generator()
    assert sum(2 * one.numel() for one in network.state_dict().values()) < 12e6


@pytest.mark.parametrize("classes", [None, ("a", "b", "c")])
def test_the_sum_of_all_losses_reaches_every_weight(classes: tuple[str, ...] | None) -> None:
    torch.manual_seed(0)
    recipe = make_recipe(Facts(1, 1, classes), masks=True, classes=classes is not None)
    generator, critic = recipe.generator(), recipe.discriminator()
    labels = None if classes is None else torch.tensor([0, 1, 2, 2])
    both = None if labels is None else (labels, labels)
    real = torch.rand(4, 2, SIZE, SIZE)
    fake = recipe.images(generator, recipe.draw(4, of(0), labels))
    before = generator.mapping.w_avg.clone()
    seen = recipe.compare(critic, (real,), fake, both, 0, of(1))
    seen.loss.backward()
    assert all(one.grad.abs().max() > 0 for one in critic.parameters())
    assert all(one.grad is None for one in generator.parameters())  # the generator is not reached
    path = recipe.regularise(generator, critic, 4, 0, of(2))
    path.backward(retain_graph=True)
    still = {name for name, one in generator.named_parameters() if one.grad is None or not one.grad.abs().max() > 0}
    # What is only added to the image moves no length: noise of strength 0, and the last bias.
    assert all(name.endswith(("torgb.bias", "noise_strength")) for name in still)
    (path + seen.score_fakes().loss).backward()
    assert all(one.grad.abs().max() > 0 for one in generator.parameters())
    assert torch.equal(generator.mapping.w_avg, before)  # of these, only ``images`` follows


def test_start_values_keep_the_size_of_signals() -> None:
    torch.manual_seed(0)
    recipe = make_recipe(config={"z_dim": 64, "channel_base": 2048, "channel_max": 64})
    generator, critic = recipe.generator(), recipe.discriminator()
    (images,) = recipe.images(generator, recipe.draw(16, of(0), None))
    assert 0.3 < images.std() < 6
    assert 0.1 < recipe.discriminate(critic, (torch.randn(16, 1, SIZE, SIZE),)).std() + 0.1 < 6


def test_together_or_each_on_its_own_the_images_are_the_same() -> None:
    torch.manual_seed(0)
    recipe = make_recipe()
    generator = recipe.generator()
    inputs = recipe.zoo_inputs(Noise(0, range(3)))
    nn.init.ones_(generator.synthesis.b8.conv0.noise_strength)
    (trained,) = recipe.images(generator.train(), inputs)
    (rested,) = recipe.images(generator.eval(), inputs)
    torch.testing.assert_close(trained, rested, atol=1e-4, rtol=0)


def test_the_mean_w_follows_in_training_only() -> None:
    torch.manual_seed(0)
    recipe = make_recipe()
    generator = recipe.generator()
    inputs = recipe.zoo_inputs(Noise(0, range(5)))
    generator.mapping.w_avg.fill_(1.0)
    recipe.images(generator.eval(), inputs)
    assert torch.equal(generator.mapping.w_avg, torch.ones(6))
    recipe.images(generator.train(), inputs)
    mean = generator.mapping(inputs.latents, None).mean(0)
    torch.testing.assert_close(generator.mapping.w_avg, 0.995 + 0.005 * mean)


def test_styles_are_mixed_in_nine_of_ten_samples() -> None:
    torch.manual_seed(0)
    recipe = make_recipe()
    generator = recipe.generator().eval()
    inputs = recipe.draw(400, of(0), None)
    ws = recipe.ws(generator, inputs, track=False)
    own, other = (generator.mapping(z, None) for z in (inputs.latents, inputs.noise[-2]))
    first = inputs.noise[-1]
    assert first.min() == 1 and first.max() == recipe.places == 8
    assert (first < recipe.places).float().mean().item() == pytest.approx(0.9, abs=0.06)  # 4 standard errors
    for i in range(5):
        expected = torch.stack([own[i]] * int(first[i]) + [other[i]] * (recipe.places - int(first[i])))
        torch.testing.assert_close(ws[i], expected, atol=1e-5, rtol=0)


def test_a_class_decides_with_the_image() -> None:
    torch.manual_seed(0)
    critic = make_recipe(Facts(1, 0, ("a", "b", "c")), classes=True).discriminator()
    images = torch.randn(4, 1, SIZE, SIZE)
    of_each = torch.cat([critic(images, torch.full((4,), k)) for k in range(3)], 1)
    assert (of_each[:, 0] - of_each[:, 1]).abs().min() > 0
    torch.testing.assert_close(critic(images), of_each.mean(1, keepdim=True), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "classes", "told"),
    [("r1", False, "critic.r1"), ("spectral_norm", False, "scales its weights"), ("bcr", True, "leave bcr out")],
)
def test_techniques_that_do_not_fit(name: str, classes: bool, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        make_config(techniques=[{"name": name}], classes=classes)


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": True, "techniques": [{"name": "ada", "start": 0.5}], "steps": 6, "snapshot": 4},
        {"masks": True, "techniques": [{"name": "diffaugment"}], "precision": "bfloat16"},
        {"techniques": [{"name": name} for name in ("zcr", "rotation", "cdc", "apa")]},
    ],
    ids=["ada-classes", "diffaugment-masks", "others"],
)
def test_a_killed_run_follows_the_path_of_one_that_was_not(tmp_path: Path, changes: dict[str, Any]) -> None:
    config, images = make_config(**changes), make_images()
    assert small_trainer(config, images, tmp_path / "whole").run(quiet)
    with pytest.raises(Killed):
        small_trainer(config, images, tmp_path / "cut").run(kill_at(config.snapshot + 1))
    assert small_trainer(config, images, tmp_path / "cut").run(quiet)
    state = load(tmp_path / "cut" / "latest.pt")
    assert_same(state, load(tmp_path / "whole" / "latest.pt"))
    assert (tmp_path / "cut" / "log.csv").read_bytes() == (tmp_path / "whole" / "log.csv").read_bytes()
    assert state["discriminator"]["path"] > 0
    assert state["generator"]["mapping.w_avg"].abs().max() > 0


class Even:
    """Stands in for HeldOut: everything is equally good."""

    def __call__(self, images: Any, masks: Any = None) -> dict[str, float]:
        return {"kid": 0.0, "fd": 0.0}


@pytest.mark.parametrize(
    ("classes", "masks", "half"), [(("a", "b"), 0, False), (None, 1, False), (None, 0, True)], ids=str
)
def test_the_zoo_gives_the_images_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: tuple[str, ...] | None, masks: int, half: bool
) -> None:
    settings = {"classes": classes is not None, "masks": bool(masks), "held": {"samples": 2}}
    run = small_trainer(
        make_config(**settings, lr=0.05), make_images(), tmp_path / "run", None
    )  # far from the start values
    run.run(quiet)
    model, registry = "99003_STYLEGAN2_MINE", tmp_path / "registry"
    registry.mkdir()
    about = About("mine", "Mine", "unknown", None, None, None, 8, None, Facts(1, masks, classes))
    done = export(tmp_path / "run", model, registry, Even(), about, checkpoint="latest", half=half)
    monkeypatch.setenv("MEDZOO_REGISTRY", str(registry))

    recipe, average, noise = run.learner.recipe, run.learner.average, Noise(3, range(4))
    average.load_state_dict(stored(average.state_dict(), half))
    with torch.no_grad():
        (expected,) = recipe.images(average, recipe.zoo_inputs(noise))
    shown = expected.add(1).div(2).clamp(0, 1).numpy()
    for fused in (False, True):
        samples = medzoo.load(model, fused=fused, device="cpu").generate(4, seed=3)
        np.testing.assert_allclose(samples.images, shown[:, :1], atol=1e-4, rtol=0)
        assert (samples.masks is not None) == bool(masks)
        if masks:
            sure = abs(shown[:, 1:] - 0.5) > 1e-4
            assert np.array_equal(samples.masks[sure], shown[:, 1:][sure] > 0.5)
        if classes:
            assert samples.labels.tolist() == noise.classes(2).tolist()
    entry = medzoo.info(model)
    assert (entry.family, entry.title, done.chosen) == ("stylegan2", "StyleGAN2, 32 px: Mine", "averaged")
    assert (entry.condition.classes if entry.condition else None) == classes
