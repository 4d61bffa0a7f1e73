"""DCGAN: what shapes tell, conditions, old and odd files; against networks of plain torch layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import medzoo
from medzoo.entry import Entry
from medzoo.errors import CheckpointError, EntryError
from medzoo.families import Generator, Given
from medzoo.families.dcgan import DCGAN
from medzoo.families.wgan_gp import WganGp
from tests.conftest import entry_fields

MASS = {"kind": "class", "classes": ["malignant", "benign"], "required": False}
LEVEL = {"kind": "attributes", "attributes": [{"name": "level", "low": 0.0, "high": 1.0, "unit": None}]}


def plain(nz: int, widths: list[int], channels: int, *, seven: bool = False, bias: bool = False) -> nn.Sequential:
    """The generator of the tutorial from torch's own layers; ``seven``: the second map is 7 x 7."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for i, out in enumerate(widths):
        stride, padding = (1, 0) if i == 0 or (seven and i == 1) else (2, 1)
        conv = nn.ConvTranspose2d(nz if i == 0 else widths[i - 1], out, 4, stride, padding, bias=bias)
        norm = nn.BatchNorm2d(out)
        for value in (norm.weight, norm.running_var):
            assert value is not None
            nn.init.uniform_(value, 0.5, 1.5)
        for value in (norm.bias, norm.running_mean):
            assert value is not None
            nn.init.normal_(value, 0, 0.2)
        layers += [conv, norm, nn.ReLU()]
    last = nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1, bias=bias)
    return nn.Sequential(*layers, last, nn.Tanh()).eval().requires_grad_(False)


def published(network: nn.Sequential, first: int = 0, embed_nn: nn.Sequential | None = None) -> dict[str, Tensor]:
    """The state dict as the mammography models hold it: ``first`` layers twice, and an embedding."""
    state = {f"main.{key}": value for key, value in network.state_dict().items()}
    state |= {f"first_layers.{key}": value for key, value in network[:first].state_dict().items()}
    return state | {f"embed_nn.{key}": value for key, value in (embed_nn.state_dict() if embed_nn else {}).items()}


def number_embedding(nz: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(1, nz), nn.LeakyReLU(0.1))


def class_embedding(nz: int, classes: int = 2, width: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Embedding(classes, width), nn.Linear(width, nz), nn.LeakyReLU(0.1))


def load(
    state: dict[str, Tensor], condition: dict[str, Any] | None = None, family: type[Generator] = DCGAN, **options: Any
) -> Generator:
    config = options.pop("config", {})
    output = {"type": "image", "size": None, "channels": 1, "masks": 0, "range": [-1, 1], "spacing": None}
    sampling = {"latent": "normal", "norm_stats": "running"}
    fields = entry_fields(family="dcgan", config=config, condition=condition, output=output, sampling=sampling)
    return family(Entry.model_validate(fields), dict(state), device="cpu", **options)


@pytest.mark.parametrize("fused", [False, True], ids=["published", "fused"])
@pytest.mark.parametrize(
    ("nz", "widths", "channels", "first", "bias", "size"),
    [
        (5, [4, 2], 3, 0, False, 16),
        (100, [16, 8, 4, 2], 1, 3, False, 64),
        (7, [16, 8, 4, 2], 3, 0, True, 64),
        (200, [48, 24, 12, 6, 3], 1, 6, False, 128),
        (3, [32, 16, 8, 4, 2, 1], 2, 0, False, 256),
        (3, [32, 16, 8, 4, 2, 1], 1, 9, False, 224),
    ],
)
def test_shapes_tell_the_network(
    nz: int, widths: list[int], channels: int, first: int, bias: bool, size: int, fused: bool
) -> None:
    network = plain(nz, widths, channels, seven=size == 224, bias=bias)
    generator = load(published(network, first), fused=fused)
    config = generator.config
    assert (config.nz, config.ngf, config.nc, config.image_size) == (nz, widths[-1], channels, size)
    assert DCGAN.output(config) == (channels, (size, size)) and DCGAN.takes(config) is None
    latents = generator.latents(range(3))
    expected = network(latents[:, :, None, None])
    torch.testing.assert_close(generator.decode(latents), expected, atol=1e-5, rtol=0)


