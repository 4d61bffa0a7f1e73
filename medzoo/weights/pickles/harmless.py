"""Names of Python's library, NumPy and torch that people save beside weights, and that do no harm there.

Paths, dates, ranges, patterns, random generators, quantised tensors: what a file makes of them becomes an ``Inert``
stand-in. Nothing is looked up or called, so the worst that a wrong name here could do is to let a file be read whose
numbers are used and whose other values are not. What only hostile files name (``os``, ``subprocess``, ``eval``, ...)
is refused all the same.
"""

from __future__ import annotations

import functools
import re

from medzoo.weights.pickles.inert import Name

_CLASS = r"_*[A-Z]\w*"
# Values: ``container: torch`` may have them, too.
_VALUES = (
    rf"pathlib(\._local|\._abc)?\.{_CLASS}",
    rf"(typing|collections\.abc|_collections_abc|numbers|abc)\.{_CLASS}",
    r"collections\.(deque|OrderedDict|defaultdict|Counter|ChainMap|UserDict|UserList|UserString)",
    r"builtins\.(int|float|bool|str|complex|bytes|bytearray|list|tuple|dict|set|frozenset|object|type|range|slice)",
    r"builtins\.(long|unicode|xrange|basestring|NoneType|Ellipsis|NotImplemented|None|True|False)",  # Python 2, too
    r"builtins\.(abs|all|any|divmod|iter|len|max|min|pow|round|sorted|sum|zip|enumerate|reversed|repr|ascii|hash)",
    r"(_?functools|builtins)\.reduce",  # unions of types, and flags
    r"builtins\.[A-Z]\w*(Error|Exception|Warning|Interrupt|Iteration|Exit)",
    r"(uuid\.(UUID|SafeUUID)|_?decimal\.[A-Z]\w*|_pydecimal\.[A-Z]\w*|fractions\.Fraction|ipaddress\.[A-Z]\w*)",
    r"(re|_sre|re\._constants)\.(_compile|compile|Pattern|RegexFlag|[A-Z])",
    r"(datetime|_datetime|_pydatetime)\.(datetime|date|time|timedelta|timezone|tzinfo|UTC)",
    r"(zoneinfo|zoneinfo\._zoneinfo)\.ZoneInfo(\._unpickle)?",
    r"time\.struct_time",
    # ``methodcaller`` and ``call`` are made for calling something by name.
    r"_?operator\.(?!methodcaller\b|call\b)\w+",
    rf"(itertools|string|statistics|calendar|http|inspect|enum)\.{_CLASS}",
    r"itertools\.(count|cycle|repeat|chain|islice|product|permutations|combinations|accumulate|zip_longest|starmap)",
    r"(array\.array|array\._array_reconstructor|random\.Random|(_?io)\.(BytesIO|StringIO))",
    r"dataclasses\.(MISSING|_MISSING_TYPE|_HAS_DEFAULT_FACTORY_CLASS|KW_ONLY|_KW_ONLY_TYPE|Field)",
    r"types\.(GenericAlias|NoneType|UnionType|EllipsisType|MappingProxyType)",
    r"(os|posix|nt|sys|platform|time)\.(stat_result|uname_result|terminal_size|times_result|version_info)",
    r"copyreg\.(_reconstructor|__newobj__|__newobj_ex__)",
    # How NumPy writes its random generators, masked arrays and matrices.
    r"numpy\.random\._pickle\.__(randomstate|generator|bit_generator)_ctor",
    r"numpy\.random(\.\w+)*\.(__pyx_unpickle_\w+|[A-Z]\w*)",
    r"numpy\.(core|_core|ma|lib|matrixlib)(\.\w+)*\._(ufunc_|ma)?reconstruct\w*",
    r"numpy(\.\w+)*\.(matrix|memmap|recarray|record|chararray|ndarray|generic|dtype|bool|str|bytes|void|object)_?",
    r"numpy(\.\w+)*\.(u?int\w*|float\w*|complex\w*|longdouble|clongdouble|datetime64|timedelta64|MaskedArray)",
    r"numpy\.dtypes\.[A-Z]\w*|numpy\._core\._internal\._convert_to_stringdtype_kwargs",
    # How torch writes tensors that no generator is made of: quantised, sparse, nested, of other devices.
    r"torch\.(_utils|_tensor|storage|nested\._internal\.\w+)\._re(build|construct)_\w+",
    r"torch\.(strided|sparse_\w+|jagged|per_(tensor|channel)_\w+|contiguous_format|channels_last(_3d)?|preserve_format)",
    r"torch\.(Tensor|Size|device|dtype|Generator|memory_format|layout|qscheme|iinfo|finfo|[A-Z]\w*Tensor)",
)
# Objects that carry settings: only where the entry states ``container: pickle``.
_OBJECTS = (
    rf"(argparse|configparser|logging|logging\.handlers)\.{_CLASS}",
    r"types\.SimpleNamespace",
    r"_?functools\.(partial|partialmethod|cmp_to_key)",
    r"logging\.getLogger",
    # Methods and functions of C, whose owner is named as well: what may not be named is refused there.
    r"builtins\.getattr",
)
_VALUE, _OBJECT = (re.compile("|".join(f"(?:{one})" for one in group)) for group in (_VALUES, _OBJECTS))


@functools.lru_cache(4096)
def is_value(name: Name) -> bool:
    """Whether a name is that of a harmless value."""
    return _VALUE.fullmatch(str(name)) is not None


def is_object(name: Name) -> bool:
    """Whether a name is that of a harmless object with settings."""
    return _OBJECT.fullmatch(str(name)) is not None
