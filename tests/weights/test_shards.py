"""Weights in several files: the indices of diffusers and transformers, and folders that lack what they need."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import save_torch_state_dict

import medzoo
from medzoo.errors import CheckpointError
from medzoo.families._base import Generator
from medzoo.weights import checkpoints, inspection
from tests.tools import checkpoint_case as case
from tests.tools.checkpoint_case import RAW, same, weights

diffusers = pytest.importorskip("diffusers")

INDEX = "diffusion_pytorch_model.safetensors.index.json"
NETWORK = {
    "sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": (8, 8), "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "UpBlock2D"),
    "norm_num_groups": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def pipeline() -> Any:
    torch.manual_seed(0)
    return diffusers.DDPMPipeline(diffusers.UNet2DModel(**NETWORK).eval(), diffusers.DDPMScheduler())


@pytest.fixture
def folder(pipeline: Any, tmp_path: Path) -> Path:
    """A pipeline in shards."""
    pipeline.save_pretrained(tmp_path / "pipe", max_shard_size="8KB")
    assert len(list((tmp_path / "pipe/unet").glob("*-of-*"))) > 3
    return tmp_path / "pipe"


def load(folder: Path) -> Generator:
    return medzoo.load(family="diffusion", weights=folder, fused=False, device="cpu")


@pytest.mark.parametrize("form", [{}, {"safe_serialization": False}, {"variant": "fp16"}, {"max_shard_size": "1GB"}])
def test_shards_are_joined(form: dict[str, Any], pipeline: Any, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path / "pipe", **{"max_shard_size": "8KB"} | form)
    assert same(weights(load(tmp_path / "pipe")), case.prefixed("unet.", dict(pipeline.unet.state_dict())))


def test_the_hash_is_of_all_files(folder: Path) -> None:
    before = load(folder).weights_sha256
    shard = sorted((folder / "unet").glob("*-of-*"))[1]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert load(folder).weights_sha256 != before


def edited(change: Callable[[dict[str, str], str], Any]) -> Callable[[Path], None]:
    def edit(unet: Path) -> None:
        content = json.loads((unet / INDEX).read_text())
        change(content["weight_map"], next(iter(content["weight_map"])))
        (unet / INDEX).write_text(json.dumps(content))

    return edit


def shard(unet: Path, number: int) -> Path:
    return sorted(unet.glob("*-of-*"))[number]


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no index": (lambda unet: (unet / INDEX).unlink(), "holds shards .* but not the index .* fetch .*index.json"),
    "a shard is missing": (lambda unet: shard(unet, 1).unlink(), "-00002-of-.* missing; fetch them, too"),
    "another folder": (edited(lambda files, first: files.update({first: "../x.safetensors"})), "no file of the folder"),
    "a full path": (edited(lambda files, first: files.update({first: "/etc/passwd"})), "no file of the folder"),
    "a drive": (edited(lambda files, first: files.update({first: "C:x"})), "no file of the folder"),
    "a zero": (edited(lambda files, first: files.update({first: "a\0b"})), "no file of the folder"),
    "an escape": (edited(lambda files, first: files.update({first: "\x1b]0;x"})), "no file of the folder"),
    "itself": (edited(lambda files, first: files.update({first: INDEX})), "no file of the folder"),
    "dots": (edited(lambda files, first: files.update({first: ".."})), "no file of the folder"),
    "a tensor that is not listed": (edited(lambda files, first: files.pop(first)), "it does not list '"),
    "a tensor that is not there": (edited(lambda files, first: files.update({"x": files[first]})), "'x' is not in"),
    "another shard": (edited(lambda files, first: files.update({first: max(files.values())})), "is not in"),
    "no JSON": (lambda unet: (unet / INDEX).write_text("{"), "index.json: cannot be read"),
    "no text": (lambda unet: (unet / INDEX).write_bytes(b"\xff\xfe"), "index.json: cannot be read"),
    "deep JSON": (lambda unet: (unet / INDEX).write_text("[" * 100_000), "index.json: cannot be read"),
    "a list": (lambda unet: (unet / INDEX).write_text("[1]"), "expected 'weight_map'"),
    "no map": (lambda unet: (unet / INDEX).write_text("{}"), "expected 'weight_map'"),
    "an empty map": (lambda unet: (unet / INDEX).write_text('{"weight_map": {}}'), "expected 'weight_map'"),
    "a list for a map": (lambda unet: (unet / INDEX).write_text('{"weight_map": ["a"]}'), "expected 'weight_map'"),
    "numbers for files": (lambda unet: (unet / INDEX).write_text('{"weight_map": {"a": 1}}'), "expected 'weight_map'"),
    "a page for a shard": (lambda unet: shard(unet, 1).write_text("<html>"), "is a web page"),
    "a cut shard": (lambda unet: shard(unet, 1).write_bytes(shard(unet, 1).read_bytes()[:-1]), "cut short or damaged"),
    "no configuration": (lambda unet: (unet / "config.json").unlink(), "expected config.json and numbers"),
    "no numbers": (lambda unet: list(map(Path.unlink, unet.glob("diffusion*"))), "expected numbers beside"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_wrong_with_shards(what: str, folder: Path) -> None:
    damage, words = BROKEN[what]
    damage(folder / "unet")
    with pytest.raises(CheckpointError, match=words) as caught:
        load(folder)
    assert "Traceback" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_weights_before_averaging_alone(pipeline: Any, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path / "pipe", variant="non_ema")
    with pytest.raises(CheckpointError, match="only the weights before averaging .*non_ema.*; fetch diffusion_pytorch"):
        load(tmp_path / "pipe")


def test_an_index_by_itself(tmp_path: Path) -> None:
    """As transformers and huggingface_hub write it for any state dict."""
    save_torch_state_dict(RAW, tmp_path, max_shard_size="8KB")
    index = tmp_path / "model.safetensors.index.json"
    made = medzoo.load(family="dcgan", weights=index, fused=False, device="cpu")
    assert same(weights(made), RAW)
    assert same(checkpoints.read(index, made.entry.checkpoint), RAW)
    found = inspection.inspect(index)
    assert found.kind.startswith("an index of 3 files") and found.state_dicts[0].tensors == len(RAW)
    link = tmp_path / "linked"
    link.mkdir()
    for path in tmp_path.glob("model*"):  # as the cache of the Hub lays files out
        (link / path.name).symlink_to(path)
    assert same(weights(medzoo.load(family="dcgan", weights=link / index.name, fused=False, device="cpu")), RAW)


def test_shards_of_torch_files(tmp_path: Path) -> None:
    save_torch_state_dict(RAW, tmp_path, max_shard_size="8KB", safe_serialization=False)
    index = next(tmp_path.glob("*.index.json"))
    assert same(weights(medzoo.load(family="dcgan", weights=index, fused=False, device="cpu")), RAW)
    assert inspection.inspect(index).container == "torch"


def test_averaged_weights_in_shards(tmp_path: Path) -> None:
    save_torch_state_dict(
        case.prefixed("g.", RAW) | case.prefixed("g_ema.", case.AVERAGED), tmp_path, max_shard_size="8KB"
    )
    made = medzoo.load(family="dcgan", weights=next(tmp_path.glob("*.index.json")), fused=False, device="cpu")
    assert same(weights(made), case.AVERAGED)


def test_a_folder_is_not_changed(folder: Path, tmp_path: Path) -> None:
    before = shutil.copytree(folder, tmp_path / "before")
    load(folder)
    for path in before.rglob("*"):
        assert path.is_dir() or path.read_bytes() == (folder / path.relative_to(before)).read_bytes()
