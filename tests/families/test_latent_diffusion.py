"""Latent diffusion: what diffusers saves gives what its own pipelines give, and what does not fit is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import medzoo
from medzoo.cli import main
from medzoo.conditions import from_words
from medzoo.entry import Condition
from medzoo.errors import (
    CheckpointError,
    ConditionError,
    EntryError,
    GenerationError,
    MedzooError,
    WeightsError,
)
from medzoo.families import get_family
from medzoo.families._base import Generator
from medzoo.families._clip_text import read_tokenizer
from medzoo.families._condition import Given
from medzoo.randomness import Replay
from tests.conftest import entry_fields
from tests.tools import ldm_case as case
from tests.tools.servers import COMMIT, HubServer

pytest.importorskip("diffusers", reason="diffusers is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers

FAMILY = "latent_diffusion"
PROMPTS = ["a lung", "no cancer in a lung at all, and many words more than fit"]
IMAGE = {"inputs": ["image"], "channels": 3, "size": [case.SIZE, case.SIZE]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion 1.x, tiny."""
    return case.saved(case.stable_diffusion(), tmp_path_factory.mktemp("sd"))


def load(weights: Any, fused: bool = True, **override: Any) -> Generator:
    """Through the ordinary loader; few steps."""
    sampling = {"steps": 4} | override.pop("sampling", {})
    return medzoo.load(
        family=FAMILY, weights=weights, override={"sampling": sampling} | override, device="cpu", fused=fused
    )


def shown(raw: torch.Tensor) -> torch.Tensor:
    return (raw / 2 + 0.5).clamp(0, 1)


