"""Published layouts of pickled networks, as ``container: pickle`` reads them, with torch itself as the reference."""

from __future__ import annotations

import argparse
import collections
import functools
import io
import pickle
import struct
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from torch import nn

from medzoo.entry import Checkpoint
from medzoo.errors import CheckpointError
from medzoo.weights import checkpoints, pickles, places
from medzoo.weights.pickles import Mode
from tests.tools import hostile
from tests.tools.paths import ROOT

quick = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def layout(key: str | None = None, container: Any = "pickle", **more: Any) -> Checkpoint:
    return Checkpoint(**{"container": container, "key": key, "strip_prefix": None} | more)


def read(path: Path, key: str | None = None, **more: Any) -> dict[str, torch.Tensor]:
    return checkpoints.read(path, layout(key, **more))


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return list(found) == list(wanted) and all(
        found[key].dtype == value.dtype and torch.equal(found[key], value) for key, value in wanted.items()
    )


def write(path: Path, content: Any, form: str) -> Path:
    """``content`` as today's torch.save, that of before 1.6, or a bare pickle of a protocol."""
    if form in ("zip", "stream"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Couldn't retrieve source code")  # classes of modules made here
            torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    else:
        path.write_bytes(pickle.dumps(content, protocol=int(form)))
    return path


FORMS = ["zip", "stream", "2", "3", "4", "5"]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., types.ModuleType]:
    """``module(name, **members)``: a module that exists while the file is written."""

    def make(name: str, **members: Any) -> types.ModuleType:
        made = types.ModuleType(name)
        for attribute, member in members.items():
            monkeypatch.setattr(member, "__module__", name)
            setattr(made, attribute, member)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    return make


# ----------------------------------------------------------------------------------- StyleGAN2-ADA


