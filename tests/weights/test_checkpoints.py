"""medzoo.weights.checkpoints: every container that the conformance kit lists, and everything that must be refused."""

from __future__ import annotations

import collections
import errno
import json
import os
import pickle
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from medzoo.entry import Checkpoint
from medzoo.errors import CheckpointError
from medzoo.files import kind as filekind
from medzoo.weights import averages, checkpoints
from tests.tools.paths import SHARED
from tests.tools.weights_case import entry

KIT = SHARED / "conformance" / "public"
CASES = [
    case
    for path in sorted(KIT.glob("*.json"))
    if "state_dict" in (case := json.loads(path.read_text())) and case["container"]["form"] != "folder"
]
needs_kit = pytest.mark.skipif(not CASES, reason="the conformance kit is not beside the checkout (../shared)")
by_name = {case["case"]: case for case in CASES}


def layout(key: str | None = None, strip_prefix: str | None = None, ema: str | None = None) -> Checkpoint:
    return Checkpoint(container="torch", key=key, strip_prefix=strip_prefix, ema=ema)


def tensors(items: list[list[Any]], prefix: str = "", start: int = 0) -> dict[str, torch.Tensor]:
    """One small tensor a key, each with a value of its own: the sizes are no business of a container."""
    return {
        prefix + key: torch.full([min(size, 3) for size in shape], start + i, dtype=getattr(torch, dtype))
        for i, (key, shape, dtype) in enumerate(items)
    }


def adam() -> dict[str, Any]:
    """The state of a real optimizer after a step."""
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def nested(at: list[str], value: Any) -> Any:
    for key in reversed(at):
        value = {key: value}
    return value


def as_published(case: dict[str, Any]) -> tuple[Any, Checkpoint]:
    """The original file of a case with everything beside the generator, and how an entry would describe it."""
    container = case["container"]
    state = tensors(case["state_dict"], container["key_prefix"])
    for prefix in [text.split()[0] for text in container.get("alternative_prefixes", [])]:
        state |= tensors(case["state_dict"], prefix, start=500)
    state |= tensors(case.get("stale_buffers", []), container["key_prefix"])
    content = nested(container["state_dict_at"], state)
    for other in container["must_ignore"]:
        what, at = other["what"], other["at"]
        if "keys starting with discriminator." in what:
            state["discriminator.conv.weight"] = torch.ones(3)
        elif "module-level buffers" in what:
            state |= tensors(container["module_buffers"])
        elif at and "optim" in at[0] or "Adam" in what:
            content[at[0]] = adam()
        elif "list of plain tensors" in what:
            content[at[0]] = [torch.full_like(state[container["key_prefix"] + key], 900 + i)
                              for i, key in enumerate(case["parameter_order"])]  # fmt: skip
        elif at:
            content[at[0]] = {container["key_prefix"] + "main.0.weight": torch.ones(3)}
    return content, layout(".".join(container["state_dict_at"]) or None, container["key_prefix"] or None)


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return list(found) == list(expected) and all(
        found[key].dtype == value.dtype and torch.equal(found[key], value) for key, value in expected.items()
    )


def expected(case: dict[str, Any]) -> dict[str, torch.Tensor]:
    # Stale buffers go through: only the family knows that its network has none.
    return tensors(case["state_dict"]) | tensors(case.get("stale_buffers", []))


@needs_kit
@pytest.mark.parametrize("name", sorted(by_name))
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_container_of_every_case(name: str, legacy: bool, tmp_path: Path) -> None:
    case = by_name[name]
    content, described = as_published(case)
    torch.save(content, tmp_path / "file.any", _use_new_zipfile_serialization=not legacy)
    assert filekind.guess(tmp_path / "file.any") == ("torch-legacy" if legacy else "torch")
    assert same(checkpoints.read(tmp_path / "file.any", described), expected(case))


@needs_kit
@pytest.mark.parametrize("name", sorted(by_name))
def test_data_parallel_copy_of_every_case(name: str, tmp_path: Path) -> None:
    """``module.`` on every key, stated by nobody."""
    case = by_name[name]
    container = case["container"]
    prefix = container["key_prefix"].replace("module.", "")
    state = {f"module.{prefix}{key}": value for key, value in expected(case).items()}
    torch.save(nested(container["state_dict_at"], state), tmp_path / "file.pt")
    described = layout(".".join(container["state_dict_at"]) or None, prefix or None)
    assert same(checkpoints.read(tmp_path / "file.pt", described), expected(case))


