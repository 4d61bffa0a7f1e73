"""Every case of the conformance kit: the original container, through the ordinary loader, against golden values.

The kit lies outside the project (``../shared/conformance``, or the folder named by ``MEDZOO_CONFORMANCE``); its README
explains the cases. Each run is compared as published and fused.
"""

from __future__ import annotations

import importlib.util
import json
import os
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medzoo.families import Generator, Given
from medzoo.randomness import Replay
from tests.conftest import load_conformance
from tests.tools import singan_case
from tests.tools.paths import SHARED

CASES = Path(os.environ.get("MEDZOO_CONFORMANCE", SHARED / "conformance" / "public"))
FILL = CASES.parent / "fill.py"

# The kit's architectures and the families that run them.
FAMILIES = {
    "fastgan": "fastgan",
    "dcgan": "dcgan",
    "dcgan_mammo": "dcgan",
    "wgangp_mammo": "wgan_gp",
    "progan": "pggan",
    "pggan_cxr": "pggan",
    "singan_seg": "singan",
    "pix2pix_unet": "pix2pix",
    "pix2pixhd_global": "pix2pixhd",
    "cyclegan_resnet": "cyclegan",
    "brain_inpaint": "inpaint",
    "brain_tumor_shape": "inpaint",
    "stylegan2_ada": "stylegan2",
    "improved_diffusion_unet": "diffusion",
}
NORM_STATS = {"train": "sample", "batchstats": "sample", "eval": "running"}


pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"no conformance kit at {CASES} (set MEDZOO_CONFORMANCE)")


NAMES = sorted(path.stem for path in CASES.glob("*.json"))
# Of each of these there is a small case, too.
LARGE = {"pix2pixhd_global_full_layout", "stylegan2_512_full_layout"}


