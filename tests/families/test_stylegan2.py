"""StyleGAN2: what is special to it. Golden values of the published network are in test_conformance.py."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import medzoo
from medzoo.entry import Entry
from medzoo.errors import CheckpointError, ConditionError, EntryError, GenerationError
from medzoo.families import Given
from medzoo.families.stylegan2 import StyleGAN2
from medzoo.families.stylegan2.network import filter_of, modulated, upsample
from medzoo.randomness import Noise, Replay
from tests.conftest import entry_fields, random_state

State = dict[str, torch.Tensor]
PLAIN = {
    "z_dim": 6, "c_dim": 0, "w_dim": 5, "img_resolution": 16, "img_channels": 3, "channels": [6, 5, 4],
    "mapping_features": [7, 5], "embed_features": 0, "architecture": "skip", "use_noise": True, "filter_taps": 4,
}  # fmt: skip
CLASSES = PLAIN | {"c_dim": 3, "embed_features": 4}
WHICH = {"kind": "class", "classes": ["axial", "coronal", "sagittal"]}
# As training code states it: 4 px to 64 px, so that the fused network makes the last map alone; wide enough at 32 px
# for every way in which it convolves.
WIDE = {
    "z_dim": 8, "c_dim": 0, "w_dim": 8, "img_resolution": 64, "img_channels": 1,
    "mapping_kwargs": {"num_layers": 2}, "synthesis_kwargs": {"channel_base": 3072, "channel_max": 96},
}  # fmt: skip


def fields(config: dict[str, Any], condition: dict[str, Any] | None = None, **sampling: Any) -> dict[str, Any]:
    output = {
        "type": "image", "size": None, "channels": config.get("img_channels", 3), "masks": 0, "range": [-1.0, 1.0],
        "spacing": None,
    }  # fmt: skip
    return entry_fields(
        family="stylegan2", config=config, output=output, condition=condition, sampling={"latent": "normal", **sampling}
    )


def weights(config: dict[str, Any]) -> State:
    """Random weights of the size that training leaves: mapping weights are stored a hundred times large."""
    state = random_state(fields(config))
    for key in state:
        if key.startswith("mapping.fc"):
            state[key] *= 100 * (math.sqrt(state[key].shape[-1]) if state[key].dim() > 1 else 0.1)
        elif key.endswith("affine.bias"):
            state[key] += 1
        elif key.endswith("noise_strength"):
            state[key] += 0.5
    return state


def load(
    config: dict[str, Any],
    state: State | None = None,
    condition: dict[str, Any] | None = None,
    fused: bool = False,
    **sampling: Any,
) -> StyleGAN2:
    entry = Entry.model_validate(fields(config, condition, **sampling))
    return StyleGAN2(entry, weights(config) if state is None else dict(state), fused=fused, device="cpu")


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
@pytest.mark.parametrize("noise", [True, False])
def test_the_weights_tell_the_network(architecture: str, noise: bool) -> None:
    config = CLASSES | {"architecture": architecture, "use_noise": noise, "filter_taps": 6}
    state = weights(config)
    stated = StyleGAN2.Config.model_validate(config)
    told = StyleGAN2.infer(state)
    assert told == {name: getattr(stated, name) for name in told} and set(told) == set(config)
    z, given = torch.randn(2, 6), Given(labels=torch.tensor([0, 2]))
    bare = load({}, state).decode(z, given)
    torch.testing.assert_close(bare, load(config, state).decode(z, given), atol=0, rtol=0)
    torch.testing.assert_close(bare, load({}, state, fused=True).decode(z, given), atol=1e-4, rtol=0)


def test_what_training_was_told_tells_the_network_too() -> None:
    state = weights(WIDE)
    assert StyleGAN2.infer(state)["channels"] == (96, 96, 96, 96, 48)
    z = torch.randn(3, 8)
    published = load(WIDE, state).decode(z)
    for config in (WIDE, {}):
        torch.testing.assert_close(load(config, state, fused=True).decode(z), published, atol=1e-4, rtol=0)
    with pytest.raises(CheckpointError, match="of another shape: synthesis.b16.conv0.weight is"):
        load(WIDE | {"synthesis_kwargs": {"channel_base": 1024, "channel_max": 96}}, state)
    with pytest.raises(EntryError, match="img_resolution: needs a power of two, found 48"):
        load(PLAIN | {"img_resolution": 48}, weights(PLAIN))


def test_up_sampling_is_zeros_then_filter_for_any_filter() -> None:
    """By the definition: zeros between the pixels, then a convolution; an uneven filter shows mirrored ones."""
    taps = torch.tensor([1.0, 5.0, 3.0, 2.0])
    x, styles = torch.randn(2, 3, 5, 5, dtype=torch.float64), torch.rand(2, 3, dtype=torch.float64) + 0.5
    fir = filter_of(taps.tolist()).double()
    spread = torch.zeros(2, 3, 10, 10, dtype=torch.float64)
    spread[:, :, ::2, ::2] = x
    mirrored = 4 * fir.flip(0, 1)[None, None]
    expected = F.conv2d(F.pad(spread, (2, 1, 2, 1)), mirrored.expand(3, 1, 4, 4), groups=3)
    torch.testing.assert_close(upsample(x, fir), expected)
    weight = torch.randn(2, 3, 3, 3, dtype=torch.float64)
    for row in range(2):  # the published form: weights scaled, their norm taken out, each sample alone
        own = weight * styles[row, None, :, None, None]
        own = own / own.square().sum((1, 2, 3), keepdim=True).add(1e-8).sqrt()
        blurred = F.conv2d(F.pad(spread[row : row + 1], (3, 2, 3, 2)), own.flip(2, 3))
        blurred = F.conv2d(blurred, mirrored.expand(2, 1, 4, 4), groups=2)
        torch.testing.assert_close(modulated(x, weight, styles, fir)[row : row + 1], blurred)


def test_truncation_pulls_to_the_mean_image() -> None:
    state = weights(PLAIN)
    z = torch.randn(3, 6)
    whole, half, none = (load(PLAIN, state, truncation=psi) for psi in (None, 0.5, 0.0))
    mean = whole.decode_ws(state["mapping.w_avg"][None])
    assert (none.decode(z) - mean).abs().max() < 1e-5
    torch.testing.assert_close(half.ws(z), 0.5 * whole.ws(z) + 0.5 * state["mapping.w_avg"])
    assert (whole.decode(z) - mean).abs().amax((1, 2, 3)).min() > 0.1
    first = load(PLAIN | {"truncation_cutoff": 2}, state, truncation=0.0).ws(z)
    torch.testing.assert_close(first[:, :2], none.ws(z)[:, :2], atol=1e-5, rtol=0)
    torch.testing.assert_close(first[:, 2:], whole.ws(z)[:, 2:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("fused", [False, True])
def test_noise_const_random_none(fused: bool) -> None:
    state, z = weights(WIDE), torch.randn(2, 8)
    const, random, none = (load(WIDE, state, noise=mode, fused=fused) for mode in ("const", "random", "none"))
    assert (const.decode(z) - load(WIDE, state, fused=fused).decode(z)).abs().max() == 0  # the default
    without = {key: value * (not key.endswith("noise_strength")) for key, value in state.items()}
    torch.testing.assert_close(none.decode(z), load(WIDE, without, fused=fused).decode(z), atol=1e-5, rtol=0)
    assert (none.decode(z) - const.decode(z)).abs().max() > 0.1
    # One draw for each layer, smallest first: the stored maps as draws give the image of the stored maps.
    names = ["b4.conv1", *(f"b{size}.conv{i}" for size in (8, 16, 32, 64) for i in (0, 1))]
    maps = [state[f"synthesis.{name}.noise_const"].expand(2, 1, -1, -1) for name in names]
    torch.testing.assert_close(random.decode(z, noise=Replay(maps, 2)), const.decode(z), atol=1e-4, rtol=0)


def test_random_noise_is_of_the_sample_alone() -> None:
    for fused in (False, True):
        generator = load(PLAIN, noise="random", fused=fused)
        samples = generator.generate(4, seed=1, batch_size=3)
        alone = generator.generate(1, seed=1, start=2)
        assert abs(samples.images[2] - alone.images[0]).max() < 1e-5
        same = generator.decode(torch.ones(2, 6))
        assert (same[0] - same[1]).abs().max() > 0.01


def test_classes_go_into_the_mapping() -> None:
    state, z = weights(CLASSES), torch.randn(3, 6)
    generator = load(CLASSES, state, WHICH)
    images = generator.decode(z, ["axial", "sagittal", "coronal"])
    numbers = Given(attributes=F.one_hot(torch.tensor([0, 2, 1]), 3).float())
    torch.testing.assert_close(images, generator.decode(z, numbers), atol=1e-5, rtol=0)
    torch.testing.assert_close(images, load(CLASSES, state, WHICH, fused=True).decode(z, [0, 2, 1]), atol=1e-4, rtol=0)
    assert (images - generator.decode(z, "coronal")).abs().amax((1, 2, 3))[:2].min() > 0.01
    assert generator.ws(z, "axial").shape == (3, 6, 5)
    assert StyleGAN2.takes(generator.config) == {"kind": "class", "classes": ("0", "1", "2")}
    assert StyleGAN2.takes(load(PLAIN).config) is None
    with pytest.raises(ConditionError, match=r"needs a class: 0 \(0\), 1 \(1\), 2 \(2\); declare it as 'condition'"):
        load(CLASSES, state).generate(1)
    with pytest.raises(EntryError, match="names 2 classes, the network takes 3"):
        load(CLASSES, state, WHICH | {"classes": ["axial", "coronal"]})


def test_intermediate_latents_can_be_mixed_and_walked() -> None:
    for fused in (False, True):
        generator = load(PLAIN, truncation=0.8, fused=fused)
        z = generator.latents(range(2))
        ws = generator.ws(z)
        torch.testing.assert_close(generator.decode_ws(ws), generator.decode(z), atol=1e-5, rtol=0)
        between = generator.decode_ws(torch.lerp(ws[:1], ws[1:], torch.tensor([0.0, 0.5, 1.0])[:, None, None]))
        torch.testing.assert_close(between[::2], generator.decode(z), atol=1e-5, rtol=0)
        mixed = generator.decode_ws(torch.cat([ws[:1, :3], ws[1:, 3:]], dim=1))
        assert all((mixed[0] - image).abs().max() > 0.01 for image in generator.decode(z))
        for wrong in (torch.zeros(2, 4), torch.zeros(1, 5, 5)):
            with pytest.raises(GenerationError, match=r"ws must be \[n, 6, 5\] or \[n, 5\], found"):
                generator.decode_ws(wrong)


def test_gradients_reach_intermediate_latents() -> None:
    generator = load(PLAIN)
    ws = generator.ws(torch.randn(2, 6)).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(generator.decode_ws(ws)[0].square().sum(), ws)
    assert gradient[0].abs().amax(1).min() > 0  # every layer
    assert gradient[1].abs().max() == 0


@pytest.mark.parametrize("fused", [False, True])
def test_the_clamp_limits_every_layer(fused: bool) -> None:
    state = weights(PLAIN) | {"synthesis.b16.torgb.bias": torch.full((3,), 50.0)}
    z = torch.randn(4, 6)
    free = load(PLAIN | {"architecture": "orig"}, orig(state), fused=fused).decode(z)
    config = PLAIN | {"architecture": "orig", "synthesis_kwargs": {"conv_clamp": 0.5}}
    held = load(config, orig(state), fused=fused).decode(z)
    assert free.min() > 30 and (held == 0.5).all()


def orig(state: State) -> State:
    """Without the images of the smaller resolutions."""
    return {key: value for key, value in state.items() if ".torgb." not in key or ".b16." in key}


def test_a_mean_that_the_file_lacks_is_made() -> None:
    state = weights(CLASSES)
    state.pop("mapping.w_avg")
    generator = load(CLASSES, state)
    z = Noise(0, range(4096)).latent((6,))
    ws = generator.ws(z, Given(labels=torch.arange(4096) % 3))
    torch.testing.assert_close(generator.network.mapping.w_avg, ws[:, 0].mean(0), atol=1e-5, rtol=0)


def test_noise_maps_that_the_file_lacks() -> None:
    state = {key: value for key, value in weights(PLAIN).items() if not key.endswith("noise_const")}
    with pytest.raises(CheckpointError, match=r"no noise map for synthesis.b4.conv1; state 'sampling: \{noise: random"):
        load(PLAIN, state)
    assert load(PLAIN, state, noise="random").decode(torch.randn(1, 6)).isfinite().all()


def rosinality(state: State) -> State:
    """The same network in the other layout, by the public facts about it: see ``_stylegan2_names``."""
    sizes = sorted({int(key.split(".")[1][1:]) for key in state if key.startswith("synthesis.b")})
    names = {"synthesis.b4.conv1": "conv1", "synthesis.b4.torgb": "to_rgb1"}
    for k, size in enumerate(sizes[1:]):
        names |= {f"synthesis.b{size}.conv{i}": f"convs.{2 * k + i}" for i in (0, 1)}
        names[f"synthesis.b{size}.torgb"] = f"to_rgbs.{k}"
    other = {"input.input": state["synthesis.b4.const"][None]}
    for key, value in state.items():
        module, _, part = key.partition(".affine.") if ".affine." in key else key.rpartition(".")
        if key.startswith("mapping.fc"):
            other[f"style.{int(module.removeprefix('mapping.fc')) + 1}.{part}"] = value
        elif ".affine." in key:
            other[f"{names[module]}.conv.modulation.{part}"] = value
        elif part == "weight":
            gain = 1.0 if "torgb" in module else math.sqrt(value[0].numel())
            other[f"{names[module]}.conv.weight"] = value[None] * gain
        elif part == "bias":
            rgb = "torgb" in module
            other[f"{names[module]}.{'' if rgb else 'activate.'}bias"] = value[None, :, None, None] if rgb else value
        elif part == "noise_strength":
            other[f"{names[module]}.noise.weight"] = value[None]
        elif part == "noise_const":
            index = 0 if module.endswith("b4.conv1") else 1 + int(names[module].removeprefix("convs."))
            other[f"noises.noise_{index}"] = value[None, None]
        elif part == "resample_filter" and module.endswith("conv0"):
            other[f"{names[module]}.conv.blur.kernel"] = 4 * value
        elif part == "resample_filter" and f"{module}.torgb" in names and module != "synthesis.b4":
            other[f"{names[f'{module}.torgb']}.upsample.kernel"] = 4 * value
    return other


@pytest.mark.parametrize("fused", [False, True])
def test_the_rosinality_layout_is_the_same_network(fused: bool, tmp_path: Path) -> None:
    config = PLAIN | {"z_dim": 5}  # its latents are as long as w
    state = weights(config)
    z, mean = torch.randn(2, 5), state["mapping.w_avg"]
    expected = load(config, state, truncation=0.7).decode(z)
    other = rosinality(state)
    assert len(other) == len(state) - 5  # the mean, and filters that nothing uses: two of 4 px, three of conv1
    assert StyleGAN2.infer(other) == StyleGAN2.infer(state)
    beside = other | {"latent_avg": mean[None]}
    whole = {f"g_ema.{key}": value for key, value in other.items()} | {"latent_avg": mean, "g.conv1.x": mean}
    for layout in (beside, whole):
        image = load({}, layout, truncation=0.7, fused=fused).decode(z)
        torch.testing.assert_close(image, expected, atol=1e-4, rtol=0)
    file = tmp_path / "010000.pt"
    torch.save({"g": weights(config), "d": {"convs.0": mean}, "g_ema": other, "latent_avg": mean}, file)
    image = medzoo.load(family="stylegan2", weights=file, fused=fused, device="cpu").decode(z)
    torch.testing.assert_close(image, load(config, state).decode(z), atol=1e-4, rtol=0)


def test_keys_that_are_no_network_are_named() -> None:
    other = rosinality(weights(PLAIN | {"z_dim": 5})) | {"convs.0.odd": torch.zeros(2)}
    with pytest.raises(CheckpointError, match="1 unexpected: convs.0.odd"):
        load({}, other)
    for broken in ({"input.input": torch.zeros(3)}, {"synthesis.b4.conv1.weight": torch.zeros(3)}):
        assert StyleGAN2.infer(broken) == {}
        with pytest.raises(EntryError, match="z_dim"):
            load({}, broken)


def test_a_snapshot_runs_from_its_file(tmp_path: Path) -> None:
    """Averaged weights first; what the class was made with tells what no shape does (conv_clamp)."""
    clamped = WIDE | {"synthesis_kwargs": WIDE["synthesis_kwargs"] | {"conv_clamp": 0.5}}
    expected = StyleGAN2(Entry.model_validate(fields(clamped)), weights(WIDE), device="cpu")
    plain = StyleGAN2(Entry.model_validate(fields(WIDE)), weights(WIDE), device="cpu")
    modules = {}
    for key, scale in (("G", 2.0), ("G_ema", 1.0)):
        state = {name: value * scale for name, value in weights(WIDE).items()}
        network = StyleGAN2(Entry.model_validate(fields(WIDE)), state, fused=False, device="cpu").network
        network._init_kwargs = clamped | {"unknown": 3}  # type: ignore[assignment]
        modules[key] = network
    path = tmp_path / "network-snapshot.pkl"
    path.write_bytes(pickle.dumps(modules | {"training_set_kwargs": {"path": "data.zip"}, "augment_pipe": None}))
    generator = medzoo.load(family="stylegan2", weights=path, device="cpu")
    latents = expected.latents(range(2))
    torch.testing.assert_close(generator.decode(latents), expected.decode(latents))
    assert not torch.allclose(generator.decode(latents), plain.decode(latents), atol=1e-3)  # the clamp was at work
    with pytest.raises(CheckpointError, match="nothing in it is a generator of family 'fastgan'"):
        medzoo.load(family="fastgan", weights=path)
