"""SinGAN's cases of the conformance kit, which have a shape of their own: single networks, resizing, whole pyramids.

The original folder is written as its authors' code does: ``Gs.pth`` is a pickled list of modules whose classes exist
only while it is written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medzoo.families import Generator
from medzoo.families.singan import Network
from medzoo.families.singan.enlarge import enlarge
from medzoo.randomness import Replay
from tests.conftest import load_conformance

PARTS = ("Gs", "Zs", "reals", "NoiseAmp")
CLASSES = ("GeneratorConcatSkip2CleanAdd", "ConvBlock")


def run_case(
    case: dict[str, Any], fused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fill: ModuleType
) -> None:
    """Every run of a case, with the stated configuration and with the one that the files tell."""
    write_folder(case, tmp_path, fill)
    stated: tuple[dict[str, Any], ...] = (case["config"], {})
    for config in stated:
        generators: dict[int, Generator] = {}
        for run in case["runs"]:
            start = run.get("gen_start_scale", 0)
            if start not in generators:
                generators[start] = load(case, config | {"start_scale": start}, fused, tmp_path, monkeypatch)
            check_run(case, run, generators[start], fill)


def check_run(case: dict[str, Any], run: dict[str, Any], generator: Generator, fill: ModuleType) -> None:
    network, name = generator.network, f"{case['case']}/{run['name']}"
    assert isinstance(network, Network)
    golden, tolerance = run["outputs"]["image"], case["tolerance"]
    arrays = {key: torch.from_numpy(fill.make_array(rule)) for key, rule in run.get("inputs", {}).items()}
    if run["kind"] == "one network":
        close(network.part("", "Gs")[run["scale"]](arrays["x"], arrays["y"]), golden, tolerance, name)
    elif run["kind"] == "between-scale resize":
        close(enlarge(arrays["image"], run["factor"]), golden, tolerance, name)
    else:
        assert run["kind"] == "pyramid", name
        draws = [torch.from_numpy(fill.make_array(rule)) for rule in run["random_draws"]]
        near(generator.decode(noise=Replay(draws, 1)), golden, name)
        for k, image in enumerate(network.outputs("", draws)):
            near(image, run["per_scale_outputs"][f"scale_{k}"], f"{name}/scale_{k}")
        check_postprocessed(generator.decode(noise=Replay(draws, 1)), run["postprocessed"], name)


def close(found: Tensor, golden: dict[str, Any], tolerance: dict[str, Any], name: str) -> None:
    """Shape, values at the stored places, and the statistics of every channel."""
    assert list(found.shape) == golden["shape"], name
    array = found.numpy()
    limits = {"atol": tolerance["suggested_atol"], "rtol": tolerance["suggested_rtol"]}
    np.testing.assert_allclose(array.ravel()[golden["index"]], golden["value"], err_msg=name, **limits)
    np.testing.assert_allclose(array.mean((0, 2, 3)), golden["channel_mean"], err_msg=name, **limits)
    np.testing.assert_allclose(array.std((0, 2, 3)), golden["channel_std"], err_msg=name, **limits)
    np.testing.assert_allclose([array.min(), array.max()], [golden["min"], golden["max"]], err_msg=name, **limits)


def near(found: Tensor, golden: dict[str, Any], name: str) -> None:
    """What a grey level that flips in an early scale leaves equal: the rule of the case for pyramids."""
    assert list(found.shape) == golden["shape"], name
    array = found.numpy()
    errors = abs(array.ravel()[golden["index"]] - np.array(golden["value"]))
    assert np.median(errors) <= 1e-4 and errors.max() <= 0.06, f"{name}: {np.median(errors)}, {errors.max()}"
    np.testing.assert_allclose(array.mean((0, 2, 3)), golden["channel_mean"], err_msg=name, atol=1e-3)
    np.testing.assert_allclose(array.std((0, 2, 3)), golden["channel_std"], err_msg=name, atol=1e-3)


def check_postprocessed(raw: Tensor, golden: dict[str, Any], name: str) -> None:
    """Eight bits and the mask, as the published code writes them; a flipped grey level may move a few."""
    unit = ((raw[0] + 1) / 2).clamp(0, 1).numpy()
    levels, mask = np.floor(unit[:3] * 255), np.where(unit[3] > 0.5, 255, 0)
    right = [
        [*levels[:, row, column], mask[row, column]] == expected for row, column, *expected in golden["points"]
    ]  # fmt: skip
    assert np.mean(right) >= 0.8, f"{name}: {np.mean(right)}"
    assert abs((mask > 0).mean() - golden["mask_fraction"]) < 0.005, name


def load(
    case: dict[str, Any], config: dict[str, Any], fused: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator:
    """The model by its id, through the ordinary loader."""
    channels = case["scales"][0]["real_shape"][1]
    masks = int(channels == 4)
    entry = {
        "title": case["case"],
        "family": "singan",
        "output": {
            "type": "image+mask" if masks else "image",
            "size": case["scales"][-1]["real_shape"][2:],
            "channels": channels - masks,
            "masks": masks,
            "range": [-1, 1],
            "spacing": None,
        },
        "config": config,
        "sampling": {"latent": "normal", "norm_stats": "running", "truncation": None, "steps": None},
        "weights": [{"kind": "local", "path": f"{part}.pth", "sha256": None, "part": part} for part in PARTS],
        "checkpoint": {"container": "pickle", "key": None, "strip_prefix": None},
    }
    return load_conformance(folder, monkeypatch, fused, **entry)


def write_folder(case: dict[str, Any], folder: Path, fill: ModuleType) -> None:
    """Gs.pth, Zs.pth, reals.pth and NoiseAmp.pth of a case."""
    pad = case["config"]["pad"]
    first = torch.from_numpy(fill.make_array(case["stored_Z0"])).expand(-1, case["config"]["nc_z"], -1, -1)
    shapes = [scale["real_shape"] for scale in case["scales"]]
    later = [
        torch.zeros(1, case["config"]["nc_z"], h + 2 * pad, w + 2 * pad, dtype=torch.bool) for *_, h, w in shapes[1:]
    ]
    torch.save([nn.functional.pad(first, [pad] * 4), *later], folder / "Zs.pth")
    torch.save([torch.rand(shape) for shape in shapes], folder / "reals.pth")
    amplitudes = [scale["noise_amp"] for scale in case["scales"]]
    torch.save([1, *map(torch.tensor, amplitudes[1:])], folder / "NoiseAmp.pth")
    with published_classes() as (generator, block):
        torch.save([network(case, k, fill, generator, block) for k in range(len(shapes))], folder / "Gs.pth")


@contextmanager
def published_classes(package: str = "SinGAN") -> Iterator[tuple[type[nn.Module], type[nn.Module]]]:
    """The classes that the pickle names; gone afterwards, as they are for whoever loads it."""
    module = ModuleType(f"{package}.models")
    for name, base in zip(CLASSES, (nn.Module, nn.Sequential), strict=True):
        setattr(module, name, type(name, (base,), {"__module__": module.__name__}))
    sys.modules |= {package: ModuleType(package), module.__name__: module}
    try:
        yield getattr(module, CLASSES[0]), getattr(module, CLASSES[1])
    finally:
        del sys.modules[module.__name__], sys.modules[package]


def network(
    case: dict[str, Any], scale: int, fill: ModuleType, generator: type[nn.Module], block: type[nn.Module]
) -> nn.Module:
    """One scale as a module tree of the published classes, in eval mode, with the weights of the case."""
    stated = case["scales"][scale]
    arrays = fill.fill_state_dict(_state_dict(case, scale), case["fill"], stated["weights_tag_prefix"])
    state = {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}
    blocks = sorted({key.split(".")[1] for key in state if key.startswith("body.")}, key=lambda name: (len(name), name))

    def layer(prefix: str) -> nn.Module:
        made = block()
        made.add_module("conv", convolution(state[f"{prefix}.conv.weight"]))
        made.add_module("norm", nn.BatchNorm2d(len(state[f"{prefix}.norm.weight"])))
        made.add_module("LeakyRelu", nn.LeakyReLU(0.2, inplace=True))
        return made

    made = generator()
    made.is_cuda = False  # type: ignore[assignment]
    made.head, made.body = layer("head"), nn.Sequential()
    for name in blocks:
        made.body.add_module(name, layer(f"body.{name}"))
    made.tail = nn.Sequential(convolution(state["tail.0.weight"]), nn.Tanh())
    made.load_state_dict(state, strict=True)
    return made.eval()


def convolution(weight: Tensor) -> nn.Conv2d:
    out, inp, kernel, _ = weight.shape
    return nn.Conv2d(inp, out, kernel)


def _state_dict(case: dict[str, Any], scale: int) -> Any:
    stated = case["scales"][scale]
    return stated["state_dict"] if "state_dict" in stated else _state_dict(case, stated["state_dict_same_as_scale"])
