"""Files at random: instructions, contents, zips and headers end soon, with a value or one kind of error."""

from __future__ import annotations

import io
import time
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

import medzoo
from medzoo.entry import Checkpoint
from medzoo.errors import CheckpointError, MedzooError
from medzoo.text import printable
from medzoo.weights import checkpoints, inspection
from tests.tools import checkpoint_case as case
from tests.tools import hostile

quick = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
SECONDS = 60.0  # of this process, for one file read in every way


@contextmanager
def soon() -> Iterator[None]:
    start = time.process_time()
    yield
    assert time.process_time() - start < SECONDS


def read_in_every_way(path: Path) -> list[str]:
    """What loading, looking and reading say of a file: nothing but values and errors that this project means."""
    plain = {"key": None, "strip_prefix": None}
    ways = [
        lambda: medzoo.load(family="dcgan", weights=path, device="cpu", fused=False).entry.checkpoint,
        lambda: inspection.inspect(path).state_dicts,
        lambda: sorted(checkpoints.read(path, Checkpoint(container="torch", **plain))),
        lambda: sorted(checkpoints.read(path, Checkpoint(container="pickle", **plain))),
        lambda: sorted(checkpoints.read(path, Checkpoint(container="pickle", key="g", strip_prefix="m.", ema="ema"))),
    ]
    said = []
    with soon():
        for way in ways:
            try:
                said.append(str(way()))
            except MedzooError as error:
                assert len(str(error)) < 3000 and printable(str(error)) == str(error)
                said.append(str(error))
    return said


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# ----------------------------------------------------------------------------------- instructions

NAMES = [
    ("posix", "system"), ("builtins", "eval"), ("builtins", "getattr"), ("builtins", "set"), ("builtins", "range"),
    ("collections", "OrderedDict"), ("collections", "deque"), ("collections", "Counter"), ("typing", "Any"),
    ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor_v3"), ("torch", "uint16"),
    ("torch._utils", "_rebuild_parameter"), ("torch._utils", "_rebuild_qtensor"), ("torch", "float8_e4m3fn"),
    ("torch._tensor", "_rebuild_from_type_v2"), ("torch", "FloatStorage"), ("torch.storage", "UntypedStorage"),
    ("torch", "QUInt8Storage"), ("torch.storage", "_load_from_bytes"), ("numpy", "dtype"), ("numpy", "ndarray"),
    ("numpy._core.multiarray", "scalar"), ("numpy._core.multiarray", "_reconstruct"), ("functools", "partial"),
    ("torch_utils.persistence", "_reconstruct_persistent_obj"), ("copyreg", "_reconstructor"), ("_codecs", "encode"),
    ("numpy._core.numeric", "_frombuffer"), ("pathlib", "PosixPath"), ("a", "B"), ("a", "function"),
]  # fmt: skip
CODES = b"()]}N.0120tRbasueoldQ\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94"
INSTRUCTION = some.one_of(
    some.sampled_from([bytes([code]) for code in CODES]),
    some.sampled_from(NAMES).map(lambda pair: hostile.name(*pair)),
    some.sampled_from(NAMES).map(lambda pair: hostile.name(*pair) + hostile.MARK),
    some.sampled_from(["storage", "0", "cpu", "f4", "w", "g", "ema", "latin1", "_parameters"]).map(hostile.word),
    some.text(max_size=8).map(hostile.word),
    some.integers(-(2**70), 2**70).map(hostile.whole),
    some.integers(0, 4).map(hostile.whole),
    some.integers(0, 6).map(hostile.put),
    some.integers(0, 6).map(hostile.get),
    some.binary(max_size=40).map(hostile.data),
    some.sampled_from([hostile.GOOD, hostile.storage(hostile.FLOATS), hostile.sides(4), hostile.sides(2, 2)]),
)


@quick
@given(instructions=some.lists(INSTRUCTION, max_size=60), form=some.sampled_from(["bare", "zip", "stream", "beside"]))
def test_instructions_at_random(instructions: list[bytes], form: str, tmp_path: Path) -> None:
    body = b"".join(instructions)
    content = {
        "bare": lambda: hostile.program(body),
        "zip": lambda: hostile.in_zip(body),
        "stream": lambda: hostile.torch_stream_of(body),
        "beside": lambda: hostile.beside(body),
    }[form]()
    path = written(tmp_path / "random.pth", content)
    read_in_every_way(case.saved(tmp_path / "honest.pth", {"é".encode("cp437"): case.RAW}))  # imports all
    with hostile.listening() as heard:
        read_in_every_way(path)
    assert heard == []


# ----------------------------------------------------------------------------------- contents

WORDS = some.sampled_from(
    ["g", "G", "netG", "g_ema", "ema", "shadow", "shadow_params", "state_dict", "model", "module", "a.b", "0", "d",
     "module.w", "m.main.0.weight", "main.0.weight", "main.1.weight", "running_mean", "n_averaged", "", ".", "..", "x."]
)  # fmt: skip
KEYS = WORDS | some.integers(-3, 3) | some.none() | some.booleans() | some.binary(max_size=3) | some.floats()
LEAVES = some.one_of(
    some.none(), some.integers(-(2**70), 2**70), some.text(max_size=4), some.floats(), some.binary(max_size=5),
    some.sampled_from([torch.ones(2), torch.ones(()), torch.zeros(0, 3), torch.ones(2, dtype=torch.int64)]),
    some.sampled_from([torch.ones(2).to(torch.uint16), torch.ones(2).to(torch.float8_e5m2), np.float32(1), np.ones(3)]),
    some.sampled_from([case.RAW, case.AVERAGED, list(case.RAW.values()), case.prefixed("m.", case.OTHER)]),
)  # fmt: skip
CONTENTS = some.recursive(
    LEAVES,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(KEYS, inner, max_size=5),
    max_leaves=15,
)