def draws(seed: int, count: int, n: int = 2) -> list[torch.Tensor]:
    """What diffusers' pipelines draw from a generator, in their order."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 4, case.SIZE // 2, case.SIZE // 2, generator=generator) for _ in range(count)]


def check_text(pipeline: Any, generator: Generator, guidance: float, **more: Any) -> None:
    latents, noise = generator.latents([0, 1]), draws(5, 4)
    expected = pipeline(
        PROMPTS, height=case.SIZE, width=case.SIZE, num_inference_steps=4, guidance_scale=guidance, latents=latents,
        generator=torch.Generator().manual_seed(5), output_type="pt", **more,
    ).images  # fmt: skip
    asked = {"text": PROMPTS, "image": more["image"].numpy()} if "image" in more else PROMPTS
    found = shown(generator.decode(latents, asked, noise=Replay(noise, 2)))
    assert expected.std() > 0.02
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("sampler", "changes", "fused"),
    [
        ("DDIMScheduler", {}, True),
        ("DDIMScheduler", {}, False),
        ("DDPMScheduler", {}, True),  # draws noise at each step
        ("DPMSolverMultistepScheduler", {"prediction_type": "v_prediction"}, True),
        ("HeunDiscreteScheduler", {"use_karras_sigmas": True}, False),
    ],
)
def test_stable_diffusion_equals_diffusers(tmp_path: Path, sampler: str, changes: dict[str, Any], fused: bool) -> None:
    pipeline = case.stable_diffusion(case.scheduler(sampler, **changes))
    generator = load(case.saved(pipeline, tmp_path), fused)
    assert generator.entry.sampling.guidance == 7.5 and generator.config.text_encoder is not None
    check_text(pipeline, generator, 7.5)


def test_the_layout_of_stable_diffusion_2_equals_diffusers(tmp_path: Path) -> None:
    """v-prediction, a linear projection, heads of one width, GELU, and prompts filled up with an exclamation mark."""
    pipeline = case.stable_diffusion(
        case.scheduler(prediction_type="v_prediction"),
        case.text_unet(attention_head_dim=(2, 4), use_linear_projection=True, upcast_attention=True),
        case.text_encoder(hidden_act="gelu", num_hidden_layers=3),
        case.tokenizer(pad_token="!"),
    )
    generator = load(case.saved(pipeline, tmp_path), sampling={"guidance": 3.0})
    assert generator.config.pad_token == "!"
    check_text(pipeline, generator, 3.0)


def test_controlnet_equals_diffusers(tmp_path: Path) -> None:
    import diffusers

    unet = case.text_unet()
    control = diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8))
    pipeline = case.stable_diffusion(unet=unet, control=case.lively(control, 6))
    image = torch.rand(2, 3, case.SIZE, case.SIZE)
    generator = load(case.saved(pipeline, tmp_path), condition={"inputs": ["image"]})
    check_text(pipeline, generator, 7.5, image=image)
    other = generator.generate(1, {"text": PROMPTS[0], "image": 1 - image[:1].numpy()})
    same = generator.generate(1, {"text": PROMPTS[0], "image": image[:1].numpy()})
    assert abs(other.images - same.images).max() > 1e-3
    with pytest.raises(ConditionError, match=r"00000_\w+ needs an image; it takes a text: a prompt for all"):
        generator.generate(1, "a lung")


@pytest.mark.parametrize(("strength", "fused"), [(0.5, True), (0.8, False)])
def test_image_to_image_equals_diffusers(folder: Path, strength: float, fused: bool) -> None:
    import diffusers

    pipeline = case.quiet(diffusers.StableDiffusionImg2ImgPipeline(**case.stable_diffusion().components))
    images = torch.rand(2, 3, case.SIZE, case.SIZE)
    generator = load(folder, fused, condition=IMAGE, sampling={"strength": strength, "guidance": 2.0})
    expected = pipeline(
        PROMPTS, images, strength=strength, num_inference_steps=4, guidance_scale=2.0,
        generator=torch.Generator().manual_seed(7), output_type="pt",
    ).images  # fmt: skip
    of_encoder, start = draws(7, 2)
    asked = {"text": PROMPTS, "image": images.numpy()}
    found = shown(generator.decode(start, asked, noise=Replay([of_encoder], 2)))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    alone = generator.generate(1, "a lung")  # without an image sampling begins with noise
    assert alone.condition == ("a lung",)


def test_unconditional_with_a_vq_autoencoder_equals_diffusers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import LDMPipeline

    pipeline = case.quiet(LDMPipeline(case.autoencoder("VQModel"), case.plain_unet(), case.scheduler()))
    generator = load(case.saved(pipeline, tmp_path))
    assert generator.entry.condition is None and generator.entry.sampling.guidance is None
    module = sys.modules[LDMPipeline.__module__]
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: generator.latents(range(3)))
    expected = pipeline(batch_size=3, num_inference_steps=4, output_type="np").images.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(generator.generate(3).images, expected, atol=1e-4)


def by_hand(pipeline_parts: tuple[Any, Any, Any], latents: torch.Tensor, guidance: float, ask: Any) -> torch.Tensor:
    """The loop that diffusers has no pipeline for: a class, or an image joined to the latents."""
    unet, vae, schedule = pipeline_parts
    schedule.set_timesteps(4)
    with torch.no_grad():
        for t in schedule.timesteps:
            without, with_it = (ask(unet, latents, t, none) for none in (True, False))
            latents = schedule.step(without + guidance * (with_it - without), t, latents).prev_sample
        return vae.decode(latents / vae.config.scaling_factor).sample


def files(folder: Path, unet: Any, vae: Any, schedule: Any) -> dict[str, Path]:
    for name, part in (("unet", unet), ("vae", vae), ("scheduler", schedule)):
        part.save_pretrained(folder / name)
    numbers = "diffusion_pytorch_model.safetensors"
    found = {part: folder / part / numbers for part in ("unet", "vae")}
    found |= {f"{part}/config": folder / part / "config.json" for part in ("unet", "vae")}
    return found | {"scheduler/scheduler_config": folder / "scheduler" / "scheduler_config.json"}


def test_a_class_with_guidance(tmp_path: Path) -> None:
    """The last of four classes stands for none."""
    parts = (case.plain_unet(num_class_embeds=4), case.autoencoder(), case.scheduler())
    generator = load(files(tmp_path, *parts), config={"null_class": 3}, sampling={"guidance": 4.0})
    assert generator.declared is not None and generator.declared.classes == ("0", "1", "2")

    def ask(unet: Any, x: torch.Tensor, t: torch.Tensor, none: bool) -> torch.Tensor:
        return unet(x, t, class_labels=torch.tensor([3, 3] if none else [2, 0])).sample

    latents = generator.latents([0, 1])
    expected = by_hand(parts, latents, 4.0, ask)
    torch.testing.assert_close(generator.decode(latents, ["2", "0"]), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("images", ["resize", "encode"])
def test_an_image_joined_to_the_latents(tmp_path: Path, images: str) -> None:
    more, channels = (1, 1) if images == "resize" else (4, 3)
    parts = (case.plain_unet(in_channels=4 + more), case.autoencoder(), case.scheduler())
    condition = {"kind": "mask", "inputs": ["organ"], "channels": channels}
    generator = load(files(tmp_path, *parts), config={"images": images}, condition=condition)
    mask = torch.zeros(2, channels, case.SIZE, case.SIZE)
    mask[:, :, 3:9, 2:12] = 1
    joined = 2 * mask[:, :, ::2, ::2] - 1
    if images == "encode":
        with torch.no_grad():
            joined = parts[1].encode(2 * mask - 1).latent_dist.mean * parts[1].config.scaling_factor

    def ask(unet: Any, x: torch.Tensor, t: torch.Tensor, none: bool) -> torch.Tensor:
        return unet(torch.cat([x, joined], 1), t).sample

    latents = generator.latents([0, 1])
    found = generator.decode(latents, mask.numpy())
    torch.testing.assert_close(found, by_hand(parts, latents, 1.0, ask), atol=1e-4, rtol=0)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def entry_of_hub(folder: Path, server: HubServer, registry: Path) -> dict[str, Any]:
    """An entry whose parts lie on the Hub; its YAML file is in ``registry``."""
    from medzoo.weights import diffusers_folder

    sources = []
    for part, path in diffusers_folder.read(folder)[0].items():
        name = str(path.relative_to(folder))
        sha256 = server.add("org/tiny", name, path.read_bytes())
        sources.append(
            {"kind": "hub", "repo": "org/tiny", "revision": COMMIT, "file": name, "sha256": sha256, "part": part}
        )
    output = {"type": "image", "size": [16, 16], "channels": 3, "masks": 0, "range": [-1.0, 1.0], "spacing": None}
    fields = entry_fields(
        family=FAMILY, config={}, output=output, weights=sources, condition={"kind": "text"},
        sampling={"latent": "normal", "steps": 4, "guidance": 7.5},
    )  # fmt: skip
    registry.mkdir(exist_ok=True)
    (registry / "99001_TINY.yaml").write_text(json.dumps(fields))
    return fields


def test_an_entry_of_the_hub(folder: Path, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = entry_of_hub(folder, hub, tmp_path / "registry")
    monkeypatch.setenv("MEDZOO_REGISTRY", str(tmp_path / "registry"))
    found = medzoo.load("99001", device="cpu").generate(2, PROMPTS)
    np.testing.assert_allclose(found.images, load(folder).generate(2, PROMPTS).images, atol=1e-6)
    left = [source for source in fields["weights"] if source["part"] != "vae"]
    (tmp_path / "registry" / "99001_TINY.yaml").write_text(json.dumps(fields | {"weights": left}))
    with pytest.raises(CheckpointError, match="99001_TINY: the part 'vae' is missing"):
        medzoo.load("99001", device="cpu")
    del hub.files["org/tiny/text_encoder/config.json"]
    (tmp_path / "registry" / "99001_TINY.yaml").write_text(json.dumps(fields))
    monkeypatch.setenv("MEDZOO_CACHE", str(tmp_path / "another"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "another"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "another"))
    with pytest.raises(WeightsError, match="text_encoder/config.json"):
        medzoo.load("99001", device="cpu")


def test_prompts_on_the_command_line(
    folder: Path, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry_of_hub(folder, hub, tmp_path / "registry")
    monkeypatch.setenv("MEDZOO_REGISTRY", str(tmp_path / "registry"))
    out = tmp_path / "out"
    arguments = ["generate", "99001", "--condition", "a lung, size=3", "--condition", "5", "--out", str(out)]
    result = CliRunner().invoke(main, [*arguments, "--device", "cpu", "--quiet"])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [line["condition"] for line in lines if "condition" in line and "index" in line] == ["a lung, size=3", "5"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a=b, 5"], "a=b, 5"),
        (["image"], "image"),
        (["text=image=3", "x"], ["image=3", "x"]),
        (["a lung", "image=x.png"], {"text": "a lung", "image": "x.png"}),
        (["image=x.png"], {"text": None, "image": "x.png"}),
        ([], None),
    ],
)
def test_prompts_and_an_image_on_the_command_line(words: list[str], expected: Any) -> None:
    declared = Condition.model_validate(IMAGE | {"kind": "text"})
    assert from_words(declared, tuple(words)) == expected


def test_one_file_of_the_original_layout(folder: Path, tmp_path: Path) -> None:
    """Converted as it is read; averaged weights go before others."""
    pipeline = case.stable_diffusion()
    state = case.single_file(pipeline)
    config = {part: json.loads((folder / part / "config.json").read_text()) for part in ("unet", "vae", "text_encoder")}
    schedule = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    config["schedule"] = {name: value for name, value in schedule.items() if name in case.SCHEDULE}
    config["schedule"] |= {"clip_sample": False, "set_alpha_to_one": False, "method": "ddim"}
    for key, value in list(state.items()):
        if key.startswith("model.diffusion_model."):  # the averaged weights, under names without dots
            state["model_ema." + key.removeprefix("model.").replace(".", "")] = value
            state[key] = 2 * value
    torch.save({"state_dict": state, "global_step": 3}, tmp_path / "model.ckpt")
    weights = {"checkpoint": tmp_path / "model.ckpt", "tokenizer/tokenizer": folder / "tokenizer" / "tokenizer.json"}
    changes = {"config": config, "checkpoint": {"key": "state_dict"}, "sampling": {"guidance": 7.5}}
    found = load(weights, **changes).generate(2, PROMPTS)
    np.testing.assert_allclose(found.images, load(folder).generate(2, PROMPTS).images, atol=1e-6)

    broken = {key: value for key, value in state.items() if "time_embed" not in key}
    torch.save({"state_dict": broken}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match="missing: unet.time_embedding.linear_1.weight"):
        load(weights, **changes)


def test_stable_diffusion_1_is_recognised_by_its_shapes() -> None:
    first, attends = "input_blocks.0.0.weight", "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    state = {first: torch.empty(320, 4, 3, 3, device="meta"), attends: torch.empty(320, 768, device="meta")}
    state = {f"checkpoint.model.diffusion_model.{key}": value for key, value in state.items()}
    family = get_family(FAMILY)
    config = family.Config.model_validate(family.infer(state))
    assert family.output(config) == (3, (512, 512))
    with torch.device("meta"):
        empty = object.__new__(family)
        empty.config = config
        network = empty.build()
    weights = list(network.unet.parameters())
    assert sum(weight.numel() for weight in weights) == 859_520_964  # as published


def test_names_of_older_versions(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    old = shutil.copytree(folder, tmp_path / "old")
    path = old / "vae" / "diffusion_pytorch_model.safetensors"
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for key, value in load_file(path).items():
        for today, before in names.items():
            key = key.replace(f"attentions.0.{today}", f"attentions.0.{before}")
        state[key] = value
    assert any("proj_attn" in key for key in state)
    save_file(state, path)
    path = old / "text_encoder" / "model.safetensors"
    state = {f"text_model.{key}": value for key, value in load_file(path).items()}
    torch.save(state | {"text_model.embeddings.position_ids": torch.arange(10)[None]}, path.with_name("model.bin"))
    path.unlink()
    # Weights of another file lie otherwise in memory, which decides the last digits on some processors.
    found, expected = (load(one).generate(1, "a lung").images for one in (old, folder))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_both_files_of_a_tokenizer_say_the_same(folder: Path) -> None:
    def as_bytes(text: str) -> torch.Tensor:
        return torch.tensor(list(text.encode())).byte()

    merges = "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in case.MERGES)
    two = {"tokenizer/vocab.text": as_bytes(json.dumps(case.VOCABULARY)), "tokenizer/merges.text": as_bytes(merges)}
    one = {"tokenizer/tokenizer.text": as_bytes((folder / "tokenizer" / "tokenizer.json").read_text())}
    theirs = case.tokenizer(pad_token="!")
    for state in (one, two):
        for text in (PROMPTS[0], "", "LUNG  lung!"):
            assert read_tokenizer(state, "!", 200)(text).input_ids == theirs(text).input_ids
    with pytest.raises(CheckpointError, match="the parts tokenizer/vocab .* are missing"):
        read_tokenizer({}, "!", 200)
    with pytest.raises(CheckpointError, match="vocabulary goes to 199, the text encoder knows 150"):
        read_tokenizer(one, "!", 150)
    with pytest.raises(CheckpointError, match=r"\('x', 'yz'\) is no merge"):
        read_tokenizer(two | {"tokenizer/merges.text": as_bytes("x yz")}, "!", 200)
    halves = dict.fromkeys((f"\ud800{i}" for i in range(50)), 1)  # which JSON may hold, and UTF-8 may not
    with pytest.raises(CheckpointError, match="its vocabulary makes no tokenizer"):
        read_tokenizer(two | {"tokenizer/vocab.text": as_bytes(json.dumps(case.VOCABULARY | halves))}, "!", 200)


def test_networks_are_made_once_and_without_numbers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A billion random numbers nobody needs take longer than reading the file."""
    made: list[bool] = []
    family = get_family(FAMILY)
    build = family.build

    def counted(self: Any) -> Any:
        network = build(self)
        made.append(all(weight.is_meta for weight in network.parameters()))
        return network

    monkeypatch.setattr(family, "build", counted)
    load(folder)
    assert made == [True]


