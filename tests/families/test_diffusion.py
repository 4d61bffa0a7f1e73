"""Diffusion models that diffusers itself saved, through the ordinary loader, against diffusers' own loop."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants  # noqa: F401  (reads the environment once: before a test changes it)
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

import medzoo
from medzoo import zoo
from medzoo.cli import main
from medzoo.errors import CheckpointError, ConditionError, EntryError, GenerationError, MedzooError, pip_install
from medzoo.families._base import Generator
from medzoo.families._condition import Given
from medzoo.randomness import Noise
from tests.conftest import entry_fields
from tests.tools.diffusers_loop import NAMES, reference
from tests.tools.servers import HubServer

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers

SMALL = {
    "sample_size": 16, "in_channels": 1, "out_channels": 1, "block_out_channels": (8, 16), "norm_num_groups": 4,
    "layers_per_block": 1, "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"), "attention_head_dim": 4,
}  # fmt: skip
SCHEDULE = {"num_train_timesteps": 50, "beta_end": 0.1}
PLANE = {"kind": "class", "classes": ["axial", "coronal", "sagittal"]}


def images(n: int = 2) -> np.ndarray:
    """Smooth grey images uint8 [n, 1, 16, 16], all different."""
    y, x = np.mgrid[:16, :16]
    return np.array([[127 + 120 * np.sin((x + 2 * y) / (3 + i) + i)] for i in range(n)]).astype(np.uint8)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Any]:
    """``saved(schedule, **unet) -> pipeline``, written to ``tmp_path / "pipe"`` by diffusers."""

    def save(schedule: dict[str, Any] | None = None, **changes: Any) -> Any:
        torch.manual_seed(0)
        unet = diffusers.UNet2DModel(**SMALL | changes).eval()
        scheduler = diffusers.DDPMScheduler(**SCHEDULE | (schedule or {}))
        pipeline = diffusers.DDPMPipeline(unet, scheduler)
        pipeline.set_progress_bar_config(disable=True)
        pipeline.save_pretrained(tmp_path / "pipe")
        return pipeline

    return save


def load(folder: Path, fused: bool = False, **override: Any) -> Generator:
    folder = folder / "pipe"
    files = {
        "unet": folder / "unet/diffusion_pytorch_model.safetensors", "unet/config": folder / "unet/config.json",
        "scheduler/scheduler_config": folder / "scheduler/scheduler_config.json",
    }  # fmt: skip
    return medzoo.load(family="diffusion", weights=files, override=override, fused=fused, device="cpu")


def loop(
    generator: Generator, pipeline: Any, method: str, steps: int, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> Tensor:
    """diffusers' own loop with the noise of samples 0 and 1."""
    noise = Noise(0, range(2))
    assert generator.latent_shape is not None
    shape = generator.latent_shape

    def draw(*unused: Any, **ignored: Any) -> Tensor:
        return noise.normal(shape)

    fields = json.loads(pipeline.scheduler.to_json_string()) | {"use_karras_sigmas": method == "heun"}
    with torch.no_grad():
        run = {"predict": lambda x, t: pipeline.unet(x, t).sample} | options
        return reference(fields, method, steps, noise.latent(shape), draw, monkeypatch, **run)


