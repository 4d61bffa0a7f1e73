"""R1, gradient penalty, spectral norm, FreezeD, rotation and the consistency regularisations on analytic cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medzoo.errors import TrainingError
from medzoo.nets import SpectralConv2d
from medzoo.training.recipes._fastgan_discriminator import Discriminator
from medzoo.training.techniques import StepView, create, gradient_penalty, r1
from medzoo.training.techniques._consistency import transformed
from medzoo.training.techniques._penultimate import logit_layer
from medzoo.training.techniques.rotation import Rotation, turned
from tests.tools.technique_case import Patches, Tiny, make_view


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def number(value: Tensor | None) -> float:
    assert value is not None
    return value.detach().item()


def linear(w: Tensor) -> Callable[[Tensor], Tensor]:
    """D(x) = w . x + 7."""
    return lambda images: (images * w).sum((1, 2, 3))[:, None] + 7


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# R1 and gradient penalty: the gradient of a linear discriminator is w everywhere.


def test_r1_of_a_linear_discriminator() -> None:
    w, x = torch.randn(1, 3, 4, 4), torch.randn(5, 3, 4, 4)
    assert number(r1.penalty(linear(w), x, 10.0)) == pytest.approx(5 * number(w.square().sum()), rel=1e-5)


def test_r1_takes_the_mean_of_several_logits() -> None:
    """D(x) = mean of (w . x, 3 w . x) = 2 w . x."""
    w, x = torch.randn(1, 3, 4, 4), torch.randn(5, 3, 4, 4)
    found = r1.penalty(lambda images: torch.cat([linear(w)(images), linear(3 * w)(images)], 1), x, 2.0)
    assert number(found) == pytest.approx(4 * number(w.square().sum()), rel=1e-5)


def test_r1_every_sixteenth_step_sixteen_times() -> None:
    w = torch.randn(1, 1, 8, 8)
    seen = replace(make_view(Tiny(), Patches()), discriminate=linear(w))
    one = create("r1", 4)
    gamma = 0.0002 * 64 / 4  # StyleGAN2-ADA's rule at 8 px and batch 4
    assert number(one.loss_d(seen)) == pytest.approx(16 * gamma / 2 * number(w.square().sum()), rel=1e-5)
    assert [one.loss_d(replace(seen, step=step)) is None for step in (1, 15, 16, 17)] == [True, True, False, True]
    assert one.loss_g(seen) is None
    stated = create("r1", 4, gamma=10.0, interval=1).loss_d(replace(seen, step=3))
    assert number(stated) == pytest.approx(5 * number(w.square().sum()), rel=1e-5)


def test_r1_has_gradients_for_the_discriminator() -> None:
    w = torch.randn(1, 1, 8, 8, requires_grad=True)
    r1.penalty(linear(w), torch.randn(3, 1, 8, 8), 10.0).backward()
    torch.testing.assert_close(w.grad, 10 * w.detach())


def test_usual_gamma_of_256_pixels() -> None:
    assert r1.usual_gamma(256, 256, 16) == pytest.approx(0.8192)


@pytest.mark.parametrize("length", [0.5, 1.0, 3.0])
def test_gradient_penalty_of_a_linear_critic(length: float) -> None:
    w = torch.randn(1, 1, 8, 8)
    w = w / w.norm() * length
    found = create("gradient_penalty", 4).loss_d(replace(make_view(Tiny(), Patches()), discriminate=linear(w)))
    assert number(found) == pytest.approx(10 * (length - 1) ** 2, abs=1e-5)


def test_gradient_penalty_is_taken_between_the_images() -> None:
    """At D(x) = x^2 / 2 the slope is |x|: between 0 and a pixel of 1 it is the share u, so E (u - 1)^2 = 1/3."""
    real, fake = torch.zeros(4000, 1, 1, 1), torch.ones(4000, 1, 1, 1)
    found = gradient_penalty.penalty(lambda x: x.square().flatten(1) / 2, real, fake, 10.0, rng())
    assert number(found) == pytest.approx(10 / 3, rel=0.05)


def test_gradient_penalty_of_a_dead_critic_is_finite() -> None:
    w = torch.zeros(1, 1, 8, 8, requires_grad=True)
    found = gradient_penalty.penalty(linear(w), torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8), 10.0, rng())
    found.backward()
    assert number(found) == pytest.approx(10, rel=1e-5) and bool(torch.isfinite(w.grad).all())


# Spectral norm.


def test_spectral_norm_divides_by_the_largest_singular_value() -> None:
    critic = Patches()
    before = [layer.weight.detach().clone() for layer in critic if isinstance(layer, nn.Conv2d)]
    create("spectral_norm", 4).networks(Tiny(), critic)
    for _ in range(50):  # one power iteration each
        critic(torch.zeros(1, 1, 8, 8))
    after = [layer.weight for layer in critic if isinstance(layer, nn.Conv2d)]
    for old, new in zip(before, after, strict=True):
        expected = old / torch.linalg.matrix_norm(old.flatten(1), 2)
        torch.testing.assert_close(new, expected, atol=1e-3, rtol=1e-3)


def test_spectral_norm_leaves_the_generator_and_refuses_what_has_it() -> None:
    generator = Tiny()
    names = list(generator.state_dict())
    create("spectral_norm", 4).networks(generator, critic := Patches())
    assert list(generator.state_dict()) == names
    with pytest.raises(TrainingError, match="has it already"):
        create("spectral_norm", 4).networks(generator, critic)
    with pytest.raises(TrainingError, match="has it already"):
        create("spectral_norm", 4).networks(generator, nn.Sequential(SpectralConv2d(3, 1, 3)))


# FreezeD.


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_frozen_layers_get_no_gradient(layers: int, normalised: bool) -> None:
    critic = Patches()
    if normalised:
        create("spectral_norm", 4).networks(Tiny(), critic)
    create("freezed", 4, layers=layers).networks(Tiny(), critic)
    critic(torch.randn(2, 1, 8, 8)).sum().backward()
    for i, layer in enumerate(one for one in critic if isinstance(one, nn.Conv2d)):
        for parameter in layer.parameters():
            assert (parameter.grad is None) == (i < layers)


def test_freezing_every_layer_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"freezed.layers: 3 of the discriminator's 3 layers"):
        create("freezed", 4, layers=3).networks(Tiny(), Patches())


# Rotation.


def test_turns_are_counter_clockwise_quarters() -> None:
    x = torch.arange(8.0).reshape(2, 1, 2, 2)  # 0 1 / 2 3
    images, labels = turned(x)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert images[:, 0].flatten(1)[::2].tolist() == [[0, 1, 2, 3], [1, 3, 0, 2], [3, 2, 1, 0], [2, 0, 3, 1]]
    with pytest.raises(TrainingError, match="must be square, found 2 x 4"):
        turned(torch.rand(1, 1, 2, 4))


def rotation(critic: nn.Module) -> Rotation:
    made = create("rotation", 4)
    assert isinstance(made, Rotation)
    made.networks(Tiny(), critic)
    return made


def test_rotation_head_is_trained_and_saved_with_the_discriminator() -> None:
    one, critic = rotation(critic := Patches()), critic
    assert critic.state_dict()["rotation.weight"].shape == (4, 5)
    seen = make_view(Tiny(), nn.Sequential(*list(critic)[:-1]))  # the head is no part of the chain
    one.loss_d(seen).backward()
    assert critic.get_parameter("rotation.weight").grad.abs().sum() > 0
    assert critic[0].weight.grad.abs().sum() > 0


def test_rotation_weights_and_the_loss_of_a_blind_head() -> None:
    """A head of zeros gives each of four turns 1/4: log 4, times 1 and 0.2."""
    one, critic = rotation(critic := Patches()), critic
    nn.init.zeros_(one.head.linear.weight)
    nn.init.zeros_(one.head.linear.bias)
    seen = make_view(Tiny(), nn.Sequential(*list(critic)[:-1]))
    log4 = 1.3862943611198906
    assert number(one.loss_d(seen)) == pytest.approx(log4) and number(one.loss_g(seen)) == pytest.approx(0.2 * log4)


def test_the_logit_layer_of_each_kind() -> None:
    critic = Patches()
    assert logit_layer(critic) == (critic[4], 5)
    create("spectral_norm", 4).networks(Tiny(), critic)
    assert logit_layer(critic) == (critic[4], 5)
    fastgan = Discriminator(8, 1, 128)
    found = logit_layer(fastgan)
    assert found is not None and found[0] is fastgan.patches[3]
    with pytest.raises(TrainingError, match="rotation: .* no layer with a single output .* leave rotation out"):
        rotation(nn.Sequential(nn.Conv2d(1, 2, 3)))


# Consistency.


class Mean(nn.Module):
    """Judges the mean of |x| over a torus: a flip does not change it; on constant images a shift does not either."""

    def forward(self, x: Tensor) -> Tensor:
        return x.abs().mean((1, 2, 3))[:, None]


class Corner(nn.Module):
    """Judges the first pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0, :1, 0]


