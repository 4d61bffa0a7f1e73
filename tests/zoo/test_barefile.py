"""``medzoo.load(family=, weights=)``: which network a file gives, in every form in which people save it."""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import medzoo
from medzoo.errors import CheckpointError, EntryError
from medzoo.families._base import Generator
from medzoo.weights import checkpoints, inspection, places
from tests.tools import checkpoint_case as case
from tests.tools.checkpoint_case import AVERAGED, DISCRIMINATOR, OTHER, OVERLAID, RAW, prefixed, same, saved, weights
from tests.tools.paths import ROOT, SHARED

INPUTS = SHARED / "cases" / "inputs"


def load(path: Path, *, family: str = "dcgan", **override: Any) -> Generator:
    return medzoo.load(family=family, weights=path, override=override, fused=False, device="cpu")


def loaded(path: Path, content: Any, **override: Any) -> Generator:
    """The generator of a file with that content; what it records reads the same numbers again."""
    made = load(saved(path, content), **override)
    assert same(checkpoints.read(path, made.entry.checkpoint), weights(made))
    stated = made.entry.checkpoint.model_dump(exclude_none=True) | {"key": made.entry.checkpoint.key}
    again = load(path, checkpoint=stated)
    assert again.entry.revision == made.entry.revision and same(weights(again), weights(made))
    return made


# ----------------------------------------------------------------------------------- averaged weights


@pytest.mark.parametrize("layout", case.LAYOUTS)
@pytest.mark.parametrize("form", case.whole_forms())
def test_averaged_weights_are_preferred(form: str, layout: str, tmp_path: Path) -> None:
    made = loaded(tmp_path / "file.pt", case.LAYOUTS[layout](case.whole_forms()[form]))
    assert same(weights(made), AVERAGED), made.entry.checkpoint


@pytest.mark.parametrize("layout", case.LAYOUTS)
@pytest.mark.parametrize("form", case.parameter_forms())
def test_averaged_parameters_lie_over_the_buffers(form: str, layout: str, tmp_path: Path) -> None:
    made = loaded(tmp_path / "file.pt", case.LAYOUTS[layout](case.parameter_forms()[form]))
    assert same(weights(made), OVERLAID), made.entry.checkpoint


@pytest.mark.parametrize("name", case.NAMES)
@pytest.mark.parametrize("form", ["state dict", "list"])
def test_what_averaged_weights_are_called(name: str, form: str, tmp_path: Path) -> None:
    value = AVERAGED if form == "state dict" else [AVERAGED[key] for key in case.PARAMETERS]
    for raw in ("g", "netG", "model_state_dict", "params"):
        made = loaded(tmp_path / "file.pt", {raw: RAW, name: value, "d": DISCRIMINATOR})
        assert same(weights(made), AVERAGED if form == "state dict" else OVERLAID), raw


@pytest.mark.parametrize("name", ["semantic", "schema", "remainder", "avgpool_head", "w_avg", "latents"])
def test_what_is_not_averaged(name: str, tmp_path: Path) -> None:
    """Words that have the letters in them."""
    other = {"a": torch.ones(2), "b": torch.ones(3)}
    assert same(weights(loaded(tmp_path / "file.pt", {name: other, "g": RAW, "ema_decay": 0.9})), RAW)


@pytest.mark.parametrize(
    "prefix", ["generator_ema.", "ema.", "gen_shadow.", "netG_ema.module.", "ema_model.", "g.ema."]
)
def test_averaged_weights_under_a_prefix(prefix: str, tmp_path: Path) -> None:
    """As Lightning saves a module that keeps both."""
    content = {"state_dict": prefixed("generator.", RAW) | prefixed(prefix, AVERAGED) | DISCRIMINATOR}
    assert same(weights(loaded(tmp_path / "file.ckpt", content)), AVERAGED)


@pytest.mark.parametrize("inner", ["", "diffusion_model."])
def test_ema_of_latent_diffusion(inner: str, tmp_path: Path) -> None:
    """Names without dots, in the same state dict."""
    own = {name: AVERAGED[name] for name in case.PARAMETERS}
    shadow = {"model_ema." + (inner + name).replace(".", ""): value for name, value in own.items()}
    settings = {"model_ema.decay": torch.tensor(0.9), "model_ema.num_updates": torch.tensor(3)}
    made = loaded(tmp_path / "file.ckpt", {"state_dict": prefixed(f"model.{inner}", RAW) | settings | shadow})
    assert same(weights(made), OVERLAID) and made.entry.checkpoint.ema == "state_dict.model_ema"


