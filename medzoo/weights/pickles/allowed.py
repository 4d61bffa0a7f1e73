"""What a pickle may name, and what each name becomes. Nothing else is ever built.

Names are compared as text. Each function here takes the arguments that the file states, checks them, and builds one
of the inert values: none of them calls what the name stands for.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Mapping
from typing import Any

from medzoo.weights.pickles.inert import ITEM_SIZES, LONGEST_KEY, Array, Inert, Name, Refused, Storage


class Mode(enum.Enum):
    """What a file may hold."""

    NUMBERS = "numbers and plain containers only"
    CLASSES = "objects of unknown classes become bags of attributes"
    INSPECT = "as CLASSES, but what would be refused is recorded instead; to describe a file, never to load it"


# The kinds of storages, as torch names them.
STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip
_NUMPY_CODES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8",
    "u1": "uint8", "b1": "bool", "c8": "complex64", "c16": "complex128",
}  # fmt: skip
_LARGEST_RANK = 32
_LONGEST_NAME = 300  # characters
# Modules that had another name: in Python 2, in NumPy 1, in Python 3.13 alone.
_OTHER_NAMES = {
    "__builtin__": "builtins", "copy_reg": "copyreg", "numpy.core": "numpy._core", "pathlib._local": "pathlib",
}  # fmt: skip
_OTHER_TYPES = {"long": "int", "unicode": "str"}  # what protocol 2, which torch.save takes, calls two of today's types
# Python's own library. What a file may name must not hang on the Python that reads it: modules that later versions
# gave up count, and one that came later, whose name is that of many a project, does not.
_OF_PYTHON = (sys.stdlib_module_names - {"compression"}) | frozenset(
    ("aifc", "asynchat", "asyncore", "audioop", "cgi", "cgitb", "chunk", "crypt", "distutils", "imghdr", "imp")
    + ("lib2to3", "mailcap", "msilib", "nis", "nntplib", "ossaudiodev", "pipes", "smtpd", "sndhdr", "spwd", "sunau")
    + ("telnetlib", "uu", "xdrlib")
)

Read = Callable[[Any], Any]
"""Reads the bytes of a torch file that lies inside another: what ``torch.storage._load_from_bytes`` is for."""


def normal(module: str, name: str) -> Name:
    """A name in its current spelling. Raises Refused if it is not a name of a Python object."""
    for old, new in _OTHER_NAMES.items():
        if module == old or module.startswith(f"{old}."):
            module = new + module[len(old) :]
    if module == "builtins":
        name = _OTHER_TYPES.get(name, name)
    whole = f"{module}.{name}"
    if len(whole) > _LONGEST_NAME or not all(part.isidentifier() for part in whole.split(".")):
        raise Refused("it names something that is not the name of a Python object")
    return Name(module, name)


def is_plain(name: Name) -> bool:
    """Whether a name belongs to numbers and plain containers."""
    word = str(name)
    if name.module in ("torch", "torch.cuda", "torch.storage") and name.name in STORAGES:
        return True
    return word in _PLAIN or word in _WORDS_ONLY or (name.module == "torch" and name.name in ITEM_SIZES)


def is_of_python(name: Name) -> bool:
    """Whether a name belongs to Python's own library, which no network is a class of."""
    return name.module.partition(".")[0] in _OF_PYTHON and str(name) not in _INERT


def call(name: Name, arguments: tuple[Any, ...], mode: Mode, read: Read) -> Any:
    """What the call of a name becomes. Raises Refused where the name is not listed, or the arguments do not fit."""
    word = str(name)
    if word == "torch.storage._load_from_bytes":
        return read(*arguments)
    if word in _PLAIN:
        return _PLAIN[word](*arguments)
    if mode is not Mode.NUMBERS:
        if word == "copyreg._reconstructor":
            return instance(arguments[0] if arguments else None, ())
        if word in _INERT:
            return Inert(word, arguments)
        if name.name == "_reconstruct_persistent_obj" and name.module.split(".")[-1] == "persistence":
            return _persistent(*arguments)
    raise Refused(f"wants to call {word}, which is not among the calls that numbers need; it was not run")


def instance(kind: Any, arguments: tuple[Any, ...]) -> Any:
    """An empty object of a class."""
    if not isinstance(kind, Name):
        raise Refused("makes an object of something that is not a class")
    if str(kind) in _PLAIN:
        return _PLAIN[str(kind)](*arguments)
    return Inert(str(kind), arguments)


def numpy_array(stub: Inert) -> Array | None:
    """The array of an object of NumPy, once the file has given it its state."""
    if stub.name != "numpy.ndarray" or not isinstance(stub.state, tuple) or len(stub.state) != 5:
        return None
    _, shape, kind, fortran, data = stub.state
    try:
        return _frombuffer(data, kind, shape, "F" if fortran else "C")
    except Refused:  # an array of text or objects, which is harmless beside the weights
        return None


