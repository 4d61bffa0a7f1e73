"""CDC: the divergence on similarities made by hand, and that the source stays what it was."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from medzoo.errors import TrainingError
from medzoo.families.fastgan import Network, noise_shapes
from medzoo.training.techniques import create
from medzoo.training.techniques.cdc import Cdc, Features, divergence, in_place_of, similarities
from tests.tools.technique_case import Patches, Tiny, make_view


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def plane(*degrees: float) -> Tensor:
    """Unit vectors at these angles; the length must not matter, so each is made longer."""
    angle = torch.tensor(degrees) * math.pi / 180
    return torch.stack([angle.cos(), angle.sin()], 1) * torch.arange(1, len(degrees) + 1)[:, None]


def test_similarities_are_cosines_to_the_others() -> None:
    torch.testing.assert_close(similarities(plane(0, 60, 180), 0), torch.tensor([0.5, -1.0]))
    torch.testing.assert_close(similarities(plane(0, 60, 180), 1), torch.tensor([0.5, -0.5]))
    maps = torch.randn(3, 2, 4, 4)
    torch.testing.assert_close(similarities(maps, 2), similarities(maps.flatten(1), 2))


def test_equal_similarities_cost_nothing() -> None:
    features = [torch.randn(4, 5, 3, 3), torch.randn(4, 7)]
    turned = [-2 * one for one in features]  # other features, the same angles
    assert divergence(features, turned, [0, 1, 1, 0]).item() == pytest.approx(0, abs=1e-7)


def test_known_divergence() -> None:
    """Sum of p log(p / q) over three images with two others each, divided by the six pairs.

    Cosines of the source: image 0 (1, -1), image 1 (1, -1), image 2 (-1, -1); so p = (e, 1/e) / (e + 1/e) twice, then
    a half each. Adapted: (0, 0), (0, 1), (0, 1); so q = a half each, then (1, e) / (1 + e) twice.
    """
    p, q = math.e / (math.e + 1 / math.e), 1 / (1 + math.e)

    def kl(a: float, b: float) -> float:
        return a * math.log(a / b) + (1 - a) * math.log((1 - a) / (1 - b))

    expected = (kl(p, 0.5) + kl(p, q) + kl(0.5, q)) / 6
    found = divergence([plane(0, 0, 180)], [plane(0, 90, 90)], [0, 0, 0])
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_divergence_is_of_the_source_from_the_adapted() -> None:
    """It is not symmetric."""
    one, other = [plane(0, 0, 180)], [plane(0, 90, 90)]
    assert divergence(one, other, [0, 0, 0]).item() != pytest.approx(divergence(other, one, [0, 0, 0]).item(), rel=0.01)


def cdc(generator: nn.Module, critic: nn.Module, **options: float) -> Cdc:
    made = create("cdc", 4, **options)
    assert isinstance(made, Cdc)
    made.networks(generator, critic)
    return made


class Critic(nn.Module):
    """A discriminator that may get a second head."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = Patches()

    def forward(self, x: Tensor) -> Tensor:
        return self.chain(x)


def test_the_source_itself_costs_nothing_and_a_changed_generator_does() -> None:
    generator, critic = Tiny(), Critic()
    one = cdc(generator, critic)
    seen = replace(make_view(generator, critic), step=1)
    same = one.loss_g(seen).detach().item()
    nn.init.normal_(generator.convs[0].weight)
    changed = one.loss_g(seen)
    assert abs(same) < 1e-3 < changed.detach().item()
    changed.backward()
    assert generator.start.weight.grad.abs().sum() > 0
    assert dict(one.after(seen)) == {"cdc": changed.detach().item()}


def test_the_source_is_run_without_leaving_a_trace() -> None:
    generator, critic = Tiny(), Critic()
    one = cdc(generator, critic)
    kept = {name: value.clone() for name, value in one.source.items()}
    nn.init.normal_(generator.convs[0].weight)
    own = list(generator.parameters())
    one.loss_g(replace(make_view(generator, critic), step=1))
    assert all(torch.equal(one.source[name], kept[name]) for name in kept)
    assert all(a is b for a, b in zip(own, generator.parameters(), strict=True))
    with in_place_of(generator, one.source):
        assert torch.equal(generator.convs[0].weight, kept["convs.0.weight"])
    assert not torch.equal(generator.convs[0].weight, kept["convs.0.weight"])


def test_features_are_maps_not_images() -> None:
    found = Features(generator := Tiny())(generator, torch.randn(2, 3))
    assert [tuple(one.shape) for one in found] == [(2, 6, 4, 4), (2, 5, 8, 8)]


def test_features_of_a_fastgan() -> None:
    """The first layer, and one or two convolutions a size; neither gates nor images."""
    network = Network(8, 4, 3, 128)
    network.reset()
    noise = [torch.randn(2, *shape) for shape in noise_shapes(128)]
    found = Features(network)(lambda z: network.images(z, noise)[0], torch.randn(2, 4))
    assert [one.shape[-1] for one in found] == [4, 8, 8, 16, 32, 32, 64, 128, 128]


def test_whole_images_are_judged_every_fourth_step_near_anchors() -> None:
    generator, critic = Tiny(), Critic()
    one = cdc(generator, critic)
    seen = make_view(generator, critic)
    assert [one.loss_d(replace(seen, step=step)) is None for step in range(5)] == [False, True, True, True, False]
    for parameter in one.head.linear.parameters():
        nn.init.zeros_(parameter)
    assert one.loss_d(seen).detach().item() == pytest.approx(2 * math.log(2))  # a head that says 0 of everything
    judged = one.loss_g(seen).detach().item() - one.divergence
    assert judged == pytest.approx(math.log(2), abs=1e-4)
    near = one.near_anchors(replace(seen, latents=torch.zeros(4000, 3)))
    far = torch.cdist(near, one.anchors).min(1).values
    assert one.anchors.shape == (10, 3) and far.mean() == pytest.approx(0.1 * 1.6, rel=0.1)  # chi of three: 1.596


def test_a_run_goes_on_with_the_same_source_and_anchors() -> None:
    generator, critic = Tiny(), Critic()
    one = cdc(generator, critic)
    one.loss_d(make_view(generator, critic))
    other = cdc(Tiny(), Critic())
    other.load_state(one.state())
    assert torch.equal(other.anchors, one.anchors)
    assert all(torch.equal(other.source[name], one.source[name]) for name in one.source)


def test_a_batch_too_small_to_compare_is_refused() -> None:
    with pytest.raises(TrainingError, match="4 images are compared, the batch has 2"):
        create("cdc", 2)