def test_a_batch_through_groups_is_the_same() -> None:
    """The last layer of the fused network takes a few samples at a time."""
    generator = load(published(plain(4, [8, 4, 2], 1)))
    generator.network.GROUP_BYTES = 2 * 16 * 16 * 16 * 4  # type: ignore[assignment]
    network = load(published(plain(4, [8, 4, 2], 1)), fused=False)
    torch.testing.assert_close(generator.decode(generator.latents(range(5))), network.decode(network.latents(range(5))))


def test_an_embedding_that_nobody_uses_and_a_second_copy_are_ignored() -> None:
    network = plain(4, [8, 4, 2], 1)
    state = published(network, 3, number_embedding(4))
    other = state | {key: value + 1 for key, value in state.items() if key.startswith(("first_layers", "embed_nn"))}
    latents = load(state).latents(range(2))
    for fused in (True, False):
        images = load(other, fused=fused).decode(latents)
        torch.testing.assert_close(images, network(latents[:, :, None, None]))


def test_files_without_num_batches_tracked_load() -> None:
    state = published(plain(4, [8, 4, 2], 1))
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    assert len(old) == len(state) - 3
    latents = load(state).latents(range(2))
    assert torch.equal(load(old, fused=False).decode(latents), load(state, fused=False).decode(latents))


