"""MONAI's diffusion models through the ordinary loader, against MONAI's own inferers on the same noise."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

import medzoo
from medzoo import catalog, device
from medzoo.cli import main
from medzoo.errors import (
    CheckpointError,
    ConditionError,
    EntryError,
    GenerationError,
    MedzooError,
    WeightsError,
    pip_install,
)
from medzoo.families._base import Generator
from medzoo.families._condition import Given
from medzoo.families.monai_ldm import MonaiLdm, decoding
from medzoo.families.monai_ldm.config import check_condition
from medzoo.families.monai_ldm.networks import renamed
from medzoo.families.monai_ldm.orientation import turn
from medzoo.randomness import Replay
from tests.conftest import entry_fields, random_state
from tests.tools import ldm_case
from tests.tools.servers import HubServer

pytest.importorskip("monai.networks.nets", reason="MONAI is not installed")
pytest.importorskip("einops", reason="einops is not installed")

STACK = {"channels": (4, 8), "attention_levels": (False, True), "num_res_blocks": 1, "norm_num_groups": 2}
AUTOENCODER = STACK | {"latent_channels": 3, "attention_levels": (False, False), "with_decoder_nonlocal_attn": False}
UNET = STACK | {"in_channels": 3, "out_channels": 3, "num_head_channels": 4}
NUMBERS = {"with_conditioning": True, "cross_attention_dim": 2, "upcast_attention": True}
SCHEDULE = {"num_train_timesteps": 20, "beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear"}
SIZES = {2: (6, 4), 3: (2, 4, 2)}
PERSON = [
    {"name": "age", "low": 40.0, "high": 80.0, "unit": "years"},
    {"name": "sex", "low": 0.0, "high": 1.0, "unit": None},
]


def config(dims: int = 2, unet: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    schedule = SCHEDULE | {"clip_sample": False, "prediction_type": "epsilon"} | more.pop("schedule", {})
    fields = {"dims": dims, "latent_size": SIZES[dims], "diffusion": UNET | (unet or {}), "schedule": schedule}
    return fields | {"autoencoder": AUTOENCODER, "scale_factor": 0.7} | more


def reference(fields: dict[str, Any], state: dict[str, Tensor]) -> dict[str, Any]:
    """MONAI's own networks with the weights of a state dict of all parts."""
    from monai.networks import nets

    found: dict[str, Any] = {}
    dims, unet, control = fields["dims"], fields["diffusion"], fields.get("controlnet")
    first = {name: value for name, value in unet.items() if name != "out_channels"}
    for part, make in (
        ("autoencoder", lambda: nets.AutoencoderKL(dims, **fields["autoencoder"], with_encoder_nonlocal_attn=False)),
        ("diffusion", lambda: nets.DiffusionModelUNet(dims, **unet)),
        ("controlnet", lambda: nets.ControlNet(dims, **first, **control)),
    ):
        own = {key.removeprefix(f"{part}."): t for key, t in state.items() if key.startswith(f"{part}.")}
        if own:
            found[part] = make().eval().requires_grad_(False)
            missing, unexpected = found[part].load_state_dict(own, strict=False)
            assert not unexpected and all(key.startswith(("encoder.", "quant_conv")) for key in missing)
    return found


def saved(folder: Path, fields: dict[str, Any]) -> tuple[dict[str, Path], dict[str, Tensor]]:
    """A bundle's ``models`` folder: a file of a bare state dict for each part, random; and all of them as one."""
    state = random_state(entry_fields(family="monai_ldm", config=json.loads(json.dumps(fields))))
    paths = {}
    for part in dict.fromkeys(key.partition(".")[0] for key in state):
        own = {key.removeprefix(f"{part}."): t for key, t in state.items() if key.startswith(f"{part}.")}
        paths[part] = folder / f"{'model' if part == 'diffusion' else part}.pt"
        if part == "autoencoder":  # with the encoder, which bundles have and nothing here needs
            own |= {"encoder.blocks.0.conv.weight": torch.zeros(4, 1, 3, 3), "quant_conv_mu.conv.bias": torch.zeros(3)}
        torch.save(own, paths[part])
    return paths, state


