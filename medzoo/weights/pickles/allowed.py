"""What a pickle may name, and what each name becomes. Nothing else is ever built.

Names are compared as text. Each function here takes the arguments that the file states, checks them, and builds one
of the inert values: none of them calls what the name stands for.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Mapping
from typing import Any

from medzoo.weights.pickles import harmless
from medzoo.weights.pickles.harmless import is_value
from medzoo.weights.pickles.inert import BITS, ITEM_SIZES, Array, Aside, Inert, Name, Refused, Storage, shown
from medzoo.weights.pickles.items import Items


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
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8", "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8", "QInt32Storage": "qint32", "QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4",
}  # fmt: skip
_NUMPY_CODES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8",
    "u8": "uint64", "u4": "uint32", "u2": "uint16", "u1": "uint8", "b1": "bool", "c8": "complex64", "c16": "complex128",
}  # fmt: skip
_LARGEST_RANK = 32
_LONGEST_NAME = 300  # characters
# Modules that had another name: in Python 2, in NumPy 1, in Python 3.13 alone.
_OTHER_NAMES = {
    "__builtin__": "builtins", "exceptions": "builtins", "copy_reg": "copyreg", "numpy.core": "numpy._core",
    "pathlib._local": "pathlib",
}  # fmt: skip
_OTHER_TYPES = {"long": "int", "unicode": "str"}  # what protocol 2, which torch.save takes, calls two of today's types
# Python's own library. What a file may name must not hang on the Python that reads it: modules that later versions
# gave up count, and one that came later, whose name is that of many a project, does not.
_OF_PYTHON = (sys.stdlib_module_names - {"compression"}) | frozenset(
    ("aifc", "asynchat", "asyncore", "audioop", "cgi", "cgitb", "chunk", "crypt", "distutils", "imghdr", "imp")
    + ("lib2to3", "mailcap", "msilib", "nis", "nntplib", "ossaudiodev", "pipes", "smtpd", "sndhdr", "spwd", "sunau")
    + ("telnetlib", "uu", "xdrlib")
    # Of Python 2, and what lies beside Python on nearly every machine.
    + ("commands", "popen2", "cPickle", "StringIO", "cStringIO", "urllib2", "new", "pip", "setuptools", "pkg_resources")
)
_LONGEST_DTYPE = 20  # characters of a code of NumPy

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
    """Whether a name belongs to numbers, plain containers and plain values."""
    word = str(name)
    if name.module in ("torch", "torch.cuda", "torch.storage") and name.name in STORAGES:
        return True
    return word in _PLAIN or word in _WORDS_ONLY or (name.module == "torch" and name.name in BITS) or is_value(name)


def is_of_python(name: Name) -> bool:
    """Whether a name belongs to Python's own library and no checkpoint needs it: no network is a class of it."""
    return name.module.partition(".")[0] in _OF_PYTHON and not (is_plain(name) or harmless.is_object(name))


def call(name: Name, arguments: tuple[Any, ...], mode: Mode, read: Read) -> Any:
    """What the call of a name becomes.

    Raises:
        Aside: the name is that of a function of an unknown package, or the arguments do not fit.
        Refused: nobody but a hostile file calls it.
    """
    word = str(name)
    if word == "torch.storage._load_from_bytes":
        return read(*arguments)
    if word in _PLAIN:
        return _PLAIN[word](*arguments)
    if word == "copyreg._reconstructor":
        return instance(arguments[0] if arguments else None, ())
    if word in ("copyreg.__newobj__", "copyreg.__newobj_ex__"):
        return instance(arguments[0] if arguments else None, arguments[1:])
    if is_value(name):
        return Inert(word, arguments)
    if mode is not Mode.NUMBERS:
        if name.name == "_reconstruct_persistent_obj" and name.module.split(".")[-1] == "persistence":
            return _persistent(*arguments)
        if harmless.is_object(name) or _is_class(name):
            return Inert(word, arguments)
    reason = f"wants to call {word}, which is not among the calls that numbers need; it was not run"
    raise Refused(reason) if is_of_python(name) or name.module.partition(".")[0] in _OWN else Aside(reason)


def instance(kind: Any, arguments: tuple[Any, ...]) -> Any:
    """An empty object of a class."""
    if not isinstance(kind, Name):
        raise Aside("makes an object of something that is not a class")
    if str(kind) in _PLAIN:
        return _PLAIN[str(kind)](*arguments)
    return Inert(str(kind), arguments)


def is_method(stub: Inert) -> bool:
    """Whether a value stands in for the method of a class, which is how dates with a time zone are written."""
    owner = stub.arguments[0] if stub.name == "builtins.getattr" and len(stub.arguments) == 2 else None
    return isinstance(owner, Name) and owner.module.partition(".")[0] not in _OWN


def _is_class(name: Name) -> bool:
    """Whether a name is spelled as that of a class: members of an enumeration are written as its call."""
    last = name.name.rpartition(".")[2].lstrip("_")
    return last[:1].isupper() and not is_of_python(name)


def numpy_array(stub: Inert) -> Array | None:
    """The array of an object of NumPy, once the file has given it its state."""
    if stub.name != "numpy.ndarray" or not isinstance(stub.state, tuple) or len(stub.state) != 5:
        return None
    _, shape, kind, fortran, data = stub.state
    try:
        return _frombuffer(data, kind, shape, "F" if fortran else "C")
    except Aside:  # an array of text or objects, which is harmless beside the weights
        return None


