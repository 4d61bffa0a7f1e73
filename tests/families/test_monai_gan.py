"""The generator of MONAI's GAN bundles, beside MONAI's own; configs that make no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from medzoo.entry import Entry
from medzoo.errors import EntryError
from medzoo.families import get_family
from medzoo.testing import FamilyCase

MONAI = {"latent": 6, "start_shape": [4, 4, 4], "channels": [6, 1], "strides": [2, 1]}


@pytest.mark.parametrize(
    "change",
    [{"channels": [2**31, 1]}, {"latent": 10**30}, {"strides": [0, 1]}, {"start_shape": [4, -4, -4]},
     {"num_res_units": 10**9}],
)  # fmt: skip
def test_a_config_that_makes_no_network_is_told(change: dict[str, Any], tiny_entry: Callable[..., Entry]) -> None:
    entry = tiny_entry()
    entry = tiny_entry(config={**entry.config, **change})
    with pytest.raises(EntryError, match="99001_TINY: 'config' does not (make a network of|fit) family 'monai_gan'"):
        get_family("monai_gan")(entry, {}, device="cpu")


def test_monai_gan_equals_monai(shared: Path) -> None:
    """The published MedNIST weights through MONAI's own network."""
    monai = pytest.importorskip("monai.networks.nets", reason="MONAI is not installed")
    state = torch.load(shared / "checkpoints" / "mednist_gan" / "model.pt", weights_only=True)
    config = {"latent": 64, "start_shape": [64, 8, 8], "channels": [32, 16, 8, 1], "strides": [2, 2, 2, 1]}
    reference = monai.Generator(
        latent_shape=64, start_shape=(64, 8, 8), channels=(32, 16, 8, 1), strides=(2, 2, 2, 1)
    ).eval()
    reference.load_state_dict(state)
    case = FamilyCase("monai_gan", config, (64, 64), range=(0.0, 1.0), sampling={"latent": "uniform"})
    for fused in (True, False):
        generator = case.load(dict(state), fused=fused)
        latents = generator.latents(range(8))
        assert latents.min() >= 0 and latents.max() < 1
        with torch.inference_mode():
            expected = torch.sigmoid(reference(latents))
        torch.testing.assert_close(generator.decode(latents), expected, atol=1e-5, rtol=0)


def test_monai_gan_config_needs_as_many_strides_as_channels() -> None:
    with pytest.raises(EntryError, match="config: needs as many strides as channels, found 1 and 2"):
        FamilyCase("monai_gan", MONAI | {"strides": [2]}, (8, 8)).load({})
