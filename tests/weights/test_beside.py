"""What people save beside the weights: values of Python, NumPy and torch never refuse a file, and nothing is run."""

from __future__ import annotations

import argparse
import array
import collections
import configparser
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import ipaddress
import itertools
import logging
import operator
import pathlib
import pickle
import random
import re
import statistics
import string
import struct
import time
import types
import typing
import uuid
import warnings
import zoneinfo
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medzoo.entry import Checkpoint
from medzoo.errors import CheckpointError
from medzoo.weights import checkpoints, inspection, pickles
from medzoo.weights.pickles import Mode
from tests.tools import hostile

STATE = {"w": torch.arange(4.0), "b": torch.ones(2)}


class Colour(enum.Enum):
    RED = 1


class Flags(enum.Flag):
    A = 1
    B = 2


class Pair(typing.NamedTuple):
    x: int
    y: str


@dataclasses.dataclass
class Settings:
    lr: float = 0.1


class Thing:
    def method(self) -> None:
        pass


def _quiet(make: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # prototypes, and kinds of tensors that torch means to leave
        return make()


VALUES: dict[str, Callable[[], Any]] = {
    "deque": lambda: collections.deque([1, 2], 5),
    "range": lambda: range(3),
    "slice": lambda: slice(1, 2),
    "ordered mapping": lambda: collections.OrderedDict(a=1),
    "default mapping": lambda: collections.defaultdict(list, a=[1]),
    "counter": lambda: collections.Counter("abc"),
    "chain of mappings": lambda: collections.ChainMap({1: 2}),
    "user mapping": lambda: collections.UserDict(a=1),
    "set of sets": lambda: {frozenset((1, 2)): {3}},
    "path": lambda: Path("a/b"),
    "path of Windows": lambda: pathlib.PureWindowsPath("c:/x"),
    "uuid": uuid.uuid4,
    "decimal": lambda: decimal.Decimal("1.5"),
    "context of decimals": decimal.getcontext,
    "fraction": lambda: fractions.Fraction(1, 3),
    "pattern": lambda: re.compile("a+", re.IGNORECASE),
    "flag of a pattern": lambda: re.IGNORECASE,
    "time": time.localtime,
    "date": lambda: [datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(1), datetime.date.today()],
    "time zone": lambda: datetime.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")),
    "logger": lambda: logging.getLogger("training"),
    "operator": lambda: [operator.itemgetter(1), operator.attrgetter("a.b"), operator.add],
    "partial": lambda: functools.partial(nn.Linear, 2, bias=False),
    "member": lambda: [Colour.RED, {Colour.RED: 1}, HTTPStatus.OK],
    "flags": lambda: [Flags.A, Flags.A | Flags.B],
    "namespace": lambda: [argparse.Namespace(lr=0.1), types.SimpleNamespace(a=1)],
    "configuration": configparser.ConfigParser,
    "iterators": lambda: _quiet(lambda: [itertools.count(3), itertools.repeat(1)]),
    "random": lambda: [random.Random(3), random.getstate()],
    "template": lambda: string.Template("$x"),
    "distribution": lambda: statistics.NormalDist(),
    "types": lambda: [list[int], dict[str, int], int | str, int, type(None)],
    "typing": lambda: [typing.Any, typing.List[int], typing.Literal["a"]],  # noqa: UP006
    "optional": lambda: typing.Optional[int],  # noqa: UP045
    "address": lambda: ipaddress.ip_address("1.2.3.4"),
    "array": lambda: array.array("d", [1.0]),
    "exception": lambda: [ValueError("x"), KeyError(1)],
    "objects": lambda: [Thing(), Thing, Settings(), Pair(1, "a"), Thing().method, dataclasses.MISSING],
    "functions": lambda: [len, max, torch.relu, nn.functional.relu, np.add, np.mean, logging.getLogger],
    "odd constants": lambda: [..., NotImplemented, 1j, 10**200, 10**400, float("inf"), b"x" * 999, bytearray(b"x")],
    "keys that cannot be shown": lambda: {"a\n": 1, "\t": 2, "\x1b]0;x": 3, "x" * 2000: 4},
    "odd keys": lambda: {1: 1, "1": 2, None: 3, 1.5: 4, b"x": 5, (1, "a"): 6, Path("a"): 7, torch.float32: 8},
    "unsigned numbers of NumPy": lambda: [np.uint16(3), np.uint32(3), np.uint64(3), np.uint8(3)],
    "words of NumPy": lambda: [np.str_("x"), np.bytes_(b"x"), np.void(b"abc")],
    "dates of NumPy": lambda: [np.datetime64("2020-01-01"), np.timedelta64(1, "s"), np.array(["2020"], "M8[D]")],
    "other numbers of NumPy": lambda: [np.longdouble(1), np.complex64(1j), np.float16(1), np.bool_(True)],
    "arrays of NumPy": lambda: [np.array(["a", "bc"]), np.array([None, {}], object), np.ones(3, ">f4"),
                                np.zeros(2, [("a", "f4"), ("b", "U3")]), np.zeros(2, [("a", "f4")])[0]],
    "masked array": lambda: np.ma.array([1, 2], mask=[0, 1]),
    "matrix": lambda: _quiet(lambda: np.matrix([[1.0]])),
    "records": lambda: np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
    "kinds of NumPy": lambda: [np.dtype("f4"), np.dtype([("a", "f4")]), np.float32],
    "words of any length of NumPy": lambda: np.array(["a"], np.dtypes.StringDType()),
    "generator of NumPy": lambda: np.random.default_rng(3),
    "random state of NumPy": lambda: [np.random.RandomState(3), np.random.get_state()],
    "bit generators": lambda: [np.random.MT19937(3), np.random.Philox(3), np.random.SFC64(3)],
    "seeds of NumPy": lambda: np.random.SeedSequence(3),
    "unsigned tensors": lambda: [torch.ones(2).to(kind) for kind in (torch.uint16, torch.uint32, torch.uint64)],
    "8-bit floats": lambda: [torch.ones(2).to(kind) for kind in (
        torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu)],
    "4-bit floats": lambda: torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
    "complex tensors": lambda: _quiet(lambda: [torch.ones(2).to(torch.complex64), torch.ones(2).to(torch.complex32)]),
    "quantised tensors": lambda: _quiet(lambda: [
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, kind) for kind in (torch.quint8, torch.qint8, torch.qint32)]),
    "quantised by channel": lambda: _quiet(lambda: torch.quantize_per_channel(
        torch.ones(3, 2), torch.ones(3), torch.zeros(3), 0, torch.qint8)),
    "sparse tensors": lambda: _quiet(lambda: [torch.eye(2).to_sparse(), torch.eye(2).to_sparse_csr(),
                                              torch.eye(4).to_sparse_bsr((2, 2))]),
    "nested tensors": lambda: _quiet(lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])),
    "jagged tensors": lambda: _quiet(lambda: torch.nested.nested_tensor(
        [torch.ones(2), torch.ones(3)], layout=torch.jagged)),
    "tensors without numbers": lambda: [torch.ones(2, device="meta"), torch.empty(0), torch.tensor(float("nan"))],
    "one number again and again": lambda: torch.ones(1).expand(10**6),
    "words of torch": lambda: [torch.float32, torch.float8_e5m2, torch.uint16, torch.device("cpu"), torch.strided,
                               torch.per_tensor_affine, torch.Size([1])],
    "parameters": lambda: [nn.Parameter(torch.ones(1)), nn.Buffer(torch.ones(1))],
    "module": lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU()),
    "optimizer": lambda: torch.optim.Adam(nn.Linear(2, 2).parameters()),
    "loss": nn.CrossEntropyLoss,
    "distribution of torch": lambda: torch.distributions.Normal(0.0, 1.0),
}  # fmt: skip
# Objects with settings or of other packages, for which an entry has to state ``container: pickle``.
OBJECTS = {
    "logger", "partial", "member", "flags", "namespace", "configuration", "objects", "functions", "jagged tensors",
    "module", "optimizer", "loss", "distribution of torch", "user mapping", "time zone",
}  # fmt: skip