def test_equal_prompts_are_encoded_once(folder: Path) -> None:
    generator = load(folder)
    asked: list[int] = []
    encoder = generator.network.text_encoder
    encoder.register_forward_hook(lambda *_, **__: asked.append(1))
    whole = generator.generate(6, ["a", "b", "a", "a", "b", "a"], batch_size=6)
    assert len(asked) == 1
    np.testing.assert_allclose(generator.generate(2, "a", start=2).images, whole.images[2:4], atol=1e-5)
    latents = generator.latents([2]).requires_grad_()
    load(folder, False).decode(latents, "a").sum().backward()
    assert len(asked) == 1 and latents.grad is not None and latents.grad.abs().sum() > 0


def test_decoding_takes_fewer_images_at_a_time_where_memory_is_short(folder: Path) -> None:
    generator = load(folder)
    whole = generator.generate(3, "a lung")
    decode, sizes = generator._decode, []  # type: ignore[attr-defined]

    def short(latents: torch.Tensor) -> torch.Tensor:
        sizes.append(len(latents))
        if len(latents) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(latents)

    generator._decode = short  # type: ignore[attr-defined]
    np.testing.assert_allclose(generator.generate(3, "a lung", batch_size=3).images, whole.images, atol=1e-6)
    assert sizes == [3, 1, 1, 1]


