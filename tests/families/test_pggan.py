"""Progressive GAN: what keys tell, fading, both variants against formulas written out here."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import medzoo
from medzoo.entry import Entry
from medzoo.errors import CheckpointError, EntryError
from medzoo.families import Generator
from medzoo.families.pggan import PGGAN
from medzoo.families.pggan.network import Fused, Grow
from tests.conftest import entry_fields

SHARES = {4: 1, 8: 1, 16: 1, 32: 1, 64: 2, 128: 4, 256: 4}


def load(state: dict[str, Tensor], *, fused: bool = True, **config: Any) -> Generator:
    output = {"type": "image", "size": None, "channels": 1, "masks": 0, "range": [-1, 1], "spacing": None}
    fields = entry_fields(family="pggan", config=config, output=output, sampling={"latent": "normal"})
    return PGGAN(Entry.model_validate(fields), dict(state), device="cpu", fused=fused)


def polyp(latent: int = 6, width: int = 8, channels: int = 4, norm: bool = False) -> dict[str, Tensor]:
    """A state dict of the polyp variant with N(0, 1) weights, keys in the order of the published one."""
    torch.manual_seed(1)
    state = {
        "input_layer.0.conv.bias": torch.randn(width),
        "input_layer.0.conv.weight_orig": torch.randn(latent, width, 4, 4),
    }
    inp = width
    for size, share in SHARES.items():
        out = width // share
        for place, channels_in in (("0", inp), ("3" if norm else "2", out)):
            name = f"progression_{size}.conv.{place}.conv"
            state |= {f"{name}.bias": torch.randn(out), f"{name}.weight_orig": torch.randn(out, channels_in, 3, 3)}
        inp = out
    for size, share in list(SHARES.items())[1:]:
        weight = torch.randn(channels, width // share, 1, 1)
        state |= {f"to_rgb_{size}.conv.bias": torch.randn(channels), f"to_rgb_{size}.conv.weight_orig": weight}
    return state


def chest(
    latent: int = 6, width: int = 8, depths: tuple[int, ...] = (6, 4), norm: bool = True, equalize: bool = True
) -> dict[str, Tensor]:
    """A state dict of the chest X-ray variant."""
    torch.manual_seed(2)
    end, second = (".module" if equalize else ""), ("3" if norm else "2")
    shapes = {"latent_linear.0.module": (16 * width, latent), f"init_conv.0{end}": (width, width, 3, 3)}
    inp = width
    for i, out in enumerate(depths):
        shapes |= {f"ScaleBlocks.{i}.convolv.0{end}": (out, inp, 3, 3)}
        shapes |= {f"ScaleBlocks.{i}.convolv.{second}{end}": (out, out, 3, 3)}
        inp = out
    shapes |= {f"toRGB.{i}{end}": (3, out, 1, 1) for i, out in enumerate((width, *depths))}
    state: dict[str, Tensor] = {"current_size": torch.tensor(4 << len(depths)), "alpha": torch.tensor(0)}
    state["current_depth"] = torch.tensor(len(depths))
    for name, shape in shapes.items():
        scale = 1.0 if equalize else math.prod(shape[1:]) ** -0.5
        state |= {f"{name}.weight": torch.randn(shape) * scale, f"{name}.bias": torch.randn(shape[0])}
    return state


def norm(x: Tensor) -> Tensor:
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def polyp_by_hand(state: dict[str, Tensor], z: Tensor, step: int, alpha: float, normed: bool) -> Tensor:
    def conv(name: str, x: Tensor, padding: int) -> Tensor:
        weight = state[f"{name}.conv.weight_orig"]
        scale = math.sqrt(2 / math.prod(weight.shape[1:]))
        return F.conv2d(x, weight * scale, state[f"{name}.conv.bias"], padding=padding)

    first = state["input_layer.0.conv.weight_orig"]
    scale = math.sqrt(2 / (first.shape[1] * 16))
    x = F.conv_transpose2d(z[:, :, None, None], first * scale, state["input_layer.0.conv.bias"])
    x = F.leaky_relu(norm(x), 0.1)
    before, sizes = x, list(SHARES)[: step + 1]
    for size in sizes:
        before = x
        if size > 4:
            x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
        for place in ("0", "3" if normed else "2"):
            x = conv(f"progression_{size}.conv.{place}", x, 1)
            x = F.leaky_relu(norm(x) if normed else x, 0.1)
    image = conv(f"to_rgb_{sizes[-1]}", x, 0)
    if not 0 <= alpha < 1:
        return image
    older = F.interpolate(conv(f"to_rgb_{sizes[-2]}", before, 0), scale_factor=2, mode="bilinear", align_corners=False)
    return (1 - alpha) * older + alpha * image


def chest_by_hand(state: dict[str, Tensor], z: Tensor, alpha: float, normed: bool, equalize: bool, mode: str) -> Tensor:
    end = ".module" if equalize else ""

    def scaled(x: Tensor, weight: Tensor) -> Tensor:
        return x * math.sqrt(2 / math.prod(weight.shape[1:])) if equalize else x

    def conv(name: str, x: Tensor, padding: int) -> Tensor:
        weight = state[f"{name}{end}.weight"]
        return scaled(F.conv2d(x, weight, state[f"{name}{end}.bias"], padding=padding), weight)

    def activated(x: Tensor) -> Tensor:
        x = F.leaky_relu(x, 0.2)
        return norm(x) if normed else x

    weight = state["latent_linear.0.module.weight"]
    x = F.linear(norm(z) if normed else z, weight, state["latent_linear.0.module.bias"])
    x = F.leaky_relu(scaled(x, weight), 0.2).view(len(z), -1, 4, 4)
    x = before = activated(conv("init_conv.0", x, 1))
    count = sum(key.startswith("toRGB.") for key in state) // 2 - 1
    for i in range(count):
        before = x
        x = F.interpolate(x, scale_factor=2, mode=mode)
        for place in ("0", "3" if normed else "2"):
            x = activated(conv(f"ScaleBlocks.{i}.convolv.{place}", x, 1))
    image = conv(f"toRGB.{count}", x, 0)
    if not alpha:
        return image
    return alpha * F.interpolate(conv(f"toRGB.{count - 1}", before, 0), scale_factor=2, mode=mode) + (1 - alpha) * image


@pytest.mark.parametrize("fused", [False, True], ids=["published", "fused"])
@pytest.mark.parametrize(
    ("step", "alpha", "normed", "tanh"),
    [(1, 1.0, False, False), (2, 0.0, False, False), (3, 0.25, True, False), (4, 1.0, True, True),
     (5, -1.0, False, False), (6, 0.5, False, True)],
)  # fmt: skip
def test_polyp_variant(step: int, alpha: float, normed: bool, tanh: bool, fused: bool) -> None:
    state = polyp(norm=normed)
    generator = load(state, fused=fused, step=step, alpha=alpha, tanh=tanh)
    assert generator.config.pixel_norm == normed
    latents = generator.latents(range(2))
    expected = polyp_by_hand(state, latents, step, alpha, normed)
    expected = torch.tanh(expected) if tanh else expected
    assert expected.shape == (2, *[PGGAN.output(generator.config)[0]], *(PGGAN.output(generator.config)[1] or ()))
    torch.testing.assert_close(generator.decode(latents), expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("fused", [False, True], ids=["published", "fused"])
@pytest.mark.parametrize(
    ("depths", "alpha", "normed", "equalize", "mode"),
    [((), 0.0, True, True, "nearest"), ((6,), 0.3, True, True, "nearest"), ((6, 4), 0.0, False, True, "nearest"),
     ((6, 9), 1.0, True, False, "bilinear"), ((6, 5, 4, 3), 0.5, False, False, "nearest"),
     ((12, 8, 8, 8, 9), 0.0, True, True, "bilinear"), ((16, 12, 16, 16, 16), 0.0, True, True, "nearest")],
)  # fmt: skip
def test_chest_variant(
    depths: tuple[int, ...], alpha: float, normed: bool, equalize: bool, mode: str, fused: bool
) -> None:
    state = chest(depths=depths, norm=normed, equalize=equalize)
    state["alpha"] = torch.tensor(alpha)
    told = {} if depths else {"norm_layers": normed}
    generator = load(state, fused=fused, mode=mode, **told)
    config = generator.config
    assert (config.norm_layers, config.equalize, config.depths) == (normed, equalize, depths)
    latents = generator.latents(range(2))
    expected = chest_by_hand(state, latents, alpha, normed, equalize, mode)
    torch.testing.assert_close(generator.decode(latents), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("latent", "width", "channels"), [(128, 128, 4), (6, 8, 3), (5, 16, 1)])
def test_keys_of_the_polyp_variant(latent: int, width: int, channels: int) -> None:
    told = PGGAN.infer(polyp(latent, width, channels))
    config = PGGAN.Config.model_validate(told)
    assert told["variant"] == "progan_polyp"
    assert (config.input_code_dim, config.in_channel, config.img_channels) == (latent, width, channels)
    assert PGGAN.output(config) == (channels, (256, 256))


@pytest.mark.parametrize(("latent", "width", "depths"), [(64, 32, (32, 16, 8)), (7, 4, (3,)), (512, 16, ())])
def test_keys_of_the_chest_variant(latent: int, width: int, depths: tuple[int, ...]) -> None:
    config = PGGAN.Config.model_validate(PGGAN.infer(chest(latent, width, depths)))
    assert (config.variant, config.z_dim, config.initial_channel_depth) == ("cxr_pggan", latent, width)
    assert config.depths == depths and PGGAN.output(config) == (3, (4 << len(depths),) * 2)


def test_what_the_entry_states_about_fading_goes_before_the_file() -> None:
    state = chest() | {"alpha": torch.tensor(0.75)}
    latents = load(state).latents(range(1))
    faded, whole = load(state).decode(latents), load(state, alpha=0).decode(latents)
    for image, alpha in ((faded, 0.75), (whole, 0.0)):
        expected = chest_by_hand(state, latents, alpha, True, True, "nearest")
        torch.testing.assert_close(image, expected, atol=1e-4, rtol=1e-5)


def test_counters_of_training_may_be_missing() -> None:
    state = chest()
    bare = {key: value for key, value in state.items() if value.dim()}
    assert len(bare) == len(state) - 3
    latents = load(state).latents(range(1))
    assert torch.equal(load(bare).decode(latents), load(state).decode(latents))


def test_fields_of_the_other_variant_are_refused() -> None:
    with pytest.raises(EntryError, match="variant 'progan_polyp' has no depths, mode"):
        load(polyp(), mode="nearest", depths=[4])
    with pytest.raises(EntryError, match=r"config\.variant: missing"):
        load({"netG.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="missing: latent_linear"):
        load({"netG.weight": torch.zeros(1)}, variant="cxr_pggan", depths=[4])


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", [8, 32, 128])
def test_growing_equals_up_sampling_and_convolution(mode: Any, size: int) -> None:
    """Up to the edges and corners, where the convolution sees zeros."""
    torch.manual_seed(0)
    weight, bias, x = torch.randn(3, 4, 3, 3), torch.randn(3), torch.randn(2, 4, size // 2, size // 2)
    expected = F.conv2d(F.interpolate(x, scale_factor=2, mode=mode), weight, bias, padding=1)
    torch.testing.assert_close(Grow(weight, bias, mode, size)(x), expected, atol=2e-5, rtol=1e-5)


def test_ways_of_growing() -> None:
    ways = {size: {Grow(torch.zeros(1, 1, 3, 3), torch.zeros(1), mode, size).way for mode in ("nearest", "bilinear")}
            for size in (8, 32, 256)}  # fmt: skip
    assert ways == {8: {"differences", "plain"}, 32: {"differences", "blurred"}, 256: {"transposed", "blurred"}}


def test_pieces_of_pixels_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = load(chest())
    latents = generator.latents(range(3))
    whole = generator.decode(latents)
    monkeypatch.setattr(Fused, "PIECE", 40)
    torch.testing.assert_close(generator.decode(latents), whole)


def test_averaged_weights_of_a_published_file_come_first(tmp_path: Path) -> None:
    """The container of 00020, from a local path: raw and averaged weights and a discriminator in one state dict."""
    raw, shadow = chest(), {key: value * 1.5 for key, value in chest().items()}
    state = {f"generator.{key}": value for key, value in raw.items()}
    state |= {f"discriminator.{key}": torch.zeros(2, 2) for key in ("fromRGB.0.module.weight", "alpha")}
    state |= {f"gen_shadow.{key}": value for key, value in shadow.items()} | {"img_size": torch.tensor(16)}
    torch.save({"state_dict": state, "settings": {"alpha": torch.tensor(0)}}, tmp_path / "model.pth")
    generator = medzoo.load(family="pggan", weights=tmp_path / "model.pth", device="cpu")
    latents = generator.latents(range(2))
    expected = chest_by_hand(shadow, latents, 0.0, True, True, "nearest")
    torch.testing.assert_close(generator.decode(latents), expected, atol=1e-4, rtol=1e-5)