@pytest.mark.parametrize("form", ["zip", "stream", "2", "4", "5"])
@pytest.mark.parametrize("what", VALUES)
def test_values_beside_the_weights_do_no_harm(what: str, form: str, tmp_path: Path) -> None:
    path, content = tmp_path / "file.pt", {"x": VALUES[what](), "g": STATE, "y": VALUES[what]()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if form in ("zip", "stream"):
            torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
        else:
            path.write_bytes(pickle.dumps(content, int(form)))
    with hostile.listening() as heard:
        found = inspection.inspect(path)
        read = pickles.read(path, Mode.CLASSES)
    assert heard == [] and found.refused == () and "g" in (read.content or {})
    assert [part.key for part in found.parts] == ["x", "g", "y"]
    containers = ["pickle"] if form.isdigit() or what in OBJECTS else ["pickle", "torch"]
    assert found.container == containers[-1]
    for container in containers:
        state = checkpoints.read(path, Checkpoint(container=container, key="g", strip_prefix=None))
        assert state.keys() == STATE.keys() and all(torch.equal(state[name], STATE[name]) for name in STATE)
    if what in OBJECTS and not form.isdigit():
        with pytest.raises(CheckpointError, match="which is code and not numbers.*`container: pickle`"):
            checkpoints.read(path, Checkpoint(container="torch", key="g", strip_prefix=None))


# What other versions of Python and other packages write, which are not here to write it.
OTHERS = {
    "path of Python 3.13": hostile.call("pathlib._local", "PosixPath", hostile.word("a"), hostile.word("b")),
    "path of Python 3.14": hostile.call("pathlib", "PosixPath", hostile.word("a/b")),
    "long of Python 2": hostile.call("__builtin__", "long", hostile.whole(3)),
    "xrange of Python 2": hostile.call("__builtin__", "xrange", hostile.whole(3)),
    "exception of Python 2": hostile.call("exceptions", "ValueError", hostile.word("x")),
    "object of Python 2": hostile.MARK + hostile.word("x") + b"imypackage\nConfig\n",
    "pandas": hostile.call("pandas._libs.internals", "_unpickle_block", hostile.whole(3)),
    "function of a package": hostile.call("mypackage.tools", "make", hostile.word("x")),
    "class of a package": hostile.call("mypackage.tools", "Config", hostile.word("x")),
    "omegaconf": hostile.name("omegaconf.dictconfig", "DictConfig") + b")" + hostile.NEW + b"}" + hostile.word("_type")
    + hostile.name("typing", "Any") + b"s" + hostile.BUILD,
    "numpy 1": hostile.call("numpy.core.multiarray", "scalar", hostile.call("numpy", "dtype", hostile.word("U1")),
                            hostile.data(b"x\0\0\0")),
    "torch of tomorrow": hostile.call("torch._utils", "_rebuild_tensor_v9", hostile.whole(3)),
    "kind of tomorrow": hostile.rebuilt(hostile.storage(hostile.name("torch", "Float3Storage")), hostile.sides(4),
                                        hostile.sides(1)),
    "wrapper of a tensor": hostile.call("torch._utils", "_rebuild_wrapper_subclass", hostile.name("a", "DTensor")),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
def test_what_other_versions_write(what: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(hostile.beside(OTHERS[what]))
    assert inspection.inspect(path).refused == ()
    state = checkpoints.read(path, Checkpoint(container="pickle", key="g", strip_prefix=None))
    assert state["w"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("instructions", "words"),
    [
        (OTHERS["function of a package"], "'x' wants to call mypackage.tools.make, .*not run"),
        (hostile.call("builtins", "bytearray", hostile.whole(2**44)), "'x' makes bytes from a int"),
        (hostile.call("torch._utils", "_rebuild_tensor_v2", hostile.NONE), "'x' is made by .* with arguments that no"),
        (OTHERS["kind of tomorrow"], "'x' makes a tensor from something other than numbers"),
        (hostile.rebuilt(hostile.storage(hostile.FLOATS), hostile.sides(10**30), hostile.sides(1)), "no tensor has"),
    ],
)
def test_a_value_that_is_refused_is_named_where_it_is_used(instructions: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(
        hostile.in_zip(b"}" + hostile.word("x") + instructions + b"s" + hostile.word("w") + hostile.GOOD + b"s")
    )
    with pytest.raises(CheckpointError, match=words):
        checkpoints.read(path, Checkpoint(container="pickle", key=None, strip_prefix=None))


HOSTILE = [
    ("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"), ("builtins", "eval"),
    ("builtins", "exec"), ("__builtin__", "execfile"), ("builtins", "__import__"), ("builtins", "compile"),
    ("builtins", "open"), ("builtins", "globals"), ("builtins", "setattr"), ("builtins", "input"), ("io", "open"),
    ("importlib", "import_module"), ("runpy", "run_path"), ("shutil", "rmtree"), ("socket", "create_connection"),
    ("ctypes", "CDLL"), ("pickle", "loads"), ("_pickle", "loads"), ("marshal", "loads"), ("types", "FunctionType"),
    ("types", "CodeType"), ("code", "InteractiveInterpreter"), ("pty", "spawn"), ("webbrowser", "open"),
    ("operator", "methodcaller"), ("operator", "call"), ("functools", "singledispatch"),
    ("logging.config", "dictConfig"),
    ("pathlib", "os.system"), ("collections", "abc.sys.modules"), ("commands", "getoutput"), ("pip", "main"),
    ("timeit", "timeit"), ("bdb", "Bdb.run"), ("cProfile", "run"), ("asyncio", "run"), ("multiprocessing", "Process"),
    ("tempfile", "mktemp"), ("sys", "exit"), ("gc", "collect"), ("inspect", "getsource"), ("atexit", "register"),
    ("signal", "signal"), ("threading", "Thread"), ("urllib.request", "urlopen"), ("http.client", "HTTPConnection"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "attribute"), HOSTILE)
@pytest.mark.parametrize("called", [True, False])
def test_hostile_names_refuse_the_file_wherever_they_are(
    module: str, attribute: str, called: bool, tmp_path: Path
) -> None:
    named = hostile.name(module, attribute)
    made = hostile.call(module, attribute, hostile.word("x")) if called else named
    path = tmp_path / "file.pt"
    path.write_bytes(hostile.beside(made))
    for container in ("pickle", "torch"):
        with pytest.raises(CheckpointError, match=r"names [\w.]+, a part of Python|holds an object of"):
            checkpoints.read(path, Checkpoint(container=container, key="g", strip_prefix=None))  # type: ignore[arg-type]
    assert inspection.inspect(path).refused


@pytest.mark.parametrize(
    "function", ["torch.load", "torch.hub.load", "numpy.load", "numpy.f2py.compile", "torch.jit.load"]
)
def test_functions_of_torch_and_numpy_that_run_files(function: str, tmp_path: Path) -> None:
    module, _, attribute = function.rpartition(".")
    path = tmp_path / "file.pt"
    path.write_bytes(hostile.beside(hostile.call(module, attribute, hostile.word("x"))))
    with pytest.raises(CheckpointError, match=f"wants to call {function}"):
        checkpoints.read(path, Checkpoint(container="pickle", key="g", strip_prefix=None))


def test_a_method_that_is_called_is_not_run(tmp_path: Path) -> None:
    found = hostile.call("builtins", "getattr", hostile.name("torch", "hub.load"), hostile.word("__call__"))
    path = tmp_path / "file.pt"
    path.write_bytes(hostile.beside(found + hostile.MARK + hostile.word("x") + hostile.TUPLE + hostile.REDUCE))
    with pytest.raises(CheckpointError, match="calls something that is not a function"):
        checkpoints.read(path, Checkpoint(container="pickle", key="g", strip_prefix=None))


# ----------------------------------------------------------------------------------- names of tensors

KEYS = {
    "bytes": (b"C\x01k", "k"),
    "bytes that are no text": (b"C\x01\xff", r"b'\xff'"),
    "escapes": (b"C\x05\x1b]0;x", r"b'\x1b]0;x'"),
    "whole number": (hostile.whole(3), "3"),
    "large number": (hostile.whole(2**100), str(2**100)),
    "truth": (b"\x88", "True"),
    "real number": (b"G" + struct.pack(">d", 1.5), "1.5"),
    "nothing": (hostile.NONE, "None"),
    "name": (hostile.name("torch", "float32"), "torch.float32"),
    "tuple": (hostile.word("a") + hostile.whole(1) + b"\x86", "(a, 1)"),
    "object": (hostile.call("pathlib", "PosixPath", hostile.word("a")), "<pathlib.PosixPath 0>"),
}


@pytest.mark.parametrize("what", KEYS)
def test_names_that_are_no_words(what: str, tmp_path: Path) -> None:
    key, name = KEYS[what]
    path = tmp_path / "file.pt"
    path.write_bytes(hostile.in_zip(b"}" + key + hostile.GOOD + b"s" + hostile.word("w") + hostile.GOOD + b"s"))
    for container in ("torch", "pickle"):
        state = checkpoints.read(path, Checkpoint(container=container, key=None, strip_prefix=None))  # type: ignore[arg-type]
        assert list(state) == [name, "w"]
    assert [part.key for part in inspection.inspect(path).parts] == [name, "w"]


def test_names_that_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save({1: torch.ones(1), "1": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match="file.pt: two keys of a mapping in it read the same"):
        checkpoints.read(path, Checkpoint(container="torch", key=None, strip_prefix=None))