def flat(critic: nn.Module, **changes: Any) -> StepView:
    """Constant images."""
    seen = make_view(Tiny(), Patches())
    real, fake = (torch.arange(1.0, 5.0).reshape(4, 1, 1, 1).expand(4, 1, 8, 8) * sign for sign in (1, -1))
    told = {"real": real, "fake": fake, "real_seen": real, "fake_seen": fake, "discriminate": critic}
    return replace(seen, **told, logits_real=critic(real), logits_fake=critic(fake), **changes)


@pytest.mark.parametrize("name", ["cr", "bcr"])
@pytest.mark.parametrize("critic", [Mean(), Corner()])
def test_consistency_of_an_invariant_discriminator_is_zero(name: str, critic: nn.Module) -> None:
    assert number(create(name, 4).loss_d(flat(critic))) == 0


def test_transformation_flips_half_and_shifts_by_an_eighth() -> None:
    """A ramp: after a shift by s and no flip, the middle reads s less; flipped, the slope is negative."""
    ramp = torch.arange(32.0).expand(2000, 1, 32, 32)
    moved = transformed(ramp, rng())[:, 0, 16]
    slope = moved[:, 17] - moved[:, 16]
    assert set(slope.tolist()) == {1.0, -1.0} and slope.mean() == pytest.approx(0, abs=0.05)
    shifts = set((16 - moved[slope > 0, 16]).tolist())
    assert shifts == {float(s) for s in range(-4, 5)}