@pytest.mark.parametrize("fused", [False, True], ids=["published", "fused"])
def test_a_class_through_an_embedding(fused: bool) -> None:
    network, embed_nn = plain(8, [8, 4, 2], 1), class_embedding(4, classes=5)
    generator = load(published(network, 3, embed_nn), MASS, fused=fused)
    config = generator.config
    assert (config.nz, config.nc, config.conditional, config.n_cond) == (4, 2, True, 5)
    assert DCGAN.takes(config) == {"kind": "class", "classes": tuple("01234"), "required": False}
    latents, labels = generator.latents(range(3)), torch.tensor([1, 4, 0])
    expected = network(torch.cat([latents, embed_nn(labels)], 1)[:, :, None, None]).detach()
    torch.testing.assert_close(generator.decode(latents, Given(labels=labels)), expected, atol=1e-5, rtol=0)
    benign = generator.decode(latents, "benign")
    torch.testing.assert_close(benign[0], expected[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("fused", [False, True], ids=["published", "fused"])
def test_a_number_or_a_class_as_a_number(fused: bool) -> None:
    network, embed_nn = plain(8, [8, 4, 2], 1), number_embedding(4)
    state = published(network, 3, embed_nn)
    generator = load(state, LEVEL, fused=fused)
    assert generator.config.conditional and not generator.config.is_condition_categorical
    latents, numbers = generator.latents(range(3)), torch.tensor([[0.0], [1.0], [0.3]])
    expected = network(torch.cat([latents, embed_nn(numbers)], 1)[:, :, None, None]).detach()
    torch.testing.assert_close(generator.decode(latents, Given(attributes=numbers)), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(generator.decode(latents, [0.0, 1.0, 0.3]), expected, atol=1e-5, rtol=0)
    by_name = load(state, MASS, fused=fused).decode(latents, ["malignant", "benign", "benign"])
    torch.testing.assert_close(by_name[:2], expected[:2], atol=1e-5, rtol=0)
    (number,) = (DCGAN.takes(generator.config) or {})["attributes"]
    assert number["name"] == "condition"


@pytest.mark.parametrize("embed_nn", [number_embedding(4), class_embedding(4)], ids=["number", "class"])
def test_without_a_condition_each_sample_draws_its_class(embed_nn: nn.Sequential) -> None:
    generator = load(published(plain(8, [8, 4, 2], 1), 3, embed_nn), MASS)
    each = [generator.generate(200, name).images for name in ("malignant", "benign")]
    drawn = generator.generate(200, batch_size=200).images
    benign = abs(drawn - each[1]).max((1, 2, 3)) < abs(drawn - each[0]).max((1, 2, 3))
    assert 70 < benign.sum() < 130
    chosen = np.where(benign[:, None, None, None], each[1], each[0])
    np.testing.assert_allclose(drawn, chosen, atol=1e-5)
    np.testing.assert_allclose(generator.generate(3, start=7, batch_size=2).images, drawn[7:10], atol=1e-5)
    assert abs(generator.generate(200, seed=1).images - drawn).max() > 1e-3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_precision_does_not_change_the_class_drawn(precision: str) -> None:
    """A number near the boundary of two classes would be rounded across it."""
    from medzoo.randomness import Noise

    generator = load(published(plain(8, [8, 4, 2], 1), 3, class_embedding(4, 10)), precision=precision)
    noise = Noise(3, range(500), dtype=generator.dtype)
    exact = (Noise(3, range(500)).uniform(()) * 10).floor()
    assert torch.equal(generator._drawn(noise), exact)  # type: ignore[attr-defined]


def test_a_number_that_is_missing_is_drawn_for_that_sample_alone() -> None:
    generator = load(published(plain(8, [8, 4, 2], 1), 3, number_embedding(4)), LEVEL)
    latents = generator.latents(range(2))
    given = generator.decode(latents, Given(attributes=torch.tensor([[0.5], [float("nan")]])))
    half, zero, one = (generator.decode(latents, value) for value in (0.5, 0.0, 1.0))
    torch.testing.assert_close(given[0], half[0])
    assert min((given[1] - zero[1]).abs().max(), (given[1] - one[1]).abs().max()) < 1e-5


def test_a_conditional_network_needs_its_embedding() -> None:
    state = published(plain(8, [8, 4, 2], 1), 3)
    with pytest.raises(CheckpointError, match=r"2 missing: embed_nn\.0\.weight, embed_nn\.0\.bias"):
        load(state, MASS, config={"nz": 4, "nc": 2, "conditional": True})


def test_declared_conditions_must_be_those_of_the_weights() -> None:
    with pytest.raises(
        EntryError, match="99001_TINY: 'condition' is of kind 'class', and the network takes no condition"
    ):
        load(published(plain(4, [8, 4], 1)), MASS)
    state = published(plain(8, [8, 4], 1), 3, class_embedding(4, classes=1))
    with pytest.raises(EntryError, match="'condition' names 2 classes, the network has 1"):
        load(state, MASS)
    with pytest.raises(EntryError, match="is of kind 'mask', and family 'dcgan' takes class or attributes"):
        load(state, {"kind": "mask", "inputs": ["breast"]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 96}, "4 or 7 times a power of two, found 96"),
        ({"image_size": 65}, "4 or 7 times a power of two, found 65"),
        ({"conditional": True}, "nc of a conditional network counts the condition too"),
        ({"ngf": 0}, r"config\.ngf"),
    ],
)
def test_impossible_settings_are_told(change: dict[str, Any], message: str) -> None:
    with pytest.raises(EntryError, match=message):
        load(published(plain(4, [8, 4], 1)), config={"nc": 1} | change)


def test_settings_of_the_entry_go_before_what_shapes_tell() -> None:
    with pytest.raises(CheckpointError, match=r"main\.0\.weight is \[4, 8, 4, 4\], the network needs \[9, 8, 4, 4\]"):
        load(published(plain(4, [8, 4], 1)), config={"nz": 9})
    assert load(published(plain(4, [8, 4], 1)), config={"nz": None}).config.nz == 4


def test_wgan_gp_is_the_same_network() -> None:
    state = published(plain(4, [8, 4, 2], 1), 3)
    one, other = load(state), load(state, family=WganGp)
    assert torch.equal(one.decode(one.latents(range(2))), other.decode(other.latents(range(2))))


def test_a_published_file_alone_suffices(tmp_path: Path) -> None:
    """The container of the mammography models, from a local path."""
    network, embed_nn = plain(8, [8, 4, 2], 1), class_embedding(4)
    content = {
        "discriminator": {"main.0.weight": torch.zeros(2, 1, 4, 4), "main.2.weight": torch.zeros(4, 2, 4, 4)},
        "optim_generator": {"state": {}, "param_groups": []},
        "generator": published(network, 3, embed_nn),
    }
    torch.save(content, tmp_path / "500.pt")
    samples = medzoo.load(family="dcgan", weights=tmp_path / "500.pt", device="cpu").generate(2, ["0", "1"])
    assert samples.images.shape == (2, 1, 32, 32) and samples.condition == ("0", "1")