def test_tiles_are_for_images_larger_than_those_of_training(folder: Path) -> None:
    plain = load(folder, config={"size": [32, 24]})
    tiled = load(folder, config={"size": [32, 24], "tiled": True})
    one, two = plain.generate(1, "a lung").images, tiled.generate(1, "a lung").images
    assert one.shape == two.shape == (1, 3, 32, 24)
    assert 0 < abs(one - two).mean() < 0.1


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision(folder: Path, precision: str) -> None:
    exact = load(folder).generate(1, "a lung").images
    generator = medzoo.load(
        family=FAMILY, weights=folder, override={"sampling": {"steps": 4}}, device="cpu", precision=precision
    )
    assert 0 < abs(generator.generate(1, "a lung").images - exact).mean() < 0.05


def test_without_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("diffusers", "transformers"):
        with monkeypatch.context() as hidden:
            hidden.setitem(sys.modules, name, None)
            with pytest.raises(MedzooError, match=f"needs the package {name}; type: .*diffusers"):
                load(folder)


Change = Callable[[Path], None]


def edit(file: str, **changes: Any) -> Change:
    """Other fields in a JSON file of a folder."""

    def change(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(content | changes))

    return change


def edit_tokenizer(**changes: Any) -> Change:
    def change(folder: Path) -> None:
        file = folder / "tokenizer/tokenizer.json"
        content = json.loads(file.read_text())
        content["model"] |= changes
        file.write_text(json.dumps(content))

    return change