def load(folder: Path, fields: dict[str, Any], **options: Any) -> tuple[Generator, dict[str, Any]]:
    sampling, condition = options.pop("sampling", {}), options.pop("condition", None)
    paths, state = saved(folder, fields)
    override = {"config": fields, "sampling": sampling} | ({"condition": condition} if condition else {})
    return medzoo.load(family="monai_ldm", weights=paths, override=override, device="cpu", **options), reference(
        fields, state
    )


def scheduler(name: str, schedule: dict[str, Any], steps: int) -> Any:
    """MONAI's; with the time steps of MONAI up to 1.5, with which the bundles were made, where the schedule says so."""
    from monai.networks import schedulers

    fields = {k: v for k, v in (SCHEDULE | schedule).items() if k not in ("beta_schedule", "timestep_spacing")}
    made = getattr(schedulers, name)(schedule="scaled_linear_beta", **fields)
    made.set_timesteps(steps)
    if schedule.get("timestep_spacing", "leading") == "leading":
        made.timesteps = torch.arange(steps - 1, -1, -1) * (SCHEDULE["num_train_timesteps"] // steps)
    return made


@pytest.fixture
def own_noise(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Tensor]]:
    """``own_noise(n, shape)``: n draws that MONAI's samplers then take, in order, for those they draw themselves."""

    def put(n: int, shape: tuple[int, ...]) -> list[Tensor]:
        draws = [torch.randn(shape, generator=torch.Generator().manual_seed(7 + i)) for i in range(n)]
        left = iter(draws)
        monkeypatch.setattr(torch, "randn", lambda *_, **__: next(left))
        return draws

    return put


def compare(generator: Generator, given: Given, draws: list[Tensor], expected: Callable[[Tensor], Any]) -> None:
    latents = generator.latents([0, 1], seed=3)
    with torch.inference_mode():
        found = generator.decode(latents, given, noise=Replay(draws, 2))
        wanted = expected(latents)
    assert found.shape == wanted.shape and wanted.std() > 0.05
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