@quick
@given(content=CONTENTS, legacy=some.booleans())
def test_contents_at_random(content: Any, legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "random.pt"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    first = read_in_every_way(path)
    assert first == read_in_every_way(path)  # and the same again


@quick
@given(
    names=some.lists(some.lists(WORDS.filter(bool), min_size=1, max_size=4).map(".".join), min_size=1, max_size=30),
    form=some.sampled_from(["plain", "below a key", "beside"]),
)
def test_names_at_random(names: list[str], form: str, tmp_path: Path) -> None:
    state = {name: torch.ones(2) for name in names}
    content = {"plain": state, "below a key": {"g": state}, "beside": {"g": case.RAW, "ema": state}}[form]
    torch.save(content, tmp_path / "random.pt")
    read_in_every_way(tmp_path / "random.pt")


# ----------------------------------------------------------------------------------- zips

MEMBERS = some.tuples(
    some.sampled_from(["data.pkl", "data/0", "data/1", "version", "byteorder", "../x", "data/../0", "", "é"]),
    some.sampled_from(["a/", "archive/", "", "a/b/", "/"]),
    some.sampled_from(["good", "pickle", "empty", "zeros", "page"]),
    some.booleans(),
)


@quick
@given(
    members=some.lists(MEMBERS, max_size=8),
    before=some.binary(max_size=30),
    comment=some.binary(max_size=30),
    cut=some.none() | some.integers(0, 400),
    flips=some.lists(some.tuples(some.floats(0, 1, exclude_max=True), some.integers(0, 255)), max_size=3),
)
def test_zips_at_random(
    members: list[tuple[str, str, str, bool]],
    before: bytes,
    comment: bytes,
    cut: int | None,
    flips: list[tuple[float, int]],
    tmp_path: Path,
) -> None:
    contents = {
        "good": hostile.program(b"}" + hostile.word("w") + hostile.GOOD + b"s"), "pickle": hostile.program(b"}"),
        "empty": b"", "zeros": bytes(16), "page": b"<html>",
    }  # fmt: skip
    target = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(target, "w") as archive:
        warnings.simplefilter("ignore")
        archive.comment = comment
        for name, folder, content, packed in members:
            member = zipfile.ZipInfo(folder + name)  # may come twice
            method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            archive.writestr(member, contents[content], method)
    damaged = bytearray(before + target.getvalue())
    for where, value in flips:
        damaged[int(where * len(damaged))] = value
    read_in_every_way(written(tmp_path / "random.pth", bytes(damaged[: -cut or None] if cut else damaged)))


# ----------------------------------------------------------------------------------- safetensors

JSON = some.recursive(
    some.none() | some.booleans() | some.integers(-(2**65), 2**65) | some.text(max_size=5) | some.floats(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
TENSOR = some.fixed_dictionaries(
    {
        "dtype": some.sampled_from(["F32", "F64", "BOOL", "F8_E4M3", "F4", "F6_E2M3", "U16", "C64", "X", None, 3]),
        "shape": some.lists(some.integers(-2, 2**65), max_size=4) | some.lists(some.integers(0, 4), max_size=3) | JSON,
        "data_offsets": some.tuples(some.integers(0, 64), some.integers(0, 64)) | JSON,
    }
)
HEADERS = some.dictionaries(WORDS | some.text(max_size=6), TENSOR | JSON, max_size=4) | JSON


@some.composite
def whole(draw: Any) -> tuple[dict[str, Any], bytes]:
    """A header that does not lie, and its numbers."""
    header, end = {}, 0
    bits = {
        "F64": 64,
        "F32": 32,
        "F16": 16,
        "BF16": 16,
        "I64": 64,
        "U16": 16,
        "BOOL": 8,
        "C64": 64,
        "F8_E5M2": 8,
        "F4": 4,
    }
    for name in draw(some.lists(WORDS | some.text(max_size=6), unique=True, max_size=6)):
        dtype, shape = draw(some.sampled_from(sorted(bits))), draw(some.lists(some.integers(0, 3), max_size=4))
        size = int(np.prod(shape, dtype=int)) * bits[dtype]
        if size % 8 == 0:
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size // 8]}
            end += size // 8
    return header, bytes(end)


@quick
@given(header=HEADERS | some.binary(max_size=40), length=some.none() | some.integers(0, 2**64 - 1))
def test_headers_at_random(header: Any, length: int | None, tmp_path: Path) -> None:
    content = hostile.safetensors(header, bytes(64), length=length)
    read_in_every_way(written(tmp_path / "random.safetensors", content))


@quick
@given(file=whole())
def test_headers_that_do_not_lie_are_never_called_damaged(file: tuple[dict[str, Any], bytes], tmp_path: Path) -> None:
    header, numbers = file
    path = written(tmp_path / "random.safetensors", hostile.safetensors(header, numbers))
    said = read_in_every_way(path)
    assert not any("damaged" in words for words in said)
    try:
        parts = {part.key: part for part in inspection.inspect(path).parts}
    except CheckpointError as error:
        assert "cannot be printed" in str(error) or not header
        return
    assert parts.keys() == header.keys()