class EasyDict(dict[str, Any]):
    """A mapping whose items are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("this would run the source code in the file")


class Persistent(nn.Module):
    """Writes itself as classes of ``torch_utils.persistence`` do: a call with the source code and the attributes."""

    source = "raise AssertionError('source code of a file was run')"

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self._init_args, self._init_kwargs = (), EasyDict(arguments)

    def __reduce__(self) -> Any:
        fields = super().__reduce__()
        assert not isinstance(fields, str)
        meta = {"type": "class", "version": 6, "module_src": self.source, "class_name": type(self).__name__}
        return _reconstruct_persistent_obj, (meta | {"state": fields[2]},), None


class FullyConnectedLayer(Persistent):
    def __init__(self, inp: int, out: int) -> None:
        super().__init__(in_features=inp, out_features=out)
        self.weight, self.bias = nn.Parameter(torch.randn(out, inp) * 100), nn.Parameter(torch.randn(out))


class MappingNetwork(Persistent):
    def __init__(self) -> None:
        super().__init__(num_layers=2)
        self.fc0, self.fc1 = FullyConnectedLayer(4, 8), FullyConnectedLayer(8, 8)
        self.register_buffer("w_avg", torch.randn(8))
        self.register_buffer("passing", torch.ones(3), persistent=False)


class Generator(Persistent):
    def __init__(self) -> None:
        super().__init__(z_dim=4, w_dim=8, mapping_kwargs=EasyDict(num_layers=2), synthesis_kwargs=EasyDict())
        self.mapping, self.synthesis = MappingNetwork(), nn.ModuleDict({"b4": FullyConnectedLayer(8, 3)})


@pytest.fixture
def snapshot(module: Callable[..., types.ModuleType]) -> Iterator[dict[str, Any]]:
    """The content of a network snapshot."""
    module("dnnlib")
    module("dnnlib.util", EasyDict=EasyDict)
    module("torch_utils")
    module("torch_utils.persistence", _reconstruct_persistent_obj=_reconstruct_persistent_obj)
    torch.manual_seed(0)
    training = EasyDict(class_name="training.dataset.ImageFolderDataset", path="data.zip", max_size=np.int64(7))
    yield {
        "G": Generator(), "D": FullyConnectedLayer(2, 1), "G_ema": Generator(), "augment_pipe": None,
        "training_set_kwargs": training,
    }  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_stylegan_snapshot(form: str, snapshot: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "snapshot.pkl", snapshot, form)
    with pytest.raises(AssertionError, match="would run the source code"):  # so does Python's own unpickler
        torch.load(path, weights_only=False) if form in ("zip", "stream") else pickle.loads(path.read_bytes())
    for key in ("G", "G_ema"):
        assert same(read(path, key), snapshot[key].state_dict())
    assert same(read(path, "G_ema.mapping"), snapshot["G_ema"].mapping.state_dict())
    found = {place.key: list(place.names) for place in places.places(checkpoints.opened(path).content)}
    assert list(found) == ["G", "D", "G_ema"]
    assert found["G_ema"] == list(snapshot["G_ema"].state_dict())
    pickled = pickles.read(path, Mode.CLASSES)
    assert pickled.source == len(Persistent.source)
    kept = pickled.content["G_ema"].attributes["_init_kwargs"].items
    assert (kept["z_dim"], kept["mapping_kwargs"].items) == (4, {"num_layers": 2})


def test_a_snapshot_needs_a_key_and_its_container(snapshot: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "snapshot.pkl", snapshot, "4")
    with pytest.raises(CheckpointError, match=r"'G' \(an object of Generator\).*{key: G_ema}` \(or one of G, D\)"):
        read(path)
    with pytest.raises(CheckpointError, match="there is no 'g_ema' in it; it holds 'G'"):
        read(path, "g_ema")
    with pytest.raises(CheckpointError, match="'training_set_kwargs' of the state dict|'class_name'"):
        read(path, "training_set_kwargs")
    for container in ("torch", "unknown"):
        with pytest.raises(CheckpointError, match=r"snapshot.pkl: is a bare Python pickle; state `container: pickle`"):
            read(path, "G_ema", container=container)
        wrapped = write(tmp_path / "wrapped.pth", snapshot, "zip")
        with pytest.raises(CheckpointError, match=r"_reconstruct_persistent_obj, which is code.*`container: pickle`"):
            read(wrapped, "G_ema", container=container)


def test_snapshot_of_tensorflow_is_told_apart(module: Callable[..., types.ModuleType], tmp_path: Path) -> None:
    class Network:
        pass

    Network.__qualname__ = "Network"
    module("dnnlib")
    module("dnnlib.tflib")
    module("dnnlib.tflib.network", Network=Network)
    network = Network()
    network.__dict__.update(version=4, name="G", build_module_src="raise AssertionError")
    path = write(tmp_path / "old.pkl", (network, network, network), "4")
    with pytest.raises(CheckpointError, match=r"old.pkl: is a network of TensorFlow \(dnnlib.tflib.network.Network\)"):
        read(path)


# ----------------------------------------------------------------------------------- SinGAN


class ConvBlock(nn.Sequential):
    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(inp, out, 3))
        self.add_module("norm", nn.BatchNorm2d(out))
        self.add_module("LeakyRelu", nn.LeakyReLU(0.2, inplace=True))


class GeneratorConcatSkip2CleanAdd(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.head, self.body = ConvBlock(4, width), nn.Sequential()
        self.body.add_module("block1", ConvBlock(width, width))
        self.tail = nn.Sequential(nn.Conv2d(width, 4, 3), nn.Tanh())


@pytest.mark.parametrize("form", ["zip", "stream"])
@pytest.mark.parametrize("package", ["SinGAN.models", "singan_seg_polyp.SinGAN.models"])
def test_singan_folder(form: str, package: str, module: Callable[..., types.ModuleType], tmp_path: Path) -> None:
    members = {"GeneratorConcatSkip2CleanAdd": GeneratorConcatSkip2CleanAdd, "ConvBlock": ConvBlock}
    for end in range(1, package.count(".") + 1):
        module(".".join(package.split(".")[:end]))
    module(package, **members)
    torch.manual_seed(1)
    scales = [GeneratorConcatSkip2CleanAdd(width).eval() for width in (4, 4, 8)]
    path = write(tmp_path / "Gs.pth", scales, form)
    wanted = {f"{i}.{key}": value for i, scale in enumerate(scales) for key, value in scale.state_dict().items()}
    assert "0.head.conv.weight" in wanted
    assert same(read(path), wanted)
    assert same(read(path, "1"), scales[1].state_dict())
    with pytest.raises(
        CheckpointError, match=rf"object of {package}.GeneratorConcatSkip2CleanAdd, .*`container: pickle`"
    ):
        read(path, container="torch")

    amplitudes = [1, torch.tensor(0.25), torch.tensor(0.125, dtype=torch.float64), 0.1]
    found = read(write(tmp_path / "NoiseAmp.pth", amplitudes, form))
    assert {key: (value.item(), value.dim()) for key, value in found.items()} == {
        "0": (1, 0), "1": (0.25, 0), "2": (0.125, 0), "3": (0.1, 0),
    }  # fmt: skip
    stored = [torch.randn(1, 4, 6, 6), torch.zeros(1, 4, 8, 8, dtype=torch.bool)]
    assert same(read(write(tmp_path / "Zs.pth", stored, form)), {"0": stored[0], "1": stored[1]})


# ----------------------------------------------------------------------------------- other modules and values


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(2)
    spectral = torch.nn.utils.spectral_norm(nn.Conv2d(2, 3, 3))
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    return {
        "spectral norm": nn.Sequential(spectral, nn.BatchNorm2d(3)),
        "without bias": nn.Conv2d(1, 2, 3, bias=False),
        "tied": tied,
        "half": nn.Linear(2, 2).half(),
        "several devices": nn.DataParallel(nn.Linear(2, 2)),
        "attention": nn.MultiheadAttention(4, 2),
        "parameter list": nn.ParameterList([torch.ones(2), torch.zeros(1)]),
        "embedding": nn.Embedding(3, 2),
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", sorted(networks()))
def test_modules_have_the_names_of_their_state_dict(what: str, form: str, tmp_path: Path) -> None:
    network = networks()[what]
    wanted = {key.removeprefix("module."): value for key, value in network.state_dict().items()}
    assert same(read(write(tmp_path / "net.pt", network, form)), wanted)
    assert same(read(write(tmp_path / "net.pt", {"epoch": 3, "net": network}, form), "net"), wanted)


@pytest.mark.parametrize("form", FORMS)
def test_numbers_of_every_kind(form: str, tmp_path: Path) -> None:
    grid = np.arange(6.0).reshape(2, 3)
    content = {
        "int": 3, "float": 0.1, "bool": True, "scalar": np.float32(0.5), "array": grid,
        "fortran": np.asfortranarray(grid),
        "turned": grid.T, "flags": np.array([True, False]), "bytes": np.arange(4, dtype=np.uint8),
        "empty": np.zeros((0, 2)),
        "list": [1, [2.0, torch.ones(2)]], "tuple": (torch.zeros(1),), "nested": {"a": torch.ones(1), "b": {"c": 1}},
        "parameter": nn.Parameter(torch.ones(2)),
    }  # fmt: skip
    found = read(write(tmp_path / "file.pth", content, form))
    wanted = {
        "int": torch.tensor(3), "float": torch.tensor(0.1, dtype=torch.float64), "bool": torch.tensor(True),
        "scalar": torch.tensor(0.5), "array": torch.from_numpy(grid), "fortran": torch.from_numpy(grid),
        "turned": torch.from_numpy(grid.T), "flags": torch.tensor([True, False]),
        "bytes": torch.arange(4, dtype=torch.uint8), "empty": torch.zeros(0, 2, dtype=torch.float64),
        "list.0": torch.tensor(1), "list.1.0": torch.tensor(2.0, dtype=torch.float64), "list.1.1": torch.ones(2),
        "tuple.0": torch.zeros(1), "nested.a": torch.ones(1), "nested.b.c": torch.tensor(1), "parameter": torch.ones(2),
    }  # fmt: skip
    assert same(found, wanted)


@pytest.mark.parametrize("container", ["torch", "pickle"])
@pytest.mark.parametrize("form", ["zip", "stream"])
def test_settings_beside_the_weights_do_no_harm(form: str, container: Any, tmp_path: Path) -> None:
    state = {"w": torch.ones(2)}
    plain = {"g": state, "best": np.float64(3), "shape": torch.Size([2]), "seen": {1, 2}, "dtype": torch.float32,
             "device": torch.device("cpu"), "count": collections.Counter("aab"), "code": b"x" * 500,
             "tally": collections.defaultdict(int, a=1), "words": collections.defaultdict(str)}  # fmt: skip
    assert same(read(write(tmp_path / "file.pt", plain, form), "g", container=container), state)
    more = plain | {"args": argparse.Namespace(lr=0.1), "path": Path("x"), "make": functools.partial(nn.Linear, 2)}
    path = write(tmp_path / "file.pt", more, form)
    if container == "pickle":
        assert same(read(path, "g"), state)
    else:
        with pytest.raises(CheckpointError, match=r"argparse.Namespace.*`container: pickle`"):
            read(path, "g", container="torch")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"])
def test_paths_as_python_3_13_writes_them(
    kind: str, form: str, module: Callable[..., types.ModuleType], tmp_path: Path
) -> None:
    """It alone calls their module ``pathlib._local``."""

    class Written:
        def __reduce__(self) -> Any:
            return Written, ("data", "images")

    Written.__name__ = Written.__qualname__ = kind
    module("pathlib._local", **{kind: Written})
    state = {"w": torch.ones(2)}
    path = write(tmp_path / "file.pt", {"g": state, "folder": Written()}, form)
    assert same(read(path, "g"), state)
    assert pickles.read(path, Mode.CLASSES).content["folder"].name == f"pathlib.{kind}"


@pytest.mark.parametrize(("home", "refused"), [("telnetlib", True), ("distutils", True), ("compression", False)])
def test_a_name_means_the_same_to_every_python(
    home: str, refused: bool, module: Callable[..., types.ModuleType], tmp_path: Path
) -> None:
    """Modules that were Python's own until 3.11 or 3.12, and one that is since 3.14."""

    class Codec:
        pass

    Codec.__qualname__ = "Codec"
    module(home, Codec=Codec)
    path = write(tmp_path / "file.pkl", {"w": torch.ones(2), "of": {"g": Codec()}}, "4")
    if refused:
        with pytest.raises(CheckpointError, match=f"names {home}.Codec, a part of Python"):
            read(path)
    else:
        assert pickles.read(path, Mode.CLASSES).content["of"]["g"].name == f"{home}.Codec"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"a": "text", "b": torch.ones(1)}, "'a' of the state dict is a str, expected a tensor"),
        ([torch.ones(1), None], "'1' of the state dict is nothing"),
        (["a", "b"], "the file holds no numbers"),
        ("text", "the file holds a str"),
        ([10**30], "'0' is a whole number of more than 64 bits"),
        ([float("inf")], "'0' holds 1 numbers that are NaN or infinite"),
        (np.array(["a"]), "the file holds an object of numpy.ndarray"),
        ([np.ones(2, dtype=">f4")], "holds no numbers|object of numpy"),
    ],
)
def test_what_is_no_number(content: Any, words: str, tmp_path: Path) -> None:
    path = write(tmp_path / "file.pkl", content, "4")
    with pytest.raises(CheckpointError, match=words) as caught:
        read(path)
    assert "file.pkl" in str(caught.value)


