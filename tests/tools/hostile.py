"""Builders of hostile files: what somebody could put in the place of weights.

Each takes a ``Canary`` and gives bytes. Were anything in them run, the canary would show it.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

MODULE = "medzoo_canary"  # importing it leaves a mark
# What Python tells an audit hook about: running, loading or writing something.
_ALARMS = ("os.", "subprocess.", "exec", "compile", "import", "pickle.find_class", "ctypes.", "socket.", "shutil.")
_HARMLESS = ("os.scandir", "os.listdir")


@dataclass
class Canary:
    """A mark in ``folder`` that only hostile code makes, and a record of what Python did while a file was read."""

    folder: Path

    def lay(self) -> Canary:
        """Write the module whose import leaves the mark."""
        (self.folder / f"{MODULE}.py").write_text(self.code + "\ndef run(*_):\n    " + self.code)
        return self

    @property
    def mark(self) -> Path:
        return self.folder / "mark"

    @property
    def command(self) -> str:
        return f"touch {self.mark}"

    @property
    def code(self) -> str:
        return f"open({str(self.mark)!r}, 'w').close()"

    def is_alive(self) -> bool:
        return not self.mark.exists() and MODULE not in sys.modules


_heard: list[str] | None = None
_installed = False


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _heard is None or event in _HARMLESS:
        return
    written = event == "open" and isinstance(arguments[1], str) and arguments[1][:1] in "wax"
    if written or event.startswith(_ALARMS):
        _heard.append(f"{event} {arguments!r}"[:200])


@contextmanager
def listening() -> Iterator[list[str]]:
    """Everything that Python does meanwhile beside computing and reading. Warm up first: imports count."""
    global _heard, _installed
    if not _installed:  # a hook cannot be taken away again
        sys.addaudithook(_listen)
        _installed = True
    _heard = []
    try:
        yield _heard
    finally:
        _heard = None


# ----------------------------------------------------------------------------------- instructions of a pickle

START, STOP, MARK, REDUCE, BUILD, NEW = b"\x80\x04", b".", b"(", b"R", b"b", b"\x81"
EMPTY_LIST, APPEND, TUPLE, POP, NONE = b"]", b"a", b"t", b"0", b"N"


def name(module: str, attribute: str) -> bytes:
    return b"c" + f"{module}\n{attribute}\n".encode()


def word(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def whole(number: int) -> bytes:
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def put(place: int) -> bytes:
    return b"r" + struct.pack("<I", place)


def get(place: int) -> bytes:
    return b"j" + struct.pack("<I", place)


def call(module: str, attribute: str, *arguments: bytes) -> bytes:
    return name(module, attribute) + MARK + b"".join(arguments) + TUPLE + REDUCE


def program(*instructions: bytes) -> bytes:
    """A whole pickle, framed as Python does it (the zeros in the length of the frame tell it from text)."""
    body = b"".join(instructions) + STOP
    return START + b"\x95" + struct.pack("<Q", len(body)) + body


def beside_weights(instructions: bytes) -> bytes:
    """``{"w": [1.0], "x": <instructions>}``: something beside numbers."""
    return program(
        b"}", MARK, word("w"), EMPTY_LIST, b"G" + struct.pack(">d", 1.0), APPEND, word("x"), instructions, b"u"
    )


# ----------------------------------------------------------------------------------- pickles that run something


def running(canary: Canary) -> dict[str, bytes]:
    """Instructions that would run something, each by another way."""
    command, code = word(canary.command), word(canary.code)
    meta = {"type": "class", "version": 6, "module_src": canary.code, "class_name": "Generator", "state": {}}
    importing, thing, run = word(MODULE), name(MODULE, "Thing"), name(MODULE, "run")
    touch = EMPTY_LIST + word("touch") + APPEND + word(str(canary.mark)) + APPEND
    persistence = ("torch_utils.persistence", "_reconstruct_persistent_obj", pickle.dumps(meta, 4)[2:-1])
    return {
        "posix.system": call("posix", "system", command),
        "os.system": call("os", "system", command),
        "nt.system": call("nt", "system", command),
        "builtins.eval": call("builtins", "eval", code),
        "builtins.exec": call("builtins", "exec", code),
        "python 2 eval": call("__builtin__", "eval", code),
        "importlib": call("importlib", "import_module", importing),
        "__import__": call("builtins", "__import__", importing),
        "subprocess": call("subprocess", "check_call", touch),
        "runpy": call("runpy", "run_path", word(str(canary.folder / f"{MODULE}.py"))),
        "getattr": call("builtins", "getattr", name("os", "path"), word("os")),
        "operator": call("operator", "methodcaller", word("system"), command),
        "pickle in a pickle": call("pickle", "loads", b"C\x01."),
        "unknown function": call(MODULE, "run", command),
        "function of torch": call("torch.hub", "load", command),
        "function of numpy": call("numpy.testing._private.utils", "runstring", code, b"}"),
        "torch.load": call("torch", "load", command),
        "old style": MARK + command + b"iposix\nsystem\n",
        "old style, marked": MARK + name("posix", "system") + command + b"o",
        "stacked name": word("posix") + word("system") + b"\x93" + MARK + command + TUPLE + REDUCE,
        "dotted name": word("torch") + word("hub.os.system") + b"\x93" + MARK + command + TUPLE + REDUCE,
        "new object": name("subprocess", "Popen") + MARK + command + TUPLE + NEW,
        "registered extension": b"\x82\x01",
        "named only": name("posix", "system"),
        "partial, called": call("functools", "partial", name(MODULE, "run")) + b")" + REDUCE,
        "source in persistence": call(*persistence),
        "state of an object": thing + b")" + NEW + b"}" + word("__setstate__") + run + b"s" + BUILD,
        "state of a name": name("collections", "OrderedDict") + b"}" + word("__reduce__") + run + b"s" + BUILD,
    }  # fmt: skip


# ----------------------------------------------------------------------------------- pickles that take all there is


def exhausting() -> dict[str, bytes]:
    """Instructions that would fill the memory, exhaust the stack, or never end; all of them short."""
    doubling = EMPTY_LIST + put(0) + b"".join(
        EMPTY_LIST + get(i) + APPEND + get(i) + APPEND + put(i + 1) for i in range(60)
    )  # fmt: skip
    pairs = EMPTY_LIST + put(0) + b"".join(MARK + whole(i) + NONE + TUPLE + APPEND for i in range(2000))
    text = word("é" * 100_000) + put(0)
    storage = torch_stream(name("torch", "FloatStorage"), 2**50)
    nested = b"C" + bytes([len(b"x")]) + b"x"
    return {
        "list of lists of lists": doubling,
        "list in itself": EMPTY_LIST + put(0) + get(0) + APPEND,
        "deep lists": EMPTY_LIST * 60_000 + APPEND * 59_999,
        "deep tuples": b")" + b"\x85" * 60_000,
        "deep objects": b"".join((name("a", "B"), b")", NEW)) * 20_000 + BUILD * 19_999,
        "deep tuple as a key": b"}" + b")" + b"\x85" * 60_000 + NONE + b"s",
        "bytes of a number": call("builtins", "bytearray", whole(2**44)),
        "list of a number": call("builtins", "list", call("builtins", "range", whole(2**44))),
        "memo of four billion": EMPTY_LIST + put(2**32 - 1),
        "text of 2^60": b"\x8d" + struct.pack("<Q", 2**60) + b"abc",
        "bytes of 2^62": b"\x8e" + struct.pack("<Q", 2**62) + b"abc",
        "number of 2^31 bytes": b"\x8b" + struct.pack("<i", 2**31 - 1) + b"abc",
        "frame of 2^63": b"\x95" + struct.pack("<Q", 2**63 - 1) + b"N",
        "number of many bits": b"\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000,
        "mapping made again and again": pairs + b"".join(
            POP + call("collections", "OrderedDict", get(0)) for _ in range(2000)
        ),
        "bytes made again and again": text + b"".join(
            POP + call("_codecs", "encode", get(0), word("latin1")) + put(i + 1) for i in range(2000)
        ),
        "a million lists": EMPTY_LIST * 1_000_001,
        "array of 2^50": call(
            "numpy.core.multiarray", "_reconstruct", name("numpy", "ndarray"), MARK + whole(0) + TUPLE, b"C\x01b"
        ) + MARK + whole(1) + MARK + whole(2**50) + TUPLE + call("numpy", "dtype", word("f4")) + b"\x89" + b"C\x04abcd"
        + TUPLE + BUILD,
        "storage of 2^50": call("torch.storage", "_load_from_bytes", b"B" + struct.pack("<I", len(storage)) + storage),
        "file in a file in a file": call(
            "torch.storage", "_load_from_bytes",
            data(torch_stream_of(call("torch.storage", "_load_from_bytes", nested))),
        ),
        "tensor of a shape without end": tensor(
            MARK + whole(1) * 10_000 + TUPLE, MARK + whole(1) * 10_000 + TUPLE
        ),
        "tensor of one number, again and again": tensor(MARK + whole(2**45) + TUPLE, MARK + whole(0) + TUPLE),
        "tensor before its storage": tensor(MARK + whole(1) + TUPLE, MARK + whole(1) + TUPLE, offset=-4),
        "tensor of a negative side": tensor(MARK + whole(-4) + TUPLE, MARK + whole(1) + TUPLE),
        "name without end": b"}" + word("x" * 1_000_000) + EMPTY_LIST + b"s",
    }  # fmt: skip


def data(content: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(content)) + content


def tensor(shape: bytes, strides: bytes, offset: int = 0) -> bytes:
    """``{"w": a tensor over four numbers}`` in a bare pickle."""
    stored = data(torch_stream(name("torch", "FloatStorage"), 4, bytes(16)))
    numbers = call("torch.storage", "_load_from_bytes", stored)
    hooks = call("collections", "OrderedDict")
    made = call("torch._utils", "_rebuild_tensor_v2", numbers, whole(offset), shape, strides, b"\x89", hooks)
    return b"}" + word("w") + made + b"s"


def torch_stream(kind: bytes, numel: int, content: bytes = b"") -> bytes:
    """A torch file from before 1.6 that holds one storage."""
    reference = MARK + word("storage") + kind + word("0") + word("cpu") + whole(numel) + NONE + TUPLE + b"Q"
    keys = program(EMPTY_LIST, word("0"), APPEND)
    return torch_stream_of(reference)[: -len(program(EMPTY_LIST))] + keys + struct.pack("<q", numel) + content


def torch_stream_of(instructions: bytes) -> bytes:
    magic, protocol = b"\x80\x02" + whole(0x1950A86A20F9469CFC6C) + STOP, program(whole(1001))
    return magic + protocol + program(b"}") + program(instructions) + program(EMPTY_LIST)


def torch_zip(pickled: bytes, *, method: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    """A torch file of today around a pickle; members replace or add to the rest."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for member, content in ({"archive/version": b"3\n", "archive/byteorder": b"little"} | members).items():
            archive.writestr(member, content)
    return target.getvalue()