class TestAgreesWithMonai:
    """Tiny random bundles, loaded as files, against ``LatentDiffusionInferer``, as published and fused."""

    @pytest.mark.parametrize("fused", [True, False])
    @pytest.mark.parametrize(
        ("dims", "sampler", "steps", "schedule"),
        [
            (2, "ddim", 5, {"timestep_spacing": "leading", "clip_sample": False}),
            (3, "ddim", 7, {"timestep_spacing": "linspace", "clip_sample": True, "prediction_type": "v_prediction"}),
            (2, "ddpm", 20, {"clip_sample": True, "prediction_type": "sample"}),
            (3, "ddpm", 20, {"clip_sample": False}),
        ],
    )
    def test_without_a_condition(
        self, tmp_path: Path, own_noise: Any, dims: int, sampler: str, steps: int, schedule: dict[str, Any], fused: bool
    ) -> None:
        from monai.inferers import LatentDiffusionInferer

        fields = config(dims, schedule=schedule)
        generator, nets = load(tmp_path, fields, fused=fused, sampling={"sampler": sampler, "steps": steps})
        made = scheduler(f"{sampler.upper()}Scheduler", schedule, steps)
        inferer = LatentDiffusionInferer(made, scale_factor=0.7)
        draws = own_noise(steps if sampler == "ddpm" else 0, (2, 3, *SIZES[dims]))
        compare(
            generator,
            Given(),
            draws,
            lambda x: inferer.sample(x, nets["autoencoder"], nets["diffusion"], verbose=False),
        )

    @pytest.mark.parametrize("guidance", [None, 3.0])
    @pytest.mark.parametrize("join", [True, False])
    def test_numbers(self, tmp_path: Path, join: bool, guidance: float | None) -> None:
        """By cross-attention, and joined to the latent as the brain model of Pinaya et al. has them."""
        from monai.inferers import LatentDiffusionInferer

        dims, fused = (3, True) if join else (2, False)
        fields = config(dims, NUMBERS | {"in_channels": 5 if join else 3}, join_attributes=join, unconditional=-1.0)
        generator, nets = load(
            tmp_path, fields, fused=fused, sampling={"sampler": "ddim", "steps": 4, "guidance": guidance},
            condition={"kind": "attributes", "attributes": PERSON},
        )  # fmt: skip
        inferer = LatentDiffusionInferer(scheduler("DDIMScheduler", {"clip_sample": False}, 4), scale_factor=0.7)
        scaled = torch.tensor([[0.25, 1.0], [0.5, 0.0]])

        def unet(x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
            if join:
                spread = context.squeeze(1)[..., None, None, None].expand(*context.shape[::2], *x.shape[2:])
                x = torch.cat([x, spread], 1)
            out: Tensor = nets["diffusion"](x, timesteps=timesteps, context=context)
            return out

        def expected(x: Tensor) -> Any:
            return inferer.sample(
                x, nets["autoencoder"], unet, conditioning=scaled[:, None], cfg=guidance, verbose=False
            )  # type: ignore[arg-type]

        compare(generator, Given(attributes=torch.tensor([[50.0, 1.0], [60.0, 0.0]])), [], expected)
        told = generator.generate(2, {"age": [50, 60], "sex": [1, 0]})
        assert told.condition == ("age=50, sex=1", "age=60, sex=0")

    @pytest.mark.parametrize("fused", [True, False])
    def test_classes(self, tmp_path: Path, fused: bool) -> None:
        from monai.inferers import LatentDiffusionInferer

        fields = config(2, {"num_class_embeds": 3})
        classes = {"kind": "class", "classes": ["none", "mild", "severe"]}
        generator, nets = load(
            tmp_path, fields, fused=fused, sampling={"sampler": "ddim", "steps": 4}, condition=classes
        )
        inferer = LatentDiffusionInferer(scheduler("DDIMScheduler", {"clip_sample": False}, 4), scale_factor=0.7)
        labels = torch.tensor([2, 0])
        unet = functools.partial(nets["diffusion"], class_labels=labels)
        compare(
            generator, Given(labels=labels), [],
            lambda x: inferer.sample(x, nets["autoencoder"], unet, verbose=False),  # type: ignore[arg-type]
        )  # fmt: skip
        severe, mild = generator.generate(1, "severe"), generator.generate(1, "mild")
        assert abs(severe.images - mild.images).max() > 1e-4

    def test_a_text(self, tmp_path: Path) -> None:
        """CLIP's last hidden state as context, the empty prompt to lead away from."""
        pytest.importorskip("transformers", reason="transformers is not installed")
        from monai.inferers import LatentDiffusionInferer

        fields = config(
            2, {"with_conditioning": True, "cross_attention_dim": 12}, schedule={"prediction_type": "v_prediction"}
        )
        paths, state = saved(tmp_path, fields)
        clip, words = ldm_case.text_encoder(), ldm_case.tokenizer()
        clip.save_pretrained(tmp_path / "text_encoder")
        (tmp_path / "vocab.json").write_text(json.dumps(ldm_case.VOCABULARY))
        (tmp_path / "merges.txt").write_text("".join(f"{a} {b}\n" for a, b in ldm_case.MERGES))
        paths |= {
            "text_encoder": tmp_path / "text_encoder" / "model.safetensors",
            "text_encoder/config": tmp_path / "text_encoder" / "config.json",
            "tokenizer/vocab": tmp_path / "vocab.json",
            "tokenizer/merges": tmp_path / "merges.txt",
        }
        override = {"config": fields, "sampling": {"sampler": "ddim", "steps": 4, "guidance": 7.0}}
        generator = medzoo.load(family="monai_ldm", weights=paths, override=override, device="cpu")
        made = scheduler("DDIMScheduler", {"clip_sample": False, "prediction_type": "v_prediction"}, 4)
        prompts = ("lung", "l u n g")
        length = clip.config.max_position_embeddings
        tokens = words(["", "", *prompts], padding="max_length", max_length=length, return_tensors="pt").input_ids
        with torch.inference_mode():
            both = clip(tokens).last_hidden_state
        nets = reference(fields, state)
        unet = lambda x, timesteps, context: nets["diffusion"](x, timesteps, context=both)  # noqa: E731
        inferer = LatentDiffusionInferer(made, scale_factor=0.7)
        nothing = torch.zeros(2, 1, 1)  # makes MONAI double its batch; the network sees the prompts
        compare(
            generator, Given(texts=prompts), [],
            lambda x: inferer.sample(x, nets["autoencoder"], unet, conditioning=nothing, cfg=7.0, verbose=False),  # type: ignore[arg-type]
        )  # fmt: skip
        first = generator.generate(1, "lung")
        assert first.condition == ("lung",) and abs(first.images - generator.generate(1, "").images).max() > 1e-4

    @pytest.mark.parametrize("dims", [2, 3])
    @pytest.mark.parametrize("guidance", [None, 2.5])
    def test_a_mask_joined_to_the_latent(self, tmp_path: Path, dims: int, guidance: float | None) -> None:
        from monai.inferers import LatentDiffusionInferer

        fields = config(dims, {"in_channels": 4}, unconditional=-1.0)
        sampling = {"sampler": "ddim", "steps": 4, "guidance": guidance}
        generator, nets = load(tmp_path, fields, fused=dims == 3, sampling=sampling)
        inferer = LatentDiffusionInferer(scheduler("DDIMScheduler", {"clip_sample": False}, 4), scale_factor=0.7)
        mask = (torch.rand(2, 1, *SIZES[dims], generator=torch.Generator().manual_seed(0)) > 0.5).float()

        def expected(x: Tensor) -> Any:
            return inferer.sample(
                x, nets["autoencoder"], nets["diffusion"], conditioning=mask, mode="concat", cfg=guidance, verbose=False
            )

        compare(generator, Given(images=mask), [], expected)
        large = mask.repeat_interleave(2, -1).repeat_interleave(2, -2)
        large = large.repeat_interleave(2, -3) if dims == 3 else large
        compare(generator, Given(images=large), [], expected)
        with pytest.raises(ConditionError, match="takes images of .* or .*, found 5 x 5"):
            generator.decode(None, Given(images=torch.zeros(1, 1, *[5] * dims)))

    @pytest.mark.parametrize("fused", [True, False])
    def test_controlnet(self, tmp_path: Path, fused: bool) -> None:
        from monai.inferers import ControlNetLatentDiffusionInferer

        fields = config(2, controlnet={"conditioning_embedding_num_channels": (4,)})
        generator, nets = load(tmp_path, fields, fused=fused, sampling={"sampler": "ddim", "steps": 4})
        inferer = ControlNetLatentDiffusionInferer(
            scheduler("DDIMScheduler", {"clip_sample": False}, 4), scale_factor=0.7
        )
        mask = (torch.rand(2, 1, *SIZES[2], generator=torch.Generator().manual_seed(0)) > 0.5).float()

        def expected(x: Tensor) -> Any:
            return inferer.sample(
                x, nets["autoencoder"], nets["diffusion"], nets["controlnet"], cn_cond=mask, verbose=False
            )

        compare(generator, Given(images=mask), [], expected)
        with pytest.raises(ConditionError, match=r"takes images of 6 x 4 \(height x width\), found 12 x 8; bring"):
            generator.decode(None, Given(images=mask.repeat(1, 1, 2, 2)))
        with pytest.raises(ConditionError, match="needs a mask"):
            generator.generate(2)
        assert len(generator.generate(2, mask.numpy())) == 2

    def test_pixels_without_an_autoencoder(self, tmp_path: Path, own_noise: Any) -> None:
        from monai.inferers import DiffusionInferer

        fields = config(2, schedule={"clip_sample": True}, autoencoder=None, scale_factor=1.0)
        generator, nets = load(tmp_path, fields, sampling={"sampler": "ddpm", "steps": 20})
        inferer = DiffusionInferer(scheduler("DDPMScheduler", {"clip_sample": True}, 20))
        draws = own_noise(20, (2, 3, *SIZES[2]))
        compare(generator, Given(), draws, lambda x: inferer.sample(x, nets["diffusion"], verbose=False))


def old(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of one network under the names of MONAI Generative Models."""
    names = (
        (r"\.attn\.(to_[qkv])\.", r".\1."),
        (r"\.attn\.out_proj\.", ".proj_attn."),
        (r"(\.attn[12])\.out_proj\.", r"\1.to_out.0."),
        (r"\.postconv\.conv\.", ".conv.conv."),
    )
    found = {}
    for key, tensor in state.items():
        for pattern, name in names:
            key = re.sub(pattern, name, key)
        found[key] = tensor
    return found


@pytest.mark.parametrize("conditioned", [True, False])
def test_old_names_become_what_monai_makes_of_them(conditioned: bool) -> None:
    from monai.networks import nets

    stack = STACK | {"attention_levels": (True, True)}
    parts = {
        "autoencoder": nets.AutoencoderKL(2, **stack, latent_channels=3),
        "diffusion": nets.DiffusionModelUNet(
            2, **UNET | stack, with_conditioning=conditioned, cross_attention_dim=2 if conditioned else None
        ),
    }
    files = {part: old(net.state_dict()) for part, net in parts.items()}
    joined = {f"{part}.{key}": tensor for part, file in files.items() for key, tensor in file.items()}
    found = renamed(joined, ())
    assert any(key not in joined for key in found)
    for part, net in parts.items():
        net.load_old_state_dict(dict(files[part]))
        kept = {
            f"{part}.{key}": tensor
            for key, tensor in net.state_dict().items()
            if not key.startswith(("encoder", "quant"))
        }
        own = {key: tensor for key, tensor in found.items() if key.startswith(part)}
        assert own.keys() == kept.keys()
        assert all(torch.equal(own[key], kept[key]) for key in own)
    assert renamed(found, ()) == found
    without = renamed(joined, {"autoencoder"})
    assert not any("out_proj" in key for key in without if key.startswith("autoencoder"))
    assert any("out_proj" in key for key in without if key.startswith("diffusion"))


@pytest.mark.parametrize(
    ("levels", "dims", "include_fc", "transposed"), [(2, 2, True, False), (3, 3, False, False), (2, 3, True, True)]
)
def test_decoding_in_tiles_is_decoding(levels: int, dims: int, include_fc: bool, transposed: bool) -> None:
    from monai.networks import nets

    torch.manual_seed(0)
    autoencoder = nets.AutoencoderKL(
        dims, 1, 1, (1,) * (levels - 1) + (2,), (4, 6, 8)[:levels], (False,) * (levels - 1) + (True,), 3, 2,
        use_convtranspose=transposed, include_fc=include_fc,
    ).requires_grad_(False).eval()  # fmt: skip
    for weight in autoencoder.parameters():
        weight.copy_(torch.randn_like(weight) * 0.3 + (weight.dim() == 1))
    latents = torch.randn(2, 3, *{2: (40, 26), 3: (4, 6, 12)}[dims])
    whole = autoencoder.decode(latents)
    torch.testing.assert_close(decoding.decode(autoencoder, latents, budget=10**12), whole, atol=1e-5, rtol=0)
    sizes = []
    hook = autoencoder.decoder.blocks[-1].register_forward_hook(lambda _, args, out: sizes.append(out.shape))
    for budget in (10**5, 1):
        sizes.clear()
        torch.testing.assert_close(decoding.decode(autoencoder, latents, budget), whole, atol=1e-4, rtol=0)
        assert len(sizes) > 2 and max(size[2:].numel() for size in sizes) < whole[0, 0].numel()
    hook.remove()


def test_large_volumes_are_decoded_in_tiles_when_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, _ = load(tmp_path, config(3, latent_size=(10, 8, 20)), sampling={"sampler": "ddim", "steps": 2})
    sizes: list[tuple[int, ...]] = []
    last = generator.network.autoencoder.decoder.blocks[-1]
    last.register_forward_hook(lambda _, args, out: sizes.append(tuple(out.shape)))
    whole = generator.generate(3, seed=1, batch_size=3)
    assert sizes == [(3, *whole.images.shape[1:])]
    monkeypatch.setattr(device, "free_memory", lambda _: 2**20)
    parts = generator.generate(3, seed=1, batch_size=3)
    assert {size[0] for size in sizes[1:]} == {1} and max(map(math.prod, sizes[1:])) < whole.images[0].size
    np.testing.assert_allclose(parts.images, whole.images, atol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
def test_lower_precision_runs(tmp_path: Path, fused: bool) -> None:
    fields = config(3, NUMBERS | {"in_channels": 5}, join_attributes=True, latent_size=(4, 4, 4))
    options = {"sampling": {"sampler": "ddim", "steps": 3}, "condition": {"kind": "attributes", "attributes": PERSON}}
    exact, _ = load(tmp_path, fields, **options)
    rough, _ = load(tmp_path, fields, fused=fused, precision="bfloat16", **options)
    ask = {"age": 71, "sex": 1}
    difference = abs(rough.generate(2, ask).images - exact.generate(2, ask).images)
    assert difference.max() > 0 and difference.mean() < 0.05


def orientations() -> list[str]:
    return ["".join(one) for axes in itertools.permutations(("RL", "AP", "SI")) for one in itertools.product(*axes)]


@pytest.mark.parametrize("letters", orientations())
def test_volumes_are_turned_as_nifti_tools_turn_them(letters: str) -> None:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    array = np.arange(24.0).reshape(2, 3, 4)
    found = turn(letters, 3).shown(torch.from_numpy(array)[None, None])
    assert found.shape[2:] == turn(letters, 3).size((2, 3, 4))
    assert torch.equal(turn(letters, 3).stored(found), torch.from_numpy(array)[None, None])
    change = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt(letters), nibabel.orientations.axcodes2ornt("SPL")
    )
    assert np.array_equal(found[0, 0].numpy(), nibabel.orientations.apply_orientation(array, change))


def test_slices_are_turned_upright() -> None:
    x = torch.arange(6.0).reshape(1, 1, 2, 3)  # to the right and to the front: first row of the picture is the front
    assert turn("RA", 2).shown(x).tolist() == [[[[5.0, 2.0], [4.0, 1.0], [3.0, 0.0]]]]
    assert turn("SA", 2).shown(x).tolist() == [[[[5.0, 4.0, 3.0], [2.0, 1.0, 0.0]]]]
    assert turn("IL", 2).shown(x).equal(x) and turn(None, 2).shown(x).equal(x)


# ------------------------------------------------------------------------- entries, files, the command line

REGISTRY = Path(medzoo.__file__).parents[1] / "registry" / "models"


@pytest.mark.parametrize("path", sorted(REGISTRY.glob("002*_MONAI_*.yaml")), ids=lambda path: path.stem)
def test_entries_of_the_registry_make_networks_of_the_size_they_state(path: Path) -> None:
    """No file of theirs was available: at least what they state goes together."""
    entry = catalog.load_file(path).entry
    clip = b'{"hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 1}'  # of Stable Diffusion 2.1
    text = {"text_encoder/config.text": torch.tensor(list(clip), dtype=torch.uint8)}
    known = MonaiLdm.configure(entry, text if "text_encoder" in entry.parts else {})
    assert MonaiLdm.output(known) == (entry.output.channels, entry.output.size)
    check_condition(entry, known)
    generator = object.__new__(MonaiLdm)
    generator.config = known
    with torch.device("meta"):
        state = generator.build().state_dict()
        latents = torch.empty(1, *generator.latent_shape)
    assert {key.partition(".")[0] for key in state} == {part for part in entry.parts if part and "/" not in part}
    assert state["diffusion.conv_in.conv.weight"].dim() == 2 + len(latents.shape[2:])
    if entry.number == "00203":  # as published elsewhere of the same model: 553 million
        assert round(sum(tensor.numel() for key, tensor in state.items() if key.startswith("diff")) / 1e6) == 553


BRAIN = config(3, NUMBERS | {"in_channels": 5}, join_attributes=True, orientation="RAS", latent_size=(2, 4, 6))


def brain_entry(**changes: Any) -> dict[str, Any]:
    fields = {
        "model_id": "99201_MONAI_LDM_TINY", "family": "monai_ldm", "config": BRAIN,
        "output": {
            "type": "volume", "size": [12, 8, 4], "channels": 1, "masks": 0, "range": [-1, 1], "spacing": [2, 1.5, 1],
        },
        "condition": {"kind": "attributes", "attributes": PERSON},
        "sampling": {"latent": "normal", "sampler": "ddim", "steps": 3},
        "checkpoint": {"container": "torch", "key": None, "strip_prefix": None},
    }  # fmt: skip
    return entry_fields(**fields | changes)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """``bundle(**changes) -> id``: an entry whose parts lie in a repository of the Hub."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with HubServer() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)

        def put(**changes: Any) -> str:
            folder = tmp_path / "registry"
            folder.mkdir(exist_ok=True)
            sources = []
            for part, path in saved(tmp_path, BRAIN)[0].items():
                content = path.read_bytes()
                hub.add("MONAI/tiny", f"models/{path.name}", content)
                md5 = hashlib.md5(content).hexdigest()
                sources.append({
                    "kind": "hub", "repo": "MONAI/tiny", "revision": None, "file": f"models/{path.name}", "part": part,
                    "sha256": None, "md5": md5,
                })  # fmt: skip
            fields = brain_entry(weights=sources, **changes)
            (folder / f"{fields['model_id']}.yaml").write_text(json.dumps(fields))
            monkeypatch.setenv("MEDZOO_REGISTRY", str(folder))
            return str(fields["model_id"])

        yield put


def test_a_bundle_becomes_nifti_files(bundle: Callable[..., str], tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")
    told = ["--condition", "age=50", "--condition", "sex=1", "--seed", "4", "--json"]
    out = ["-n", "2", "--format", "nifti", "--out", str(tmp_path / "out"), "--grid"]
    result = CliRunner().invoke(main, ["generate", bundle(), *out, *told])
    assert result.exit_code == 0, result.output
    files = sorted(tmp_path.glob("out/**/*.nii.gz"))
    assert len(files) == 2 and (tmp_path / "out" / "grid.png").is_file()
    image = nibabel.load(files[1])
    generator = medzoo.load("99201_MONAI_LDM_TINY")
    made = generator.generate(1, {"age": 50, "sex": 1}, seed=4, start=1).images[0, 0]
    assert image.shape == (4, 8, 12) and image.header.get_zooms() == (1.0, 1.5, 2.0)
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    np.testing.assert_allclose(image.get_fdata(), made.transpose(2, 1, 0), atol=0.5 / 255)
    # What the network gave, right, front and up, is what a tool finds that turns the file so.
    raw = generator.decode(generator.latents([1], seed=4), {"age": 50, "sex": 1})
    stored = turn("RAS", 3).stored(raw)[0, 0].add(1).div(2).clamp(0, 1)
    turned = nibabel.as_closest_canonical(image)
    np.testing.assert_allclose(turned.get_fdata(), stored.numpy(), atol=0.5 / 255 + 1e-6)


def test_the_published_md5_is_checked(bundle: Callable[..., str], tmp_path: Path) -> None:
    model_id = bundle()
    path = tmp_path / "registry" / f"{model_id}.yaml"
    fields = json.loads(path.read_text())
    fields["weights"][0]["md5"] = "0" * 32
    path.write_text(json.dumps(fields))
    with pytest.raises(WeightsError, match="md5"):
        medzoo.load(model_id)


def test_without_monai_the_extra_is_named(bundle: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    model_id = bundle()
    for name in ("monai.networks", "einops"):
        with monkeypatch.context() as hidden:
            hidden.setitem(sys.modules, name, None)
            with pytest.raises(MedzooError, match="needs MONAI .*" + re.escape(pip_install("medzoo[monai]"))):
                medzoo.load(model_id)
    medzoo.load(model_id)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_size": (2, 4)}, r"latent_size needs 3 numbers \(dims\), found \[2, 4\]"),
        ({"latent_size": (2, 3, 4)}, "latent_size: the UNet halves each side 1 times, so it must be a multiple of 2"),
        ({"orientation": "RAX"}, "orientation needs 3 letters, at most one each of RL, AP, IS, found 'RAX'"),
        ({"orientation": "RLS"}, "orientation needs 3 letters"),
        ({"dims": 4}, "dims: expected 2 or 3"),
        ({"colour": 1}, "config.colour"),
        ({"diffusion": BRAIN["diffusion"] | {"_target_": "os.system"}}, "config.diffusion._target_"),
        ({"diffusion": BRAIN["diffusion"] | {"attention_levels": (True,)}}, "attention_levels needs 2 values"),
        ({"diffusion": BRAIN["diffusion"] | {"in_channels": 4}}, "diffusion.in_channels must be at least 5"),
        ({"diffusion": BRAIN["diffusion"] | {"out_channels": 2}}, "must be autoencoder.latent_channels, 3"),
        ({"diffusion": BRAIN["diffusion"] | {"with_conditioning": False}}, "cross_attention_dim"),
        ({"diffusion": BRAIN["diffusion"] | {"norm_num_groups": 3}}, "does not make a network of family 'monai_ldm'"),
        ({"schedule": {"beta_schedule": "$import os"}}, "config.schedule.beta_schedule"),
    ],
)  # fmt: skip
def test_configs_that_cannot_be(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    paths, _ = saved(tmp_path, BRAIN)
    with pytest.raises((EntryError, CheckpointError), match=message):
        medzoo.load(family="monai_ldm", weights=paths, override={"config": BRAIN | change})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"condition": None}, r"'condition' has 0 attributes, the networks take 2 \(diffusion.cross_attention_dim\)"),
        ({"condition": {"kind": "text", "attributes": None}}, "goes with the part text_encoder"),
        ({"condition": {"kind": "mask", "inputs": ["mask"]}}, "has 1 image channels, the networks take 0"),
        ({"sampling": {"guidance": 2.0}}, "'sampling.guidance' is for models trained without their condition, too"),
        ({"condition": {"kind": "mask", "inputs": ["mask"], "required": False}}, "'condition.required' must be true"),
        ({"sampling": {"steps": 0}}, "sampling.steps"),
        ({"sampling": {"sampler": "euler"}}, "sampling.sampler"),
    ],
)
def test_entries_that_do_not_fit_the_networks(
    bundle: Callable[..., str], override: dict[str, Any], message: str
) -> None:
    with pytest.raises(EntryError, match=message):
        medzoo.load(bundle(), override=override)


def test_bad_input(bundle: Callable[..., str]) -> None:
    model_id = bundle()
    generator = medzoo.load(model_id)
    with pytest.raises(ConditionError, match="needs a number for sex"):
        generator.generate(1, {"age": 50})
    with pytest.raises(ConditionError, match=r"age from 40 to 80 \(years\); found 30"):
        generator.generate(1, {"age": 30, "sex": 0})
    with pytest.raises(ConditionError, match="a healthy brain"):
        generator.generate(1, "a healthy brain")
    with pytest.raises(GenerationError, match="steps of sampler ddim go up to 20, found 21"):
        medzoo.load(model_id, override={"sampling": {"steps": 21}})


def test_a_part_that_is_missing(tmp_path: Path) -> None:
    paths, _ = saved(tmp_path, BRAIN)
    with pytest.raises(CheckpointError, match="missing: autoencoder.decoder"):
        medzoo.load(family="monai_ldm", weights={"diffusion": paths["diffusion"]}, override={"config": BRAIN})
    torch.save({"weights": io.BytesIO(b"").read()}, paths["autoencoder"])
    with pytest.raises(CheckpointError):
        medzoo.load(family="monai_ldm", weights=paths, override={"config": BRAIN})
