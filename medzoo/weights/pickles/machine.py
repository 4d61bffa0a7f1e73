"""The machine that a pickle is written for; every instruction is interpreted, none is run."""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, Protocol

from medzoo.weights.pickles import allowed
from medzoo.weights.pickles.inert import Aside, Inert, Name, Refused, shown
from medzoo.weights.pickles.items import Items
from medzoo.weights.pickles.record import Record

_LARGEST_INTEGER = 1024  # bits
_LARGEST_PLACE = 2**32  # of the memo; CPython counts no further


class Stream(Protocol):
    """What instructions are read from."""

    def read(self, count: int = ..., /) -> bytes: ...
    def readline(self) -> bytes: ...
    def tell(self) -> int: ...
    def window(self, count: int) -> memoryview:
        """The last ``count`` bytes that were read, without a copy."""


def run(
    stream: Stream,
    record: Record,
    *,
    persistent: Callable[[Any], Any] | None = None,
    embedded: allowed.Read | None = None,
) -> Any:
    """Interpret one pickle to its end; returns what it builds.

    Args:
        persistent: resolves a reference to something outside of the pickle; None if there is nothing outside.
        embedded: reads a torch file inside the pickle; None if there may be none.

    Raises:
        Refused: it is damaged, or does what the record's mode does not allow.
    """
    return _Machine(stream, record, persistent, embedded).run()


