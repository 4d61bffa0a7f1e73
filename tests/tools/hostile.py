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