@pytest.mark.parametrize(
    ("change", "override", "message"),
    [
        (edit("unet/config.json", colour="blue"), {}, "config.unet.colour is no field of UNet2DConditionModel; known"),
        (edit("unet/config.json", _class_name="Flux"), {}, "config.unet._class_name must be UNet2DModel or UNet2D"),
        (edit("unet/config.json", sample_size={"a": 1}), {}, "config.unet.sample_size must be a number"),
        (edit("unet/config.json", addition_embed_type="text"), {}, "config.unet.addition_embed_type must be null"),
        (edit("unet/config.json", sample_size=None), {}, "config.unet.sample_size is null: state size"),
        (edit("unet/config.json", in_channels=3), {}, "config.unet.in_channels must be at least 4"),
        (edit("unet/config.json", out_channels=3), {}, "config.unet.out_channels must be the 4 channels"),
        (edit("unet/config.json", sample_size=[8, "x"]), {}, "config.unet.sample_size must be a whole number"),
        (edit("text_encoder/config.json", num_hidden_layers=10**9), {}, "num_hidden_layers must lie between 0 and 100"),
        (edit("text_encoder/config.json", vocab_size="x"), {}, "text_encoder.vocab_size must be a whole number"),
        (edit("text_encoder/config.json", eos_token_id=None), {}, "text_encoder.eos_token_id must not be null"),
        (edit("text_encoder/config.json", hidden_act="evil"), {}, "text_encoder: its fields make no network"),
        (edit("unet/config.json", act_fn="evil"), {}, "'config' does not make a network .*evil"),
        (edit("vae/config.json", _class_name=None), {}, "config.vae._class_name must be AutoencoderKL or VQModel"),
        (edit("text_encoder/config.json", colour=1), {}, "text_encoder.colour is not known"),
        (edit("text_encoder/config.json", architectures=["T5"]), {}, r"must be \[CLIPTextModel\], found \[\'T5\'\]"),
        (edit("scheduler/scheduler_config.json", _class_name="Mine"), {}, "scheduler 'Mine' is not known"),
        (edit("model_index.json", vae=["here", "Mine"]), {}, "'vae' must be AutoencoderKL or VQModel, found Mine"),
        (edit("model_index.json", other=["a", "B"]), {}, "the part 'other' is not known; known are unet, vae"),
        (edit_tokenizer(merges=5), {}, "expected a list of merges, found 5"),
        (edit_tokenizer(merges=[["l", ["u"]]]), {}, "is no merge of two words of the vocabulary"),
        (edit_tokenizer(merges=[None]), {}, "None is no merge of two words"),
        (edit_tokenizer(vocab={"a": -1}), {}, "a vocabulary of words and their numbers, 0 and more"),
        (lambda path: (path / "vae" / "config.json").write_text("{"), {}, "vae/config.json: expected JSON"),
        (lambda path: (path / "unet" / "config.json").unlink(), {}, "unet: expected config.json and numbers"),
        (lambda path: shutil.rmtree(path / "tokenizer"), {}, "tokenizer: expected vocab.json"),
        (lambda path: (path / "model_index.json").write_text("5"), {}, "names no parts of a pipeline"),
        (lambda path: (path / "model_index.json").write_text("[" * 10**5), {}, "model_index.json: cannot be read"),
        (None, {"sampling": {"steps": 2000}}, "steps of sampler ddim go up to 1000, found 2000"),
        (None, {"sampling": {"strength": 0.5}}, "sampling.strength goes with an image to begin with"),
        (None, {"condition": IMAGE}, "sampling.strength: say how much noise"),
        (None, {"condition": {"kind": "class", "classes": ["a"]}}, "the unet has 0 of them, the entry names 1"),
        (None, {"config": {"size": [33, 16]}}, "config.size must be multiples of 2"),
        (None, {"config": {"size": [0, 16]}}, "config.size must be multiples of 2"),
    ],
)  # fmt: skip
def test_what_does_not_fit(
    folder: Path, tmp_path: Path, change: Change | None, override: dict[str, Any], message: str
) -> None:
    copy = folder
    if change is not None:
        copy = shutil.copytree(folder, tmp_path / "copy")
        change(copy)
    with pytest.raises((CheckpointError, EntryError, GenerationError), match=message):
        load(copy, **override)