def test_averaged_weights_in_safetensors(tmp_path: Path) -> None:
    save_file(prefixed("g.", RAW) | prefixed("g_ema.", AVERAGED), tmp_path / "x.safetensors")
    assert same(weights(load(tmp_path / "x.safetensors")), AVERAGED)


def test_an_averaged_discriminator_is_no_generator(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = loaded(tmp_path / "file.pt", {"g": RAW, "d_ema": DISCRIMINATOR, "netD_ema": [torch.ones(2)] * 3})
    assert same(weights(made), RAW) and not caplog.records


@pytest.mark.parametrize(
    ("ema", "words"),
    [
        ([AVERAGED[name] for name in case.PARAMETERS[:-1]], "holds 9 tensors, but the network has 10 parameters"),
        ([AVERAGED[name] for name in reversed(case.PARAMETERS)], "has shape"),
        ({f"layer{i}": AVERAGED[name] for i, name in enumerate(case.PARAMETERS)}, "under their names"),
        (prefixed("x", {name: AVERAGED[name] for name in case.PARAMETERS}), "under their names"),
        (case.state(4) | {"main.0.weight": torch.ones(16, 16, 3, 3)}, "has shape"),
    ],
)
def test_averaged_weights_that_cannot_be_used_are_an_error(ema: Any, words: str, tmp_path: Path) -> None:
    """Never the others without a word; both can be stated."""
    path = saved(tmp_path / "file.pt", {"g": RAW, "g_ema": ema, "d": DISCRIMINATOR})
    with pytest.raises(CheckpointError, match=f"file.pt: 'g_ema' is called averaged .*{words}") as caught:
        load(path)
    assert 'override={"checkpoint": {"key": "g"}}' in str(caught.value)
    assert same(weights(load(path, checkpoint={"key": "g"})), RAW)


def test_averaged_weights_of_something_else_are_pointed_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = saved(tmp_path / "file.pt", {"g": RAW, "ema": {"a.w": torch.ones(7, 7), "b.w": torch.ones(5)}})
    with caplog.at_level(logging.WARNING):
        assert same(weights(load(path)), RAW)
    assert "file.pt: 'ema' is called averaged" in caplog.text and "`key`" in caplog.text


def test_damaged_averaged_weights_do_not_give_way_to_others(tmp_path: Path) -> None:
    broken = AVERAGED | {"main.0.weight": torch.full_like(AVERAGED["main.0.weight"], float("nan"))}
    with pytest.raises(CheckpointError, match="'main.0.weight' holds .* numbers that are NaN"):
        load(saved(tmp_path / "file.pt", {"g": RAW, "g_ema": broken}))


def test_a_key_with_a_dot_can_be_stated(tmp_path: Path) -> None:
    path = saved(tmp_path / "file.pt", {"model_state_dict": RAW, "ema_0.9999": AVERAGED, "a": {"b.c": {"d": OTHER}}})
    assert same(weights(load(path, checkpoint={"key": "ema_0.9999"})), AVERAGED)
    assert same(weights(load(path, checkpoint={"key": "a.b.c.d"})), OTHER)
    assert same(weights(load(path, checkpoint={"key": "model_state_dict"})), RAW)


def test_fastgan_as_its_authors_save_it(tmp_path: Path) -> None:
    """``all_50000.pth``: both networks of DataParallel, the averages as a list in the order of ``parameters()``."""
    plain = medzoo.load("10001", fused=False, device="cpu")
    state = dict(plain.network.state_dict())
    names = [name for name, _ in plain.network.named_parameters()]
    raw = {f"module.{key}": value * 0.5 if key in names else value for key, value in state.items()}
    content = {"g": raw, "d": {"module.x": torch.ones(2)}, "g_ema": [state[name] for name in names],
               "opt_g": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}}  # fmt: skip
    made = load(saved(tmp_path / "all_50000.pth", content), family="fastgan", output={"masks": 1})
    assert (made.entry.checkpoint.key, made.entry.checkpoint.ema) == ("g", "g_ema")
    assert same(weights(made), state)