def test_cr_and_bcr_by_hand() -> None:
    """With D changed by exactly 2 on real and 3 on generated images: 10 x 4, and 10 x 4 + 10 x 9."""
    seen = flat(Corner())
    off = replace(seen, logits_real=seen.logits_real + 2, logits_fake=seen.logits_fake - 3)
    assert number(create("cr", 4).loss_d(off)) == pytest.approx(40)
    assert number(create("bcr", 4).loss_d(off)) == pytest.approx(130)
    assert number(create("bcr", 4, real=1.0, fake=0.0).loss_d(off)) == pytest.approx(4)


class Sum(nn.Module):
    """A generator: every pixel of the image is the sum of the latent."""

    def forward(self, z: Tensor) -> Tensor:
        return z.sum(1)[:, None, None, None].expand(-1, 1, 8, 8)


def test_zcr_signs_and_size() -> None:
    """G(T z) - G(z) = the sum of three N(0, sigma): mean square 3 sigma^2. D reads a pixel, so sees the same."""
    seen = make_view(Sum(), Corner(), n=4000)
    one = create("zcr", 4)
    assert number(one.loss_d(seen)) == pytest.approx(20 * 3 * 0.05**2, rel=0.1)
    assert number(one.loss_g(seen)) == pytest.approx(-0.5 * 3 * 0.05**2, rel=0.1)


def test_zcr_trains_the_right_networks() -> None:
    generator, critic = Tiny(), Patches()
    seen = make_view(generator, critic)
    one = create("zcr", 4)
    one.loss_d(replace(seen, fake=seen.fake.detach(), logits_fake=critic(seen.fake.detach()))).backward()
    assert all(parameter.grad is None for parameter in generator.parameters())
    assert critic[0].weight.grad.abs().sum() > 0
    one.loss_g(seen).backward()
    assert generator.image.weight.grad.abs().sum() > 0


def test_zcr_judges_unaugmented_images() -> None:
    """What the discriminator saw was brighter; the latent changed nothing."""
    seen = make_view(Sum(), Corner())
    shown = replace(seen, fake_seen=seen.fake + 1, logits_fake=Corner()(seen.fake + 1))
    assert number(create("zcr", 4, sigma=1e-6).loss_d(shown)) == pytest.approx(0, abs=1e-8)


def test_icr_is_bcr_and_zcr() -> None:
    seen = make_view(Sum(), Corner())

    def terms(name: str) -> tuple[float, float]:
        seen.rng.manual_seed(1)
        one = create(name, 4, **({"real": 0.0, "fake": 0.0} if name == "icr" else {}))
        # Two draws for the two transformations of bCR come first.
        if name == "zcr":
            transformed(seen.real, seen.rng), transformed(seen.fake, seen.rng)
        return number(one.loss_d(seen)), number(one.loss_g(seen))

    assert terms("icr") == pytest.approx(terms("zcr"), rel=1e-6)
    off = flat(Corner(), generate=lambda z: -torch.arange(1.0, 5.0).reshape(4, 1, 1, 1).expand(4, 1, 8, 8))
    off = replace(off, logits_real=off.logits_real + 2)
    assert number(create("icr", 4).loss_d(off)) == pytest.approx(40)