class _Machine:
    def __init__(
        self,
        stream: Stream,
        record: Record,
        persistent: Callable[[Any], Any] | None,
        embedded: allowed.Read | None,
    ) -> None:
        self.stream, self.record = stream, record
        self.persistent, self.embedded = persistent, embedded
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for instruction, argument, _ in pickletools.genops(self.stream):  # type: ignore[arg-type]
            self.record.spend(1)
            self.step(instruction.name, argument)
        return self.stack.pop()

    def step(self, name: str, argument: Any) -> None:
        if name in _ARGUMENTS:
            self.push(argument)
        elif name in _CONSTANTS:
            self.push(_CONSTANTS[name]())
        elif name in _BYTES:
            # Without a copy, but a view of a few bytes takes more memory than they do.
            self.push(self.stream.window(len(argument)) if len(argument) > 256 else bytes(argument))
        elif name in _PUTS:
            place = len(self.memo) if argument is None else argument
            if not 0 <= place < _LARGEST_PLACE:  # two that are far apart may have one hash
                raise Refused("its pickle numbers its values in a way that no checkpoint does")
            self.memo[place] = self.stack[-1]
        elif name in _GETS:
            self.push(self.memo[argument])
        elif name in _METHODS:
            getattr(self, _METHODS[name])()
        elif name in ("GLOBAL", "INST"):
            module, _, attribute = argument.partition(" ")
            arguments = tuple(self.above_mark()) if name == "INST" else ()
            self.name(module, attribute)
            if name == "INST":
                self.push(self.call(self.stack.pop(), arguments))
        elif name == "PERSID":
            self.push(self.outside(argument))
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise Refused(f"its pickle uses {name}, which no checkpoint needs")

    def push(self, value: Any) -> None:
        if isinstance(value, int) and value.bit_length() > _LARGEST_INTEGER:  # whose digits would take long to make
            value = Inert("builtins.int", refused="is a whole number of more than 64 bits")
        self.stack.append(value)

    def above_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    # The instructions without an argument.

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def pop(self) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def duplicate(self) -> None:
        self.push(self.stack[-1])

    def list_(self) -> None:
        self.push(self.above_mark())

    def tuple_(self) -> None:
        self.push(tuple(self.above_mark()))

    def tuple1(self) -> None:
        self.stack[-1:] = [(self.stack[-1],)]

    def tuple2(self) -> None:
        self.stack[-2:] = [tuple(self.stack[-2:])]

    def tuple3(self) -> None:
        self.stack[-3:] = [tuple(self.stack[-3:])]

    def dict_(self) -> None:
        items = self.above_mark()
        self.push(Items())
        self.fill(items)

    def append(self) -> None:
        value = self.stack.pop()
        self.extend([value])

    def appends(self) -> None:
        self.extend(self.above_mark())

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.fill([key, value])

    def set_items(self) -> None:
        self.fill(self.above_mark())

    def global_(self) -> None:
        attribute, module = self.stack.pop(), self.stack.pop()
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise Refused("it names something that is not the name of a Python object")
        self.name(module, attribute)

    def new(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        self.push(self.instance(kind, _tuple(arguments)))

    def new_with_keywords(self) -> None:
        _, arguments, kind = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.push(self.instance(kind, _tuple(arguments)))

    def object_(self) -> None:
        kind, *arguments = self.above_mark()
        self.push(self.call(kind, tuple(arguments)))

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.push(self.call(function, _tuple(arguments)))

    def build(self) -> None:
        """The attributes of an object. Those of plain values (a state dict's ``_metadata``) are left out."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], dict | None):
            state = state[0] if state[0] is not None else state[1]  # slots
        if isinstance(target, Inert):
            target.state = state
            target.array = allowed.numpy_array(target)

    def outside_of_stack(self) -> None:
        self.push(self.outside(self.stack.pop()))

    # What instructions share.

    def name(self, module: str, attribute: str) -> None:
        name = allowed.normal(module, attribute)
        self.record.named(name)
        self.push(name)

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        if isinstance(function, Inert) and allowed.is_method(function):
            return Inert(function.name, arguments, refused="calls something that is not a function")
        if not isinstance(function, Name):
            raise Refused("its pickle calls something that is not a function")
        for argument in arguments:  # listed calls take time and memory in proportion to them
            if isinstance(argument, list | tuple | dict):
                self.record.spend(len(argument))
            elif isinstance(argument, str) and str(function) in (
                "_codecs.encode",
                "builtins.bytes",
                "builtins.bytearray",
            ):
                self.record.spend_bytes(len(argument))
        try:
            made = allowed.call(function, arguments, self.record.mode, self.embedded or _nothing_inside)
        except Aside as reason:
            return Inert(str(function), arguments, refused=str(reason))
        except Refused as reason:
            self.record.refuse(str(reason))
            return Inert(str(function), arguments)
        except TypeError:
            other = f"is made by {function} with arguments that no checkpoint uses"
            return Inert(str(function), arguments, refused=other)
        if function.name == "_reconstruct_persistent_obj" and arguments and isinstance(arguments[0], dict):
            source = arguments[0].get("module_src")
            self.record.source = max(self.record.source, len(source) if isinstance(source, str) else 0)
        return made

    def instance(self, kind: Any, arguments: tuple[Any, ...]) -> Any:
        try:
            return allowed.instance(kind, arguments)
        except Aside as reason:
            return Inert(shown(kind), arguments, refused=str(reason))
        except TypeError:
            return Inert(shown(kind), arguments, refused=f"is a {shown(kind)} with arguments that no checkpoint uses")

    def outside(self, reference: Any) -> Any:
        if self.persistent is None:
            raise Refused("its pickle refers to something outside of it")
        return self.persistent(reference)

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            target.elements = target.elements or []
            target.elements.extend(values)
        elif isinstance(target, list):
            target.extend(values)
        else:
            raise Refused(f"its pickle appends to a {type(target).__name__}")

    def fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            target.items = target.items if target.items is not None else Items()
            target = target.items
        if not isinstance(target, Items) or len(items) % 2:
            raise Refused(f"its pickle puts items into a {type(target).__name__}")
        for i in range(0, len(items), 2):
            target.put(items[i], items[i + 1])


def _tuple(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise Refused("its pickle makes an object with invalid arguments")
    return value


def _nothing_inside(*_: Any) -> Any:
    raise Refused("a torch file inside of it holds another one")


_ARGUMENTS = frozenset(
    ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING")
    + ("SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
)
_BYTES = frozenset(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"))
# A set becomes a list: nothing is looked up in it, and its elements need no hash.
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_LIST": list, "EMPTY_DICT": Items,
    "EMPTY_TUPLE": tuple, "EMPTY_SET": list,
}  # fmt: skip
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"))
_GETS = frozenset(("GET", "BINGET", "LONG_BINGET"))
_METHODS = {
    "MARK": "mark", "POP": "pop", "POP_MARK": "above_mark", "DUP": "duplicate", "LIST": "list_", "TUPLE": "tuple_",
    "TUPLE1": "tuple1", "TUPLE2": "tuple2", "TUPLE3": "tuple3", "DICT": "dict_", "APPEND": "append",
    "APPENDS": "appends", "ADDITEMS": "appends", "FROZENSET": "list_", "SETITEM": "set_item",
    "SETITEMS": "set_items", "STACK_GLOBAL": "global_", "NEWOBJ": "new", "NEWOBJ_EX": "new_with_keywords",
    "OBJ": "object_", "REDUCE": "reduce", "BUILD": "build", "BINPERSID": "outside_of_stack",
}  # fmt: skip