@pytest.mark.parametrize("fused", [False, True], ids=["published", "fused"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in NAMES]
)
def test_case(name: str, fused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = json.loads((CASES / f"{name}.json").read_text())
    if case["architecture"] == "singan_seg":
        singan_case.run_case(case, fused, tmp_path, monkeypatch, fill())
        return
    if case.get("layout_only"):
        load(case, {"mode": "eval"}, fused, tmp_path, monkeypatch)
        return
    generators: dict[str, Generator] = {}
    for run in case.get("runs", [{"mode": "eval"}]):
        kind = json.dumps([run["mode"], run.get("weights_tag_prefix"), run.get("call")])
        if kind not in generators:
            generators = {kind: load(case, run, fused, tmp_path, monkeypatch)}  # one in memory at a time
        check_run(case, run, generators[kind], fused, f"{name}/{run['name']}")


@pytest.mark.slow
def test_what_the_weights_tell_suffices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing in ``config`` the small cases give the same images, but for settings that no shape tells."""
    done = 0
    for path in sorted(CASES.glob("*.json")):
        case = json.loads(path.read_text())
        if case.get("layout_only") or case["architecture"] in ("singan_seg", "improved_diffusion_unet"):
            continue
        run = case["runs"][0]
        clamp = case["config"].get("synthesis_kwargs", {}).get("conv_clamp")
        case["config"] = {} if clamp is None else {"synthesis_kwargs": {"conv_clamp": clamp}}
        check_run(case, run, load(case, run, True, tmp_path, monkeypatch), True, path.stem)
        done += 1
    assert done


def check_run(case: dict[str, Any], run: dict[str, Any], generator: Generator, fused: bool, name: str) -> None:
    """One run of a case: its inputs through ``decode``, its outputs against the stored ones."""
    arrays = {key: torch.from_numpy(np.array(fill().make_array(rule))) for key, rule in run["inputs"].items()}
    if case["architecture"] == "improved_diffusion_unet":  # one call of the network, of which sampling needs many
        eps = generator.network(arrays["x"], arrays["t"], arrays.get("y"))
        compare(eps, run["outputs"]["eps"], case["tolerance"], name)
        return
    latents = arrays.pop("z", None)
    count = len(next(iter(arrays.values())) if latents is None else latents)
    draws = [torch.from_numpy(fill().make_array(rule)) for rule in run.get("random_draws", [])]
    if latents is not None and generator.latent_shape is not None:
        latents = latents.reshape(count, *generator.latent_shape)
    given = given_of(arrays)
    raw = generator.decode(latents, given, noise=Replay(draws, count))
    compare(raw, run["outputs"]["image"], case["tolerance"], name)
    if "image_128" in run["outputs"] and not fused:  # the fused path does not make what nobody asks for
        small = generator.network.images(latents, draws)[1]
        compare(small, run["outputs"]["image_128"], case["tolerance"], f"{name}/image_128")
    if "ws" in run["outputs"]:
        compare(generator.ws(latents, given), run["outputs"]["ws"], case["tolerance"], f"{name}/ws")  # type: ignore[attr-defined]


def given_of(arrays: dict[str, torch.Tensor]) -> Given:
    """The kit's inputs but the latents: classes, numbers, and images joined along the channels in their order."""
    numbers = [arrays.pop(name) for name in ("condition", "c") if name in arrays]
    labels = [one for one in numbers if not one.is_floating_point()]
    attributes = [one.reshape(len(one), -1) for one in numbers if one.is_floating_point()]
    images = [one.float() for one in arrays.values()]
    return Given(
        labels[0] if labels else None, torch.cat(images, 1) if images else None, attributes[0] if attributes else None
    )


@pytest.mark.parametrize("variant", ["data parallel", "one device", "two keys", "flat"])
def test_fastgan_container_variants(variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers in every layout seen in practice give the same image."""
    case = json.loads((CASES / "fastgan_polyp_256.json").read_text())
    if variant == "one device":
        case["container"]["key_prefix"] = ""
    elif variant == "two keys":
        case["container"]["must_ignore"] = case["container"]["must_ignore"][:1]
    elif variant == "flat":
        case["container"] |= {"state_dict_at": [], "key_prefix": "", "must_ignore": []}
    run = case["runs"][0]
    generator = load(case, run, True, tmp_path, monkeypatch, key="g", prefix="module.")
    draws = [torch.from_numpy(fill().make_array(rule)) for rule in run["random_draws"]]
    latents = torch.from_numpy(fill().make_array(run["inputs"]["z"]))
    compare(generator.decode(latents, noise=Replay(draws, 1)), run["outputs"]["image"], case["tolerance"], variant)


def test_fastgan_averaged_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``ema: g_ema`` replaces the parameters, in the order of the list, and keeps the buffers of ``g``."""
    case = json.loads((CASES / "fastgan_polyp_256.json").read_text())
    generator = load(case, case["runs"][2], False, tmp_path, monkeypatch, ema="g_ema")
    state = generator.network.state_dict()
    averaged, raw = weights(case["case"], case["container"]["g_ema_tag_prefix"]), weights(case["case"], "")
    for key in state:
        expected = averaged if key in case["parameter_order"] else raw
        assert torch.equal(state[key], expected[key]), key


@cache
def fill() -> Any:
    """The kit's rule for weights and inputs."""
    spec = importlib.util.spec_from_file_location("conformance_fill", FILL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(
    case: dict[str, Any],
    run: dict[str, Any],
    fused: bool,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    **checkpoint: str | None,
) -> Generator:
    """Write the original container and an entry for it, and load the model by its id."""
    file = folder / "checkpoint.pth"
    write_container(case, file)
    container = case["container"]
    call = run.get("call") or {}
    sampling = {"truncation": call.get("truncation_psi"), "noise": call.get("noise_mode")}
    config = case["config"] | {
        key: value for key, value in call.items() if key in ("step", "alpha", "truncation_cutoff")
    }
    if case["architecture"] == "improved_diffusion_unet":
        config = {"improved": config, "size": run["outputs"]["eps"]["shape"][2:]}
    shape = next(iter(run["outputs"].values()))["shape"] if "outputs" in run else [1, 1, 1, 1]
    entry = {
        "title": case["case"],
        "family": FAMILIES[case["architecture"]],
        "output": {
            **{"type": "image", "size": None, "channels": shape[1], "masks": 0},
            **{"range": [-1, 1], "spacing": None},
        },
        "config": config,
        "sampling": {"latent": "normal", "norm_stats": NORM_STATS[run["mode"]], "steps": None} | sampling,
        "weights": [{"kind": "local", "path": str(file), "sha256": None}],
        "checkpoint": {
            "container": "torch",
            "key": checkpoint.get("key", ".".join(container.get("state_dict_at", [])) or None),
            "strip_prefix": checkpoint.get(
                "prefix", run.get("weights_tag_prefix") or container.get("key_prefix") or None
            ),
            "ema": checkpoint.get("ema"),
        },
    }
    return load_conformance(folder, monkeypatch, fused, **entry)


def write_container(case: dict[str, Any], path: Path) -> None:
    """``torch.save`` of the file as the case describes it, everything that must be ignored included."""
    container = case["container"]
    prefix, at = container["key_prefix"], container["state_dict_at"]
    content: Any = {}
    for tag in tag_prefixes(case) or [""]:
        content |= {(tag or prefix) + key: value for key, value in weights(case["case"], tag).items()}
    content |= leftovers(case.get("stale_buffers", []), prefix) | leftovers(container.get("module_buffers", []), "")
    if any("discriminator." in ignored["what"] for ignored in container["must_ignore"]):
        content["discriminator.main.weight"] = torch.zeros(2, 2)
    for key in reversed(at):
        content = {key: content}
    for ignored in container["must_ignore"]:
        if ignored["at"] and ignored["at"] != at:
            content[ignored["at"][0]] = {prefix + "main.weight": torch.zeros(2, 2)}
    if "g_ema_tag_prefix" in container and "g_ema" in content:
        averaged = weights(case["case"], container["g_ema_tag_prefix"])
        content["g_ema"] = [averaged[key] for key in case["parameter_order"]]
    torch.save(content, path)


def tag_prefixes(case: dict[str, Any]) -> list[str]:
    """The prefixes of all sets of weights that the file holds, where the prefix is the choice to get right."""
    return sorted({run["weights_tag_prefix"] for run in case.get("runs", []) if run.get("weights_tag_prefix")})


def leftovers(stated: list[Any], prefix: str) -> dict[str, torch.Tensor]:
    """Buffers that must do no harm, whatever their values."""
    return {prefix + key: torch.ones(shape, dtype=getattr(torch, kind)) for key, shape, kind in stated}


@lru_cache(maxsize=2)  # the same weights again and again, seconds each
def weights(name: str, tag_prefix: str) -> dict[str, torch.Tensor]:
    case = json.loads((CASES / f"{name}.json").read_text())
    arrays = fill().fill_state_dict(case["state_dict"], case["fill"], tag_prefix)
    return {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}


def compare(found: torch.Tensor, golden: dict[str, Any], tolerance: dict[str, float], name: str) -> None:
    """Shape, values at the stored places, and the statistics of every channel."""
    assert list(found.shape) == golden["shape"], name
    array = found.detach().numpy()
    limits = {"atol": tolerance["suggested_atol"], "rtol": tolerance["suggested_rtol"]}
    np.testing.assert_allclose(array.ravel()[golden["index"]], golden["value"], err_msg=name, **limits)
    channels = tuple(axis for axis in range(array.ndim) if axis != 1)
    np.testing.assert_allclose(array.mean(channels), golden["channel_mean"], err_msg=name, **limits)
    np.testing.assert_allclose(array.std(channels), golden["channel_std"], err_msg=name, **limits)
    np.testing.assert_allclose([array.min(), array.max()], [golden["min"], golden["max"]], err_msg=name, **limits)