def _mapping(*arguments: Any) -> dict[Any, Any]:
    """An ordered mapping. Those of torch are empty, and filled afterwards."""
    if not arguments:
        return {}
    pairs = arguments[-1]
    if isinstance(pairs, dict):
        return pairs
    if not isinstance(pairs, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise Refused("makes a mapping from something other than pairs")
    return {checked_key(key): value for key, value in pairs}


def _default_mapping(*arguments: Any) -> dict[Any, Any]:
    return {}


def checked_key(key: Any) -> Any:
    """A key of a mapping. Raises Refused for one whose lookup could take forever, or that cannot be shown."""
    simple = key is None or isinstance(key, int | float | bytes | Name) or is_word(key)
    flat = isinstance(key, tuple) and len(key) < 10
    flat = flat and all(isinstance(part, int | float | Name) or is_word(part) for part in key)
    if not (simple or flat):
        raise Refused(f"a key of a mapping is a {type(key).__name__} that no checkpoint has there")
    return key


def is_word(value: Any) -> bool:
    """Whether a value is a text that can be a name, and be shown on a terminal."""
    return isinstance(value, str) and len(value) <= LONGEST_KEY and value.isprintable()


def _sequence(*arguments: Any) -> Any:
    """A set, a tuple or torch.Size: its elements, without a copy."""
    if not arguments:
        return []
    if len(arguments) != 1 or not isinstance(arguments[0], list | tuple):
        raise Refused("makes a set or a list from something other than a list")
    return arguments[0]


def _bytes(data: Any = b"", *encoding: Any) -> memoryview:
    """Bytes made from bytes; never from a number, which would be that many zeros."""
    if isinstance(data, str) and encoding:
        return _encoded(data, *encoding)
    if not isinstance(data, bytes | memoryview):
        raise Refused(f"makes bytes from a {type(data).__name__}")
    return memoryview(data)


def _encoded(text: Any, encoding: Any = "utf-8", *_: Any) -> memoryview:
    """Bytes as the second protocol writes them: one character a byte."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused("turns text into bytes in a way that no checkpoint does")
    return memoryview(text.encode("latin1"))


def _array(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Array:
    numbers = [offset, *_short(shape), *_short(strides)]
    if not isinstance(storage, Storage) or not all(type(number) is int for number in numbers):
        raise Refused("makes a tensor from something other than numbers")
    if len(shape) != len(strides):
        raise Refused("makes a tensor whose shape and strides do not match")
    return Array(storage, offset, tuple(shape), tuple(strides))


def _short(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) > _LARGEST_RANK:
        raise Refused("makes a tensor with an invalid shape")
    return tuple(value)


def _first(value: Any = None, *_: Any) -> Any:
    """A parameter: its tensor."""
    return value


def _from_type(function: Any, kind: Any, arguments: Any, *_: Any) -> Array:
    """A tensor with attributes; the attributes are left out."""
    if str(function) != "torch._utils._rebuild_tensor_v2" or not isinstance(arguments, tuple):
        raise Refused(f"makes a tensor by {function}")
    return _array(*arguments)


def _aside(name: str) -> Callable[..., Inert]:
    return lambda *arguments: Inert(name, arguments)


def _frombuffer(data: Any, kind: Any, shape: Any, order: Any, *_: Any) -> Array:
    dtype, sides = _dtype(kind), _short(shape)
    if not isinstance(data, bytes | memoryview) or not all(type(side) is int and side >= 0 for side in sides):
        raise Refused("makes an array from something other than numbers")
    storage = Storage(dtype, len(data) // ITEM_SIZES[dtype], memoryview(data))
    strides, step = [], 1
    for side in sides if order == "F" else reversed(sides):
        strides.append(step)
        step *= side
    return Array(storage, 0, sides, tuple(strides if order == "F" else reversed(strides)))


def _scalar(kind: Any, data: Any = None, *_: Any) -> Array:
    return _frombuffer(data, kind, (), "C")


def _dtype(kind: Any) -> str:
    if not isinstance(kind, Inert) or kind.name != "numpy.dtype" or not kind.arguments:
        raise Refused("makes an array of an unknown type")
    code = kind.arguments[0]
    order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "<"
    if code not in _NUMPY_CODES or order not in ("<", "|", "="):
        raise Refused("makes an array of something other than plain little-endian numbers")
    return _NUMPY_CODES[code]


def _persistent(meta: Any) -> Inert:
    """An object of StyleGAN's ``torch_utils.persistence``: its attributes; its source code is left out."""
    if not isinstance(meta, Mapping) or not isinstance(meta.get("class_name"), str):
        raise Refused("holds an object of torch_utils.persistence that states no class")
    name = meta["class_name"]
    return Inert(name if name.isidentifier() and len(name) < 100 else "unnamed", (), meta.get("state"))


# Calls that build numbers and plain containers, and the replacement of each.
_PLAIN: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _mapping,
    "collections.Counter": _mapping,
    "collections.defaultdict": _default_mapping,
    "builtins.dict": _mapping,
    "builtins.set": _sequence,
    "builtins.frozenset": _sequence,
    "builtins.list": _sequence,
    "builtins.tuple": _sequence,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.complex": _aside("builtins.complex"),
    "_codecs.encode": _encoded,
    "torch.Size": _sequence,
    "torch.device": _aside("torch.device"),
    "torch.serialization._get_layout": _aside("torch.layout"),
    "torch._utils._rebuild_tensor": _array,
    "torch._utils._rebuild_tensor_v2": _array,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch._utils._rebuild_sparse_tensor": _aside("torch.sparse_tensor"),
    "torch._utils._rebuild_meta_tensor_no_storage": _aside("torch.meta_tensor"),
    "torch.nn.parameter.Parameter": _first,
    "numpy.dtype": _aside("numpy.dtype"),
    "numpy._core.multiarray._reconstruct": _aside("numpy.ndarray"),
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _frombuffer,
}
# Named by those calls, never called.
_WORDS_ONLY = frozenset(
    ("torch.storage._load_from_bytes", "torch.Tensor", "torch.nn.parameter.Buffer", "numpy.ndarray")
    + ("builtins.int", "builtins.float", "builtins.bool", "builtins.str", "builtins.object")
)
# Objects that are often saved beside a network: bags of attributes, like objects of unknown classes.
_INERT = frozenset(
    ("argparse.Namespace", "types.SimpleNamespace", "functools.partial", "copyreg._reconstructor")
    + tuple(f"pathlib.{kind}" for kind in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"))
    + tuple(f"datetime.{kind}" for kind in ("datetime", "date", "time", "timedelta", "timezone"))
)
