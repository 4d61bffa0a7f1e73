"""pix2pix beyond the contract and the conformance kit: live dropout, masks drawn and given, sizes, fused small maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from medzoo import catalog
from medzoo.entry import Entry
from medzoo.errors import ConditionError, EntryError
from medzoo.families import Generator, Given, get_family
from medzoo.families.pix2pix import Dropout, Pix2Pix, masses
from medzoo.randomness import Noise, Replay
from tests.conftest import entry_fields, random_state

TINY = {"input_nc": 1, "output_nc": 1, "num_downs": 5, "ngf": 4, "norm": "batch"}
DROPPING = TINY | {"num_downs": 7, "use_dropout": True}
DROPS = {"use_dropout": True, "live_dropout": True}
Fields = dict[str, Any]
MASK = {"kind": "mask", "inputs": ["mass mask"], "size": [64, 64], "required": False}


def fields(config: Fields, condition: Fields | None = None, size: list[int] | None = None, masks: int = 0) -> Fields:
    output = {
        "type": "image+mask" if masks else "image", "size": size, "channels": 1, "masks": masks,
        "range": [-1.0, 1.0], "spacing": None,
    }  # fmt: skip
    sampling = {"latent": None, "norm_stats": "sample"}
    return entry_fields(family="pix2pix", config=config, output=output, sampling=sampling, condition=condition)


def load(made: Fields, fused: bool = False, state: dict[str, torch.Tensor] | None = None) -> Generator:
    state = random_state(made) if state is None else state
    return get_family("pix2pix")(Entry.model_validate(made), state, device="cpu", fused=fused)


def waves(*shape: int) -> torch.Tensor:
    return torch.sin(torch.arange(torch.Size(shape).numel()).float() * 0.37).reshape(shape)


class TestDropout:
    def test_the_wide_levels_drop(self) -> None:
        """Of seven levels the fifth and sixth, 8 ngf channels of 8 and 4 pixels a side; the inner one draws first."""
        live = load(fields(DROPPING | {"live_dropout": True}))
        some = [(torch.arange(32 * side**2).reshape(1, 32, side, side) % 3 > 0).float() for side in (4, 8)]
        every = [torch.ones_like(draw) for draw in some]
        with torch.inference_mode():
            raw = [
                live.decode(None, Given(images=waves(1, 1, 128, 128)), noise=Replay(draws, 1))
                for draws in (every, [some[0], every[1]], [every[0], some[1]])
            ]
        assert min((raw[0] - raw[1]).abs().max(), (raw[0] - raw[2]).abs().max()) > 1e-4
        assert (raw[1] - raw[2]).abs().max() > 1e-4

    @pytest.mark.parametrize("config", [DROPPING, DROPPING | {"live_dropout": False}])
    def test_without_live_dropout_nothing_is_drawn(self, config: Fields) -> None:
        for fused in (False, True):
            load(fields(config), fused).decode(None, Given(images=waves(1, 1, 128, 128)), noise=Replay([], 1))

    def test_kept_numbers_are_doubled(self) -> None:
        """What dropout leaves has the mean of what went in."""
        x = torch.full((4, 8, 32, 32), 3.0)
        dropped = Dropout()(x, Noise(0, range(4)).uniform)
        assert set(dropped.unique().tolist()) == {0.0, 6.0}
        assert dropped.mean().item() == pytest.approx(3.0, rel=0.03)

    def test_it_needs_a_network_trained_with_dropout(self) -> None:
        with pytest.raises(EntryError, match="live_dropout needs use_dropout"):
            load(fields(TINY | {"live_dropout": True}), state=random_state(fields(TINY)))


class TestMasks:
    @pytest.mark.parametrize("fused", [False, True])
    def test_a_sample_draws_its_own(self, fused: bool) -> None:
        made = fields(TINY | {"texture": "noise"}, MASK, [64, 64], masks=1)
        samples = load(made, fused).generate(4, seed=3, start=2)
        drawn = masses.masses(Noise(3, range(2, 6)).uniform((masses.MASS_NUMBERS,)), (64, 64))
        assert samples.masks is not None and np.array_equal(samples.masks, drawn.numpy())
        alone = load(made, fused).generate(1, seed=3, start=4)
        assert (alone.masks != samples.masks[2:3]).mean() < 0.001  # pixels on the outline
        np.testing.assert_allclose(alone.images, samples.images[2:3], atol=1e-5)
        rough = get_family("pix2pix")(
            Entry.model_validate(made), random_state(made), device="cpu", precision="bfloat16"
        )
        assert (rough.generate(1, seed=3, start=4).masks != samples.masks[2:3]).mean() < 0.001

    @pytest.mark.parametrize("channels", [1, 3])
    def test_a_given_one_comes_out_again(self, channels: int) -> None:
        made = fields(TINY | {"input_nc": channels}, MASK, masks=1)
        given = np.zeros((2, 1, 64, 64), np.float32)
        given[0, 0, 10:30, 20:50], given[1, 0, 40:, :9] = 1, 0.4
        generator = load(made)
        samples = generator.generate(3, given)
        assert samples.masks is not None and np.array_equal(samples.masks, given[[0, 1, 0]] > 0)
        plain = torch.from_numpy(2 * (given > 0).astype(np.float32) - 1).expand(-1, channels, -1, -1)
        with torch.inference_mode():
            expected = (generator.network(plain) + 1) / 2
        np.testing.assert_allclose(samples.images[:2], expected, atol=1e-5)

    def test_texture_is_the_samples_own(self) -> None:
        given = np.zeros((1, 64, 64), np.float32)
        given[0, 10:30, 20:50] = 1
        generator = load(fields(TINY | {"texture": "noise"}, MASK, masks=1))
        samples = generator.generate(2, given)
        assert abs(samples.images[0] - samples.images[1]).max() > 1e-3
        assert samples.masks is not None and np.array_equal(samples.masks[0], samples.masks[1])

    def test_a_model_of_images_alone_gives_no_mask(self) -> None:
        samples = load(fields(TINY, MASK, [64, 64])).generate(2)
        assert samples.masks is None and samples.images.shape == (2, 1, 64, 64)

    def test_to_draw_one_the_size_must_be_known(self) -> None:
        with pytest.raises(EntryError, match=r"99001_TINY: to draw masks, output.size must be \[height, width\]"):
            load(fields(TINY, MASK, masks=1)).generate(1)

    def test_the_published_entry_draws_them(self) -> None:
        entry = catalog.resolve("00004").entry
        assert entry.condition is not None and entry.condition.kind == "mask" and not entry.condition.required
        small = Entry.model_validate(entry.model_dump() | {"config": entry.config | TINY})
        samples = Pix2Pix(small, random_state(fields(TINY)), device="cpu").generate(2)
        assert samples.images.shape == (2, 1, 256, 256) and samples.masks is not None
        assert (samples.masks.mean((1, 2, 3)) > 0.01).all()


@pytest.mark.parametrize("size", [(48, 64), (16, 64), (64, 33)])
def test_sizes_that_cannot_be_halved_so_often_are_told(size: tuple[int, int]) -> None:
    message = f"at least 32 pixels, multiples of 32; found {size[0]}x{size[1]}. Resize them, or state 'size'"
    with pytest.raises(ConditionError, match=message):
        load(fields(TINY)).decode(None, Given(images=torch.zeros(1, 1, *size)))


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_shapes_tell_the_settings(norm: str) -> None:
    config = {"input_nc": 2, "output_nc": 3, "num_downs": 6, "ngf": 3, "norm": norm}
    state = random_state(fields(config))
    assert Pix2Pix.infer(state) == config
    assert Pix2Pix.infer({"model.model.0.weight": torch.zeros(3)}) == {}


@pytest.mark.parametrize("config", [TINY, TINY | {"norm": "instance", "input_nc": 3, "output_nc": 5, "num_downs": 6}])
def test_fused_at_other_sizes(config: Fields) -> None:
    """Larger than a pixel innermost, and batches: the matrix products see other numbers of positions."""
    state = random_state(fields(config))
    images = waves(3, config["input_nc"], 64, 192)
    with torch.inference_mode():
        published, fused = (load(fields({}), f, dict(state)).decode(None, Given(images=images)) for f in (False, True))
    assert published.shape == (3, config["output_nc"], 64, 192)
    assert (published - fused).abs().max() < 1e-4


@pytest.mark.parametrize("config", [TINY | {"ngf": 8, "num_downs": 6} | DROPS, TINY | {"norm": "instance", "ngf": 8}])
def test_a_batch_decides_nothing(config: Fields) -> None:
    """Norms by the statistics of a sample make much of the last digits, so the fused network runs one by one."""
    generator = load(fields(config), fused=True)
    images = waves(5, 1, 64, 64)
    with torch.inference_mode():
        whole = generator.decode(None, Given(images=images), noise=Noise(3, range(5)))
        alone = [generator.decode(None, Given(images=images[i : i + 1]), noise=Noise(3, [i])) for i in range(5)]
    torch.testing.assert_close(whole, torch.cat(alone), atol=1e-5, rtol=0)