def near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_every_sampler_and_prediction(
    prediction: str, saved: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = saved({"prediction_type": prediction})
    generators = [load(tmp_path, fused, sampling={"steps": 4}) for fused in (False, True)]
    for method in NAMES:
        expected = loop(generators[0], pipeline, method, 4, monkeypatch)
        for generator in generators:
            generator.sampler = method
            with torch.no_grad():
                near(generator.decode(generator.latents(range(2))), expected)


@pytest.mark.parametrize("fused", [False, True])
def test_the_pipeline_of_diffusers_gives_the_same_images(
    fused: bool, saved: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = saved({"variance_type": "fixed_large"}, in_channels=3, out_channels=3)
    generator = load(tmp_path, fused, sampling={"steps": 10})
    noise = Noise(4, range(7, 9))
    draws = iter([noise.latent((3, 16, 16)), *[noise.normal((3, 16, 16)) for _ in range(10)]])
    for module in ("pipelines.ddpm.pipeline_ddpm", "schedulers.scheduling_ddpm"):
        monkeypatch.setattr(f"diffusers.{module}.randn_tensor", lambda *unused, **ignored: next(draws))
    expected = pipeline(batch_size=2, num_inference_steps=10, output_type="np").images
    samples = generator.generate(2, seed=4, start=7)
    np.testing.assert_allclose(samples.images.transpose(0, 2, 3, 1), expected, atol=1e-4)
    one = generator.generate(1, seed=4, start=8)
    np.testing.assert_allclose(one.images[0], samples.images[1], atol=1e-5)


def test_a_class_and_guidance(saved: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers' DDPMPipeline cannot do this; its network and schedulers can."""
    pipeline = saved({"prediction_type": "v_prediction"}, num_class_embeds=4)
    labels, null = torch.tensor([2, 0]), torch.tensor([3, 3])
    sampling = {"steps": 4, "guidance": 3.0}
    generators = [load(tmp_path, fused, sampling=sampling, condition=PLANE) for fused in (False, True)]
    for method, scale in (("ddpm", 1.0), ("ddim", 3.0), ("dpm++", 3.0), ("heun", 0.0)):

        def predict(x: Tensor, t: Tensor, scale: float = scale) -> Tensor:
            without, with_it = (pipeline.unet(x, t, class_labels=one).sample for one in (null, labels))
            return without + scale * (with_it - without)

        expected = loop(generators[0], pipeline, method, 4, monkeypatch, predict=predict)
        for generator in generators:
            generator.sampler, generator.guidance = method, scale
            with torch.no_grad():
                near(generator.decode(generator.latents(range(2)), ["sagittal", "axial"]), expected)


def test_a_mask_beside_the_image(saved: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = saved(in_channels=2)
    generator = load(tmp_path, True, sampling={"sampler": "ddim", "steps": 5})
    assert generator.declared is not None and (generator.declared.kind, generator.declared.channels) == ("mask", 1)
    masks = torch.from_numpy((images() > 128).astype(np.float32))

    def predict(x: Tensor, t: Tensor) -> Tensor:
        return pipeline.unet(torch.cat([x, 2 * masks - 1], 1), t).sample  # type: ignore[no-any-return]

    expected = loop(generator, pipeline, "ddim", 5, monkeypatch, predict=predict)
    with torch.no_grad():
        near(generator.decode(generator.latents(range(2)), masks.numpy()), expected)
    with pytest.raises(ConditionError, match=r"the input must be 1 x 16 x 16 .*, found 1 x 8 x 16"):
        generator.decode(None, Given(images=torch.zeros(1, 1, 8, 16)))
    with pytest.raises(ConditionError, match="needs a mask"):
        generator.generate(1)
    resized = generator.generate(1, np.zeros((1, 1, 40, 40), np.uint8))  # the entry's size, here the network's
    assert resized.images.shape == (1, 1, 16, 16)


def test_a_learned_variance(saved: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = saved({"variance_type": "learned_range"}, in_channels=3, out_channels=6)
    for fused in (False, True):
        generator = load(tmp_path, fused, sampling={"steps": 6})
        assert generator.latent_shape == (3, 16, 16) and generator.sampler == "ddpm"  # type: ignore[attr-defined]
        with torch.no_grad():
            near(generator.decode(generator.latents(range(2))), loop(generator, pipeline, "ddpm", 6, monkeypatch))
    other = load(tmp_path, sampling={"steps": 6, "sampler": "ddim"})  # has no use for it

    def predict(x: Tensor, t: Tensor) -> Tensor:
        return pipeline.unet(x, t).sample[:, :3]  # type: ignore[no-any-return]

    with torch.no_grad():
        near(other.decode(other.latents(range(2))), loop(other, pipeline, "ddim", 6, monkeypatch, predict=predict))


def test_an_image_to_begin_with(saved: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = saved()
    declared = {"kind": "image", "inputs": ["slice"], "channels": 1, "size": [16, 16]}
    sampling = {"sampler": "dpm++", "steps": 10, "strength": 0.5}
    generator = load(tmp_path, True, sampling=sampling, condition=declared)
    picture = torch.from_numpy(images().astype(np.float32) / 255)
    expected = loop(generator, pipeline, "dpm++", 10, monkeypatch, image=2 * picture - 1, begin=5)
    with torch.no_grad():
        near(generator.decode(generator.latents(range(2)), picture.numpy()), expected)
    with pytest.raises(GenerationError, match="begins with an image: state how much noise it gets"):
        load(tmp_path, sampling={"strength": None}, condition=declared)


def test_gradients_reach_the_noise(saved: Callable[..., Any], tmp_path: Path) -> None:
    saved({"clip_sample": False, "prediction_type": "v_prediction"})
    generator = load(tmp_path, sampling={"steps": 3, "sampler": "dpm++"})
    start = generator.latents(range(2)).requires_grad_()
    (gradient,) = torch.autograd.grad(generator.decode(start)[0].sum(), start)
    assert gradient[0].abs().max() > 0 and gradient[1].abs().max() == 0


def test_attention_under_the_names_of_2022(saved: Callable[..., Any], tmp_path: Path) -> None:
    pipeline = saved()
    generator = load(tmp_path, sampling={"steps": 2})
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for key, tensor in pipeline.unet.state_dict().items():
        new = next((key.replace(f".{now}.", f".{old}.") for now, old in names.items() if f".{now}." in key), key)
        state[new] = tensor
    assert set(state) != set(pipeline.unet.state_dict())
    torch.save(state, tmp_path / "old.bin")
    parts = {"unet": tmp_path / "old.bin", "unet/config": tmp_path / "pipe/unet/config.json"}
    override = {"sampling": {"steps": 2}, "config": {"schedule": SCHEDULE}}
    old = medzoo.load(family="diffusion", weights=parts, override=override, fused=False, device="cpu")
    # Weights of another file lie otherwise in memory, which decides the last digits on some processors.
    np.testing.assert_allclose(old.generate(1).images, generator.generate(1).images, atol=1e-5)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("HF_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def test_a_repository_of_the_hub(
    hub: HubServer, saved: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved()
    parts = {
        "unet": "unet/diffusion_pytorch_model.safetensors", "unet/config": "unet/config.json",
        "scheduler/scheduler_config": "scheduler/scheduler_config.json",
    }  # fmt: skip
    for file in parts.values():
        hub.add("org/ddpm", file, (tmp_path / "pipe" / file).read_bytes())
    sources = [
        {"kind": "hub", "repo": "org/ddpm", "revision": None, "file": file, "sha256": None, "part": part}
        for part, file in parts.items()
    ]
    output = {"type": "image", "size": [16, 16], "channels": 1, "masks": 0, "range": [-1.0, 1.0], "spacing": None}
    fields = entry_fields(
        family="diffusion", config={}, output=output, weights=sources, sampling={"latent": "normal", "steps": 3}
    )
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry/99001_TINY.yaml").write_text(json.dumps(fields))
    monkeypatch.setenv("MEDZOO_REGISTRY", str(tmp_path / "registry"))
    samples = zoo.generate("99001_TINY", 2)
    np.testing.assert_allclose(samples.images, load(tmp_path, sampling={"steps": 3}).generate(2).images, atol=1e-4)
    del hub.files["org/ddpm/unet/config.json"]
    monkeypatch.setenv("MEDZOO_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "nothing"))
    with pytest.raises(MedzooError, match=r"(?s)99001_TINY.*has no file unet/config\.json"):
        zoo.load("99001_TINY")


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("file", "fields", "message"),
    [
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "must be a UNet2DModel, found 'UNet2DCondition"),
        ("unet/config.json", {"os.system": "x"}, "unet.os.system is no field of UNet2DModel"),
        ("unet/config.json", {"down_block_types": ["EvilBlock", "DownBlock2D"]}, "EvilBlock"),
        (
            "unet/config.json",
            {"layers_per_block": 10**9},
            "unet.layers_per_block must lie between 0 and 100, found 1000",
        ),
        ("unet/config.json", {"block_out_channels": 5}, "unet.block_out_channels must be a list of whole numbers"),
        ("unet/config.json", {"in_channels": "x"}, "unet.in_channels must be a whole number of at least 1, found 'x'"),
        ("unet/config.json", {"attention_head_dim": -1}, "unet.attention_head_dim must lie between 0 and"),
        ("unet/config.json", {"norm_eps": "x"}, "unet.norm_eps must be such as 1e-05, found 'x'"),
        ("unet/config.json", {"norm_eps": float("nan")}, "unet.norm_eps must lie between 0 and"),
        ("unet/config.json", {"act_fn": "x" * 10**6}, "(?s)^.{,1500}$"),
        ("unet/config.json", {"sample_size": 15}, r"size: must be multiples of 2, found \[15, 15\]"),
        ("unet/config.json", {"sample_size": None}, r"size: state \(height, width\)"),
        ("unet/config.json", {"out_channels": 3}, "a network from 1 to 3 channels cannot make images"),
        ("scheduler/scheduler_config.json", {"_class_name": "os.system"}, "scheduler 'os.system' is not known"),
        ("scheduler/scheduler_config.json", {"_class_name": ["x"]}, "scheduler .'x'. is not known"),
        ("scheduler/scheduler_config.json", {"colour": 1}, "scheduler_config.json: colour: unknown field"),
    ],
)
def test_what_is_wrong_in_a_file(
    file: str, fields: dict[str, Any], message: str, saved: Callable[..., Any], tmp_path: Path
) -> None:
    saved()
    change(tmp_path / "pipe" / file, **fields)
    with pytest.raises((CheckpointError, EntryError), match=message):
        load(tmp_path)


def test_files_that_are_missing_or_no_json(saved: Callable[..., Any], tmp_path: Path) -> None:
    saved()
    unet = tmp_path / "pipe/unet"
    with pytest.raises(CheckpointError, match="states no network: 'improved', or 'unet' .*the part unet/config"):
        medzoo.load(family="diffusion", weights={"unet": unet / "diffusion_pytorch_model.safetensors"})
    (unet / "config.json").write_text("{'sample_size': __import__('os')}")
    with pytest.raises(CheckpointError, match=r"unet/config.json: expected JSON"):
        load(tmp_path)
    (unet / "config.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match=r"unet/config.json: expected JSON"):
        load(tmp_path)
    (unet / "config.json").unlink()
    with pytest.raises(MedzooError, match=r"there is no file .*config.json"):
        load(tmp_path)


def test_sampling_that_the_model_cannot_do(saved: Callable[..., Any], tmp_path: Path) -> None:
    saved(num_class_embeds=3)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"sampling": {"steps": 0}}, "sampling.steps: expected greater than or equal to 1"),
        ({"sampling": {"steps": 51}}, "steps of sampler ddpm go up to 50, found 51"),
        ({"sampling": {"steps": 50, "sampler": "dpm++"}}, "steps of sampler dpm.. go up to 49"),
        ({"sampling": {"sampler": "euler"}}, "sampling.sampler: expected 'ddpm', 'ddim'"),
        ({"sampling": {"guidance": 2.0}}, "no class means none .'null_class'., so that guidance"),
        ({"sampling": {"strength": 0.5}}, "begins with noise, not with an image; leave strength out"),
        ({"sampling": {"truncation": 0.5}}, "family 'diffusion' has no truncation; can be chosen: steps, sampler"),
        ({"condition": {"kind": "class", "classes": list("abcd")}}, "the network knows 3 classes, the entry names 4"),
        ({"condition": {"kind": "text", "classes": None}}, "such networks take no text"),
        ({"config": {"null_class": 3}}, "null_class: the network has 3 classes, found 3"),
        ({"config": {"channels": 3}}, "a network from 1 to 1 channels cannot make images of 3"),
    ]
    for override, message in cases:
        with pytest.raises(MedzooError, match=message):
            load(tmp_path, **override)
    guided = load(tmp_path, sampling={"guidance": 2.0, "steps": 2}, config={"null_class": 2})
    assert guided.declared is not None and guided.declared.classes == ("0", "1")
    with pytest.raises(ConditionError, match="needs a class"):
        guided.generate(1)
    with pytest.raises(ConditionError, match=r"needs a class: 0 \(0\), 1 \(1\)"):
        guided.decode(None, Given(images=torch.zeros(1, 1, 16, 16)))
    with pytest.raises(ConditionError, match="the network knows no classes"):
        saved()
        load(tmp_path).decode(None, Given(labels=torch.tensor([0])))


def test_without_diffusers_the_extra_is_named(
    saved: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved()
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(MedzooError, match=re.escape(pip_install("medzoo[diffusers]"))):
        load(tmp_path)


DENOISER = {
    "in_channels": 1, "out_channels": 2, "model_channels": 32, "channel_mult": [1, 1], "num_res_blocks": 1,
    "attention_resolutions": [2], "num_classes": 4,
}  # fmt: skip
QUIET = {"num_train_timesteps": 20, "beta_end": 0.2, "prediction_type": "v_prediction", "clip_sample": False}
OWN = {
    "family": "diffusion", "config": {"improved": DENOISER, "size": [16, 16], "schedule": QUIET}, "condition": PLANE,
    "sampling": {"latent": "normal", "steps": 3},
    "output": {"type": "image", "size": [16, 16], "channels": 1, "masks": 0, "range": [-1, 1], "spacing": None},
}  # fmt: skip


def test_options_of_sampling_on_the_command_line(add_model: Callable[..., str], tmp_path: Path) -> None:
    model_id, out = add_model(**OWN), tmp_path / "out"
    asked = ["generate", model_id, "-n", "2", "--class", "coronal", "--format", "npy", "--quiet", "--out", str(out)]
    chosen = ["--steps", "5", "--sampler", "dpm++", "--guidance", "3"]
    assert CliRunner().invoke(main, asked + chosen).exit_code == 0
    override = {"sampling": {"steps": 5, "sampler": "dpm++", "guidance": 3.0}}
    generator = zoo.load(model_id, override=override)
    run = json.loads((out / "run.json").read_text())
    assert run["revision"] == generator.entry.revision != zoo.info(model_id).revision
    np.testing.assert_allclose(np.load(out / "00000001.npy"), generator.generate(2, "coronal").images[1], atol=1e-5)
    again = CliRunner().invoke(main, [*asked, "--resume"])  # another way of sampling is another run
    assert again.exit_code == 2 and "revision" in again.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "0"], "0 is not in the range x>=1"),
        (["--steps", "21"], "steps of sampler ddpm go up to 20, found 21"),
        (["--sampler", "euler"], "'euler' is not one of"),
        (["--strength", "0.5"], "begins with noise, not with an image"),
        (["--strength", "2"], "2.0 is not in the range 0<x<=1"),
        (["--truncation", "0.7"], "family 'diffusion' has no truncation; can be chosen: steps, sampler, guidance"),
    ],
)
def test_options_that_cannot_be(
    options: list[str], message: str, add_model: Callable[..., str], tmp_path: Path
) -> None:
    result = CliRunner().invoke(main, ["generate", add_model(**OWN), "--out", str(tmp_path / "out"), *options])
    assert result.exit_code == 2 and message in result.output, result.output
    assert not (tmp_path / "out").exists()


def test_options_of_diffusion_are_not_for_a_gan(add_model: Callable[..., str], tmp_path: Path) -> None:
    model_id = add_model()
    for options in (["--steps", "20"], ["--sampler", "ddim"], ["--guidance", "2"], ["--truncation", "0.5"]):
        result = CliRunner().invoke(main, ["generate", model_id, "--out", str(tmp_path / "out"), *options])
        assert result.exit_code == 2, result.output
        assert f"family 'monai_gan' has no {options[0][2:]}; nothing of its sampling can be chosen" in result.output