def test_checksums_may_be_left_out(tmp_path: Path) -> None:
    from torch.serialization import get_crc32_options, set_crc32_options

    before = get_crc32_options()
    try:
        set_crc32_options(False)
        path = write(tmp_path / "file.pt", {"w": torch.arange(9.0)}, "zip")
    finally:
        set_crc32_options(before)
    assert same(read(path, container="torch"), {"w": torch.arange(9.0)})


def test_reading_does_not_change_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "file.pt", {"w": torch.zeros(9)}, "zip")
    before = path.read_bytes()
    state = read(path, container="torch")
    state["w"].fill_(7)
    assert path.read_bytes() == before


# ----------------------------------------------------------------------------------- torch as the reference

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
]
DTYPES += [torch.uint8, torch.bool]


@some.composite
def tensors(draw: Any) -> torch.Tensor:
    """A tensor of any kind; perhaps a part of a larger one, perhaps turned."""
    shape = draw(some.lists(some.integers(0, 4), max_size=3))
    tensor = (torch.randn(shape, generator=torch.Generator().manual_seed(draw(some.integers(0, 99)))) * 50).to(
        draw(some.sampled_from(DTYPES))
    )
    if tensor.dim() and draw(some.booleans()):
        tensor = tensor[tensor.shape[0] // 2 :]
    return tensor.transpose(0, -1) if tensor.dim() > 1 and draw(some.booleans()) else tensor


@quick
@given(
    parts=some.dictionaries(some.text("abc.", min_size=1, max_size=4), tensors(), min_size=1, max_size=5),
    form=some.sampled_from(["zip", "stream"]),
    shared=some.booleans(),
)
def test_the_same_as_torch(parts: dict[str, torch.Tensor], form: str, shared: bool, tmp_path: Path) -> None:
    if shared:  # one storage under two names
        parts = parts | {"z": next(iter(parts.values()))}
    path = write(tmp_path / "file.pt", parts, form)
    assert same(read(path, container="torch"), torch.load(path, weights_only=True))


def test_a_stream_of_many_storages_with_views(tmp_path: Path) -> None:
    """Very old files describe a view of a storage beside it."""
    data = torch.arange(6.0)
    reference = (
        hostile.word("storage") + hostile.name("torch", "FloatStorage") + hostile.word("0") + hostile.word("cpu")
    )
    view = hostile.MARK + hostile.word("0v") + hostile.whole(2) + hostile.whole(3) + hostile.TUPLE
    storage = hostile.MARK + reference + hostile.whole(6) + view + hostile.TUPLE + b"Q"
    made = hostile.call(
        "torch._utils", "_rebuild_tensor", storage, hostile.whole(1), hostile.MARK + hostile.whole(2) + hostile.TUPLE,
        hostile.MARK + hostile.whole(1) + hostile.TUPLE,
    )  # fmt: skip
    content = hostile.torch_stream_of(b"}" + hostile.word("w") + made + b"s")
    content = content.removesuffix(hostile.program(hostile.EMPTY_LIST))
    keys = hostile.program(hostile.EMPTY_LIST, hostile.word("0"), hostile.APPEND)
    content += keys + struct.pack("<q", 6) + data.numpy().tobytes()
    (tmp_path / "old.pth").write_bytes(content)
    assert same(read(tmp_path / "old.pth", container="torch"), {"w": data[2:5][1:3]})


def test_numbers_stay_in_the_file_until_they_are_used(tmp_path: Path) -> None:
    """Reading costs what is described, not what is stored: 64 MB here."""
    import tracemalloc

    path = write(tmp_path / "large.pt", {"g": {"w": torch.zeros(4_000_000)}, "d": torch.zeros(12_000_000)}, "zip")
    tracemalloc.start()
    found = pickles.read(path, Mode.NUMBERS).content
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["d"].numel == 12_000_000 and peak < 1_000_000


def test_the_package_imports_nothing_that_could_be_called() -> None:
    """The standard library, the kinds of files and the errors; no torch, no NumPy, no unpickler."""
    import subprocess

    code = (
        "import sys, medzoo.weights.pickles\n"
        "print(sorted({'torch', 'numpy', 'pickle', '_pickle', 'importlib.metadata'} & set(sys.modules)))"
    )
    root = ROOT
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() in ("[]", "['_pickle', 'pickle']")  # pickletools imports the latter for its constants


def test_streams_are_read_through_files_of_any_alignment(tmp_path: Path) -> None:
    """Old files put numbers at odd places."""
    for length in range(1, 9):
        target = io.BytesIO()
        torch.save({"x" * length: torch.arange(5.0, dtype=torch.float64)}, target, _use_new_zipfile_serialization=False)
        (tmp_path / "file.pt").write_bytes(target.getvalue())
        assert same(
            read(tmp_path / "file.pt", container="torch"), {"x" * length: torch.arange(5.0, dtype=torch.float64)}
        )