def _mapping(*arguments: Any) -> dict[Any, Any]:
    """An ordered mapping. Those of torch are empty, and filled afterwards."""
    if not arguments:
        return Items()
    pairs = arguments[-1]
    if isinstance(pairs, dict):
        return pairs
    if not isinstance(pairs, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise Aside("makes a mapping from something other than pairs")
    made = Items()
    for key, value in pairs:
        made.put(key, value)
    return made


def _default_mapping(*arguments: Any) -> dict[Any, Any]:
    return Items()


def _sequence(*arguments: Any) -> Any:
    """A set, a tuple or torch.Size: its elements, without a copy."""
    if not arguments:
        return []
    if len(arguments) != 1 or not isinstance(arguments[0], list | tuple):
        raise Aside("makes a set or a list from something other than a list")
    return arguments[0]


def _bytes(data: Any = b"", *encoding: Any) -> memoryview:
    """Bytes made from bytes; never from a number, which would be that many zeros."""
    if isinstance(data, str) and encoding:
        return _encoded(data, *encoding)
    if not isinstance(data, bytes | memoryview):
        raise Aside(f"makes bytes from a {type(data).__name__}")
    return memoryview(data)


def _encoded(text: Any, encoding: Any = "utf-8", *_: Any) -> memoryview:
    """Bytes as the second protocol writes them: one character a byte."""
    if not isinstance(text, str) or not isinstance(encoding, str) or encoding not in ("latin1", "latin-1"):
        raise Aside("turns text into bytes in a way that no checkpoint does")
    return memoryview(text.encode("latin1"))


def _array(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Array:
    numbers = [offset, *_short(shape), *_short(strides)]
    if not isinstance(storage, Storage) or not all(type(number) is int for number in numbers):
        raise Aside("makes a tensor from something other than numbers")
    if any(abs(number) >= 2**64 for number in numbers):
        raise Aside("makes a tensor of a shape that no tensor has")
    if len(shape) != len(strides):
        raise Aside("makes a tensor whose shape and strides do not match")
    return Array(storage, offset, tuple(shape), tuple(strides))


def _short(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) > _LARGEST_RANK:
        raise Aside("makes a tensor with an invalid shape")
    return tuple(value)


def _first(value: Any = None, *_: Any) -> Any:
    """A parameter: its tensor."""
    return value


def _array_of_kind(
    storage: Any, offset: Any, shape: Any, strides: Any, gradient: Any, hooks: Any, kind: Any, *_: Any
) -> Array:
    """A tensor of a kind that has no storage of its own, such as 8-bit floats: a view of plain bytes."""
    dtype = kind.name if isinstance(kind, Name) and kind.module == "torch" else ""
    if not isinstance(storage, Storage) or dtype not in ITEM_SIZES:
        raise Aside(f"makes a tensor of a kind that is not known ({shown(kind)})")
    whole = Storage(dtype, storage.nbytes // ITEM_SIZES[dtype], root=storage)
    return _array(whole, offset, shape, strides)


def _from_type(function: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    """A tensor with attributes; the attributes are left out."""
    makes = _PLAIN.get(str(function)) if isinstance(function, Name) else None
    if makes not in (_array, _array_of_kind, _first) or not isinstance(arguments, tuple):
        raise Aside(f"makes a tensor by {shown(function)}")
    return makes(*arguments)


def _aside(name: str) -> Callable[..., Inert]:
    return lambda *arguments: Inert(name, arguments)


def _frombuffer(data: Any, kind: Any, shape: Any, order: Any, *_: Any) -> Array:
    dtype, sides = _dtype(kind), _short(shape)
    if not isinstance(data, bytes | memoryview) or not all(type(side) is int and 0 <= side < 2**64 for side in sides):
        raise Aside("makes an array from something other than numbers")
    storage = Storage(dtype, len(data) // ITEM_SIZES[dtype], memoryview(data))
    strides, step = [], 1
    for side in sides if order == "F" else reversed(sides):
        strides.append(step)
        step *= side
    return Array(storage, 0, sides, tuple(strides if order == "F" else reversed(strides)))


def _scalar(kind: Any, data: Any = None, *_: Any) -> Any:
    try:
        return _frombuffer(data, kind, (), "C")
    except Aside:  # a text, a date, an object
        return Inert("numpy.generic", (kind, data))


def _dtype(kind: Any) -> str:
    if not isinstance(kind, Inert) or kind.name != "numpy.dtype" or not kind.arguments:
        raise Aside("makes an array of an unknown type")
    code = kind.arguments[0]
    order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "<"
    plain = isinstance(code, str) and isinstance(order, str) and len(code) <= _LONGEST_DTYPE
    if not plain or code not in _NUMPY_CODES or order not in ("<", "|", "="):
        raise Aside("makes an array of something other than plain little-endian numbers")
    return _NUMPY_CODES[code]


def _persistent(meta: Any) -> Inert:
    """An object of StyleGAN's ``torch_utils.persistence``: its attributes; its source code is left out."""
    if not isinstance(meta, Mapping) or not isinstance(meta.get("class_name"), str):
        raise Aside("holds an object of torch_utils.persistence that states no class")
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
    "torch._utils._rebuild_tensor_v3": _array_of_kind,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch._utils._rebuild_sparse_tensor": _aside("torch.sparse_tensor"),
    "torch._utils._rebuild_sparse_csr_tensor": _aside("torch.sparse_tensor"),
    "torch._utils._rebuild_nested_tensor": _aside("torch.nested_tensor"),
    "torch._utils._rebuild_qtensor": _aside("torch.quantized_tensor"),
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
# Packages whose functions a checkpoint names only if they are listed: those that run a file are among them.
_OWN = frozenset(("torch", "numpy"))