# ----------------------------------------------------------------------------------- several generators

TWO: dict[str, Any] = {
    "Lightning": ({"state_dict": prefixed("netG_A.", RAW) | prefixed("netG_B.", OTHER)}, "netG_A."),
    "Lightning, the other first": ({"state_dict": prefixed("netG_B.", OTHER) | prefixed("netG_A.", RAW)}, "netG_A."),
    "nested in Lightning": (
        {"state_dict": prefixed("model.g_AtoB.", RAW) | prefixed("model.g_BtoA.", OTHER)}, "model.g_AtoB."
    ),
    "keys": ({"netG_A": RAW, "netG_B": OTHER, "netD_A": DISCRIMINATOR}, None),
    "keys, the other first": ({"netG_B": OTHER, "netG_A": RAW}, None),
    "keys of another kind": ({"g_AtoB": RAW, "g_BtoA": OTHER}, None),
    "keys below a key": ({"models": {"G_AB": prefixed("module.", RAW), "G_BA": prefixed("module.", OTHER)}}, None),
    "best and last": ({"best": RAW, "last": OTHER, "epoch": 3}, None),
    "numbers as keys": ({0: RAW, 1: OTHER}, None),
    "a list": ([RAW, OTHER], None),
    "modules": ({"G": case.module(RAW), "F": case.module(OTHER)}, None),
    "one named, one prefixed": ({"a": RAW, "state_dict": prefixed("generator.", OTHER)}, None),
    "two averaged": ({"g": case.state(4), "ema_0.999": RAW, "ema_0.9999": OTHER}, None),
    "two averaged directions": (
        {"G_A": case.state(4), "G_B": case.state(5), "G_A_ema": RAW, "G_B_ema": OTHER}, None
    ),
    "two averaged lists": (
        {"G_A": RAW, "G_B": OTHER, "G_A_ema": [RAW[name] for name in case.PARAMETERS],
         "G_B_ema": [OTHER[name] for name in case.PARAMETERS]}, None
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", TWO)
def test_two_that_fit_are_an_error_that_says_what_to_type(form: str, tmp_path: Path) -> None:
    content, _ = TWO[form]
    path = saved(tmp_path / "two.ckpt", content)
    with pytest.raises(CheckpointError, match="two.ckpt: 2 generators of family 'dcgan' are in it") as caught:
        load(path)
    typed = re.findall(r"override=(\{.*\})", str(caught.value))
    assert len(typed) == 2
    made = [load(path, **json.loads(words)) for words in typed]
    assert {same(weights(one), RAW) for one in made} == {True, False}
    assert {same(weights(one), OTHER) for one in made} == {True, False}
    revisions = {one.entry.revision for one in made}
    assert len(revisions) == 2 and made[0].generate(1).revision in revisions


def test_two_of_other_sizes_are_two(tmp_path: Path) -> None:
    wide = {name: torch.cat([value, value]) if name == "main.0.weight" else value for name, value in RAW.items()}
    with pytest.raises(CheckpointError, match="2 generators"):
        load(saved(tmp_path / "two.pt", {"small": RAW, "wide": wide}))


@pytest.mark.parametrize(
    "content",
    [
        {"g": RAW, "netG": RAW},
        {"g": RAW, "netG": {name: value.clone() for name, value in RAW.items()}},
        {"state_dict": prefixed("generator.", RAW) | prefixed("model.generator.", RAW)},
        {"g": RAW, "module": prefixed("module.", RAW)},
        {"g_ema": AVERAGED, "ema": AVERAGED, "g": RAW},
    ],
)
def test_equal_weights_under_two_names_are_one(content: Any, tmp_path: Path) -> None:
    assert same(weights(loaded(tmp_path / "file.pt", content)), AVERAGED if "g_ema" in content else RAW)


def test_a_part_of_what_is_stated_may_be_found(tmp_path: Path) -> None:
    content = {"a": prefixed("net.", RAW), "b": prefixed("net.", OTHER), "c": prefixed("x.", OTHER)}
    path = saved(tmp_path / "file.pt", content)
    assert same(weights(load(path, checkpoint={"key": "a"})), RAW)
    assert load(path, checkpoint={"key": "a"}).entry.checkpoint.strip_prefix == "net."
    assert same(weights(load(path, checkpoint={"strip_prefix": "x."})), OTHER)
    with pytest.raises(CheckpointError, match="2 generators"):
        load(path, checkpoint={"strip_prefix": "net."})
    with pytest.raises(CheckpointError, match="key none: .* there is no 'none' in it; it holds 'a'"):
        load(path, checkpoint={"key": "none"})
    for wrong in ({"key": 3}, {"kye": "g"}, [1], "g"):
        with pytest.raises(EntryError, match="checkpoint takes container, key, strip_prefix, ema, found"):
            load(path, checkpoint=wrong)


SEEDED = """
import sys, medzoo
for path in sys.argv[1:]:
    try:
        made = medzoo.load(family="dcgan", weights=path, device="cpu")
        print(made.entry.revision, made.generate(1).images.sum())
    except medzoo.MedzooError as error:
        print(error)
"""


def test_one_file_gives_one_network_in_every_process(tmp_path: Path) -> None:
    """Python draws the order of a set of words anew in every process."""
    files = [saved(tmp_path / f"{i}.ckpt", content) for i, (content, _) in enumerate(TWO.values())]
    many = {f"metric{i}.fc{j}.weight": torch.zeros(3, 3) for i in range(30) for j in range(3)}
    for i, layout in enumerate(case.LAYOUTS.values()):
        files.append(saved(tmp_path / f"ema{i}.pt", layout(AVERAGED)))
    files.append(saved(tmp_path / "many.ckpt", {"state_dict": many | prefixed("generator.", RAW)}))
    printed = set()
    for seed in ("0", "1", "2", "3", "random"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", SEEDED, *map(str, files)]
        ran = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
        printed.add(ran.stdout)
    assert len(printed) == 1


# ----------------------------------------------------------------------------------- wrappers and sub-modules

WRAPPERS = ("module.", "_orig_mod.", "model.", "generator.", "netG.", "_forward_module.", "ema_model.", "net.", "G.",
            "_fsdp_wrapped_module.", "gan.inner.")  # fmt: skip


@pytest.mark.parametrize("number", range(25))
def test_wrappers_come_off_in_any_order(number: int, tmp_path: Path) -> None:
    chance = random.Random(number)
    prefix = "".join(chance.choice(WRAPPERS) for _ in range(chance.randint(1, 7)))
    own = prefixed(prefix, RAW)
    beside = {f"x.{name}": value for name, value in DISCRIMINATOR.items()}
    for content in (own, {"state_dict": own | beside}, {"model": beside | own}, {"a": {"b": {"c": own}}}):
        assert same(weights(loaded(tmp_path / "file.pt", content)), RAW), prefix


@pytest.mark.parametrize("wrappers", list(itertools.permutations(("module.", "_orig_mod.", "_forward_module."))))
def test_wrappers_of_torch_come_off_without_a_word(wrappers: tuple[str, ...], tmp_path: Path) -> None:
    path = saved(tmp_path / "file.pt", {"g": prefixed("".join(wrappers), RAW)})
    assert same(weights(load(path, checkpoint={"key": "g"})), RAW)
    inside = {name.replace("main.", "main._orig_mod.", 1): value for name, value in RAW.items()}
    assert same(weights(loaded(tmp_path / "file.pt", inside)), RAW)


@pytest.mark.parametrize("count", [1, 6, 7, 9, 40, 300])
@pytest.mark.parametrize("name", ["generator.", "zz.", "model.decoder.net."])
def test_any_number_of_sub_modules(count: int, name: str, tmp_path: Path) -> None:
    others = {f"m{i}.net.{j}.weight": torch.zeros(2, 2) for i in range(count) for j in range(25)}
    content = {"state_dict": others | prefixed(name, RAW), "hyper_parameters": {}}
    start = time.process_time()
    assert same(weights(load(saved(tmp_path / "file.ckpt", content))), RAW)
    assert time.process_time() - start < 20


def test_a_prefix_drops_what_is_no_tensor(tmp_path: Path) -> None:
    """Settings in the state dict of something else do not count."""
    content = {"state_dict": prefixed("g.", RAW) | {"step": 3, "note": "x", "scale": torch.ones(2).to(torch.complex64)}}
    assert same(weights(loaded(tmp_path / "file.pt", content)), RAW)


# ----------------------------------------------------------------------------------- what is in the inputs

needs_inputs = pytest.mark.skipif(not INPUTS.is_dir(), reason="there is no ../shared beside the checkout")


@needs_inputs
@pytest.mark.parametrize(
    ("name", "key", "prefix", "ema"),
    [
        ("c01_ema_averagedmodel.pt", "g_ema", "module.", None),
        ("c01_ema_list.pt", "g", None, "g_ema"),
        ("c01_ema_shadow_params.pt", "g", None, "g_ema.shadow_params"),
        ("c01_key_with_dot.pt", "ema_0.9999", None, None),
        ("c03_lit_nine_submodules.ckpt", "state_dict", "generator.", None),
        ("c04_deque.pt", "netG", None, None),
        ("c04_npstr.pt", "netG", None, None),
        ("c04_npuint.pt", "netG", None, None),
        ("c04_omegaconf.pt", "state_dict", None, None),
        ("c04_range.pt", "netG", None, None),
        ("pt_u16.pt", "netG", None, None),
        ("st_f8.safetensors", None, None, None),
    ],
)
def test_inputs_of_public_reports(name: str, key: str | None, prefix: str | None, ema: str | None) -> None:
    made = load(INPUTS / name)
    found = made.entry.checkpoint
    assert (found.key, found.strip_prefix, found.ema) == (key, prefix, ema)
    first = float(made.network.state_dict()["main.0.weight"].flatten()[0])
    assert first == (0.03125 if name.endswith("safetensors") else pytest.approx(0.032203949987888336, abs=1e-9))
    assert not inspection.inspect(INPUTS / name).refused


@needs_inputs
def test_both_directions_of_a_cyclegan() -> None:
    path = INPUTS / "c02_lit_two_directions.ckpt"
    with pytest.raises(CheckpointError, match=r'"strip_prefix": "netG_A."(.|\n)*"strip_prefix": "netG_B."'):
        load(path, family="cyclegan")
    image = np.linspace(0, 1, 1024, dtype=np.float32).reshape(1, 1, 32, 32)
    means = {}
    for side in "AB":
        stated = {"key": "state_dict", "strip_prefix": f"netG_{side}."}
        samples = load(path, family="cyclegan", checkpoint=stated).generate(1, image)
        means[samples.revision] = round(float(samples.images.mean()), 4)
    assert sorted(means.values()) == [0.5014, 0.5037]


# ----------------------------------------------------------------------------------- medzoo info


@pytest.mark.parametrize("layout", case.LAYOUTS)
@pytest.mark.parametrize("form", ["list", "EMAModel of diffusers", "LitEma", "names with a prefix"])
def test_info_lists_averaged_weights(form: str, layout: str, tmp_path: Path) -> None:
    content = case.LAYOUTS[layout](case.parameter_forms()[form])
    path = saved(tmp_path / "file.pt", content)
    listed = [state.checkpoint for state in inspection.inspect(path).state_dicts]
    chosen = load(path).entry.checkpoint
    assert any(one.get("ema") == chosen.ema or one["key"] == (chosen.ema or chosen.key) for one in listed), (
        listed,
        chosen,
    )


def test_info_lists_generators_under_prefixes(tmp_path: Path) -> None:
    path = saved(tmp_path / "file.ckpt", TWO["Lightning"][0])
    listed = [state.checkpoint for state in inspection.inspect(path).state_dicts]
    for side in "AB":
        assert {"container": "torch", "key": "state_dict", "strip_prefix": f"netG_{side}."} in listed


def test_places_are_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "file.pt", {"z": RAW, "a": {"y": OTHER, "b": AVERAGED}, "m": [RAW, OTHER]})
    found = [place.key for place in places.places(checkpoints.opened(path).content)]
    assert found == ["z", "a.y", "a.b"]  # the list holds the same values again
