"""medzoo.weights.tensorfile: every kind of number of a safetensors file, and headers that lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import medzoo
from medzoo.checking import goldens
from medzoo.cli import main
from medzoo.entry import Checkpoint
from medzoo.errors import CheckpointError, MedzooError
from medzoo.weights import checkpoints, inspection, tensorfile
from tests.tools import checkpoint_case as case
from tests.tools import hostile
from tests.tools.checkpoint_case import RAW

PLAIN = Checkpoint(container="safetensors", key=None, strip_prefix=None)
SMALL = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")
WHOLE = ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool")


def as_kind(tensor: torch.Tensor, kind: str) -> torch.Tensor:
    return tensor.to(getattr(torch, kind))


@pytest.mark.parametrize("kind", [*SMALL, *WHOLE, "float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_numbers_of_every_kind(kind: str, suffix: str, tmp_path: Path) -> None:
    """As torch and safetensors read them; 8-bit floats in float32, exactly."""
    state = {"w": as_kind(torch.arange(1, 7).reshape(2, 3), kind), "n": as_kind(torch.ones(()), kind)}
    path = tmp_path / f"x{suffix}"
    if suffix == ".pt":
        torch.save(state, path)
    else:
        save_file(state, path)
        theirs = load_file(path)
        assert all(torch.equal(theirs[name].float(), value.float()) for name, value in state.items())
    found = checkpoints.read(path, Checkpoint(container="torch", key=None, strip_prefix=None))
    for name, value in state.items():
        wanted = value.float() if kind in SMALL else value
        assert found[name].dtype == wanted.dtype and torch.equal(found[name], wanted)
    parts = {part.key: part.what for part in inspection.inspect(path).parts}
    assert parts == {"w": f"{kind} [2, 3]", "n": f"{kind} []"}


@pytest.mark.parametrize("kind", ["complex64", "float4_e2m1fn_x2"])
def test_kinds_that_no_network_has(kind: str, tmp_path: Path) -> None:
    """Described, and refused with their name where they are used; harmless where they are not."""
    odd = torch.ones(2).to(torch.complex64)
    if kind != "complex64":
        odd = torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    save_file({"g.w": torch.ones(2), "x.scale": odd}, tmp_path / "x.safetensors")
    found = checkpoints.read(tmp_path / "x.safetensors", PLAIN.model_copy(update={"strip_prefix": "g."}))
    assert found["w"].tolist() == [1, 1]
    with pytest.raises(CheckpointError, match=f"'x.scale' has dtype torch.{kind.removesuffix('_x2')}"):
        checkpoints.read(tmp_path / "x.safetensors", PLAIN)
    result = CliRunner().invoke(main, ["info", str(tmp_path / "x.safetensors")])
    assert result.exit_code == 0 and f"x.scale: {kind.removesuffix('_x2')}" in result.stdout


@pytest.mark.parametrize(
    ("dtype", "shape", "size", "name"),
    [
        ("F8_E4M3", [4], 4, "float8_e4m3fn"), ("F8_E5M2", [4], 4, "float8_e5m2"), ("F8_E8M0", [4], 4, "float8_e8m0fnu"),
        ("F4", [4], 2, "float4_e2m1fn"), ("F6_E2M3", [4], 3, "float6_e2m3fn"), ("F6_E3M2", [8], 6, "float6_e3m2fn"),
        ("U16", [2], 4, "uint16"), ("U32", [2], 8, "uint32"), ("U64", [2], 16, "uint64"), ("C64", [2], 16, "complex64"),
        ("I2_NEW", [7], 3, "i2_new"),
    ],
)  # fmt: skip
def test_a_whole_file_is_never_called_damaged(
    dtype: str, shape: list[int], size: int, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    header = {"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}
    path.write_bytes(hostile.safetensors(header, bytes(size)))
    (part,) = inspection.inspect(path).parts
    assert part.what == f"{name} {shape}"
    for attempt in (lambda: checkpoints.load_safetensors(path), lambda: checkpoints.read(path, PLAIN)):
        try:
            attempt()
        except CheckpointError as error:
            assert "damaged" not in str(error) and f"has dtype torch.{name}" in str(error)


@pytest.mark.parametrize("kind", WHOLE)
def test_weights_that_are_whole_numbers(kind: str, tmp_path: Path) -> None:
    """No network computes with them: an error that names the tensor and its kind."""
    state = RAW | {"main.0.weight": as_kind(RAW["main.0.weight"].abs() * 100, kind)}
    with pytest.raises(CheckpointError, match=f"of another dtype: main.0.weight is torch.{kind}, the network needs"):
        medzoo.load(family="dcgan", weights=case.saved(tmp_path / "x.pt", state), device="cpu")


@pytest.mark.parametrize("kind", SMALL)
def test_a_generator_of_8_bit_floats(kind: str, tmp_path: Path) -> None:
    small = {name: as_kind(value, kind) if value.is_floating_point() else value for name, value in RAW.items()}
    plain = {name: value.float() if value.is_floating_point() else value for name, value in small.items()}
    save_file(small, tmp_path / "small.safetensors")
    save_file(plain, tmp_path / "plain.safetensors")
    images = [
        medzoo.load(family="dcgan", weights=tmp_path / name, device="cpu").generate(1).images
        for name in ("small.safetensors", "plain.safetensors")
    ]
    np.testing.assert_allclose(images[0], images[1], atol=1e-5)


LYING: dict[str, Any] = {
    "no name": ([1], b""),
    "a name twice": (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],'
                     b'"data_offsets":[0,4]}}', bytes(4)),
    "a gap": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)),
    "bytes behind": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(8)),
    "beyond the end": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(3)),
    "backwards": ({"a": {"dtype": "F32", "shape": [0], "data_offsets": [4, 0]}}, bytes(4)),
    "more numbers than bytes": ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
    "half a number": ({"a": {"dtype": "F4", "shape": [1], "data_offsets": [0, 1]}}, bytes(1)),
    "a shape of words": ({"a": {"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]}}, bytes(4)),
    "a shape that is a word": ({"a": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}}, bytes(4)),
    "truth as a shape": ({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, bytes(4)),
    "a side below zero": ({"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}, bytes(4)),
    "a side of 2^70": ({"a": {"dtype": "F32", "shape": [2**70, 0], "data_offsets": [0, 0]}}, b""),
    "sixty-five sides": ({"a": {"dtype": "F32", "shape": [1] * 65, "data_offsets": [0, 4]}}, bytes(4)),
    "a million sides": ({"a": {"dtype": "F32", "shape": [99] * 1_000_000, "data_offsets": [0, 0]}}, b""),
    "real offsets": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0.0, 4.0]}}, bytes(4)),
    "one offset": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4]}}, bytes(4)),
    "another field": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], "x": 1}}, bytes(4)),
    "no kind": ({"a": {"dtype": None, "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "metadata that is no text": ({"__metadata__": {"a": 1}}, b""),
    "metadata that is a list": ({"__metadata__": [1]}, b""),
}  # fmt: skip


@pytest.mark.parametrize("what", LYING)
def test_headers_that_lie(what: str, tmp_path: Path) -> None:
    header, content = LYING[what]
    path = tmp_path / "x.safetensors"
    path.write_bytes(hostile.safetensors(header, content))
    kind = "is of no known kind" if what == "no name" else "the safetensors file is cut short or damaged"
    for attempt in (checkpoints.load_safetensors, inspection.inspect, lambda path: checkpoints.read(path, PLAIN)):
        with pytest.raises(CheckpointError, match=f"x.safetensors: {kind}"):
            attempt(path)


def test_limits_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({f"w{i}": torch.ones(1) for i in range(20)}, tmp_path / "x.safetensors")
    monkeypatch.setenv("MEDZOO_LIMIT_TENSORS", "10")
    with pytest.raises(CheckpointError, match="x.safetensors: 20 tensors, at most 10 .* set MEDZOO_LIMIT_TENSORS=20"):
        tensorfile.read(tmp_path / "x.safetensors")
    monkeypatch.setenv("MEDZOO_LIMIT_TENSORS", "20")
    assert len(tensorfile.read(tmp_path / "x.safetensors")[0]) == 20
    monkeypatch.setenv("MEDZOO_LIMIT_HEADER_BYTES", "100")
    with pytest.raises(CheckpointError, match="header of x.safetensors: .* set MEDZOO_LIMIT_HEADER_BYTES="):
        tensorfile.read(tmp_path / "x.safetensors")


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "bfloat16", "int64", "float32"])
def test_goldens_of_another_kind(kind: str, tmp_path: Path) -> None:
    save_file({"seed0.images": torch.ones(2).to(getattr(torch, kind))}, tmp_path / "goldens.safetensors")
    with pytest.raises(MedzooError, match="no file of golden samples: expected uint8 seed0.images"):
        goldens.read(tmp_path / "goldens.safetensors")