@needs_kit
@pytest.mark.parametrize("name", ["fastgan_polyp_256", "dcgan_mammo_128"])
def test_variants_seen_in_practice(name: str, tmp_path: Path) -> None:
    """One device (no prefix), a flat copy, and a file from before num_batches_tracked, all under one entry."""
    case = by_name[name]
    _, described = as_published(case)
    state = expected(case)
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    for variant, result in [
        (nested(case["container"]["state_dict_at"], state), state),
        (state, state),
        (collections.OrderedDict(state), state),
        (old, old),
        ({f"module.{key}": value for key, value in state.items()}, state),
    ]:
        torch.save(variant, tmp_path / "file.pt")
        assert same(checkpoints.read(tmp_path / "file.pt", described), result)


@needs_kit
def test_either_generator_of_a_file_by_its_prefix(tmp_path: Path) -> None:
    case = by_name["pggan_cxr_32_small"]
    content, _ = as_published(case)
    torch.save(content, tmp_path / "file.pt")
    averaged = checkpoints.read(tmp_path / "file.pt", layout("state_dict", "gen_shadow."))
    raw = checkpoints.read(tmp_path / "file.pt", layout("state_dict", "generator."))
    assert same(averaged, tensors(case["state_dict"])) and same(raw, tensors(case["state_dict"], start=500))


@needs_kit
def test_averaged_parameters_replace_parameters_and_leave_buffers(tmp_path: Path) -> None:
    case = by_name["fastgan_polyp_256"]
    content, _ = as_published(case)
    torch.save(content, tmp_path / "file.pth")
    found = checkpoints.read(tmp_path / "file.pth", layout("g", "module.", ema="g_ema"))
    order = case["parameter_order"]
    # The kit's own list says which keys are parameters, and in which order the averages lie.
    assert [key for key in found if float(found[key].flatten()[0]) >= 900] == order
    assert [float(found[key].flatten()[0]) for key in order] == [900.0 + i for i in range(len(order))]
    buffers = set(found) - set(order)
    assert buffers and all(torch.equal(found[key], tensors(case["state_dict"])[key]) for key in buffers)


def test_buffer_names_agree_with_torch() -> None:
    network = torch.nn.Sequential(
        torch.nn.utils.spectral_norm(torch.nn.Conv2d(1, 2, 3)),
        torch.nn.BatchNorm2d(2),
        torch.nn.InstanceNorm2d(2, affine=True, track_running_stats=True),
        torch.nn.MultiheadAttention(4, 2),
        torch.nn.PReLU(),
    )
    parameters = [key for key, _ in network.named_parameters()]
    assert [key for key in network.state_dict() if not averages.BUFFER.search(key)] == parameters


@pytest.mark.parametrize(
    ("ema", "words"),
    [
        ([torch.ones(2)], "holds 1 tensors, but the network has 2 parameters"),
        ([torch.ones(2), torch.ones(3)], r"shape \(3,\) where the parameter 'b' has \(2,\)"),
        ({"a": torch.ones(2)}, "state it as 'key: g_ema' instead"),
        ([1, 2], "expected a list of tensors"),
    ],
)
def test_averages_that_do_not_fit(ema: Any, words: str, tmp_path: Path) -> None:
    state = {"a": torch.ones(2), "b": torch.ones(2), "running_mean": torch.ones(2)}
    torch.save({"g": state, "g_ema": ema}, tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match=words):
        checkpoints.read(tmp_path / "file.pt", layout("g", ema="g_ema"))


SD = {"a.weight": torch.ones(2)}


