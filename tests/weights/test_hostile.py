"""Hostile files go the way of honest ones (an entry, its source, ``medzoo.load``) and come back as one clear error.

A canary proves that nothing in them ran: a mark on the disk, a module that must not be imported, and Python's own audit
events. What is too large is read in a process whose memory is limited.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import stat
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from safetensors.torch import save

import medzoo
from medzoo.entry import Checkpoint
from medzoo.errors import CheckpointError, MedzooError
from medzoo.files import cache
from medzoo.weights import checkpoints, inspection, pickles
from medzoo.weights.pickles import Mode
from tests.conftest import entry_fields, random_state
from tests.tools import hostile
from tests.tools.hostile import Canary
from tests.tools.paths import ROOT
from tests.tools.servers import ZenodoServer

MODEL = "99001_TINY"
quick = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Canary:
    """Alive as long as nothing of a file is run; its module can be imported."""
    folder = tmp_path / "canary"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return Canary(folder).lay()


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """``load(source, container) -> message``: the one error that loading a model of a registry gives."""

    def attempt(source: Path | dict[str, Any], container: str) -> str:
        local = {"kind": "local", "path": str(source), "sha256": None}
        fields = entry_fields(
            weights=[local if isinstance(source, Path) else source],
            checkpoint={"container": container, "key": None, "strip_prefix": None},
        )
        registry = tmp_path / "registry"
        registry.mkdir(exist_ok=True)
        (registry / f"{MODEL}.yaml").write_text(json.dumps(fields))
        monkeypatch.setenv("MEDZOO_REGISTRY", str(registry))
        with pytest.raises(MedzooError) as caught:
            medzoo.load(MODEL, device="cpu")
        assert len(str(caught.value)) < 2500 and str(caught.value).count("\n") <= 3
        assert half_written() == []
        return str(caught.value)

    return attempt


def half_written() -> list[str]:
    """Files in the cache but locks, hashes first seen, and weights that are there to the last byte."""
    whole = {stored.path for stored in cache.stored() if cache.is_intact(stored)}
    expected = whole | {path.with_suffix(".json") for path in whole}
    files = [path for path in cache.root().rglob("*") if path.is_file() and "locks" not in path.parts]
    return [str(path) for path in files if path not in expected and not path.name.startswith("lock.json")]


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# ----------------------------------------------------------------------------------- pickles that run something

WAYS = sorted(hostile.running(Canary(Path("nowhere"))))
# Those that the unpickler of Python runs; the others need a module that is not there, or refuse their own arguments.
BITING = {
    "posix.system", "os.system", "builtins.eval", "builtins.exec", "importlib", "__import__", "subprocess", "runpy",
    "unknown function", "old style", "old style, marked", "stacked name", "dotted name", "partial, called",
    "state of an object", "function of numpy",
}  # fmt: skip
CALLED = r"wants to call|names [\w.]+, a part of Python|calls something that is not a function|uses EXT1"


@pytest.mark.parametrize("form", ["bare", "zip", "stream"])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_run(way: str, form: str, canary: Canary, tmp_path: Path, load: Callable[..., str]) -> None:
    pickled = hostile.beside_weights(hostile.running(canary)[way])
    forms = {
        "bare": lambda: pickled,
        "zip": lambda: hostile.torch_zip(pickled),
        "stream": lambda: hostile.torch_stream_of(pickled[2:-1]),
    }
    path = written(tmp_path, "model.pth", forms[form]())
    message = load(path, "pickle")
    inert = way in ("source in persistence", "state of an object", "state of a name", "partial, called")
    assert "model.pth: " in message
    assert re.search(CALLED, message) or (inert and "expected a tensor" in message), message
    if form != "bare":
        assert re.search("model.pth: (holds an object of|its pickle uses|the torch|'x')", load(path, "torch"))
    assert canary.is_alive()


@pytest.mark.parametrize("way", WAYS)
def test_looking_runs_nothing_either(way: str, canary: Canary, tmp_path: Path) -> None:
    """``medzoo info FILE`` says why a file is refused; by Python's own account only reading happens."""
    path = written(tmp_path, "model.pkl", hostile.beside_weights(hostile.running(canary)[way]))
    honest = written(tmp_path, "honest.pkl", pickle.dumps({"w": [1.0]}))
    assert inspection.inspect(honest).refused == ()  # everything is imported now
    with hostile.listening() as heard:
        try:
            found = inspection.inspect(path)
        except CheckpointError:
            found = None
        with pytest.raises(CheckpointError):
            checkpoints.read(path, Checkpoint(container="pickle", key=None, strip_prefix=None))
    assert heard == []
    assert found is None or found.refused or "x" in [part.key for part in found.parts]
    assert canary.is_alive()


