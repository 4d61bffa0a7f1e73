"""SinGAN: the contract of a family, several checkpoints, and what comes of files that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medzoo.entry import Entry
from medzoo.errors import CheckpointError, ConditionError, EntryError
from medzoo.families import Given
from medzoo.families.singan import SinGAN
from medzoo.families.singan.enlarge import cubic_weights, enlarge
from medzoo.randomness import Noise, Replay
from medzoo.testing import FamilyCase, FamilyContract
from tests.conftest import entry_fields, random_state

CONFIG: dict[str, Any] = {
    "sizes": [[8, 10], [11, 13], [14, 17]], "nc_im": 4, "nc_z": 4, "nfc": 4, "min_nfc": 4, "ker_size": 3,
    "num_layer": 3, "min_size": 8,
}  # fmt: skip
SEVERAL = CONFIG | {"checkpoints": ["2", "10"]}
FOLDERS = {"kind": "class", "classes": ["10", "2"], "required": False}
NORMAL = {"latent": "normal", "norm_stats": "running"}
CASES = [
    FamilyCase("singan", CONFIG, (14, 17), 3, 1, range=(-1.6, 1.0), sampling=NORMAL),
    FamilyCase("singan", CONFIG, (14, 17), 3, 1, sampling={"latent": "normal", "norm_stats": "sample"}),
    FamilyCase("singan", SEVERAL, (14, 17), 3, 1, sampling=NORMAL, condition=FOLDERS),
]


class TestContract(FamilyContract):
    cases = CASES

    def test_gradients_reach_what_goes_in(self, case: FamilyCase) -> None:
        """Neither latents nor images go in, and eight bits have no slope."""
        assert case.load().latent_shape is None

    @pytest.mark.parametrize("fused", [True, False])
    def test_decode_of_the_latents_is_the_sample(self, case: FamilyCase, fused: bool) -> None:
        generator = case.load(fused=fused)
        raw = generator.decode(None, case.ask, noise=Noise(3, [4, 5, 6]))
        low, high = case.range
        scaled = ((raw - low) / (high - low))[:, :3].clamp(0, 1).numpy()
        np.testing.assert_allclose(scaled, generator.generate(3, case.ask, seed=3, start=4).images, atol=1e-5)


def load(shape: dict[str, Any], state: dict[str, torch.Tensor] | None = None, **changes: Any) -> SinGAN:
    """A model whose config is told by the weights, but for ``changes``."""
    output = {
        "type": "image+mask", "size": None, "channels": 3, "masks": 1, "range": [-1.0, 1.0], "spacing": None,
    }  # fmt: skip
    fields = entry_fields(family="singan", config=shape, output=output, sampling=NORMAL)
    state = random_state(fields) if state is None else state
    entry = Entry.model_validate(fields | {"config": {"min_size": 8}} | changes)
    return SinGAN(entry, state, device="cpu")


def test_a_class_chooses_the_checkpoint_by_name() -> None:
    generator = load(SEVERAL, condition=FOLDERS)
    assert generator.config.checkpoints == ("2", "10")  # in the order of numbers, not of the entry
    alone = {}
    for name in ("2", "10"):
        state = random_state(entry_fields(family="singan", config=SEVERAL, sampling=NORMAL))
        mine = {key.removeprefix(f"{name}/"): value for key, value in state.items() if key.startswith(f"{name}/")}
        alone[name] = load(CONFIG, mine)
    for name, other in (("2", "10"), ("10", "2")):
        draws = [torch.randn(2, 1, 8, 10), torch.randn(2, 4, 11, 13), torch.randn(2, 4, 14, 17)]
        raw = generator.decode(None, [name, name], noise=Replay(draws, 2))
        torch.testing.assert_close(raw, alone[name].decode(noise=Replay(draws, 2)), atol=1e-5, rtol=0)
        assert (raw - alone[other].decode(noise=Replay(draws, 2))).abs().max() > 0.01
    assert generator.generate(2, ["2", "10"]).condition == ("2", "10")
    with pytest.raises(ConditionError, match=r"no class 3; it takes 10 \(0\), 2 \(1\)"):
        generator.generate(1, "3")


def test_without_a_class_every_sample_draws_its_checkpoint() -> None:
    generator = load(SEVERAL, condition=FOLDERS)
    names = generator.choose(Noise(0, range(400)), Given())
    assert 160 < names.count("2") < 240 and set(names) == {"2", "10"}
    assert generator.choose(Noise(0, [7, 3]), Given()) == [names[7], names[3]]


def test_a_class_without_weights_is_told() -> None:
    generator = load(SEVERAL, condition={"kind": "class", "classes": ["2", "3"]})
    with pytest.raises(CheckpointError, match="99001_TINY: there is no checkpoint '3' in the weights; they hold 2, 10"):
        generator.generate(1, "3")


def test_checkpoints_of_several_sizes_are_refused() -> None:
    state = random_state(entry_fields(family="singan", config=SEVERAL, sampling=NORMAL))
    state["10/reals.2"] = torch.zeros(1, 4, 14, 18)
    with pytest.raises(CheckpointError, match="'2' and '10' have images of sizes .*14x17 and .*14x18; .* for each"):
        load(SEVERAL, state)


def test_start_scale_keeps_the_stored_noise() -> None:
    """Below the starting scale nothing is random; all draws are made, whether used or not."""
    generator = load(CONFIG, config={"min_size": 8, "start_scale": 2})
    draws = [torch.randn(1, 1, 8, 10), torch.randn(1, 4, 11, 13), torch.randn(1, 4, 14, 17)]
    others = [torch.randn_like(draws[0]), torch.randn_like(draws[1]), draws[2]]
    raw = generator.decode(noise=Replay(draws, 1))
    assert torch.equal(raw, generator.decode(noise=Replay(others, 1)))
    assert not torch.equal(raw, generator.decode(noise=Replay([*draws[:2], torch.randn(1, 4, 14, 17)], 1)))
    whole = load(CONFIG, config={"min_size": 8, "start_scale": 3})
    assert torch.equal(*(whole.decode(noise=Replay(noise, 1)) for noise in (draws, others)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stop_scale": 4}, "stop_scale 4 needs 4 \\+ 1 scales, found 3"),
        ({"pad": 5}, "pad 5 does not fit the kernels, which take off 3 pixels"),
        ({"start_scale": 4}, "start_scale must lie between 0 and 3, found 4"),
        ({"nc_z": 2}, "nc_z must be 1 or nc_im, found 2 and 4"),
        ({"sizes": []}, "config.sizes"),
    ],
)
def test_a_config_that_contradicts_the_files_is_told(change: dict[str, Any], message: str) -> None:
    with pytest.raises(EntryError, match=f"99001_TINY: 'config' does not fit family 'singan'.*{message}"):
        load(CONFIG, config={"min_size": 8} | change)


@pytest.mark.parametrize(
    "change",
    [
        {"nfc": 128, "min_nfc": 4, "num_layer": 5},  # scale 0 ends in 16 channels, scale 4 in twice min_nfc
        {"nfc": 64, "min_nfc": 48},
        {"nfc": 2, "min_nfc": 2, "nc_z": 1},
    ],
)
def test_widths_and_noise_are_told_by_all_scales(change: dict[str, Any]) -> None:
    """Widths double every four scales; the noise may have one channel where images have four."""
    config = CONFIG | {"sizes": [[8 + i, 9 + i] for i in range(9)]} | change
    found = load(config).config
    assert found.nc_z == config["nc_z"]
    assert [found.widths(k) for k in range(9)] == [SinGAN.Config(**config).widths(k) for k in range(9)]


def test_the_scale_factor_is_worked_out() -> None:
    assert load(CONFIG).config.factor == pytest.approx((8 / 14) ** 0.5)
    assert load(CONFIG, config={"scale_factor": 0.75}).config.factor == 0.75


def test_the_enlargement_is_cubic_within_the_image() -> None:
    """A ramp stays a ramp (Keys' kernel is exact on lines) but at the edges; rows sum to one."""
    weights = cubic_weights(20, 1.3, torch.device("cpu"))
    assert weights.shape == (26, 20)
    torch.testing.assert_close(weights.sum(1), torch.ones(26))
    places = (torch.arange(26) + 0.5) / 1.3 - 0.5
    ramp = weights @ torch.arange(20.0)
    torch.testing.assert_close(ramp[3:-3], places[3:-3], atol=1e-4, rtol=0)
    assert weights[0, 2:].abs().max() < 0.2 and (weights[-1, :16] == 0).all()


def test_grey_levels_are_truncated() -> None:
    """Twice as large by nearest neighbours of constant maps: 0.999 of a level is lost, whole levels stay."""
    levels = torch.tensor([0.0, 0.999, 1.001, 127.5, 254.999, 300.0])
    image = (levels / 255 * 2 - 1)[:, None, None, None].expand(-1, 1, 6, 6)
    found = ((enlarge(image, 1.5) + 1) / 2 * 255)[:, 0, 4, 4]
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 1.0, 127.0, 254.0, 255.0]), atol=1e-3, rtol=0)
    assert F.mse_loss(enlarge(image, 1.5)[3], enlarge(image, 1.5)[3].mean().expand(1, 9, 9)) < 1e-10