@pytest.mark.parametrize(
    ("content", "key", "words"),
    [
        ({"g": SD, "d": SD, "opt": {"state": {}}}, None, r"it holds 'g' \(a mapping of 1\).*`checkpoint: {key: g}`"),
        ({"model": {"g": SD, "step": 3}}, "model", r"'model' is not a state dict.*{key: model.g}"),
        ({"g": SD}, "netG", "there is no 'netG' in it; it holds 'g'.*{key: g}"),
        ({"a": {"b": SD}}, "a.c", "there is no 'a.c' in it; it holds 'b'"),
        ({"g": 3}, "g", "'g' holds a int, expected a state dict"),
        ({"g": {}}, "g", "'g' holds a mapping of 0"),
        ({"w": torch.ones(1), "epoch": 3}, None, "'epoch' of the state dict is a int, expected a tensor"),
        ([torch.ones(1)], None, "holds a list of 1, expected a state dict"),
        ({}, None, "a mapping of 0"),
        ({"w": torch.tensor([1.0, float("nan")])}, None, "'w' holds 1 numbers that are NaN or infinite"),
        ({"w": torch.tensor([float("inf")] * 2)}, None, "'w' holds 2 numbers"),
        ({"w": torch.ones(1).expand(2**40)}, None, f"'w' claims {2**40} numbers, more than the file stores"),
        ({"w": torch.eye(2).to_sparse()}, None, "an object of torch.sparse_tensor"),
        ({"w": torch.ones(2, dtype=torch.complex64)}, None, "torch.complex64"),
        ({"w": torch.ones(2, device="meta")}, None, "meta"),
    ],
)
def test_contents_that_are_no_state_dict(content: Any, key: str | None, words: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match=words) as caught:
        checkpoints.read(tmp_path / "file.pt", layout(key))
    assert "file.pt" in str(caught.value)


# ----------------------------------------------------------------------------------- nothing is run


class Evil:
    """Unpickling this makes a folder."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_code_inside_is_named_and_not_run(legacy: bool, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    content = {"g": SD, "extra": Evil(str(mark))}
    torch.save(content, tmp_path / "file.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"file.pt: holds an object of posix\.mkdir, .*not run"):
        checkpoints.read(tmp_path / "file.pt", layout("g"))
    assert not mark.exists()
    torch.save(torch.nn.Linear(2, 2), tmp_path / "file.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
        checkpoints.read(tmp_path / "file.pt", layout())


def test_bare_pickle_is_not_opened(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "file.pkl").write_bytes(pickle.dumps({"G_ema": Evil(str(mark))}))
    with pytest.raises(CheckpointError, match="bare Python pickle"):
        checkpoints.read(tmp_path / "file.pkl", layout("G_ema"))
    assert not mark.exists()


def test_torchscript_is_not_run(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "file.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"archive/{name}", b"x")
    with pytest.raises(CheckpointError, match="TorchScript program"):
        checkpoints.read(tmp_path / "file.pt", layout())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of a large-file store"),
        ("Größe".encode() * 200, "plain text"),
        (b"", "empty"),
        (bytes(2000), "no known kind"),
        (b"PK\x03\x04" + bytes(100), "cut short or damaged"),
    ],
)
def test_files_that_are_no_checkpoint(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    for read in (checkpoints.load_safetensors, lambda path: checkpoints.read(path, layout())):
        with pytest.raises(CheckpointError, match=words):
            read(tmp_path / "model.safetensors")


def test_absent_file_and_plain_zip(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.read(tmp_path / "none.pt", layout())
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.load_safetensors(tmp_path / "none.pt")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("model.pt", b"x")
    with pytest.raises(CheckpointError, match="a zip archive, not a checkpoint inside one"):
        checkpoints.read(tmp_path / "a.zip", layout())


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_damaged_torch_files_give_one_kind_of_error(legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save({"g": {f"layer.{i}.weight": torch.ones(4) for i in range(5)}}, path,
               _use_new_zipfile_serialization=not legacy)  # fmt: skip
    whole = path.read_bytes()
    chance = random.Random(2)
    refused = 0
    for i in range(150):
        damaged = bytearray(whole)
        if i % 3:
            damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        else:
            del damaged[chance.randrange(len(whole)) :]
        path.write_bytes(damaged)
        try:
            checkpoints.read(path, layout("g"))
        except CheckpointError:
            refused += 1
    assert refused >= 50  # at least every cut


# ----------------------------------------------------------------------------------- safetensors


def test_safetensors_header_that_lies(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"w": torch.arange(64.0)}, path)
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:40], whole + b"\0", struct.pack("<Q", 2**60) + whole[8:]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"x\.safetensors: .*cut short or damaged"):
            checkpoints.load_safetensors(path)


def test_every_flipped_bit_of_a_safetensors_header(tmp_path: Path) -> None:
    """It is refused, or the tensor has another name: the names and shapes are the family's to compare."""
    path = tmp_path / "x.safetensors"
    save_file({"weight": torch.arange(64.0).reshape(8, 8)}, path)
    whole = path.read_bytes()
    end = 8 + struct.unpack("<Q", whole[:8])[0]
    refused = 0
    for at in range(end):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                found = checkpoints.load_safetensors(path)
            except CheckpointError:
                refused += 1
            else:
                name, value = next(iter(found.items()))
                recognised = name == "weight" and value.shape == (8, 8) and value.dtype == torch.float32
                assert not recognised or torch.equal(value, torch.arange(64.0).reshape(8, 8))
    assert refused > end  # most of them


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_safetensors_with_numbers_that_are_not_finite(value: float, tmp_path: Path) -> None:
    save_file({"w": torch.tensor([1.0, value])}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"x\.safetensors: 'w' holds 1 numbers that are NaN or infinite"):
        checkpoints.load_safetensors(tmp_path / "x.safetensors")