# ----------------------------------------------------------------------------------- damaged and lying files


def saved(state: Any, *, legacy: bool = False) -> bytes:
    target = io.BytesIO()
    torch.save(state, target, _use_new_zipfile_serialization=not legacy)
    return target.getvalue()


def flipped(content: bytes, at: int) -> bytes:
    damaged = bytearray(content)
    damaged[at] ^= 0x10
    return bytes(damaged)


def safetensors(header: Any, content: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


# ----------------------------------------------------------------------------------- short files that keep one busy


def doubling(levels: int = 60) -> bytes:
    """A list of lists of lists that share: few bytes, 2^levels elements to whoever prints, compares or hashes it."""
    lists = (EMPTY_LIST + get(900 + i) + APPEND + get(900 + i) + APPEND + put(901 + i) + POP for i in range(levels))
    return EMPTY_LIST + put(900) + POP + b"".join(lists) + get(900 + levels)


def doubling_tuple(levels: int = 60) -> bytes:
    """The same of tuples, whose hash takes as long."""
    pairs = (get(700 + i) + b"2\x86" + put(701 + i) + POP for i in range(levels))
    return b")" + put(700) + POP + b"".join(pairs) + get(700 + levels)


def storage(kind: bytes, numel: int = 4, key: bytes | None = None) -> bytes:
    """A reference to a storage of a torch file of today."""
    place = word("0") if key is None else key
    return MARK + word("storage") + kind + place + word("cpu") + whole(numel) + TUPLE + b"Q"


def rebuilt(
    numbers: bytes, shape: bytes, strides: bytes, *, offset: bytes | None = None, by: str = "_rebuild_tensor_v2"
) -> bytes:
    hooks = call("collections", "OrderedDict")
    start = whole(0) if offset is None else offset
    return call("torch._utils", by, numbers, start, shape, strides, b"\x89", hooks)


def sides(*numbers: int) -> bytes:
    return MARK + b"".join(map(whole, numbers)) + TUPLE


FLOATS = name("torch", "FloatStorage")
GOOD = rebuilt(storage(FLOATS), sides(4), sides(1))


def in_zip(instructions: bytes) -> bytes:
    """A torch file around a value, with one storage of four numbers."""
    return torch_zip(program(instructions), **{"archive/data/0": bytes(16), "archive/data/1": b""})


def beside(instructions: bytes) -> bytes:
    """A torch file ``{"g": {"w": four numbers}, "x": <instructions>}``: only what is used should count."""
    weights = b"}" + word("w") + GOOD + b"s"
    return in_zip(b"}" + MARK + word("g") + weights + word("x") + instructions + b"u")


def endless_values() -> dict[str, bytes]:
    """A value that is far larger than it looks, in each place where a reader may print, compare or hash it."""
    big, hashed = doubling(), doubling_tuple()
    plain_bytes = storage(name("torch.storage", "UntypedStorage"), 0, word("1"))
    dtype = call("numpy", "dtype", hashed)
    order = call("numpy", "dtype", word("f4")) + MARK + whole(3) + big + NONE + TUPLE + BUILD
    array = call("numpy._core.multiarray", "_reconstruct", name("numpy", "ndarray"), sides(0), b"C\x01b")
    return {
        "kind of a storage": storage(big),
        "key of a storage": storage(FLOATS, key=big),
        "hashed key of a storage": storage(FLOATS, key=hashed),
        "function of a tensor with attributes": call("torch._tensor", "_rebuild_from_type_v2", big, b")", b")", NONE),
        "kind of a tensor": call(
            "torch._utils", "_rebuild_tensor_v3", plain_bytes, whole(0), sides(4), sides(1), b"\x89", NONE, big,
        ),
        "quantised": call("torch._utils", "_rebuild_qtensor", big, big, big, big, big, b"\x89", NONE),
        "shape": rebuilt(storage(FLOATS), big, sides(1)),
        "offset": rebuilt(storage(FLOATS), sides(4), sides(1), offset=big),
        "code of NumPy": call("numpy._core.multiarray", "scalar", dtype, b"C\x01b"),
        "byte order of NumPy": call("numpy._core.multiarray", "scalar", order, b"C\x04abcd"),
        "state of an array": array + big + BUILD,
        "encoding": call("_codecs", "encode", word("x"), big),
        "hashed encoding": call("_codecs", "encode", word("x"), hashed),
        "pairs": call("collections", "OrderedDict", big),
        "set": call("builtins", "set", big),
        "deque": call("collections", "deque", big, whole(3)),
        "range": call("builtins", "range", big),
        "partial": call("functools", "partial", name("a", "B")) + MARK + big + big + big + big + TUPLE + BUILD,
        "member of an enumeration": call("a", "Colour", big),
        "function": big + b")" + REDUCE,
        "class": big + b")" + NEW,
        "name": big + word("x") + b"\x93",
        "reference": big + b"Q",
        "key": b"}" + big + NONE + b"s",
        "hashed key": b"}" + hashed + NONE + b"s",
        "part of a key": b"}" + MARK + big + TUPLE + NONE + b"s",
        "attributes": name("a", "B") + b")" + NEW + big + BUILD,
        "names of buffers": name("a", "B") + b")" + NEW + b"}" + MARK + b"".join(
            word(part) + b"}" for part in ("_parameters", "_buffers", "_modules")
        ) + word("_non_persistent_buffers_set") + big + b"u" + BUILD,
        "value": big,
        "persistence": call(
            "torch_utils.persistence", "_reconstruct_persistent_obj",
            b"}" + MARK + word("class_name") + word("G") + word("state") + big + b"u",
        ),
    }  # fmt: skip


def shared_values(count: int) -> dict[str, bytes]:
    """One large value under many keys: a walk that opens it at each of them never ends."""
    numbers = EMPTY_LIST + MARK + b"K\x01" * count + b"e" + put(500) + POP
    tensors = b"}" + MARK + b"".join(word(f"w{i}") + get(502) for i in range(count)) + word("x") + NONE + b"u"
    nearly = GOOD + put(502) + POP + tensors + put(501) + POP
    parts = (word(f"k{i}") for i in range(count))
    names = EMPTY_LIST + MARK + b"".join(word(f"n{i}") for i in range(count)) + b"e" + put(503) + POP
    buffers = b"}" + MARK + b"".join(word(f"b{i}") + NONE for i in range(count)) + b"u" + put(504) + POP
    fields = word("_parameters") + b"}" + word("_buffers") + get(504) + word("_modules") + b"}"
    module = name("a", "B") + b")" + NEW + b"}" + MARK + fields + word("_non_persistent_buffers_set") + get(503)
    return {
        "list under many keys": numbers + b"}" + MARK + b"".join(part + get(500) for part in parts) + b"u",
        "nearly a state dict under many keys": nearly + b"}" + MARK + b"".join(
            word(f"k{i}") + get(501) for i in range(count)
        ) + b"u",
        "nearly a state dict in a list": nearly + EMPTY_LIST + MARK + get(501) * count + b"e",
        "many averaged lists": nearly + b"}" + MARK + b"".join(
            word(f"ema{i}") + EMPTY_LIST + get(502) + APPEND for i in range(count // 10)
        ) + b"u",
        "buffers that are not kept": names + buffers + module + b"u" + BUILD,
        "modules in modules": b"".join(
            (name("a", "B") + b")" + NEW + b"}" + MARK + word("_parameters") + b"}" + word("_buffers") + b"}"
             + word("_modules") + b"}" + word("a")) for _ in range(90)
        ) + GOOD + (b"su" + BUILD) * 90,
    }  # fmt: skip


EQUAL = 2**61 - 1  # what Python's hash of whole numbers is taken modulo


def equal_hashes(count: int) -> dict[str, bytes]:
    """Keys that all have one hash, so that each takes as long as all before it together."""
    numbers = [whole(i * EQUAL) for i in range(1, count)]
    text = [str(i * EQUAL).encode() for i in range(1, count)]
    items = MARK + b"".join(one + NONE for one in numbers) + b"u"
    thing = name("a", "B") + b")" + NEW
    reals = [b"G" + struct.pack(">d", 2.0 ** (61 * (i % 30) - 900) * 3) for i in range(count)]
    # Two numbers of a tuple: the hash of the first is undone by the second.
    pairs = [sides(first, _second(first)) for first in range(1, count)]
    return {
        "numbers": b"}" + items,
        "numbers one by one": b"}" + b"".join(one + NONE + b"s" for one in numbers),
        "tuples": b"}" + MARK + b"".join(one + b"\x85" + NONE for one in numbers) + b"u",
        "tuples of two": b"}" + MARK + b"".join(one + NONE for one in pairs) + b"u",
        "real numbers": b"}" + MARK + b"".join(one + NONE for one in reals) + b"u",
        "pairs of an ordered mapping": call(
            "collections", "OrderedDict",
            EMPTY_LIST + MARK + b"".join(one + NONE + b"\x86" for one in numbers) + b"e",
        ),
        "attributes": thing + b"}" + items + BUILD,
        "items of an object": thing + items,
        "memo": NONE + b"".join(b"p" + one + b"\n" for one in text),
        "counter": call("collections", "Counter", b"}" + items),
        "storages": EMPTY_LIST + MARK + b"".join(storage(FLOATS, 0, one) for one in numbers[: count // 10]) + b"e",
    }  # fmt: skip


_PRIMES = (11400714785074694791, 14029467366897019727, 2870177450012600261)


def _second(first: int, wanted: int = 12345) -> int:
    """A whole number so that ``hash((first, it)) % 2^61`` would be one: CPython's xxHash of tuples, undone."""
    mask = 2**64 - 1

    def turned(value: int, by: int) -> int:
        return ((value << by) | (value >> (64 - by))) & mask

    p1, p2, p5 = _PRIMES
    for _ in range(64):
        state = (turned((p5 + first * p2) & mask, 31) * p1) & mask
        target = (wanted * pow(p1, -1, 2**64)) & mask
        lane = ((turned(target, 33) - state) * pow(p2, -1, 2**64)) & mask
        if lane < EQUAL:
            return lane
        wanted = (wanted + 2**61) & mask
    return first


def odd_shapes() -> dict[str, bytes]:
    """Tensors that no torch can make, ``{"w": ...}`` in a torch file or pickle each."""
    numbers = storage(FLOATS)
    shapes: dict[str, tuple[bytes, bytes, bytes | None]] = {
        "(0, 2^40, 2^40)": (sides(0, 2**40, 2**40), sides(1, 1, 1), None),
        "(0, 10^30)": (sides(0, 10**30), sides(1, 1), None),
        "a stride of 2^70": (sides(1), sides(2**70), None),
        "a stride of 2^63": (sides(1, 1), sides(2**63, 1), None),
        "an offset of 2^63": (sides(1), sides(1), whole(2**63)),
        "an offset of 2^61": (sides(1), sides(1), whole(2**61)),
        "an offset below zero": (sides(1), sides(1), whole(-1)),
        "a stride below zero": (sides(2), sides(-1), None),
        "a side below zero": (sides(-2), sides(1), None),
        "truth": (b"\x88\x85", sides(1), None),
        "words": (word("4") + b"\x85", sides(1), None),
        "32 long sides": (sides(*[2**60] * 32), sides(*[1] * 32), None),
        "33 sides": (sides(*[1] * 33), sides(*[1] * 33), None),
        "more sides than strides": (sides(1, 1), sides(1), None),
        "no sides, an offset": (sides(), sides(), whole(4)),
    }
    made = {
        what: in_zip(b"}" + word("w") + rebuilt(numbers, shape, strides, offset=offset) + b"s")
        for what, (shape, strides, offset) in shapes.items()
    }
    array = call("numpy._core.multiarray", "_reconstruct", name("numpy", "ndarray"), sides(0), b"C\x01b")
    long = sides(*[2**900] * 31, 0)
    kind = call("numpy", "dtype", word("f4"))
    built = array + MARK + whole(1) + long + kind + b"\x89" + b"C\x04abcd" + TUPLE + BUILD
    return made | {"an array of NumPy": program(b"}" + word("w") + built + b"s")}


def many_names(count: int) -> dict[str, bytes]:
    """Names by thousands, as they cost the most."""

    def empty(name: str, *shape: int) -> tuple[str, dict[str, Any]]:
        return name, {"dtype": "F32", "shape": list(shape or (0,)), "data_offsets": [0, 0]}

    numbers = range(count)
    return {
        "averaged prefixes": safetensors(dict(empty(f"ema{i}.w") for i in numbers)),
        "averaged prefixes of two": safetensors(
            dict(empty(f"ema{i}.{part}") for i in range(count // 2) for part in "wb")
        ),
        "averaged in a row": safetensors(dict(empty("ema." * (i % 100) + f"w{i}") for i in numbers)),
        "prefixes": safetensors(dict(empty(f"n{i}.w") for i in numbers)),
        "one prefix": safetensors(dict(empty(f"net.{i}") for i in numbers)),
        "no prefix": safetensors(dict(empty(f"w{i}") for i in numbers)),
        "deep names": safetensors(dict(empty(f"{'a.' * 150}{i}") for i in range(count // 10))),
        "generators": safetensors(dict(empty(f"netG_{i}.main.{j}.weight", 0, 4, 4, 4) for i in range(count // 4)
                                       for j in range(4))),
    }  # fmt: skip