def test_guidance_needs_something_to_lead_away_from(tmp_path: Path) -> None:
    parts = files(tmp_path, case.plain_unet(), case.autoencoder(), case.scheduler())
    with pytest.raises(CheckpointError, match="sampling.guidance weighs a condition against none"):
        load(parts, sampling={"guidance": 2.0})
    generator = load(parts)
    with pytest.raises(ConditionError, match="takes no condition, found 'a lung'; leave it out"):
        generator.generate(1, "a lung")
    del parts["unet/config"]
    with pytest.raises(CheckpointError, match=r"missing unet; add the part unet/config \(unet/config.json\)"):
        load(parts)


def test_images_of_another_size(tmp_path: Path) -> None:
    parts = files(tmp_path, case.plain_unet(in_channels=5), case.autoencoder(), case.scheduler())
    with pytest.raises(CheckpointError, match="condition: the unet takes an image of 1 channels, the entry states no"):
        load(parts, condition=None)
    generator = load(parts, condition={"kind": "mask", "inputs": ["organ"], "size": None})
    with pytest.raises(
        ConditionError, match=r"takes images of 1 x 16 x 16 \(channels x height x width\), found 1 x 8 x 16"
    ):
        generator.generate(1, np.zeros((8, 16), np.uint8))
    with pytest.raises(ConditionError, match="needs a mask, 'organ'"):
        generator.generate(1)
    with pytest.raises(ConditionError, match="needs a mask, 'organ'"):
        generator.decode(generator.latents([0]), Given())


def test_the_hash_of_a_folder_is_that_of_all_files(folder: Path, tmp_path: Path) -> None:
    one = load(folder).weights_sha256
    copy = shutil.copytree(folder, tmp_path / "copy")
    edit("scheduler/scheduler_config.json", beta_end=0.011)(copy)
    assert one is not None and len(one) == len(hashlib.sha256().hexdigest()) and load(copy).weights_sha256 != one
    with pytest.raises(WeightsError, match="is a folder, not a file, and has no model_index.json"):
        load(folder / "unet")