def test_large_finite_numbers_are_no_fault(tmp_path: Path) -> None:
    """Their sum is infinite; they are not."""
    state = {"half": torch.full((9,), 6e4, dtype=torch.float16), "single": torch.full((9,), 3e38)}
    save_file(state, tmp_path / "x.safetensors")
    assert same(dict(sorted(checkpoints.load_safetensors(tmp_path / "x.safetensors").items())), state)


def test_safetensors_without_tensors(tmp_path: Path) -> None:
    save_file({}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="no tensors"):
        checkpoints.load_safetensors(tmp_path / "x.safetensors")


def test_torch_file_under_the_name_of_safetensors(tmp_path: Path) -> None:
    torch.save(SD, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="is a torch file; expected a safetensors file"):
        checkpoints.load_safetensors(tmp_path / "x.safetensors")
    assert same(checkpoints.read(tmp_path / "x.safetensors", layout()), SD)


# ----------------------------------------------------------------------------------- conversion


def test_conversion_keeps_every_number_and_its_precision(tmp_path: Path) -> None:
    shared = torch.arange(12.0).reshape(3, 4)
    state = {
        "double": torch.tensor([1 / 3], dtype=torch.float64),
        "half": torch.ones(2, dtype=torch.float16),
        "bfloat": torch.ones(2, dtype=torch.bfloat16),
        "count": torch.tensor(1000),
        "parameter": torch.nn.Parameter(torch.ones(3)),
        "transposed": shared.t(),
        "alias": shared,
        "part": shared[1:, :2],
        "flag": torch.tensor([True]),
    }
    torch.save({"g": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "file.pth")
    model = entry(key="g", strip_prefix="module.")
    checkpoints.convert(tmp_path / "file.pth", model, tmp_path / "out.tmp")
    found = checkpoints.load_safetensors(tmp_path / "out.tmp")
    assert set(found) == set(state)
    for key, value in state.items():
        assert found[key].dtype == value.dtype and torch.equal(found[key], value.detach())
    with safe_open(tmp_path / "out.tmp", "pt") as opened:
        facts = opened.metadata()
    assert facts["source_container"] == "torch" and len(facts["source_sha256"]) == 64


def test_conversion_of_safetensors_takes_the_prefix_off(tmp_path: Path) -> None:
    save_file({"model.a": torch.ones(2), "other": torch.ones(1)}, tmp_path / "in.safetensors")
    model = entry(container="safetensors", strip_prefix="model.")
    checkpoints.convert(tmp_path / "in.safetensors", model, tmp_path / "out")
    assert same(checkpoints.load_safetensors(tmp_path / "out"), {"a": torch.ones(2)})


def test_conversion_to_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    torch.save(SD, tmp_path / "file.pt")
    with pytest.raises(OSError, match="."):
        checkpoints.convert(tmp_path / "file.pt", entry(), tmp_path / "none" / "out")


def test_full_disk_is_an_ordinary_disk_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the safetensors writer raises on a full disk reaches the cache as ENOSPC."""

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    torch.save(SD, tmp_path / "file.pt")
    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        checkpoints.convert(tmp_path / "file.pt", entry(), tmp_path / "out")
    assert caught.value.errno == errno.ENOSPC
