"""Cardiac ageing: the years that go in, and the map that comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medzoo.diffusion.unet import wave_code
from medzoo.entry import Entry
from medzoo.errors import ConditionError
from medzoo.families._condition import Given
from medzoo.families.ageing_wgan import AgeingWGAN
from tests.conftest import entry_fields, random_state

CONFIG = {
    "n_channels": 1, "model_channels": 8, "channel_mult": [1, 2], "num_res_blocks": 1, "attention_resolutions": [2],
    "use_scale_shift_norm": False, "num_groups_GN": 4,
}  # fmt: skip
YEARS = {
    "kind": "image", "inputs": ["slice"], "channels": 1, "range": [0.0, 1.0],
    "attributes": [{"name": "age_offset", "low": None, "high": None, "unit": "years"}],
}  # fmt: skip
OUTPUT = {"type": "image", "size": None, "channels": 1, "masks": 0, "range": [0.0, 1.0], "spacing": None}


def load(**changes: Any) -> AgeingWGAN:
    fields = entry_fields(
        family="ageing_wgan", config=CONFIG, output=OUTPUT, condition=YEARS, sampling={"latent": None}
    )
    entry = Entry.model_validate(fields | {"config": {"num_groups_GN": 4}} | changes)
    return AgeingWGAN(entry, random_state(fields), fused=False, device="cpu")


def test_years_are_told_by_waves_of_rising_periods() -> None:
    code = wave_code(torch.tensor([0.0, 5.0, -5.0]), 4, 100.0)
    angles = np.array([5.0, 0.5])  # 100 to the power of 0 and of -1/2
    np.testing.assert_allclose(code[1], [*np.cos(angles), *np.sin(angles)], atol=1e-6)
    np.testing.assert_allclose(code[2], [*np.cos(angles), *-np.sin(angles)], atol=1e-6)
    assert code[0].tolist() == [1, 1, 0, 0]


def test_the_map_is_added_to_the_slice() -> None:
    generator = load()
    images, years = torch.rand(2, 1, 16, 16), torch.tensor([[4.0], [-10.0]])
    raw = generator.decode(None, Given(images=images, attributes=years))
    torch.testing.assert_close(raw - images, generator.network(images, years[:, 0]), atol=1e-6, rtol=0)
    other = generator.decode(None, Given(images=images, attributes=-years))
    assert (raw - other).abs().amax((1, 2, 3)).min() > 1e-3
    swapped = generator.decode(None, Given(images=images.flip(0), attributes=years.flip(0)))
    torch.testing.assert_close(swapped.flip(0), raw, atol=1e-6, rtol=0)


def test_the_code_of_the_years_follows_the_config() -> None:
    given = Given(images=torch.rand(1, 1, 16, 16), attributes=torch.tensor([[7.0]]))
    slow = load(config={"num_groups_GN": 4, "embedding_max_period": 10000.0})
    assert (load().decode(None, given) - slow.decode(None, given)).abs().max() > 1e-4


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    generator = load()
    with pytest.raises(ConditionError, match="99001_TINY: height and width.*multiples of 2, found 15 x 16"):
        generator.decode(None, Given(images=torch.zeros(1, 1, 15, 16), attributes=torch.zeros(1, 1)))
    with pytest.raises(ConditionError, match="99001_TINY needs an image and one number"):
        generator.decode(None, Given(images=torch.zeros(1, 1, 16, 16)))
    with pytest.raises(ConditionError, match="99001_TINY needs a number for age_offset"):
        generator.generate(1, np.zeros((1, 1, 16, 16), np.uint8))
    samples = generator.generate(2, {"slice": np.zeros((1, 1, 16, 16), np.uint8), "age_offset": [3]})
    assert samples.images.shape == (2, 1, 16, 16) and samples.condition is not None
    assert "age_offset=3" in samples.condition[0]
