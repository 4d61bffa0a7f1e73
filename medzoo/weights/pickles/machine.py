"""The machine that a pickle is written for; every instruction is interpreted, none is run."""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, Protocol

from medzoo.weights.pickles import allowed
from medzoo.weights.pickles.allowed import Mode
from medzoo.weights.pickles.inert import Inert, Name, Refused

# A network of a thousand tensors takes some 50 thousand; each may leave a hundred bytes behind.
LARGEST_PROGRAM = 1_000_000  # instructions, and elements copied by them
_LARGEST_INTEGER = 1024  # bits


class Stream(Protocol):
    """What instructions are read from."""

    def read(self, count: int = ..., /) -> bytes: ...
    def readline(self) -> bytes: ...
    def tell(self) -> int: ...
    def window(self, count: int) -> memoryview:
        """The last ``count`` bytes that were read, without a copy."""


class Record:
    """What is known about a file during and after reading; shared by all pickles in it.

    Attributes:
        names: every Python object that it names, in order.
        refused: what would have been refused (mode INSPECT).
        source: characters of Python source code in it.
    """

    def __init__(self, mode: Mode, size: int) -> None:
        self.mode, self.names, self.refused = mode, dict[str, None](), dict[str, None]()
        self.source = 0
        self._steps, self._bytes = LARGEST_PROGRAM, size

    def spend(self, steps: int) -> None:
        """Count steps of the program. Raises Refused when they are more than any network needs."""
        self._steps -= steps
        if self._steps < 0:
            raise Refused(f"its pickle takes more than {LARGEST_PROGRAM} steps")

    def spend_bytes(self, count: int) -> None:
        """Count the bytes made from text: a file that holds them once can give no more of them."""
        self._bytes -= count
        if self._bytes < 0:
            raise Refused("its pickle makes more bytes than the file has")

    def named(self, name: Name) -> None:
        """Record a name. Raises Refused if the mode does not allow it."""
        self.names[str(name)] = None
        if self.mode is Mode.NUMBERS:
            if not allowed.is_plain(name):
                raise Refused(_no_numbers(name))
        elif name.module.startswith("dnnlib.tflib"):
            self.refuse(
                f"is a network of TensorFlow ({name}), whose numbers cannot be read without running it; "
                "convert it to the PyTorch form with its authors' legacy.py"
            )
        elif allowed.is_of_python(name) and not allowed.is_plain(name):
            self.refuse(f"names {name}, a part of Python that no network needs; nothing of the file was run")

    def refuse(self, reason: str) -> None:
        if self.mode is not Mode.INSPECT:
            raise Refused(reason)
        if len(self.refused) < 100:
            self.refused[reason] = None


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
            self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
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
        if isinstance(value, int) and value.bit_length() > _LARGEST_INTEGER:
            raise Refused("its pickle holds a number of more than a thousand bits")
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
        self.push({})
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
        self.push(allowed.instance(kind, _tuple(arguments)))

    def new_with_keywords(self) -> None:
        _, arguments, kind = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.push(allowed.instance(kind, _tuple(arguments)))

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
        except Refused as reason:
            self.record.refuse(str(reason))
            return Inert(str(function), arguments)
        except TypeError as error:
            raise Refused(f"its pickle calls {function} with arguments that no checkpoint uses") from error
        if function.name == "_reconstruct_persistent_obj" and isinstance(arguments[0], dict):
            source = arguments[0].get("module_src")
            self.record.source = max(self.record.source, len(source) if isinstance(source, str) else 0)
        return made

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
            target.items = target.items if target.items is not None else {}
            target = target.items
        if not isinstance(target, dict) or len(items) % 2:
            raise Refused(f"its pickle puts items into a {type(target).__name__}")
        for i in range(0, len(items), 2):
            target[allowed.checked_key(items[i])] = items[i + 1]


def _tuple(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise Refused("its pickle makes an object with invalid arguments")
    return value


def _nothing_inside(*_: Any) -> Any:
    raise Refused("a torch file inside of it holds another one")


def _no_numbers(name: Name) -> str:
    advice = "Save the state dict alone (torch.save(network.state_dict(), ...)), or convert it to safetensors"
    if not allowed.is_of_python(name):
        advice = (
            "If that is the class of a network or of its config, state `container: pickle` in the entry: objects are "
            f"then read as bags of numbers, without their code. Otherwise, {advice[0].lower()}{advice[1:]}"
        )
    return f"holds an object of {name}, which is code and not numbers; it was not run. {advice}"


_ARGUMENTS = frozenset(
    ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING")
    + ("SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
)
_BYTES = frozenset(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"))
# A set becomes a list: nothing is looked up in it, and its elements need no hash.
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_LIST": list, "EMPTY_DICT": dict,
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