def test_the_corpus_bites(canary: Canary, tmp_path: Path) -> None:
    """Python's own unpickler runs these files: a reader that refused only what is broken anyway would prove nothing."""
    for way, instructions in hostile.running(canary).items():
        written(tmp_path, f"{way}.hostile", hostile.program(instructions))
    code = (
        "import pickle, sys, warnings\nfrom pathlib import Path\nwarnings.simplefilter('ignore')\n"
        "folder, mark = map(Path, sys.argv[1:])\n"
        "for path in sorted(folder.glob('*.hostile')):\n"
        "    try: pickle.loads(path.read_bytes())\n"
        "    except BaseException: pass\n"
        "    if mark.exists(): print(path.stem)\n"
        "    mark.unlink(missing_ok=True); sys.modules.pop('medzoo_canary', None)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(canary.mark)]
    environment = os.environ | {"PYTHONPATH": str(canary.folder)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert set(ran.stdout.splitlines()) >= BITING


def test_persistence_with_weights_is_read_and_its_source_is_not_run(canary: Canary, tmp_path: Path) -> None:
    state = {"_parameters": {"w": [1.0]}, "_buffers": {}, "_modules": {}}
    meta = {"type": "class", "version": 6, "module_src": canary.code, "class_name": "Generator", "state": state}
    call = hostile.call("torch_utils.persistence", "_reconstruct_persistent_obj", pickle.dumps(meta, 4)[2:-1])
    path = written(tmp_path, "model.pkl", hostile.program(b"}", hostile.word("G_ema"), call, b"s"))
    with hostile.listening() as heard:
        content = pickles.read(path, Mode.CLASSES)
    assert (content.source, pickles.module_class(content.content["G_ema"]), heard) == (
        len(canary.code),
        "Generator",
        [],
    )
    assert canary.is_alive()


# ----------------------------------------------------------------------------------- too much of everything

LIMITED = """
import json, resource, sys
from pathlib import Path
import medzoo
import medzoo.zoo.barefile
from medzoo.families import get_family
from medzoo.weights import checkpoints
from medzoo.weights import inspection
from medzoo.entry import Checkpoint
from medzoo.errors import MedzooError
get_family("dcgan")
status = Path("/proc/self/status").read_text()
used = int(status.split("VmSize:")[1].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 256_000_000, used + 256_000_000))
for name in sys.argv[1:]:
    told = []
    for container in ("torch", "pickle", None, "load"):
        try:
            if container is None:
                found = inspection.inspect(Path(name))
                told.append(f"{found.refused}")
            elif container == "load":
                medzoo.load(family="dcgan", weights=name, device="cpu")
                told.append("loaded")
            else:
                checkpoints.read(Path(name), Checkpoint(container=container, key=None, strip_prefix=None))
                told.append("read")
        except MedzooError as error:
            told.append(str(error))
    print(json.dumps([name, told]))
"""


def limited(*paths: Path) -> dict[str, list[str]]:
    """What reading as torch, as pickle, looking and loading say of each file, in a process with 256 MB to spare."""
    command = [sys.executable, "-c", LIMITED, *map(str, paths)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # The timeout is no measure: it ends a reader that would never end.
    ran = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return {Path(name).stem: told for name, told in map(json.loads, ran.stdout.splitlines())}


def bombs(folder: Path) -> list[Path]:
    """Every short file that claims, or would become, more than any machine has."""
    exhausting = {name: hostile.program(instructions) for name, instructions in hostile.exhausting().items()}
    files = {f"{name}, bare.pkl": content for name, content in exhausting.items()}
    in_zips = ("list of lists of lists", "list in itself", "bytes of a number", "memo of four billion", "deep objects")
    files |= {f"{name}, zip.pth": hostile.torch_zip(exhausting[name]) for name in in_zips}
    zeros = bytes(300_000_000)
    packed = zipfile.ZIP_DEFLATED
    good = {"w": torch.ones(4)}
    shared = torch.ones(1_000_000)
    claim = hostile.MARK + hostile.word("storage") + hostile.name("torch", "FloatStorage") + hostile.word("0")
    claim += hostile.word("cpu") + hostile.whole(2**50) + hostile.TUPLE + b"Q"
    header = {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}
    files |= {
        "packed pickle.pth": hostile.torch_zip(zeros, method=packed),
        "packed numbers.pth": hostile.torch_zip(
            hostile.program(claim.replace(hostile.whole(2**50), hostile.whole(len(zeros) // 4))),
            method=packed, **{"archive/data/0": zeros},
        ),
        "storage that is not there.pth": hostile.torch_zip(hostile.program(claim), **{"archive/data/0": b"abcd"}),
        "stream of 2^50.pth": hostile.torch_stream(hostile.name("torch", "FloatStorage"), 2**50),
        "one storage many times.pth": hostile.saved({f"w{i}": shared[i:] for i in range(1000)}),
        "header of 2^60.safetensors": struct.pack("<Q", 2**60) + b'{"w":' + bytes(100),
        "header longer than the file.safetensors": hostile.safetensors({}, length=10_000),
        "tensor of 2^60.safetensors": hostile.safetensors({"w": header}, bytes(64)),
        "deep header.safetensors": hostile.safetensors(b'{"w":' + b"[" * 100_000),
        "bytes after the end.pkl": pickle.dumps(good) + b"x",
    }  # fmt: skip
    return [written(folder, name, content) for name, content in files.items()]


def test_memory_and_time_are_bounded(tmp_path: Path) -> None:
    for name, told in limited(*bombs(tmp_path)).items():
        assert "read" not in told[:2], (name, told)
        for message in told[:2]:
            assert Path(name).name in message and len(message) < 1500, (name, message)
            assert "MemoryError" not in message, (name, message)
        if "," not in name:  # looking reads no numbers, so that it may describe them
            continue
        assert "MemoryError" not in told[2], (name, told[2])


def lines() -> dict[str, bytes]:
    """Instructions of the first protocol, whose arguments end with a line."""
    frame = b"\x80\x04\x95" + bytes(8)
    return {
        "many": frame + b"(" + (b"S'" + b"a" * 66_000 + b"'\n") * 700 + b"l.",
        "texts": frame + b"(" + (b"V" + b"a" * 66_000 + b"\n") * 700 + b"l.",
        "one": frame + b"V" + b"a" * 40_000_000 + b"\n.",
        "no end": frame + b"V" + b"a" * 40_000_000,
        "digits": frame + b"I" + b"9" * 10_000_000 + b"\n.",
        "digits of a long number": frame + b"L" + b"9" * 10_000_000 + b"L\n.",
        "digits of a real number": frame + b"F0." + b"9" * 10_000_000 + b"\n.",
    }


def many_sides() -> dict[str, bytes]:
    shapes = {"many": [99] * 2_000_000, "of nothing": [0] * 2_000_000, "long": [2**62] * 64}
    fields = {"dtype": "F32", "data_offsets": [0, 0]}
    return {name: hostile.safetensors({"w": fields | {"shape": shape}}) for name, shape in shapes.items()}


def beside(values: dict[str, bytes]) -> dict[str, bytes]:
    return {name: hostile.beside(value) for name, value in values.items()}


# Short files that would keep a careless reader busy for hours.
COSTLY: dict[str, tuple[str, Callable[[], dict[str, bytes]]]] = {
    "values without end": (".pth", lambda: beside(hostile.endless_values())),
    "equal hashes": (".pth", lambda: beside(hostile.equal_hashes(50_000))),
    "shared values": (".pth", lambda: beside(hostile.shared_values(20_000))),
    "shapes": (".pth", hostile.odd_shapes),
    "lines": (".pkl", lines),
    "names": (".safetensors", lambda: hostile.many_names(4000)),
    "sides": (".safetensors", many_sides),
}


@pytest.mark.parametrize("kind", COSTLY)
def test_short_files_take_a_short_time(kind: str, tmp_path: Path) -> None:
    """Each within seconds, with a value or one clear error; what lies beside the weights harms nothing."""
    suffix, make = COSTLY[kind]
    files = [written(tmp_path, f"{name}{suffix}", content) for name, content in make().items()]
    told = limited(*files)
    assert len(told) == len(files) > 2
    for name, messages in told.items():
        assert "loaded" not in messages, name
        for message in messages:
            assert len(message) < 1500 and "MemoryError" not in message, (name, message)


# ----------------------------------------------------------------------------------- damaged and lying files


def tiny() -> dict[str, torch.Tensor]:
    return random_state(entry_fields())


def with_nan() -> dict[str, torch.Tensor]:
    state = tiny()
    next(value for value in state.values() if value.dim() > 1).flatten()[0] = float("nan")
    return state


def of_another_shape() -> dict[str, torch.Tensor]:
    state = tiny()
    key = next(key for key, value in state.items() if value.dim() > 1)
    return state | {key: torch.ones(7, 7)}


LYING = {
    "page.pth": (lambda: b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "page.pth: the file is a web page"),
    "cut.pth": (lambda: hostile.saved(tiny())[:-200], "cut.pth: .*(cut short|damaged)"),
    "cut-stream.pth": (lambda: hostile.saved(tiny(), legacy=True)[:-20], "cut-stream.pth: .*cut short"),
    "flipped-number.pth": (lambda: flipped_number(), r"flipped-number.pth: '[\w.]+' is damaged: .*checksum"),
    "flipped-pickle.pth": (lambda: flipped_pickle(), "flipped-pickle.pth: .*damaged: the checksum of its data.pkl"),
    "two-members.pth": (lambda: two_members(), "two-members.pth: .*two members have the same name"),
    "big-endian.pth": (
        lambda: hostile.torch_zip(hostile.program(b"}"), **{"archive/byteorder": b"big"}),
        "big-endian.pth: .*big-endian",
    ),
    "shapes.pth": (lambda: hostile.saved(of_another_shape()), r"\[7, 7\], the network needs \["),
    "nan.pth": (lambda: hostile.saved(with_nan()), "nan.pth: '[\\w.]+' holds 1 numbers that are NaN"),
    "missing.pth": (lambda: hostile.saved({"w": torch.ones(1)}), "missing"),
    "cut.safetensors": (lambda: save(tiny())[:-4], "cut.safetensors: .*cut short or damaged"),
    "flipped.safetensors": (lambda: hostile.flipped(save(tiny()), 3), "flipped.safetensors: .*cut short or damaged"),
    "huge.safetensors": (
        lambda: struct.pack("<Q", 2**60) + save(tiny())[8:], "huge.safetensors: .*cut short or damaged",
    ),
    "shapes.safetensors": (lambda: save(of_another_shape()), r"\[7, 7\], the network needs \["),
    "nan.safetensors": (lambda: save(with_nan()), "nan.safetensors: '[\\w.]+' holds 1 numbers that are NaN"),
    "overlapping.safetensors": (
        lambda: hostile.safetensors(
            {name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in "ab"}, bytes(16)
        ),
        "overlapping.safetensors: .*cut short or damaged",
    ),
}  # fmt: skip


def flipped_number() -> bytes:
    content = hostile.saved(tiny())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size if "/data/" in member.filename else 0)
    return hostile.flipped(content, largest.header_offset + 200)


def flipped_pickle() -> bytes:
    content = hostile.saved(tiny())
    return hostile.flipped(content, content.index(b"_rebuild_tensor_v2") + 3)


def two_members() -> bytes:
    target = io.BytesIO(hostile.saved(tiny()))
    with warnings.catch_warnings(), zipfile.ZipFile(target, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("archive/data.pkl", hostile.program(b"}"))
    return target.getvalue()


@pytest.mark.parametrize("name", sorted(LYING))
def test_a_file_that_is_not_what_it_should_be(name: str, tmp_path: Path, load: Callable[..., str]) -> None:
    build, words = LYING[name]
    message = load(written(tmp_path, name, build()), "safetensors" if name.endswith("safetensors") else "torch")
    assert re.search(words, message), message


def test_an_absent_file_and_a_folder(tmp_path: Path, load: Callable[..., str]) -> None:
    assert "there is no file" in load(tmp_path / "none.pth", "torch")
    assert "there is no file" in load(tmp_path, "torch")


# ----------------------------------------------------------------------------------- what a server may send


def zipped(*members: tuple[str, bytes], mode: int = 0) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return target.getvalue()


SENT = {
    "a page": (lambda: b"<html>404</html>", None, r"web page|HTML"),
    "a page in a zip": (lambda: zipped(("m.pth", b"<html>404</html>")), "*.pth", "web page"),
    "a pickle in a zip": (lambda: zipped(("m.pth", pickle.dumps([1]))), "*.pth", "bare Python pickle"),
    "dots": (lambda: zipped(("../../m.pth", b"x")), "*.pth", "points outside"),
    "a full path": (lambda: zipped(("/tmp/m.pth", b"x")), "*.pth", "points outside"),
    "a drive": (lambda: zipped((r"C:\m.pth", b"x")), "*.pth", "points outside"),
    "a link": (lambda: zipped(("m.pth", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777), "*.pth", "a link or a device"),
    "a bomb": (lambda: zipped(("m.pth", bytes(50_000_000))), "*.pth", "not a checkpoint"),
    "a zip in a zip": (lambda: zipped(("m.pth", zipped(("x.pth", b"x")))), "*.pth", "a zip archive"),
    "wrong shapes": (lambda: hostile.saved(of_another_shape()), None, r"\[7, 7\], the network needs \["),
}  # fmt: skip


@pytest.mark.parametrize("what", sorted(SENT))
def test_what_a_server_sends(what: str, tmp_path: Path, load: Callable[..., str]) -> None:
    build, member, words = SENT[what]
    before = sorted(tmp_path.parent.rglob("*.pth"))
    with ZenodoServer() as server:
        url = server.add("model.pth", build())
        source = {"kind": "http", "url": url, "member": member, "sha256": None}
        message = load(source, "torch")
    assert re.search(words, message), message
    assert sorted(tmp_path.parent.rglob("*.pth")) == before
    assert not Path("/tmp/m.pth").exists()


def test_a_torch_file_with_members_that_lead_outside_writes_nothing(tmp_path: Path) -> None:
    """Members of a torch file are read by their exact names, in memory; others do not count."""
    pickled = hostile.program(b"}", hostile.word("w"), EMPTY_TENSOR, b"s")
    members = {"archive/../../outside": b"x", "/tmp/medzoo-outside": b"x", "archive/data/0": bytes(16)}
    path = written(tmp_path, "model.pth", hostile.torch_zip(pickled, **members))
    state = checkpoints.read(path, Checkpoint(container="torch", key=None, strip_prefix=None))
    assert list(state) == ["w"] and state["w"].shape == (4,)
    assert not Path("/tmp/medzoo-outside").exists() and sorted(os.listdir(tmp_path)) == ["model.pth"]


def reference(numel: int) -> bytes:
    parts = hostile.word("storage") + hostile.name("torch", "FloatStorage") + hostile.word("0") + hostile.word("cpu")
    return hostile.MARK + parts + hostile.whole(numel) + hostile.TUPLE + b"Q"


EMPTY_TENSOR = hostile.call(
    "torch._utils", "_rebuild_tensor_v2",
    reference(4), hostile.whole(0), hostile.MARK + hostile.whole(4) + hostile.TUPLE,
    hostile.MARK + hostile.whole(1) + hostile.TUPLE, b"\x89", hostile.call("collections", "OrderedDict"),
)  # fmt: skip


# ----------------------------------------------------------------------------------- files at random

NAMES = [
    ("posix", "system"), ("builtins", "eval"), ("builtins", "bytearray"), ("builtins", "set"), ("os", "mkdir"),
    (hostile.MODULE, "run"), ("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"), ("torch.storage", "_load_from_bytes"), ("torch", "FloatStorage"),
    ("numpy", "dtype"), ("numpy._core.multiarray", "scalar"), ("numpy._core.multiarray", "_reconstruct"),
    ("torch_utils.persistence", "_reconstruct_persistent_obj"), ("copyreg", "_reconstructor"), ("_codecs", "encode"),
    ("torch._tensor", "_rebuild_from_type_v2"), ("numpy", "ndarray"), ("a", "B"),
]  # fmt: skip
INSTRUCTIONS = some.one_of(
    some.sampled_from(
        [bytes([code]) for code in b"()]}N.0120tRbasueoldQ\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94"]
    ),
    some.sampled_from(NAMES).map(lambda pair: hostile.name(*pair)),
    some.sampled_from(NAMES).map(lambda pair: hostile.name(*pair) + hostile.MARK),
    some.text(max_size=8).map(hostile.word),
    some.integers(-(2**70), 2**70).map(hostile.whole),
    some.integers(0, 6).map(hostile.put),
    some.integers(0, 6).map(hostile.get),
    some.binary(max_size=40).map(hostile.data),
)


@quick
@given(instructions=some.lists(INSTRUCTIONS, max_size=60), mode=some.sampled_from(list(Mode)))
def test_pickles_at_random(instructions: list[bytes], mode: Mode, tmp_path: Path, canary: Canary) -> None:
    """Whatever the instructions, they give inert values or one kind of error, and Python does nothing beside it."""
    path = written(tmp_path, "random.pkl", hostile.program(*instructions))
    assert pickles.read(written(tmp_path, "honest.pkl", pickle.dumps([1])), mode).content == [1]
    with hostile.listening() as heard:
        try:
            content = pickles.read(path, mode).content
            list(pickles.leaves(content))
        except (CheckpointError, pickles.Refused):
            pass
    assert heard == [] and canary.is_alive()


@quick
@given(
    legacy=some.booleans(),
    spots=some.lists(some.tuples(some.floats(0, 1, exclude_max=True), some.integers(0, 255)), min_size=1, max_size=6),
    container=some.sampled_from(["torch", "pickle"]),
)
def test_torch_files_with_bytes_at_random(
    legacy: bool, spots: list[tuple[float, int]], container: Any, tmp_path: Path
) -> None:
    content = bytearray(hostile.saved({"g": {"a": torch.ones(3), "b": torch.arange(4)}, "n": 3}, legacy=legacy))
    for where, value in spots:
        content[int(where * len(content))] = value
    path = written(tmp_path, "random.pth", bytes(content))
    for attempt in (
        lambda: checkpoints.read(path, Checkpoint(container=container, key="g", strip_prefix=None)),
        lambda: inspection.inspect(path),
    ):
        try:
            attempt()
        except CheckpointError as error:
            assert "random.pth" in str(error)


JSON = some.recursive(
    some.none() | some.booleans() | some.integers(-(2**65), 2**65) | some.text(max_size=5) | some.floats(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
TENSOR = some.fixed_dictionaries(
    {
        "dtype": some.sampled_from(["F32", "F64", "I64", "BOOL", "F8_E4M3", "X", None, 3]),
        "shape": some.lists(some.integers(-2, 2**61), max_size=4) | JSON,
        "data_offsets": some.tuples(some.integers(-1, 2**62), some.integers(0, 64)) | JSON,
    }
)
HEADERS = some.dictionaries(some.text(max_size=6), TENSOR | JSON, max_size=4) | JSON


@quick
@given(header=HEADERS | some.binary(max_size=40), length=some.none() | some.integers(0, 2**64 - 1))
def test_safetensors_headers_at_random(header: Any, length: int | None, tmp_path: Path) -> None:
    path = written(tmp_path, "random.safetensors", hostile.safetensors(header, bytes(64), length=length))
    for attempt in (lambda: checkpoints.load_safetensors(path), lambda: inspection.inspect(path)):
        try:
            attempt()
        except CheckpointError as error:
            assert "random.safetensors" in str(error)
